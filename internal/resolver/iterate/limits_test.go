package iterate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// A lookup that ran out of what its first asker may spend on server addresses is
// no verdict on the name: who merged with it goes on with means of his own.
func TestMeansOfOthers(t *testing.T) {
	w := example(t)
	w.restart(Limits{Targets: 1})
	w.servers["192.0.2.2"] = authority("com.", "com. 900 SOA", "evil.com. 60 NS ns.mid.net.",
		"far.com. 60 NS ns.far.com.", "ns.far.com. 60 A 192.0.2.6")
	w.servers["192.0.2.4"] = authority("net.", "net. 900 SOA", "mid.net. 60 NS ns.far.com.")
	w.servers["192.0.2.6"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if q.Question.Name.Ancestor(2) == dnsname.MustParse("mid.net.") {
			return authority("mid.net.", "mid.net. 60 SOA", "ns.mid.net. 60 A 192.0.2.7")(q, tcp)
		}
		return authority("far.com.", "far.com. 60 SOA", "ns.far.com. 60 A 192.0.2.6")(q, tcp)
	}
	evil := w.ask("www.evil.com.", "A")
	for w.count("192.0.2.4 ns.mid.net. A") == 0 {
		w.runOne()
	}
	honest := w.ask("ns.mid.net.", "A")
	w.run()
	w.want(w.answers[honest], "NOERROR | ns.mid.net. 60 A 192.0.2.7")
	if w.answers[evil].Rcode != dnswire.RcodeServFail {
		t.Error(render(w.answers[evil]))
	}
}

// The payer of a lookup gives up at his time; another who waits for it pays on.
func TestPayerLeaves(t *testing.T) {
	w := example(t)
	serve := w.servers["192.0.2.3"]
	delete(w.servers, "192.0.2.3")
	w.restart(Limits{Time: 1200 * time.Millisecond}) // queries leave at 0.03, 0.53 and 1.53 s
	first := w.ask("www.example.com.", "A")
	for w.count("192.0.2.3") < 2 {
		w.runOne()
	}
	second := w.ask("www.example.com.", "A")
	for len(w.answers) == 0 {
		w.runOne()
	}
	w.servers["192.0.2.3"] = serve
	w.run()
	wantSERVFAIL(t, w.answers[first], dnswire.EDENoReachableAuthority, "no answer within 1.2s")
	if got := w.answers[second]; got.Sent == 0 {
		t.Errorf("the second paid nothing: %s", render(got))
	} else {
		w.want(got, "NOERROR | www.example.com. 300 A 203.0.113.1")
	}
}

// However many servers a zone names, it gets Limits.SendsPerZone queries of one
// lookup, and Limits.ServersPerZone of its servers are looked at.
func TestManyDeadServers(t *testing.T) {
	w := example(t)
	com := []string{"com. 900 SOA"}
	for i := range 40 {
		com = append(com, fmt.Sprintf("dead.com. 60 NS n%d.dead.com.", i), fmt.Sprintf("n%d.dead.com. 60 A 192.0.3.%d", i, i))
	}
	w.servers["192.0.2.2"] = authority("com.", com...)
	wantSERVFAIL(t, w.resolve("www.dead.com.", "A"), dnswire.EDENoReachableAuthority, "12 queries")
	if got := w.count("192.0.3."); got != 12 {
		t.Errorf("%d queries, want 12", got)
	}
}

// A referral that comes while a server's address is still looked up ends that
// lookup: nobody waits for it any more.
func TestReferralEndsAddressLookups(t *testing.T) {
	w := newWorld(t, "com. 172800 NS ns.com.", "ns.com. 172800 A 192.0.2.2", "com. 172800 NS ns.slow.", "slow. 60 NS n.slow.", "n.slow. 60 A 192.0.2.9")
	com := authority("com.", "com. 900 SOA", "example.com. 86400 NS ns.example.com.", "ns.example.com. 86400 A 192.0.2.3")
	dropped := false
	w.servers["192.0.2.2"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if !dropped {
			dropped = true
			return nil
		}
		return com(q, tcp)
	}
	w.servers["192.0.2.3"] = authority("example.com.", "example.com. 60 SOA", "www.example.com. 300 A 203.0.113.1")
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	if w.count("192.0.2.9 ns.slow. A") != 1 {
		t.Errorf("asked %q", w.asked)
	}
	if w.now.Sub(worldBegin) > 2*time.Second {
		t.Errorf("took %v", w.now.Sub(worldBegin))
	}
}

