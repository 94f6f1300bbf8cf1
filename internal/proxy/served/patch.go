package served

import (
	"maps"
	"slices"

	"pharos/internal/proxy/mirror"
	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/terms"
)

// NewRoute is a route that comes into a table that there is, with what else is by route.
type NewRoute struct {
	route.Rule
	Filters NeedsFilters
	Mirror  *mirror.Spec       // nil: its requests are not copied
	Terms   *terms.Terms       // nil: it has none
	File    func() *pages.File // nil: it does not answer with one
}

// With returns the table that has some routes more and some less, by rules with keys (route.Table.With),
// and shares all else with t: pools, and what is kept of them. ok is false if all has to be
// made anew; New and what follows it decide.
func (t *Table) With(gone []route.Rule, more []NewRoute) (next *Table, ok bool) {
	c := route.Change{Gone: gone}
	for i := range more {
		c.New = append(c.New, more[i].Rule)
	}
	routes, made, ok := t.routes.With(c)
	if !ok {
		return nil, false
	}
	next = new(Table)
	*next = *t
	next.routes = routes
	n := routes.Numbers()
	next.byRoute = sized(t.byRoute, n)
	next.files, next.mirrors, next.terms = sizedIf(t.files, n), sizedIf(t.mirrors, n), sizedIf(t.terms, n)
	if t.filters != nil {
		f := *t.filters
		f.chains, f.tallies = sized(f.chains, n), sized(f.tallies, n)
		next.filters = &f
	}
	next.uses = maps.Clone(t.uses)
	for _, rule := range gone {
		if r := t.routes.Keyed(rule); r != nil {
			next.uses[t.byRoute[r.Number]]--
		}
	}
	for _, m := range made {
		if !next.fit(t, m.Route, &more[m.From]) {
			return nil, false
		}
		next.uses[next.byRoute[m.Number]]++
	}
	next.forgetCounters()
	return next, true
}

// sized returns a copy of list with n elements or more.
func sized[T any](list []T, n int) []T {
	next := make([]T, max(n, len(list)))
	copy(next, list)
	return next
}

// sizedIf is sized for a list that is nil when nobody has anything in it.
func sizedIf[T any](list []T, n int) []T {
	if list == nil {
		return nil
	}
	return sized(list, n)
}

// fit gives a route that is new in t what is by route. prev still has what was there for its
// number, if another route had it, and for its name.
func (t *Table) fit(prev *Table, r *route.Route, made *NewRoute) bool {
	n := r.Number
	t.byRoute[n] = t.countersOf(routeName(&made.Rule))
	if made.File != nil && t.files == nil {
		t.files = make([]func() *pages.File, t.routes.Numbers())
	}
	if t.files != nil {
		t.files[n] = made.File
	}
	if made.Terms != nil && t.terms == nil {
		t.terms = make([]*terms.Terms, t.routes.Numbers())
	}
	if t.terms != nil {
		t.terms[n] = made.Terms
	}
	if made.Mirror != nil && t.mirrors == nil {
		t.mirrors = make([]*Mirroring, t.routes.Numbers())
	}
	if t.mirrors != nil {
		var counts *mirror.Counts
		if i := slices.IndexFunc(prev.mirrors, func(m *Mirroring) bool { return m != nil && m.Route == r.Title() }); i >= 0 {
			counts = prev.mirrors[i].Counts
		}
		t.mirrors[n] = t.mirroringOf(r, made.Mirror, counts)
	}
	if t.filters == nil {
		return len(made.Filters.Sets) == 0
	}
	chain, err := t.filters.book.Chain(made.Filters.Sets, made.Filters.Own)
	if err != nil || chain != nil && chain.Lacks(r) != "" {
		return false
	}
	if t.filters.chains[n], t.filters.tallies[n] = chain, nil; chain == nil {
		return true
	}
	for old := range prev.routes.All() {
		if prev.filters.chains[old.Number] == chain && old.Title() == r.Title() {
			t.filters.tallies[n] = prev.filters.tallies[old.Number]
			return true
		}
	}
	t.filters.tallies[n] = chain.NewTally()
	return true
}

// countersOf returns the counters of a name, which are new if it has none and there may be
// more of them.
func (t *Table) countersOf(name string) *RouteCounters {
	if len(t.routeCounters) >= MaxTimed && !slices.ContainsFunc(t.routeCounters, func(c *RouteCounters) bool { return c.Name == name }) {
		name = OtherTimed
	}
	if i := slices.IndexFunc(t.routeCounters, func(c *RouteCounters) bool { return c.Name == name }); i >= 0 {
		return t.routeCounters[i]
	}
	c := &RouteCounters{Name: name}
	t.routeCounters = append(slices.Clip(t.routeCounters), c)
	return c
}

// forgetCounters leaves out the counters that no route has any more.
func (t *Table) forgetCounters() {
	unused := func(c *RouteCounters) bool { return t.uses[c] == 0 }
	if slices.ContainsFunc(t.routeCounters, unused) {
		t.routeCounters = slices.DeleteFunc(slices.Clone(t.routeCounters), unused)
	}
	maps.DeleteFunc(t.uses, func(_ *RouteCounters, n int) bool { return n == 0 })
}
