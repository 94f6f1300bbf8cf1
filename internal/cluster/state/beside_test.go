package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A state that many changes led to, one after the other, is the one that is made of the file and all
// objects at once; and what is refused is refused for the same reason.
func TestApplyIsAsFromTheBeginning(t *testing.T) {
	base := &Resources{Pools: []Pool{*pool("base")}, Routes: []Route{*routeTo("file.example", "base"), {Name: "named", Host: "*", Path: "/x", Pool: "base"}}}
	fresh := func(s *State) *State {
		var puts []Change
		for _, o := range s.Objects() {
			puts = append(puts, Change{Ref: o.Ref, Op: Put, Revision: o.Revision, Body: o.Body})
		}
		all, _ := New(base).Reset(s.Revision(), puts...)
		return all
	}
	says := func(s *State, c ...Change) string {
		next, effects, err := s.Validate(c...)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(effects, string(next.Encode()))
	}
	pools := []string{"base", "one", "two", "three"}
	hosts := []string{"a.example", "b.example", "file.example", "c.example", "d.example", "e.example"}
	shared, said, refused := 0, 0, 0
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := New(base)
		for n := range 80 {
			var changes []Change
			for range 1 + r.IntN(3) {
				name, host := pools[r.IntN(len(pools))], hosts[r.IntN(len(hosts))]
				revision := int64(n + 1)
				switch r.IntN(14) {
				case 10, 11, 12:
					o := &Override{Pool: name, Member: host, Weight: r.IntN(3), Said: time.Unix(int64(r.IntN(2)), 0).UTC()}
					changes = append(changes, put(revision, o))
				case 13:
					changes = append(changes, remove(revision, KindOverride, name+"/"+host), Change{Ref: Ref{KindOverride, "base/odd"}, Op: Put, Revision: revision, Body: []byte(`{"odd": 1}`)})
				case 0:
					changes = append(changes, put(revision, pool(name)))
				case 1:
					changes = append(changes, remove(revision, KindPool, name))
				case 2, 3:
					changes = append(changes, remove(revision, KindRoute, host+"/"))
				case 4:
					named := routeTo(host, name)
					named.Name = "named"
					changes = append(changes, put(revision, named))
				default:
					changes = append(changes, put(revision, routeTo(host, name)))
				}
			}
			all := fresh(s)
			if got, want := says(s, changes...), says(all, changes...); got != want {
				t.Fatalf("seed %d, change %d: %v\ngot  %s\nwant %s", seed, n, changes, got, want)
			}
			next, effects := s.Apply(changes...)
			want, wanted := all.Apply(changes...)
			want = fresh(want)
			if fmt.Sprint(effects) != fmt.Sprint(wanted) || fmt.Sprint(next.Problems()) != fmt.Sprint(want.Problems()) || written(next) != written(want) {
				t.Fatalf("seed %d, change %d: %v\ngot  %v %v\nwant %v %v", seed, n, changes, effects, next.Problems(), wanted, want.Problems())
			}
			checkChanges(t, s, next, &shared)
			checkSaid(t, s, next, &said)
			if _, _, err := s.Validate(changes...); err != nil {
				refused++
			}
			s = next
		}
	}
	if shared < 50 || refused < 50 || said < 20 {
		t.Errorf("%d changes were of routes alone, %d of overrides alone, and %d would be refused; want more of each", shared, said, refused)
	}
}

// written returns all that is to be served, in text.
func written(s *State) string {
	return string(canonical(s.Resources().All())) + string(canonical(s.Resources().Overrides))
}

// checkSaid compares what OverrideChanges says with what of each pool is said.
func checkSaid(t *testing.T, before, now *State, said *int) {
	t.Helper()
	pools, ok := OverrideChanges(before, now)
	if !ok {
		return
	}
	if string(canonical(before.Resources().All())) != string(canonical(now.Resources().All())) {
		t.Fatal("more has changed than overrides")
	}
	of := func(s *State, pool string) (all []Override) {
		for _, o := range s.Resources().Overrides {
			if o.Pool == pool {
				all = append(all, o)
			}
		}
		return all
	}
	for _, name := range []string{"base", "one", "two", "three"} {
		if got, want := slices.Contains(pools, name), !slices.Equal(of(before, name), of(now, name)); got != want {
			t.Fatalf("pool %s: told of %v, want %v", name, got, want)
		}
	}
	if len(pools) > 0 {
		*said++
	}
}

// checkChanges compares what RouteChanges says with the lists.
func checkChanges(t *testing.T, before, now *State, shared *int) {
	t.Helper()
	gone, more, ok := RouteChanges(before, now)
	if !ok {
		return
	}
	*shared++
	have := map[*Route]int{}
	for _, r := range before.Resources().Applied {
		have[r]++
	}
	for _, r := range gone {
		have[r]--
	}
	for _, r := range more {
		have[r]++
	}
	for _, r := range now.Resources().Applied {
		have[r]--
	}
	for r, n := range have {
		if n != 0 {
			t.Fatalf("route %s is told of wrongly: %d", r.Key(), n)
		}
	}
}