// RFC 6891 §6.1.3: BADVERS is an answer to EDNS alone.
func TestBadVers(t *testing.T) {
	w := example(t)
	honest := w.servers["192.0.2.3"]
	w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if !q.EDNS.Present {
			return honest(q, tcp)
		}
		m := replyTo(q)
		m.Rcode = dnswire.RcodeBadVers
		return wire(m)
	}
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
}

// RFC 2181 §9: an answer that does not fit goes out empty, with TC; glue may be
// missing without. RFC 8914: the error's reason goes with it.
func TestWrite(t *testing.T) {
	write := func(a Answer, limit int) *dnswire.Message {
		t.Helper()
		var q dnswire.Query
		q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{ID: 7, Name: dnsname.MustParse("www.example.com."), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true, EDNS: true}))
		var out dnswire.Builder
		out.Reset(&q, make([]byte, limit, limit+dnswire.BufferSlack), limit)
		a.Write(&out)
		m, err := dnswire.ParseMessage(out.Finish())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("www.example.com. 60 A 192.0.2.%d", i))
	}
	if m := write(Answer{Answer: rrs(many...)}, 512); !m.TC || len(m.Answer) != 0 || !m.RA || m.AA {
		t.Errorf("TC %v, %d records, RA %v, AA %v", m.TC, len(m.Answer), m.RA, m.AA)
	}
	if m := write(Answer{Answer: rrs(many...)}, 1232); m.TC || len(m.Answer) != 40 {
		t.Errorf("TC %v, %d records", m.TC, len(m.Answer))
	}
	if m := write(Answer{Authority: rrs("com. 60 NS ns.com."), Additional: rrs(many...)}, 512); m.TC || len(m.Authority) != 1 || len(m.Additional) == 0 || len(m.Additional) == 40 {
		t.Errorf("TC %v, %d and %d records", m.TC, len(m.Authority), len(m.Additional))
	}
	m := write(Answer{Rcode: dnswire.RcodeServFail, Errors: []dnswire.ExtendedError{{Code: dnswire.EDENetworkError, Text: "why"}}}, 512)
	if m.Rcode != dnswire.RcodeServFail || len(m.EDE) != 1 || m.EDE[0].Text != "why" {
		t.Errorf("got %v %v", m.Rcode, m.EDE)
	}
}

// Replies that say neither yes, no, nor elsewhere are of no use, and bad SOA
// records are not kept.
func TestUselessReplies(t *testing.T) {
	for what, serve := range map[string]responder{
		"YXDOMAIN without DNAME": always(func(_, m *dnswire.Message) { m.Rcode = dnswire.RcodeYXDomain }),
		"NOTAUTH":                always(func(_, m *dnswire.Message) { m.Rcode = dnswire.RcodeNotAuth }),
	} {
		w := example(t)
		w.servers["192.0.2.3"] = serve
		if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail {
			t.Errorf("%s: %s", what, render(a))
		}
	}
	w := example(t)
	w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) {
		soa := rr("example.com. 60 SOA")
		soa.Data = soa.Data[:len(soa.Data)-7]
		m.Rcode, m.Authority = dnswire.RcodeNXDomain, []rdata.Record{soa}
	})
	w.want(w.resolve("www.example.com.", "A"), "NXDOMAIN")
	w.servers["192.0.2.3"] = sections(true, []rdata.Record{{Name: dnsname.MustParse("a.example.com."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Data: []byte{1, 2, 3}}}, nil, nil)
	w.want(w.resolve("a.example.com.", "A"), "NOERROR")
}

// Every kind of step can be told.
func TestStepsAreTold(t *testing.T) {
	seen := map[string]bool{}
	for kind := StepCacheHit; kind <= StepGaveUp; kind++ {
		line := Step{Kind: kind, Name: dnsname.MustParse("www.example.com."), Type: rdata.TypeA, Zone: dnsname.MustParse("com."),
			Target: dnsname.MustParse("example.com."), Note: "note"}.String()
		if seen[line] || !strings.HasSuffix(line, ": note") {
			t.Errorf("kind %d: %q", kind, line)
		}
		seen[line] = true
	}
}
