package dnsserver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestPipelining: RFC 7766 §6.2.1.1: queries follow each other without waiting,
// however the octets are cut.
func TestPipelining(t *testing.T) {
	s := start(t, Config{TCP: Limits{InFlight: 7}})
	const count = 100
	var stream []byte
	for id := range uint16(count) {
		msg := query(t, id, "www.example.", 1232)
		stream = append(binary.BigEndian.AppendUint16(stream, uint16(len(msg))), msg...)
	}
	for _, step := range []int{1, 3, len(stream) / 2, len(stream)} {
		c := dial(t, "tcp", s.Addrs()[0])
		go func() {
			for rest := stream; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				if _, err := c.Write(rest[:min(step, len(rest))]); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		for want := range uint16(count) {
			if got := c.next().Id; got != want {
				t.Fatalf("in steps of %d: got the answer to %d, want %d", step, got, want)
			}
		}
	}
}

// TestInFlightLimit: a connection with too many queries outstanding is not read
// until one is answered.
func TestInFlightLimit(t *testing.T) {
	s := start(t, Config{TCP: Limits{InFlight: 2}})
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 0, "later.example.", 0), query(t, 1, "later.example.", 0), query(t, 2, "www.example.", 0))
	held := []*Deferred{<-s.deferred, <-s.deferred}
	s.check(t)
	if got := s.seen.Load(); got != 2 {
		t.Errorf("%d queries were taken, want 2", got)
	}
	for i, order := range [][]uint16{{0, 2}, {1}} {
		if err := held[i].Send(answerTo(held[i])); err != nil {
			t.Fatal(err)
		}
		for _, want := range order {
			if got := c.next().Id; got != want {
				t.Errorf("got the answer to %d, want %d", got, want)
			}
			s.check(t)
		}
	}
}

// TestHalfClosed: RFC 7766 §6.2.4: a client that has no more queries may close its
// side; it still gets its answers.
func TestHalfClosed(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 0, "later.example.", 0), query(t, 1, "later.example.", 0), query(t, 2, "www.example.", 0))
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.next().Id; got != 2 {
		t.Errorf("got the answer to %d first, want 2", got)
	}
	for want := range uint16(2) {
		d := <-s.deferred
		if err := d.Send(answerTo(d)); err != nil {
			t.Fatal(err)
		}
		if got := c.next().Id; got != want {
			t.Errorf("got the answer to %d, want %d", got, want)
		}
	}
	c.wantClosed()
	waitUntil(t, "connection forgotten", func() bool { return s.Connections(TCP) == 0 })
	s.check(t)
}

// TestSlowReader: a client that takes no answers is cut off, and its queries are
// forgotten.
func TestSlowReader(t *testing.T) {
	s := start(t, Config{TCP: Limits{Write: 50 * time.Millisecond}})
	c := dial(t, "tcp", s.Addrs()[0])
	if err := c.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	msg := query(t, 0, "big.example.", 0)
	msg = append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	for {
		if _, err := c.Write(msg); isTimeout(err) {
			t.Fatal("the connection is still open")
		} else if err != nil {
			break
		}
	}
	s.want(t, TCP, SlowClients, 1)
	waitUntil(t, "connection forgotten", func() bool { return s.Connections(TCP) == 0 })
	s.check(t)
}

// TestSlowWriter: a message that is begun and not finished does not hold a
// connection.
func TestSlowWriter(t *testing.T) {
	s := start(t, Config{TCP: Limits{Read: 30 * time.Millisecond}})
	msg := query(t, 0, "www.example.", 0)
	for cut := 1; cut < 2+len(msg); cut += 7 {
		c := dial(t, "tcp", s.Addrs()[0])
		stream := append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
		if _, err := c.Write(stream[:cut]); err != nil {
			t.Fatal(err)
		}
		c.wantClosed()
	}
	s.want(t, TCP, SlowClients, uint64((len(msg)+7)/7))
}

