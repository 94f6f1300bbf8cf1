package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// requests of one simulation; half of them count.
const requests = 60_000

// What policies promise of shares: everybody's is right, relative to it, when all
// members are alike or differ in weight alone.
func TestDistribution(t *testing.T) {
	for _, q := range simulated() {
		most := map[string][2]float64{ // alike, by weight
			"roundRobin": {0.001, 10}, "weightedRoundRobin": {0.001, 0.001},
			"leastConnections": {0.03, 0.10}, "leastResponseTime": {0.25, 0.35}, "leastBandwidth": {0.05, 0.05},
			"maglev": {0.08, 0.08}, "ring": {0.35, 0.35}, "ring bounded": {0.30, 0.30}, "rendezvous": {0.08, 0.08},
			"twoChoices": {0.20, 0.35}, "random": {0.08, 0.08}, "first": {9.001, 9.001}, // of ten one has all
		}[q.name]
		if q.alike > most[0] || q.byWeight > most[1] {
			t.Errorf("%s: a share is off by %.3f of it, by weight by %.3f; want at most %.3f and %.3f", q.name, q.alike, q.byWeight, most[0], most[1])
		}
	}
}

// Responses differ in length a thousandfold; members end up with the same Mbps, or by
// their weights.
func TestEqualBandwidth(t *testing.T) {
	for _, members := range [][]simMember{same(10, 20*time.Millisecond), {{1, 20 * time.Millisecond}, {2, 20 * time.Millisecond}, {3, 20 * time.Millisecond}}} {
		least := sim{members: members, kind: kinds[4], rate: 2000, octets: heavyTailed}
		least.run(4 * requests) // of few responses that make up much, there are to be some
		turns := sim{members: members, kind: kinds[1], rate: 2000, octets: heavyTailed}
		turns.run(2 * requests)
		t.Logf("%d members: Mbps off by %.1f %% of a share, in turn by %.1f %%", len(members), 100*least.deviation(least.carried), 100*turns.deviation(turns.carried))
		if got := least.deviation(least.carried); got > 0.05 {
			t.Errorf("%d members: Mbps off by %.3f of a share, want <= 0.05", len(members), got)
		}
	}
}

// Some keys are asked for far more often than others. With a bound nobody has more
// than 1.25 times its share in flight, rounded up to a whole request, when it is picked.
func TestBoundedLoad(t *testing.T) {
	for _, by := range []pool.Table{pool.Maglev, pool.Ring, pool.Rendezvous} {
		worst := map[int]float64{}
		for _, bound := range []int{0, 125} {
			k := kind{by.String(), pool.Hash, pool.HashSpec{By: by, Bound: bound}}
			s := sim{members: same(10, 500*time.Millisecond), kind: k, rate: 2000, keys: zipf}
			s.run(20_000)
			worst[bound] = s.worst
		}
		t.Logf("%-10s most over mean in flight: %.2f, with a bound of 125 %%: %.2f", by, worst[0], worst[125])
		if worst[125] > 1.25+1.0/50 || worst[0] < 1.4 {
			t.Errorf("%s: most over mean %.3f with a bound of 125 %% and %.3f without, want <= 1.25, and more without", by, worst[125], worst[0])
		}
	}
}

