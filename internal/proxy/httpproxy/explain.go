package httpproxy

import (
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/pairs"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/pool"
)

// Target is the request that is explained.
type Target struct {
	Client            netip.Addr
	Method            string
	Host, Path, Query string   // Query begins with "?" unless it is empty
	Fields            []string // lines, "name: value"
	Content           string   // its beginning, as far as a gateway would look at it
	Secure            bool     // over TLS
}

// request returns a client of s that has sent the request. The error says what of it is no
// request.
func (t Target) request(s *Server) (*client, error) {
	if s == nil {
		s = &Server{began: time.Now()}
	}
	head := fmt.Appendf(nil, "%s %s%s HTTP/1.1\r\nHost: %s\r\n", t.Method, t.Path, t.Query, t.Host)
	for _, line := range t.Fields {
		head = fmt.Appendf(head, "%s\r\n", line)
	}
	head = append(head, "\r\n"...)
	x := &exchange{path: []byte(t.Path), began: time.Now()}
	x.inspected = inspection{done: true, given: []byte(t.Content), whole: true}
	if most := (Limits{}).WithDefaults().Inspect; len(t.Content) > most {
		x.inspected.given, x.inspected.whole = x.inspected.given[:most], false
	}
	x.req.ResetRequest(http1.Limits{})
	if n, event, violation := x.req.Feed(head); violation != nil {
		return nil, fmt.Errorf("not a request: %s", violation.Text)
	} else if event != http1.HeadDone || n != len(head) {
		return nil, fmt.Errorf("not one request: a field has a line break, or the head is too large")
	}
	c := &client{server: s, peer: t.Client, lane: uint32(s.nextID.Load()), x: x}
	if t.Secure {
		c.tls = &Identity{}
	}
	return c, nil
}

// ExplainRoute tells which route of table a request would take, and why.
func (s *Server) ExplainRoute(table *served.Table, t Target, policy route.Policy) (route.Trace, error) {
	if t.Method == "CONNECT" {
		return route.Trace{Host: t.Host, Path: t.Path, Steps: []route.Step{{
			What: "method", Tried: t.Method, Why: "tunnels for clients are not served: 501"}}}, nil
	}
	c, err := t.request(s)
	if err != nil {
		return route.Trace{}, err
	}
	var routes *route.Table
	if table != nil {
		routes = table.Routes()
	}
	return routes.Explain(t.Host, t.Path, (*routed)(c), policy), nil
}

// ExplainFilters tells what the filters of route r of table would do to the request, by the
// code that does it; goesOn: they let it pass. Nothing is counted, and nobody asked.
func (s *Server) ExplainFilters(table *served.Table, r *route.Route, t Target) (all []filter.Did, goesOn bool, err error) {
	c, err := t.request(s)
	if err != nil {
		return nil, false, err
	}
	x := c.x
	x.table, x.route, x.matched = table, r, x.path
	if x.findFilters(); x.chain == nil {
		return nil, true, nil
	}
	c.identify(x)
	x.pass.Reset((*filtered)(c), r, x.began)
	all, v := x.chain.Explain(&x.pass)
	return all, v.Passes(), nil
}

// Leads says in words what a route does with a request, but for the pool and the member that
// it is carried to; "" if that is all. t.Path is normalised.
func (t Target) Leads(r *route.Route) string {
	parts := route.Parts{Host: []byte(t.Host), Path: []byte(t.Path), Query: []byte(t.Query)}
	switch {
	case r.Redirect != nil:
		return fmt.Sprintf("answered with %d, to %s", r.Redirect.Status, r.AppendTarget(nil, parts))
	case r.Respond != nil && r.Respond.File != "":
		return fmt.Sprintf("answered with %d and the file %s", r.Respond.Status, r.Respond.File)
	case r.Respond != nil:
		return fmt.Sprintf("answered with %d and %d octets of content", r.Respond.Status, len(r.Respond.Content))
	case r.Rewrites():
		return fmt.Sprintf("carried on with the path %s", r.AppendPath(nil, parts.Path))
	}
	return ""
}

// Chosen is what the members for a request are chosen by, as choice has it.
type Chosen struct {
	Pool     *pool.Pool
	Ask      balance.Ask
	Keyed    string             // what is hashed; empty: nothing is
	Affinity *affinity.Affinity // nil: there is none
	Named    int                // the member that the client comes back for; -1: none
	Usable   bool               // and it gets that one
}

// Explain returns what the members for a request for t would be chosen by, on route r of
// table, which leads to a pool, by the code that chooses; of a split, one that was drawn.
// The error says what of t is no request.
func (s *Server) Explain(table *served.Table, r *route.Route, t Target) (ch Chosen, err error) {
	c, err := t.request(s)
	if err != nil {
		return ch, err
	}
	x := c.x
	x.table = table
	c.follow(x, r)
	h := &x.choice
	h.begin(c, x)
	ch = Chosen{Pool: x.pool, Ask: h.ask, Affinity: h.affinity, Named: h.named, Usable: h.affinity.IsUsable(h.view, h.named, h.ask.Now)}
	if h.view.Policy == pool.Hash {
		ch.Keyed = c.keyText(x, &h.view.Spec().Hash.Key)
	}
	return ch, nil
}

// keyText returns in words what keyOrAddress hashes.
func (c *client) keyText(x *exchange, k *pool.Key) string {
	var value []byte
	switch k.Of {
	case pool.URL:
		return string(x.req.Host()) + string(x.path) + string(x.req.Query())
	case pool.Path:
		return string(x.path)
	case pool.ClientPrefix:
		bits := k.Bits6
		if c.peer.Is4() {
			bits = k.Bits4
		}
		return netip.PrefixFrom(c.peer, bits).Masked().String()
	case pool.Field:
		value = fieldOf(&x.req, k.Name)
	case pool.Cookie:
		value = cookieOf(x, k.Name)
	case pool.Query:
		value = pairs.Parameter(x.req.Query(), k.Name)
	}
	if len(value) > 0 {
		return k.Name + "=" + string(value)
	}
	return c.peer.String()
}
