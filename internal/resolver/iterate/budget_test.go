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

// Every limit has a name of its own and a sentence of its own.
func TestLimitsAreNamed(t *testing.T) {
	names, sentences := map[string]bool{}, map[string]bool{}
	l := Limits{}.withDefaults()
	for _, limit := range AllLimits() {
		if limit == LimitZoneTries { // told by what the servers did
			continue
		}
		name, sentence := limit.String(), l.say(limit)
		if name == "none" || names[name] || sentences[sentence] || !strings.Contains(sentence, "limit "+name) {
			t.Errorf("limit %d: %q, %q", limit, name, sentence)
		}
		names[name], sentences[sentence] = true, true
	}
	if NoLimit.String() != "none" || len(AllLimits()) != int(limitCount)-1 {
		t.Errorf("%q, %d limits", NoLimit, len(AllLimits()))
	}
}

// What a question met is in its answer, its trace and the counters, and what it has
// cost, with all its sub-questions.
func TestLimitsAreTold(t *testing.T) {
	w := example(t)
	var lines []string
	for i := range 30 {
		lines = append(lines, fmt.Sprintf("c%d.example.com. 60 CNAME c%d.example.com.", i, i+1))
	}
	w.servers["192.0.2.3"] = authority("example.com.", append(lines, "example.com. 60 SOA")...)
	w.tokens++
	w.step(Ask{Token: w.tokens, Name: dnsname.MustParse("c0.example.com."), Type: rdata.TypeA, Trace: true})
	w.run()
	a := w.answers[w.tokens]
	wantSERVFAIL(t, a, dnswire.EDEOther, "(limit aliases)")
	if a.Limit != LimitAliases || w.r.Counters().Limits[LimitAliases] != 1 {
		t.Errorf("limit %v, counted %d", a.Limit, w.r.Counters().Limits[LimitAliases])
	}
	if a.Spent.Queries != a.Sent || a.Spent.Octets == 0 || a.Spent.Aliases != 11 {
		t.Errorf("spent %+v, sent %d", a.Spent, a.Sent)
	}
	told := false
	for _, s := range a.Trace {
		told = told || s.Kind == StepLimit && strings.Contains(s.Note, "limit aliases")
	}
	if !told {
		t.Errorf("the trace does not tell: %v", a.Trace)
	}
}

// The tree of sub-questions shares one budget: what a lookup of a name server's
// address, or of its servers' addresses, receives is paid by the one question.
func TestOctetsOfTheTree(t *testing.T) {
	w := example(t)
	w.restart(Limits{Octets: 3000})
	fat := func(zone string, lines ...string) responder {
		serve := authority(zone, lines...)
		return func(q *dnswire.Message, tcp bool) [][]byte {
			out := serve(q, tcp)
			m, err := dnswire.ParseMessage(out[0])
			if err != nil {
				t.Fatal(err)
			}
			m.Additional = append(m.Additional, rdata.Record{Name: dnsname.MustParse("fat.example."), Type: rdata.TypeTXT, Class: rdata.ClassIN, Data: make([]byte, 900)})
			return wire(m)
		}
	}
	w.servers["192.0.2.2"] = fat("com.", "com. 900 SOA", "deep.com. 60 NS ns.one.net.")
	w.servers["192.0.2.4"] = fat("net.", "net. 900 SOA", "one.net. 60 NS ns.two.net.", "two.net. 60 NS ns.three.net.", "three.net. 60 NS ns.three.net.", "ns.three.net. 60 A 192.0.2.9")
	w.servers["192.0.2.9"] = fat("three.net.", "three.net. 60 SOA", "ns.three.net. 60 A 192.0.2.9")
	a := w.resolve("www.deep.com.", "A")
	if a.Rcode != dnswire.RcodeServFail || a.Spent.Octets < 3000 || a.Spent.Octets > 3000+1300 {
		t.Errorf("%s after %v", render(a), a.Spent)
	}
	if n := w.r.Counters().Limits[LimitOctets]; n == 0 {
		t.Error("the limit is not counted")
	}
}

