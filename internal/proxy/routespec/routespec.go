// Package routespec makes of routes and filters, as they are written, the table that the
// gateway goes by. It owns nothing but the way from the one to the other; the written form
// has been checked (package state).
//
// Entry point: Table.
//
// Concurrency: functions without shared state.
package routespec

import (
	"pharos/internal/cluster/state"
	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/pool"
)

// Table returns the table of the routes in r, which lead to pools. affinities are by name of
// pool. prev, if not nil, is the table that it follows. All errors are returned.
func Table(r *state.Resources, pools []*pool.Pool, affinities map[string]affinity.Spec, means filter.Means, prev *httpproxy.Table) (*httpproxy.Table, []error) {
	table, errs := httpproxy.NewTable(r.Rules(), pools, affinities, prev)
	table.Reach(reaches(r.Pools), prev)
	sets := make([]filter.Set, len(r.Filters))
	for i := range sets {
		sets[i] = r.Filters[i].Spec()
	}
	needs := make([]httpproxy.NeedsFilters, len(r.Routes))
	for i := range needs {
		needs[i] = httpproxy.NeedsFilters{Sets: r.Routes[i].Filters, Own: r.Routes[i].OwnFilters}
	}
	return table, append(errs, table.Filter(sets, needs, means, prev)...)
}
