package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
)

// both runs a test over UDP and over TCP.
func both(t *testing.T, test func(t *testing.T, network string)) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

func transportOf(network string) Transport {
	if network == "tcp" {
		return TCP
	}
	return UDP
}

func TestAnswers(t *testing.T) {
	s := start(t, Config{Addresses: []netip.AddrPort{loopback4, loopback6}, UDPWorkers: 2})
	both(t, func(t *testing.T, network string) {
		for i, addr := range s.Addrs() {
			c := dial(t, network, addr)
			c.send(query(t, 7, "www.example.com.", 0))
			m := c.next()
			if m.Id != 7 || !m.Response || len(m.Answer) != 1 || m.Answer[0].Header().Name != "www.example.com." {
				t.Errorf("%v: got %v", addr, m)
			}
			s.want(t, transportOf(network), Answers, uint64(i+1))
		}
		counts := s.Counts(transportOf(network))
		if got := counts.Rcode(dnswire.RcodeNoError); got != 2 {
			t.Errorf("answers NOERROR: got %d, want 2", got)
		}
	})
}

// TestLimits: RFC 1035 §4.2.1: 512 octets over UDP; RFC 6891 §6.2.3: what the
// client offers, but not less than 512; and never more than what we send.
func TestLimits(t *testing.T) {
	s := start(t, Config{})
	tests := []struct {
		network   string
		offer     uint16
		limit     int
		truncated bool
	}{
		{"udp", 0, 512, true},
		{"udp", 100, 512, true},
		{"udp", 800, 800, true},
		{"udp", 4096, 1232, true},
		{"tcp", 0, 65535, false},
		{"tcp", 512, 65535, false},
	}
	for _, tt := range tests {
		c := dial(t, tt.network, s.Addrs()[0])
		c.send(query(t, 1, "big.example.", tt.offer))
		wire, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		if len(wire) > tt.limit || m.Truncated && len(wire) < tt.limit-150 || m.Truncated != tt.truncated {
			t.Errorf("%s offering %d: got %d octets, TC %v; want at most %d, TC %v",
				tt.network, tt.offer, len(wire), m.Truncated, tt.limit, tt.truncated)
		}
	}
	s.want(t, UDP, Truncated, 4)
	s.want(t, TCP, Truncated, 0)
}

// TestPanic: a query that breaks the Handler gets SERVFAIL, the next its answer.
func TestPanic(t *testing.T) {
	s := start(t, Config{})
	both(t, func(t *testing.T, network string) {
		c := dial(t, network, s.Addrs()[0])
		c.send(query(t, 1, "panic.example.", 1232), query(t, 2, "www.example.", 0))
		if m := c.next(); m.Rcode != dns.RcodeServerFailure || len(m.Question) != 1 {
			t.Errorf("got %v, want SERVFAIL with the question", m)
		}
		if m := c.next(); m.Id != 2 || len(m.Answer) != 1 {
			t.Errorf("got %v, want the answer", m)
		}
		s.want(t, transportOf(network), Panics, 1)
	})
}

func TestDrop(t *testing.T) {
	s := start(t, Config{})
	both(t, func(t *testing.T, network string) {
		c := dial(t, network, s.Addrs()[0])
		c.send(query(t, 1, "drop.example.", 0), query(t, 2, "www.example.", 0))
		if m := c.next(); m.Id != 2 {
			t.Errorf("got an answer to query %d, want only that to query 2", m.Id)
		}
		s.want(t, transportOf(network), Dropped, 1)
	})
}

// TestDeferred: what was deferred is answered later, after what came later.
// RFC 7766 §6.2.1.1: responses may be sent out of order.
func TestDeferred(t *testing.T) {
	s := start(t, Config{Addresses: []netip.AddrPort{loopback4, loopback6}})
	both(t, func(t *testing.T, network string) {
		for _, addr := range s.Addrs() {
			c := dial(t, network, addr)
			c.send(query(t, 1, "later.example.", 0), query(t, 2, "later.example.", 4096), query(t, 3, "www.example.", 0))
			if m := c.next(); m.Id != 3 {
				t.Fatalf("got the answer to query %d first, want that to 3", m.Id)
			}
			first, second := <-s.deferred, <-s.deferred
			if got, want := first.Client().String(), c.LocalAddr().String(); got != want {
				t.Errorf("client: got %v, want %v", got, want)
			}
			if got := first.Local(); got != addr {
				t.Errorf("local: got %v, want %v", got, addr)
			}
			for want, d := range map[uint16]*Deferred{2: second, 1: first} {
				if err := d.Send(answerTo(d)); err != nil {
					t.Fatal(err)
				}
				if m := c.next(); m.Id != want || len(m.Answer) != 1 || (m.IsEdns0() != nil) != (want == 2) {
					t.Errorf("got %v, want the answer to query %d", m, want)
				}
			}
			if err := first.Send(answerTo(first)); err != ErrSpent {
				t.Errorf("second Send: got %v, want %v", err, ErrSpent)
			}
		}
		if n := s.Outstanding(); n != 0 {
			t.Errorf("outstanding: got %d, want 0", n)
		}
	})
}

