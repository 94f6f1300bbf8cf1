package balance

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// viewOf compiles a pool of members with these weights; down lists those that are
// Down, all others are Up.
func viewOf(policy pool.Policy, weights []int, down ...int) *pool.View {
	spec := pool.Spec{Name: "web", Policy: policy}
	for i, w := range weights {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		spec.Members = append(spec.Members, pool.MemberSpec{Name: fmt.Sprint(i), Address: netip.AddrPortFrom(addr, 80), Weight: w})
	}
	return pool.Compile(spec, func(t health.Target) health.Status {
		a := t.Address.Addr().As4()
		if slices.Contains(down, int(a[2])<<8|int(a[3])) {
			return health.Status{State: health.Down}
		}
		return health.Status{State: health.Up}
	}, nil)
}

// publish makes a pool of Up members with a policy of kind k.
func publish(k kind, weights []int) *pool.Pool {
	spec := pool.Spec{Name: "web", Policy: k.policy, Hash: k.hash}
	for i, w := range weights {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		spec.Members = append(spec.Members, pool.MemberSpec{Name: fmt.Sprint(i), Address: netip.AddrPortFrom(addr, 80), Weight: w})
	}
	up := func(health.Target) health.Status { return health.Status{State: health.Up} }
	r, err := pool.NewRegistry([]pool.Spec{spec}, up, nil)
	if err != nil {
		panic(err)
	}
	return r.Pool("web")
}

func equalWeights(n int) []int { return slices.Repeat([]int{1}, n) }

func randomWeights(n int) []int {
	r := rand.New(rand.NewPCG(1, 1))
	out := make([]int, n)
	for i := range out {
		out[i] = 1 + r.IntN(20)
	}
	return out
}

func sumOf(weights []int) (sum int) {
	for _, w := range weights {
		sum += w
	}
	return sum
}

// picks counts n picks by member.
func picks(v *pool.View, l *Load, n int) []int {
	count := make([]int, len(v.Members))
	for range n {
		count[Pick(v, l, Ask{})]++
	}
	return count
}

