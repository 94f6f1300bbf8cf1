//go:build linux

package main

import (
	"fmt"
	"time"

	"pharos/bench/corpus"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// Names of the works of authoritative servers in the table.
const (
	authUDP  = "authoritative UDP, zone of 125k records"
	authLoad = "loading a zone of %s records"
)

// authShape is a zone of 125,000 records at 64,000 names.
var authShape = corpus.Shape{Hosts: 44_000, Mail: 5_000, Texts: 5_000, Aliases: 2_995, Delegations: 8_000, Glue: 8_000}

// questions is how many different ones are asked in turn; more than any answer
// cache of a processor holds.
const questions = 1 << 16

// auth measures authoritative servers.
func (a *arena) auth() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosZones(a.pharos()), peer.Knot(), peer.NSD(), peer.BIND())
	if err != nil {
		return nil, err
	}
	shape := authShape
	if a.o.quick {
		shape = corpus.Shape{Hosts: 1000, Mail: 100, Texts: 100, Aliases: 50, Delegations: 200, Glue: 200}
	}
	zone := corpus.Zone{Origin: "bench.example.", Shape: shape}
	path, err := a.writeZone(zone, "auth.zone")
	if err != nil {
		return nil, err
	}
	queries := zone.Questions(questions, 1, corpus.Usual)
	samples, err := a.hold("auth", contest{
		programs: programs, rounds: a.o.rounds,
		job:     peer.Job{Zones: []peer.ZoneFile{{Name: zone.Origin, Path: path}}},
		ready:   asks(zone.First()),
		measure: a.answering(authUDP, queries, nil),
	})
	if err != nil {
		return nil, err
	}
	rows := []table.Row{samples.Row(authUDP, cpuPerAnswer), samples.Row(authUDP, answersPerSecond), samples.Row(authUDP, memory)}
	loaded, err := a.loading(programs)
	return append(rows, loaded...), err
}

// Metrics of loading.
var (
	loadCPUTime = table.Metric{Name: "CPU s to the first answer", Digits: 2}
	loadWall    = table.Metric{Name: "s to the first answer", Digits: 2}
	perRecord   = table.Metric{Name: "memory octets per record", Digits: 0}
)

// loadRounds is how often a large zone is loaded at most: it takes half a minute for
// all, and what a garbage collector has given back by the first answer varies.
const loadRounds = 3

// loadShape is a zone of 2.0M records.
var loadShape = corpus.Shape{Hosts: 500_000, Delegations: 500_000}

// loading measures how long a large zone takes from the start of the program to
// its first answer, and what it then occupies over an almost empty one.
func (a *arena) loading(programs []peer.Program) ([]table.Row, error) {
	shape := loadShape
	if a.o.quick {
		shape = corpus.Shape{Hosts: 10_000, Delegations: 10_000}
	}
	large := corpus.Zone{Origin: "large.example.", Shape: shape}
	small := corpus.Zone{Origin: "large.example.", Shape: corpus.Shape{Hosts: 10}}
	empty := map[string]float64{} // the last round's
	samples := a.samples()
	for i, zone := range []corpus.Zone{small, large} {
		path, err := a.writeZone(zone, fmt.Sprintf("load%d.zone", i))
		if err != nil {
			return nil, err
		}
		var began time.Time
		_, err = a.hold("load", contest{
			programs: programs, rounds: min(a.o.rounds, loadRounds),
			job:   peer.Job{Zones: []peer.ZoneFile{{Name: zone.Origin, Path: path}}},
			ready: asks(zone.First()),
			start: func() { began = time.Now() },
			measure: func(s *peer.Server, _ *table.Samples) error {
				wall := time.Since(began)
				cpu, err := s.CPU()
				if err != nil {
					return err
				}
				octets, err := a.settled(s)
				if err != nil {
					return err
				}
				if i == 0 {
					empty[s.Name] = float64(octets)
					return nil
				}
				samples.Add(s.Name, loadCPUTime.Name, cpu.Seconds())
				samples.Add(s.Name, loadWall.Name, wall.Seconds())
				samples.Add(s.Name, perRecord.Name, (float64(octets)-empty[s.Name])/float64(zone.Records()))
				a.say("%-9s loaded %d records in %.2f s, %.2f s on a processor, %.0f MiB", s.Name, zone.Records(), wall.Seconds(), cpu.Seconds(), float64(octets)/(1<<20))
				return nil
			},
		})
		if err != nil {
			return nil, err
		}
	}
	work := fmt.Sprintf(authLoad, thousands(large.Records()))
	return []table.Row{samples.Row(work, loadCPUTime), samples.Row(work, loadWall), samples.Row(work, perRecord)}, nil
}

// thousands returns a number as 60k or 2.0M.
func thousands(n int) string {
	if n >= 1_000_000 {
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	}
	return fmt.Sprintf("%dk", n/1000)
}
