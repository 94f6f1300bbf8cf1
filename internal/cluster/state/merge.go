package state

import (
	"fmt"
	"slices"
)

// merger joins applied objects to the file's resources, one after the other,
// and leaves out those that would make the whole unsound.
type merger struct {
	resources *Resources
	inFile    map[Ref]bool
	pools     *poolNames
	problems  []Problem
}

func newMerger(base *Resources) *merger {
	m := &merger{
		resources: &Resources{Pools: slices.Clone(base.Pools), Filters: slices.Clone(base.Filters), Steer: slices.Clone(base.Steer), Routes: slices.Clone(base.Routes)},
		inFile:    map[Ref]bool{},
		pools:     newPoolNames(),
	}
	for i := range base.Pools {
		m.inFile[Ref{KindPool, base.Pools[i].Key()}] = true
		m.pools.add(base.Pools[i].Name)
	}
	for i := range base.Filters {
		m.inFile[Ref{KindFilter, base.Filters[i].Key()}] = true
	}
	for i := range base.Steer {
		m.inFile[Ref{KindSteer, base.Steer[i].Key()}] = true
	}
	for i := range base.Routes {
		m.inFile[Ref{KindRoute, base.Routes[i].Key()}] = true
	}
	return m
}

// add joins o. Pools must come before what refers to them.
func (m *merger) add(o *Object) {
	switch {
	case o.resource == nil:
		m.leaveOut(o, o.cause, "apply it again with this version, or delete it")
		return
	case m.inFile[o.Ref]:
		m.leaveOut(o, "is also in the configuration file, which goes first", "change it there, or take it out of the file")
		return
	}
	switch r := o.resource.(type) {
	case *Pool:
		m.pools.add(r.Name)
		m.resources.Pools = append(m.resources.Pools, *r)
	case *FilterSet:
		m.resources.Filters = append(m.resources.Filters, *r)
	case *Steer:
		if m.hasPool(o, r.Pool) && (r.Fallback.Pool == "" || m.hasPool(o, r.Fallback.Pool)) {
			m.resources.Steer = append(m.resources.Steer, *r)
		}
	case *Route:
		if !slices.ContainsFunc(r.poolsOf(), func(name string) bool { return !m.hasPool(o, name) }) && m.hasFilters(o, r) {
			m.resources.Routes = append(m.resources.Routes, *r)
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
	if m.pools.known[pool] {
		return true
	}
	remedy := "apply the pool first, or point it to another"
	if near := m.pools.nearest(pool); near != "" {
		remedy = fmt.Sprintf("did you mean %q? Otherwise %s", near, remedy)
	}
	m.leaveOut(o, fmt.Sprintf("refers to pool %q, which does not exist", pool), remedy)
	return false
}
