package iterate

import (
	"fmt"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Kaminsky, 2008; RFC 5452 §9.1: a reply counts only with the query's id and
// question. What does not is ignored, and the exchange goes on waiting (TuDoor):
// forged packets must not even make the question fail.
func TestForgedPacketsAreIgnored(t *testing.T) {
	poison := rrs("www.example.com. 86400 A 203.0.113.66")
	for what, forge := range map[string]func(m *dnswire.Message) []byte{
		"wrong id":      func(m *dnswire.Message) []byte { m.ID++; return m.Append(nil) },
		"a query":       func(m *dnswire.Message) []byte { m.QR = false; return m.Append(nil) },
		"opcode NOTIFY": func(m *dnswire.Message) []byte { m.Opcode = dnswire.OpcodeNotify; return m.Append(nil) },
		"another name": func(m *dnswire.Message) []byte {
			m.Question.Name = dnsname.MustParse("w.example.com.")
			return m.Append(nil)
		},
		"another type":    func(m *dnswire.Message) []byte { m.Question.Type = rdata.TypeAAAA; return m.Append(nil) },
		"another class":   func(m *dnswire.Message) []byte { m.Question.Class = rdata.ClassCH; return m.Append(nil) },
		"no question":     func(m *dnswire.Message) []byte { m.HasQuestion = false; return m.Append(nil) },
		"two questions":   func(m *dnswire.Message) []byte { b := m.Append(nil); b[5] = 2; return b },
		"cut short":       func(m *dnswire.Message) []byte { b := m.Append(nil); return b[:len(b)-3] },
		"octets behind":   func(m *dnswire.Message) []byte { return append(m.Append(nil), 1, 2, 3) },
		"header only":     func(m *dnswire.Message) []byte { return m.Append(nil)[:12] },
		"nothing":         func(*dnswire.Message) []byte { return nil },
		"counts that lie": func(m *dnswire.Message) []byte { b := m.Append(nil); b[7] = 200; return b },
		"wrong id, FORMERR": func(m *dnswire.Message) []byte {
			m.ID, m.Rcode, m.HasQuestion = m.ID+1, dnswire.RcodeFormErr, false
			return m.Append(nil)
		},
	} {
		w := example(t)
		honest := w.servers["192.0.2.3"]
		w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
			m := replyTo(q)
			m.Answer = poison
			return append([][]byte{forge(m), forge(m)}, honest(q, tcp)...)
		}
		w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
		if w.wantAsked("192.0.2.1 . NS", "192.0.2.1 www.example.com. A", "192.0.2.2 www.example.com. A",
			"192.0.2.3 www.example.com. A"); w.r.Counters().Ignored != 2 {
			t.Errorf("%s: %d ignored, want 2", what, w.r.Counters().Ignored)
		}
	}
}

// Somebody who keeps guessing ids is met with TCP, where there is nothing to
// guess (PowerDNS' spoof-nearmiss-max).
func TestGuessingLeadsToTCP(t *testing.T) {
	w := example(t)
	honest := w.servers["192.0.2.3"]
	w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if tcp {
			return honest(q, tcp)
		}
		var flood [][]byte
		for i := range 50 {
			m := replyTo(q)
			m.ID, m.Answer = q.ID+1+uint16(i), rrs("www.example.com. 86400 A 203.0.113.66")
			flood = append(flood, m.Append(nil))
		}
		return flood
	}
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	if got := w.count("192.0.2.3 www.example.com. A/tcp"); got != 1 {
		t.Errorf("asked %q", w.asked)
	}
}

// Ids do not repeat or count up (RFC 5452 §9.2).
func TestIDsAreRandom(t *testing.T) {
	w := example(t)
	for i := range 200 {
		w.resolve(fmt.Sprintf("n%d.example.com.", i), "A")
	}
	seen, steps := map[uint16]bool{}, map[uint16]bool{}
	var last uint16
	for _, s := range w.sent {
		id := uint16(s.Msg[0])<<8 | uint16(s.Msg[1])
		seen[id], steps[id-last] = true, true
		last = id
	}
	if len(seen) < len(w.sent)*95/100 || len(steps) < len(w.sent)*95/100 {
		t.Errorf("%d ids and %d differences of %d queries", len(seen), len(steps), len(w.sent))
	}
}

