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

	"pharos/bench/assault"
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
	{Work: fmt.Sprintf(shapeMany, thousands(millionZones)), Metric: relative.Name, Most: 1.15, Absolute: true},
	{Work: fmt.Sprintf(authLoad, "2.0M"), Metric: perRecord.Name, Most: 120, Absolute: true},
	{Work: fmt.Sprintf(shapeRestart, "2.0M"), Metric: loadWall.Name, Most: 1, Absolute: true},
	{Work: fmt.Sprintf(changeSigned, "1.0M"), Metric: visible.Name, Most: 20, Absolute: true},
	{Work: fmt.Sprintf(changeMany, "1.0M"), Metric: perUpdate.Name, Most: 200, Absolute: true},
	{Work: fmt.Sprintf(changeCalm, calmRate, calmByReloads, "1.0M"), Metric: ratioRan.Name, Most: 1.1, Absolute: true},
	{Work: fmt.Sprintf(changeCalm, calmRate, calmByIXFR, "1.0M"), Metric: ratioRan.Name, Most: 1.1, Absolute: true},
	{Work: fmt.Sprintf(changeCalm, calmRate, calmByUpdates, "1.0M"), Metric: ratioRan.Name, Most: 1.1, Absolute: true},
	{Work: fmt.Sprintf(changeCalm, calmRate, calmBySigned, "1.0M"), Metric: ratioRan.Name, Most: 1.1, Absolute: true},
	{Work: fmt.Sprintf(changeCalm, calmRate, calmByCollected, "1.0M"), Metric: ratioRan.Name, Most: 1.1, Absolute: true},
	{Work: fmt.Sprintf(shapeSteered, thousands(steeredNames)), Metric: besideStatic.Name, Most: 1.3, Absolute: true},
	{Work: fmt.Sprintf(shapeSteered, thousands(steeredNames)) + keptWork, Metric: keptShare.Name, Most: 3, Absolute: true},
	{Work: cacheUDP, Metric: cpuPerAnswer.Name, Most: 0.7},
	{Work: fmt.Sprintf(cachedRRsets, thousands(2*cachedHosts)), Metric: perRRset.Name, Peer: "Unbound", Most: 1},
	{Work: fmt.Sprintf(recalled, thousands(2*recalledHosts)), Metric: untilRecalled.Name, Most: 1, Absolute: true},
	{Work: gatewayWork("100 octets", 64), Metric: cpuPerRequest.Name, Most: 1},
	{Work: gatewayWork("100 octets", 512), Metric: cpuPerRequest.Name, Most: 1},
	{Work: gatewayWork("1 KiB", 64), Metric: cpuPerRequest.Name, Most: 1},
	{Work: gatewayWork("1 KiB", 512), Metric: cpuPerRequest.Name, Most: 1},
	{Work: gatewayWork("64 KiB", 64), Metric: cpuPerRequest.Name, Most: 1},
	{Work: gatewayWork("64 KiB", 512), Metric: cpuPerRequest.Name, Most: 1},
	{Work: idleWork, Metric: perConnection.Name, Most: 4096, Absolute: true},
	{Work: paceWork, Metric: latencyLast.Name, Peer: "nginx", Most: 1.2},
	{Work: fmt.Sprintf(crowdWork, thousands(crowdRoutes), thousands(crowdMembers)), Metric: memory.Name, Most: 400, Absolute: true},
	{Work: fmt.Sprintf(crowdWork, thousands(crowdRoutes), thousands(crowdMembers)), Metric: afterApply.Name, Most: 10, Absolute: true},
	{Work: fmt.Sprintf(crowdWork, thousands(crowdRoutes), thousands(crowdMembers)), Metric: listedCPU.Name, Most: 10, Absolute: true},
	{Work: http2Loads[0].work(), Metric: cpuPerRequest.Name, Most: 1.1},
	{Work: http2Loads[1].work(), Metric: cpuPerRequest.Name, Most: 1.1},
	{Work: tlsLoads[0].work(), Metric: cpuPerRequest.Name, Most: 1},
	{Work: tlsLoads[1].work(), Metric: cpuPerRequest.Name, Most: 1.1},
	{Work: assaultWork(assault.Kinds[0]), Metric: besideCalm.Name, Most: 2, Absolute: true},
	{Work: assaultWork(assault.Kinds[1]), Metric: besideCalm.Name, Most: 2, Absolute: true},
	{Work: assaultWork(assault.Kinds[2]), Metric: besideCalm.Name, Most: 2, Absolute: true},
	{Work: assaultWork(assault.Kinds[3]), Metric: besideCalm.Name, Most: 2, Absolute: true},
	{Work: assaultWork(assault.Kinds[4]), Metric: besideCalm.Name, Most: 2, Absolute: true},
	{Work: assaultWork(assault.Kinds[5]), Metric: besideCalm.Name, Most: 2, Absolute: true},
	{Work: assaultWork(assault.Kinds[6]), Metric: besideCalm.Name, Most: 2, Absolute: true},
	{Work: fmt.Sprintf(probeWork, thousands(probedMembers)), Metric: processors.Name, Most: 0.3, Absolute: true},
	{Work: verdictByProbe, Metric: verdictMetrics[0].worst.Name, Most: verdictMost, Absolute: true},
	{Work: verdictByProbe, Metric: verdictMetrics[1].worst.Name, Most: verdictMost, Absolute: true},
	{Work: verdictByProbe, Metric: verdictMetrics[2].worst.Name, Most: verdictMost, Absolute: true},
	{Work: verdictByTraffic, Metric: verdictMetrics[0].worst.Name, Most: 50, Absolute: true},
	{Work: verdictByTraffic, Metric: verdictMetrics[1].worst.Name, Most: 50, Absolute: true},
	{Work: verdictByTraffic, Metric: verdictMetrics[2].worst.Name, Most: 50, Absolute: true},
	{Work: fmt.Sprintf(signWork, thousands(signNames)), Metric: signWall.Name, Most: 1.2},
}

