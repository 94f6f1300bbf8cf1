package state

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// mostDifferences is how many resources Differences names; arbitrary: who changes more at once
// knows what.
const mostDifferences = 50

// Differences says which resources two configurations do not have alike, in the words of an
// Effect.
func Differences(before, now *Resources) (changed []string) {
	old := map[Ref]Resource{}
	for _, r := range before.All() {
		old[refOf(r)] = r
	}
	more := 0
	add := func(ref Ref, what Outcome) {
		if len(changed) == mostDifferences {
			more++
			return
		}
		changed = append(changed, Effect{Ref: ref, Outcome: what}.String())
	}
	for _, r := range now.All() {
		ref := refOf(r)
		switch was, there := old[ref]; {
		case !there:
			add(ref, Added)
		case !reflect.DeepEqual(was, r):
			add(ref, Replaced)
		}
		delete(old, ref)
	}
	for _, r := range before.All() {
		if _, gone := old[refOf(r)]; gone {
			add(refOf(r), Removed)
		}
	}
	if more > 0 {
		changed = append(changed, fmt.Sprintf("and %d more", more))
	}
	return changed
}

func refOf(r Resource) Ref {
	kind := KindRoute
	switch r.(type) {
	case *Pool:
		kind = KindPool
	case *FilterSet:
		kind = KindFilter
	case *Steer:
		kind = KindSteer
	}
	return Ref{kind, r.Key()}
}

// RouteChanges returns the applied routes that only before and that only now has, if the two
// states differ in nothing else that Resources returns; ok is false if they do, or may.
func RouteChanges(before, now *State) (gone, more []*Route, ok bool) {
	a, b := before.resources, now.resources
	if before.file != now.file || !isOneList(a.Pools, b.Pools) || !isOneList(a.Filters, b.Filters) || !isOneList(a.Steer, b.Steer) || !isOneList(a.Overrides, b.Overrides) {
		return nil, nil, false
	}
	was, is := a.Applied, b.Applied
	for len(was)+len(is) > 0 {
		switch {
		case len(was) > 0 && len(is) > 0 && was[0] == is[0]:
			was, is = was[1:], is[1:]
		case len(is) == 0 || len(was) > 0 && was[0].Key() <= is[0].Key():
			gone, was = append(gone, was[0]), was[1:]
		default:
			more, is = append(more, is[0]), is[1:]
		}
	}
	return gone, more, true
}

// OverrideChanges returns the pools of whose members something else was said, if the two states differ in
// nothing else that Resources returns; ok is false if they do, or may.
func OverrideChanges(before, now *State) (pools []string, ok bool) {
	a, b := before.resources, now.resources
	if before.file != now.file || !isOneList(a.Pools, b.Pools) || !isOneList(a.Filters, b.Filters) || !isOneList(a.Steer, b.Steer) || !slices.Equal(a.Applied, b.Applied) {
		return nil, false
	}
	other := map[string]bool{}
	was := make(map[string]*Override, len(a.Overrides))
	for i := range a.Overrides {
		was[a.Overrides[i].Key()] = &a.Overrides[i]
	}
	for i := range b.Overrides {
		o := &b.Overrides[i]
		if old := was[o.Key()]; old == nil || *old != *o {
			other[o.Pool] = true
		}
		delete(was, o.Key())
	}
	for _, o := range was {
		other[o.Pool] = true
	}
	return slices.Sorted(maps.Keys(other)), true
}

// isOneList reports whether two lists are the same one, not only alike.
func isOneList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
