package pool

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pharos/internal/traffic/health"
)

// After many lists of members, each after the one before, a registry has the targets, the views and the holders
// that one has which is made of the last lists at once; and no list that somebody was given has changed.
func TestSetMembersIsAsFromTheBeginning(t *testing.T) {
	status := func(health.Target) health.Status { return health.Status{State: health.Up, Cause: "as ever"} }
	key := func(a health.Target) string { return a.Address.String() }
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 3))
		specs := make([]Spec, 4)
		for i := range specs {
			specs[i] = Spec{Name: fmt.Sprint("pool", i), Check: health.Check{Kind: health.TCP}}
		}
		registry, err := NewRegistry(specs, status, nil)
		if err != nil {
			t.Fatal(err)
		}
		var given, copies [][]health.Target
		for n := range 200 {
			i := r.IntN(len(specs))
			var members []MemberSpec
			for address := range 60 {
				if was := slices.ContainsFunc(specs[i].Members, func(m MemberSpec) bool { return m.Name == fmt.Sprint("m", address) }); was != (r.IntN(6) == 0) {
					members = append(members, MemberSpec{
						Name: fmt.Sprint("m", address), Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(address)}), 80),
						Weight: 1 + r.IntN(2), Override: Override{Weight: r.IntN(2) * 7},
					})
				}
			}
			specs[i].Members = members
			before := registry.Targets()
			in, out, _ := registry.SetMembers(specs[i], status)
			given, copies = append(given, registry.Targets()), append(copies, slices.Clone(registry.Targets()))
			want, err := NewRegistry(specs, status, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := slices.SortedFunc(slices.Values(registry.Targets()), order), slices.SortedFunc(slices.Values(want.Targets()), order); !slices.Equal(got, want) {
				t.Fatalf("seed %d, change %d: %d targets, want %d", seed, n, len(got), len(want))
			}
			for _, target := range in {
				if slices.Contains(before, target) || !slices.Contains(registry.Targets(), target) {
					t.Fatalf("seed %d, change %d: %s is told to be new", seed, n, key(target))
				}
			}
			for _, target := range out {
				if !slices.Contains(before, target) || slices.Contains(registry.Targets(), target) {
					t.Fatalf("seed %d, change %d: %s is told to be gone", seed, n, key(target))
				}
			}
			for _, p := range want.Pools() {
				got := registry.Pool(p.Name()).View()
				if !isLike(got.Members, p.View().Members) || !slices.Equal(got.Eligible, p.View().Eligible) || !slices.Equal(got.Order, p.View().Order) {
					t.Fatalf("seed %d, change %d: pool %s has the members\n%+v, want\n%+v", seed, n, p.Name(), got.Members, p.View().Members)
				}
			}
		}
		for i := range given {
			if !slices.Equal(given[i], copies[i]) {
				t.Fatalf("seed %d: the list after change %d was written to", seed, i)
			}
		}
	}
}

func order(a, b health.Target) int { return a.Address.Compare(b.Address) }
