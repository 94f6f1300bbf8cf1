// Package httpload is both ends of an HTTP gateway under load: the clients that
// ask and the origin server that answers, on one thread.
//
//	loop.go     the thread: one epoll instance, level-triggered
//	origin.go   the origin server: content that names the request
//	clients.go  connections kept alive, one request under way on each
//	pace.go     requests that come when they are due, not when one is answered
//	latency.go  the distribution of response times
//
// It makes and checks plain HTTP/1.1 without content in requests; it is no client
// for anything else. It measures no server.
//
// While clients run, the thread never sleeps, so that a gateway pays for no wake-up
// of the load (Clients.Sleeping is the exception); otherwise it waits for whoever asks the
// origin server.
//
// Every response is checked: status, Content-Length, and content that has to name
// the very request it answers, so that responses mixed up between connections are
// seen.
//
// Entry points: Start, Loop.Connect, Clients.Run, Clients.Once, Clients.Pace.
//
// Concurrency: everything belongs to the loop's thread; the methods of Loop and
// Clients hand it functions and wait.
package httpload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// headRoom is the room of a connection beside the content, in octets: requests and
// the head of a response have some 300, and what does not fit is an error.
const headRoom = 4096

// side is what a file descriptor of the loop is.
type side uint8

const (
	sideWake side = iota
	sideListener
	sideOrigin
	sideClient
)

// conn is one file descriptor.
type conn struct {
	fd   int
	side side
	buf  []byte
	have int // octets in buf

	// Of the origin server, when the socket's buffer has not held a response.
	out, rest []byte // room, and what of it is to be written

	// Of clients.
	of      *Clients
	request int   // under way, or asked last
	waiting bool  // for a response
	asked   int64 // nanoseconds since the run began
}

// Loop is the thread.
type Loop struct {
	// Constant after Start.
	epoll, wake, listener int
	content               int // octets of a response's content
	dots                  []byte
	origin                netip.AddrPort
	orders                chan func() // never closed
	done                  chan struct{}

	// Owned by the thread.
	conns  []*conn // by file descriptor
	active *Clients
	closed bool
	reply  []byte // of the origin server
}

// Start binds an origin server of responses with so many octets of content, at least ShortContent, to a
// free port of 127.0.0.1 and starts the thread, which Close ends.
func Start(content int) (*Loop, error) {
	if content < ShortContent {
		return nil, fmt.Errorf("%d octets of content do not hold the request's number: want %d", content, ShortContent)
	}
	l := &Loop{epoll: -1, wake: -1, listener: -1, orders: make(chan func()), done: make(chan struct{}), content: content,
		dots: bytes.Repeat([]byte{'.'}, content-numberLen), reply: originReply(content)}
	if err := l.open(); err != nil {
		l.release()
		return nil, err
	}
	go l.run()
	return l, nil
}

// Origin returns the address of the origin server.
func (l *Loop) Origin() netip.AddrPort { return l.origin }

func (l *Loop) open() (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if l.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(l.listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err = unix.Listen(l.listener, 4096); err != nil {
		return os.NewSyscallError("listen", err)
	}
	name, err := unix.Getsockname(l.listener)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	l.origin = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	if err = l.watch(&conn{fd: l.wake, side: sideWake}); err == nil {
		err = l.watch(&conn{fd: l.listener, side: sideListener})
	}
	return err
}

// Close ends the thread and closes every connection.
func (l *Loop) Close() {
	l.order(func() { l.closed = true })
	<-l.done
}

func (l *Loop) release() {
	for _, c := range l.conns {
		if c != nil {
			unix.Close(c.fd)
		}
	}
	for _, fd := range []int{l.epoll, l.wake, l.listener} {
		if fd >= 0 && (fd >= len(l.conns) || l.conns[fd] == nil) {
			unix.Close(fd)
		}
	}
}

// order has the thread call f, and waits until it has.
func (l *Loop) order(f func()) {
	called := make(chan struct{})
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wake, one[:])
	select {
	case l.orders <- func() { f(); close(called) }:
		<-called
	case <-l.done:
	}
}

// run is the thread.
func (l *Loop) run() {
	runtime.LockOSThread()
	defer close(l.done)
	defer l.release()
	events := make([]unix.EpollEvent, 256)
	for !l.closed {
		n := l.wait(events)
		if l.active != nil {
			l.active.tick()
		}
		for _, ev := range events[:n] {
			if c := l.conns[ev.Fd]; c != nil {
				l.serve(c)
			}
		}
	}
}

// wait returns what is ready. While clients run it looks without waiting, and
// without telling the runtime, unless they are to leave the processor to others.
func (l *Loop) wait(events []unix.EpollEvent) int {
	if l.active != nil && l.active.sleeps {
		return l.sleep(events, l.active.untilDue())
	}
	if l.active == nil {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil {
			return 0 // EINTR
		}
		return n
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// sleep returns what is ready, or nothing after d.
func (l *Loop) sleep(events []unix.EpollEvent, d time.Duration) int {
	span := unix.NsecToTimespec(int64(d))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&span)), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (l *Loop) serve(c *conn) {
	switch c.side {
	case sideWake:
		var count [8]byte
		_, _ = unix.Read(l.wake, count[:])
		f := <-l.orders // whoever woke us is about to give it
		f()
	case sideListener:
		l.accept()
	case sideOrigin:
		if c.rest != nil {
			l.resume(c)
		} else if !l.fill(c) || !l.answer(c) {
			l.drop(c)
		}
	case sideClient:
		open := l.fill(c)
		c.of.arrived(c, open)
	}
}

func (l *Loop) accept() {
	for {
		fd, _, err := unix.Accept4(l.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		noDelay(fd)
		c := &conn{fd: fd, side: sideOrigin, buf: make([]byte, headRoom)}
		if l.watch(c) != nil {
			unix.Close(fd)
		}
	}
}

// noDelay turns off Nagle's algorithm, which would hold back what follows.
func noDelay(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

func (l *Loop) watch(c *conn) error {
	for len(l.conns) <= c.fd {
		l.conns = append(l.conns, make([]*conn, 256)...)
	}
	l.conns[c.fd] = c
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, c.fd, &ev))
}

// rewatch has c looked at for other events.
func (l *Loop) rewatch(c *conn, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(c.fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &ev))
}

func (l *Loop) drop(c *conn) {
	if l.conns[c.fd] == c {
		l.conns[c.fd] = nil
		unix.Close(c.fd)
	}
}

// fill reads once and reports whether the connection is still open.
func (l *Loop) fill(c *conn) bool {
	room := c.buf[c.have:]
	if len(room) == 0 {
		return false
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)))
	if errno != 0 {
		return errno == unix.EAGAIN || errno == unix.EINTR
	}
	c.have += int(n)
	return n > 0
}

// write writes as much of b as the socket's buffer holds.
func (c *conn) write(b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN:
		return 0, nil
	}
	return 0, os.NewSyscallError("write", errno)
}

// consume takes n octets away from the front.
func (c *conn) consume(n int) {
	copy(c.buf, c.buf[n:c.have])
	c.have -= n
}

// connectTimeout is for one connection on loopback to a busy server.
const connectTimeout = 5 * time.Second

// dial opens a connection to a server on loopback. It blocks the thread, which has
// nothing else to do then but to answer health probes.
func dial(to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	timeout := unix.NsecToTimeval(connectTimeout.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	noDelay(fd)
	return fd, os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}
