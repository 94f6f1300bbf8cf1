package iterate

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// twoServers is example with a second server for example.com., at 192.0.2.13.
func twoServers(t *testing.T) *world {
	w := example(t)
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA",
		"example.com. 86400 NS ns1.example.com.", "ns1.example.com. 86400 A 192.0.2.3",
		"example.com. 86400 NS ns2.example.com.", "ns2.example.com. 86400 A 192.0.2.13")
	w.servers["192.0.2.13"] = w.servers["192.0.2.3"]
	return w
}

func wantSERVFAIL(t *testing.T, a Answer, code dnswire.EDE, text string) {
	t.Helper()
	if a.Rcode != dnswire.RcodeServFail || len(a.Errors) != 1 || a.Errors[0].Code != code || !strings.Contains(a.Errors[0].Text, text) {
		t.Errorf("got %v %v; want SERVFAIL with %v (%q)", a.Rcode, a.Errors, code, text)
	}
}

// RFC 1034 §5.3.3: a server that does not answer is left for another.
func TestDeadServer(t *testing.T) {
	for _, dead := range []string{"192.0.2.3", "192.0.2.13"} {
		w := twoServers(t)
		delete(w.servers, dead)
		for i := range 12 {
			name := fmt.Sprintf("n%d.example.com.", i)
			if a := w.resolve(name, "A"); a.Rcode != dnswire.RcodeNXDomain {
				t.Errorf("%s: %s", name, render(a))
			}
		}
		// It is remembered as slow, and seldom tried.
		if got := w.count(dead); got > 3 {
			t.Errorf("dead %s was asked %d times for 12 questions", dead, got)
		}
	}
}

// RFC 8914 §4.23: when all are dead, "No Reachable Authority". RFC 9520 §3.1: each
// server is tried a few times, with growing timeouts; §3.2: the failure is kept
// for a while.
func TestAllServersDead(t *testing.T) {
	w := twoServers(t)
	delete(w.servers, "192.0.2.3")
	delete(w.servers, "192.0.2.13")
	a := w.resolve("www.example.com.", "A")
	wantSERVFAIL(t, a, dnswire.EDENoReachableAuthority, "did not answer")
	if got := w.count(".3 ") + w.count(".13 "); got != 2*triesPerPlace {
		t.Errorf("%d tries, want %d", got, 2*triesPerPlace)
	}
	if a.Elapsed > 10*time.Second {
		t.Errorf("took %v", a.Elapsed)
	}
	var last time.Duration
	for _, s := range w.sent[3:] {
		if s.Timeout < last {
			t.Errorf("timeout %v after %v", s.Timeout, last)
		}
		last = s.Timeout
	}
	w.asked = nil
	wantSERVFAIL(t, w.resolve("www.example.com.", "A"), dnswire.EDECachedError, "did not answer")
	w.wantAsked()
	w.pass(5 * time.Second)
	w.servers["192.0.2.3"] = sections(true, rrs("www.example.com. 300 A 203.0.113.1"), nil, nil)
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
}

// A server that is back is found out, though it was dead.
func TestServerComesBack(t *testing.T) {
	w := twoServers(t)
	serve := w.servers["192.0.2.3"]
	delete(w.servers, "192.0.2.3")
	delete(w.servers, "192.0.2.13")
	for i := range 4 {
		w.resolve(fmt.Sprintf("a%d.example.com.", i), "A")
		w.pass(6 * time.Second)
	}
	w.servers["192.0.2.3"] = serve
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
}

// RFC 9499 §7: a lame delegation leads to a server that does not serve the zone.
func TestLameServers(t *testing.T) {
	for what, bad := range map[string]responder{
		"refused":                 always(func(_, m *dnswire.Message) { m.AA, m.Rcode = false, dnswire.RcodeRefused }),
		"servfail":                always(func(_, m *dnswire.Message) { m.AA, m.Rcode = false, dnswire.RcodeServFail }),
		"empty, not AA":           sections(false, nil, nil, nil),
		"upward referral":         sections(false, nil, rrs(". 518400 NS a.root."), rrs("a.root. 518400 A 192.0.2.66")),
		"referral to the parent":  sections(false, nil, rrs("com. 518400 NS ns.com."), nil),
		"referral to itself":      sections(false, nil, rrs("example.com. 518400 NS ns1.example.com."), nil),
		"referral to a sibling":   sections(false, nil, rrs("example.net. 518400 NS ns1.example.net."), nil),
		"referral beside the way": sections(false, nil, rrs("other.example.com. 518400 NS ns1.example.net."), nil),
	} {
		w := twoServers(t)
		w.servers["192.0.2.13"] = bad
		for range 10 {
			w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
			w.pass(301 * time.Second)
		}
		// All servers bad: SERVFAIL, each asked once, and nothing else was led astray.
		w.restart(Limits{})
		w.servers["192.0.2.3"], w.asked = bad, nil
		a := w.resolve("www.example.com.", "A")
		if a.Rcode != dnswire.RcodeServFail || len(w.asked) != 5 || w.count("192.0.2.66") > 0 {
			t.Errorf("%s: %s after %q", what, render(a), w.asked)
		}
	}
}

