package l4proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"pharos/internal/proxy/l4route"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/lab/testca"
)

// TestOctets: what is carried arrives as it was, small and large, both ways; the end of one
// direction is passed on and the other goes on; and each octet is counted when it passes.
func TestOctets(t *testing.T) {
	for _, size := range []int{1, roomSize - 1, roomSize, roomSize + 1, 256 << 10, 5<<20 + 7} {
		content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		w := newWorld(t)
		p := poolOf("web", server(t, func(c *net.TCPConn) {
			all, err := io.ReadAll(c) // to the end of this direction
			if err != nil || !bytes.Equal(all, content) {
				t.Errorf("%d octets: the member got %d, %v", size, len(all), err)
			}
			c.Write(all)
			c.Write(all[:len(all)/2])
		}))
		client := dialTo(t, w.follow(streamTo(nil, p)))
		client.Write(content)
		client.CloseWrite()
		back, err := io.ReadAll(client)
		if want := append(bytes.Clone(content), content[:size/2]...); err != nil || !bytes.Equal(back, want) {
			t.Errorf("%d octets: the client got %d of %d, %v", size, len(back), len(want), err)
		}
		w.gone(1)
		if c := w.counters(); c.Received.Load() != uint64(size) || c.Sent.Load() != uint64(size+size/2) {
			t.Errorf("%d octets: counted %d in, %d out", size, c.Received.Load(), c.Sent.Load())
		}
		if line := w.log(); !strings.Contains(line, fmt.Sprintf(`"received":%d,"sent":%d,`, size, size+size/2)) || !strings.Contains(line, endDone) {
			t.Errorf("%d octets: line %s", size, line)
		}
	}
}

// TestToldWhileCarried: loads are of now: a connection that is not over counts, with what it
// has carried until now.
func TestToldWhileCarried(t *testing.T) {
	w := newWorld(t)
	p := poolOf("web", echo(t, "a"))
	client := dialTo(t, w.follow(streamTo(nil, p)))
	client.Write(make([]byte, 100_000))
	says(t, client, "a"+string(make([]byte, 100_000)))
	load := p.View().Members[0].Load
	eventually(t, func() string {
		if rate := load.Bandwidth(time.Duration(w.now.Load())); load.Active.Load() != 1 || rate < 100_000 {
			return fmt.Sprintf("%d in flight, %.0f octets a second", load.Active.Load(), rate)
		}
		return ""
	})
	client.Close()
	w.gone(1)
	if load.Active.Load() != 0 || p.Load().Active() != 0 {
		t.Errorf("in flight %d", load.Active.Load())
	}
}

// TestAnotherMember: a member that is not there costs nobody his connection, and is told of.
func TestAnotherMember(t *testing.T) {
	w := newWorld(t)
	p := poolOf("web", nobody(t), nobody(t), echo(t, "c"))
	at := w.follow(streamTo(nil, p))
	client := dialTo(t, at)
	io.WriteString(client, "hello")
	says(t, client, "chello")
	if got := p.View().Members[0].Load.Gauge.Total(); got[health.Unreached] != 1 {
		t.Errorf("told %v", got)
	}
	s := streamTo(nil, p)
	s.Limits.Tries = 2
	s.Listen = w.proxy.Addrs("s")
	w.follow(s)
	if why := visit(t, at); why != "reset" {
		t.Errorf("without a third try: %q", why)
	}
	if c := w.counters(); c.Refused[RefusedMember].Load() != 1 || c.Retries.Load() != 3 || c.Unreached.Load() != 4 {
		t.Errorf("refused %d, retried %d, unreached %d", c.Refused[RefusedMember].Load(), c.Retries.Load(), c.Unreached.Load())
	}
}

