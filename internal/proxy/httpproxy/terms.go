package httpproxy

import (
	"bytes"
	"math"
	"slices"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/terms"
	"pharos/internal/traffic/health"
)

// beginTerms has the time of the whole request run, if its route bounds that.
func (c *client) beginTerms(x *exchange) {
	total := x.terms.Total
	if total == 0 {
		return
	}
	if c.isGRPC(x) {
		asked, has := terms.ParseGRPCTimeout(fieldOf(&x.req, "Grpc-Timeout"))
		switch {
		case has:
			total = min(total, asked)
		case !x.terms.Streams:
			return // a call may be a stream, and its client knows best how long it lasts
		}
	}
	c.until.Store(int64(x.began.Sub(c.server.began) + total))
}

// endTotal lets the request take as long as it will, or its answer be sent.
func (c *client) endTotal(x *exchange) {
	if x.terms != nil {
		c.until.Store(0)
	}
}

// leaveStream is endTotal for a response that turns out to be a stream, unless its route
// bounds these as well.
func (c *client) leaveStream(x *exchange) {
	if !x.terms.Streams && (x.resp.Status() == 101 || isEventStream(&x.resp)) {
		c.until.Store(0)
	}
}

// isEventStream reports whether a response is of server-sent events.
func isEventStream(p *http1.Parser) bool {
	kind, _, _ := bytes.Cut(fieldOf(p, "Content-Type"), semicolon)
	return equalFold(bytes.TrimSpace(kind), "text/event-stream")
}

// remaining returns how much of the whole time of the request is left; without a bound,
// more than anything waits for.
func (c *client) remaining() time.Duration {
	until := c.until.Load()
	if until == 0 {
		return math.MaxInt64
	}
	return max(time.Duration(until)-time.Since(c.server.began), 0)
}

// isPastTotal reports whether the whole time of the request is over.
func (c *client) isPastTotal() bool {
	until := c.until.Load()
	return until != 0 && c.server.now.Load() >= until
}

// totalOver is the refusal at the end of the whole time. How much of it the last member had
// is not the same for all requests, so that it counts among many only.
var totalOver = refusal{status: 504, kind: kindTotal, text: "the request took longer than its route lets it", fault: health.Doubtful}

// Kinds of failures that are looked at.
const (
	kindTotal   = "http_response_timeout" // as RFC 9209 §2.3.14 calls it
	kindConnect = "connection_timeout"    // RFC 9209 §2.3.8
	kindStatus  = terms.KindStatus
)

// setTryDeadline makes c overdue when the member at hand has had its time for the head of a
// response. That is counted by the clock itself: the coarse one may lag, and a member would
// be given up early, or before a whole time that ends no later.
func (c *client) setTryDeadline(x *exchange) {
	if x.terms == nil || x.terms.PerTry == 0 {
		c.setDeadline(c.server.limits.Response)
		return
	}
	from := x.asked
	if x.upload != nil {
		from = time.Now() // the content goes on by itself, and sets it again at its end
	}
	c.setDeadlineAt(from.Add(x.terms.PerTry).Sub(c.server.began))
}

// connectWithin returns how long opening a connection to the member at hand may take.
func (c *client) connectWithin(x *exchange) time.Duration {
	within := c.server.limits.Connect
	if x.terms == nil {
		return within
	}
	if x.terms.PerTry > 0 {
		within = min(within, x.terms.PerTry)
	}
	return min(within, c.remaining())
}

// idle returns how long a response that has begun may be silent.
func (c *client) idle(x *exchange, otherwise time.Duration) time.Duration {
	if x.terms == nil || x.terms.Idle == 0 {
		return otherwise
	}
	return x.terms.Idle
}

// mostTries returns how many members the request may be sent to.
func (c *client) mostTries(x *exchange) int {
	if x.terms == nil || x.terms.Tries == 0 {
		return c.server.limits.Tries
	}
	return min(x.terms.Tries, maxTries)
}

// isLate reports whether the request is too old to be sent to another member.
func (c *client) isLate(x *exchange) bool {
	within := c.server.limits.RetryWithin
	if x.terms != nil && x.terms.Total > 0 {
		within = x.terms.Total
	}
	return time.Since(x.began)-x.choice.held > within
}

// retries reports whether a failure is one that has a request sent to another member.
func (x *exchange) retries(r refusal) bool {
	return x.terms == nil || x.terms.On == nil || x.terms.On.Has(r.kind)
}

// retriesStatus reports whether another member is asked because of the status of the response
// at hand. It is chosen, and counted, then.
func (c *client) retriesStatus(x *exchange) bool {
	if x.terms == nil || x.terms.On == nil || !c.isNamed(x, x.terms.On) || x.tries >= c.mostTries(x) || c.isLate(x) {
		return false
	}
	h := &x.choice
	if h.chosen = h.next(x.tries); h.chosen >= 0 && !x.mayRetry(c.server.limits.RetryBudget) {
		h.chosen = -1
	}
	return h.chosen >= 0
}

// isNamed reports whether the response at hand is one for which another member is asked, and
// may be: by its status if the method is idempotent, by the outcome of a call of gRPC, which is
// always a POST, if the route names that.
func (c *client) isNamed(x *exchange, on *terms.Retrying) bool {
	if slices.Contains(on.Statuses, x.resp.Status()) && x.isRepeatable() {
		return true
	}
	if len(on.Codes) == 0 || x.started || x.upload != nil || !c.isGRPC(x) {
		return false
	}
	code, ok := terms.ParseCode(fieldOf(&x.resp, "Grpc-Status"))
	return ok && slices.Contains(on.Codes, code)
}
