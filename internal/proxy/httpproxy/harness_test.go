package httpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/pool"
)

// gateway is a Server on a loopback address with one pool, for a test.
type gateway struct {
	t       testing.TB
	server  *Server
	address string
	table   *served.Table                // what publish was given last
	current atomic.Pointer[served.Table] // for requests, which read it at the same time
}

// publish makes t what is served.
func (g *gateway) publish(t *served.Table) {
	g.table = t
	g.current.Store(t)
}

// startGateway serves routes for any host to one pool of the given members, for whose
// connections a busy machine has time.
func startGateway(t testing.TB, cfg Config, members ...string) *gateway {
	t.Helper()
	if cfg.Limits.Connect == 0 {
		cfg.Limits.Connect = time.Minute
	}
	g := &gateway{t: t}
	g.publish(tableOf(t, members...))
	if cfg.Table == nil {
		cfg.Table = g.current.Load
	}
	g.server = New(cfg)
	l, err := doorway.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	g.address = l.Addr().String()
	var served sync.WaitGroup
	served.Go(func() { g.server.Serve(l) })
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // cut off what a test left behind
		g.server.Shutdown(ctx)
		served.Wait()
	})
	return g
}

func tableOf(t testing.TB, members ...string) *served.Table {
	t.Helper()
	spec := pool.Spec{Name: "web"}
	for i, m := range members {
		spec.Members = append(spec.Members, pool.MemberSpec{Name: fmt.Sprintf("m%d", i), Address: netip.MustParseAddrPort(m)})
	}
	p := pool.New("web")
	p.Publish(pool.Compile(spec, nil, nil))
	table, errs := served.New([]route.Rule{{Pools: []route.Share{{Pool: "web", Weight: 1}}}}, []*pool.Pool{p}, nil, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return table
}

func (g *gateway) dial() net.Conn { return dial(g.t, g.address) }

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute)) // a hang fails the test
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends octets on a connection of its own and returns all that comes back
// until the gateway closes it.
func (g *gateway) ask(request string) string {
	g.t.Helper()
	conn := g.dial()
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		g.t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn) // an error is the end, too; the tests look at what came
	return string(answer)
}

// startOrigin runs serve for each connection to a new loopback address.
func startOrigin(t testing.TB, serve func(conn net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// readMessageHead reads up to the empty line; "" when the connection ended.
func readMessageHead(r *bufio.Reader) string {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return ""
		}
		head.WriteString(line)
		if line == "\r\n" {
			return head.String()
		}
	}
}

// answering is an origin that answers every request without content in the same
// way.
func answering(response string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" {
			if _, err := io.WriteString(conn, response); err != nil {
				return
			}
		}
	}
}

const ok2 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
