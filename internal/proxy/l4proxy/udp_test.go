package l4proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// udpStream is streamTo for datagrams.
func udpStream(pools ...*pool.Pool) Stream {
	s := streamTo(nil, pools...)
	s.UDP = true
	return s
}

// answerer is a server of datagrams, which answers each with its name and what it was sent.
func answerer(t testing.TB, name string) string {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() { // ends when c is closed
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.WriteTo(append([]byte(name), b[:n]...), from)
			}
		}
	}()
	return c.LocalAddr().String()
}

// udpNobody returns an address at which no datagram is taken.
func udpNobody(t *testing.T) string {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// udpClient is a socket that talks to an address.
func udpClient(t testing.TB, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	c, err := d.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(deadline())
	return c
}

// asks sends a datagram and returns the answer.
func asks(t testing.TB, c net.Conn, text string) string {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func (w *world) sessions() int {
	w.proxy.mu.Lock()
	s := w.proxy.streams["s"].udp
	w.proxy.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// TestDatagrams: the datagrams of one client are one session, with one member; large ones pass
// whole; and a session ends when nothing comes any more.
func TestDatagrams(t *testing.T) {
	w := newWorld(t)
	p := poolOf("dns", answerer(t, "a"))
	at := w.follow(udpStream(p))
	one, two := udpClient(t, "127.0.0.1:0", at), udpClient(t, "127.0.0.1:0", at)
	large := strings.Repeat("x", 60_000)
	for _, text := range []string{"hello", "", large} {
		if got := asks(t, one, text); got != "a"+text {
			t.Errorf("got %d octets for %d", len(got), len(text))
		}
	}
	if got := asks(t, two, "hello"); got != "ahello" || w.sessions() != 2 {
		t.Errorf("got %q, %d sessions", got, w.sessions())
	}
	load := p.View().Members[0].Load
	if load.Active.Load() != 2 || load.Gauge.Total()[health.Answered] != 2 {
		t.Errorf("in flight %d, told %v", load.Active.Load(), load.Gauge.Total())
	}
	w.now.Add(int64(2 * time.Hour))
	w.proxy.tend()
	w.gone(2)
	if load.Active.Load() != 0 || w.sessions() != 0 || !strings.Contains(w.log(), `"protocol":"udp"`) {
		t.Errorf("in flight %d, %d sessions, lines %s", load.Active.Load(), w.sessions(), w.log())
	}
}

// TestReplies: a session of which so many replies are awaited is over with them.
func TestReplies(t *testing.T) {
	w := newWorld(t)
	s := udpStream(poolOf("dns", answerer(t, "a")))
	s.Replies = 1
	client := udpClient(t, "127.0.0.1:0", w.follow(s))
	for range 3 {
		asks(t, client, "?")
		if n := w.sessions(); n != 0 {
			t.Errorf("%d sessions when the answer has come", n)
		}
	}
	w.gone(3)
	if got := strings.Count(w.log(), `"end":"answered"`); got != 3 {
		t.Errorf("%d answered: %s", got, w.log())
	}
}

// TestReplyBesideQuestion: a reply that comes between the receipt of the next question and its
// sending does not end the session: the reply to that would be lost.
func TestReplyBesideQuestion(t *testing.T) {
	w := newWorld(t)
	member, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	member.SetDeadline(deadline())
	s := udpStream(poolOf("dns", member.LocalAddr().String()))
	s.Replies = 1
	client := udpClient(t, "127.0.0.1:0", w.follow(s))
	b := make([]byte, 100)
	answer := func() {
		t.Helper()
		n, from, err := member.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		member.WriteTo(b[:n], from)
		if n, err = client.Read(b); err != nil || n != 1 {
			t.Fatalf("%d octets, %v", n, err)
		}
	}
	client.Write([]byte("1"))
	for w.sessions() == 0 {
		runtime.Gosched()
	}
	w.proxy.mu.Lock()
	sessions := w.proxy.streams["s"].udp
	w.proxy.mu.Unlock()
	var key sessionKey
	sessions.mu.Lock()
	for key = range sessions.all {
		break
	}
	sessions.mu.Unlock()
	found := sessions.find(key, 0) // of the next question
	answer()
	room := new(datagram)
	room[headerRoom] = '2'
	if w.sessions() != 1 || !found.pass(room, 1, 0) {
		t.Fatal("the session is over with a question on its way")
	}
	answer()
	if n := w.sessions(); n != 0 {
		t.Errorf("%d sessions when all is answered", n)
	}
	w.gone(1)
}

// TestUnreachable: RFC 1122 §4.1.3.3: what ICMP says of a member is heard. The first datagram of
// the client goes to another one.
func TestUnreachable(t *testing.T) {
	w := newWorld(t)
	p := poolOf("dns", udpNobody(t), answerer(t, "b"))
	at := w.follow(udpStream(p))
	client := udpClient(t, "127.0.0.1:0", at)
	if got := asks(t, client, "hello"); got != "bhello" {
		t.Errorf("got %q", got)
	}
	if got := p.View().Members[0].Load; got.Gauge.Total()[health.Unreached] != 1 || got.Active.Load() != 0 {
		t.Errorf("told %v, in flight %d", got.Gauge.Total(), got.Active.Load())
	}
	if c := w.counters(); c.Retries.Load() != 1 || c.Unreached.Load() != 1 {
		t.Errorf("retried %d, unreached %d", c.Retries.Load(), c.Unreached.Load())
	}
}

// TestLate: a member that owes an answer and gives none is told of.
func TestLate(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w := newWorld(t)
	p := poolOf("dns", silent.LocalAddr().String())
	s := udpStream(p)
	s.Replies = 1
	client := udpClient(t, "127.0.0.1:0", w.follow(s))
	client.Write([]byte("?"))
	eventually(t, func() string {
		if w.sessions() == 0 {
			return "no session"
		}
		return ""
	})
	w.now.Add(int64(2 * time.Hour))
	w.proxy.tend()
	w.gone(1)
	if got := p.View().Members[0].Load.Gauge.Total(); got[health.Late] != 1 {
		t.Errorf("told %v", got)
	}
}

// TestFlood: forged addresses cannot put out who has talked: the table is bounded, what has never
// sent anything after an answer gives way first, and a network has its share.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	s := udpStream(poolOf("dns", answerer(t, "a")))
	s.Limits.Connections = 4
	at := w.follow(s)
	proven := udpClient(t, "127.0.0.1:0", at)
	asks(t, proven, "one")
	asks(t, proven, "two")
	for range 20 {
		asks(t, udpClient(t, "127.0.0.1:0", at), "flood")
	}
	if n := w.sessions(); n > 4 {
		t.Errorf("%d sessions", n)
	}
	asks(t, proven, "three")
	if c := w.counters(); c.Taken.Load() != 21 || c.Displaced.Load() != 17 {
		t.Errorf("%d sessions began, %d gave way", c.Taken.Load(), c.Displaced.Load())
	}
	s.Limits.Connections, s.Limits.PerClient = 100, 2
	s.Name = "other"
	w.proxy.Follow([]Stream{s})
	at = w.proxy.Addrs("other")[0].String()
	asks(t, udpClient(t, "127.0.0.1:0", at), "1")
	asks(t, udpClient(t, "127.0.0.77:0", at), "2")
	udpClient(t, "127.0.0.1:0", at).Write([]byte("3"))
	eventually(t, func() string {
		if w.counters().Refused[RefusedPerClient].Load() != 1 {
			return "a network has more than its share"
		}
		return ""
	})
	if got := asks(t, udpClient(t, "127.0.1.1:0", at), "4"); got != "a4" {
		t.Errorf("another network: %q", got)
	}
}

// TestSourceAddress: a reply comes from where the datagram went, though the listener is at all
// addresses: else no client would take it.
func TestSourceAddress(t *testing.T) {
	w := newWorld(t)
	s := udpStream(poolOf("dns", answerer(t, "a")))
	s.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}
	_, port, _ := net.SplitHostPort(w.follow(s))
	if got := asks(t, udpClient(t, "127.0.0.5:0", "127.0.0.6:"+port), "hello"); got != "ahello" {
		t.Errorf("got %q", got)
	}
}

// TestHeaderOfDatagrams: each datagram of a client goes on with the header that names it.
func TestHeaderOfDatagrams(t *testing.T) {
	w := newWorld(t)
	s := udpStream(poolOf("dns", answerer(t, "")))
	s.Pools[0].Header = func(client, _ netip.AddrPort) []byte { return []byte(fmt.Sprintf("<%s>", client.Addr())) }
	client := udpClient(t, "127.0.0.9:0", w.follow(s))
	for _, text := range []string{"one", "two"} {
		if got := asks(t, client, text); got != "<127.0.0.9>"+text {
			t.Errorf("got %q", got)
		}
	}
}

// TestNoAllocs: a datagram of a client that is known costs nothing.
func TestNoAllocs(t *testing.T) {
	w := newWorld(t)
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	w.follow(udpStream(poolOf("dns", sink.LocalAddr().String())))
	w.proxy.mu.Lock()
	r, d := w.proxy.streams["s"], (*door)(nil)
	for _, one := range w.proxy.doors {
		d = one
	}
	w.proxy.mu.Unlock()
	room := new(datagram)
	key := sessionKey{d, netip.MustParseAddrPort("127.0.0.1:9")}
	r.udp.take(key, room, 100, nil)
	if n := testing.AllocsPerRun(200, func() { r.udp.take(key, room, 100, nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
