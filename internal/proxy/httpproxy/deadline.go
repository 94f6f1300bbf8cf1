package httpproxy

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"pharos/internal/proxy/breaker"
)

// Limits of time cost no system call and no timer per request. A connection
// only notes when it is overdue, on a coarse clock; one goroutine per Server
// looks at all connections ten times a second, and makes reads and writes of
// those overdue return by setting a deadline in the past. Whoever is woken up
// so asks for itself whether it is overdue: it may have gone on meanwhile, and
// then clears the deadline and tries again.

// watch moves the clock and interrupts what is overdue, until Shutdown.
func (s *Server) watch() {
	t := time.NewTicker(tick)
	defer t.Stop()
	told := breaker.Told{}
	for n := 0; ; n++ {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		s.now.Store(int64(time.Since(s.began)))
		// With many connections they are looked at less often, so that this never
		// costs more than about a hundredth of a processor.
		if n%(1+s.connections()/perTick) == 0 || s.cut.Load() {
			s.interruptOverdue()
		}
		if n%10 == 0 {
			s.origins.Tend(s.now.Load())
			s.tellBreakers(told)
			s.collect(s.now.Load())
		}
		if s.access != nil {
			s.access.FlushSoon()
		}
	}
}

func (s *Server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

func (s *Server) interruptOverdue() {
	now := s.now.Load()
	past := time.Unix(1, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.eachClient {
		d := c.deadline.Load()
		// Who has left may have done so before there was an origin server to interrupt.
		isOverdue := s.cut.Load() || c.left.Load() || d != 0 && now >= d
		switch {
		case isOverdue && c.session != nil:
			c.session.nudge()
			continue
		case c.session != nil:
			if c.session.mayRest() && s.hasLot() {
				c.session.nudge()
			}
			continue
		case isOverdue && c.rests.Load():
			c.closeIfIdle()
			continue
		case !isOverdue && !(c.mayRest() && s.hasLot()):
			continue
		}
		c.conn.SetDeadline(past)
		if o := c.origin.Load(); o != nil {
			o.SetDeadline(past)
		}
	}
}

// eachClient yields all connections, and the requests of those that may have several; mu is
// held.
func (s *Server) eachClient(yield func(*client) bool) {
	for c := range s.copied {
		if !yield(c) {
			return
		}
	}
	for c := range s.clients {
		if !yield(c) {
			return
		}
		if c.session == nil {
			continue
		}
		s.seated = c.session.appendClients(s.seated[:0])
		for _, t := range s.seated {
			if !yield(t) {
				return
			}
		}
	}
}

// setDeadline makes c overdue after d from now, or when the whole time of its request is over.
func (c *client) setDeadline(d time.Duration) {
	c.setDeadlineAt(time.Duration(c.server.now.Load()) + d + tick)
}

// setDeadlineAt is setDeadline for a time since the server began.
func (c *client) setDeadlineAt(at time.Duration) {
	if until := time.Duration(c.until.Load()); until != 0 {
		at = min(at, until)
	}
	c.deadline.Store(int64(at))
}

func (c *client) isOverdue() bool {
	d := c.deadline.Load()
	return d != 0 && c.server.now.Load() >= d || c.server.cut.Load() || c.isEvicted() || c.left.Load()
}

// isSpurious reports whether err is an interruption that was meant for an
// earlier step, and clears it.
func (c *client) isSpurious(err error) bool {
	if !isTimeout(err) || c.isOverdue() {
		return false
	}
	c.conn.SetDeadline(time.Time{})
	return true
}

// read is conn.Read that sees through spurious interruptions; conn is either
// side of c.
func (c *client) read(conn net.Conn, b []byte) (int, error) {
	for {
		n, err := conn.Read(b)
		if n > 0 || err == nil {
			return n, nil
		}
		if !isTimeout(err) || c.isOverdue() {
			return 0, err
		}
		conn.SetDeadline(time.Time{})
	}
}

// write is conn.Write of all of b that sees through spurious interruptions.
func (c *client) write(conn net.Conn, b []byte) error {
	for {
		n, err := conn.Write(b)
		if err == nil {
			return nil
		}
		if !isTimeout(err) || c.isOverdue() {
			return err
		}
		b = b[n:]
		conn.SetDeadline(time.Time{})
	}
}

// writeNow is write that first tries without the runtime, which costs a fifth of
// a microsecond less: mostly the kernel takes everything at once. The descriptor
// (-1 for none) must be one that only this goroutine closes, or its number might
// already be another connection's.
func (c *client) writeNow(conn net.Conn, descriptor int, b []byte) error {
	if descriptor >= 0 && len(b) > 0 {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(descriptor), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			syscall.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			if b = b[n:]; len(b) == 0 {
				return nil
			}
		}
	}
	return c.write(conn, b)
}

// readNow is one read without waiting, under the same condition; 0 when there is
// nothing, or an end or error that a real read will tell.
func readNow(descriptor int, b []byte) int {
	n, errno := receive(descriptor, b)
	if errno != 0 {
		return 0
	}
	return n
}

// pace is how fast a client sends or takes content. Only the time spent waiting
// for the client counts: a response may come slowly from its origin.
type pace struct {
	waited time.Duration
	octets int64
}

// isKept adds n octets that were waited for since began, and reports whether the
// client is as fast as Limits.MinRate asks.
func (p *pace) isKept(c *client, began time.Time, n int) bool {
	p.waited += time.Since(began)
	p.octets += int64(n)
	l := &c.server.limits
	return l.MinRate < 0 || p.waited <= l.MinRateGrace || float64(p.octets) >= float64(l.MinRate)*p.waited.Seconds()
}

var (
	errClosedByPeer = io.EOF
	errLongIdle     = errors.New("no request has come for so long that the connection may rest")
)

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// isTransient reports whether accepting may work again later.
func isTransient(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// receive is recv(2) without waiting: a socket has a shorter way to it than read(2), which
// looks first whether it is a file.
func receive(descriptor int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(descriptor), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), syscall.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// readDescriptor is receive that goes on after a signal.
func readDescriptor(descriptor int, b []byte) (int, error) {
	for {
		n, errno := receive(descriptor, b)
		switch errno {
		case 0:
			return n, nil
		case syscall.EINTR:
			continue
		}
		return 0, errno
	}
}