// When one of N members goes, no more than 1/N of keys and a hundredth move; when it
// is back, each key is where it was.
func TestHashChurn(t *testing.T) {
	const keys = 50_000
	for _, by := range []pool.Table{pool.Maglev, pool.Ring, pool.Rendezvous} {
		for _, n := range []int{3, 10, 16, 40, 65, 130, 160, 260, 1000} {
			p := publish(kind{by.String(), pool.Hash, pool.HashSpec{By: by}}, equalWeights(n))
			owners := func(v *pool.View) []int {
				out := make([]int, keys)
				for i := range out {
					out[i] = Pick(v, p.Load(), Ask{Key: consistent.Mix(uint64(i) + 99)})
				}
				return out
			}
			before := owners(p.View())
			status := func(down bool) func(health.Target) health.Status {
				return func(target health.Target) health.Status {
					if down && target == p.View().Members[1].Target {
						return health.Status{State: health.Down}
					}
					return health.Status{State: health.Up}
				}
			}
			v := pool.Compile(p.View().Whole(), status(true), p.View())
			moved := 0
			for i, m := range owners(v) {
				if m != before[i] {
					moved++
				}
				if m == 1 {
					t.Fatalf("%s of %d: a key of the member that is gone", by, n)
				}
			}
			share := float64(moved) / keys
			t.Logf("%-10s of %4d: %5.2f %% of keys move, 1/N is %5.2f %%", by, n, 100*share, 100/float64(n))
			if share > 1/float64(n)+0.01 {
				t.Errorf("%s of %d: %.4f of keys move, want <= 1/N + 0.01", by, n, share)
			}
			for i, m := range owners(pool.Compile(p.View().Whole(), status(false), v)) {
				if m != before[i] {
					t.Fatalf("%s of %d: key %d is with %d, and was with %d before the member left and came back", by, n, i, m, before[i])
				}
			}
		}
	}
}

// Of many members, where bounds lead the way, the one that is picked is the least one,
// but for a few picks for which it is one of the next.
func TestLeastOfMany(t *testing.T) {
	for _, k := range kinds[2:5] {
		s := sim{members: same(1000, 20*time.Millisecond), kind: k, rate: 200_000, octets: heavyTailed}
		s.start()
		wrong, picks := 0, 0
		for i := range 40_000 {
			s.now += time.Duration(s.rng.ExpFloat64() / s.rate * float64(time.Second))
			s.endUntil(s.now)
			v := s.pool.View()
			m := Pick(v, s.pool.Load(), Ask{Lane: uint32(i), Now: s.now})
			if i > 20_000 && i%8 == 0 { // looking at all of a thousand takes its time
				picks++
				if least, mine := s.least(v, m); mine > least*1.02 {
					wrong++
				}
			}
			s.carry(v, m)
		}
		t.Logf("%s: %.2f %% of picks were not the least one", k.name, 100*float64(wrong)/float64(picks))
		if most := map[pool.Policy]float64{pool.LeastConnections: 0.01, pool.LeastResponseTime: 0.10, pool.LeastBandwidth: 0.10}[k.policy]; float64(wrong) > most*float64(picks) {
			t.Errorf("%s: %d of %d picks were not the least one", k.name, wrong, picks)
		}
	}
}

// Lanes are cursors of their own; together they are as good as one, to a pick each.
func TestLanesTogether(t *testing.T) {
	p := publish(kinds[0], equalWeights(7))
	count := make([]int, 7)
	r := rand.New(rand.NewPCG(3, 3))
	for range 7000 {
		count[Pick(p.View(), p.Load(), Ask{Lane: r.Uint32()})]++
	}
	for m, c := range count {
		if c < 1000-pool.Lanes || c > 1000+pool.Lanes {
			t.Errorf("member %d: %d picks of 7000, want 1000", m, c)
		}
	}
	p = publish(kinds[0], equalWeights(7)) // connections with one request each: in turn
	for i := range pool.Lanes {
		if got := Pick(p.View(), p.Load(), Ask{Lane: uint32(i)}); got != i%7 {
			t.Errorf("connection %d: member %d, want %d", i, got, i%7)
		}
	}
}

// Under every policy a retry goes to each other member once, and Peek says what Pick
// then does.
func TestEveryPolicy(t *testing.T) {
	for _, k := range kinds {
		for _, n := range []int{2, 10, 40} {
			t.Run(fmt.Sprintf("%s/%d", k.name, n), func(t *testing.T) {
				p := publish(k, randomWeights(n))
				v, l := p.View(), p.Load()
				for key := range uint64(30) {
					a := Ask{Key: consistent.Mix(key), Lane: uint32(key), Now: time.Duration(key) * time.Second}
					want := Peek(v, l, a)
					if got := Pick(v, l, a); got != want {
						t.Fatalf("peeked %d, picked %d", want, got)
					}
					tried := []int{want}
					for len(tried) < n {
						m := PickExcept(v, l, a, tried)
						if m < 0 || contains(tried, m) {
							t.Fatalf("after %v picked %d", tried, m)
						}
						tried = append(tried, m)
					}
					if m := PickExcept(v, l, a, tried); m != -1 {
						t.Fatalf("after everybody picked %d", m)
					}
				}
			})
		}
	}
}

