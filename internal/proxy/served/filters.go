package served

import (
	"fmt"
	"slices"

	"pharos/internal/proxy/filter"
)

// filters are what the routes of a table have of them.
type filters struct {
	book    *filter.Book
	every   *filter.Chain   // of what all routes have; nil: nothing
	chains  []*filter.Chain // by route.Route.Number; nil: it has none
	tallies []*filter.Tally
}

// NeedsFilters says which sets of filters a route has.
type NeedsFilters struct {
	Sets []string
	Own  bool // without those for every route
}

// Filter has the routes of t go through filters. It is to be called before t is used; needs
// has one for each rule that t was compiled of. prev, if not nil, is the table that t follows:
// what has not changed keeps its accounts and counters. All errors are returned.
func (t *Table) Filter(sets []filter.Set, needs []NeedsFilters, means filter.Means, prev *Table) []error {
	var before *filters
	if prev != nil {
		before = prev.filters
	}
	if len(sets) == 0 && !slices.ContainsFunc(needs, func(n NeedsFilters) bool { return len(n.Sets) > 0 }) {
		return nil
	}
	f := &filters{chains: make([]*filter.Chain, len(needs)), tallies: make([]*filter.Tally, len(needs))}
	var errs []error
	f.book, errs = filter.Compile(sets, means, before.compiled())
	if f.every, _ = f.book.Chain(nil, false); f.every != nil && !f.every.HasPages(false) {
		f.every = nil // nothing else is for requests without a route
	}
	kept := before.byRoute(prev)
	for r := range t.routes.All() {
		chain, err := f.book.Chain(needs[r.Number].Sets, needs[r.Number].Own)
		if err == nil && chain != nil {
			if name := chain.Lacks(r); name != "" {
				err = fmt.Errorf("its filters write {%s}, which is no variable of its path", name)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("route %s: %w", r, err))
			continue
		}
		if chain == nil {
			continue
		}
		f.chains[r.Number] = chain
		if old, has := kept[r.Title()]; has && old.chain == chain {
			f.tallies[r.Number] = old.tally
		} else {
			f.tallies[r.Number] = chain.NewTally()
		}
	}
	t.filters = f
	return errs
}

func (f *filters) compiled() *filter.Book {
	if f == nil {
		return nil
	}
	return f.book
}

// counted is a chain of a route and what it has done.
type counted struct {
	chain *filter.Chain
	tally *filter.Tally
}

func (f *filters) byRoute(t *Table) map[string]counted {
	if f == nil {
		return nil
	}
	out := map[string]counted{}
	for r := range t.routes.All() {
		if chain := f.chains[r.Number]; chain != nil {
			out[r.Title()] = counted{chain, f.tallies[r.Number]}
		}
	}
	return out
}

// FilterCounters is a reading of what a step of a route's filters has done.
type FilterCounters struct {
	Route, Step     string
	Refused, Spared uint64
}

// Filters returns the counters of all steps that have acted, but not of more than most.
func (t *Table) Filters(most int) (all []FilterCounters) {
	if t == nil || t.filters == nil {
		return nil
	}
	for r := range t.routes.All() {
		chain, tally := t.filters.chains[r.Number], t.filters.tallies[r.Number]
		if chain == nil {
			continue
		}
		for i, step := range chain.Steps() {
			c := FilterCounters{r.Title(), step, tally.Refused[i].Load(), tally.Spared[i].Load()}
			if c.Refused+c.Spared > 0 && len(all) < most {
				all = append(all, c)
			}
		}
	}
	return all
}

// FiltersOf returns the filters of a route by its number, and what they have done; nil: it has
// none.
func (t *Table) FiltersOf(n int) (*filter.Chain, *filter.Tally) {
	if t.filters == nil {
		return nil, nil
	}
	return t.filters.chains[n], t.filters.tallies[n]
}

// EveryRoute returns the filters that all routes have, if they have pages: these are for
// requests, too, of which no route is known. nil: there are none.
func (t *Table) EveryRoute() *filter.Chain {
	if t.filters == nil {
		return nil
	}
	return t.filters.every
}
