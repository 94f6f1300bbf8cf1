package httpproxy

import (
	"bytes"
	"net/netip"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/pairs"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/pool"
)

// choice is how the members for a request are chosen, and what their loads are told.
type choice struct {
	view     *pool.View
	load     *pool.Load
	ask      balance.Ask
	affinity *affinity.Affinity // nil: there is none
	known    uint64             // the key by which affinity knows the client; with isKnown
	isKnown  bool
	named    int // the member that the client came back for; -1: none
	tried    [maxTries]int

	chosen  int           // who is to be asked next; -1: nobody is chosen yet
	at      int           // the member at hand, by its number in view
	took    time.Duration // from when it was turned to, to the head of its final response
	noted   time.Duration // when its load was told something last
	counted int64         // octets of content that it was told of
	held    time.Duration // how long the request waited for a first member

	answered int  // the status of the final response, or what the outcome of a call of gRPC is like
	isCall   bool // that outcome is in the trailers
}

// begin makes ready to choose members for x.
func (h *choice) begin(c *client, x *exchange) {
	h.view, h.load = x.pool.View(), x.pool.Load()
	h.ask = balance.Ask{Lane: c.lane, Now: x.began.Sub(c.server.began)}
	h.affinity = x.table.AffinityOf(x.index, h.view)
	h.named, h.chosen, h.isKnown = -1, -1, false
	if h.view.Policy == pool.Hash {
		h.ask.Key = c.keyOrAddress(x, &h.view.Spec().Hash.Key)
	}
	if h.affinity == nil {
		return
	}
	switch spec := h.affinity.Spec(); spec.Kind {
	case affinity.Cookie:
		if value := cookieOf(x, spec.Name); value != nil {
			h.named = h.affinity.ByCookie(value)
		}
	default:
		if h.known, h.isKnown = c.keyOf(x, &spec.Key); h.isKnown {
			h.named = h.affinity.ByKey(h.known, h.ask.Now)
		}
	}
}

// next returns the member to ask, or -1: first the one that the client came back for,
// then as the policy says.
func (h *choice) next(tries int) int {
	if m := h.chosen; m >= 0 {
		h.chosen = -1
		return m
	}
	m := h.named
	if tries > 0 || !h.affinity.IsUsable(h.view, m, h.ask.Now) {
		m = balance.PickExcept(h.view, h.load, h.ask, h.tried[:tries])
	}
	if m >= 0 {
		h.tried[tries] = m
	}
	return m
}

// settled notes, when a member has answered, that it is the client's from now on.
func (h *choice) settled(x *exchange, member int) {
	a := h.affinity
	if a == nil || a.Spec().Kind == affinity.Cookie {
		return
	}
	if a.Spec().Kind == affinity.Session {
		if value := cookieSet(x, a.Spec().Name); value != nil {
			a.Learn(consistent.Sum(value), member, h.ask.Now)
			return
		}
	}
	if h.isKnown && h.named != member {
		a.Learn(h.known, member, h.ask.Now)
	}
}

// appendCookie appends the cookie that brings the client back to the member at hand,
// unless it has it.
func (h *choice) appendCookie(b []byte, member int) []byte {
	if a := h.affinity; a != nil && a.Spec().Kind == affinity.Cookie && h.named != member {
		return a.AppendCookie(b, member)
	}
	return b
}

// keyOrAddress returns the hash of a part of the request, or of the client's address
// if the request has no such part.
func (c *client) keyOrAddress(x *exchange, k *pool.Key) uint64 {
	if key, ok := c.keyOf(x, k); ok {
		return key
	}
	return consistent.SumAddress(c.believedPeer(x))
}

// keyOf returns the hash of a part of the request, if it is there.
func (c *client) keyOf(x *exchange, k *pool.Key) (key uint64, ok bool) {
	var value []byte
	switch k.Of {
	case pool.ClientAddress, pool.ClientPrefix:
		return k.OfClient(c.believedPeer(x))
	case pool.URL:
		return urlKey(x.req.Host(), x.path, x.req.Query()), true
	case pool.Path:
		return consistent.Sum(x.path), true
	case pool.ServerName:
		if c.tls == nil || c.tls.ServerName == "" {
			return 0, false
		}
		return consistent.ID(c.tls.ServerName), true
	case pool.Field:
		value = fieldOf(&x.req, k.Name)
	case pool.Cookie:
		value = cookieOf(x, k.Name)
	case pool.Query:
		value = pairs.Parameter(x.req.Query(), k.Name)
	}
	return consistent.Sum(value), len(value) > 0 // what is empty makes nobody known
}

