//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pharos/bench/table"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/decisions"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/steer"
)

// This file measures what it costs to keep an answer of a steered name, to be explained
// afterwards. Servers that keep more or less differ by less than their times do from round to
// round; so the keeping itself is timed, by the code that the server runs, and set beside the
// answer.

// keptShare is that, of the CPU time of an answer by a server that keeps nothing.
var keptShare = table.Metric{Name: "% of the CPU of an answer, to keep it", Digits: 2}

// keepingShare returns the share, for what is kept by default and for each answer kept. answers
// has the CPU time of an answer of keepings.
func (a *arena) keepingShare(work string, answers table.Row) (table.Row, error) {
	var samples table.Samples
	for range a.o.rounds {
		if a.ctx.Err() != nil {
			return table.Row{}, a.ctx.Err()
		}
		samples.Add(keepings[0].name, keptShare.Name, keepFor(decisions.DefaultLimits.Sample))
		samples.Add(keepings[2].name, keptShare.Name, keepFor(1))
	}
	row := samples.Row(work, keptShare)
	i := slices.IndexFunc(answers.Values, func(v table.Value) bool { return v.Server == keepings[1].name })
	if i < 0 {
		return row, fmt.Errorf("%s was not measured", keepings[1].name)
	}
	for k := range row.Values {
		row.Values[k].Value *= 100 / (1000 * answers.Values[i].Value)
	}
	return row, nil
}

// keepFor returns the ns that it takes to keep an answer, or not, when one of so many that are
// the default is kept: of pools whose members come and go, so that decisions are new now and then.
func keepFor(sample uint64) float64 {
	limits := decisions.DefaultLimits
	limits.Sample = sample
	ring := decisions.New(limits, [16]byte{1})
	p := pool.New("web")
	rule := steer.NewRule(steer.Spec{Name: dnsname.MustParse("www.bench"), Pool: p})
	client, now := netip.MustParseAddr("192.0.2.7"), time.Now()
	times := make([]time.Duration, batches)
	for i := range times {
		if i%transitions == 0 {
			p.Publish(pool.Compile(keptPool(), nil, p.View()))
		}
		prepared, _ := rule.Prepare(rdata.TypeA, client, 0, now)
		began := time.Now()
		for k := range uint64(batchPicks) {
			ring.Note(prepared, client, uint64(i)*batchPicks+k, now, false)
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return float64(times[len(times)*quantile/100]) / batchPicks
}

// transitions is after how many batches a member has changed: after a thousandth of a second at
// full load, far more often than any pool does.
const transitions = 10

// keptPool is a pool as those of steered are.
func keptPool() pool.Spec {
	spec := pool.Spec{Name: "web", Policy: pool.RoundRobin}
	for m := range steeredMembers {
		spec.Members = append(spec.Members, pool.MemberSpec{
			Name: fmt.Sprint("m", m), Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(m), 1}), 80), Weight: 1,
		})
	}
	return spec
}
