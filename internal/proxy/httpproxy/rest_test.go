package httpproxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// startResting returns a gateway whose idle connections soon rest, and n connections to it
// that each have asked once.
func startResting(t *testing.T, limits Limits, n int) (*gateway, []net.Conn) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("connections rest on Linux only")
	}
	limits.Rest = time.Millisecond
	g := startGateway(t, Config{Limits: limits}, startOrigin(t, answering(ok2)))
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = g.dial()
		askOn(t, conns[i])
	}
	return g, conns
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
	end := time.After(20 * time.Second)
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
	g, conns := startResting(t, Limits{}, n)
	for range 3 {
		g.awaitCounters(func(c Counters) bool { return c.Resting == n })
		for _, conn := range conns {
			askOn(t, conn)
		}
	}
	g.awaitCounters(func(c Counters) bool { return c.Resting == n })
	before := runtime.NumGoroutine()
	for _, conn := range conns {
		io.WriteString(conn, "G") // it has begun, and keeps a goroutine
	}
	g.awaitCounters(func(c Counters) bool { return c.Resting == 0 })
	if after := runtime.NumGoroutine(); after < before+n/2 {
		t.Errorf("%d goroutines while %d connections rest, %d while none does", before, n, after)
	}
	for _, conn := range conns {
		conn.Close()
	}
	g.awaitCounters(func(c Counters) bool { return c.Active == 0 })
}

// TestRestEnds: a connection at rest ends when its client goes, when it has waited for too
// long, and by Shutdown; none is forgotten.
func TestRestEnds(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		g, conns := startResting(t, Limits{}, 10)
		g.awaitCounters(func(c Counters) bool { return c.Resting == 10 })
		for _, conn := range conns {
			conn.Close()
		}
		g.awaitCounters(func(c Counters) bool { return c.Active == 0 && c.Resting == 0 })
	})
	t.Run("idle", func(t *testing.T) {
		g, conns := startResting(t, Limits{Idle: time.Second}, 10)
		g.awaitCounters(func(c Counters) bool { return c.Resting > 0 })
		g.awaitCounters(func(c Counters) bool { return c.Active == 0 && c.Resting == 0 })
		if n, err := conns[0].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %d octets, %v, want the end", n, err)
		}
	})
	t.Run("shutdown", func(t *testing.T) {
		g, conns := startResting(t, Limits{}, 10)
		g.awaitCounters(func(c Counters) bool { return c.Resting == 10 })
		if err := g.server.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, conn := range conns {
			if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("got %d octets, %v, want the end", n, err)
			}
		}
	})
	t.Run("cut off", func(t *testing.T) {
		g, _ := startResting(t, Limits{}, 10)
		g.awaitCounters(func(c Counters) bool { return c.Resting == 10 })
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		g.server.Shutdown(ended)
		g.awaitCounters(func(c Counters) bool { return c.Active == 0 && c.Resting == 0 })
	})
}