// TestDeferKeepsTheQuery: a Handler may have begun an answer, in the memory of the
// query, before it defers.
func TestDeferKeepsTheQuery(t *testing.T) {
	kept := make(chan *Deferred, 1)
	s := start(t, Config{Handler: func(r *Request) Verdict {
		fill(r)
		kept <- r.Defer()
		return Later
	}})
	both(t, func(t *testing.T, network string) {
		m := new(dns.Msg).SetQuestion("later.example.", dns.TypeA)
		m.SetEdns0(1000, true)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"})
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		dial(t, network, s.Addrs()[0]).send(wire)
		d := <-kept
		if got := d.Query(); string(got.Msg) != string(wire) || !got.EDNS.DO || got.EDNS.UDPSize != 1000 || len(got.EDNS.Options) != 12 {
			t.Errorf("got %x, EDNS %+v; want %x", got.Msg, got.EDNS, wire)
		}
		d.Drop()
		d.Drop()
		s.want(t, transportOf(network), Dropped, 1)
	})
}

// TestTooManyDeferred: above the limit the client is told, not left waiting.
func TestTooManyDeferred(t *testing.T) {
	s := start(t, Config{MaxDeferred: 2})
	both(t, func(t *testing.T, network string) {
		c := dial(t, network, s.Addrs()[0])
		for id := range uint16(3) {
			c.send(query(t, id, "later.example.", 1232))
		}
		m := c.next()
		if m.Id != 2 || m.Rcode != dns.RcodeServerFailure || len(m.IsEdns0().Option) != 1 || m.IsEdns0().Option[0].Option() != dns.EDNS0EDE {
			t.Errorf("got %v, want SERVFAIL with an extended error for query 2", m)
		}
		s.want(t, transportOf(network), DeferralsRefused, 1)
		for range 2 {
			d := <-s.deferred
			if err := d.Send(answerTo(d)); err != nil {
				t.Error(err)
			}
			c.next()
		}
	})
}

// TestSendRefusesWhatDoesNotFit: an answer over the client's limit stays here.
func TestSendRefusesWhatDoesNotFit(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "udp", s.Addrs()[0])
	for _, length := range []int{0, dnswire.HeaderLen - 1, 513} {
		c.send(query(t, 1, "later.example.", 0))
		d := <-s.deferred
		if d.Limit() != 512 {
			t.Errorf("limit: got %d, want 512", d.Limit())
		}
		if err := d.Send(make([]byte, length)); err != ErrSize {
			t.Errorf("%d octets: got %v, want %v", length, err, ErrSize)
		}
	}
	s.want(t, UDP, SendErrors, 3)
}