// RFC 2181 §5.4.1, RFC 5452 §6: a server's word counts for its zone, and there only
// for what it was asked.
func TestPoisonIsDropped(t *testing.T) {
	for what, serve := range map[string]responder{
		"answer out of zone": sections(true, rrs("www.example.com. 300 A 203.0.113.1", "www.victim.com. 300 A 203.0.113.66"), nil, nil),
		"alias and its answer out of zone": always(func(q, m *dnswire.Message) {
			if m.Answer = rrs("www.example.com. 300 A 203.0.113.1"); q.Question.Name.Label() == "alias" {
				m.Answer = rrs("alias.example.com. 300 CNAME www.victim.com.", "www.victim.com. 86400 A 203.0.113.66")
			}
		}),
		"authority: the parent's NS": sections(true, rrs("www.example.com. 300 A 203.0.113.1"),
			rrs("com. 172800 NS ns.evil.com.", "victim.com. 172800 NS ns.evil.com."), rrs("ns.evil.com. 172800 A 203.0.113.66")),
		"authority: promiscuous NS of the zone itself (CVE-2025-11411)": sections(true, rrs("www.example.com. 300 A 203.0.113.1"),
			rrs("example.com. 172800 NS ns.evil.com."), rrs("ns.evil.com. 172800 A 203.0.113.66")),
		"additional": sections(true, rrs("www.example.com. 300 A 203.0.113.1"), nil,
			rrs("www.victim.com. 86400 A 203.0.113.66", "ns.victim.com. 86400 A 203.0.113.66")),
		"other names of the zone in the answer": sections(true, rrs("www.example.com. 300 A 203.0.113.1", "mail.example.com. 300 A 203.0.113.66"), nil, nil),
		"SOA out of zone": always(func(q, m *dnswire.Message) {
			if q.Question.Name.Label() == "www" {
				m.Answer = rrs("www.example.com. 300 A 203.0.113.1")
				return
			}
			m.Rcode, m.Authority = dnswire.RcodeNXDomain, rrs("com. 3600 SOA")
		}),
	} {
		w := example(t)
		com := []string{"com. 900 SOA", "example.com. 86400 NS ns.example.com.", "ns.example.com. 86400 A 192.0.2.3",
			"victim.com. 86400 NS ns.victim.com.", "ns.victim.com. 86400 A 192.0.2.8"}
		w.servers["192.0.2.2"] = authority("com.", com...)
		w.servers["192.0.2.8"] = authority("victim.com.", "victim.com. 60 SOA", "www.victim.com. 60 A 203.0.113.8", "ns.victim.com. 60 A 192.0.2.8")
		w.servers["203.0.113.66"] = sections(true, rrs("www.victim.com. 60 A 203.0.113.66", "www.example.com. 60 A 203.0.113.66"), nil, nil)
		w.servers["192.0.2.3"] = serve
		w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
		w.resolve("alias.example.com.", "A")
		w.want(w.resolve("www.victim.com.", "A"), "NOERROR | www.victim.com. 60 A 203.0.113.8")
		w.pass(301 * time.Second)
		w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
		if e := w.cache.Get(w.now, dnsname.MustParse("mail.example.com."), rdata.TypeA); e != nil {
			t.Errorf("%s: kept %v", what, e.Set)
		}
		if w.count("203.0.113.66") > 0 {
			t.Errorf("%s: the attacker's server was asked: %q", what, w.asked)
		}
	}
}

// Glue is taken only for names in the zone of the server that gives it, and only
// for the servers of the referral.
func TestGlueOutOfZone(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.2"] = always(func(q, m *dnswire.Message) {
		m.AA, m.Authority = false, rrs("example.com. 86400 NS ns.example.net.", "example.com. 86400 NS ns.example.com.")
		m.Additional = rrs("ns.example.net. 86400 A 203.0.113.66", "www.example.com. 86400 A 203.0.113.66", "ns.example.com. 86400 A 192.0.2.3")
	})
	for i := range 20 {
		w.resolve(fmt.Sprintf("n%d.example.com.", i), "A")
	}
	if w.count("203.0.113.66") > 0 {
		t.Errorf("asked %q", w.asked)
	}
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
}

