package l4proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"pharos/internal/proxy/l4route"
	"pharos/internal/proxy/tlsconn"
)

// roomSize is how much is read at once where octets pass through this program. What fills it
// goes through the kernel alone from then on (pass_linux.go).
const roomSize = 16 << 10

// room is memory for one read. A connection that waits has none.
type room struct {
	octets [roomSize]byte
	hello  [l4route.MaxHello + 256]byte // a hello that comes in pieces, and its name
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// flow is one direction of a connection.
type flow struct {
	c        *conn
	src, dst net.Conn
	up       bool // from the client to the member
}

func newFlow(c *conn, src, dst net.Conn, up bool) *flow {
	return &flow{c: c, src: src, dst: dst, up: up}
}

// run carries octets until src ends, which is passed on, or either side fails, which ends
// both. first goes before them.
func (f *flow) run(first []byte) {
	err := error(nil)
	if len(first) > 0 {
		if _, err = f.dst.Write(first); err == nil {
			f.c.carried(f.up, len(first))
		}
	}
	atSrc := false // whether src is it that err is about
	if err == nil {
		src, srcPlain := f.src.(*net.TCPConn)
		dst, dstPlain := f.dst.(*net.TCPConn)
		if srcPlain && dstPlain {
			atSrc, err = f.pass(src, dst)
		} else {
			atSrc, err = f.copy()
		}
	}
	if err == nil {
		f.ended()
		return
	}
	f.failed(atSrc, err)
}

// ended passes on that src sends nothing more.
func (f *flow) ended() {
	if f.c.half.Swap(true) {
		f.c.finish(endDone, false) // the other side had ended before: this tells both
		return
	}
	if !f.up {
		f.c.hungUp.Store(true)
	}
	half, ok := f.dst.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		f.c.finish(endDone, false)
	}
}

// failed ends both sides: a side that has reset the connection has not ended it, and the other
// one must see that.
func (f *flow) failed(atSrc bool, err error) {
	if atSrc == f.up {
		f.c.finish(endReset, true)
		return
	}
	if f.c.reason.Load() == nil && !f.c.half.Load() {
		f.c.hungUp.Store(true)
	}
	f.c.finish(endOrigin, true)
}

// copy carries octets through memory: of which one side is TLS.
func (f *flow) copy() (atSrc bool, err error) {
	b := make([]byte, roomSize)
	for {
		n, err := f.src.Read(b)
		if n > 0 {
			if _, err := f.dst.Write(b[:n]); err != nil {
				return false, err
			}
			f.c.carried(f.up, n)
		}
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return true, err
		}
	}
}

// dial opens a connection to a member. Without keepAlive nobody looks whether it is still there; see tend.
// It goes by text, for Dialer.DialTCP binds a port before it connects: in thousands of them that are in TIME-WAIT the
// system then looks for one that nobody at all has, for milliseconds, and finds none long before ports are short.
func dial(address netip.AddrPort, within time.Duration, keepAlive bool) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, KeepAliveConfig: net.KeepAliveConfig{Enable: keepAlive}}
	conn, err := d.DialContext(until(time.Now().Add(within)), "tcp", address.String())
	if err != nil {
		return nil, reasonOfDial(err)
	}
	return conn, nil
}

// until is a context that ends at a time and by nothing else: the deadline of a connect, with nothing that waits for it
// beside the socket itself.
type until time.Time

// never is nobody's to close.
var never = make(chan struct{})

func (u until) Deadline() (time.Time, bool)       { return time.Time(u), true }
func (until) Done() <-chan struct{}               { return never }
func (until) Err() error                          { return nil }
func (until) Value(any) any                       { return nil }
func (until) AfterFunc(func()) (stop func() bool) { return func() bool { return true } }

// reasonOfDial leaves out the address, which everybody who is told knows.
func reasonOfDial(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return errors.New("no connection in time")
	}
	return err
}

// secure agrees on TLS with a member.
func secure(conn net.Conn, c *tls.Config) (net.Conn, error) {
	secured := tlsconn.Client(conn, c)
	if err := secured.Handshake(); err != nil {
		return nil, err
	}
	return secured, nil
}
