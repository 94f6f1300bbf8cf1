package node

import (
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/answer"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnswire"
	"pharos/internal/traffic/geoip"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
	"pharos/internal/traffic/roundtrips"
	"pharos/internal/traffic/steer"
)

// This file joins steered names with what they go by: pools, zones, and where clients are.

// guide is what answers from pools go by, beside the pools.
type guide struct {
	atlas   *steer.Atlas
	latency *steer.Latency
	kept    *roundtrips.Keeper // keeps latency over restarts
	geo     *geoip.Follower
	ready   atomic.Bool          // the gateway, whose clock is that of loads, is built, or there is none
	elapsed func() time.Duration // by the clock of loads
	service []byte               // of HTTPS records that lead to the gateway; nil: there is none
}

func (n *Node) newGuide(cfg *config.Config) *guide {
	g := &guide{atlas: steer.NewAtlas(), latency: steer.NewLatency(), elapsed: n.elapsed, service: settings.GatewayService(cfg)}
	g.kept = roundtrips.Open(filepath.Join(cfg.Data, "round-trips"), g.latency, n.log)
	g.geo = geoip.New(g.atlas, func(text string) { n.problem(problems.DatabaseRefused, "", text) })
	return g
}

// follow has the guide go by a configuration.
func (g *guide) follow(c *config.Steering) error {
	networks := make([]steer.Network, len(c.Networks))
	for i, n := range c.Networks {
		networks[i] = steer.Network{Prefix: n.Prefix, Place: poolspec.PlaceOf(n.Place)}
	}
	return g.geo.Set(c.Database, networks)
}

// table returns the table of steered names.
func (g *guide) table(names []state.Steer, pools *pool.Registry) *steer.Table {
	specs := make([]steer.Spec, len(names))
	for i := range names {
		specs[i] = poolspec.Steered(&names[i], pools)
		if g != nil && names[i].IsOfGateway() && g.service != nil {
			specs[i].Service = g.service
		}
		if g != nil {
			specs[i].Atlas, specs[i].Latency, specs[i].Elapsed = g.atlas, g.latency, g.elapsed
		}
	}
	return steer.NewTable(specs)
}

// observeTrip takes a round trip that the gateway has measured.
func (n *Node) observeTrip(client, server netip.Addr, took time.Duration) {
	if n.current.Load().Config.Steering.Measure {
		n.guide.latency.Observe(client, server, took, clock.Now())
	}
}

// exportAnswers has the zones follow that have present answers from a pool.
func (n *Node) exportAnswers(s *Snapshot, pool string) {
	for _, in := range append([]*Snapshot{s}, s.views...) {
		for _, name := range in.exporting[pool] {
			n.keepingOf(in).exports.Poke(name)
		}
	}
}

// exportAll is exportAnswers for all pools.
func (n *Node) exportAll(s *Snapshot) {
	for _, p := range s.pools.Pools() {
		n.exportAnswers(s, p.Name())
	}
}

// steeredQuestion returns a question that arrived at a steered name of a zone of s.
func (s *Snapshot) steeredQuestion(o answer.Options, q *dnswire.Query, z *zone.Zone, near netip.Addr, now time.Time) steered.Question {
	return steered.Question{Options: o, Query: q, Zone: z, Rules: s.steered, Client: near, Now: now}
}
