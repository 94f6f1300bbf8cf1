package l4proxy

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKeepAlive: the kernel looks whether clients are there from the beginning, as they have it from the listener,
// and whether members are when a connection has lasted.
func TestKeepAlive(t *testing.T) {
	w := newWorld(t)
	at := w.follow(streamTo(nil, poolOf("web", echo(t, "a"))))
	client, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	isKept := func(side int) bool {
		w.proxy.mu.Lock()
		defer w.proxy.mu.Unlock()
		for c := range w.proxy.conns {
			c.closing.Lock()
			defer c.closing.Unlock()
			return option(t, c.both[side], unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 1 && option(t, c.both[side], unix.SOL_TCP, unix.TCP_KEEPIDLE) == 15
		}
		t.Fatal("nothing is carried")
		return false
	}
	if !isKept(0) || isKept(1) {
		t.Errorf("at the beginning the client is looked after: %v, the member: %v", isKept(0), isKept(1))
	}
	w.now.Add(int64(keepFrom + time.Second))
	w.proxy.tend()
	if !isKept(0) || !isKept(1) {
		t.Errorf("after %v the client is looked after: %v, the member: %v", keepFrom, isKept(0), isKept(1))
	}
}

// option returns what a socket has an option set to.
func option(t *testing.T, of net.Conn, level, name int) (value int) {
	t.Helper()
	raw, err := of.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if failed := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); failed != nil || err != nil {
		t.Fatalf("option %d of %v: %v, %v", name, of.RemoteAddr(), failed, err)
	}
	return value
}