// TestShutdownAnswersWhatItHas: queries that had been received when Shutdown began
// are answered.
func TestShutdownAnswersWhatItHas(t *testing.T) {
	entered, gate := make(chan struct{}), make(chan struct{})
	first := true
	s := listen(t, Config{Handler: func(r *Request) Verdict {
		if first {
			first = false
			close(entered)
			<-gate
		}
		addA(&r.Out, &r.Query)
		return Answered
	}})
	c := dial(t, "udp", s.Addrs()[0])
	c.send(query(t, 1000, "www.example.", 0))
	s.serve(t)
	<-entered
	const more = 150 // more than two batches
	for id := range uint16(more) {
		c.send(query(t, id, "www.example.", 0))
	}
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	<-s.stop
	close(gate)
	seen := map[uint16]bool{}
	for range more + 1 {
		seen[c.next().Id] = true
	}
	if len(seen) != more+1 {
		t.Errorf("got answers to %d queries, want %d", len(seen), more+1)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestShutdownIsQuick: nothing under way: nothing to wait for.
func TestShutdownIsQuick(t *testing.T) {
	s := start(t, Config{Addresses: []netip.AddrPort{loopback4, loopback6}, UDPWorkers: 4})
	idle := dial(t, "tcp", s.Addrs()[0])
	idle.send(query(t, 1, "www.example.", 0))
	idle.next()
	began := time.Now()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	<-s.served
	took := time.Since(began)
	t.Logf("Shutdown took %v", took)
	if took > 10*time.Second { // 100 ms are promised; machines that run tests are busy
		t.Errorf("Shutdown took %v", took)
	}
	idle.wantClosed()
}

// TestHandOver: from the moment Shutdown begins another server can have the
// address, and queries go to it, while the old one still answers what it owes.
func TestHandOver(t *testing.T) {
	old := start(t, Config{UDPWorkers: 3})
	addr := old.Addrs()[0]
	waiting := map[string]*client{}
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, addr)
		c.send(query(t, 1, "later.example.", 0))
		waiting[network] = c
	}
	debts := []*Deferred{<-old.deferred, <-old.deferred}

	done := make(chan error)
	go func() { done <- old.Shutdown(context.Background()) }()
	waitUntil(t, "UDP loops end", func() bool {
		for _, w := range old.workers {
			if w.running.Load() {
				return false
			}
		}
		return true
	})
	successor := start(t, Config{Addresses: []netip.AddrPort{addr}, UDPWorkers: 2})
	for i := range 20 {
		network := []string{"udp", "tcp"}[i%2]
		c := dial(t, network, addr)
		c.send(query(t, 2, "www.example.", 0))
		if m := c.next(); m.Id != 2 {
			t.Fatalf("%s: got %v", network, m)
		}
	}
	if got := successor.seen.Load(); got != 20 {
		t.Errorf("the successor was asked %d queries, want 20", got)
	}
	for _, d := range debts {
		if err := d.Send(answerTo(d)); err != nil {
			t.Error(err)
		}
	}
	for network, c := range waiting {
		if m := c.next(); m.Id != 1 {
			t.Errorf("%s: got %v, want the answer of the old server", network, m)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSendAfterShutdown: who comes too late is told so.
func TestSendAfterShutdown(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		s := start(t, Config{})
		c := dial(t, network, s.Addrs()[0])
		c.send(query(t, 1, "later.example.", 0))
		d := <-s.deferred
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown with a query outstanding: got %v, want %v", err, context.DeadlineExceeded)
		}
		if err := d.Send(answerTo(d)); err != ErrShutdown {
			t.Errorf("Send: got %v, want %v", err, ErrShutdown)
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("second Shutdown: %v", err)
		}
	})
}

func TestShutdownBeforeServe(t *testing.T) {
	s := listen(t, Config{})
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	s.Serve() // returns
	again, err := Listen(Config{Addresses: s.Addrs(), Handler: s.handle})
	if err != nil {
		t.Fatalf("the sockets were not closed: %v", err)
	}
	again.Shutdown(context.Background())
}

// occupyUDP takes a UDP port whose TCP port is free.
func occupyUDP(t *testing.T) netip.AddrPort {
	t.Helper()
	for range portTries {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback4))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		if ln, err := bindTCP(addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return netip.AddrPort{}
}

func TestListenErrors(t *testing.T) {
	running := start(t, Config{})
	taken := running.Addrs()[0]
	takenUDP := occupyUDP(t)

	tests := []struct {
		addr netip.AddrPort
		want []string
	}{
		{taken, []string{taken.String() + "/tcp", "address already in use", fmt.Sprintf("ss -lntp sport = :%d", taken.Port()), "listen.dns"}},
		{takenUDP, []string{takenUDP.String() + "/udp", "address already in use", fmt.Sprintf("ss -lnup sport = :%d", takenUDP.Port()), "listen.dns"}},
		{netip.MustParseAddrPort("192.0.2.1:0"), []string{"192.0.2.1:0/tcp", "does not have that address", "listen.dns"}},
	}
	for _, tt := range tests {
		_, err := Listen(Config{Addresses: []netip.AddrPort{loopback4, tt.addr}, Handler: running.handle})
		if err == nil {
			t.Errorf("%v: no error", tt.addr)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: error %q does not say %q", tt.addr, err, want)
			}
		}
	}
	for _, pair := range [][2]string{{"127.0.0.1:5300", "127.0.0.1:5300"}, {"0.0.0.0:5300", "127.0.0.1:5300"}, {"[::1]:5300", "[::]:5300"}} {
		_, err := Listen(Config{Addresses: []netip.AddrPort{netip.MustParseAddrPort(pair[0]), netip.MustParseAddrPort(pair[1])}, Handler: running.handle})
		if err == nil || !strings.Contains(err.Error(), pair[0]+" is in the list too") {
			t.Errorf("%v: got error %v", pair, err)
		}
	}
	// Root may bind any port, so what others see is made by hand.
	err := ListenError(UDP, netip.MustParseAddrPort("127.0.0.1:53"), &net.OpError{Op: "listen", Err: syscall.EACCES})
	for _, want := range []string{"127.0.0.1:53/udp", "permission denied", "setcap cap_net_bind_service=+ep", "above 1023"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if _, err := Listen(Config{}); err == nil {
		t.Error("Listen without anything: no error")
	}
}