// machine says what rows are measured on.
func machine() string {
	model, cores := procstat.Root.Machine()
	return fmt.Sprintf("%s, %d processors, Linux %s, Go %s", model, cores, procstat.Root.Kernel(), strings.TrimPrefix(runtime.Version(), "go"))
}

// section returns the generated part of docs/PERFORMANCE.md.
func (a *arena) section(records []table.Record) string {
	var b strings.Builder
	for _, on := range machines(records) {
		fmt.Fprintf(&b, "Measured on %s; medians.\n", on)
	}
	fmt.Fprintf(&b, "Peers: %s.\n", strings.Join(peers(records), ", "))
	if len(a.missing) > 0 {
		fmt.Fprintf(&b, "Not installed, so not measured: %s.\n", strings.Join(a.missing, ", "))
	}
	for _, note := range a.notes {
		fmt.Fprintf(&b, "%s\n", note)
	}
	if a.losses.most != (loss{}) {
		fmt.Fprintf(&b, "%s\n", a.losses)
	}
	rows := table.Rows(records)
	fmt.Fprintf(&b, "\n%s\n%s", table.Markdown(rows), table.Verdicts(figures, rows))
	return b.String()
}

// peers returns each peer once, with its version.
func peers(records []table.Record) []string {
	var names []string
	for _, r := range records {
		if name := strings.TrimSpace(r.Peer + " " + r.Version); r.Peer != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// machines returns each machine of records once, with the dates measured there.
func machines(records []table.Record) []string {
	var order []string
	dates := map[string][]string{}
	for _, r := range records {
		if dates[r.Machine] == nil {
			order = append(order, r.Machine)
		}
		if !slices.Contains(dates[r.Machine], r.Date) {
			dates[r.Machine] = append(dates[r.Machine], r.Date)
		}
	}
	for i, m := range order {
		slices.Sort(dates[m])
		order[i] = m + " (" + strings.Join(dates[m], ", ") + ")"
	}
	return order
}

// records gives the rows of a work their origin, and peers their versions.
func (a *arena) records(group string, rows []table.Row) []table.Record {
	records := table.Records(rows, table.Origin{Group: group, Date: time.Now().UTC().Format(time.DateOnly), Rounds: a.o.rounds, Machine: machine()})
	for i := range records {
		records[i].Version = a.versions[records[i].Peer]
	}
	return records
}

// keep puts what was measured of one work in the place of what the repository's
// files had for it, so that a run that is ended early keeps what it has.
func (a *arena) keep(measured []table.Record) error {
	path := filepath.Join(a.root, "bench", "results.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var standing []table.Record
	if err := json.Unmarshal(text, &standing); err != nil {
		return fmt.Errorf("%s: %w: mend it, or write [] into it to begin anew", path, err)
	}
	var groups []string
	for _, w := range works {
		groups = append(groups, w.name)
	}
	merged := table.Merge(standing, measured, a.o.part == "all", groups)
	if text, err = json.MarshalIndent(merged, "", "  "); err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return a.write(a.section(merged))
}

// write puts the section into docs/PERFORMANCE.md.
func (a *arena) write(section string) error {
	path := filepath.Join(a.root, "docs", "PERFORMANCE.md")
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := table.Replace(string(document), section)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