// TestReset: who resets a connection has not ended it, and the other side sees that.
func TestReset(t *testing.T) {
	seen := make(chan string, 1)
	w := newWorld(t)
	at := w.follow(streamTo(nil, poolOf("web", server(t, func(c *net.TCPConn) {
		io.WriteString(c, "a")
		seen <- ends(c)
	}))))
	client := dialTo(t, at)
	says(t, client, "a")
	client.SetLinger(0)
	client.Close()
	if got := <-seen; got != "reset" {
		t.Errorf("the member saw %q", got)
	}
	w.gone(1)
	if !strings.Contains(w.log(), endReset) {
		t.Error(w.log())
	}
	w.follow(streamTo(nil, poolOf("web", server(t, func(c *net.TCPConn) {
		io.WriteString(c, "b")
		c.Read(make([]byte, 1))
		c.SetLinger(0)
	}))))
	client = dialTo(t, w.proxy.Addrs("s")[0].String())
	says(t, client, "b")
	io.WriteString(client, "x")
	if got := ends(client); got != "reset" {
		t.Errorf("the client saw %q", got)
	}
	w.gone(2)
	if !strings.Contains(w.log(), endOrigin) {
		t.Error(w.log())
	}
}

// TestOutcomes: what a connection shows of its member. That it takes connections is no proof
// that it serves; what a client has brought upon itself is no proof against it.
func TestOutcomes(t *testing.T) {
	for name, tt := range map[string]struct {
		serve func(*net.TCPConn)
		visit func(*net.TCPConn)
		want  health.Outcome
	}{
		"answers":                     {func(c *net.TCPConn) { io.WriteString(c, "a"); ends(c) }, func(c *net.TCPConn) { c.Read(make([]byte, 1)) }, health.Answered},
		"hangs up before a word":      {func(c *net.TCPConn) {}, nil, health.Broken},
		"hangs up on what it is told": {func(c *net.TCPConn) { c.Read(make([]byte, 9)) }, func(c *net.TCPConn) { io.WriteString(c, "nonsense"); ends(c) }, health.Doubtful},
		"listens in silence":          {func(c *net.TCPConn) { ends(c) }, func(c *net.TCPConn) { io.WriteString(c, "log line"); c.CloseWrite(); ends(c) }, health.Answered},
		"the client changes its mind": {func(c *net.TCPConn) { ends(c) }, func(c *net.TCPConn) { c.SetLinger(0) }, health.Answered},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := poolOf("web", server(t, tt.serve))
			at := w.follow(streamTo(nil, p))
			if tt.visit == nil {
				visit(t, at)
			} else {
				client := dialTo(t, at)
				eventually(t, func() string { // so that what the client does is not done before
					if p.View().Members[0].Load.Active.Load() == 0 {
						return "it is not carried"
					}
					return ""
				})
				tt.visit(client)
				client.Close()
			}
			w.gone(1)
			got := p.View().Members[0].Load.Gauge.Total()
			if got[tt.want] != 1 {
				t.Errorf("told %v, want one %v", got, tt.want)
			}
			got[tt.want] = 0
			if got != [health.Outcomes]uint32{} {
				t.Errorf("and %v", got)
			}
		})
	}
}

// TestLimits: what is over a limit is reset at once, and counted, and makes room when it ends.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	s := streamTo(nil, poolOf("web", echo(t, "a")))
	s.Limits.Connections = 2
	at := w.follow(s)
	first, second := dialTo(t, at), dialTo(t, at)
	says(t, first, "a")
	says(t, second, "a")
	if got := visit(t, at); got != "reset" {
		t.Errorf("the third: %q", got)
	}
	first.Close()
	eventually(t, func() string {
		conn := dialTo(t, at)
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			return "no room though one has left"
		}
		return ""
	})
	second.Close()
	s.Limits.Connections, s.Limits.PerClient = 100, 1
	s.Listen = w.proxy.Addrs("s")
	w.follow(s)
	w.gone(0)
	one := dialTo(t, at)
	says(t, one, "a")
	if got := visit(t, at); got != "reset" {
		t.Errorf("a second of one client: %q", got)
	}
	other := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}}
	conn, err := other.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(deadline())
	says(t, conn, "a")
	s.Allows = func(a netip.Addr) bool { return a != netip.MustParseAddr("127.0.0.1") }
	w.follow(s)
	if got := visit(t, at); got != "reset" {
		t.Errorf("who is not let in: %q", got)
	}
	if c := w.counters(); c.Refused[RefusedFull].Load() == 0 || c.Refused[RefusedPerClient].Load() != 1 || c.Refused[RefusedClient].Load() != 1 {
		t.Errorf("counted %d, %d, %d", c.Refused[RefusedFull].Load(), c.Refused[RefusedPerClient].Load(), c.Refused[RefusedClient].Load())
	}
}

