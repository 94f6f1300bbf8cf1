package iterate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// RFC 6298 §2: the estimate follows the measurements, the timeout keeps a
// distance of four deviations, within our bounds.
func TestTimeouts(t *testing.T) {
	var h *host
	if got := h.timeout(0); got != firstTimeout {
		t.Errorf("unknown: %v", got)
	}
	h = &host{}
	for range 50 {
		h.answered(200 * time.Millisecond)
	}
	if got := h.timeout(0); got < minTimeout || got > 350*time.Millisecond {
		t.Errorf("steady 200 ms: %v", got)
	}
	for i := range 50 {
		h.answered(time.Duration(100+200*(i%2)) * time.Millisecond)
	}
	if got := h.timeout(0); got < 450*time.Millisecond {
		t.Errorf("100 and 300 ms by turns: %v", got)
	}
	near := &host{}
	near.answered(100 * time.Microsecond)
	for try, want := range []time.Duration{minTimeout, 2 * minTimeout, 4 * minTimeout, 8 * minTimeout, maxTimeout} {
		if got := near.timeout(try); got != want {
			t.Errorf("try %d: %v, want %v", try, got, want)
		}
	}
}

// A server is dead after some timeouts in a row, longer each time; queries that
// were under way together count once; any reply revives it.
func TestDead(t *testing.T) {
	h, now := &host{}, worldBegin
	for range 20 {
		h.timedOut(now.Add(time.Second), now)
	}
	if h.timeouts != 1 || h.dead(now) {
		t.Errorf("20 queries at a time: %d timeouts", h.timeouts)
	}
	var last time.Duration
	for i := range 12 {
		now = now.Add(time.Minute)
		h.timedOut(now, now.Add(-time.Second))
		dead := h.deadUntil.Sub(now)
		switch n := i + 2; {
		case n < deadAfter && dead > 0:
			t.Errorf("dead after %d timeouts", n)
		case n >= deadAfter && (dead < last || dead > deadMost || dead < deadFirst):
			t.Errorf("after %d timeouts dead for %v, before that %v", n, dead, last)
		}
		last = max(dead, 0)
	}
	if h.answered(time.Millisecond); h.dead(now) || h.timeouts != 0 {
		t.Error("dead though it answered")
	}
}

// The table of hosts is bounded, and forgets the longest known first.
func TestHostsAreBounded(t *testing.T) {
	s := hosts{}
	s.known.bound(100*(hostOctets+byServer), byServer)
	addr := func(i int) Server {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 0x0A000000+uint32(i))
		return plainServer(netip.AddrPortFrom(netip.AddrFrom4(a), 53))
	}
	for i := range 200 {
		s.get(addr(i))
		s.known.check()
	}
	if s.known.len() != 100 {
		t.Errorf("%d hosts, want 100", s.known.len())
	}
	if s.look(addr(99)) != nil || s.look(addr(100)) == nil || s.look(addr(199)) == nil {
		t.Error("forgot others than the longest known")
	}
	h := s.get(addr(200))
	for i := range 20 {
		s.setLame(addr(200), dnsname.MustParse(fmt.Sprintf("z%d.", i)), worldBegin.Add(time.Hour))
	}
	s.known.check()
	if s.known.len() >= 100 {
		t.Error("marked zones cost nothing")
	}
	if len(h.lame) != maxLame || h.isLame(dnsname.MustParse("z11."), worldBegin) || !h.isLame(dnsname.MustParse("z12."), worldBegin) {
		t.Errorf("lame for %v", h.lame)
	}
	if h.isLame(dnsname.MustParse("z12."), worldBegin.Add(time.Hour)) {
		t.Error("lame for ever")
	}
}

// The nearer of two servers gets most queries, the other is still tried now and
// then, and takes over when it has become the nearer.
func TestServerChoice(t *testing.T) {
	w := twoServers(t)
	slow := "192.0.2.13"
	w.delay = func(to string) time.Duration {
		if to == slow {
			return 80 * time.Millisecond
		}
		return 5 * time.Millisecond
	}
	ask := func(round string) (slowAsked int) {
		w.asked = nil
		for i := range 300 {
			w.resolve(fmt.Sprintf("%s%d.example.com.", round, i), "A")
		}
		return w.count(slow + " ")
	}
	if got := ask("a"); got < 1 || got > 60 {
		t.Errorf("the farther server got %d of 300 queries", got)
	}
	slow = "192.0.2.3"
	ask("b")
	if got := ask("c"); got < 1 || got > 60 {
		t.Errorf("the server that has become the farther got %d of 300 queries", got)
	}
}

// sendOf returns the query among acts.
func sendOf(acts []Action) Send {
	for _, a := range acts {
		if s, ok := a.(Send); ok {
			return s
		}
	}
	panic("no query is sent")
}

// BenchmarkUncached is a question whose zone is known, through the whole machine:
// Ask, one query, its reply, the answer, and both levels of the cache.
func BenchmarkUncached(b *testing.B) {
	r := New(Config{Hints: RootHints(), Limits: Limits{ZoneRate: 1 << 30}, Rand: rand.New(rand.NewChaCha8([32]byte{1})), Cache: rrcache.New(worldBegin, rrcache.Limits{})})
	r.cache.PutDelegation(worldBegin, dnsname.MustParse("example.com."), []rrcache.Server{
		{Name: dnsname.MustParse("ns.example.com."), Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}}, 86400, time.Time{})
	names := make([]dnsname.Name, 1<<16)
	for i := range names {
		names[i] = dnsname.MustParse(fmt.Sprintf("n%d.example.com.", i))
	}
	reply := dnswire.Message{QR: true, AA: true, HasQuestion: true, Answer: rrs("x.example.com. 1 A 192.0.2.1"), EDNS: dnswire.EDNS{Present: true}}
	var acts []Action
	var msg []byte
	now := worldBegin
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		name := names[i%len(names)]
		now = now.Add(20 * time.Microsecond) // a name comes again after its TTL
		acts = r.Step(now, Ask{Token: 1, Name: name, Type: rdata.TypeA}, acts[:0])
		s := sendOf(acts)
		reply.ID, reply.Question = binary.BigEndian.Uint16(s.Msg), dnswire.Question{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN}
		reply.Answer[0].Name = name
		msg = reply.Append(msg[:0])
		acts = r.Step(now, Arrived{Exchange: s.Exchange, Msg: msg}, acts[:0])
		if _, ok := acts[len(acts)-1].(Reply); !ok {
			b.Fatalf("no answer: %v", acts)
		}
	}
}
