package iterate

import (
	"fmt"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// Other servers of a route are asked at once, and what was learnt from those before is
// forgotten; what was learnt elsewhere stays.
func TestReroute(t *testing.T) {
	w := routed(t, to("example.com.", true, "192.0.2.53"))
	w.servers["192.0.2.53"] = recursor("www.example.com. 300 A 203.0.113.53")
	w.servers["192.0.2.54"] = recursor("www.example.com. 300 A 203.0.113.54")
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.53")
	r := rr("www.example.net. 300 A 203.0.113.9")
	w.cache.Put(w.now, rdata.RRset{Name: r.Name, Type: r.Type, Class: r.Class, TTL: r.TTL, Data: [][]byte{r.Data}}, rrcache.TrustAnswer)
	w.step(Reroute{Routes: []Route{to("example.com.", true, "192.0.2.53"), to("org.", true, "192.0.2.54")}})
	w.asked = nil
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.53")
	w.want(w.resolve("www.example.net.", "A"), "NOERROR | www.example.net. 300 A 203.0.113.9")
	if len(w.asked) != 0 {
		t.Errorf("asked %q, though nothing has changed", w.asked)
	}
	w.step(Reroute{Routes: []Route{to("example.com.", true, "192.0.2.54")}})
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.54")
	w.want(w.resolve("www.example.net.", "A"), "NOERROR | www.example.net. 300 A 203.0.113.9")
	w.step(Reroute{}) // the way of delegations
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.step(Reroute{Routes: []Route{to("com.", true, "192.0.2.53")}})
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.53")
}

// What is being looked up when its route changes is looked up the new way, and nobody is
// told of a failure; replies of those asked before are not heard.
func TestRerouteInFlight(t *testing.T) {
	for what, next := range map[string][]Route{
		"another server": {to(".", true, "192.0.2.54")},
		"a deeper route": {to(".", true, "192.0.2.53"), to("example.com.", true, "192.0.2.54")},
		"no route":       nil,
	} {
		t.Run(what, func(t *testing.T) {
			w := routed(t, to(".", true, "192.0.2.53"))
			w.servers["192.0.2.54"] = recursor("www.example.com. 300 A 203.0.113.1")
			token := w.ask("www.example.com.", "A")
			w.step(Reroute{Routes: next})
			w.servers["192.0.2.53"] = recursor("www.example.com. 300 A 203.0.113.66")
			w.run()
			w.want(w.answers[token], "NOERROR | www.example.com. 300 A 203.0.113.1")
		})
	}
}

// Lookups that wait for each other begin anew together, once each.
func TestRerouteNested(t *testing.T) {
	w := example(t)
	w.restart(Limits{})
	w.servers["192.0.2.1"] = always(func(_, m *dnswire.Message) { // the servers of com have no glue
		m.Authority = rrs("com. 3600 NS ns.other.net.")
	})
	w.servers["192.0.2.54"] = recursor("www.example.com. 300 A 203.0.113.1")
	token := w.ask("www.example.com.", "A")
	for range 3 {
		w.runOne()
	}
	w.asked = nil
	w.step(Reroute{Routes: []Route{to(".", true, "192.0.2.54")}})
	w.run()
	w.want(w.answers[token], "NOERROR | www.example.com. 300 A 203.0.113.1")
	if n := w.count(" "); n != 1 {
		t.Errorf("asked %q, want the forwarder, once", w.asked)
	}
}

// A name that has no chain of trust any more, or has one again, is judged anew.
func TestReroutePrivate(t *testing.T) {
	w := example(t)
	w.config = func(c *Config) { c.Validate = true }
	w.restart(Limits{})
	if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail {
		t.Fatalf("answer %+v, want SERVFAIL: nothing is signed", a)
	}
	w.step(Reroute{Private: []dnsname.Name{dnsname.Root}})
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.step(Reroute{})
	if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail {
		t.Errorf("answer %+v, want SERVFAIL again", a)
	}
}

// Of many routes that change the cache is not searched for each.
func TestRerouteFlushes(t *testing.T) {
	many := map[dnsname.Name]bool{}
	for i := range flushedMost {
		many[dnsname.MustParse(fmt.Sprintf("n%d.example.com.", i))] = true
	}
	if got := flushed(many); len(got) != flushedMost {
		t.Errorf("%d names, want each", len(got))
	}
	many[dnsname.MustParse("example.com.")] = true
	if got := flushed(many); len(got) != 1 || got[0] != dnsname.MustParse("example.com.") {
		t.Errorf("got %v, want the name above all", got)
	}
}

// What is known of servers comes back, within the bounds of what is learnt anew; a server
// that was heard of meanwhile is known better.
func TestRestoreServers(t *testing.T) {
	w := routed(t, to("example.com.", true, "192.0.2.53"))
	w.servers["192.0.2.53"] = recursor("www.example.com. 300 A 203.0.113.53")
	w.resolve("www.example.com.", "A")
	known := w.r.KnownServers()
	if len(known) != 1 || known[0].Addr.String() != "192.0.2.53:53" || known[0].Over != "Do53" || known[0].RTT == 0 {
		t.Fatalf("known: %+v", known)
	}
	far := w.now.AddDate(1, 0, 0)
	other := to("x.", true, "192.0.2.99").Servers[0]
	count := w.r.RestoreServers(w.now, []KnownServer{
		{Addr: known[0].Addr, Over: "Do53", RTT: time.Hour},
		{Addr: other, Over: "Do53", RTT: time.Hour, Timeouts: 1000, Dead: far, NoEDNS: far},
		{Addr: other, Over: "DoT"}, {},
	})
	now := w.r.KnownServers()
	if count != 1 || len(now) != 2 || now[0].RTT != known[0].RTT {
		t.Fatalf("restored %d: %+v", count, now)
	}
	if s := now[1]; s.RTT != maxTimeout || s.Timeouts != deadAfter || s.Dead.After(w.now.Add(deadMost)) || s.NoEDNS.After(w.now.Add(plainTime)) {
		t.Errorf("beyond its bounds: %+v", s)
	}
}
