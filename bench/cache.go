//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"pharos/bench/corpus"
	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

const cacheUDP = "cached recursive UDP, 11,000 answers"

// cacheShape gives 11,000 questions at 6,000 names, which any cache here holds.
var cacheShape = corpus.Shape{Hosts: 5_000, Aliases: 1_000}

func (a *arena) cacheShape() corpus.Shape {
	return corpus.Shape{Hosts: a.fewer(cacheShape.Hosts), Aliases: a.fewer(cacheShape.Aliases)}
}

// cache measures resolvers that know every answer already.
func (a *arena) cache() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosResolver(a.pharos()), peer.Unbound(), peer.Recursor())
	if err != nil {
		return nil, err
	}
	zone := corpus.Zone{Origin: "bench.", Shape: a.cacheShape()}
	origin, err := a.origin(zone)
	if err != nil {
		return nil, err
	}
	defer origin.Stop()
	queries := zone.Every(1)
	samples, err := a.hold("cache", contest{
		programs: programs, rounds: a.o.rounds,
		job:     peer.Job{Target: address(origin).String()},
		ready:   asks(queries[0]),
		measure: a.answering(cacheUDP, queries, func(s *peer.Server) error { return a.fill(s, queries) }),
	})
	if err != nil {
		return nil, err
	}
	return []table.Row{samples.Row(cacheUDP, cpuPerAnswer), samples.Row(cacheUDP, answersPerSecond), samples.Row(cacheUDP, memory)}, nil
}

// origin starts the server that the resolvers learn from: root and zone at one
// address, on the load's processor.
func (a *arena) origin(zone corpus.Zone) (*peer.Server, error) {
	path, err := a.writeZone(zone, "cache.zone")
	if err != nil {
		return nil, err
	}
	root := filepath.Join(a.dir, "root.zone")
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if err := os.WriteFile(root, []byte(zone.Root(local.String())), 0o644); err != nil {
		return nil, err
	}
	s, err := a.start(a.aside, peer.PharosZones(a.pharos()), peer.Job{Zones: []peer.ZoneFile{{Name: zone.Origin, Path: path}, {Name: ".", Path: root}}})
	if err != nil {
		return nil, err
	}
	if err := s.Await(a.ctx, func() error { return asks(zone.First())(s) }); err != nil {
		s.Stop()
		return nil, fmt.Errorf("origin: %w", err)
	}
	return s, nil
}

// fillPasses is how often everything is asked to fill a cache. Two would do if no
// datagram got lost on a busy machine.
const fillPasses = 10

// fill asks everything until every answer is right, a few questions at a time: no
// resolver is measured on how it resolves here.
func (a *arena) fill(s *peer.Server, queries []dnsload.Query) error {
	g, err := dnsload.New(dnsload.Config{Server: address(s), Queries: queries, Flows: 1, Window: 16, Timeout: 3 * time.Second})
	if err != nil {
		return err
	}
	defer g.Close()
	for range fillPasses {
		r, err := g.Each(a.ctx)
		if err != nil {
			return err
		}
		if r.Wrong == 0 && r.Lost == 0 {
			return nil
		}
		if last := r.Err(); last != nil {
			a.say("%-9s filling the cache: %v", s.Name, last)
		}
	}
	return errors.New("the cache does not fill: every pass had wrong or missing answers")
}
