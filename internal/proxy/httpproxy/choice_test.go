package httpproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/pool"
)

// parsed is an exchange with a request head, and one with its client.
func parsed(t *testing.T, peer string, trusted []netip.Prefix, head string) (*client, *exchange) {
	t.Helper()
	s := &Server{cfg: Config{Trusted: trusted}}
	c := &client{server: s, peer: netip.MustParseAddr(peer)}
	c.peerAs = c.spellPeer()
	x := &exchange{}
	x.req.ResetRequest(http1.Limits{})
	if _, ev, v := x.req.Feed([]byte(head)); v != nil || ev != http1.HeadDone {
		t.Fatalf("%q: %v %v", head, ev, v)
	}
	x.path = x.req.Path()
	return c, x
}

// Keys come from where they are said to come from.
func TestKeys(t *testing.T) {
	const head = "GET /shop/cart?user=7&b=&c HTTP/1.1\r\nHost: www.example.com\r\nX-Tenant: blue\r\nCookie: a=1; sid=abc; sid=late\r\nCookie: z=9\r\n\r\n"
	c, x := parsed(t, "192.0.2.77", nil, head)
	of := func(text string) uint64 { return consistent.Sum([]byte(text)) }
	for _, k := range []struct {
		key  pool.Key
		want uint64 // 0: it is not there
	}{
		{pool.Key{Of: pool.Field, Name: "x-tenant"}, of("blue")},
		{pool.Key{Of: pool.Field, Name: "x-other"}, 0},
		{pool.Key{Of: pool.Cookie, Name: "sid"}, of("abc")},
		{pool.Key{Of: pool.Cookie, Name: "z"}, of("9")},
		{pool.Key{Of: pool.Cookie, Name: "id"}, 0},
		{pool.Key{Of: pool.Query, Name: "user"}, of("7")},
		{pool.Key{Of: pool.Query, Name: "b"}, 0},
		{pool.Key{Of: pool.Query, Name: "c"}, 0},
		{pool.Key{Of: pool.Path}, of("/shop/cart")},
		{pool.Key{Of: pool.URL}, urlKey([]byte("www.example.com"), []byte("/shop/cart"), []byte("?user=7&b=&c"))},
		{pool.Key{Of: pool.ClientAddress}, consistent.SumAddress(netip.MustParseAddr("192.0.2.77"))},
		{pool.Key{Of: pool.ClientPrefix, Bits4: 24, Bits6: 56}, consistent.SumAddress(netip.MustParseAddr("192.0.2.0"))},
	} {
		got, ok := c.keyOf(x, &k.key)
		if ok != (k.want != 0) || ok && got != k.want {
			t.Errorf("%v: %x %v, want %x", k.key, got, ok, k.want)
		}
	}
	if got, want := c.keyOrAddress(x, &pool.Key{Of: pool.Field, Name: "none"}), consistent.SumAddress(c.peer); got != want {
		t.Error("a request without the field does not go by its client's address")
	}
	if n := testing.AllocsPerRun(100, func() { c.keyOf(x, &pool.Key{Of: pool.Cookie, Name: "sid"}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The client is who trusted proxies say it is, as far back as they can be believed.
func TestBelievedPeer(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct{ peer, fields, want string }{
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"},
		{"10.0.0.1", "X-Forwarded-For: 203.0.113.1, 192.0.2.7, 10.0.0.2\r\n", "192.0.2.7"},
		{"10.0.0.1", "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"},
		{"10.0.0.1", "X-Forwarded-For: 192.0.2.7, nonsense, 10.0.0.2\r\n", "10.0.0.2"},
		{"10.0.0.1", "X-Forwarded-For: ::ffff:192.0.2.7\r\n", "192.0.2.7"},
		{"192.0.2.50", "X-Forwarded-For: 198.51.100.1\r\n", "192.0.2.50"},
	} {
		client, x := parsed(t, c.peer, trusted, "GET / HTTP/1.1\r\nHost: a\r\n"+c.fields+"\r\n")
		if got := client.believedPeer(x); got.String() != c.want {
			t.Errorf("%s %q: %v, want %s", c.peer, c.fields, got, c.want)
		}
	}
}

// A member that refuses every request at once does not look like the fastest one.
func TestFailuresLookSlow(t *testing.T) {
	good := startOrigin(t, answering(ok2))
	g := startGateway(t, Config{}, good, "127.0.0.1:1") // nobody listens there
	for range 4 {
		if got := g.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Fatalf("answer %q", got)
		}
	}
	members := g.table.PoolAt(0).View().Members
	now := time.Since(g.server.began)
	if fast, slow := members[0].Load.Latency(now), members[1].Load.Latency(now); fast == 0 || slow < failureTook/2 || fast > slow {
		t.Errorf("latency of the one that answers %v, of the one that refuses %v", fast, slow)
	}
	for i := range members {
		if n := members[i].Load.Active.Load(); n != 0 {
			t.Errorf("member %d has %d in flight at the end", i, n)
		}
	}
	if n := g.table.PoolAt(0).Load().Active(); n != 0 {
		t.Errorf("the pool has %d in flight at the end", n)
	}
}

// A client gets one cookie, and then no other while its member answers.
func TestAffinityCookie(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, answering(ok2)), startOrigin(t, answering(ok2)), startOrigin(t, answering(ok2)))
	spec := affinity.Spec{Kind: affinity.Cookie, Name: "at", Path: "/", SameSite: "Lax", HTTPOnly: true, Secret: []byte("secret")}
	table, errs := served.New([]route.Rule{{Pools: []route.Share{{Pool: "web", Weight: 1}}}}, g.table.AllPools(), map[string]affinity.Spec{"web": spec}, g.table)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	g.publish(table)
	ask := func(cookie string) (value string) {
		got := g.ask(fmt.Sprintf("GET / HTTP/1.1\r\nHost: a\r\n%sConnection: close\r\n\r\n", cookie))
		if !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Fatalf("answer %q", got)
		}
		_, rest, _ := strings.Cut(got, "Set-Cookie: at=")
		value, _, _ = strings.Cut(rest, ";")
		return value
	}
	values := map[string]bool{}
	for range 3 {
		values[ask("")] = true
	}
	if len(values) != 3 || values[""] {
		t.Fatalf("three clients got %v", values)
	}
	for value := range values {
		for range 4 {
			if again := ask("Cookie: at=" + value + "\r\n"); again != "" {
				t.Errorf("a client with %s got %s", value, again)
			}
		}
	}
	if ask("Cookie: at=forged\r\n") == "" {
		t.Error("a forged cookie was taken")
	}
}
