package balance

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/pool"
)

// kind is a policy with the table of Hash.
type kind struct {
	name   string
	policy pool.Policy
	hash   pool.HashSpec
}

var kinds = []kind{
	{"roundRobin", pool.RoundRobin, pool.HashSpec{}},
	{"weightedRoundRobin", pool.WeightedRoundRobin, pool.HashSpec{}},
	{"leastConnections", pool.LeastConnections, pool.HashSpec{}},
	{"leastResponseTime", pool.LeastResponseTime, pool.HashSpec{}},
	{"leastBandwidth", pool.LeastBandwidth, pool.HashSpec{}},
	{"maglev", pool.Hash, pool.HashSpec{By: pool.Maglev}},
	{"ring", pool.Hash, pool.HashSpec{By: pool.Ring}},
	{"ring bounded", pool.Hash, pool.HashSpec{By: pool.Ring, Bound: 125}},
	{"rendezvous", pool.Hash, pool.HashSpec{By: pool.Rendezvous}},
	{"twoChoices", pool.TwoChoices, pool.HashSpec{}},
	{"random", pool.Random, pool.HashSpec{}},
	{"first", pool.First, pool.HashSpec{}},
}

// processorTime returns what the process has used of processors: on a machine with
// other work it says more than the time that has passed.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano())
}

// BenchmarkPick is one pick, with a request begun and ended now and then so that the
// counters are not all zero.
func BenchmarkPick(b *testing.B) {
	for _, k := range kinds {
		for _, n := range []int{10, 1000} {
			p := publish(k, randomWeights(n))
			v, l := p.View(), p.Load()
			b.Run(fmt.Sprintf("%s/%d", k.name, n), func(b *testing.B) {
				b.ReportAllocs()
				began := processorTime()
				for i := range b.N {
					Pick(v, l, Ask{Key: consistent.Mix(uint64(i)), Now: time.Second})
				}
				b.ReportMetric(float64(processorTime()-began)/float64(b.N), "cpu-ns/op")
			})
			var lanes atomic.Uint32
			b.Run(fmt.Sprintf("%s/%d/parallel", k.name, n), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					lane := lanes.Add(1)
					for key := uint64(0); pb.Next(); key++ {
						Pick(v, l, Ask{Key: key, Lane: lane, Now: time.Second})
					}
				})
			})
			b.Run(fmt.Sprintf("%s/%d/carried", k.name, n), func(b *testing.B) {
				began := processorTime()
				for i := range b.N {
					now := time.Duration(i) * time.Microsecond
					m := v.Members[Pick(v, l, Ask{Key: uint64(i), Now: now})].Load
					l.Begin(0, m, now)
					m.Observe(now, time.Millisecond)
					m.Carried(now, 1000)
					l.End(0, m, now)
				}
				b.ReportMetric(float64(processorTime()-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
