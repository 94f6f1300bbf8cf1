package iterate

import (
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// routed is the world of example with routes.
func routed(t *testing.T, routes ...Route) *world {
	w := example(t)
	w.config = func(c *Config) { c.Routes = routes }
	w.restart(Limits{})
	return w
}

func to(zone string, forward bool, servers ...string) Route {
	r := Route{Zone: dnsname.MustParse(zone), Forward: forward}
	for _, s := range servers {
		r.Servers = append(r.Servers, netip.AddrPortFrom(netip.MustParseAddr(s), 53))
	}
	return r
}

// recursor is a resolver that knows these records: neither authoritative nor a
// zone, and it says no with a SOA.
func recursor(lines ...string) responder {
	all := serveZone(dnsname.Root, append(rrs(lines...), rr(". 60 SOA")))
	return func(q *dnswire.Message, tcp bool) [][]byte {
		m, err := dnswire.ParseMessage(all(q, tcp)[0])
		if err != nil {
			panic(err)
		}
		m.AA, m.RA = false, true
		if !q.RD {
			m = replyTo(q)
			m.AA, m.Rcode = false, dnswire.RcodeRefused
		}
		return wire(m)
	}
}

// Questions at and below a forward zone go to its resolvers with RD=1, whatever
// delegations are known; all others go their usual way, without priming for those.
func TestForward(t *testing.T) {
	w := routed(t, to("example.com.", true, "192.0.2.53", "192.0.2.54"))
	w.servers["192.0.2.53"] = recursor("www.example.com. 300 CNAME target.example.com.", "target.example.com. 60 A 203.0.113.53")
	w.servers["192.0.2.54"] = w.servers["192.0.2.53"]
	a := w.resolve("www.example.com.", "A")
	w.want(a, "NOERROR | target.example.com. 60 A 203.0.113.53; www.example.com. 300 CNAME target.example.com.")
	if len(w.asked) != 1 || a.Sent != 1 {
		t.Errorf("asked %q, want one forwarder", w.asked)
	}
	w.asked = nil
	w.want(w.resolve("none.example.com.", "A"), "NXDOMAIN |  | . 60 SOA SOA")
	w.want(w.resolve("target.example.com.", "MX"), "NOERROR |  | . 60 SOA SOA")
	w.want(w.resolve("target.example.com.", "A"), "NOERROR | target.example.com. 60 A 203.0.113.53")
	if len(w.asked) != 2 {
		t.Errorf("asked %q, want two questions and an answer from the cache", w.asked)
	}
	w.asked = nil
	w.want(w.resolve("www.example.net.", "A"), "NOERROR | www.example.net. 60 A 203.0.113.2")
	w.wantAsked("192.0.2.1 . NS", "192.0.2.1 www.example.net. A", "192.0.2.4 www.example.net. A", "192.0.2.5 www.example.net. A")
}

// With the root forwarded nobody else is asked anything.
func TestForwardRoot(t *testing.T) {
	w := routed(t, to(".", true, "192.0.2.53"))
	w.servers["192.0.2.53"] = recursor("www.example.com. 300 A 203.0.113.1")
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.wantAsked("192.0.2.53 www.example.com. A")
}

// A forwarder that fails makes room for the next; what only refers elsewhere is no
// answer of a resolver.
func TestForwardFailing(t *testing.T) {
	w := routed(t, to(".", true, "192.0.2.51", "192.0.2.52", "192.0.2.53", "192.0.2.54"))
	w.servers["192.0.2.51"] = always(func(_, m *dnswire.Message) { m.AA, m.RA, m.Rcode = false, true, dnswire.RcodeServFail })
	w.servers["192.0.2.52"] = sections(false, nil, rrs("com. 3600 NS ns.com."), rrs("ns.com. 3600 A 192.0.2.2"))
	w.servers["192.0.2.54"] = recursor("www.example.com. 300 A 203.0.113.1")
	for range 8 { // whichever is first
		w.restart(Limits{})
		w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
		if n := w.count("192.0.2.2 "); n != 0 {
			t.Fatalf("a forwarder's referral was followed: %q", w.asked)
		}
	}
	delete(w.servers, "192.0.2.54")
	w.restart(Limits{})
	if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail || len(a.Errors) != 1 {
		t.Errorf("answer %+v, want SERVFAIL with a reason", a)
	}
}

// First: the way of delegations is taken when the forwarders come to nothing.
func TestForwardFirst(t *testing.T) {
	route := to(".", true, "192.0.2.53")
	route.First = true
	w := routed(t, route)
	w.servers["192.0.2.53"] = always(func(_, m *dnswire.Message) { m.AA, m.RA, m.Rcode = false, true, dnswire.RcodeServFail })
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
}

// A stub zone's servers are asked as authorities, and what they delegate is found
// from there. The deepest route counts.
func TestStub(t *testing.T) {
	w := routed(t, to("corp.", false, "192.0.2.53"), to("deep.corp.", true, "192.0.2.54"))
	w.servers["192.0.2.53"] = authority("corp.", "corp. 60 SOA", "www.corp. 60 A 203.0.113.7",
		"sub.corp. 600 NS ns.sub.corp.", "ns.sub.corp. 600 A 192.0.2.55", "deep.corp. 60 A 203.0.113.66")
	w.servers["192.0.2.54"] = recursor("deep.corp. 60 A 203.0.113.8")
	w.servers["192.0.2.55"] = authority("sub.corp.", "sub.corp. 60 SOA", "www.sub.corp. 60 A 203.0.113.9")
	w.want(w.resolve("www.corp.", "A"), "NOERROR | www.corp. 60 A 203.0.113.7")
	w.want(w.resolve("www.sub.corp.", "A"), "NOERROR | www.sub.corp. 60 A 203.0.113.9")
	w.want(w.resolve("deep.corp.", "A"), "NOERROR | deep.corp. 60 A 203.0.113.8")
	w.want(w.resolve("none.corp.", "A"), "NXDOMAIN |  | corp. 60 SOA SOA")
	w.wantAsked("192.0.2.53 www.corp. A", "192.0.2.53 www.sub.corp. A", "192.0.2.55 www.sub.corp. A",
		"192.0.2.54 deep.corp. A", "192.0.2.53 none.corp. A")
}

// What the public root says of the name of a private zone is not held against it.
func TestStubBesideDenial(t *testing.T) {
	w := routed(t, to("corp.", false, "192.0.2.53"))
	w.servers["192.0.2.53"] = authority("corp.", "corp. 60 SOA", "corp. 60 A 203.0.113.6", "www.corp. 60 A 203.0.113.7")
	w.want(w.resolve("corp.", "DS"), "NXDOMAIN |  | . 300 SOA SOA") // from the root
	w.pass(time.Second)
	w.want(w.resolve("corp.", "A"), "NOERROR | corp. 60 A 203.0.113.6")
	w.want(w.resolve("www.corp.", "A"), "NOERROR | www.corp. 60 A 203.0.113.7")
	if e := w.cache.Get(w.now, dnsname.MustParse("corp."), rdata.TypeDS); e == nil {
		t.Error("the denial of DS is not kept")
	}
}

// A route for all names whose servers come to nothing is left for the root's servers, and
// when they come to nothing too there is an end.
func TestRouteToTheRootFirst(t *testing.T) {
	route := to(".", false, Inside.Addr().String())
	route.First = true
	w := routed(t, route)
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w = routed(t, route)
	delete(w.servers, rootAddr)
	if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail {
		t.Errorf("%s", render(a))
	}
}
