package sign

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRepair against the sorted list: after the repair, each key tells the next one.
func TestRepair(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		in := func(p float64) (keys []int) {
			for k := range 12 {
				if rnd.Float64() < p {
					keys = append(keys, k)
				}
			}
			return keys
		}
		old := in(0.6)
		if len(old) == 0 {
			continue
		}
		stays := old[rnd.IntN(len(old))]
		removed := map[int]bool{}
		for _, k := range in(0.5) {
			if slices.Contains(old, k) && k != stays {
				removed[k] = true
			}
		}
		added := slices.DeleteFunc(in(0.4), func(k int) bool { return slices.Contains(old, k) })
		next := map[int]int{}
		for i, k := range old {
			next[k] = old[(i+1)%len(old)]
		}
		r := repair[int]{
			compare: cmp.Compare[int], removed: removed, added: added,
			following: func(k int) int { return next[k] },
			preceding: func(k int) int {
				best := old[len(old)-1]
				for _, o := range old {
					if o < k {
						best = o
					}
				}
				return best
			},
		}
		got := map[int]int{}
		for _, k := range old {
			if !removed[k] {
				got[k] = next[k]
			}
		}
		for _, k := range r.owners() {
			if removed[k] {
				t.Fatalf("%v-%v+%v: %d is an owner", old, removed, added, k)
			}
			got[k] = r.after(k)
		}
		now := slices.Sorted(slices.Values(append(slices.DeleteFunc(slices.Clone(old), func(k int) bool { return removed[k] }), added...)))
		for i, k := range now {
			if want := now[(i+1)%len(now)]; got[k] != want {
				t.Fatalf("%v-%v+%v: behind %d is %d, want %d", old, removed, added, k, got[k], want)
			}
		}
		if len(got) != len(now) {
			t.Fatalf("%v-%v+%v: %v", old, removed, added, got)
		}
	}
}