// TestIdle: RFC 7766 §6.2.3: an idle connection is closed; one with a query
// outstanding is not idle.
func TestIdle(t *testing.T) {
	t.Parallel()                 // most of it is waiting
	const idle = 3 * time.Second // a busy machine may take so long to send the first query
	s := start(t, Config{TCP: Limits{Idle: idle}})
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 0, "later.example.", 0))
	d := <-s.deferred
	c.SetReadDeadline(time.Now().Add(idle + time.Second))
	if _, err := c.receive(); !isTimeout(err) {
		t.Fatalf("with a query outstanding: got %v, want a connection that stays open", err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	answered := time.Now() // at the latest: the connection is idle before Send returns
	if err := d.Send(answerTo(d)); err != nil {
		t.Fatal(err)
	}
	c.next()
	c.wantClosed()
	if kept := time.Since(answered); kept < idle {
		t.Errorf("closed %v after the last answer, want %v", kept, idle)
	}
	if counts := s.Counts(TCP); counts.Of(SlowClients) != 0 {
		t.Error("an idle client was counted as slow")
	}
}

// TestNoDNS: a stream that is not made of queries is closed; the server lives on.
func TestNoDNS(t *testing.T) {
	s := start(t, Config{})
	response := query(t, 0, "www.example.", 0)
	response[2] |= 0x80
	for name, stream := range map[string][]byte{
		"empty message":    {0, 0},
		"short message":    {0, 5, 1, 2, 3, 4, 5},
		"response":         append([]byte{0, byte(len(response))}, response...),
		"another protocol": append([]byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"), make([]byte, 0x4745)...),
	} {
		c := dial(t, "tcp", s.Addrs()[0])
		if _, err := c.Write(stream); err != nil {
			t.Fatal(err)
		}
		if name == "another protocol" { // long enough, and headed like a query of many questions
			if m := c.next(); m.Rcode == 0 || len(m.Answer) > 0 {
				t.Errorf("%s: got %v", name, m)
			}
			continue
		}
		c.wantClosed()
	}
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 9, "www.example.", 0))
	c.next()
}

// TestLargestMessage: 65,535 octets are one message.
func TestLargestMessage(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0])
	msg := append(query(t, 5, "www.example.", 0), make([]byte, 65535)...)[:65535]
	c.send(msg, query(t, 6, "www.example.", 0))
	if m := c.next(); m.Id != 5 || m.Rcode != 1 {
		t.Errorf("got %v, want FORMERR: octets follow the question", m)
	}
	if m := c.next(); m.Id != 6 || len(m.Answer) != 1 {
		t.Errorf("got %v", m)
	}
}

func (s *stage) isIdle() bool {
	s.tcp.conns.mu.Lock()
	defer s.tcp.conns.mu.Unlock()
	for c := range s.tcp.conns.conns {
		if c.idleAt() == 0 {
			return false
		}
	}
	return true
}

// TestConnectionLimit: the connection idle for longest gives way to a new one; if
// none is idle, the new one is refused.
func TestConnectionLimit(t *testing.T) {
	s := start(t, Config{TCP: Limits{Connections: 2}})
	open := func(name string) *client {
		c := dial(t, "tcp", s.Addrs()[0])
		c.send(query(t, 1, name, 0))
		return c
	}
	first := open("www.example.")
	first.next()
	waitUntil(t, "first idle", s.isIdle)
	second := open("www.example.")
	second.next()
	waitUntil(t, "second idle", s.isIdle)
	third := open("later.example.")
	first.wantClosed()
	d := <-s.deferred
	s.want(t, TCP, ConnectionsEvicted, 1)

	second.send(query(t, 2, "later.example.", 0))
	other := <-s.deferred
	refused := dial(t, "tcp", s.Addrs()[0])
	refused.wantClosed()
	s.want(t, TCP, ConnectionsRefused, 1)

	for c, d := range map[*client]*Deferred{third: d, second: other} {
		if err := d.Send(answerTo(d)); err != nil {
			t.Error(err)
		}
		c.next()
	}
	s.check(t)
	if got := s.Connections(TCP); got != 2 {
		t.Errorf("connections: got %d, want 2", got)
	}
}

// TestClientLimit: one client cannot have all connections.
func TestClientLimit(t *testing.T) {
	s := start(t, Config{TCP: Limits{PerClient: 1}, Addresses: []netip.AddrPort{loopback4, loopback6}})
	for _, addr := range s.Addrs() {
		c := dial(t, "tcp", addr)
		c.send(query(t, 1, "www.example.", 0))
		c.next()
		dial(t, "tcp", addr).wantClosed()
		c.send(query(t, 2, "www.example.", 0))
		c.next()
	}
	s.want(t, TCP, ConnectionsRefused, 2)
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::",
	} {
		if got := clientKey(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s is counted as %s, want %s", addr, got, want)
		}
	}
}

// TestClientGone: the answer to a client that went away is an error, not a wait.
func TestClientGone(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 1, "later.example.", 0))
	d := <-s.deferred
	s.tcp.conns.killAll() // as when the client had reset it
	if err := d.Send(answerTo(d)); err != ErrGone {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	waitUntil(t, "connection forgotten", func() bool { return s.Connections(TCP) == 0 })
	s.check(t)
}

// TestShutdownTCP: queries sent before Shutdown are answered, deferred ones too,
// and then the client sees the end of the stream.
func TestShutdownTCP(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 1, "later.example.", 0))
	d := <-s.deferred
	c.send(query(t, 2, "www.example.", 0), query(t, 3, "www.example.", 0))
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	<-s.stop
	for _, want := range []uint16{2, 3} {
		if got := c.next().Id; got != want {
			t.Errorf("got the answer to %d, want %d", got, want)
		}
	}
	if err := d.Send(answerTo(d)); err != nil {
		t.Error(err)
	}
	if got := c.next().Id; got != 1 {
		t.Errorf("got the answer to %d, want 1", got)
	}
	c.wantClosed()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
