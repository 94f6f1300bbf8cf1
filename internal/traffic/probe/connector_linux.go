package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// connector makes the connections of TCP checks. A connection by package net costs a
// goroutine, a registration with its poller and a dozen calls of the system; at 20,000
// probes a second that is a core. Here it is three: connect, look, and disconnect, which
// leaves the socket as new for the next target. What is not there at once, because the
// network takes its time, is waited for by one epoll.
//
//	us                 member
//	SYN  ------------>
//	     <------------  SYN-ACK     there is somebody who listens, and there is room
//	RST  ------------>              in place of the ACK: no connection comes to be
//
// So the member's program is not woken up, has nothing to accept and nothing to log, and
// its queue is not filled while it does not accept; half of what a handshake costs both
// ends is saved.
//
// Concurrency: start and abandon may be called by whoever holds no lock that done takes.
// done is called from poll, which ends with close.
type connector struct {
	// Constant after newConnector.
	file *os.File // an epoll, of sockets that wait; in the poller of the runtime itself
	done func(t *target, errno syscall.Errno)

	// Guarded by mu; it is not held during a call of done.
	mu      sync.Mutex
	idle    [2][]int // sockets to be used again, of IPv4 and IPv6
	pending map[int]*target
	closed  bool
}

// maxIdle is how many sockets of a family are kept: as many as are started in one go,
// mostly. Above it they are closed.
const maxIdle = 64

// newConnector returns a connector, or nil if the system refuses one.
func newConnector(done func(*target, syscall.Errno)) *connector {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil { // makes os.File put it into the runtime's poller
		unix.Close(fd)
		return nil
	}
	return &connector{file: os.NewFile(uintptr(fd), "epoll of probes"), done: done, pending: make(map[int]*target)}
}

// takes reports whether a connection to that address can be made here.
func (c *connector) takes(a netip.AddrPort) bool { return c != nil && a.Addr().Zone() == "" }

// errPending is no outcome yet: done will tell.
const errPending = syscall.EINPROGRESS

// start begins a connection to t. It returns 0 if there is one, and has already ended
// it; errPending if it takes time; and otherwise why there is none.
func (c *connector) start(t *target) syscall.Errno {
	a := t.key.ProbeAddress()
	family := 0
	if a.Addr().Is6() {
		family = 1
	}
	fd, errno := c.socket(family)
	if errno != 0 {
		return errno
	}
	errno = connectTo(fd, a)
	if errno == syscall.EINPROGRESS {
		// On this machine and next door the handshake is mostly over by now, and asking
		// again costs a fraction of waiting to be told.
		errno = connectTo(fd, a)
	}
	switch errno {
	case 0, syscall.EISCONN:
		c.release(fd, family)
		return 0
	case syscall.EALREADY, syscall.EINPROGRESS:
		return c.wait(fd, t)
	}
	unix.Close(fd)
	return errno
}

// socket returns a socket that is not connected.
func (c *connector) socket(family int) (int, syscall.Errno) {
	c.mu.Lock()
	if idle := c.idle[family]; len(idle) > 0 {
		fd := idle[len(idle)-1]
		c.idle[family] = idle[:len(idle)-1]
		c.mu.Unlock()
		return fd, 0
	}
	c.mu.Unlock()
	fd, err := unix.Socket([]int{unix.AF_INET, unix.AF_INET6}[family], unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, errnoOf(err)
	}
	// A socket that has this option, which is meant for those that listen, holds the last segment of the
	// handshake back until it has octets for it or a delayed acknowledgement is due, 200 ms later: so far
	// Linux has always looked at it in SYN-SENT. By then the reset has taken its place. A kernel that
	// refuses it makes the whole handshake, which is no less of a probe.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1)
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // close resets, too
	return fd, 0
}

// release resets the connection of a socket and keeps the socket.
func (c *connector) release(fd, family int) {
	// connect(2): AF_UNSPEC dissolves the association; an established connection is reset.
	nowhere := unix.RawSockaddrInet6{Family: unix.AF_UNSPEC}
	kept := rawConnect(fd, unsafe.Pointer(&nowhere), unsafe.Sizeof(nowhere)) == 0
	c.mu.Lock()
	defer c.mu.Unlock()
	if !kept || c.closed || len(c.idle[family]) == maxIdle {
		unix.Close(fd)
		return
	}
	c.idle[family] = append(c.idle[family], fd)
}

// wait has poll wait for a socket.
func (c *connector) wait(fd int, t *target) syscall.Errno {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		unix.Close(fd)
		return syscall.ECANCELED
	}
	event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(fd)}
	if err := c.control(func(epoll int) error { return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event) }); err != nil {
		unix.Close(fd)
		return errnoOf(err)
	}
	c.pending[fd] = t
	t.socket = fd
	return errPending
}

func (c *connector) control(f func(epoll int) error) error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		return err
	}
	return result
}

// abandon ends the wait for t, and reports whether there was one: if not, done has been
// or will be called.
func (c *connector) abandon(t *target) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[t.socket] != t {
		return false
	}
	delete(c.pending, t.socket)
	unix.Close(t.socket) // which takes it out of the epoll
	return true
}

// poll calls done for what has been waited for, until close.
func (c *connector) poll() {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	events := make([]unix.EpollEvent, 128)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			var err error
			if n, err = unix.EpollWait(int(fd), events, 0); errors.Is(err, unix.EINTR) {
				n = 0
			}
			return n != 0
		})
		if err != nil || n < 0 {
			return // closed
		}
		for _, e := range events[:n] {
			if t, errno := c.finish(int(e.Fd)); t != nil {
				c.done(t, errno)
			}
		}
	}
}

// finish takes what a socket has come to; nil if nobody waits for it any more.
func (c *connector) finish(fd int) (*target, syscall.Errno) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.pending[fd]
	if t == nil {
		return nil, 0
	}
	delete(c.pending, fd)
	number, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	unix.Close(fd)
	if err != nil {
		return t, errnoOf(err)
	}
	return t, syscall.Errno(number)
}

// close ends all connections and poll.
func (c *connector) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for fd := range c.pending {
		unix.Close(fd)
	}
	clear(c.pending)
	for family, sockets := range c.idle {
		for _, fd := range sockets {
			unix.Close(fd)
		}
		c.idle[family] = nil
	}
	c.file.Close()
}

// connectTo calls connect(2), which does not block.
func connectTo(fd int, a netip.AddrPort) syscall.Errno {
	if a.Addr().Is4() {
		to := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&to.Port))[:], a.Port())
		return rawConnect(fd, unsafe.Pointer(&to), unsafe.Sizeof(to))
	}
	to := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&to.Port))[:], a.Port())
	return rawConnect(fd, unsafe.Pointer(&to), unsafe.Sizeof(to))
}

func rawConnect(fd int, to unsafe.Pointer, size uintptr) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(to), size)
	return errno
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if err == nil || errors.As(err, &errno) {
		return errno
	}
	return syscall.EINVAL
}
