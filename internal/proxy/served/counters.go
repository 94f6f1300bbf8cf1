package served

import (
	"cmp"
	"sync/atomic"

	"pharos/internal/proxy/histogram"
	"pharos/internal/proxy/route"
)

// MaxTimed is of how many routes, and of how many pools, times are counted apart: each is
// some thirty lines of a scrape. All others are counted together, as OtherTimed.
const (
	MaxTimed   = 500
	OtherTimed = "(others)"
)

// RouteCounters is what the gateway counts per route: requests by class of status, and how
// long they took in all.
type RouteCounters struct {
	Name  string // of the route, or its host and path
	Total histogram.Histogram
}

// routeName returns the name by which r is counted.
func routeName(rule *route.Rule) string {
	return cmp.Or(rule.Name, cmp.Or(rule.Host, "*")+cmp.Or(rule.Path, "/"))
}

// countRoutes makes the counters of rules, by their numbers; those that prev has go on.
func countRoutes(rules []route.Rule, prev *Table) (byNumber, all []*RouteCounters) {
	kept := map[string]*RouteCounters{}
	if prev != nil {
		for _, c := range prev.routeCounters {
			kept[c.Name] = c
		}
	}
	known := map[string]*RouteCounters{}
	counters := func(name string) *RouteCounters {
		if c := known[name]; c != nil {
			return c
		}
		if len(known) >= MaxTimed {
			name = OtherTimed
		}
		c := known[name]
		if c == nil {
			if c = kept[name]; c == nil {
				c = &RouteCounters{Name: name}
			}
			known[name] = c
			all = append(all, c)
		}
		return c
	}
	byNumber = make([]*RouteCounters, len(rules))
	for i := range rules {
		byNumber[i] = counters(routeName(&rules[i]))
	}
	return byNumber, all
}

// Timings are how long parts of requests to a pool took.
type Timings struct {
	Queue     histogram.Histogram // waiting for a member, of those that waited
	Connect   histogram.Histogram // opening a connection to a member, of those that did
	FirstByte histogram.Histogram // from turning to a member, to the head of its response
	Total     histogram.Histogram // from the first octet of the request, to the end of the response
}

// timePools gives counters that have no Timings yet some of their own, or those of all
// others if there are too many.
func (t *Table) timePools(prev *Table) {
	if t.others = new(Timings); prev != nil {
		t.others = prev.others
	}
	own := 0
	for _, c := range t.counters {
		if c.Times != nil && c.Times != t.others {
			own++
		}
	}
	for _, c := range t.counters {
		if c.Times != nil {
			continue
		}
		if c.Times = t.others; own < MaxTimed {
			c.Times = new(Timings)
			own++
		}
	}
}

// Times calls f with what is timed of each pool, and at last with that of all others.
func (t *Table) Times(f func(pool string, times *Timings)) {
	for _, c := range t.counters {
		if c.Times != t.others {
			f(c.Name, c.Times)
		}
	}
	f(OtherTimed, t.others)
}

// ByRoute returns the counters of a route by its number; nil: it is of a table before, which
// had more.
func (t *Table) ByRoute(n int) *RouteCounters {
	if n >= len(t.byRoute) {
		return nil
	}
	return t.byRoute[n]
}

// RouteCounters returns the counters of each route.
func (t *Table) RouteCounters() []*RouteCounters { return t.routeCounters }

// PoolCounters is what the gateway counts per pool. All atomic.
type PoolCounters struct {
	Name      string
	Requests  [6]atomic.Uint64 // by first digit of the status sent; 0: client was gone
	Retries   atomic.Uint64    // sent to another member
	Opinions  atomic.Uint64    // of them, since a member answered with an error
	NoMember  atomic.Uint64    // nobody to send to
	Unretried atomic.Uint64    // not sent to another member, since too many were at the time
	Times     *Timings         // constant after New; pools beyond MaxTimed share one
}