func TestRoundRobinTakesTurns(t *testing.T) {
	v, l := viewOf(pool.RoundRobin, []int{9, 1, 1, 1}, 2), new(Load)
	var got []int
	for range 7 {
		got = append(got, Pick(v, l, Ask{}))
	}
	if want := []int{0, 1, 3, 0, 1, 3, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Weighted: over a cycle everybody is picked exactly as often as its weight, from
// wherever the cursor stands.
func TestWeightedDistributionIsExact(t *testing.T) {
	for _, n := range []int{2, 10, 300} {
		weights := randomWeights(n)
		v, l := viewOf(pool.WeightedRoundRobin, weights), new(Load)
		for range 12345 {
			l.Turn(0)
		}
		if got := picks(v, l, len(v.Order)); !slices.Equal(got, weights) {
			t.Errorf("%d members: picked %v, want %v", n, got, weights)
		}
	}
}

// Peek says what the next pick is, and changes nothing.
func TestPeek(t *testing.T) {
	v, l := viewOf(pool.WeightedRoundRobin, []int{5, 1, 1}), new(Load)
	for range 20 {
		want := Peek(v, l, Ask{})
		if again := Peek(v, l, Ask{}); again != want {
			t.Fatalf("peeked %d, then %d", want, again)
		}
		if got := Pick(v, l, Ask{}); got != want {
			t.Fatalf("peeked %d, picked %d", want, got)
		}
	}
	if got := Peek(viewOf(pool.RoundRobin, nil), l, Ask{}); got != -1 {
		t.Errorf("of nobody: %d", got)
	}
}

// Churn: when one of N goes, the others take over its share in proportion, and
// nobody else loses: no member is picked less often than before.
func TestChurn(t *testing.T) {
	weights := randomWeights(10)
	sum := sumOf(weights)
	for gone := range weights {
		v := viewOf(pool.WeightedRoundRobin, weights, gone)
		cycle := len(v.Order)
		for i, got := range picks(v, new(Load), cycle) {
			share := float64(got) / float64(cycle)
			if i == gone && got != 0 {
				t.Errorf("member %d is down and was picked %d times", gone, got)
			}
			if i != gone && share < float64(weights[i])/float64(sum) {
				t.Errorf("without %d, member %d has %.4f of the picks, before %.4f", gone, i, share, float64(weights[i])/float64(sum))
			}
		}
	}
}

// A retry goes to each other eligible member before it gives up, then to one not yet
// probed, and ends.
func TestPickExcept(t *testing.T) {
	for _, policy := range []pool.Policy{pool.RoundRobin, pool.WeightedRoundRobin} {
		v, l := viewOf(policy, []int{60_000, 1, 1, 1}, 2), new(Load)
		for range 50 {
			var tried []int
			for {
				m := PickExcept(v, l, Ask{}, tried)
				if m < 0 {
					break
				}
				if slices.Contains(tried, m) || m == 2 {
					t.Fatalf("%v: after %v picked %d", policy, tried, m)
				}
				tried = append(tried, m)
			}
			if len(tried) != 3 {
				t.Fatalf("%v: gave up after %v", policy, tried)
			}
		}
	}
}

// However many were tried, the last one left is found.
func TestPickExceptFindsTheLast(t *testing.T) {
	const n, last = 400, 123
	v, l := viewOf(pool.RoundRobin, equalWeights(n)), new(Load)
	var tried []int
	for i := range n {
		if i != last {
			tried = append(tried, i)
		}
	}
	for turn := range n {
		if got := PickExcept(v, l, Ask{}, tried); got != last {
			t.Fatalf("turn %d: got %d, want %d", turn, got, last)
		}
	}
}

func TestPickExceptTakesSpares(t *testing.T) {
	spec := pool.Spec{Name: "web"}
	for i, port := range []uint16{80, 81, 82} {
		spec.Members = append(spec.Members, pool.MemberSpec{Name: fmt.Sprint(i), Address: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port)})
	}
	states := map[uint16]health.State{80: health.Up, 81: health.Unknown, 82: health.Down}
	v := pool.Compile(spec, func(t health.Target) health.Status { return health.Status{State: states[t.Address.Port()]} }, nil)
	l := new(Load)
	if m := PickExcept(v, l, Ask{}, []int{0}); m != 1 {
		t.Errorf("after the only Up member got %d, want 1, the Unknown one", m)
	}
	if m := PickExcept(v, l, Ask{}, []int{0, 1}); m != -1 {
		t.Errorf("got %d, want -1: a Down member is not tried while another was Up", m)
	}
}

func TestPickFromNobody(t *testing.T) {
	v := viewOf(pool.RoundRobin, nil)
	if Pick(v, new(Load), Ask{}) != -1 || PickExcept(v, new(Load), Ask{}, []int{0}) != -1 {
		t.Error("picked from an empty pool")
	}
}

// From many goroutines at once the distribution stays exact: no pick is lost or made
// twice.
func TestPicksAtOnce(t *testing.T) {
	weights := randomWeights(10)
	v, l := viewOf(pool.WeightedRoundRobin, weights), new(Load)
	const goroutines, cycles = 4, 200
	counts := make([][]int, goroutines)
	var wg sync.WaitGroup
	for g := range counts {
		wg.Go(func() { counts[g] = picks(v, l, cycles*len(v.Order)) })
	}
	wg.Wait()
	for i, w := range weights {
		got := 0
		for g := range counts {
			got += counts[g][i]
		}
		if want := goroutines * cycles * w; got != want {
			t.Errorf("member %d: %d picks, want %d", i, got, want)
		}
	}
}

func TestNoAllocs(t *testing.T) {
	v, l := viewOf(pool.WeightedRoundRobin, randomWeights(1000)), new(Load)
	tried := []int{1, 2, 3}
	if n := testing.AllocsPerRun(1000, func() { Pick(v, l, Ask{Key: 7}) }); n != 0 {
		t.Errorf("Pick: %v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() { PickExcept(v, l, Ask{Key: 7}, tried) }); n != 0 {
		t.Errorf("PickExcept: %v allocations", n)
	}
}
