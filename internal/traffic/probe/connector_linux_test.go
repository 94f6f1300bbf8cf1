package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pharos/internal/traffic/health"
)

// listening returns the port of a socket that accepts on all of 127.0.0.0/8 until the
// test ends, or stop is called.
func listening(t testing.TB) (port uint16, stop func()) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return uint16(l.Addr().(*net.TCPAddr).Port), func() { l.Close() }
}

// newTCP returns targets at addresses of the loopback.
func newTCP(n int, port uint16, params health.Params) []health.Target {
	targets := make([]health.Target, n)
	for i := range targets {
		addr := netip.AddrFrom4([4]byte{127, 1 + byte(i>>16), byte(i >> 8), byte(i)})
		targets[i] = health.Target{Address: netip.AddrPortFrom(addr, port), Check: health.Check{Kind: health.TCP, Params: params.Once()}}
	}
	return targets
}

// awaitStates waits until all targets are in a state.
func awaitStates(t *testing.T, p *Prober, want health.State) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		others := 0
		var last Known
		for _, k := range p.Snapshot() {
			if k.Status.State != want {
				others, last = others+1, k
			}
		}
		if others == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d targets are not %v, such as %+v", others, want, last)
		case <-tick.C:
		}
	}
}

// Real targets, more than a crowd: all are found up, and down when they refuse. No
// socket is left when the Prober has ended.
func TestConnector(t *testing.T) {
	port, stop := listening(t)
	before := openFiles(t)
	p := New(Config{})
	p.Set(newTCP(crowd+200, port, health.Params{Interval: 3 * time.Second, Timeout: 3 * time.Second}))
	awaitStates(t, p, health.Up)
	if c := p.Counters(); c.Failures != 0 || c.Probes < crowd+200 {
		t.Errorf("counters %+v", c)
	}
	stop()
	awaitStates(t, p, health.Down)
	for _, k := range p.Snapshot() {
		if k.Status.LastCause != "connection refused" {
			t.Fatalf("%+v", k)
		}
	}
	p.Close()
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, %d before", after, before)
	}
}

func openFiles(t *testing.T) int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(names)
}

// stuck returns the address of a listener whose queue is full, so that connections to it
// neither succeed nor fail, and a function that empties the queue.
func stuck(t *testing.T) (address netip.AddrPort, free func()) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	waits := false
	for range 4 { // those that fit
		c, err := net.DialTimeout("tcp", address.String(), 200*time.Millisecond)
		if err != nil {
			waits = true
			break
		}
		t.Cleanup(func() { c.Close() })
	}
	if !waits {
		t.Skip("the queue of a listener cannot be filled here")
	}
	return address, func() {
		go func() { // ends when fd is closed
			for {
				c, _, err := unix.Accept(fd)
				if err != nil {
					return
				}
				unix.Close(c)
			}
		}()
		t.Cleanup(func() { unix.Shutdown(fd, unix.SHUT_RDWR) })
	}
}

// What is silent times out, and is found again when it speaks: by the retransmission of
// a connection that is waited for.
func TestConnectorWaits(t *testing.T) {
	address, free := stuck(t)
	p := New(Config{})
	defer p.Close()
	target := health.Target{Address: address, Check: health.Check{Kind: health.TCP, Params: health.Params{Interval: 50 * time.Millisecond, Timeout: 50 * time.Millisecond}.Once()}}
	p.Set([]health.Target{target})
	awaitStates(t, p, health.Down)
	if s := p.Status(target); s.LastCause != "timeout after 50ms connecting" {
		t.Errorf("status %+v", s)
	}
	slow := target
	slow.Check.Params = health.Params{Interval: 15 * time.Second, Timeout: 15 * time.Second}.Once()
	p.Set([]health.Target{slow}) // its state stays
	free()
	p.Set([]health.Target{target})
	awaitStates(t, p, health.Up)
}

