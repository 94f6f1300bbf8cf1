package httpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"pharos/lab/testca"
)

// restless are clients of each kind: each asks once, and says whether it was answered.
var restless = map[string]func(t *testing.T, g *gateway, ca *testca.Authority) (conn net.Conn, ask func()){
	"HTTP/1.1": func(t *testing.T, g *gateway, _ *testca.Authority) (net.Conn, func()) {
		conn := g.dial()
		return conn, func() { askOn(t, conn) }
	},
	"HTTP/1.1 over TLS": func(t *testing.T, g *gateway, ca *testca.Authority) (net.Conn, func()) {
		conn := dialTLS(t, g.address, ca)
		return conn, func() { askOn(t, conn) }
	},
	"HTTP/2": func(t *testing.T, g *gateway, _ *testca.Authority) (net.Conn, func()) {
		c := dial2(g)
		return c.conn, askOn2(c)
	},
	"HTTP/2 over TLS": func(t *testing.T, g *gateway, ca *testca.Authority) (net.Conn, func()) {
		c := &conn2{t: t, conn: tls.Client(g.dial(), &tls.Config{ServerName: "www.test", RootCAs: ca.Pool(), NextProtos: []string{"h2"}})}
		c.begin()
		return c.conn, askOn2(c)
	},
}

// askOn2 asks again and again on streams of their own.
func askOn2(c *conn2) func() {
	stream := uint32(1)
	return func() {
		c.t.Helper()
		c.head(stream, true, ":method", "GET", ":scheme", c.scheme(), ":path", "/", ":authority", "www.test")
		c.want(fmt.Sprintf("%d status 200", stream), fmt.Sprintf(`%d data "ok" end`, stream))
		stream += 2
	}
}

// resting is a gateway whose idle connections soon rest, and some of one kind that each have
// asked once.
type resting struct {
	*gateway
	conns []net.Conn
	asks  []func()
}

// eachResting runs f with n connections of each kind.
func eachResting(t *testing.T, limits Limits, n int, f func(t *testing.T, r *resting)) {
	if runtime.GOOS != "linux" {
		t.Skip("connections rest on Linux only")
	}
	limits.Rest = time.Millisecond
	for name, begin := range restless {
		t.Run(name, func(t *testing.T) {
			r := &resting{}
			var ca *testca.Authority
			if origin := startOrigin(t, answering(ok2)); strings.HasSuffix(name, "TLS") {
				r.gateway, ca = startSecured(t, Config{Limits: limits}, nil, origin)
			} else {
				r.gateway = startGateway(t, Config{Limits: limits}, origin)
			}
			for range n {
				conn, ask := begin(t, r.gateway, ca)
				ask()
				r.conns, r.asks = append(r.conns, conn), append(r.asks, ask)
			}
			f(t, r)
		})
	}
}

// ends reports an error unless the gateway has ended conn in order. What it says before, as
// GOAWAY, is read over.
func ends(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("got %v, want the end", err)
	}
}

// askOn sends a request and reads its response.
func askOn(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if head := readMessageHead(r); head == "" {
		t.Fatal("no response")
	}
	if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
}

// awaitCounters returns when is holds of the counters.
func (g *gateway) awaitCounters(is func(Counters) bool) {
	g.t.Helper()
	each := time.NewTicker(time.Millisecond)
	defer each.Stop()
	end := time.After(time.Minute)
	for {
		select {
		case <-end:
			g.t.Fatalf("it has not come to pass: %+v", g.server.Counters())
		case <-each.C:
			if is(g.server.Counters()) {
				return
			}
		}
	}
}

// TestRest: connections that wait have no goroutines, and are served again and again.
func TestRest(t *testing.T) {
	const n = 50
	eachResting(t, Limits{}, n, func(t *testing.T, g *resting) {
		for range 3 {
			g.awaitCounters(func(c Counters) bool { return c.Resting == n })
			for _, ask := range g.asks {
				ask()
			}
		}
		g.awaitCounters(func(c Counters) bool { return c.Resting == n })
		before := runtime.NumGoroutine()
		for _, conn := range g.conns {
			io.WriteString(conn, "\x00") // something has begun, and keeps a goroutine
		}
		g.awaitCounters(func(c Counters) bool { return c.Resting == 0 })
		if after := runtime.NumGoroutine(); after < before+n/2 {
			t.Errorf("%d goroutines while %d connections rest, %d while none does", before, n, after)
		}
		for _, conn := range g.conns {
			conn.Close()
		}
		g.awaitCounters(func(c Counters) bool { return c.Active == 0 })
	})
}

// TestRestEnds: a connection at rest ends when its client goes, when it has waited for too
// long, and by Shutdown; none is forgotten.
func TestRestEnds(t *testing.T) {
	rested := func(c Counters) bool { return c.Resting == 10 }
	gone := func(c Counters) bool { return c.Active == 0 && c.Resting == 0 }
	t.Run("client", func(t *testing.T) {
		eachResting(t, Limits{}, 10, func(t *testing.T, g *resting) {
			g.awaitCounters(rested)
			for _, conn := range g.conns {
				conn.Close()
			}
			g.awaitCounters(gone)
		})
	})
	t.Run("idle", func(t *testing.T) {
		endsIdle(t, 2*time.Second, gone)
	})
	t.Run("shutdown", func(t *testing.T) {
		eachResting(t, Limits{}, 10, func(t *testing.T, g *resting) {
			g.awaitCounters(rested)
			done := make(chan error, 1)
			go func() { done <- g.server.Shutdown(context.Background()) }()
			for _, conn := range g.conns {
				ends(t, conn)
				conn.Close()
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("cut off", func(t *testing.T) {
		eachResting(t, Limits{}, 10, func(t *testing.T, g *resting) {
			g.awaitCounters(rested)
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			g.server.Shutdown(ended)
			g.awaitCounters(gone)
		})
	})
}

// endsIdle sees connections rest and then end since they are idle. A machine on which they end
// before they rest is too slow for so short a time; they get more of it.
func endsIdle(t *testing.T, idle time.Duration, gone func(Counters) bool) {
	slow := false
	eachResting(t, Limits{Idle: idle}, 10, func(t *testing.T, g *resting) {
		g.awaitCounters(func(c Counters) bool {
			slow = slow || gone(c)
			return c.Resting > 0 || gone(c)
		})
		for _, conn := range g.conns {
			conn.SetDeadline(time.Now().Add(idle + time.Minute))
			ends(t, conn)
			conn.Close() // over TLS the gateway waits for it, for a while
		}
		g.awaitCounters(gone)
	})
	if slow && idle < time.Minute {
		endsIdle(t, 4*idle, gone)
	}
}
