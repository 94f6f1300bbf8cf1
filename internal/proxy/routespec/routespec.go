// Package routespec makes of routes and filters, as they are written, the table that the
// gateway goes by. It owns nothing but the way from the one to the other; the written form
// has been checked (package state).
//
// Entry points: Table, With, Check.
//
// Concurrency: functions without shared state.
package routespec

import (
	"errors"

	"pharos/internal/cluster/state"
	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/pool"
)

// Table returns the table of the routes in r, which lead to pools. affinities are by name of
// pool. prev, if not nil, is the table that it follows. All errors are returned.
func Table(r *state.Resources, pools []*pool.Pool, affinities map[string]affinity.Spec, means filter.Means, prev *served.Table) (*served.Table, []error) {
	table, errs := served.New(r.Rules(), pools, affinities, prev)
	table.Reach(reaches(r.Pools), prev)
	table.Breakers(breakers(r.Pools), prev)
	table.Mirrors(mirrors(r), prev)
	table.Terms(everyTerms(r))
	sets := make([]filter.Set, len(r.Filters))
	for i := range sets {
		sets[i] = r.Filters[i].Spec()
	}
	needs := make([]served.NeedsFilters, r.CountRoutes())
	for i, t := range r.EveryRoute() {
		needs[i] = needsOf(t)
	}
	errs = append(errs, answerFiles(table, r, means.File)...)
	return table, append(errs, table.Filter(sets, needs, means, prev)...)
}

func needsOf(r *state.Route) served.NeedsFilters {
	return served.NeedsFilters{Sets: r.Filters, Own: r.OwnFilters}
}

// With returns the table that follows prev when of all that it was made from only some routes,
// which were applied at run time, are other ones. ok is false if Table has to make it.
func With(prev *served.Table, gone, more []*state.Route) (table *served.Table, ok bool) {
	var out []route.Rule
	for _, r := range gone {
		out = append(out, keyed(r))
	}
	var in []served.NewRoute
	for _, r := range more {
		file, err := answerFile(&r.Respond, nil) // what is applied names none
		if err != nil || r.Respond.File != "" {
			return nil, false
		}
		in = append(in, served.NewRoute{Rule: keyed(r), Filters: needsOf(r), Mirror: mirrorOf(r), Terms: termsOf(r), File: file})
	}
	return prev.With(out, in)
}

// Check reports why the routes of now cannot be a table: two of them are for the same requests,
// or there are too many that have to be tried. prev is the table that was made from before.
func Check(prev *served.Table, before, now *state.State) error {
	if gone, more, ok := state.RouteChanges(before, now); ok {
		var c route.Change
		for _, r := range gone {
			c.Gone = append(c.Gone, keyed(r))
		}
		for _, r := range more {
			c.New = append(c.New, keyed(r))
		}
		if _, _, ok = prev.Routes().With(c); ok {
			return nil
		}
	}
	r := now.Resources()
	names := make([]string, len(r.Pools))
	for i := range names {
		names[i] = r.Pools[i].Name
	}
	_, errs := route.Compile(r.Rules(), names)
	return errors.Join(errs...)
}

func keyed(r *state.Route) route.Rule {
	rule := r.Rule()
	rule.Key = r.Key()
	return rule
}
