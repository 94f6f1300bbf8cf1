package served

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/histogram"
	"pharos/internal/proxy/route"
	"pharos/internal/traffic/pool"
)

func sum(r histogram.Reading) (n uint64) {
	for _, v := range r.Buckets {
		n += v
	}
	return n
}

// TestTimedAreBounded: however many routes and pools there are, and whatever comes and goes,
// what is counted apart is bounded, and goes on over a change.
func TestTimedAreBounded(t *testing.T) {
	var rules []route.Rule
	var pools []*pool.Pool
	for i := range MaxTimed + 50 {
		name := fmt.Sprint("p", i)
		p := pool.New(name)
		p.Publish(pool.Compile(pool.Spec{Name: name}, nil, nil))
		pools = append(pools, p)
		rules = append(rules, route.Rule{Host: fmt.Sprintf("h%d.example", i), Pools: []route.Share{{Pool: name, Weight: 1}}})
	}
	rules[0].Name = "first"
	table, errs := New(rules, pools, nil, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	count := func(table *Table) (routes, timed int) {
		table.Times(func(string, *Timings) { timed++ })
		return len(table.RouteCounters()), timed
	}
	if routes, timed := count(table); routes != MaxTimed+1 || timed != MaxTimed+1 {
		t.Errorf("%d routes and %d pools are counted apart, want %d and all others", routes, timed, MaxTimed)
	}
	table.byRoute[0].Total.Part(3).Observe(time.Second)
	table.byRoute[MaxTimed+7].Total.Part(4).Observe(time.Second)
	next, _ := New(rules[:10], pools[:10], nil, table)
	if routes, timed := count(next); routes != 10 || timed != 11 {
		t.Errorf("of ten %d routes and %d pools are counted apart", routes, timed)
	}
	if r, ok := next.RouteCounters()[0].Total.Read(); !ok || sum(r) != 1 || next.RouteCounters()[0].Name != "first" {
		t.Errorf("counters of a route that stayed: %+v", r)
	}
	if other := table.byRoute[MaxTimed+7]; other != table.byRoute[MaxTimed+8] || other.Name != OtherTimed || strings.Contains(routeName(&rules[1]), "first") {
		t.Errorf("others are counted as %q", other.Name)
	}
}
