package iterate

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnswire"
)

// encrypted routes everything to these servers over a transport.
func encrypted(over Transport, servers ...string) Route {
	r := to(".", true)
	for i, s := range servers {
		r.Encrypted = append(r.Encrypted, Server{netip.AddrPortFrom(netip.MustParseAddr(s), 853), over, i + 1})
	}
	return r
}

// RFC 8467 §4.1, RFC 7858 §3.3: what is encrypted has one length for many names,
// goes to the server that is meant, and has no need of mixed case.
func TestEncryptedQuery(t *testing.T) {
	for _, over := range []Transport{DoT, DoH, DoQ} {
		w := example(t)
		w.config = func(c *Config) { c.Routes, c.MixCase = []Route{encrypted(over, "192.0.2.53")}, true }
		w.restart(Limits{})
		w.servers["192.0.2.53"] = recursor("www.example.com. 300 A 203.0.113.1", "a.b.c.d.e.f.example.com. 300 A 203.0.113.2")
		w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
		w.want(w.resolve("a.b.c.d.e.f.example.com.", "A"), "NOERROR | a.b.c.d.e.f.example.com. 300 A 203.0.113.2")
		for _, s := range w.sent {
			if s.Over != over || s.Peer != 1 || s.TCP || len(s.Msg) != paddingBlock {
				t.Errorf("%v: sent over %v to peer %d (TCP %v), %d octets; want peer 1 and %d octets", over, s.Over, s.Peer, s.TCP, len(s.Msg), paddingBlock)
			}
		}
		if c := w.r.Counters(); c.SentEncrypted[over] != 2 || c.SentTCP != 0 {
			t.Errorf("%v: counters %+v, want 2 encrypted queries", over, c)
		}
	}
}

// There is no way back to what others can read: neither when the server cannot be
// reached or shows the wrong certificate, nor when its reply is truncated.
func TestNoDowngrade(t *testing.T) {
	w := example(t)
	w.config = func(c *Config) { c.Routes = []Route{encrypted(DoT, "192.0.2.53", "192.0.2.54")} }
	w.restart(Limits{})
	truncate := always(func(_, m *dnswire.Message) { m.AA, m.RA, m.TC = false, true, true })
	w.servers["192.0.2.53"], w.servers["192.0.2.54"] = truncate, truncate
	a := w.resolve("www.example.com.", "A")
	if a.Rcode != dnswire.RcodeServFail || a.Errors[0].Code != dnswire.EDEInvalidData {
		t.Errorf("truncated: got %v %v, want SERVFAIL, invalid data", a.Rcode, a.Errors)
	}
	w.restart(Limits{})
	delete(w.servers, "192.0.2.53")
	delete(w.servers, "192.0.2.54")
	a = w.resolve("www.example.com.", "A")
	if a.Rcode != dnswire.RcodeServFail || a.Errors[0].Code != dnswire.EDENoReachableAuthority {
		t.Errorf("silent: got %v %v, want SERVFAIL, no reachable authority", a.Rcode, a.Errors)
	}
	for _, s := range w.sent {
		if s.Over != DoT {
			t.Errorf("asked %v over %v", s.To, s.Over)
		}
	}
}

// A server that fails makes room for another, and counts as dead after some
// failures; its plain port is another server.
func TestEncryptedHealth(t *testing.T) {
	w := example(t)
	w.config = func(c *Config) { c.Routes = []Route{encrypted(DoQ, "192.0.2.53", "192.0.2.54")} }
	w.restart(Limits{})
	w.servers["192.0.2.54"] = recursor("www.example.com. 300 A 203.0.113.1")
	bad := Server{netip.MustParseAddrPort("192.0.2.53:853"), DoQ, 1}
	for i := range deadAfter {
		w.now = w.now.Add(time.Second)
		w.r.hosts.get(bad).timedOut(w.now, w.now)
		if got, want := w.r.hosts.look(bad).dead(w.now), i == deadAfter-1; got != want {
			t.Errorf("dead after %d failures: %v, want %v", i+1, got, want)
		}
	}
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.wantAsked("192.0.2.54 www.example.com. A")
	if h := w.r.hosts.look(plainServer(bad.AddrPort)); h != nil {
		t.Error("the plain server at the address has the failures of the encrypted one")
	}
}

// What it takes to make a connection is no round trip time.
func TestConnectingIsNotRTT(t *testing.T) {
	w := example(t)
	w.config = func(c *Config) { c.Routes = []Route{encrypted(DoT, "192.0.2.53")} }
	w.restart(Limits{})
	w.servers["192.0.2.53"] = recursor("www.example.com. 300 A 203.0.113.1")
	w.latency = 300 * time.Millisecond
	w.took = 20 * time.Millisecond
	w.resolve("www.example.com.", "A")
	if got := w.r.hosts.look(Server{netip.MustParseAddrPort("192.0.2.53:853"), DoT, 1}).srtt; got != w.took {
		t.Errorf("round trip time %v, want %v", got, w.took)
	}
}

// A failure of a connection is told with the transport and its reason.
func TestEncryptedFailureText(t *testing.T) {
	w := example(t)
	w.config = func(c *Config) { c.Routes = []Route{encrypted(DoH, "192.0.2.53")} }
	w.restart(Limits{})
	w.failing = errors.New("the certificate is for another name")
	a := w.resolve("www.example.com.", "A")
	want := "www.example.com. A, zone .: 192.0.2.53:853 (DoH): the certificate is for another name"
	if a.Rcode != dnswire.RcodeServFail || a.Errors[0].Code != dnswire.EDENetworkError || a.Errors[0].Text != want {
		t.Errorf("got %v %v, want SERVFAIL, %s", a.Rcode, a.Errors, want)
	}
}
