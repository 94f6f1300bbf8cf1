package iterate

import (
	"slices"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// example is a world with the zones com. (192.0.2.2) and example.com. (192.0.2.3).
func example(t *testing.T, lines ...string) *world {
	w := newWorld(t, "com. 172800 NS ns.com.", "ns.com. 172800 A 192.0.2.2", "net. 172800 NS ns.net.", "ns.net. 172800 A 192.0.2.4")
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA",
		"example.com. 86400 NS ns.example.com.", "ns.example.com. 86400 A 192.0.2.3")
	w.servers["192.0.2.3"] = authority("example.com.", append([]string{"example.com. 3600 SOA",
		"example.com. 86400 NS ns.example.com.", "ns.example.com. 86400 A 192.0.2.3",
		"www.example.com. 300 A 203.0.113.1"}, lines...)...)
	w.servers["192.0.2.4"] = authority("net.", "net. 900 SOA",
		"example.net. 86400 NS ns.example.net.", "ns.example.net. 86400 A 192.0.2.5")
	w.servers["192.0.2.5"] = authority("example.net.", "example.net. 3600 SOA",
		"www.example.net. 60 A 203.0.113.2", "ns.example.net. 86400 A 192.0.2.5")
	return w
}

func (w *world) wantAsked(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.asked, want) {
		w.t.Errorf("asked %q\nwant  %q", w.asked, want)
	}
	w.asked = nil
}

// RFC 1034 §5.3.3: from the best servers known, down by referrals, to an answer.
// RFC 9609 §3: the first query of all asks a hint for the root's servers.
func TestFromTheRootDown(t *testing.T) {
	w := example(t)
	a := w.resolve("www.example.com.", "A")
	w.want(a, "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.wantAsked("192.0.2.1 . NS", "192.0.2.1 www.example.com. A", "192.0.2.2 www.example.com. A", "192.0.2.3 www.example.com. A")
	if a.Cached || a.Sent != 4 || a.Elapsed != 40*time.Millisecond {
		t.Errorf("Cached %v, Sent %d, Elapsed %v; want false, 4, 40ms", a.Cached, a.Sent, a.Elapsed)
	}

	// RFC 1035 §7.4: what is in the cache is not asked for again, and its TTL
	// counts down.
	w.pass(100*time.Second - 40*time.Millisecond)
	a = w.resolve("WWW.example.COM.", "A")
	w.want(a, "NOERROR | www.example.com. 201 A 203.0.113.1")
	if w.wantAsked(); !a.Cached {
		t.Error("not marked as cached")
	}

	// Once it is over the nearest zone cut known is where to start.
	w.pass(201 * time.Second)
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.wantAsked("192.0.2.3 www.example.com. A")
}

// The trace tells each step in order.
func TestTrace(t *testing.T) {
	w := example(t)
	a := w.resolve("www.example.com.", "A") // the first token asks for a trace
	var kinds []StepKind
	for _, s := range a.Trace {
		kinds = append(kinds, s.Kind)
	}
	want := []StepKind{StepSent, StepAnswer, StepSent, StepReferral, StepSent, StepReferral, StepSent, StepAnswer}
	if !slices.Equal(kinds, want) {
		t.Errorf("steps %v, want %v", kinds, want)
	}
	last := a.Trace[len(a.Trace)-1]
	if last.Zone.String() != "example.com." || last.RTT != w.latency || last.Records != 1 || last.ServerName.String() != "ns.example.com." {
		t.Errorf("last step %+v", last)
	}
	if a := w.resolve("www.example.com.", "A"); a.Trace != nil {
		t.Error("a trace that nobody asked for")
	}
	if a := w.resolve("www.example.com.", "A"); len(a.Trace) != 1 || a.Trace[0].Kind != StepCacheHit {
		t.Errorf("trace of a cached answer: %+v", a.Trace)
	}
}

// RFC 1034 §3.6.2: a CNAME restarts the query at the name it points to.
func TestAliasAcrossZones(t *testing.T) {
	w := example(t, "alias.example.com. 120 CNAME www.example.net.", "inner.example.com. 120 CNAME www.example.com.",
		"gone.example.com. 120 CNAME nothing.example.net.")
	w.want(w.resolve("alias.example.com.", "A"),
		"NOERROR | alias.example.com. 120 CNAME www.example.net.; www.example.net. 60 A 203.0.113.2")
	w.want(w.resolve("inner.example.com.", "A"),
		"NOERROR | inner.example.com. 120 CNAME www.example.com.; www.example.com. 300 A 203.0.113.1")
	w.want(w.resolve("alias.example.com.", "CNAME"), "NOERROR | alias.example.com. 120 CNAME www.example.net.")
	// RFC 6604 §3: the rcode is about the end of the chain.
	w.want(w.resolve("gone.example.com.", "A"),
		"NXDOMAIN | gone.example.com. 120 CNAME nothing.example.net. | example.net. 300 SOA SOA")
	w.asked = nil
	w.want(w.resolve("gone.example.com.", "A"),
		"NXDOMAIN | gone.example.com. 120 CNAME nothing.example.net. | example.net. 300 SOA SOA")
	w.wantAsked()
}

// A server may send an alias without what it leads to; that is asked for then.
func TestBareAlias(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.3"] = always(func(q, m *dnswire.Message) {
		if m.Answer = rrs("www.example.com. 300 A 203.0.113.1"); q.Question.Name.Label() == "alias" {
			m.Answer = rrs("alias.example.com. 120 CNAME www.example.com.")
		}
	})
	w.want(w.resolve("alias.example.com.", "A"),
		"NOERROR | alias.example.com. 120 CNAME www.example.com.; www.example.com. 300 A 203.0.113.1")
	if got := w.count("192.0.2.3"); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

