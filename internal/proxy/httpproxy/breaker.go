package httpproxy

import (
	"math"
	"reflect"
	"time"

	"pharos/internal/proxy/breaker"
)

// This file has requests go past the breaker of their pool (package breaker). A pool without
// one costs a nil check.

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

// breakerOf returns that of a pool by its number; nil: it has none.
func (t *Table) breakerOf(pool int) *breaker.Breaker {
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

// askPool is askMembers past the breaker of the pool, if it has one.
func (c *client) askPool(x *exchange) (keep bool, r refusal) {
	if x.table.breakers == nil {
		return c.askMembers(x)
	}
	b, pass, r := c.enterPool(x)
	if r.isSet() || b == nil {
		if r.isSet() {
			return false, r
		}
		return c.askMembers(x)
	}
	of := x.counters
	o := breaker.Neither
	defer func() { b.Leave(pass, o, time.Now()) }()
	keep, r = c.askMembers(x)
	if x.counters == of { // and has not gone to the fallback pool in the end
		o = x.outcome(r)
	}
	return keep, r
}

// enterPool has the request let in to its pool, or to the fallback pool of its route. b is
// nil if that has no breaker.
func (c *client) enterPool(x *exchange) (b *breaker.Breaker, pass breaker.Pass, r refusal) {
	for {
		if b = x.table.breakerOf(x.index); b == nil {
			return nil, pass, refusal{}
		}
		var refused breaker.Refusal
		pass, refused = b.Enter(time.Now())
		if ready := pass.Waits(); !refused.IsSet() && ready != nil {
			began := time.Now()
			gone := c.awaitTurn(ready, b.Rules().Wait)
			now := time.Now()
			x.choice.held += now.Sub(began)
			refused = b.Turn(&pass, now)
			if gone.isSet() {
				if !refused.IsSet() {
					b.Leave(pass, breaker.Neither, now)
				}
				return nil, pass, gone
			}
			if refused.IsSet() && c.remaining() == 0 {
				return nil, pass, totalOver
			}
		}
		if !refused.IsSet() {
			return b, pass, refusal{}
		}
		if c.fallBack(x) {
			continue
		}
		r = refusal{status: 503, kind: kindNobody, text: refused.Text, after: int(math.Ceil(refused.After.Seconds()))}
		if refused.IsFull {
			r.kind = "connection_limit_reached"
		}
		return nil, pass, r
	}
}

// outcome is how the request went, as far as its pool goes.
func (x *exchange) outcome(r refusal) breaker.Outcome {
	switch {
	case r.fault.IsFailure():
		return breaker.Bad
	case r.isSet() && r.kind != kindStatus:
		return breaker.Neither // the client's doing, or there was nobody to ask
	case r.isSet() || x.choice.view.Spec().Passive.IsError(x.choice.answered):
		return breaker.Bad
	}
	return breaker.Good
}

// tellBreakers reports pools whose breakers are not closed, and those whose are again.
func (s *Server) tellBreakers(told breaker.Told) {
	if s.cfg.Breaker != nil {
		told.Tell(s.cfg.Table().ReadBreakers(time.Now()), s.cfg.Breaker)
	}
}
