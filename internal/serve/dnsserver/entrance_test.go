package dnsserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/serve/proxyheader"
)

// secure returns what a server and its clients agree on TLS with.
func secure(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"ns.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"dot"}, DynamicRecordSizingDisabled: true},
		&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}}
}

// startDoT starts a server with DNS over TLS beside UDP and TCP.
func startDoT(t testing.TB, cfg Config, limits Limits) (s *stage, at netip.AddrPort, clients *tls.Config) {
	t.Helper()
	s = listen(t, cfg)
	server, clients := secure(t)
	e, err := s.Open(EntranceConfig{Transport: DoT, Limits: limits, Addresses: []netip.AddrPort{loopback4}, TLS: server})
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t)
	return s, e.Addrs()[0], clients
}

func dialTLS(t testing.TB, at netip.AddrPort, config *tls.Config) *client {
	t.Helper()
	conn, err := tls.Dial("tcp", at.String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{conn, t}
}

// TestDoTPipeline: 100 queries in one burst, every other of them deferred, and the
// deferred ones answered from the last to the first: each gets its answer
// (RFC 7858 §3.3, RFC 7766 §6.2.1.1).
func TestDoTPipeline(t *testing.T) {
	s, at, clients := startDoT(t, Config{}, Limits{InFlight: 100})
	c := dialTLS(t, at, clients)
	var burst [][]byte
	for id := range uint16(100) {
		burst = append(burst, query(t, id, map[bool]string{true: "later.example.", false: "www.example."}[id%2 == 0], 1232))
	}
	c.send(burst...)
	var waiting []*Deferred
	for range 50 {
		waiting = append(waiting, <-s.deferred)
	}
	got := map[uint16]int{}
	for range 50 {
		got[c.next().Id]++
	}
	for id := range got {
		if id%2 == 0 {
			t.Errorf("query %d was answered before its time", id)
		}
	}
	for i := len(waiting) - 1; i >= 0; i-- {
		if err := waiting[i].Send(answerTo(waiting[i])); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		got[c.next().Id]++
	}
	for id := range uint16(100) {
		if got[id] != 1 {
			t.Errorf("query %d: %d answers", id, got[id])
		}
	}
	s.want(t, DoT, Answers, 100)
	s.want(t, DoT, Connections, 1)
	if d := waiting[0]; d.Transport() != DoT {
		t.Errorf("transport %v", d.Transport())
	}
}

// TestSlowHandshake: who begins TLS and does not go on, or sends something else, is
// cut off, and others are served meanwhile.
func TestSlowHandshake(t *testing.T) {
	t.Parallel() // most of it is waiting
	// So long a busy machine may take for the handshake of an honest client.
	s, at, clients := startDoT(t, Config{}, Limits{Handshake: 5 * time.Second})
	var slow []*client
	for _, beginning := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"} {
		c := dial(t, "tcp", at)
		if _, err := c.Write([]byte(beginning)); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	c := dialTLS(t, at, clients)
	c.send(query(t, 1, "www.example.", 0))
	c.next()
	for _, c := range slow {
		c.wantClosed()
	}
	plain := dial(t, "tcp", at)
	plain.send(query(t, 1, "www.example.", 0)) // DNS without TLS
	plain.wantClosed()
	waitUntil(t, "handshakes counted", func() bool { c := s.Counts(DoT); return c.Of(HandshakesFailed) == 4 })
	s.check(t)
}

// TestSlowTLS: within TLS the limits are those of TCP.
func TestSlowTLS(t *testing.T) {
	s, at, clients := startDoT(t, Config{}, Limits{Read: 100 * time.Millisecond})
	slow := dialTLS(t, at, clients)
	if _, err := slow.Write([]byte{0, 40, 1}); err != nil {
		t.Fatal(err)
	}
	slow.wantClosed()
	s.want(t, DoT, SlowClients, 1)
	s, at, clients = startDoT(t, Config{}, Limits{Idle: 500 * time.Millisecond})
	dialTLS(t, at, clients).wantClosed()
	s.want(t, DoT, SlowClients, 0)
}

// TestManyConnectionsOverTLS: one client cannot have all connections, also not by
// handshakes that it does not end; the oldest gives way to others.
func TestManyConnectionsOverTLS(t *testing.T) {
	s, at, clients := startDoT(t, Config{}, Limits{PerClient: 2, Connections: 2})
	first, second := dial(t, "tcp", at), dial(t, "tcp", at)
	waitUntil(t, "two connections", func() bool { return s.Connections(DoT) == 2 })
	dial(t, "tcp", at).wantClosed()
	s.want(t, DoT, ConnectionsRefused, 1)
	first.Close()
	second.Close()
	waitUntil(t, "none", func() bool { return s.Connections(DoT) == 0 })
	c := dialTLS(t, at, clients)
	c.send(query(t, 1, "www.example.", 0))
	c.next()
	s.check(t)

	s, at, clients = startDoT(t, Config{}, Limits{Connections: 1})
	stuck := dial(t, "tcp", at)
	waitUntil(t, "one connection", func() bool { return s.Connections(DoT) == 1 })
	c = dialTLS(t, at, clients)
	c.send(query(t, 1, "www.example.", 0))
	c.next()
	stuck.wantClosed()
	s.want(t, DoT, ConnectionsEvicted, 1)
}

// TestQueriesPerConnection: after so many the connection ends, with all answered.
func TestQueriesPerConnection(t *testing.T) {
	s, at, clients := startDoT(t, Config{TCP: Limits{Queries: 3}}, Limits{Queries: 3})
	for _, c := range []*client{dial(t, "tcp", s.Addrs()[0]), dialTLS(t, at, clients)} {
		c.send(query(t, 1, "www.example.", 0), query(t, 2, "later.example.", 0), query(t, 3, "www.example.", 0))
		d := <-s.deferred
		if err := d.Send(answerTo(d)); err != nil {
			t.Error(err)
		}
		got := map[uint16]bool{}
		for range 3 {
			got[c.next().Id] = true
		}
		if len(got) != 3 {
			t.Errorf("answers %v", got)
		}
		c.wantClosed()
		s.want(t, d.Transport(), ConnectionsSpent, 1)
	}
}

// TestShutdownTLS: as over TCP.
func TestShutdownTLS(t *testing.T) {
	s, at, clients := startDoT(t, Config{}, Limits{})
	c := dialTLS(t, at, clients)
	c.send(query(t, 1, "later.example.", 0))
	d := <-s.deferred
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	<-s.stop
	if err := d.Send(answerTo(d)); err != nil {
		t.Error(err)
	}
	if got := c.next().Id; got != 1 {
		t.Errorf("got the answer to %d", got)
	}
	c.wantClosed()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

var proxied = proxyheader.Header{Client: netip.MustParseAddrPort("192.0.2.7:5300"), Local: netip.MustParseAddrPort("198.51.100.1:53")}

// whoAsks is a Handler that answers with the client's address.
func whoAsks(r *Request) Verdict {
	r.Out.SetEDE(0, r.Client.String()+" "+r.Local.String())
	addA(&r.Out, &r.Query)
	return Answered
}

// TestProxy: the client is whom a trusted proxy names, by every road; without a
// header nothing is heard from a proxy.
func TestProxy(t *testing.T) {
	seen := make(chan netip.AddrPort, 10)
	cfg := Config{
		Proxies: func(a netip.Addr) bool { return a.IsLoopback() },
		Handler: func(r *Request) Verdict {
			if !r.Local.Addr().IsLoopback() {
				t.Errorf("came to %v, which is no listener", r.Local)
			}
			seen <- r.Client
			return whoAsks(r)
		},
	}
	s, at, clients := startDoT(t, cfg, Limits{})
	ask := func(c *client, want netip.AddrPort) {
		t.Helper()
		c.send(query(t, 7, "www.example.", 1232))
		if m := c.next(); m.Id != 7 || len(m.Answer) != 1 {
			t.Errorf("answer %v", m)
		}
		if got := <-seen; got != want {
			t.Errorf("asked by %v, want %v", got, want)
		}
	}
	udp := dial(t, "udp", s.Addrs()[0])
	udp.send(append(proxyheader.Append(nil, proxied, false), query(t, 8, "www.example.", 1232)...))
	if m := udp.next(); m.Id != 8 || <-seen != proxied.Client {
		t.Errorf("over UDP: %v", m)
	}
	udp.send(append(proxyheader.Append(nil, proxyheader.Header{}, false), query(t, 9, "www.example.", 1232)...))
	if m := udp.next(); m.Id != 9 || (<-seen).Port() != udp.LocalAddr().(*net.UDPAddr).AddrPort().Port() {
		t.Errorf("LOCAL over UDP: %v", m)
	}
	udp.send(query(t, 1, "www.example.", 0), proxyheader.Append(nil, proxied, false)[:20])
	s.want(t, UDP, ProxyRefused, 2)

	tcp := dial(t, "tcp", s.Addrs()[0])
	if _, err := tcp.Write(proxyheader.Append(nil, proxied, true)); err != nil {
		t.Fatal(err)
	}
	ask(tcp, proxied.Client)
	ask(tcp, proxied.Client)
	bare := dial(t, "tcp", s.Addrs()[0])
	bare.send(query(t, 1, "www.example.", 0))
	bare.wantClosed()
	s.want(t, TCP, ProxyRefused, 1)

	raw, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	raw.Write(proxyheader.Append(nil, proxied, true))
	overTLS := tls.Client(raw, clients)
	defer overTLS.Close()
	overTLS.SetDeadline(time.Now().Add(patience))
	ask(&client{overTLS, t}, proxied.Client)
	s.check(t)
}

// TestProxyLimits: connections of a proxy are counted by the clients it names.
func TestProxyLimits(t *testing.T) {
	t.Parallel() // most of it is waiting
	// So long a busy machine may take to send a header.
	s := start(t, Config{Proxies: func(netip.Addr) bool { return true }, TCP: Limits{PerClient: 1, Handshake: 5 * time.Second}})
	open := func(from string) *client {
		c := dial(t, "tcp", s.Addrs()[0])
		h := proxied
		h.Client = netip.MustParseAddrPort(from)
		c.Write(append(proxyheader.Append(nil, h, true), 0, 0)[:28])
		return c
	}
	one, two := open("192.0.2.1:1"), open("192.0.2.2:1")
	for _, c := range []*client{one, two} {
		c.send(query(t, 1, "www.example.", 0))
		c.next()
	}
	open("192.0.2.1:2").wantClosed()
	s.want(t, TCP, ConnectionsRefused, 1)
	dial(t, "tcp", s.Addrs()[0]).wantClosed() // a header that does not come
	s.want(t, TCP, ProxyRefused, 1)
	one.Close()
	waitUntil(t, "one left", func() bool { return s.Connections(TCP) == 1 })
	again := open("192.0.2.1:3")
	again.send(query(t, 1, "www.example.", 0))
	again.next()
	s.check(t)
}

// TestProxyOfAStranger: a header from anybody else is garbage.
func TestProxyOfAStranger(t *testing.T) {
	for name, proxies := range map[string]func(netip.Addr) bool{"off": nil, "others": func(netip.Addr) bool { return false }} {
		s := start(t, Config{Proxies: proxies, Handler: whoAsks})
		udp := dial(t, "udp", s.Addrs()[0])
		udp.send(append(proxyheader.Append(nil, proxied, false), query(t, 8, "www.example.", 1232)...), query(t, 9, "www.example.", 0))
		if m := udp.next(); m.Id != 9 {
			t.Errorf("%s: a header was answered: %v", name, m)
		}
		s.want(t, UDP, ProxyRefused, 1)
		tcp := dial(t, "tcp", s.Addrs()[0])
		tcp.Write(proxyheader.Append(nil, proxied, true))
		tcp.wantClosed()
		s.want(t, TCP, ProxyRefused, 1)
	}
}

// visit makes a connection that a test reads itself.
func visit(t *testing.T, s *stage, limits Limits) (*Visit, chan struct{}) {
	t.Helper()
	e, err := s.Open(EntranceConfig{Transport: DoQ, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{}, 10)
	v, ok := e.Admit(netip.MustParseAddrPort("[::ffff:192.0.2.1]:1"), func() { closed <- struct{}{} })
	if !ok {
		t.Fatal("not admitted")
	}
	return v, closed
}

// TestAsk: what becomes of messages that another driver brings.
func TestAsk(t *testing.T) {
	s := listen(t, Config{})
	v, _ := visit(t, s, Limits{})
	s.serve(t)
	ctx := context.Background()
	var got [][]byte
	write := func(msg []byte, last bool) error {
		got = append(got, append([]byte(nil), msg...))
		return nil
	}
	response := query(t, 0, "www.example.", 0)
	response[2] |= 0x80
	for _, tt := range []struct {
		name string
		msg  []byte
		want Outcome
		sent int
	}{
		{"answer", query(t, 1, "www.example.", 0), Sent, 1},
		{"malformed", query(t, 1, "www.example.", 0)[:20], Sent, 1},
		{"dropped", query(t, 1, "drop.example.", 0), Silent, 0},
		{"response", response, Alien, 0},
		{"too short", []byte{1, 2, 3}, Alien, 0},
		{"panic", query(t, 1, "panic.example.", 0), Sent, 1},
	} {
		got = nil
		if outcome := v.Ask(ctx, tt.msg, write); outcome != tt.want || len(got) != tt.sent {
			t.Errorf("%s: outcome %v, %d messages", tt.name, outcome, len(got))
		}
	}
	if outcome := v.Ask(ctx, query(t, 1, "www.example.", 0), func([]byte, bool) error { return errors.New("gone") }); outcome != Lost {
		t.Errorf("write failed: outcome %v", outcome)
	}
	if v.address() != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("counted as %v", v.address())
	}
	s.check(t)
}

// TestAskDeferred: an answer of several messages comes in order; who does not wait
// any more gets none.
func TestAskDeferred(t *testing.T) {
	s := listen(t, Config{})
	v, _ := visit(t, s, Limits{InFlight: 1})
	s.serve(t)
	var lasts []bool
	outcome := make(chan Outcome)
	ask := func(ctx context.Context) {
		outcome <- v.Ask(ctx, query(t, 1, "later.example.", 0), func(_ []byte, last bool) error {
			lasts = append(lasts, last)
			return nil
		})
	}
	go ask(context.Background())
	d := <-s.deferred
	for range 3 {
		if err := d.SendMore(answerTo(d)); err != nil {
			t.Error(err)
		}
	}
	if err := d.Send(answerTo(d)); err != nil {
		t.Error(err)
	}
	if got := <-outcome; got != Sent || len(lasts) != 4 || lasts[2] || !lasts[3] {
		t.Errorf("outcome %v, messages %v", got, lasts)
	}
	go ask(context.Background())
	(<-s.deferred).Drop()
	if got := <-outcome; got != Silent {
		t.Errorf("dropped: outcome %v", got)
	}

	// Taken back, again and again: each counts until nobody works for it any more.
	var left []*Deferred
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		go ask(ctx)
		left = append(left, <-s.deferred)
		cancel()
		if got := <-outcome; got != Lost {
			t.Errorf("taken back: outcome %v", got)
		}
	}
	go ask(context.Background())
	if got := <-outcome; got != Busy {
		t.Errorf("too many: outcome %v, want Busy", got)
	}
	s.check(t)
	for _, d := range left {
		if err := d.Send(answerTo(d)); err != ErrGone {
			t.Errorf("got %v, want %v", err, ErrGone)
		}
	}
	go ask(context.Background())
	d = <-s.deferred
	d.Drop()
	<-outcome
	if v.idleAt() == 0 {
		t.Error("not idle with nothing in flight")
	}
	s.check(t)
}

// TestVisitLimits: places, eviction and large messages.
func TestVisitLimits(t *testing.T) {
	s := listen(t, Config{})
	v, closed := visit(t, s, Limits{Connections: 1})
	s.serve(t)
	other, ok := s.entrances[DoQ].Admit(netip.MustParseAddrPort("192.0.2.2:1"), func() {})
	if !ok {
		t.Fatal("the idle one did not give way")
	}
	<-closed
	if outcome := v.Ask(context.Background(), query(t, 1, "www.example.", 0), nil); outcome != Lost {
		t.Errorf("after eviction: outcome %v", outcome)
	}
	v.Leave()
	other.Leave()
	other.Leave()
	if got := s.Connections(DoQ); got != 0 {
		t.Errorf("%d connections", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	for range largeMessages {
		if _, ok := v.Reserve(ctx, largeMessage+1); !ok {
			t.Fatal("no room for a large message")
		}
	}
	if _, ok := v.Reserve(ctx, largeMessage); !ok {
		t.Error("no room for a small message")
	}
	cancel()
	if _, ok := v.Reserve(ctx, largeMessage+1); ok {
		t.Error("room for too many large messages")
	}
	s.check(t)
}
