package l4proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/holding"
	"pharos/internal/traffic/pool"
)

// waitingRoom is a room for connections to a pool that scales, and who was woken.
func waitingRoom(spec holding.Spec) (*holding.Room, chan struct{}) {
	woken := make(chan struct{}, 1024)
	spec.Wake = func() { woken <- struct{}{} }
	return (*holding.Room)(nil).Under(spec), woken
}

// TestHeld: a connection waits for the first member, with what it has said, within bounds of
// number and time; who gives up leaves room.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	p := poolOf("web", echo(t, "a"))
	full := p.View().Whole()
	empty := func() { p.Publish(pool.Compile(pool.Spec{Name: "web"}, nil, p.View())) }
	empty()
	room, woken := waitingRoom(holding.Spec{Requests: 1, Octets: 1 << 20, Time: time.Hour})
	s := streamTo(nil, p)
	s.Pools[0].Room = room
	at := w.follow(s)
	first := dialTo(t, at)
	io.WriteString(first, "hello")
	<-woken
	if why := visit(t, at); why != "reset" {
		t.Errorf("one too many: %q", why)
	}
	p.Publish(pool.Compile(full, nil, p.View()))
	says(t, first, "ahello")
	first.Close()
	w.gone(2)

	empty()
	second := dialTo(t, at)
	<-woken
	second.Close() // it has said nothing
	eventually(t, func() string { return atMost(room, 0) })
	w.gone(3)

	room, _ = waitingRoom(holding.Spec{Requests: 1, Octets: 1 << 20, Time: 10 * time.Millisecond})
	s = streamTo(nil, p)
	s.Pools[0].Room, s.Listen = room, w.proxy.Addrs("s")
	w.follow(s)
	if why := visit(t, at); why != "reset" {
		t.Errorf("in vain: %q", why)
	}
	w.gone(4)
	if c := room.Read("web"); c.Held != 1 || c.TimedOut != 1 || c.Octets != 0 {
		t.Errorf("counted %+v", c)
	}
	for _, want := range []string{`"waited_seconds":0.`, "too many wait for one", `"end":"` + endClient, "no member of the pool came up within 10ms"} {
		if !strings.Contains(w.log(), want) {
			t.Errorf("no line has %s:\n%s", want, w.log())
		}
	}
}

func atMost(room *holding.Room, n int) string {
	if waiting := room.Waiting(); waiting > n {
		return fmt.Sprint(waiting, " wait")
	}
	return ""
}

// TestHeldUntilShutdown: nobody waits for a member while the node stops.
func TestHeldUntilShutdown(t *testing.T) {
	w := newWorld(t)
	p := poolOf("web")
	room, woken := waitingRoom(holding.Spec{Requests: 9, Octets: 1 << 20, Time: time.Hour})
	s := streamTo(nil, p)
	s.Pools[0].Room = room
	conn := dialTo(t, w.follow(s))
	<-woken
	if cut := w.proxy.Shutdown(context.Background()); cut != 0 {
		t.Errorf("%d were cut", cut)
	}
	if why := ends(conn); why != "reset" {
		t.Errorf("the client saw %q", why)
	}
}

// TestDatagramHeld: the first datagram of a client waits for the first member and is sent to it
// once; those that come meanwhile are lost.
func TestDatagramHeld(t *testing.T) {
	w := newWorld(t)
	member, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { member.Close() })
	p := poolOf("dns", member.LocalAddr().String())
	full := p.View().Whole()
	p.Publish(pool.Compile(pool.Spec{Name: "dns"}, nil, p.View()))
	room, woken := waitingRoom(holding.Spec{Requests: 9, Octets: 1 << 20, Time: time.Hour})
	s := streamTo(nil, p)
	s.UDP = true
	s.Pools[0].Room = room
	client, err := net.Dial("udp", w.follow(s))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(deadline())
	io.WriteString(client, "one")
	<-woken
	io.WriteString(client, "two")
	eventually(t, func() string {
		if n := w.counters().Dropped.Load(); n != 1 {
			return fmt.Sprint(n, " are dropped")
		}
		return ""
	})
	p.Publish(pool.Compile(full, nil, p.View()))
	member.SetDeadline(deadline())
	b := make([]byte, 100)
	n, from, err := member.ReadFrom(b)
	if err != nil || string(b[:n]) != "one" {
		t.Fatalf("the member got %q, %v", b[:n], err)
	}
	member.WriteTo([]byte("answer"), from)
	says(t, client, "answer")
	io.WriteString(client, "three")
	if n, _, err = member.ReadFrom(b); err != nil || string(b[:n]) != "three" {
		t.Errorf("then the member got %q, %v", b[:n], err)
	}
}
