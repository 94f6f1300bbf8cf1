package iterate

import (
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// staleWorld is the world of example, which has been asked for www.example.com. and
// none.example.com. so long ago that the answers have expired.
func staleWorld(t *testing.T, limits Limits) *world {
	w := example(t)
	w.limits = rrcache.Limits{Stale: 24 * time.Hour}
	w.restart(limits)
	w.resolve("www.example.com.", "A")
	w.resolve("none.example.com.", "A")
	w.pass(2 * time.Hour)
	w.asked = nil
	return w
}

func (w *world) cutCable() {
	for addr := range w.servers {
		delete(w.servers, addr)
	}
}

// wantStale compares an answer, and checks that it says that it is out of date.
func (w *world) wantStale(a Answer, code dnswire.EDE, want string) {
	w.t.Helper()
	w.want(a, want)
	if len(a.Errors) != 1 || a.Errors[0].Code != code || a.AD {
		w.t.Errorf("errors %v, AD %v, want %v alone", a.Errors, a.AD, code)
	}
}

const staleWWW = "NOERROR | www.example.com. 30 A 203.0.113.1"

// RFC 8767 §5: after 1.8 s without an answer the client gets what has expired, with
// a TTL of 30 s; what failed is not tried again for 30 s.
func TestStale(t *testing.T) {
	w := staleWorld(t, Limits{})
	w.cutCable()
	a := w.resolve("www.example.com.", "A")
	w.wantStale(a, dnswire.EDEStaleAnswer, staleWWW)
	if a.Elapsed == 0 || a.Elapsed > staleAfter { // sooner when its only server is silent twice
		t.Errorf("answered after %v, want at most %v", a.Elapsed, staleAfter)
	}
	if n := len(w.asked); n < 3 {
		t.Errorf("%d queries: the question did not go on in the background", n)
	}
	w.asked = nil
	a = w.resolve("www.example.com.", "A")
	w.wantStale(a, dnswire.EDEStaleAnswer, staleWWW)
	if w.wantAsked(); a.Elapsed != 0 {
		t.Errorf("the second one waited %v", a.Elapsed)
	}
	// Others whose servers are known not to answer do not wait either.
	a = w.resolve("none.example.com.", "A")
	w.wantStale(a, dnswire.EDEStaleNXDomain, "NXDOMAIN |  | example.com. 30 SOA SOA")
	if a.Elapsed != 0 {
		t.Errorf("another name of the same servers waited %v", a.Elapsed)
	}
	// What was never known is SERVFAIL, and so is what expired too long ago.
	if a := w.resolve("new.example.com.", "A"); a.Rcode != dnswire.RcodeServFail {
		t.Errorf("a name never seen: %v", render(a))
	}
	w.pass(24 * time.Hour)
	if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail {
		t.Errorf("a day later: %v", render(a))
	}
}

// RFC 8767 §5: the client-response timer, of a server that is slow but not silent.
func TestStalePatience(t *testing.T) {
	w := staleWorld(t, Limits{})
	slow := dnsname.MustParse("www.example.com.")
	good := w.servers["192.0.2.3"]
	w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if m := replyTo(q); !tcp && q.Question.Name == slow { // and over TCP it says nothing
			m.TC = true
			return wire(m)
		} else if tcp {
			return nil
		}
		return good(q, tcp)
	}
	a := w.resolve("www.example.com.", "A")
	w.wantStale(a, dnswire.EDEStaleAnswer, staleWWW)
	if a.Elapsed != staleAfter {
		t.Errorf("answered after %v, want %v", a.Elapsed, staleAfter)
	}
}

// What answers in time is never stale, and replaces what has expired.
func TestStaleRenewed(t *testing.T) {
	w := staleWorld(t, Limits{})
	a := w.resolve("www.example.com.", "A")
	w.want(a, "NOERROR | www.example.com. 300 A 203.0.113.1")
	if len(a.Errors) != 0 {
		t.Errorf("errors %v", a.Errors)
	}
	if w.cache.Stale(w.now, dnsname.MustParse("www.example.com."), rdata.TypeA, false, false) != nil {
		t.Error("the expired answer is still there")
	}
}

// A late answer is for those who ask later.
func TestStaleBackground(t *testing.T) {
	w := staleWorld(t, Limits{})
	w.latency = 2500 * time.Millisecond
	// The server is known to be near, so one reply is late: the second query's.
	w.wantStale(w.resolve("www.example.com.", "A"), dnswire.EDEStaleAnswer, staleWWW)
	w.latency = 10 * time.Millisecond
	w.pass(2 * time.Minute)
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
}

// A failure of the servers is no reason to fail, nor to forget what there was.
func TestStaleAfterFailure(t *testing.T) {
	w := staleWorld(t, Limits{})
	w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) { m.AA, m.Rcode = false, dnswire.RcodeServFail })
	for range 2 {
		w.wantStale(w.resolve("www.example.com.", "A"), dnswire.EDEStaleAnswer, staleWWW)
	}
}

// As configured the client does not wait at all.
func TestStaleAtOnce(t *testing.T) {
	w := staleWorld(t, Limits{StaleAfter: -1})
	a := w.resolve("www.example.com.", "A")
	w.wantStale(a, dnswire.EDEStaleAnswer, staleWWW)
	if a.Elapsed != 0 {
		t.Errorf("waited %v", a.Elapsed)
	}
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
}

// Without leave nothing expired is given.
func TestStaleOff(t *testing.T) {
	w := example(t)
	w.resolve("www.example.com.", "A")
	w.pass(2 * time.Hour)
	w.cutCable()
	if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail {
		t.Errorf("answer %v, want SERVFAIL", render(a))
	}
}

// What is fetched for nobody renews the cache, whatever it has, and answers nobody.
func TestFresh(t *testing.T) {
	w := example(t)
	w.resolve("www.example.com.", "A")
	w.asked = nil
	w.pass(290 * time.Second)
	w.step(Ask{Token: 99, Name: dnsname.MustParse("www.example.com."), Type: rdata.TypeA, Fresh: true})
	w.run()
	w.wantAsked("192.0.2.3 www.example.com. A")
	if _, answered := w.answers[99]; answered {
		t.Error("somebody was answered")
	}
	w.pass(200 * time.Second)
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 100 A 203.0.113.1")
	// If it fails, what there was stays.
	w.cutCable()
	w.step(Ask{Token: 100, Name: dnsname.MustParse("www.example.com."), Type: rdata.TypeA, Fresh: true})
	w.run()
	if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeNoError {
		t.Errorf("after a fetch in vain: %v", render(a))
	}
}
