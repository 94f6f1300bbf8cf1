package httpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/proxy/quicdoor"
	"pharos/internal/proxy/quota"
)

// Rapid Reset (CVE-2023-44487): a place is free when the work is done, and who gives up more
// requests than a browser that leaves pages is ended.
func TestHTTP3RapidReset(t *testing.T) {
	g := startQUIC(t, Config{Limits: Limits{HTTP3Resets: 20}}, func(c *quicdoor.Config) { c.Streams = 4 }, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.Copy(io.Discard, r) // never answers
	}))
	c := dial3(g, true)
	for range 200 {
		ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
		s, err := c.OpenStreamSync(ctx)
		cancel()
		if err != nil {
			break // the connection has ended
		}
		s.Write([]byte(head3("GET", "/")))
		s.Close()
		s.CancelRead(0x10c)
		if n := g.server.inFlight.Load(); n > 4 {
			t.Fatalf("%d requests are under way, of 4", n)
		}
	}
	c.wantClosed("closed 0x107")
	if n := g.server.Counters().HTTP3; n.Ended != 1 || n.Resets < 20 || n.Streams > 40 || n.Excesses[quota.Resets] != 1 {
		t.Errorf("counted %+v", n)
	}
}

// MadeYouReset (CVE-2025-8671): requests that we reset as they break the rules count likewise.
func TestHTTP3MadeYouReset(t *testing.T) {
	g := startQUIC(t, Config{Limits: Limits{HTTP3Resets: 20}}, nil, startOrigin(t, answering(ok2)))
	c := dial3(g, true)
	for range 200 {
		s, err := c.OpenStreamSync(c.Context())
		if err != nil {
			break
		}
		s.Write([]byte(head3("GET", "/", "connection", "close")))
		s.Close()
	}
	c.wantClosed("closed 0x107")
	if n := g.server.Counters().HTTP3; n.Ended != 1 || n.Excesses[quota.Broken] != 1 {
		t.Errorf("counted %+v", n)
	}
}

// A client that gives its request up ends what was done for it; others go on.
func TestHTTP3Cancelled(t *testing.T) {
	asked, left := make(chan struct{}), make(chan struct{})
	g := startQUIC(t, Config{}, nil, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for head := readMessageHead(r); head != ""; head = readMessageHead(r) {
			if strings.Contains(head, " /wait ") {
				close(asked)
				io.Copy(io.Discard, r) // until the gateway leaves
				close(left)
				return
			}
			io.WriteString(conn, ok2)
		}
	}))
	c := dial3(g, true)
	s := c.send(head3("GET", "/wait"), true)
	<-asked
	s.CancelRead(0x10c)
	<-left
	c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
	if n := g.server.Counters().HTTP3; n.Resets != 1 || n.Streams != 2 {
		t.Errorf("counted %+v", n)
	}
}

// One-way streams are few in the life of a connection, and end it when they break the rules.
func TestHTTP3OneWayStreams(t *testing.T) {
	g := startQUIC(t, Config{}, nil, startOrigin(t, answering(ok2)))
	c := dial3(g, true)
	opened := 1
	for ; opened < 100; opened++ {
		s, err := c.OpenUniStream()
		if err != nil {
			break
		}
		s.Write([]byte("\x21nothing"))
		s.Close()
	}
	if opened > 16 {
		t.Errorf("%d one-way streams", opened)
	}
	c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
	again := dial3(g, true)
	again.uni("\x00\x04\x00")
	again.wantClosed("closed 0x103")
}