// RFC 6672 §3.1: a DNAME makes a CNAME for every name below its owner; §2.3 lets
// the cache use it for names that were never asked for.
func TestDNAME(t *testing.T) {
	w := example(t, "old.example.com. 600 DNAME example.net.")
	w.want(w.resolve("www.old.example.com.", "A"), "NOERROR | old.example.com. 600 DNAME example.net.; "+
		"www.example.net. 60 A 203.0.113.2; www.old.example.com. 600 CNAME www.example.net.")
	w.asked = nil
	w.want(w.resolve("ns.old.example.com.", "A"), "NOERROR | ns.example.net. 86400 A 192.0.2.5; "+
		"ns.old.example.com. 600 CNAME ns.example.net.; old.example.com. 600 DNAME example.net.")
	w.wantAsked("192.0.2.5 ns.example.net. A")
	// The CNAME that the DNAME makes is all that a question for CNAME wants.
	for range 2 {
		w.want(w.resolve("x.old.example.com.", "CNAME"), "NOERROR | old.example.com. 600 DNAME example.net.; x.old.example.com. 600 CNAME x.example.net.")
	}
	w.wantAsked()
	w.restart(Limits{})
	w.want(w.resolve("x.old.example.com.", "CNAME"), "NOERROR | old.example.com. 600 DNAME example.net.; x.old.example.com. 600 CNAME x.example.net.")
}

// RFC 6672 §2.2: a name that the substitution makes too long is YXDOMAIN.
func TestDNAMETooLong(t *testing.T) {
	label := "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"
	w := example(t, "old.example.com. 600 DNAME "+label+"."+label+"."+label+".example.com.")
	a := w.resolve(label+".old.example.com.", "A")
	if a.Rcode != dnswire.RcodeYXDomain || len(a.Answer) != 1 || a.Answer[0].Type != rdata.TypeDNAME {
		t.Errorf("got %s", render(a))
	}
}

// RFC 1034 §4.2.1: servers may have names anywhere; without glue their addresses
// are looked up first.
func TestServersOutOfZone(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA",
		"far.com. 86400 NS ns1.example.net.", "far.com. 86400 NS ns2.example.net.")
	w.servers["192.0.2.5"] = authority("example.net.", "example.net. 3600 SOA",
		"ns1.example.net. 3600 A 192.0.2.6", "ns2.example.net. 3600 AAAA 2001:db8::7")
	w.servers["192.0.2.6"] = authority("far.com.", "far.com. 300 SOA", "far.com. 300 TXT here")
	w.want(w.resolve("far.com.", "TXT"), "NOERROR | far.com. 300 TXT here")
	if got := w.count("far.com. TXT"); got != 3 {
		t.Errorf("%d queries for far.com., want 3: root, com, far.com", got)
	}
}