// TestIdle: what carries nothing either way ends; sooner when one side has ended.
func TestIdle(t *testing.T) {
	w := newWorld(t)
	s := streamTo(nil, poolOf("web", echo(t, "a")))
	s.Limits.Idle, s.Limits.HalfClosed = 30*time.Minute, time.Hour
	at := w.follow(s)
	client := dialTo(t, at)
	says(t, client, "a")
	w.now.Add(int64(20 * time.Minute))
	io.WriteString(client, "b")
	says(t, client, "b")
	eventually(t, func() string { // the copy of both directions is done, and said
		if c := w.counters(); c.Sent.Load() != 2 || c.Received.Load() != 1 {
			return "not carried"
		}
		return ""
	})
	w.now.Add(int64(20 * time.Minute))
	w.proxy.tend()
	io.WriteString(client, "c")
	says(t, client, "c")
	eventually(t, func() string {
		if w.counters().Sent.Load() != 3 {
			return "not carried"
		}
		return ""
	})
	w.now.Add(int64(31 * time.Minute))
	w.proxy.tend()
	if got := ends(client); got != "" {
		t.Errorf("idle: %q", got)
	}
	w.gone(1)
	if !strings.Contains(w.log(), endIdle) {
		t.Error(w.log())
	}
}

// TestHalfClosedIdle: a member that never ends its direction does not hold a connection whose
// client has left in order.
func TestHalfClosedIdle(t *testing.T) {
	w := newWorld(t)
	s := streamTo(nil, poolOf("web", server(t, func(c *net.TCPConn) {
		io.WriteString(c, "a")
		io.Copy(io.Discard, c)
		c.SetDeadline(time.Time{})
		<-t.Context().Done()
	})))
	s.Limits.HalfClosed = time.Minute
	client := dialTo(t, w.follow(s))
	says(t, client, "a")
	client.CloseWrite()
	eventually(t, func() string {
		w.now.Add(int64(2 * time.Minute))
		w.proxy.tend()
		if w.counters().Active.Load() != 0 {
			return "it is carried"
		}
		return ""
	})
}

// TestServerNames: TLS is carried whole to the pool for the name, however the hello comes; who
// asks for no name goes to the pool for the others.
func TestServerNames(t *testing.T) {
	ca := testca.New(t, "ca")
	secured := func(name string) string {
		pair := ca.Issue(name)
		return server(t, func(c *net.TCPConn) {
			conn := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair.TLS}})
			io.WriteString(conn, name)
			conn.Close()
		})
	}
	w := newWorld(t)
	rules := []l4route.Rule{{Names: []string{"a.test"}, Pool: 1}, {Names: []string{"*.b.test"}, Pool: 2}}
	at := w.follow(streamTo(rules, poolOf("others", echo(t, "plain")), poolOf("a", secured("a.test")), poolOf("b", secured("x.b.test"))))
	for _, name := range []string{"a.test", "x.b.test"} {
		for _, piece := range []int{1 << 14, 1} {
			conn := tls.Client(&dripping{dialTo(t, at), piece}, &tls.Config{ServerName: name, RootCAs: ca.Pool()})
			if got, err := io.ReadAll(conn); err != nil || string(got) != name {
				t.Errorf("%s in pieces of %d: %q, %v", name, piece, got, err)
			}
			conn.Close()
		}
	}
	client := dialTo(t, at)
	io.WriteString(client, "GET /")
	says(t, client, "plainGET /")
	client.Close()
	w.gone(5)
	if !strings.Contains(w.log(), `"server_name":"x.b.test","pool":"b"`) {
		t.Error(w.log())
	}
	for sent, why := range map[string]string{"\x16\x03\x01\x00\x04\x02\x00\x00\x00": "malformed"} {
		client := dialTo(t, at)
		io.WriteString(client, sent)
		if got := ends(client); got != "reset" {
			t.Errorf("%s: %q", why, got)
		}
	}
}