// A zone is asked so much a second, and has so many queries waiting, whoever asks; the
// questions beyond end at once, and are not remembered. A heavy client has half.
func TestZoneLimits(t *testing.T) {
	for _, test := range []struct {
		what        string
		limits      Limits
		heavy       bool
		sent        int
		limit       Limit
		afterSecond bool
	}{
		{"a second", Limits{ZoneRate: 20}, false, 20, LimitZoneRate, false},
		{"a second, heavy", Limits{ZoneRate: 20}, true, 10, LimitZoneRate, false},
		{"the next second", Limits{ZoneRate: 20}, false, 40, LimitZoneRate, true},
		{"waiting", Limits{ZoneWaiting: 15}, false, 15, LimitZoneWaiting, false},
		{"one server", Limits{ServerWaiting: 12}, false, 12, LimitServerWaiting, false},
	} {
		w := example(t)
		w.restart(test.limits)
		w.resolve("www.example.com.", "A")
		w.pass(2 * time.Second)
		w.asked = nil
		delete(w.servers, "192.0.2.3") // silent: what is asked waits
		ask := func(round int) {
			for i := range 100 {
				w.tokens++
				w.step(Ask{Token: w.tokens, Name: dnsname.MustParse(fmt.Sprintf("r%dx%d.example.com.", round, i)), Type: rdata.TypeA, Heavy: test.heavy})
			}
		}
		ask(1)
		if test.afterSecond {
			w.now = w.now.Add(time.Second)
			ask(2)
		}
		if got := w.count("192.0.2.3"); got != test.sent {
			t.Errorf("%s: %d queries, want %d", test.what, got, test.sent)
		}
		last := w.answers[w.tokens]
		if last.Limit != test.limit || last.Failure == 0 || len(last.Trace) == 0 || len(last.Errors) != 1 || !strings.Contains(last.Errors[0].Text, test.limit.String()) {
			t.Errorf("%s: %s, limit %v", test.what, render(last), last.Limit)
		}
		name := dnsname.MustParse("r1x99.example.com.")
		if w.cache.Failure(w.now, name, rdata.TypeA) != nil {
			t.Errorf("%s: the refusal is remembered", test.what)
		}
		w.run()
		if len(w.r.crowds.zones)+len(w.r.crowds.servers) != 0 {
			t.Errorf("%s: left over: %v, %v", test.what, w.r.crowds.zones, w.r.crowds.servers)
		}
	}
}

// RFC 9520 §3.2: a question that goes on failing is tried less and less often, but at
// least every minute; one that has been answered since begins anew.
func TestPersistentFailures(t *testing.T) {
	w := example(t)
	honest := w.servers["192.0.2.3"]
	w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) { m.Rcode = dnswire.RcodeServFail })
	name, begin := dnsname.MustParse("www.example.com."), w.now
	var tries []int // seconds at which the server was asked
	for w.now.Sub(begin) < 10*time.Minute {
		before := w.count("192.0.2.3")
		w.resolve("www.example.com.", "A")
		if w.count("192.0.2.3") > before {
			tries = append(tries, int(w.now.Sub(begin).Round(time.Second)/time.Second))
		}
		w.pass(time.Second)
	}
	if len(tries) < 10 || len(tries) > 16 {
		t.Fatalf("tried at %v s", tries)
	}
	for i, want := range []int{5, 5, 5, 10, 20, 40, 60} {
		if got := tries[i+1] - tries[i]; got < want || got > want+3 {
			t.Errorf("try %d came %d s after the one before, want %d: %v", i+1, got, want, tries)
		}
	}
	w.servers["192.0.2.3"] = honest
	w.pass(time.Minute)
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.pass(10 * time.Minute)
	w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) { m.Rcode = dnswire.RcodeServFail })
	w.resolve("www.example.com.", "A")
	w.pass(6 * time.Second)
	if w.cache.Failure(w.now, name, rdata.TypeA) != nil {
		t.Error("a new trouble is remembered like the old one")
	}
}
