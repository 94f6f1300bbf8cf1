package httpproxy

import (
	"math"
	"time"

	"pharos/internal/proxy/breaker"
)

// This file has requests go past the breaker of their pool (package breaker). A pool without
// one costs a nil check.

// askPool is askMembers past the breaker of the pool, if it has one.
func (c *client) askPool(x *exchange) (keep bool, r refusal) {
	if !x.table.HasBreakers() {
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
		if b = x.table.BreakerOf(x.index); b == nil {
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