// dripping writes in pieces.
type dripping struct {
	net.Conn
	piece int
}

func (d *dripping) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		var wrote int
		wrote, err = d.Conn.Write(b[:min(len(b), d.piece)])
		n, b = n+wrote, b[wrote:]
	}
	return n, err
}

// TestSlowHello: who begins a hello and does not end it is refused in time; who says nothing
// because the server speaks first is carried.
func TestSlowHello(t *testing.T) {
	w := newWorld(t)
	s := streamTo([]l4route.Rule{{Names: []string{"a.test"}, Pool: 0}}, poolOf("others", echo(t, "220 ready")))
	s.Limits.Hello = 50 * time.Millisecond
	at := w.follow(s)
	half := dialTo(t, at)
	io.WriteString(half, "\x16\x03\x01")
	if got := ends(half); got != "reset" {
		t.Errorf("half a hello: %q", got)
	}
	says(t, dialTo(t, at), "220 ready")
	if got := w.counters().Refused[RefusedHello].Load(); got != 1 {
		t.Errorf("%d refused", got)
	}
}

// TestAffinity: a client stays with its member over a reload, and goes elsewhere only when the
// member is not there.
func TestAffinity(t *testing.T) {
	w := newWorld(t)
	spec := pool.Spec{Name: "web", Members: []pool.MemberSpec{{Name: "a", Address: netip.MustParseAddrPort(echo(t, "a"))}, {Name: "b", Address: netip.MustParseAddrPort(echo(t, "b"))}}}
	p := pool.New("web")
	p.Publish(pool.Compile(spec, nil, nil))
	s := streamTo(nil, p)
	s.Pools[0].Affinity = affinity.Spec{Kind: affinity.Key, Key: pool.Key{Of: pool.ClientAddress}, TTL: time.Hour, Most: 10}
	at := w.follow(s)
	first := make([]byte, 1)
	io.ReadFull(dialTo(t, at), first)
	s.Listen = w.proxy.Addrs("s")
	for range 5 {
		w.follow(s)
		says(t, dialTo(t, at), string(first))
	}
}

// TestOnDown: the connections to a member that is down are cut where the stream says so, and
// others are not.
func TestOnDown(t *testing.T) {
	w := newWorld(t)
	p := poolOf("web", echo(t, "a"))
	keep, cut := streamTo(nil, p), streamTo(nil, p)
	cut.Name, cut.OnDown = "cut", true
	w.follow(keep, cut)
	kept, gone := dialTo(t, w.proxy.Addrs("s")[0].String()), dialTo(t, w.proxy.Addrs("cut")[0].String())
	says(t, kept, "a")
	says(t, gone, "a")
	v := p.View()
	p.Publish(v.Supposing(v.Members[0].Target, health.Down))
	w.proxy.Look([]*pool.Pool{p})
	if got := ends(gone); got != "reset" {
		t.Errorf("cut: %q", got)
	}
	io.WriteString(kept, "still")
	says(t, kept, "still")
	if n := w.proxy.Evict(v.Members[0].Load); n != 1 {
		t.Errorf("%d evicted", n)
	}
	if got := ends(kept); got != "reset" {
		t.Errorf("evicted: %q", got)
	}
}

