//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pharos/bench/corpus"
	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// This file measures a million small zones: starting with them, what they occupy, and
// answers from them beside answers from one zone.

// millionZones is how many: what the figure about many zones names.
const millionZones = 1_000_000

// perZone is what a zone occupies.
var perZone = table.Metric{Name: "memory octets per zone", Digits: 0}

// million is the work "million". Knot is not in it: it takes six minutes to start with so
// many zones.
func (a *arena) million() ([]table.Row, error) {
	programs, err := a.choose(pharosListed(a.pharos()), peer.NSD())
	if err != nil {
		return nil, err
	}
	many := corpus.Many(millionZones)
	if a.o.quick {
		many = 3000
	}
	path := filepath.Join(a.dir, "million.zone")
	if err := os.WriteFile(path, []byte(many.Text()), 0o644); err != nil {
		return nil, err
	}
	zones := make([]peer.ZoneFile, many)
	for i := range zones {
		zones[i] = peer.ZoneFile{Name: many.Origin(i), Path: path}
	}
	samples, one := a.samples(), &table.Samples{}
	for _, p := range programs {
		last := corpus.Zone{Origin: many.Origin(int(many) - 1)}.Apex("192.0.2.3")
		if err := a.serveMany(p, zones, last, many.Questions(questions, 1), samples); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		last = corpus.Zone{Origin: many.Origin(0)}.Apex("192.0.2.3")
		if err := a.serveMany(p, zones[:1], last, corpus.Many(1).Questions(questions, 1), one); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	work := fmt.Sprintf(shapeMany, thousands(int(many)))
	answers, alone := samples.Row(work, cpuPerAnswer), one.Row(work, cpuPerAnswer)
	compared := table.Row{Work: work, Metric: relative}
	for i, v := range answers.Values {
		compared.Values = append(compared.Values, table.Value{Server: v.Server, Value: v.Value / alone.Values[i].Value})
	}
	return []table.Row{answers, compared, samples.Row(work, loadCPUTime), samples.Row(work, loadWall), samples.Row(work, perZone)}, nil
}

// serveMany starts a server with zones and measures how it starts and answers.
func (a *arena) serveMany(p peer.Program, zones []peer.ZoneFile, first dnsload.Query, queries []dnsload.Query, samples *table.Samples) error {
	began := time.Now()
	s, err := a.start(a.measured, p, peer.Job{Zones: zones})
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.Dir)
	defer s.Stop()
	if err := s.Await(a.ctx, func() error { return asks(first)(s) }); err != nil {
		return err
	}
	wall := time.Since(began)
	cpu, err := s.CPU()
	if err != nil {
		return err
	}
	if err := a.rest(s); err != nil {
		return err
	}
	samples.Add(s.Name, loadWall.Name, wall.Seconds())
	samples.Add(s.Name, loadCPUTime.Name, cpu.Seconds())
	if err := resident(s, samples, perZone.Name, float64(len(zones))); err != nil {
		return err
	}
	a.say("%-9s serves %d zones after %.1f s, %.1f s on a processor", s.Name, len(zones), wall.Seconds(), cpu.Seconds())
	for range min(a.o.rounds, shapeRounds) {
		if err := a.load(s, queries, samples); err != nil {
			return err
		}
	}
	return nil
}

// pharosListed is Pharos with zones that a list names, all read from one file: a
// configuration that names a million by itself is larger than any may be.
func pharosListed(binary string) peer.Program {
	p := peer.PharosZones(binary)
	p.Files = func(j peer.Job) (map[string]string, []string) {
		var names strings.Builder
		for _, z := range j.Zones {
			fmt.Fprintln(&names, z.Name)
		}
		file := j.Zones[0].Path
		j.Zones = nil
		files, args := peer.PharosZones(binary).Files(j)
		files["names.txt"] = names.String()
		files["pharos.yaml"] += fmt.Sprintf("  - {names: names.txt, file: %q}\n", file)
		return files, args
	}
	return p
}
