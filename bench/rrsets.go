//go:build linux

package main

import (
	"fmt"

	"pharos/bench/corpus"
	"pharos/bench/peer"
	"pharos/bench/table"
)

const cachedRRsets = "%s cached RRsets, each asked for once"

// cachedHosts have two RRsets each.
const cachedHosts = 500_000

var perRRset = table.Metric{Name: "memory octets per cached RRset", Digits: 0}

// rrsets measures how much memory a resolver takes for an RRset that it has learnt, with
// the answer made of it: the resident memory that it has grown by.
func (a *arena) rrsets() ([]table.Row, error) {
	programs, err := a.choose(peer.Roomy(peer.PharosResolver(a.pharos())), peer.Roomy(peer.Unbound()))
	if err != nil {
		return nil, err
	}
	hosts := a.fewer(cachedHosts)
	zone := corpus.Zone{Origin: "bench.", Shape: corpus.Shape{Hosts: hosts}}
	origin, err := a.origin(zone)
	if err != nil {
		return nil, err
	}
	defer origin.Stop()
	queries := zone.Every(1)
	work := fmt.Sprintf(cachedRRsets, thousands(len(queries)))
	samples, err := a.hold("rrsets", contest{
		programs: programs, rounds: 1, // each takes a minute, and memory does not vary
		job:   peer.Job{Target: address(origin).String()},
		ready: asks(queries[0]),
		measure: func(s *peer.Server, samples *table.Samples) error {
			before, err := s.Memory()
			if err != nil {
				return err
			}
			if err := a.fill(s, queries); err != nil {
				return err
			}
			after, err := s.Memory()
			if err != nil {
				return err
			}
			samples.Add(s.Name, perRRset.Name, float64(after-before)/float64(len(queries)))
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	rows, err := a.recall()
	return append([]table.Row{samples.Row(work, perRRset)}, rows...), err
}