// TestFollow: a reload keeps connections, moves listeners, and one that cannot be bound is a
// problem until it can.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := other.Addr().(*net.TCPAddr).AddrPort()
	s := streamTo(nil, poolOf("web", echo(t, "a")))
	at := w.follow(s)
	client := dialTo(t, at)
	says(t, client, "a")
	next := streamTo(nil, poolOf("web", echo(t, "b")))
	next.Listen = append(w.proxy.Addrs("s"), taken)
	w.follow(next)
	says(t, dialTo(t, at), "b")
	io.WriteString(client, "x")
	says(t, client, "x")
	about := "s " + taken.String()
	if text := w.problems[about]; !strings.Contains(text, "address already in use; another program listens on tcp port") {
		t.Errorf("problem %q", text)
	}
	other.Close()
	w.proxy.tend()
	if text := w.problems[about]; text != "" {
		t.Errorf("problem %q", text)
	}
	says(t, dialTo(t, taken.String()), "b")
	w.proxy.Follow(nil)
	if conn, err := net.DialTimeout("tcp", at, time.Minute); err == nil {
		conn.Close()
		t.Error("a listener that was removed takes connections")
	}
	io.WriteString(client, "y")
	says(t, client, "y")
}

// TestShutdown: what is there ends by itself if it does so in time.
func TestShutdown(t *testing.T) {
	w := newWorld(t)
	client := dialTo(t, w.follow(streamTo(nil, poolOf("web", echo(t, "a")))))
	says(t, client, "a")
	cut := make(chan int)
	go func() { cut <- w.proxy.Shutdown(context.Background()) }()
	eventually(t, func() string {
		conn, err := net.Dial("tcp", client.RemoteAddr().String())
		if err == nil {
			conn.Close()
			return "connections are taken"
		}
		return ""
	})
	io.WriteString(client, "b")
	says(t, client, "b")
	client.CloseWrite()
	if n := <-cut; n != 0 {
		t.Errorf("%d were cut", n)
	}
}

// TestCutWhileArriving: a connection that is ended while it is let in stays ended.
func TestCutWhileArriving(t *testing.T) {
	w := newWorld(t)
	entered, leave := make(chan bool), make(chan bool)
	s := streamTo(nil, poolOf("web", echo(t, "a")))
	s.Admit = func(conn net.Conn, _ netip.Addr) (Arrival, error) {
		entered <- true
		<-leave
		return Arrival{Conn: conn}, nil
	}
	at := w.follow(s)
	seen := make(chan string)
	go func() { seen <- visit(t, at) }()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan int)
	go func() { done <- w.proxy.Shutdown(ctx) }()
	if got := <-seen; got != "reset" {
		t.Errorf("got %q", got)
	}
	close(leave)
	if n := <-done; n != 1 {
		t.Errorf("%d were cut", n)
	}
	eventually(t, func() string {
		if !strings.Contains(w.log(), endStopped) {
			return "line " + w.log()
		}
		return ""
	})
	s.Admit = func(conn net.Conn, _ netip.Addr) (Arrival, error) { return Arrival{}, errors.New("no header") }
	w = newWorld(t)
	if got := visit(t, w.follow(s)); got != "reset" || w.counters().Refused[RefusedArrival].Load() != 1 {
		t.Errorf("without a header: %q", got)
	}
}

// TestWantOfThisMachine: what this machine lacks is not the member's fault, or a node without
// ports would take all members for dead.
func TestWantOfThisMachine(t *testing.T) {
	for err, ours := range map[error]bool{
		syscall.EADDRNOTAVAIL: true, syscall.EMFILE: true, fmt.Errorf("connect: %w", syscall.ENOBUFS): true,
		syscall.ECONNREFUSED: false, syscall.EHOSTUNREACH: false, errors.New("no connection in time"): false,
	} {
		if isOurs(err) != ours {
			t.Errorf("%v: ours %v", err, !ours)
		}
	}
}
