//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"pharos/bench/table"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file measures what it costs to choose a member: one pick, and one on each of two
// processors at once, which write to counters of one pool.

// picksWork is the work of one way to choose.
func picksWork(name string, members int) string {
	return fmt.Sprintf("picking one of %d members, %s", members, name)
}

// Metrics of picks.
var (
	pickAlone = table.Metric{Name: "ns per pick", Digits: 1}
	pickBoth  = table.Metric{Name: "ns per pick, two processors at once", Digits: 1}
)

// Sizes of a measurement: a batch is short beside the time that the kernel gives a
// thread, so that most batches are not interrupted; a tenth of them is quicker than what
// counts.
const (
	batchPicks = 500
	batches    = 2000
	quantile   = 10 // percent
)

// choosers are the ways to choose.
var choosers = []struct {
	name   string
	policy pool.Policy
	hash   pool.HashSpec
}{
	{"roundRobin", pool.RoundRobin, pool.HashSpec{}},
	{"weightedRoundRobin", pool.WeightedRoundRobin, pool.HashSpec{}},
	{"leastConnections", pool.LeastConnections, pool.HashSpec{}},
	{"leastResponseTime", pool.LeastResponseTime, pool.HashSpec{}},
	{"leastBandwidth", pool.LeastBandwidth, pool.HashSpec{}},
	{"hash by maglev", pool.Hash, pool.HashSpec{By: pool.Maglev}},
	{"hash by ring", pool.Hash, pool.HashSpec{By: pool.Ring}},
	{"hash by ring, bounded", pool.Hash, pool.HashSpec{By: pool.Ring, Bound: 125}},
	{"hash by rendezvous", pool.Hash, pool.HashSpec{By: pool.Rendezvous}},
	{"twoChoices", pool.TwoChoices, pool.HashSpec{}},
	{"random", pool.Random, pool.HashSpec{}},
	{"first", pool.First, pool.HashSpec{}},
}

// picks measures picks.
func (a *arena) picks() ([]table.Row, error) {
	var rows []table.Row
	for _, c := range choosers {
		for _, n := range []int{10, 1000} {
			var samples table.Samples
			p, err := poolOf(pool.Spec{Name: "web", Policy: c.policy, Hash: c.hash}, n)
			if err != nil {
				return nil, err
			}
			for range a.o.rounds {
				if a.ctx.Err() != nil {
					return nil, a.ctx.Err()
				}
				samples.Add(table.Own, pickAlone.Name, pickFor(p, 1, max(10, a.fewer(batches))))
				samples.Add(table.Own, pickBoth.Name, pickFor(p, 2, max(10, a.fewer(batches))))
			}
			rows = append(rows, samples.Row(picksWork(c.name, n), pickAlone), samples.Row(picksWork(c.name, n), pickBoth))
		}
	}
	return rows, nil
}

// poolOf makes a pool of n members of three weights, all Up, with four requests under way for each, where the
// policy has them.
func poolOf(spec pool.Spec, n int) (*pool.Pool, error) {
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		spec.Members = append(spec.Members, pool.MemberSpec{Address: netip.AddrPortFrom(addr, 80), Weight: 1 + i%3})
	}
	up := func(health.Target) health.Status { return health.Status{State: health.Up} }
	r, err := pool.NewRegistry([]pool.Spec{spec}, up, nil)
	if err != nil {
		return nil, err
	}
	p := r.Pool(spec.Name)
	for i := range p.View().Members {
		m := p.View().Members[i].Load
		m.Observe(0, time.Duration(10+i%7)*time.Millisecond)
		m.Carried(0, 1000*(1+i%11))
	}
	for i := range uint32(4 * n) {
		v := p.View()
		m := balance.Pick(v, p.Load(), balance.Ask{Key: consistent.Mix(uint64(i)), Lane: i})
		p.Load().Begin(i, v.Members[m].Load, 0)
	}
	return p, nil
}

// pickFor returns the ns of a pick when so many threads pick at once: that of the
// slowest of them.
func pickFor(p *pool.Pool, threads, batches int) float64 {
	took := make([]float64, threads)
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			took[i] = pickBatches(p, uint32(i), batches)
		})
	}
	wg.Wait()
	return slices.Max(took)
}

func pickBatches(p *pool.Pool, lane uint32, batches int) float64 {
	v, l := p.View(), p.Load()
	times := make([]time.Duration, batches)
	ask := balance.Ask{Lane: lane}
	for i := range times {
		began := time.Now()
		for range batchPicks {
			ask.Key = consistent.Mix(ask.Key + 1)
			ask.Lane = lane + 2*uint32(ask.Key%(pool.Lanes/2)) // requests of many connections
			balance.Pick(v, l, ask)
		}
		times[i] = time.Since(began)
		ask.Now += times[i]
	}
	slices.Sort(times)
	return float64(times[len(times)*quantile/100]) / batchPicks
}
