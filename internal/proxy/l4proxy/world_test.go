package l4proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pharos/internal/proxy/l4route"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// world is a Proxy between clients and members of a test. Its clock of loads moves when the
// test says so.
type world struct {
	t     *testing.T
	proxy *Proxy
	now   atomic.Int64

	mu       sync.Mutex
	reports  []health.Result
	problems map[string]string
	lines    bytes.Buffer
}

func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines.Write(b)
}

// log returns the lines so far.
func (w *world) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines.String()
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, problems: map[string]string{}}
	w.now.Store(int64(time.Hour))
	w.proxy = New(Config{
		Report: func(_ health.Target, r health.Result) { w.mu.Lock(); w.reports = append(w.reports, r); w.mu.Unlock() },
		Clock:  func() time.Duration { return time.Duration(w.now.Add(1)) },
		Problem: func(about, text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.problems[about] = text
		},
		Log: slog.New(slog.DiscardHandler), Lines: w,
	})
	var serving sync.WaitGroup
	serving.Go(w.proxy.Serve)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w.proxy.Shutdown(ctx)
		serving.Wait()
	})
	return w
}

// poolOf returns a pool of the policy first, whose members a, b, ... are at addresses.
func poolOf(name string, addresses ...string) *pool.Pool {
	spec := pool.Spec{Name: name, Policy: pool.First}
	for i, a := range addresses {
		spec.Members = append(spec.Members, pool.MemberSpec{Name: string(rune('a' + i)), Address: netip.MustParseAddrPort(a)})
	}
	p := pool.New(name)
	p.Publish(pool.Compile(spec, nil, nil))
	return p
}

// limits are those of tests, so long that what ends by them hangs.
var limits = Limits{Connect: time.Minute, Hello: time.Minute, Idle: time.Hour, HalfClosed: time.Hour, Session: time.Hour, Connections: 1000, Tries: 3}

// streamTo returns a stream called s at any port of loopback, which leads to pools: to the
// first one, but by rules.
func streamTo(rules []l4route.Rule, pools ...*pool.Pool) Stream {
	s := Stream{Name: "s", Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Routes: l4route.NewTable(rules, 0), Limits: limits}
	for _, p := range pools {
		s.Pools = append(s.Pools, Target{Pool: p})
	}
	return s
}

// follow has the world carry streams, and returns where the first one listens.
func (w *world) follow(streams ...Stream) string {
	w.t.Helper()
	w.proxy.Follow(streams)
	at := w.proxy.Addrs(streams[0].Name)
	if len(at) == 0 {
		w.t.Fatal("the stream is nowhere")
	}
	return at[0].String()
}

// counters are those of the stream s.
func (w *world) counters() *Counters { return w.proxy.Stats()[0].Counters }

func deadline() time.Time { return time.Now().Add(time.Minute) }

// server takes connections at a port of loopback and does something with each.
func server(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends when l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(deadline())
			go func() { // ends with serve
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String()
}

// echo says a name and repeats what it is told.
func echo(t *testing.T, name string) string {
	return server(t, func(c *net.TCPConn) {
		io.WriteString(c, name)
		io.Copy(c, c)
	})
}

// nobody returns an address at which nobody listens.
func nobody(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dialTo(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(deadline())
	return conn.(*net.TCPConn)
}

// visit is dialTo and then ends, of a connection that may be reset while it is made.
func visit(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		if strings.Contains(err.Error(), "reset") {
			return "reset"
		}
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(deadline())
	return ends(conn)
}

// says reads as many octets as want has, and fails if they are others.
func says(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(conn, b); err != nil || string(b) != want {
		t.Errorf("got %q, %v; want %q", b[:n], err, want)
	}
}

// ends reads to the end of a connection and returns why it ended: "" in order.
func ends(conn net.Conn) string {
	if _, err := io.Copy(io.Discard, conn); err != nil {
		if strings.Contains(err.Error(), "reset") {
			return "reset"
		}
		return err.Error()
	}
	return ""
}

// eventually waits until check returns "", for a minute at most.
func eventually(t *testing.T, check func() string) {
	t.Helper()
	late, tick := time.After(time.Minute), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		why := check()
		if why == "" {
			return
		}
		select {
		case <-late:
			t.Fatal(why)
		case <-tick.C:
		}
	}
}

// gone waits until nothing is carried, and every line is written.
func (w *world) gone(lines int) {
	w.t.Helper()
	eventually(w.t, func() string {
		if n := w.counters().Active.Load(); n != 0 {
			return fmt.Sprint(n, " are carried")
		}
		if got := strings.Count(w.log(), "\n"); got < lines {
			return fmt.Sprintf("%d of %d lines", got, lines)
		}
		return ""
	})
}