func urlKey(host, path, query []byte) uint64 {
	sum := consistent.Mix(consistent.Sum(host)) ^ consistent.Sum(path)
	return consistent.Mix(sum) ^ consistent.Sum(query)
}

// believedPeer returns who the client is: the peer, or if that is a trusted proxy the
// last one that it and those before it name which is none.
func (c *client) believedPeer(x *exchange) netip.Addr {
	if !c.peerAs.trusted {
		return c.peer
	}
	client := c.peer
	fields := x.req.Fields()
	for i := len(fields) - 1; i >= 0; i-- {
		if fields[i].ID != http1.FieldXForwardedFor {
			continue
		}
		list := x.req.Value(fields[i])
		for len(list) > 0 {
			at := bytes.LastIndexByte(list, ',')
			addr, err := netip.ParseAddr(string(bytes.TrimSpace(list[at+1:])))
			if err != nil {
				return client // what stands before it cannot be known to be true
			}
			if client = addr.Unmap().WithZone(""); !c.server.isTrusted(client) {
				return client
			}
			list = list[:max(at, 0)]
		}
	}
	return client
}

func (s *Server) isTrusted(addr netip.Addr) bool {
	for _, network := range s.cfg.Trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// fieldOf returns the value of the first field of that name; nil if there is none.
func fieldOf(p *http1.Parser, name string) []byte {
	for _, f := range p.Fields() {
		if equalFold(p.Name(f), name) {
			return p.Value(f)
		}
	}
	return nil
}

func equalFold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// cookieOf returns the value of a cookie of the request (RFC 6265 §5.4); nil if there
// is none. Of two with one name the first counts: it is the one with the longer path.
func cookieOf(x *exchange, name string) []byte {
	for _, f := range x.req.Fields() {
		if !equalFold(x.req.Name(f), "Cookie") {
			continue
		}
		if value := pairs.Value(x.req.Value(f), ';', name); value != nil {
			return value
		}
	}
	return nil
}

var semicolon = []byte(";")

// cookieSet returns the value that the response gives to a cookie; nil if it does not.
func cookieSet(x *exchange, name string) []byte {
	for _, f := range x.resp.Fields() {
		if equalFold(x.resp.Name(f), "Set-Cookie") {
			pair, _, _ := bytes.Cut(x.resp.Value(f), semicolon)
			if value := pairs.Of(pair, name); len(value) > 0 {
				return value
			}
		}
	}
	return nil
}

// failureTook is what the latency of a member is taken for when a request failed on
// it: what refuses at once must not look fast.
const failureTook = time.Second

// beginLoad tells the load of the member at hand that a request begins.
func (x *exchange) beginLoad(c *client) {
	x.times.begin()
	if x.trace.at > 0 {
		x.trace.nextTry(x.head)
	}
	x.choice.noted = x.asked.Sub(c.server.began)
	x.choice.load.Begin(c.lane, x.member.Load, x.choice.noted)
}

// noteHead notes that the head of the final response is there.
func (x *exchange) noteHead(c *client) {
	now := time.Since(c.server.began)
	x.choice.took = now - x.choice.noted
	x.member.Load.Observe(now, x.choice.took)
	x.choice.noted = now
	x.times.firstByte = x.choice.took
}

// noteCarried notes octets of content that went to or came from the member.
func (x *exchange) noteCarried() {
	total := x.sent + x.received
	x.member.Load.Carried(x.choice.noted, int(total-x.choice.counted))
	x.choice.counted = total
}

// endLoad tells it that the request has ended.
func (x *exchange) endLoad(c *client, failed bool) {
	if failed {
		x.choice.noted = time.Since(c.server.began)
		x.member.Load.Observe(x.choice.noted, max(failureTook, x.choice.noted-x.asked.Sub(c.server.began)))
	}
	x.noteCarried()
	x.choice.load.End(c.lane, x.member.Load, x.choice.noted)
}
