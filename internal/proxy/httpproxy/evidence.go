package httpproxy

import (
	"fmt"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file says whose fault it is when a request fails, and reports it.
//
// An error that an origin answers, such as 500, may be its own or that of the request. So
// a request that may be repeated is taken to another member: if that answers well the
// first one is at fault, and the client never sees it; if that fails too it is the
// request, and nobody is at fault. Who sends requests that no member can answer thus harms
// no member. What may not be repeated is doubtful, and only counts among many.

// Bounds of second opinions under way in one pool: so many, or this part of its requests
// in flight. What makes all members fail is not made worse by asking twice.
const (
	leastOpinions = 3
	opinionsPart  = 5
)

// doubt is a member that has answered with an error while another one is asked.
type doubt struct {
	of     *pool.Member // nil: there is none
	status int          // that it answered with
	from   time.Time    // when it was turned to
	isOver bool         // the other one has answered; a second time nobody is asked
}

// isRepeatable reports whether the request may be sent to another member after it may
// have reached one (RFC 9110 §9.2.2), and can.
func (x *exchange) isRepeatable() bool {
	return !x.started && x.upload == nil && x.req.MethodID().Idempotent()
}

// asksAnother reports whether another member is to say if the error at hand is the
// member's. It is chosen then.
func (c *client) asksAnother(x *exchange) bool {
	h := &x.choice
	if !h.view.Spec().Passive.IsError(x.choice.answered) || x.doubt.isOver || x.doubt.of != nil || h.view.Spec().Passive.Off ||
		!x.isRepeatable() || x.tries >= c.mostTries(x) || c.isLate(x) {
		return false
	}
	if under := h.load.Opinions.Load(); under >= leastOpinions && under >= h.load.Active()/opinionsPart {
		return false
	}
	if h.chosen = h.next(x.tries); h.chosen < 0 || h.view.AllDown || h.view.Tier.Excludes(h.view.Members[h.chosen].State) != "" {
		h.chosen = -1
		return false
	}
	x.doubt = doubt{of: x.member, status: x.choice.answered, from: x.asked}
	h.load.Opinions.Add(1)
	x.counters.Opinions.Add(1)
	return true
}

// judgeDoubted reports on the member that answered with an error, now that another one
// was asked.
func (c *client) judgeDoubted(x *exchange, r refusal) {
	m, o, from := x.doubt.of, health.Doubtful, x.doubt.from
	x.choice.load.Opinions.Add(-1)
	switch {
	case r.isSet():
	case x.choice.view.Spec().Passive.IsError(x.choice.answered):
		o = health.Answered
	default:
		o = health.Erred
	}
	if o != health.Answered {
		cause := ""
		if o == health.Erred {
			cause = fmt.Sprintf("status %d, where %s answered the same request with %d", x.doubt.status, x.member.Name, x.choice.answered)
		}
		now := time.Now()
		c.tell(m.Target, m.Load.Note(o, now.Sub(c.server.began), now.Sub(from)), health.Result{Outcome: o, At: now, Latency: now.Sub(from), Cause: cause})
	}
	x.doubt = doubt{isOver: true}
}

// report passes on what the exchange shows of the member's health.
func (c *client) report(x *exchange, r refusal, cause string) {
	o, took := r.fault, x.choice.took
	switch {
	case r.doubt:
		return
	case r.isSet() && !o.IsFailure():
		return // the client's doing: no evidence about the member
	case r.isSet():
		took = time.Since(x.asked)
	case x.choice.view.Spec().Passive.IsError(x.choice.answered):
		if x.doubt.of != nil {
			return // two members say so: it is the request
		}
		o = health.Doubtful
	}
	m, now := x.member, x.choice.noted
	if r.isSet() {
		now = time.Since(c.server.began)
	}
	if !m.Load.Note(o, now, took) {
		return
	}
	result := health.Result{OK: !o.IsFailure(), Outcome: o, At: time.Now(), Cause: "answered a request"}
	if o.IsFailure() {
		result.Cause = cause
	}
	result.Latency = result.At.Sub(x.asked)
	c.tell(m.Target, true, result)
}

func (c *client) tell(target health.Target, at bool, r health.Result) {
	if at && c.server.cfg.Report != nil {
		r.Passive = true
		c.server.cfg.Report(target, r)
	}
}

// mostHeldBack is how much content of a response waits for its end before the client is
// told anything: while it waits, a member that dies is only a retry. It is what an API
// answers mostly; more would keep a reader waiting for its first octets.
const mostHeldBack = 4 << 10

// isHeldBack reports whether what there is of the response need not go out yet.
func (x *exchange) isHeldBack() bool {
	left := x.resp.Left()
	return x.resp.Framing() == http1.Length && x.resp.ContentLength() <= mostHeldBack &&
		left <= int64(cap(x.out)-len(x.out)) && x.sending != http1.Chunked && x.isRepeatable()
}