// RFC 2308 §5: negative answers are kept for the least of the SOA's TTL and
// MINIMUM, counting down. §2.1: NXDOMAIN is about every type; §2.2: NODATA is not.
func TestNegativeAnswers(t *testing.T) {
	w := example(t)
	w.want(w.resolve("nx.example.com.", "A"), "NXDOMAIN |  | example.com. 300 SOA SOA")
	w.want(w.resolve("www.example.com.", "MX"), "NOERROR |  | example.com. 300 SOA SOA")
	w.asked = nil
	w.pass(99*time.Second + w.latency)
	w.want(w.resolve("nx.example.com.", "AAAA"), "NXDOMAIN |  | example.com. 201 SOA SOA")
	w.want(w.resolve("www.example.com.", "MX"), "NOERROR |  | example.com. 201 SOA SOA")
	w.wantAsked()
	w.want(w.resolve("www.example.com.", "AAAA"), "NOERROR |  | example.com. 300 SOA SOA")
	w.wantAsked("192.0.2.3 www.example.com. AAAA")
	w.pass(201 * time.Second)
	w.want(w.resolve("nx.example.com.", "A"), "NXDOMAIN |  | example.com. 300 SOA SOA")
	w.wantAsked("192.0.2.3 nx.example.com. A")
}

// RFC 2308 §5: "Negative responses without SOA records SHOULD NOT be cached."
func TestNegativeWithoutSOA(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) { m.Rcode = dnswire.RcodeNXDomain })
	w.want(w.resolve("nx.example.com.", "A"), "NXDOMAIN")
	w.want(w.resolve("nx.example.com.", "A"), "NXDOMAIN")
	if got := w.count("192.0.2.3"); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

// RFC 1035 §3.2.1: records with TTL 0 serve the question at hand only.
func TestZeroTTL(t *testing.T) {
	w := example(t, "now.example.com. 0 A 203.0.113.9", "go.example.com. 0 CNAME now.example.com.")
	for range 2 {
		w.want(w.resolve("go.example.com.", "A"), "NOERROR | go.example.com. 0 CNAME now.example.com.; now.example.com. 0 A 203.0.113.9")
	}
	if got := w.count("192.0.2.3"); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

// RFC 4035 §3.1.4.1: DS is answered by the parent's side of a zone cut.
func TestDSFromTheParent(t *testing.T) {
	w := example(t)
	w.resolve("www.example.com.", "A")
	w.asked = nil
	w.want(w.resolve("example.com.", "DS"), "NOERROR |  | com. 300 SOA SOA")
	w.wantAsked("192.0.2.2 example.com. DS")
}

// Questions for the same thing share one lookup: no two identical queries are
// outstanding (RebirthDay, CVE-2025-5994; world.send checks it for every test).
func TestMerging(t *testing.T) {
	w := example(t, "alias.example.com. 120 CNAME www.example.com.")
	var tokens []uint64
	for range 5 {
		tokens = append(tokens, w.ask("www.example.com.", "A"))
	}
	w.run()
	for _, token := range tokens {
		w.want(w.answers[token], "NOERROR | www.example.com. 300 A 203.0.113.1")
	}
	w.wantAsked("192.0.2.1 . NS", "192.0.2.1 www.example.com. A", "192.0.2.2 www.example.com. A", "192.0.2.3 www.example.com. A")
}

// RFC 1034 §4.3.1: without recursion the answer is what is at hand: an answer, or
// the nearest delegation.
func TestFromCache(t *testing.T) {
	w := example(t, "alias.example.com. 120 CNAME www.example.net.")
	if _, ok := w.r.FromCache(w.now, dnsname.MustParse("www.example.com."), rdata.TypeA); ok {
		t.Error("an answer out of an empty cache")
	}
	w.resolve("www.example.com.", "A")
	w.pass(10 * time.Second)
	a, ok := w.r.FromCache(w.now, dnsname.MustParse("www.example.com."), rdata.TypeA)
	if w.want(a, "NOERROR | www.example.com. 290 A 203.0.113.1"); !ok || a.Referral {
		t.Errorf("ok %v, Referral %v", ok, a.Referral)
	}
	a, ok = w.r.FromCache(w.now, dnsname.MustParse("other.example.com."), rdata.TypeA)
	if w.want(a, "NOERROR |  | example.com. 86389 NS ns.example.com."); !ok || !a.Referral || len(a.Additional) != 1 {
		t.Errorf("ok %v, referral %v, additional %v", ok, a.Referral, a.Additional)
	}
	a, _ = w.r.FromCache(w.now, dnsname.MustParse("org."), rdata.TypeA)
	w.want(a, "NOERROR |  | . 86389 NS a.root.")
	if a.Referral != true {
		t.Error("not marked as referral")
	}
}

// A finished answer goes to the cache's answer level, where listeners find it.
func TestAnswersAreKeptReady(t *testing.T) {
	w := example(t, "alias.example.com. 120 CNAME www.example.net.")
	w.resolve("alias.example.com.", "A")
	w.resolve("nx.example.com.", "A")
	w.pass(7 * time.Second)
	for _, c := range []struct{ name, want string }{
		{"alias.example.com.", "NOERROR | alias.example.com. 113 CNAME www.example.net.; www.example.net. 53 A 203.0.113.2"},
		{"nx.example.com.", "NXDOMAIN |  | example.com. 293 SOA SOA"},
		{"other.example.com.", ""},
	} {
		w.wantReady(c.name, c.want)
	}
}

func (w *world) wantReady(name, want string) {
	w.t.Helper()
	var q dnswire.Query
	q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{ID: 9, Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN}))
	var b dnswire.Builder
	b.Reset(&q, make([]byte, 512, 2048), 512)
	if !w.cache.Answer(w.now, &q, &b, 0) {
		if want != "" {
			w.t.Errorf("%s: nothing ready, want %s", name, want)
		}
		return
	}
	m, err := dnswire.ParseMessage(b.Finish())
	if err != nil {
		w.t.Fatal(err)
	}
	if got := render(Answer{Rcode: m.Rcode, Answer: m.Answer, Authority: m.Authority}); got != want {
		w.t.Errorf("%s: ready %s\nwant %s", name, got, want)
	}
}

