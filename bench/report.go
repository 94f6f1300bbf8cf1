//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"pharos/bench/procstat"
	"pharos/bench/table"
)

// figures are the ratios to reach.
var figures = []table.Figure{
	{Work: authUDP, Metric: cpuPerAnswer.Name, Peer: "Knot", Most: 0.85},
	{Work: authUDP, Metric: cpuPerAnswer.Name, Peer: "NSD", Most: 0.8},
	{Work: fmt.Sprintf(shapeTLD, thousands(tldShape.Delegations)), Metric: cpuPerAnswer.Name, Peer: "Knot", Most: 0.85},
	{Work: fmt.Sprintf(shapeTLD, thousands(tldShape.Delegations)), Metric: cpuPerAnswer.Name, Peer: "NSD", Most: 0.8},
	{Work: signedWorkName(signedShape), Metric: cpuPerAnswer.Name, Peer: "Knot", Most: 0.85},
	{Work: signedWorkName(signedShape), Metric: cpuPerAnswer.Name, Peer: "NSD", Most: 0.8},
	{Work: fmt.Sprintf(shapeMany, thousands(manyZones)), Metric: relative.Name, Most: 1.15, Absolute: true},
	{Work: fmt.Sprintf(authLoad, "2.0M"), Metric: perRecord.Name, Most: 120, Absolute: true},
	{Work: fmt.Sprintf(shapeRestart, "2.0M"), Metric: loadWall.Name, Most: 1, Absolute: true},
	{Work: fmt.Sprintf(changeSigned, "1.0M"), Metric: visible.Name, Most: 20, Absolute: true},
	{Work: fmt.Sprintf(changeMany, "1.0M"), Metric: perUpdate.Name, Most: 200, Absolute: true},
	{Work: fmt.Sprintf(changeCalm, calmRate, "reloads", "1.0M"), Metric: beside.Name, Most: 1.1, Absolute: true},
	{Work: fmt.Sprintf(changeCalm, calmRate, "updates", "1.0M"), Metric: beside.Name, Most: 1.1, Absolute: true},
	{Work: cacheUDP, Metric: cpuPerAnswer.Name, Peer: "Unbound", Most: 0.8},
	{Work: fmt.Sprintf(cachedRRsets, thousands(2*cachedHosts)), Metric: perRRset.Name, Peer: "Unbound", Most: 1},
	{Work: gatewayWork(64), Metric: cpuPerRequest.Name, Most: 1.1},
	{Work: gatewayWork(512), Metric: cpuPerRequest.Name, Most: 1.1},
	{Work: fmt.Sprintf(signWork, thousands(signNames)), Metric: signWall.Name, Most: 1.2},
}

// section returns the generated part of docs/PERFORMANCE.md.
func (a *arena) section(rows []table.Row, now time.Time) string {
	model, cores := procstat.Root.Machine()
	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s on %s, %d processors, Linux %s, Go %s: %d rounds of %g s, medians.\n",
		now.Format(time.DateOnly), model, cores, procstat.Root.Kernel(), strings.TrimPrefix(runtime.Version(), "go"), a.o.rounds, a.o.seconds)
	var names []string
	for name, version := range a.versions {
		names = append(names, name+" "+version)
	}
	slices.Sort(names)
	fmt.Fprintf(&b, "%s.\n", strings.Join(names, ", "))
	if len(a.missing) > 0 {
		fmt.Fprintf(&b, "Not installed, so not measured: %s.\n", strings.Join(a.missing, ", "))
	}
	for _, note := range a.notes {
		fmt.Fprintf(&b, "%s\n", note)
	}
	fmt.Fprintf(&b, "\n%s\n%s", table.Markdown(rows), table.Verdicts(figures, rows))
	return b.String()
}

// write puts the results into the repository's files.
func (a *arena) write(section string, records []table.Record) error {
	path := filepath.Join(a.root, "docs", "PERFORMANCE.md")
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := table.Replace(string(document), section)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	rows, err := json.MarshalIndent(records, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.root, "bench", "results.json"), append(rows, '\n'), 0o644)
}
