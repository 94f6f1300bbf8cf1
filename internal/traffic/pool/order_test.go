package pool

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// nginxOrder is smooth weighted round robin as its authors tell it, the oracle for
// smooth: gain, pick the first of those with most, pay.
func nginxOrder(members []int32, weights []int) []int32 {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	current := make([]int, len(weights))
	var order []int32
	for range sum {
		best := -1
		for i, w := range weights {
			current[i] += w
			if best < 0 || current[i] > current[best] {
				best = i
			}
		}
		current[best] -= sum
		order = append(order, members[best])
	}
	return order
}

// The example of the algorithm's authors: 5, 1, 1 gives a a b a c a a.
func TestSmoothExample(t *testing.T) {
	want := []int32{0, 0, 1, 0, 2, 0, 0}
	if got := smooth([]int32{0, 1, 2}, []int{5, 1, 1}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The fast way gives, pick for pick, what the plain way gives.
func TestSmoothIsNginx(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		members, weights := make([]int32, 1+r.IntN(12)), []int{}
		for i := range members {
			members[i] = int32(i * 3)
			weights = append(weights, 1+r.IntN([]int{2, 4, 30}[seed%3]))
		}
		got, want := smooth(members, weights), nginxOrder(members, weights)
		if !slices.Equal(got, want) {
			t.Fatalf("weights %v:\ngot  %v\nwant %v", weights, got, want)
		}
	}
}

// Over a cycle each member is picked exactly as often as its weight, and at no
// point of it is anybody far from its share: measured, less than one pick.
func TestSmoothness(t *testing.T) {
	worst := 0.0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		members, weights, sum := make([]int32, 2+r.IntN(11)), []int{}, 0
		for i := range members {
			members[i] = int32(i)
			weights = append(weights, 1+r.IntN(40))
			sum += weights[i]
		}
		picked := make([]int, len(members))
		for step, m := range smooth(members, weights) {
			picked[m]++
			for i, w := range weights {
				share := float64(step+1) * float64(w) / float64(sum)
				worst = max(worst, share-float64(picked[i]), float64(picked[i])-share)
			}
		}
		if !slices.Equal(picked, weights) {
			t.Fatalf("weights %v were picked %v times", weights, picked)
		}
	}
	t.Logf("worst distance from the share: %.2f picks", worst)
	if worst > 1.5 {
		t.Errorf("somebody was %.2f picks from its share, want <= 1.5", worst)
	}
}

func TestOrder(t *testing.T) {
	members := []int32{4, 7, 9}
	for _, c := range []struct {
		policy  Policy
		weights []int
		want    []int32
	}{
		{First, []int{5, 1, 1}, members},                         // looks at no weights
		{RoundRobin, []int{1000, 500, 500}, []int32{4, 7, 9, 4}}, // but at shares
		{WeightedRoundRobin, []int{3, 3, 3}, members},
		{WeightedRoundRobin, []int{4, 2, 2}, []int32{4, 7, 9, 4}}, // by what they have in common
		{WeightedRoundRobin, []int{200, 100, 100}, []int32{4, 7, 9, 4}},
	} {
		if got := c.policy.order(members, c.weights); !slices.Equal(got, c.want) {
			t.Errorf("%v %v: got %v, want %v", c.policy, c.weights, got, c.want)
		}
	}
	if got := WeightedRoundRobin.order(nil, nil); len(got) != 0 {
		t.Errorf("of nobody: %v", got)
	}
}

// Weights too large for a cycle are scaled: everybody stays in, and every share is
// right to a slot.
func TestLargeWeightsAreScaled(t *testing.T) {
	members, weights := []int32{0, 1, 2, 3}, []int{65521, 65519, 30011, 1}
	order := WeightedRoundRobin.order(members, weights)
	if len(order) > minSlots+len(members) {
		t.Errorf("a cycle of %d picks", len(order))
	}
	sum, picked := 0, make([]int, 4)
	for _, w := range weights {
		sum += w
	}
	for _, m := range order {
		picked[m]++
	}
	for i, w := range weights {
		want := float64(w) / float64(sum) * float64(len(order))
		if d := float64(picked[i]) - want; d > 1 || d < -1 {
			t.Errorf("member %d: %d picks of %d, want %.1f", i, picked[i], len(order), want)
		}
	}
}

func BenchmarkCompileOrder(b *testing.B) {
	for range b.N {
		members, weights := make([]int32, 1000), make([]int, 1000)
		for i := range members {
			members[i], weights[i] = int32(i), 1+i%100
		}
		WeightedRoundRobin.order(members, weights)
	}
}