// A connection that takes its time is told of by done, and one that is abandoned is not.
func TestConnectorPending(t *testing.T) {
	address, free := stuck(t)
	told := make(chan string, 1)
	c := newConnector(func(target *target, errno syscall.Errno) { told <- fmt.Sprint(target.address, " ", int(errno)) })
	ended := make(chan struct{}) // closed when poll has ended
	go func() { c.poll(); close(ended) }()
	left := newTarget(health.Target{Address: address, Check: tcpCheck})
	if errno := c.start(left); errno != errPending {
		t.Fatalf("start: %v, want it to wait", errno)
	}
	if !c.abandon(left) || c.abandon(left) {
		t.Error("abandon does not know what waits")
	}
	waits := newTarget(health.Target{Address: address, Check: tcpCheck})
	if errno := c.start(waits); errno != errPending {
		t.Fatalf("start: %v, want it to wait", errno)
	}
	free()
	select {
	case got := <-told:
		if !strings.HasSuffix(got, " 0") {
			t.Errorf("told %s", got)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was told")
	}
	c.close()
	<-ended
	if errno := c.start(newTarget(health.Target{Address: address, Check: tcpCheck})); errno == errPending {
		t.Error("a closed connector waits for somebody")
	}
}

// Sockets are used again, also after addresses of the other family.
func TestConnectorReuses(t *testing.T) {
	port, stop := listening(t)
	c := newConnector(func(*target, syscall.Errno) {})
	defer c.close()
	for i, target := range newTCP(200, port, health.Params{}) {
		if errno := c.start(newTarget(target)); errno != 0 {
			t.Fatalf("connection %d: %v", i, errno)
		}
	}
	if got := len(c.idle[0]); got != 1 {
		t.Errorf("%d sockets for 200 connections, one after the other", got)
	}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		defer l.Close()
		six := newTarget(health.Target{Address: netip.MustParseAddrPort(l.Addr().String()), Check: tcpCheck})
		for range 3 {
			if errno := c.start(six); errno != 0 {
				t.Errorf("over IPv6: %v", errno)
			}
		}
	}
	stop()
	if errno := c.start(newTarget(newTCP(1, port, health.Params{})[0])); errno != syscall.ECONNREFUSED {
		t.Errorf("nobody there: %v", errno)
	}
}

// A clock that is put back, or forward, neither stops probes nor repeats them.
func TestClockJumps(t *testing.T) {
	port, _ := listening(t)
	p := newStopped(Config{})
	p.connector = newConnector(p.waited)
	defer p.connector.close()
	now := time.Now()
	target := newTarget(newTCP(1, port, health.Params{Interval: 10 * time.Second})[0])
	p.targets[target.key] = target
	m := health.New(target.key.Check, now)
	target.state = m.Rest(nil)
	p.plan(target, now)
	due := func(now time.Time) int {
		quick, _ := p.collect(now)
		n := len(quick)
		for range quick {
			p.inFlight--
			target.asked = false
			p.observe(target, now, health.Result{OK: true, At: now})
			p.plan(target, now)
		}
		return n
	}
	if got := due(now); got != 1 {
		t.Fatalf("%d probes at first", got)
	}
	now = now.Add(3 * time.Second)
	if got := due(now); got != 0 {
		t.Fatalf("%d probes before they are due", got)
	}
	now = now.Add(-time.Hour)
	due(now)
	probes := 0
	for range 20 {
		now = now.Add(time.Second)
		probes += due(now)
	}
	if probes != 2 {
		t.Errorf("%d probes in the 20 s after the clock was put back by an hour, want 2", probes)
	}
	now = now.Add(1000 * time.Hour)
	if got := due(now) + due(now.Add(time.Second)); got != 1 {
		t.Errorf("%d probes after the clock was put forward, want 1", got)
	}
}

// What one probe of a real target costs, with all that is around it.
func BenchmarkConnector(b *testing.B) {
	port, _ := listening(b)
	c := newConnector(func(*target, syscall.Errno) {})
	defer c.close()
	t := newTarget(newTCP(1, port, health.Params{})[0])
	for range b.N {
		if errno := c.start(t); errno != 0 && errno != errPending {
			b.Fatal(errno)
		}
	}
}
