package httpproxy

import (
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/route"
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
}

// Chosen is what the members for a request are chosen by, as choice has it.
type Chosen struct {
	Ask      balance.Ask
	Keyed    string             // what is hashed; empty: nothing is
	Affinity *affinity.Affinity // nil: there is none
	Named    int                // the member that the client comes back for; -1: none
	Usable   bool               // and it gets that one
}

// Explain returns what the members for a request for t would be chosen by, on route r of
// table, by the code that chooses. The error says what of t is no request.
func (s *Server) Explain(table *Table, r *route.Route, t Target) (ch Chosen, err error) {
	if s == nil {
		s = &Server{began: time.Now()}
	}
	head := fmt.Appendf(nil, "%s %s%s HTTP/1.1\r\nHost: %s\r\n", t.Method, t.Path, t.Query, t.Host)
	for _, line := range t.Fields {
		head = fmt.Appendf(head, "%s\r\n", line)
	}
	head = append(head, "\r\n"...)
	x := &exchange{path: []byte(t.Path), table: table, route: r, pool: table.pools[r.Index], began: time.Now()}
	x.req.ResetRequest(http1.Limits{})
	if n, event, violation := x.req.Feed(head); violation != nil {
		return ch, fmt.Errorf("not a request: %s", violation.Text)
	} else if event != http1.HeadDone || n != len(head) {
		return ch, fmt.Errorf("not one request: a field has a line break, or the head is too large")
	}
	c := &client{server: s, peer: t.Client, lane: uint32(s.nextID.Load())}
	h := &x.choice
	h.begin(c, x)
	ch = Chosen{Ask: h.ask, Affinity: h.affinity, Named: h.named, Usable: h.affinity.IsUsable(h.view, h.named, h.ask.Now)}
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
		value = parameterOf(x.req.Query(), k.Name)
	}
	if len(value) > 0 {
		return k.Name + "=" + string(value)
	}
	return c.peer.String()
}
