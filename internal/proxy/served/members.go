package served

import (
	"pharos/internal/proxy/holding"
	"pharos/internal/proxy/origins"
)

// Hold has requests held for pools, by their names. It is to be called before t is used;
// what waits under prev counts on.
func (t *Table) Hold(specs map[string]holding.Spec, prev *Table) {
	before := map[string]*holding.Room{}
	if prev != nil {
		for i, p := range prev.pools {
			before[p.Name()] = prev.holds[i]
		}
	}
	for i, p := range t.pools {
		if spec, has := specs[p.Name()]; has {
			t.holds[i] = before[p.Name()].Under(spec)
		}
	}
}

// Room returns what waits for a pool, in which streams hold their connections, too; nil: nothing
// is held.
func (t *Table) Room(pool string) *holding.Room {
	for i, h := range t.holds {
		if h != nil && t.pools[i].Name() == pool {
			return h
		}
	}
	return nil
}

// Waiting returns how many requests and connections wait for a member of a pool.
func (t *Table) Waiting(pool string) int {
	if h := t.Room(pool); h != nil {
		return h.Waiting()
	}
	return 0
}

// Holds returns the counters of the pools for which somebody may wait.
func (t *Table) Holds() (all []holding.Counters) {
	for i, h := range t.holds {
		if h != nil {
			all = append(all, h.Read(t.pools[i].Name()))
		}
	}
	return all
}

// Reach has the members of pools spoken to in other ways, by name of pool. It is called
// before the table is published; prev is the one it follows, whose ways go on where they
// are the same.
func (t *Table) Reach(by map[string]*origins.Reach, prev *Table) {
	known := map[string]*origins.Reach{}
	if prev != nil {
		for _, r := range prev.reaches {
			if r != nil {
				known[r.Identity] = r
			}
		}
	}
	t.reaches = make([]*origins.Reach, len(t.pools))
	for i, p := range t.pools {
		r := by[p.Name()]
		if r == nil {
			continue
		}
		if old := known[r.Identity]; old != nil {
			r = old
		}
		known[r.Identity] = r
		t.reaches[i] = r
	}
}

// ReachOf returns how the members of a pool are spoken to; nil: as those of most.
func (t *Table) ReachOf(pool int) *origins.Reach {
	if t.reaches == nil {
		return nil
	}
	return t.reaches[pool]
}

// HoldOf returns what waits for a pool by its number; nil: nothing is held.
func (t *Table) HoldOf(i int) *holding.Room { return t.holds[i] }