// NXNSAttack (CVE-2020-8616, -12662): a delegation to many names in somebody
// else's zone must not multiply.
func TestNXNSAttack(t *testing.T) {
	w := example(t)
	var ns []rdata.Record
	for i := range 100 {
		ns = append(ns, rr(fmt.Sprintf("attack.example.com. 60 NS n%d.example.net.", i)))
	}
	w.servers["192.0.2.3"] = sections(false, nil, ns, nil)
	a := w.resolve("x.attack.example.com.", "A")
	wantSERVFAIL(t, a, dnswire.EDENoReachableAuthority, "no server has an address")
	if got := w.count("192.0.2.5"); got > 5 {
		t.Errorf("%d queries to the victim, want at most 5", got)
	}
	if a.Sent > 15 {
		t.Errorf("%d queries for one, want at most 15", a.Sent)
	}
}

// The same in levels, each name server of each level in ten others: the budget
// of one question holds for the whole tree.
func TestNXNSTree(t *testing.T) {
	w := newWorld(t)
	w.servers[rootAddr] = func(q *dnswire.Message, _ bool) [][]byte {
		m := replyTo(q)
		if q.Question.Type == rdata.TypeNS {
			m.Answer, m.Additional = rrs(". 518400 NS a.root."), rrs("a.root. 518400 A "+rootAddr)
			return wire(m)
		}
		m.AA = false
		tld := q.Question.Name.Ancestor(1)
		for i := range 10 {
			m.Authority = append(m.Authority, rr(fmt.Sprintf("%v 60 NS ns%d.%s%d.", tld, i, tld.Label(), i)))
		}
		return wire(m)
	}
	w.restart(Limits{})
	a := w.resolve("x.a.", "A")
	if a.Rcode != dnswire.RcodeServFail || len(w.asked) > 100 {
		t.Errorf("%s after %d queries", render(a), len(w.asked))
	}
	w.restart(Limits{Sends: 10})
	w.asked = nil
	if a := w.resolve("x.a.", "A"); a.Sent > 10 || len(w.asked) > 10 {
		t.Errorf("%d queries, limit 10", len(w.asked))
	}
}

// TsuNAME (2021): two zones whose servers have names in each other. No lookup may
// wait for itself, nor go round.
func TestGluelessCycle(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA", "one.com. 60 NS ns.two.com.", "two.com. 60 NS ns.one.com.",
		"self.com. 60 NS ns.self.com.")
	wantSERVFAIL(t, w.resolve("www.one.com.", "A"), dnswire.EDENoReachableAuthority, "no server has an address")
	if len(w.asked) > 15 {
		t.Errorf("%d queries: %q", len(w.asked), w.asked)
	}
	w.asked = nil
	wantSERVFAIL(t, w.resolve("www.self.com.", "A"), dnswire.EDENoReachableAuthority, "no server has an address")
	// Both ends at a time: each waits for the other.
	w.restart(Limits{})
	one, two := w.ask("www.one.com.", "A"), w.ask("www.two.com.", "A")
	w.run()
	if w.answers[one].Rcode != dnswire.RcodeServFail || w.answers[two].Rcode != dnswire.RcodeServFail {
		t.Errorf("%s, %s", render(w.answers[one]), render(w.answers[two]))
	}
}

// A hint without address, whose name is below the root: priming must not wait for
// itself.
func TestHintWithoutAddress(t *testing.T) {
	w := example(t)
	w.r = New(Config{Hints: rrs(". 1 NS lost."), Rand: w.r.cfg.Rand, Cache: w.cache})
	wantSERVFAIL(t, w.resolve("www.example.com.", "A"), dnswire.EDENoReachableAuthority, "no server has an address")
}

// An alias loop, within a zone, across zones, and to itself.
func TestAliasLoop(t *testing.T) {
	w := example(t, "a.example.com. 60 CNAME b.example.com.", "b.example.com. 60 CNAME a.example.com.",
		"self.example.com. 60 CNAME self.example.com.", "x.example.com. 60 CNAME x.example.net.", "d.example.com. 60 DNAME d.d.example.com.")
	w.servers["192.0.2.5"] = authority("example.net.", "example.net. 60 SOA", "x.example.net. 60 CNAME x.example.com.")
	for _, name := range []string{"a.example.com.", "self.example.com.", "x.example.com."} {
		for range 2 {
			a := w.resolve(name, "A")
			if a.Rcode != dnswire.RcodeServFail || len(a.Errors) != 1 {
				t.Errorf("%s: %s", name, render(a))
			}
		}
	}
	if len(w.asked) > 12 {
		t.Errorf("%d queries: %q", len(w.asked), w.asked)
	}
	wantSERVFAIL(t, w.resolve("q.d.example.com.", "A"), dnswire.EDEOther, "more than 11 aliases")
}

