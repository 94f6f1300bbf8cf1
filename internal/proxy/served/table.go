// Package served is what the HTTP gateway serves: one immutable snapshot of compiled routes,
// of the pools that they lead to, and of what else belongs to a route or a pool: filters,
// terms, files, copies, breakers, affinity, counters.
//
// It owns the joining of these, and what one snapshot takes over from the one before: counters,
// accounts, what affinity remembers. It does not own requests (package httpproxy), nor what
// configuration looks like (package routespec).
//
// Entry points: New, then the methods that give a table the rest; Table.With for a table that
// has some routes more or less.
//
// Concurrency: a table is made by one goroutine, and constant from when it is published. What
// moves in it (counters, affinities, pools) moves by itself, atomically or under its own lock.
package served

import (
	"sync/atomic"

	"pharos/internal/proxy/breaker"
	"pharos/internal/proxy/holding"
	"pharos/internal/proxy/origins"
	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/terms"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/pool"
)

// Table is one snapshot of what the gateway serves: compiled routes and the
// pools they lead to. It is immutable; the pools in it move by themselves.
type Table struct {
	routes   *route.Table
	pools    []*pool.Pool // by route.Route.Index
	counters []*PoolCounters

	byRoute       []*RouteCounters       // by route.Route.Number; several may be of one name
	routeCounters []*RouteCounters       // each once
	uses          map[*RouteCounters]int // how many routes have them
	others        *Timings               // of pools beyond MaxTimed

	affinities []atomic.Pointer[affinity.Affinity] // nil: the pool has none
	holds      []*holding.Room                     // nil: requests are not held
	filters    *filters                            // nil: no route has any
	reaches    []*origins.Reach                    // nil: members are spoken to over HTTP/1.1 in the clear
	files      []func() *pages.File                // by route.Route.Number; nil: no route has any
	breakers   []*breaker.Breaker                  // by route.Route.Index; nil: no pool has any
	mirrors    []*Mirroring                        // by route.Route.Number; nil: no route has any
	terms      []*terms.Terms                      // by route.Route.Number; nil: no route has any
}

// New compiles rules over pools. All errors are returned, and the table
// without the bad rules. prev, if not nil, is the table it follows: pools that
// keep their name keep their counters, and the clients that their affinity
// remembers. affinities are by name of pool, for those that have one.
func New(rules []route.Rule, pools []*pool.Pool, affinities map[string]affinity.Spec, prev *Table) (*Table, []error) {
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = p.Name()
	}
	routes, errs := route.Compile(rules, names)
	t := &Table{routes: routes, pools: pools, counters: make([]*PoolCounters, len(pools)), affinities: make([]atomic.Pointer[affinity.Affinity], len(pools)), holds: make([]*holding.Room, len(pools))}
	kept, known := map[string]*PoolCounters{}, map[string]*affinity.Affinity{}
	if prev != nil {
		for i, p := range prev.pools {
			kept[p.Name()], known[p.Name()] = prev.counters[i], prev.affinities[i].Load()
		}
	}
	for i, name := range names {
		if t.counters[i] = kept[name]; t.counters[i] == nil {
			t.counters[i] = &PoolCounters{Name: name}
		}
		if spec, has := affinities[name]; has {
			t.affinities[i].Store(affinity.For(pools[i].View(), spec, known[name]))
		}
	}
	t.byRoute, t.routeCounters = countRoutes(rules, prev)
	t.uses = make(map[*RouteCounters]int, len(t.routeCounters))
	for r := range t.routes.All() {
		t.uses[t.byRoute[r.Number]]++
	}
	t.timePools(prev)
	return t, errs
}

// Affinity returns that of the pool that r leads to; nil if it has none.
func (t *Table) Affinity(r *route.Route) *affinity.Affinity {
	return t.AffinityOf(r.Index, t.pools[r.Index].View())
}

// AffinityOf returns the affinity of a pool for the members of its view, which come and
// go. Two that make it anew at once make the same; what is remembered they share.
func (t *Table) AffinityOf(i int, v *pool.View) *affinity.Affinity {
	a := t.affinities[i].Load()
	if a == nil || a.Fits(v) {
		return a
	}
	a = affinity.For(v, *a.Spec(), a)
	t.affinities[i].Store(a)
	return a
}

// Routes returns the compiled routes.
func (t *Table) Routes() *route.Table { return t.routes }

// Pools returns the counters of each pool.
func (t *Table) Pools() []*PoolCounters { return t.counters }

// Pool returns the pool that r leads to, the first of a split; nil if it leads to none.
func (t *Table) Pool(r *route.Route) *pool.Pool {
	if r.Pool == "" {
		return nil
	}
	return t.pools[r.Index]
}

// PoolAt returns a pool by its number (route.Route.Index).
func (t *Table) PoolAt(i int) *pool.Pool { return t.pools[i] }

// AllPools returns the pools, by their numbers.
func (t *Table) AllPools() []*pool.Pool { return t.pools }

// CountersAt returns the counters of a pool by its number.
func (t *Table) CountersAt(i int) *PoolCounters { return t.counters[i] }