// A server that recurses answers out of its cache, not for the zone: it is asked
// last, and believed only when no other server answers.
func TestRecursorAsServer(t *testing.T) {
	w := twoServers(t)
	recursor := always(func(_, m *dnswire.Message) {
		m.AA, m.RA, m.Answer = false, true, rrs("www.example.com. 300 A 203.0.113.99")
	})
	w.servers["192.0.2.13"] = recursor
	for range 10 {
		w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
		w.pass(301 * time.Second)
	}
	w.restart(Limits{})
	delete(w.servers, "192.0.2.3")
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.99")
	// RFC 2181 §5.4.1: such an answer has less trust than the zone's own.
	if e := w.cache.Get(w.now, dnsname.MustParse("www.example.com."), rdata.TypeA); e.Trust != rrcache.TrustNonAnswer {
		t.Errorf("trust %d", e.Trust)
	}
}

// RFC 8767 §4: TTLs are capped, in the first answer as in those from the cache.
func TestTTLCap(t *testing.T) {
	w := example(t, "long.example.com. 2000000 A 203.0.113.4", "far.example.com. 2000000 CNAME long.example.com.")
	for range 2 {
		w.want(w.resolve("far.example.com.", "A"), "NOERROR | far.example.com. 86400 CNAME long.example.com.; long.example.com. 86400 A 203.0.113.4")
	}
}

// A server whose glue is of a family that can not be reached has its other
// address looked up.
func TestUnusableGlue(t *testing.T) {
	w := example(t)
	w.r = New(Config{Hints: w.r.cfg.Hints, Rand: w.r.cfg.Rand, Cache: w.cache, NoIPv6: true})
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA", "far.com. 60 NS ns.host.com.", "ns.host.com. 60 AAAA 2001:db8::1",
		"host.com. 60 NS ns2.host.com.", "ns2.host.com. 60 A 192.0.2.6")
	w.servers["192.0.2.6"] = authority("host.com.", "host.com. 60 SOA", "ns.host.com. 60 A 192.0.2.7")
	w.servers["192.0.2.7"] = authority("far.com.", "far.com. 60 SOA", "far.com. 60 TXT here")
	w.want(w.resolve("far.com.", "TXT"), "NOERROR | far.com. 60 TXT here")
	if w.count("2001:db8") > 0 {
		t.Errorf("asked %q", w.asked)
	}
}

// A lame server is remembered: while another serves the zone, it is not asked.
func TestLameIsRemembered(t *testing.T) {
	w := twoServers(t)
	w.servers["192.0.2.13"] = sections(false, nil, nil, nil)
	for i := range 30 {
		w.resolve(fmt.Sprintf("n%d.example.com.", i), "A")
	}
	if got := w.count("192.0.2.13"); got > 1 {
		t.Errorf("the lame server was asked %d times", got)
	}
}

// RFC 7766 §5: a truncated reply is asked for again over TCP.
func TestTruncatedToTCP(t *testing.T) {
	w := example(t)
	honest := w.servers["192.0.2.3"]
	w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if tcp {
			return honest(q, tcp)
		}
		m := replyTo(q)
		m.TC = true
		return wire(m)
	}
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	if got := w.count("192.0.2.3 www.example.com. A/tcp"); got != 1 {
		t.Errorf("asked %q", w.asked)
	}
	// RFC 2181 §9: what else is in a truncated reply is not to be used; it may be
	// cut in the middle of a record.
	w.restart(Limits{})
	w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if tcp {
			return honest(q, tcp)
		}
		m := replyTo(q)
		m.TC, m.Answer = true, rrs("www.example.com. 300 A 203.0.113.66")
		msg := m.Append(nil)
		return [][]byte{msg[:len(msg)-14]}
	}
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	// No server answers over TCP: that is the end of it, not a loop.
	w.restart(Limits{})
	w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if tcp {
			return nil
		}
		m := replyTo(q)
		m.TC = true
		return wire(m)
	}
	wantSERVFAIL(t, w.resolve("www.example.com.", "A"), dnswire.EDENoReachableAuthority, "did not answer")
	// TC over TCP is nonsense.
	w.restart(Limits{})
	w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) { m.TC, m.Answer = true, rrs("www.example.com. 300 A 203.0.113.66") })
	wantSERVFAIL(t, w.resolve("www.example.com.", "A"), dnswire.EDEInvalidData, "truncated over TCP")
}