// A long chain ends at the limit, which it must not pass (Limits.Aliases).
func TestAliasChain(t *testing.T) {
	var lines []string
	for i := range 30 {
		lines = append(lines, fmt.Sprintf("c%d.example.com. 60 CNAME c%d.example.com.", i, i+1))
	}
	w := example(t, append(lines, "c30.example.com. 60 A 203.0.113.30")...)
	if a := w.resolve("c19.example.com.", "A"); len(a.Answer) != 12 {
		t.Errorf("11 aliases: %s", render(a))
	}
	w.restart(Limits{})
	wantSERVFAIL(t, w.resolve("c18.example.com.", "A"), dnswire.EDEOther, "more than 11 aliases")
}

// A server name must not be an alias (RFC 2181 §10.3); it is not followed.
func TestServerNameIsAlias(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA", "odd.com. 60 NS ns.example.net.")
	w.servers["192.0.2.5"] = authority("example.net.", "example.net. 60 SOA",
		"ns.example.net. 60 CNAME real.example.net.", "real.example.net. 60 A 192.0.2.6")
	wantSERVFAIL(t, w.resolve("www.odd.com.", "A"), dnswire.EDENoReachableAuthority, "no server has an address")
	if w.count("192.0.2.6") > 0 {
		t.Errorf("asked %q", w.asked)
	}
}

// Referrals always lead down: one that leads nowhere new is lame, so a loop of
// referrals is impossible (see also TestLameServers).
func TestReferralLoop(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.3"] = sections(false, nil, rrs("com. 60 NS ns.com."), rrs("ns.com. 60 A 192.0.2.2"))
	wantSERVFAIL(t, w.resolve("www.example.com.", "A"), dnswire.EDENotAuthoritative, "does not serve the zone")
	w.wantAsked("192.0.2.1 . NS", "192.0.2.1 www.example.com. A", "192.0.2.2 www.example.com. A", "192.0.2.3 www.example.com. A")
}

// Ghost domains (Jiang et al. 2012; CVE-2022-30698, -30699): a zone that its
// parent has dropped is gone when the parent's delegation is over, however often
// the zone's own servers were asked and whatever TTLs they sent.
func TestGhostDomain(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA", "ghost.com. 1000 NS ns.ghost.com.", "ns.ghost.com. 1000 A 192.0.2.6")
	w.servers["192.0.2.6"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if q.Question.Name.Labels() > 3 { // deeper and deeper: phoenix domains (CVE-2022-30698)
			m := replyTo(q)
			m.AA, m.Authority = false, rrs(q.Question.Name.Ancestor(3).String()+" 86400 NS ns.ghost.com.")
			m.Additional = rrs("ns.ghost.com. 86400 A 192.0.2.7")
			return wire(m)
		}
		return authority("ghost.com.", "ghost.com. 86400 SOA", "ghost.com. 86400 NS ns.ghost.com.",
			"ns.ghost.com. 86400 A 192.0.2.6", "www.ghost.com. 10 A 203.0.113.66")(q, tcp)
	}
	w.servers["192.0.2.7"] = sections(true, rrs("a.sub.ghost.com. 10 A 203.0.113.66"), nil, nil)
	w.want(w.resolve("www.ghost.com.", "A"), "NOERROR | www.ghost.com. 10 A 203.0.113.66")
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA") // dropped
	for range 9 {
		w.pass(100 * time.Second)
		w.resolve("ghost.com.", "NS") // the child's own NS RRset, one day
		w.resolve("ns.ghost.com.", "A")
		w.resolve("www.ghost.com.", "A")
		w.resolve("a.sub.ghost.com.", "A")
	}
	w.pass(101 * time.Second)
	w.want(w.resolve("www.ghost.com.", "A"), "NXDOMAIN |  | com. 300 SOA SOA")
	w.want(w.resolve("a.sub.ghost.com.", "A"), "NXDOMAIN |  | com. 300 SOA SOA")
}