// Shutdown: GOAWAY, what is under way is answered, what comes later is rejected so that it can
// be sent elsewhere, and the connection ends.
func TestHTTP3Drain(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	g := startQUIC(t, Config{Limits: Limits{DrainGrace: 10 * time.Millisecond}}, nil, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		close(asked)
		<-answer
		io.WriteString(conn, ok2)
	}))
	c := dial3(g, true)
	said := make(chan string, 1)
	go func() {
		s, err := c.AcceptUniStream(c.Context())
		if err != nil {
			said <- err.Error()
			return
		}
		b := make([]byte, 0, 100)
		for !strings.HasSuffix(string(b), "\x07\x01\x04") { // GOAWAY 4: the first request is answered
			n, err := s.Read(b[len(b):cap(b)])
			if b = b[:len(b)+n]; err != nil {
				break
			}
		}
		said <- string(b)
	}()
	s := c.send(head3("GET", "/"), true)
	<-asked
	shut := make(chan error, 1)
	go func() { shut <- g.server.Shutdown(t.Context()) }()
	if got := <-said; !strings.Contains(got, "\x07\x08\xff\xff\xff\xff\xff\xff\xff\xfc") || !strings.HasSuffix(got, "\x07\x01\x04") {
		t.Errorf("our control stream: %q", got)
	}
	c.send(head3("GET", "/"), true).want("reset 0x10b")
	close(answer)
	s.want("status 200", `data "ok"`, "end")
	c.wantClosed("closed 0x100")
	if err := <-shut; err != nil {
		t.Error(err)
	}
}

// A connection without requests ends, also one that is kept alive by packets of QUIC.
func TestHTTP3Idle(t *testing.T) {
	t.Parallel() // most of it is waiting, so long that a busy machine can send its request
	g := startQUIC(t, Config{Limits: Limits{Idle: 4 * time.Second}}, nil, startOrigin(t, answering(ok2)))
	c := dial3(g, true)
	c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
	c.wantClosed("closed 0x100")
}

// At the limit of requests of the whole gateway, more are rejected so that they can be sent
// elsewhere; and an address has so many connections.
func TestHTTP3AtTheLimit(t *testing.T) {
	asked, answer := make(chan struct{}, 2), make(chan struct{})
	g := startQUIC(t, Config{Limits: Limits{MaxConnections: 2}}, func(c *quicdoor.Config) { c.PerClient = 1 }, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" {
			asked <- struct{}{}
			<-answer
			io.WriteString(conn, ok2)
		}
	}))
	c := dial3(g, true)
	c.send(head3("GET", "/"), true)
	c.send(head3("GET", "/"), true)
	<-asked
	<-asked
	c.send(head3("GET", "/"), true).want("reset 0x10b")
	close(answer)
	_, err := quic.DialAddr(t.Context(), g.at, g.tls(), nil)
	var refused *quic.TransportError
	if !errors.As(err, &refused) || refused.ErrorCode != quic.ConnectionRefused || g.door.Counts().Crowded.Load() == 0 {
		t.Errorf("a second connection of an address: %v", err)
	}
}

// Tickets do not offer data before the end of the handshake, and a client that sends some
// nevertheless is only heard after it.
func TestHTTP3NoEarlyData(t *testing.T) {
	g := startQUIC(t, Config{}, nil, startOrigin(t, answering(ok2)))
	terms := g.tls()
	terms.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i := range 2 {
		conn, err := quic.DialAddrEarly(t.Context(), g.at, terms, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-conn.HandshakeComplete()
		c := &conn3{Conn: conn, t: t}
		c.uni("\x00\x04\x00")
		c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
		if state := conn.ConnectionState(); state.Used0RTT || state.TLS.DidResume != (i > 0) {
			t.Errorf("connection %d: 0-RTT %v, resumed %v", i, state.Used0RTT, state.TLS.DidResume)
		}
		conn.CloseWithError(0x100, "")
	}
}

// A WebSocket over HTTP/3 (RFC 9220): 200, then octets both ways.
func TestHTTP3WebSocket(t *testing.T) {
	g := startQUIC(t, Config{}, nil, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		head := readMessageHead(r)
		io.WriteString(conn, switchedTo(head)+"first")
		io.Copy(conn, r)
	}))
	c := dial3(g, true)
	s := c.send(frame3(1, section3(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "www.test", ":path", "/", "sec-websocket-version", "13")), false)
	s.want("status 200", `data "first"`)
	s.Write([]byte(frame3(0, "hello")))
	s.want(`data "hello"`)
	s.Close()
	s.want("end")
}

// switchedTo answers a request that asks for a WebSocket.
func switchedTo(head string) string {
	_, key, _ := strings.Cut(strings.ToLower(head), "sec-websocket-key: ")
	at := len(head) - len(key)
	key, _, _ = strings.Cut(head[at:], "\r\n")
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + acceptOf(key) + "\r\n\r\n"
}
