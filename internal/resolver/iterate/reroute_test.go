package iterate

import (
	"testing"
	"time"

	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// Other servers of a route are asked at once, and what was learnt from those before is
// forgotten; what was learnt elsewhere stays, as does a zone that had no route.
func TestReroute(t *testing.T) {
	w := routed(t, to("example.com.", true, "192.0.2.53"))
	w.servers["192.0.2.53"] = recursor("www.example.com. 300 A 203.0.113.53")
	w.servers["192.0.2.54"] = recursor("www.example.com. 300 A 203.0.113.54")
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.53")
	r := rr("www.example.net. 300 A 203.0.113.9")
	w.cache.Put(w.now, rdata.RRset{Name: r.Name, Type: r.Type, Class: r.Class, TTL: r.TTL, Data: [][]byte{r.Data}}, rrcache.TrustAnswer)
	w.r.Reroute([]Route{to("example.com.", true, "192.0.2.53"), to("net.", true, "192.0.2.54")})
	w.asked = nil
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.53")
	w.want(w.resolve("www.example.net.", "A"), "NOERROR | www.example.net. 300 A 203.0.113.9")
	if len(w.asked) != 0 {
		t.Errorf("asked %q, though nothing has changed", w.asked)
	}
	w.r.Reroute([]Route{to("example.com.", true, "192.0.2.54")})
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.54")
	w.want(w.resolve("www.example.net.", "A"), "NOERROR | www.example.net. 300 A 203.0.113.9")
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
