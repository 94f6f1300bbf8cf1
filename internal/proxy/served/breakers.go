package served

import (
	"reflect"
	"time"

	"pharos/internal/proxy/breaker"
)

// Breakers gives pools breakers, by their names. It is to be called before t is used. prev, if
// not nil, is the table that t follows: breakers whose rules are the same go on.
func (t *Table) Breakers(rules map[string]breaker.Rules, prev *Table) {
	if len(rules) == 0 {
		return
	}
	t.breakers = make([]*breaker.Breaker, len(t.pools))
	for i, p := range t.pools {
		r, has := rules[p.Name()]
		if !has {
			continue
		}
		if old := prev.breaker(p.Name()); old != nil && reflect.DeepEqual(*old.Rules(), r) {
			t.breakers[i] = old
		} else {
			t.breakers[i] = breaker.New(r)
		}
	}
}

// breaker returns that of a pool; nil: it has none.
func (t *Table) breaker(pool string) *breaker.Breaker {
	if t == nil || t.breakers == nil {
		return nil
	}
	for i, p := range t.pools {
		if p.Name() == pool {
			return t.breakers[i]
		}
	}
	return nil
}

// HasBreakers reports whether any pool has one.
func (t *Table) HasBreakers() bool { return t.breakers != nil }

// BreakerOf returns that of a pool by its number; nil: it has none.
func (t *Table) BreakerOf(pool int) *breaker.Breaker {
	if t.breakers == nil {
		return nil
	}
	return t.breakers[pool]
}

// ReadBreakers returns what all breakers are now.
func (t *Table) ReadBreakers(now time.Time) (all []breaker.OfPool) {
	if t == nil {
		return nil
	}
	for i, b := range t.breakers {
		if b != nil {
			all = append(all, breaker.OfPool{Pool: t.pools[i].Name(), Of: b.Rules(), Reading: b.Read(now)})
		}
	}
	return all
}
