package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/resolver/seats"
)

// keeper returns a loop's part of epoll whose queries leave from ports that the system
// chooses, and a server.
func keeper(t *testing.T) (*epoll, *carried, *net.UDPConn) {
	t.Helper()
	own := systemPorts()
	if own == (portRange{}) {
		t.Skip("the system does not say which ports it chooses, or they are privileged ones")
	}
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 77)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	open := new(seats.Table[*exchange])
	n, err := newEpoll(open, func() int { return own.first })
	if err != nil {
		t.Fatal(err)
	}
	c := &carried{datagrams: n, open: open}
	t.Cleanup(func() {
		for _, number := range numbersOf(open) {
			c.finish(number)
		}
		c.close()
	})
	return n, c, peer
}

// RFC 5452 §9.2: a socket that is used again leaves from another port, and the port
// before is gone: what comes there reaches nobody.
func TestKeptSockets(t *testing.T) {
	n, c, peer := keeper(t)
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	seen, before := map[uint16]int{}, netip.AddrPort{}
	for i := range 50 {
		number := uint64(i + 1)
		if err := c.begin(number, to, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		_, from := hear(t, peer)
		if seen[from.Port()]++; !n.own.has(int(from.Port())) {
			t.Errorf("port %d, want one of the system's", from.Port())
		}
		if before.IsValid() && before != from {
			peer.WriteToUDPAddrPort([]byte("late"), before)
		}
		peer.WriteToUDPAddrPort([]byte("reply"), from)
		c.got = nil
		c.awaitAll(t, 1)
		if want := fmt.Sprintf("[%d: reply <nil>]", number); fmt.Sprint(c.got) != want {
			t.Fatalf("got %v, want %s", c.got, want)
		}
		c.finish(number)
		before = from
	}
	if len(n.kept) != 1 || len(seen) < 45 { // two of 50 out of 28,232 are the same now and then
		t.Errorf("got %d sockets and %d ports for 50 queries, want 1 and some 50", len(n.kept), len(seen))
	}
}

// A socket that has brought no reply is not used again: an error may be in it.
func TestKeptSocketWithError(t *testing.T) {
	n, c, peer := keeper(t)
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	closed := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.79"), 9)
	if err := c.begin(1, closed, "query"); err != nil {
		t.Fatal(err)
	}
	c.finish(1)
	if err := c.begin(2, to, "query"); err != nil {
		t.Fatal(err)
	}
	_, from := hear(t, peer)
	peer.WriteToUDPAddrPort([]byte("reply"), from)
	c.awaitAll(t, 1)
	if want := "[2: reply <nil>]"; fmt.Sprint(c.got) != want {
		t.Errorf("got %v, want %s", c.got, want)
	}
	if len(n.spare[0]) != 0 {
		t.Error("a socket is kept that is in use, or had an error")
	}
}

// What is in a socket from before it was connected to the server is not from the server.
func TestKeptSocketHearsItsServerOnly(t *testing.T) {
	n, c, peer := keeper(t)
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 78)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := c.begin(1, other.LocalAddr().(*net.UDPAddr).AddrPort(), "query"); err != nil {
		t.Fatal(err)
	}
	_, from := hear(t, other)
	other.WriteToUDPAddrPort([]byte("reply"), from)
	other.WriteToUDPAddrPort([]byte("left behind"), from)
	n.wait(10 * time.Second)
	if _, msg, err, ok := n.next(); !ok || err != nil || string(msg) != "reply" {
		t.Fatalf("got %q %v, want the reply", msg, err)
	}
	c.finish(1) // with a second datagram in the socket
	if err := c.begin(2, to, "query"); err != nil {
		t.Fatal(err)
	}
	_, from = hear(t, peer)
	n.wait(10 * time.Second)
	if _, msg, err, ok := n.next(); ok {
		t.Errorf("got %q %v, which another server has sent", msg, err)
	}
	peer.WriteToUDPAddrPort([]byte("reply"), from)
	c.awaitAll(t, 1)
	if want := "[2: reply <nil>]"; fmt.Sprint(c.got) != want {
		t.Errorf("got %v, want %s", c.got, want)
	}
}

// The ports of queries are as likely inside the system's range as outside of it.
func TestPortsStayEvenlySpread(t *testing.T) {
	n, c, peer := keeper(t)
	n.port = randomPorts()
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	const count = 2000
	var parts [4]int
	for i := range count {
		number := uint64(i + 1)
		if err := c.begin(number, to, "q"); err != nil {
			t.Fatal(err)
		}
		_, from := hear(t, peer)
		parts[(int(from.Port())-firstPort)*len(parts)/ports]++
		peer.WriteToUDPAddrPort([]byte("r"), from)
		c.got = nil
		c.awaitAll(t, 1)
		c.finish(number)
	}
	for i, got := range parts { // 500 each; six standard deviations are 116
		if want := count / len(parts); got < want-116 || got > want+116 {
			t.Errorf("part %d of the ports: got %d queries, want some %d", i, got, want)
		}
	}
}

func TestParsePortRange(t *testing.T) {
	for text, want := range map[string]portRange{
		"32768\t60999\n": {32768, 60999}, "1024 65535": {1024, 65535},
		"1 65535": {}, "": {}, "x": {}, "1024": {}, "1024 70000": {},
	} {
		if got := parsePortRange(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	if (portRange{}).has(0) || !(portRange{5, 6}).has(6) || (portRange{5, 6}).has(7) {
		t.Error("a range does not have both its ends and what is between")
	}
}