// Capacity under every policy: who is full is passed over, one tier after the other;
// when all are full, somebody is picked nevertheless.
func TestCapacity(t *testing.T) {
	for _, k := range kinds {
		spec := publish(k, equalWeights(40)).View().Whole()
		for i := range spec.Members {
			spec.Members[i].Capacity = 2
			if i >= 30 {
				spec.Members[i].Tier = 1
			}
		}
		r, err := pool.NewRegistry([]pool.Spec{spec}, func(health.Target) health.Status { return health.Status{State: health.Up} }, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := r.Pool("web")
		v, l := p.View(), p.Load()
		for i := range 80 {
			m := Pick(v, l, Ask{Key: 5, Lane: 1})
			load := v.Members[m].Load
			if l.Begin(1, load, 0); load.Active.Load() > 2 || i < 60 && m >= 30 {
				t.Fatalf("%s: request %d went to %d, which has %d in flight", k.name, i, m, load.Active.Load())
			}
		}
		if m := Pick(v, l, Ask{Key: 5, Lane: 1}); m < 0 || m >= 30 {
			t.Errorf("%s: with all full picked %d, want one of the first tier", k.name, m)
		}
		l.End(1, v.Members[17].Load, 0)
		if m := Pick(v, l, Ask{Key: 5, Lane: 1}); m != 17 {
			t.Errorf("%s: picked %d, want 17, which has room", k.name, m)
		}
	}
}

func TestNoAllocsOfAnyPolicy(t *testing.T) {
	for _, k := range kinds {
		for _, n := range []int{10, 1000} {
			p := publish(k, randomWeights(n))
			v, l := p.View(), p.Load()
			key := uint64(0)
			allocs := testing.AllocsPerRun(200, func() {
				key++
				a := Ask{Key: key, Now: time.Duration(key)}
				m := v.Members[Pick(v, l, a)].Load
				l.Begin(0, m, a.Now)
				m.Observe(a.Now, time.Millisecond)
				m.Carried(a.Now, 100)
				l.End(0, m, a.Now)
				PickExcept(v, l, a, []int{1, 2})
			})
			if allocs != 0 {
				t.Errorf("%s of %d: %v allocations", k.name, n, allocs)
			}
		}
	}
}

// When everything stood still for a moment all members have been seen to be as slow as one that always is. That is
// forgotten by what they answer next, and not only by time, in which the slow one would have more than it can carry.
func TestSlowOneAfterAStall(t *testing.T) {
	for _, policy := range []pool.Policy{pool.LeastResponseTime, pool.TwoChoices} {
		for _, stall := range []time.Duration{0, 150 * time.Millisecond, 500 * time.Millisecond} {
			p99 := func(slow time.Duration) time.Duration {
				s := sim{members: same(10, 20*time.Millisecond), kind: kind{policy: policy}, rate: 500, workers: 8, stall: stall}
				s.members[3].takes = slow
				s.run(4000) // 4 s after the stall
				return s.quantile(0.99)
			}
			well, slow := p99(20*time.Millisecond), p99(200*time.Millisecond)
			t.Logf("%v after a stall of %v: p99 %v with all well, %v with one of ten ten times slower", policy, stall, well, slow)
			if float64(slow) > 1.3*float64(well) {
				t.Errorf("%v after a stall of %v: p99 %v with one of ten ten times slower, want at most 1.3 times %v", policy, stall, slow, well)
			}
		}
	}
}
