package dnsload

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// answer is what a server sends back for the n-th question it got: no message, one
// or several.
type answer func(n int, q *dns.Msg) []*dns.Msg

// serve answers on a free port of loopback until the test ends.
func serve(t *testing.T, respond answer) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() { // ends when conn is closed
		defer close(done)
		buf := make([]byte, 4096)
		for n := 0; ; n++ {
			size, client, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if err := q.Unpack(buf[:size]); err != nil {
				t.Error(err)
				return
			}
			for _, m := range respond(n, q) {
				msg, err := m.Pack()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := conn.WriteToUDP(msg, client); err != nil {
					return
				}
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// right answers as question wants.
func right(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	rr, err := dns.NewRR(q.Question[0].Name + " 60 A 192.0.2.1")
	if err != nil {
		panic(err)
	}
	m.Answer = []dns.RR{rr}
	return m
}

// queries returns n questions for addresses.
func queries(t *testing.T, n int) []Query {
	t.Helper()
	var all []Query
	for i := range n {
		m := new(dns.Msg).SetQuestion(fmt.Sprintf("h%d.example.", i), dns.TypeA)
		m.Id = 0
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		q := NewQuery(msg)
		q.Answer = []string{"A 192.0.2.1"}
		all = append(all, q)
	}
	return all
}

// ask asks n questions once each, and waits long: none is lost that was answered.
func ask(t *testing.T, n int, respond answer) Result {
	t.Helper()
	return askWithin(t, time.Minute, n, respond)
}

// askWithin is ask where a question counts as lost after the given time.
func askWithin(t *testing.T, timeout time.Duration, n int, respond answer) Result {
	t.Helper()
	g, err := New(Config{Server: serve(t, respond), Queries: queries(t, n), Flows: 3, Window: 4, Timeout: timeout, Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	r, err := g.Each(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCountsAnswers(t *testing.T) {
	r := ask(t, 100, func(_ int, q *dns.Msg) []*dns.Msg { return []*dns.Msg{right(q)} })
	if r.Sent != 100 || r.Answered != 100 || r.Lost+r.Wrong+r.Stray != 0 || r.Compared != 100 {
		t.Errorf("got %+v, want 100 right answers", r)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}

func TestCountsLost(t *testing.T) {
	r := askWithin(t, 200*time.Millisecond, 1000, func(n int, q *dns.Msg) []*dns.Msg {
		if n%10 == 0 {
			return nil
		}
		return []*dns.Msg{right(q)}
	})
	// On a busy machine an answer may be late, which is lost too.
	if r.Sent != 1000 || r.Answered+r.Lost != 1000 || r.Lost < 100 || r.Answered == 0 {
		t.Errorf("sent %d, answered %d, lost %d; want 1000, 900, 100", r.Sent, r.Answered, r.Lost)
	}
	if r.Err() == nil {
		t.Error("one in ten lost is no error")
	}
}

// TestCountsStray: an answer that comes twice counts once.
func TestCountsStray(t *testing.T) {
	r := ask(t, 50, func(_ int, q *dns.Msg) []*dns.Msg { m := right(q); return []*dns.Msg{m, m} })
	if r.Answered != 50 || r.Wrong != 0 || r.Lost != 0 {
		t.Errorf("got %+v, want 50 answers", r)
	}
	if r.Stray == 0 || r.Stray > 50 { // the last ones may come after the run
		t.Errorf("%d datagrams answered nothing under way, want up to 50", r.Stray)
	}
}

func TestSeesWrongAnswers(t *testing.T) {
	for name, spoil := range map[string]func(*dns.Msg){
		"rcode":         func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure },
		"no records":    func(m *dns.Msg) { m.Answer = nil },
		"record twice":  func(m *dns.Msg) { m.Answer = append(m.Answer, m.Answer[0]) },
		"other address": func(m *dns.Msg) { m.Answer[0].(*dns.A).A = net.IPv4(192, 0, 2, 99) },
		"other name":    func(m *dns.Msg) { m.Question[0].Name = "z" + m.Question[0].Name[1:] },
		"truncated":     func(m *dns.Msg) { m.Truncated = true },
		"a question":    func(m *dns.Msg) { m.Response = false },
		"no question":   func(m *dns.Msg) { m.Question = nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := ask(t, 40, func(n int, q *dns.Msg) []*dns.Msg {
				m := right(q)
				if n%2 == 0 {
					spoil(m)
				}
				return []*dns.Msg{m}
			})
			if r.Wrong != 20 || r.Answered != 40 {
				t.Errorf("%d of %d wrong, want 20 of 40", r.Wrong, r.Answered)
			}
			if err := r.Err(); err == nil || !strings.Contains(err.Error(), "example.") {
				t.Errorf("Err() = %v, want one that names the question", err)
			}
		})
	}
}

// TestIgnoresOtherIDs: what does not carry the ID of a question under way answers
// nothing (RFC 5452 §9.1).
func TestIgnoresOtherIDs(t *testing.T) {
	r := askWithin(t, 3*time.Second, 8, func(_ int, q *dns.Msg) []*dns.Msg { m := right(q); m.Id ^= 0x8000; return []*dns.Msg{m} })
	if r.Answered != 0 || r.Lost != 8 || r.Stray != 8 {
		t.Errorf("got %+v, want 8 lost and 8 stray", r)
	}
}

func TestAuthoritySection(t *testing.T) {
	q := queries(t, 1)[0]
	q.Answer, q.Authority = nil, []string{"NS a.example.", "NS b.example."}
	m := new(dns.Msg)
	if err := m.Unpack(q.Msg); err != nil {
		t.Fatal(err)
	}
	m.SetReply(m)
	for _, text := range []string{"example. NS b.example.", "example. NS a.example."} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Ns = append(m.Ns, rr)
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		complete := len(m.Ns) == 2
		if err := q.Verify(msg); (err == nil) != complete {
			t.Errorf("with %d of 2 records: %v", len(m.Ns), err)
		}
	}
}

func TestRunEndsWithItsTime(t *testing.T) {
	g, err := New(Config{Server: serve(t, func(_ int, q *dns.Msg) []*dns.Msg { return []*dns.Msg{right(q)} }), Queries: queries(t, 10)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	const d = 50 * time.Millisecond
	r, err := g.Run(context.Background(), d)
	if err != nil || r.Answered == 0 || r.Answered != r.Sent-r.Lost || r.Elapsed > time.Minute {
		t.Errorf("got %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := g.Run(ctx, time.Hour); err == nil {
		t.Error("a cancelled run has no error")
	}
}

func TestDeadServer(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	conn.Close()
	g, err := New(Config{Server: addr, Queries: queries(t, 10)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if r, err := g.Each(context.Background()); err == nil {
		t.Errorf("asking nobody gave %+v and no error", r)
	}
}

func TestRefusesConfig(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:53")
	for _, c := range []Config{
		{Server: addr},
		{Server: addr, Queries: queries(t, 1), Window: 3},
		{Server: addr, Queries: queries(t, 1), Window: 128},
		{Server: addr, Queries: []Query{{Msg: make([]byte, maxQuery+1)}}},
	} {
		if g, err := New(c); err == nil {
			g.Close()
			t.Errorf("New(window %d, %d questions) is content", c.Window, len(c.Queries))
		}
	}
}
