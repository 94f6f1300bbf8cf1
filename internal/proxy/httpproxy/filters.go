package httpproxy

import (
	"net/http"
	"net/netip"
	"time"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/holding"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/route"
)

// This file joins routes with their filters (package filter). They look at a request when its
// route is known and before its content is read, and write into the head that goes to the
// origin server, and into every response. A route without filters pays one nil check at each
// of these places.

// findFilters sets the chain of the route that was found.
func (x *exchange) findFilters() {
	x.chain, x.tally = x.table.FiltersOf(x.route.Number)
}

// filter has the request go through the filters of its route. done: they have answered it, or
// it is refused.
func (c *client) filter(x *exchange) (done, keep bool, r refusal) {
	if !x.inspected.proven {
		c.beginFilters(x, x.route)
	}
	x.pass.Route = x.route
	if x.counters != nil {
		x.pass.Pool = x.counters.Name
	}
	v := x.inspected.verdict
	if v.Passes() {
		v = x.chain.Resume(&x.pass, x.tally)
	}
	for v.Waits != nil {
		if r := c.awaitTurn(v.Waits.Ready, v.Waits.Wait); r.isSet() {
			v.Waits.Enter(&x.pass) // gives its place back, or takes it for Leave to do so
			return true, false, r
		}
		x.pass.Now = time.Now()
		v = x.chain.Enter(&x.pass, v.Waits, x.tally)
	}
	switch {
	case v.Passes():
		return false, false, refusal{}
	case v.Kind != "":
		return true, false, refusal{status: v.Status, kind: v.Kind, text: v.Text, after: v.After, close: v.Close, lines: v.Lines}
	}
	keep, r = c.answerFor(x, &v)
	return true, keep, r
}

// beginFilters makes the request ready for the filters of a route.
func (c *client) beginFilters(x *exchange, r *route.Route) {
	c.identify(x)
	x.pass.Reset((*filtered)(c), r, x.began)
	x.pass.MaxContent = c.server.limits.MaxContent
}

// leave gives back what the request is counted for, when it has ended, be it by a bug.
func (x *exchange) leave() {
	x.endRetries()
	if x.pass.IsInside() {
		x.pass.Leave(time.Now())
	}
}

// awaitTurn waits until a request is let in or refused, or its time is over. The refusal says
// that there is nobody to answer any more.
func (c *client) awaitTurn(ready <-chan struct{}, wait time.Duration) refusal {
	c.deadline.Store(0)
	end, look := time.NewTimer(min(wait, c.remaining())), time.NewTicker(holding.GoneInterval)
	defer end.Stop()
	defer look.Stop()
	for {
		select {
		case <-ready:
			return refusal{}
		case <-end.C:
			return refusal{}
		case <-look.C:
			if c.wire.isGone() {
				return gone("the client closed the connection while its request waited for its turn")
			}
		case <-c.server.closing:
			return refusal{status: 503, kind: "destination_unavailable", text: "the gateway is being shut down", close: true}
		}
	}
}

// answerFor sends the answer that a filter gives in place of the origin server.
func (c *client) answerFor(x *exchange, v *filter.Verdict) (keep bool, r refusal) {
	keep = x.req.Done() && x.req.KeepAlive() && !c.server.draining.Load()
	x.status, x.reason, x.started = v.Status, v.Text, true
	b := http1.AppendStatusLine(x.out[:0], v.Status, []byte(http.StatusText(v.Status)))
	b = x.stamp.AppendDate(b, x.began)
	b = append(b, v.Lines...)
	b = x.chain.AppendResponse(b, &x.pass, nil)
	if v.Status != 204 && v.Status != 304 { // RFC 9110 §8.6
		b = http1.AppendContentLength(b, int64(len(v.Content)))
	}
	b = c.wire.endHead(b, x, http1.Length, keep)
	if x.req.MethodID() != http1.MethodHead {
		b, x.sent = append(b, v.Content...), int64(len(v.Content))
	}
	x.out = b
	if c.sendWhole(x, keep) != nil {
		return false, gone("the connection to the client broke")
	}
	return keep, refusal{}
}

// filtered is the request at hand as filters look at it.
type filtered client

func (q *filtered) Method() []byte            { return q.x.req.Method() }
func (q *filtered) Query() []byte             { return q.x.req.Query() }
func (q *filtered) Field(name string) []byte  { return fieldOf(&q.x.req, name) }
func (q *filtered) Cookie(name string) []byte { return cookieOf(q.x, name) }
func (q *filtered) Client() netip.Addr        { return (*client)(q).believedPeer(q.x) }
func (q *filtered) Scheme() string            { return (*client)(q).scheme() }
func (q *filtered) Host() []byte              { return q.x.req.Host() }
func (q *filtered) Path() []byte              { return q.x.matched }
func (q *filtered) ID() []byte                { return q.x.id }
func (q *filtered) HeadOctets() int           { return len(q.x.req.Head()) }
func (q *filtered) ContentLength() int64      { return q.x.req.ContentLength() }
func (q *filtered) IsSecure() bool            { return (*client)(q).isSecure(q.x) }

// Has reports whether a field of the client's goes on to the origin server.
func (q *filtered) Has(name string) bool {
	c := (*client)(q)
	req := &c.x.req
	for _, f := range req.Fields() {
		if equalFold(req.Name(f), name) && req.Forwardable(f) && !c.isOurs(f.ID) && !c.x.chain.DropsRequest(req.Name(f)) {
			return true
		}
	}
	return false
}

// relayed is the response at hand as filters look at it.
type relayed client

// Has reports whether a field of the origin server's goes on to the client.
func (q *relayed) Has(name string) bool {
	x := q.x
	for _, f := range x.resp.Fields() {
		if equalFold(x.resp.Name(f), name) && x.resp.Forwardable(f) && !x.chain.DropsResponse(x.resp.Name(f)) {
			return true
		}
	}
	return false
}

// isSecure reports whether the client has sent the request over TLS: to us, or to a proxy
// that is believed.
func (c *client) isSecure(x *exchange) bool {
	if c.tls != nil {
		return true
	}
	if said, ok := x.req.Get(http1.FieldXForwardedProto); ok && c.peerAs.trusted {
		return string(said) == "https"
	}
	return false
}

func (q *filtered) Content() ([]byte, bool) { return (*routed)(q).Content() }