// RFC 6891 §7: a server that knows no EDNS says FORMERR (or NOTIMP); then it is
// asked without, at once and from then on.
func TestServerWithoutEDNS(t *testing.T) {
	for _, rcode := range []dnswire.Rcode{dnswire.RcodeFormErr, dnswire.RcodeNotImp} {
		for _, bare := range []bool{false, true} {
			w := example(t, "mail.example.com. 300 A 203.0.113.3")
			honest := w.servers["192.0.2.3"]
			w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
				if !q.EDNS.Present {
					return honest(q, tcp)
				}
				m := replyTo(q)
				m.AA, m.Rcode, m.EDNS.Present, m.HasQuestion = false, rcode, false, !bare
				return wire(m)
			}
			w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
			w.asked = nil
			w.want(w.resolve("mail.example.com.", "A"), "NOERROR | mail.example.com. 300 A 203.0.113.3")
			w.wantAsked("192.0.2.3 mail.example.com. A/plain")
			// Once an hour it is tried with EDNS again: it may have learnt.
			w.pass(plainTime / 2)
			w.resolve("a.example.com.", "A")
			w.pass(plainTime / 2)
			w.servers["192.0.2.3"], w.asked = honest, nil
			w.resolve("b.example.com.", "A")
			w.wantAsked("192.0.2.3 b.example.com. A")
		}
	}
}

// FORMERR to everything is a broken server, not a loop.
func TestFormErrAlways(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) { m.Rcode, m.EDNS.Present = dnswire.RcodeFormErr, false })
	wantSERVFAIL(t, w.resolve("www.example.com.", "A"), dnswire.EDENetworkError, "said FORMERR")
	if got := w.count("192.0.2.3"); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

// A family without a route is left out for a while, after one attempt.
func TestNoRoute(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA",
		"example.com. 86400 NS ns1.example.com.", "ns1.example.com. 86400 A 192.0.2.3", "ns1.example.com. 86400 AAAA 2001:db8::3",
		"example.com. 86400 NS ns2.example.com.", "ns2.example.com. 86400 AAAA 2001:db8::4")
	for i := range 20 {
		token := w.ask(fmt.Sprintf("n%d.example.com.", i), "A")
		for w.answers[token].Elapsed == 0 {
			if last := w.sent[len(w.sent)-1]; last.To.Addr().Is6() {
				w.drop(last.Exchange)
				w.step(Failed{last.Exchange, fmt.Errorf("dial: %w", ErrNoRoute)})
			}
			w.runOne()
		}
		if w.answers[token].Rcode != dnswire.RcodeNXDomain {
			t.Errorf("got %s", render(w.answers[token]))
		}
	}
	if got := w.count("2001:db8"); got > 1 {
		t.Errorf("IPv6 was tried %d times", got)
	}
}

// Refused connections are failures of the network: EDE 23.
func TestNetworkError(t *testing.T) {
	w := example(t)
	token := w.ask("www.example.com.", "A")
	for range 4 {
		last := w.sent[len(w.sent)-1]
		if last.To.Addr() != netip.MustParseAddr("192.0.2.3") {
			w.runOne()
			continue
		}
		w.drop(last.Exchange)
		w.step(Failed{last.Exchange, errors.New("connection refused")})
	}
	wantSERVFAIL(t, w.answers[token], dnswire.EDENetworkError, "connection refused")
}

// No question waits for longer than Limits.Time, whatever goes on.
func TestTimeLimit(t *testing.T) {
	w := newWorld(t)
	// Every server refers to one name deeper, slowly.
	w.latency = 2500 * time.Millisecond
	w.servers[rootAddr] = func(q *dnswire.Message, tcp bool) [][]byte {
		m := replyTo(q)
		if q.Question.Type == rdata.TypeNS {
			m.Answer, m.Additional = rrs(". 518400 NS a.root."), rrs("a.root. 518400 A "+rootAddr)
			return wire(m)
		}
		m.AA = false
		n := q.Question.Name
		for range len(w.sent) {
			if p := n.Parent(); !p.IsRoot() {
				n = p
			}
		}
		m.Authority = rrs(n.Ancestor(min(len(w.asked)-1, n.Labels())).String() + " 60 NS a.root.")
		return wire(m)
	}
	a := w.resolve("a.b.c.d.e.f.g.h.", "A")
	if a.Rcode != dnswire.RcodeServFail || a.Elapsed > 10*time.Second {
		t.Errorf("%s after %v", render(a), a.Elapsed)
	}
	w.restart(Limits{Time: time.Second})
	a = w.resolve("x.", "A")
	wantSERVFAIL(t, a, dnswire.EDEOther, "no answer within 1s")
	if a.Elapsed != time.Second {
		t.Errorf("took %v, want 1s", a.Elapsed)
	}
}
