package state

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
)

// file is the resources of a configuration file, and what is known by their names: made once
// for a file, shared by all states that are based on it.
type file struct {
	*Resources
	seed   maphash.Seed
	pools  map[string]bool
	others map[Ref]bool       // filters and steered names
	routes map[uint64][]int32 // by the hash of their keys: keys are not kept a second time
}

func newFile(r *Resources) *file {
	f := &file{Resources: r, seed: maphash.MakeSeed(), pools: make(map[string]bool, len(r.Pools)), others: map[Ref]bool{}, routes: make(map[uint64][]int32, len(r.Routes))}
	for i := range r.Pools {
		f.pools[r.Pools[i].Name] = true
	}
	for i := range r.Filters {
		f.others[Ref{KindFilter, r.Filters[i].Key()}] = true
	}
	for i := range r.Steer {
		f.others[Ref{KindSteer, r.Steer[i].Key()}] = true
	}
	numbers := make([]int32, len(r.Routes)) // one list that is cut into pieces
	for i := range r.Routes {
		numbers[i] = int32(i)
		hash := f.hash(r.Routes[i].Key())
		if same := f.routes[hash]; same != nil {
			f.routes[hash] = append(same, int32(i))
			continue
		}
		f.routes[hash] = numbers[i : i+1 : i+1]
	}
	return f
}

func (f *file) hash(key string) uint64 { return maphash.String(f.seed, key) }

// has reports whether the file has the resource that is called so.
func (f *file) has(r Ref) bool {
	switch r.Kind {
	case KindPool:
		return f.pools[r.Name]
	case KindRoute:
		return slices.ContainsFunc(f.routes[f.hash(r.Name)], func(i int32) bool { return f.Routes[i].Key() == r.Name })
	}
	return f.others[r]
}

// merger joins applied objects to the file's resources, one after the other,
// and leaves out those that would make the whole unsound.
type merger struct {
	*State            // whose resources and problems are made
	pools  *poolNames // made when a name is not there
}

// nearest returns the pool that a wrong name was most likely meant to be, or "".
func (m *merger) nearest(wrong string) string {
	if m.pools == nil {
		m.pools = newPoolNames()
		for name := range m.file.pools {
			m.pools.add(name)
		}
		for _, o := range m.objects {
			if o.Kind == KindPool && o.resource != nil {
				m.pools.add(o.Name)
			}
		}
	}
	return m.pools.nearest(wrong)
}

// merged fills in what follows from the file and objects, and returns s.
func (s *State) merged() *State {
	f := s.file
	s.problems = nil
	s.resources = &Resources{ // lists are the file's own until they get more
		Pools: slices.Clip(f.Pools), Filters: slices.Clip(f.Filters), Steer: slices.Clip(f.Steer), Routes: slices.Clip(f.Routes),
	}
	m := &merger{State: s}
	for _, o := range s.objects {
		m.add(o)
	}
	return s.ordered()
}

// mergedBeside is merged for a state that differs from prev in the objects of refs only. Where
// nothing depends on them, all else is prev's.
func (s *State) mergedBeside(prev *State, refs []Ref) *State {
	if prev.file != s.file || slices.ContainsFunc(refs, func(r Ref) bool { return r.Kind != KindRoute && r.Kind != KindOverride }) {
		return s.merged()
	}
	same := *prev.resources
	s.resources = &same
	said := slices.ContainsFunc(refs, func(r Ref) bool { return r.Kind == KindOverride })
	s.problems = slices.DeleteFunc(slices.Clone(prev.problems), func(p Problem) bool {
		return slices.Contains(refs, p.Ref) || said && p.Kind == KindOverride
	})
	m := &merger{State: s}
	if said { // there are few of them
		same.Overrides = nil
		for _, o := range s.objects {
			if o.Kind == KindOverride {
				m.add(o)
			}
		}
	}
	refs = slices.DeleteFunc(slices.Clone(refs), func(r Ref) bool { return r.Kind != KindRoute })
	if len(refs) == 0 {
		return s.ordered()
	}
	rest := prev.resources.Applied
	same.Applied = make([]*Route, 0, len(rest)+len(refs))
	for _, ref := range slices.Compact(slices.SortedFunc(slices.Values(refs), compareRefs)) {
		at, there := slices.BinarySearchFunc(rest, ref.Name, func(t *Route, name string) int { return cmp.Compare(t.Key(), name) })
		same.Applied = append(same.Applied, rest[:at]...)
		if rest = rest[at:]; there {
			rest = rest[1:]
		}
		if o, there := s.Object(ref); there {
			m.add(o)
		}
	}
	same.Applied = append(same.Applied, rest...)
	return s.ordered()
}

func (s *State) ordered() *State {
	slices.SortFunc(s.problems, func(a, b Problem) int {
		return cmp.Or(compareRefs(a.Ref, b.Ref), cmp.Compare(a.Text, b.Text))
	})
	return s
}

// add joins o. What it refers to is there before it.
func (m *merger) add(o *Object) {
	switch {
	case o.resource == nil:
		m.leaveOut(o, o.cause, "apply it again with this version, or delete it")
		return
	case m.file.has(o.Ref):
		m.leaveOut(o, "is also in the configuration file, which goes first", "change it there, or take it out of the file")
		return
	}
	switch r := o.resource.(type) {
	case *Pool:
		m.resources.Pools = append(m.resources.Pools, *r)
	case *FilterSet:
		m.resources.Filters = append(m.resources.Filters, *r)
	case *Steer:
		if m.hasPool(o, r.Pool) && (r.Fallback.Pool == "" || m.hasPool(o, r.Fallback.Pool)) {
			m.resources.Steer = append(m.resources.Steer, *r)
		}
	case *Route:
		if !slices.ContainsFunc(r.poolsOf(), func(name string) bool { return !m.hasPool(o, name) }) && m.hasFilters(o, r) {
			m.resources.Applied = append(m.resources.Applied, r)
		}
	case *Override:
		m.resources.Overrides = append(m.resources.Overrides, *r)
	}
}

func (m *merger) leaveOut(o *Object, text, remedy string) {
	m.problems = append(m.problems, Problem{o.Ref, text, remedy})
}

// hasFilters reports whether the filters that a route refers to are there and fit it. A route
// without one of them would let requests through that it is to keep out, so it is left out.
func (m *merger) hasFilters(o *Object, r *Route) bool {
	for _, name := range r.Filters {
		set := filterNamed(m.resources.Filters, name)
		if set == nil {
			m.leaveOut(o, fmt.Sprintf("refers to filters %q, which do not exist", name), "apply them first, or take them out of the route")
			return false
		}
	}
	if text := r.lacks(m.resources.Filters); text != "" {
		m.leaveOut(o, text, "give the variable to the path, or take it out of the filters")
		return false
	}
	return true
}

// hasPool reports whether the pool that o refers to is there.
func (m *merger) hasPool(o *Object, pool string) bool {
	if m.file.pools[pool] {
		return true
	}
	if p, there := m.Object(Ref{KindPool, pool}); there && p.resource != nil {
		return true
	}
	remedy := "apply the pool first, or point it to another"
	if near := m.nearest(pool); near != "" {
		remedy = fmt.Sprintf("did you mean %q? Otherwise %s", near, remedy)
	}
	m.leaveOut(o, fmt.Sprintf("refers to pool %q, which does not exist", pool), remedy)
	return false
}
