package outbound

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pharos/internal/resolver/seats"
)

// kinds are the ways to carry datagrams that this system has.
var kinds = map[string]func(*seats.Table[*exchange], func() int) datagrams{"usual": newDatagrams, "portable": newPortable}

// carried is a loop's part of carrying datagrams.
type carried struct {
	datagrams
	open *seats.Table[*exchange]
	got  []string // what has come
}

// awaitAll waits until so many messages and errors have come.
func (c *carried) awaitAll(t *testing.T, count int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(c.got) < count; {
		if time.Now().After(end) {
			t.Fatalf("%v has come, want %d", c.got, count)
		}
		c.wait(time.Second)
		for {
			number, msg, err, ok := c.next()
			if !ok {
				break
			}
			c.got = append(c.got, fmt.Sprintf("%d: %s %v", number, msg, err))
		}
	}
}

// begin sends a message in an exchange.
func (c *carried) begin(number uint64, to netip.AddrPort, msg string) error {
	x := &exchange{number: number, isDatagram: true}
	c.open.Put(number, x)
	return c.send(x, to, []byte(msg))
}

// finish closes an exchange, as Driver.end does.
func (c *carried) finish(number uint64) {
	x := c.open.Get(number)
	c.open.Delete(number)
	c.end(x)
}

func eachKind(t *testing.T, test func(t *testing.T, c *carried, peer *net.UDPConn)) {
	for kind, make := range kinds {
		t.Run(kind, func(t *testing.T) {
			peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 76)})
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			open := new(seats.Table[*exchange])
			c := &carried{datagrams: make(open, randomPorts()), open: open}
			test(t, c, peer)
			for _, number := range numbersOf(open) {
				c.finish(number)
			}
			c.close()
			c.wake() // no harm
		})
	}
}

// hear returns a message and where it came from.
func hear(t *testing.T, peer *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	buf := make([]byte, 100)
	peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := peer.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n]), from
}

// Each exchange has its own port, gets what comes there, however much, and nothing any
// more when it is over; its number may then be met no more, nor its message go to
// the exchange that has its socket's number next.
func TestDatagrams(t *testing.T) {
	eachKind(t, func(t *testing.T, c *carried, peer *net.UDPConn) {
		to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
		from := map[string]netip.AddrPort{}
		for i := range 3 {
			if err := c.begin(1<<40+uint64(i), to, fmt.Sprint("query ", i)); err != nil {
				t.Fatal(err)
			}
			query, at := hear(t, peer)
			from[query] = at
		}
		if len(from) != 3 || from["query 0"] == from["query 1"] {
			t.Fatalf("heard %v", from)
		}
		reply := func(query, reply string) { peer.WriteToUDPAddrPort([]byte(reply), from[query]) }
		reply("query 1", "one")
		reply("query 1", "two")
		c.awaitAll(t, 2)
		if want := fmt.Sprint([]string{"1099511627777: one <nil>", "1099511627777: two <nil>"}); fmt.Sprint(c.got) != want {
			t.Errorf("got %v, want %s", c.got, want)
		}
		reply("query 0", "late")
		c.wait(10 * time.Second) // the message is seen
		c.finish(1 << 40)
		if err := c.begin(7, to, "query 7"); err != nil { // on the socket that is free now
			t.Fatal(err)
		}
		_, at := hear(t, peer)
		peer.WriteToUDPAddrPort([]byte("seven"), at)
		c.awaitAll(t, 3)
		if c.got[2] != "7: seven <nil>" {
			t.Errorf("got %q", c.got[2])
		}
	})
}

// A port where nobody listens is an error of the exchange.
func TestDatagramsRefused(t *testing.T) {
	eachKind(t, func(t *testing.T, c *carried, peer *net.UDPConn) {
		to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
		peer.Close()
		if err := c.begin(1, to, "query"); err != nil {
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Error(err)
			}
			return
		}
		c.awaitAll(t, 1)
		if got := c.got[0]; !strings.HasSuffix(got, "connection refused") {
			t.Errorf("got %s, want connection refused", got)
		}
	})
}

// Who waits is woken at once, also by what came before, and else after the time.
func TestDatagramsWake(t *testing.T) {
	eachKind(t, func(t *testing.T, c *carried, _ *net.UDPConn) {
		c.wake()
		c.wait(-1)
		for {
			if _, _, _, ok := c.next(); !ok {
				break
			}
		}
		begin := time.Now()
		c.wait(20 * time.Millisecond)
		if took := time.Since(begin); took < 20*time.Millisecond {
			t.Errorf("waited %v: the bell still rings", took)
		}
		var woken sync.WaitGroup
		woken.Go(func() { c.wait(-1) })
		c.wake()
		woken.Wait()
	})
}

// The whole way over portable sockets.
func TestPortable(t *testing.T) {
	d, _ := internetBy(t, Config{}, newPortable)
	askMany(t, d, 100)
	d.Close()
	if _, questions, sockets := d.Counters(); questions != 0 || sockets != 0 {
		t.Errorf("%d questions and %d sockets are left", questions, sockets)
	}
}