// Class and type that are not resolved get an answer at once.
func TestNotResolved(t *testing.T) {
	w := example(t)
	w.step(Ask{Token: 1, Name: dnsname.MustParse("version.bind."), Type: rdata.TypeTXT, Class: rdata.ClassCH})
	w.want(w.answers[1], "REFUSED")
	w.step(Ask{Token: 2, Name: dnsname.MustParse("example.com."), Type: rdata.TypeAXFR})
	w.want(w.answers[2], "NOTIMP")
	w.wantAsked()
}

// RFC 1035 §3.2.3: ANY asks for all records; it is never answered from the cache.
func TestANY(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.3"] = sections(true, rrs("www.example.com. 300 A 203.0.113.1", "www.example.com. 300 TXT x",
		"bad.example.net. 300 A 203.0.113.66"), nil, nil)
	for range 2 {
		w.want(w.resolve("www.example.com.", "ANY"), "NOERROR | www.example.com. 300 A 203.0.113.1; www.example.com. 300 TXT x")
	}
	if got := w.count("192.0.2.3"); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

// RFC 9609 §3.3: the root's own word replaces the hints; if no hint answers they
// have to do.
func TestPriming(t *testing.T) {
	w := example(t)
	w.servers[rootAddr] = func(q *dnswire.Message, _ bool) [][]byte {
		m := replyTo(q)
		if q.Question.Type == rdata.TypeNS {
			m.Answer, m.Additional = rrs(". 518400 NS b.root."), rrs("b.root. 518400 A 192.0.2.9")
		} else {
			m.Rcode = dnswire.RcodeServFail
		}
		return wire(m)
	}
	w.servers["192.0.2.9"] = authority(".", ". 86400 SOA", "test. 60 TXT b")
	w.want(w.resolve("test.", "TXT"), "NOERROR | test. 60 TXT b")
	w.wantAsked("192.0.2.1 . NS", "192.0.2.9 test. TXT")

	w.restart(Limits{})
	w.servers[rootAddr] = func(q *dnswire.Message, _ bool) [][]byte {
		if q.Question.Type == rdata.TypeNS {
			return nil
		}
		m := replyTo(q)
		m.Answer = rrs("test. 60 TXT a")
		return wire(m)
	}
	w.want(w.resolve("test.", "TXT"), "NOERROR | test. 60 TXT a")
	before := w.count(". NS")
	w.resolve("test2.", "TXT")
	if after := w.count(". NS"); after != before {
		t.Error("primed again at once after priming had failed")
	}
	if d := w.cache.Delegation(w.now, dnsname.Root); d != nil {
		t.Errorf("hints are in the cache: %+v", d)
	}
}

// The built-in hints have 13 servers with two addresses each.
func TestRootHints(t *testing.T) {
	cut := hintCut(RootHints())
	if len(cut.Servers) != 13 {
		t.Fatalf("%d servers, want 13", len(cut.Servers))
	}
	for _, s := range cut.Servers {
		if len(s.Addrs) != 2 || !s.Addrs[0].Is4() || !s.Addrs[1].Is6() {
			t.Errorf("%v has %v", s.Name, s.Addrs)
		}
	}
	if k := cut.Servers[10]; k.Addrs[0].String() != "193.0.14.129" {
		t.Errorf("%v is at %v", k.Name, k.Addrs[0])
	}
}
