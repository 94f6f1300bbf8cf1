package httpproxy

import (
	"math/rand/v2"
	"net/http"
	"net/netip"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/route"
	"pharos/internal/traffic/consistent"
)

// routed is the request at hand as package route looks at it.
type routed client

func (r *routed) Method() []byte            { return r.x.req.Method() }
func (r *routed) Query() []byte             { return r.x.req.Query() }
func (r *routed) Field(name string) []byte  { return fieldOf(&r.x.req, name) }
func (r *routed) Cookie(name string) []byte { return cookieOf(r.x, name) }
func (r *routed) Client() netip.Addr        { return (*client)(r).believedPeer(r.x) }
func (r *routed) Scheme() string            { return (*client)(r).scheme() }

// follow sets where the route that was found leads: to a pool, or nowhere.
func (c *client) follow(x *exchange, r *route.Route) {
	x.route, x.terms = r, x.table.TermsOf(r.Number)
	x.findFilters()
	if r.Pool == "" {
		return
	}
	x.index = r.Index
	if draws, byClient := r.Draws(); draws && byClient {
		// Multiplied, so that who is drawn here says nothing about the member that a
		// hash of the same address picks.
		x.index = r.Pick(uint32(consistent.SumAddress(c.believedPeer(x)) * 0x9e3779b97f4a7c15 >> 32)).Index
	} else if draws {
		x.index = r.Pick(rand.Uint32()).Index
	}
	if v := x.table.PoolAt(x.index).View(); r.Fallback >= 0 && (v.AllDown || len(v.Eligible) == 0 && x.table.HoldOf(x.index) == nil) {
		x.index = r.Fallback
	}
	x.pool, x.counters = x.table.PoolAt(x.index), x.table.CountersAt(x.index)
}

// fallBack has the request go to the fallback pool of its route, if there is one that it is
// not going to already, and reports whether it does.
func (c *client) fallBack(x *exchange) bool {
	to := x.route.Fallback
	if to < 0 || to == x.index {
		return false
	}
	x.index = to
	x.pool, x.counters = x.table.PoolAt(to), x.table.CountersAt(to)
	x.choice.begin(c, x)
	return true
}

// answerHere sends the response of a route that carries nothing: a redirect, or one that is
// always the same. Content that the client sends is not waited for.
func (c *client) answerHere(x *exchange) (keep bool, r refusal) {
	if f := x.table.FileOf(x.route.Number); f != nil {
		return c.answerFile(x, f)
	}
	keep = x.req.Done() && x.req.KeepAlive() && !c.server.draining.Load()
	x.out = c.appendHere(x.out[:0], x, keep)
	x.started = true
	if c.sendWhole(x, keep) != nil {
		return false, gone("the connection to the client broke")
	}
	return keep, refusal{}
}

func (c *client) appendHere(b []byte, x *exchange, keep bool) []byte {
	content := ""
	if to := x.route.Redirect; to != nil {
		x.status = to.Status
	} else {
		x.status, content = x.route.Respond.Status, x.route.Respond.Content
	}
	b = http1.AppendStatusLine(b, x.status, []byte(http.StatusText(x.status)))
	b = x.stamp.AppendDate(b, x.began)
	switch {
	case x.route.Redirect != nil:
		b = append(b, "Location: "...)
		b = x.route.AppendTarget(b, route.Parts{Host: x.req.Host(), Path: x.matched, Query: x.req.Query()})
		b = append(b, "\r\n"...)
	case content != "":
		b = append(append(append(b, "Content-Type: "...), x.route.Respond.Type...), "\r\nX-Content-Type-Options: nosniff\r\n"...)
	}
	b = x.chain.AppendResponse(b, &x.pass, nil)
	if x.status != 204 && x.status != 304 { // RFC 9110 §8.6
		b = http1.AppendContentLength(b, int64(len(content)))
	}
	b = c.wire.endHead(b, x, http1.Length, keep)
	if x.req.MethodID() == http1.MethodHead {
		return b // RFC 9110 §9.3.2
	}
	x.sent = int64(len(content))
	return append(b, content...)
}
