package origins

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// start returns an origin server that takes connections and hands them over.
func start(t *testing.T) (netip.AddrPort, <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	taken := make(chan net.Conn, 10)
	go func() { // ends with l
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			taken <- conn
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), taken
}

func open(t *testing.T, o *Origin) *Conn {
	t.Helper()
	oc, _, err := o.Open(context.Background(), 0, Need{})
	if err != nil {
		t.Fatal(err)
	}
	return oc
}

// TestKept: the connection used last is the first to be used again, no more than the bound are
// kept, and one on which the server has said something that nobody asked for is not used.
func TestKept(t *testing.T) {
	at, taken := start(t)
	s := New(Limits{PerOrigin: 2, Idle: time.Minute}, nil)
	defer s.Close()
	o := s.Of(at, nil, 0)
	var conns []*Conn
	var far []net.Conn
	for range 3 {
		conns, far = append(conns, open(t, o)), append(far, <-taken)
	}
	for _, oc := range conns {
		o.Keep(oc, 0)
	}
	if got := s.Read()[0]; got.Kept != 2 || got.Opened != 3 {
		t.Errorf("%+v, want 2 kept of 3 opened", got)
	}
	if _, err := far[1].Write([]byte("HTTP/1.1 200 poison\r\n")); err != nil {
		t.Fatal(err)
	}
	awaitReadable(t, conns[1])
	oc, stale := o.Kept(0)
	if oc != conns[0] || stale != 1 {
		t.Errorf("got connection %p after %d dead ones, want %p after 1", oc, stale, conns[0])
	}
	oc.Close()
	if oc, _ := o.Kept(0); oc != nil {
		t.Error("there is still one kept")
	}
}

// awaitReadable waits until something has come on a connection, without taking it.
func awaitReadable(t *testing.T, oc *Conn) {
	t.Helper()
	raw, err := oc.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	oc.SetReadDeadline(time.Now().Add(time.Minute))
	if err := raw.Read(func(uintptr) bool { return !oc.isAlive() }); err != nil {
		t.Fatal(err)
	}
}

// TestTend: what was kept for too long is closed, what a changed identity was used for is
// closed at once, and servers long unused are forgotten.
func TestTend(t *testing.T) {
	at, taken := start(t)
	s := New(Limits{PerOrigin: 2, Idle: time.Minute}, nil)
	defer s.Close()
	changed := false
	plain, secured := s.Of(at, nil, 0), s.Of(at, &Reach{Changed: func() bool { return changed }}, 0)
	if plain == secured {
		t.Fatal("two ways to reach a server share connections")
	}
	for _, o := range []*Origin{plain, secured} {
		o.Keep(open(t, o), 0)
		<-taken
	}
	kept := func() int { return s.Read()[0].Kept }
	if s.Tend(int64(time.Second)); kept() != 2 {
		t.Errorf("%d kept after a second, want 2", kept())
	}
	changed = true
	if s.Tend(int64(time.Second)); kept() != 1 {
		t.Errorf("%d kept after a change of files, want 1", kept())
	}
	if s.Tend(int64(time.Minute + time.Second)); kept() != 0 {
		t.Errorf("%d kept after a minute, want 0", kept())
	}
	if s.Tend(int64(2 * time.Hour)); len(s.Read()) != 0 {
		t.Errorf("%d servers known after two hours, want 0", len(s.Read()))
	}
}