// A question that merged with a lookup which ran out of somebody else's budget
// goes on by itself: an attacker can not use up the budget of others.
func TestBudgetOfOthers(t *testing.T) {
	w := example(t)
	w.restart(Limits{Sends: 6})
	// Resolving evil.com costs five queries before it comes to the victim's name.
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA", "example.com. 86400 NS ns.example.com.", "ns.example.com. 86400 A 192.0.2.3",
		"evil.com. 60 NS ns.evil.com.", "ns.evil.com. 60 A 192.0.2.6")
	w.servers["192.0.2.6"] = authority("evil.com.", "evil.com. 60 SOA", "a.evil.com. 0 CNAME www.example.com.")
	evil := w.ask("a.evil.com.", "A")
	for w.count("192.0.2.1 www.example.com.") == 0 && w.count("192.0.2.2 www.example.com.") == 0 {
		w.runOne()
	}
	honest := w.ask("www.example.com.", "A")
	w.run()
	w.want(w.answers[honest], "NOERROR | www.example.com. 300 A 203.0.113.1")
	if got := w.answers[evil].Sent; got > 6 {
		t.Errorf("the attacker paid %d queries of 6", got)
	}
}

// Hundreds of records in one RRset make a reply useless (CVE-2024-1737), and many
// RRsets cost little.
func TestHugeReply(t *testing.T) {
	w := example(t)
	var many, wide []rdata.Record
	for i := range 300 {
		many = append(many, rr(fmt.Sprintf("www.example.com. 60 A 203.0.%d.%d", 113+i/250, i%250)))
	}
	for i := range 2000 {
		wide = append(wide, rr(fmt.Sprintf("n%d.example.com. 60 A 203.0.113.66", i)))
	}
	w.servers["192.0.2.3"] = sections(true, many, nil, nil)
	wantSERVFAIL(t, w.resolve("www.example.com.", "A"), dnswire.EDEInvalidData, "records of www.example.com. A")
	w.servers["192.0.2.3"] = sections(true, append(rrs("mail.example.com. 60 A 203.0.113.1"), wide...), nil, nil)
	w.want(w.resolve("mail.example.com.", "A"), "NOERROR | mail.example.com. 60 A 203.0.113.1")
}

// Addresses that are nobody's are not asked.
func TestImpossibleAddresses(t *testing.T) {
	w := example(t)
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA", "odd.com. 60 NS ns.odd.com.", "ns.odd.com. 60 A 0.0.0.0",
		"ns.odd.com. 60 A 224.0.0.1", "ns.odd.com. 60 A 255.255.255.255", "ns.odd.com. 60 A 0.1.2.3", "ns.odd.com. 60 A 169.254.0.1",
		"ns.odd.com. 60 A 127.0.0.1", "ns.odd.com. 60 AAAA ::", "ns.odd.com. 60 AAAA ::1", "ns.odd.com. 60 AAAA ff02::1",
		"ns.odd.com. 60 AAAA fe80::1", "ns.odd.com. 60 AAAA ::ffff:192.0.2.1")
	wantSERVFAIL(t, w.resolve("www.odd.com.", "A"), dnswire.EDENoReachableAuthority, "no server has an address")
	for _, s := range w.sent {
		if !s.To.Addr().Is4() || s.To.Addr().As4()[0] != 192 {
			t.Errorf("asked %v", s.To)
		}
	}
}

// A web of lookups with many ways through it is searched for cycles in no time.
func TestCycleSearchIsLinear(t *testing.T) {
	w := example(t)
	var layers [60][2]*lookup
	for i := range layers {
		layers[i] = [2]*lookup{{}, {}}
		for _, l := range layers[max(i-1, 0)] {
			if i > 0 {
				l.subs = []sub{{layers[i][0], 0}, {layers[i][1], 1}}
			}
		}
	}
	if w.r.wouldCycle(&lookup{}, layers[0][0]) {
		t.Error("a cycle with a lookup that nobody waits for")
	}
	if !w.r.wouldCycle(layers[59][1], layers[0][0]) {
		t.Error("the cycle is not found")
	}
}

// Events of exchanges that are closed, or never were, change nothing.
func TestStrayEvents(t *testing.T) {
	w := example(t)
	w.resolve("www.example.com.", "A")
	for n := range uint64(20) {
		for _, ev := range []Event{Arrived{Exchange: n, Msg: make([]byte, 40)}, Expired{n}, Failed{n, ErrNoRoute}} {
			if acts := w.r.Step(w.now, ev, nil); len(acts) > 0 {
				t.Errorf("%T of exchange %d led to %v", ev, n, acts)
			}
		}
	}
	w.r.check()
}
