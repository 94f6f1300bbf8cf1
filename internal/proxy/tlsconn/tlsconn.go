// Package tlsconn is package tls for a program that keeps many connections open and
// ends waits from outside: a connection says whether it holds octets that nobody has
// read yet, so that an idle one can be waited for without a buffer; and it survives a
// deadline that was meant for an earlier step.
//
//	network -> wire: no further than the end of a record -> tls.Conn -> Read
//	             \-> what is behind it waits here
//
// Package tls reads as much as its buffer holds, which may be the beginning of what comes
// next: who waits for the network then waits for ever. And it gives a connection up
// when a write was interrupted.
//
// It does not own what is agreed on by TLS; that is in the tls.Config.
//
// Entry points: Server, Client; Conn.Pending, Conn.Socket.
//
// Concurrency: one goroutine reads and one writes; SetDeadline is called by any.
//
// Source: RFC 8446 §5.1 (the record layer).
package tlsconn

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Conn is a connection on which TLS is spoken.
type Conn struct {
	*tls.Conn
	wire *wire

	full bool // owned by the reader: the last Read had no room for more
}

// Server returns conn as that of a client that will ask for TLS.
func Server(conn net.Conn, c *tls.Config) *Conn {
	w := &wire{Conn: conn}
	return &Conn{Conn: tls.Server(w, c), wire: w}
}

// Client returns conn as one to a server that is asked for TLS.
func Client(conn net.Conn, c *tls.Config) *Conn {
	w := &wire{Conn: conn}
	return &Conn{Conn: tls.Client(w, c), wire: w}
}

// Socket returns what is beneath TLS, to wait for, never to read or write.
func (c *Conn) Socket() net.Conn { return c.wire.Conn }

// Interruptible has waits end at a deadline only if overdue reports true then; else the
// deadline is cleared, and the wait goes on. It is set before anybody reads or writes, or
// while nobody does.
func (c *Conn) Interruptible(overdue func() bool) { c.wire.overdue = overdue }

// Read is tls.Conn.Read.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.full = n == len(b)
	return n, err
}

// Pending reports whether Read may have something to return that has left the
// network already. If not, the network will have something when Read does.
func (c *Conn) Pending() bool { return c.full || len(c.wire.behind) > 0 }

// Rest gives memory back while nothing is Pending.
func (c *Conn) Rest() {
	if len(c.wire.behind) == 0 {
		c.wire.behind, c.wire.room = nil, nil
	}
}

// SetLinger sets what becomes of octets that are not sent yet when the connection is
// closed, as that of net.TCPConn. With 0 TLS is not ended in order either: what is cut
// off in the middle must not be taken for whole (RFC 8446 §6.1).
func (c *Conn) SetLinger(seconds int) error {
	if seconds == 0 {
		c.wire.cut.Store(true)
	}
	if tcp, ok := c.wire.Conn.(interface{ SetLinger(int) error }); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}

// SetWriteDeadline is that of the network.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.wire.Conn.SetWriteDeadline(t) }

const (
	recordHead = 5 // octets: type, version, length (RFC 8446 §5.1)

	// farewell is how long the alert that ends TLS may take when the connection is closed:
	// it fits into what the kernel buffers, unless the other side has taken nothing for
	// long, and then there is nobody to tell.
	farewell = time.Second
)

// wire gives package tls one record at a time.
type wire struct {
	net.Conn
	overdue func() bool

	// Owned by the reader. Invariant: left > 0 within a record, and then headLen is 0.
	head    [recordHead]byte
	headLen int
	left    int    // octets of the record at hand that have not been passed on
	behind  []byte // read behind the record at hand; in room
	room    []byte

	cut     atomic.Bool // nothing is written any more
	closing atomic.Bool // deadlines are package tls' own
}

var errCut = errors.New("tlsconn: the connection was cut off")

func (w *wire) Read(b []byte) (int, error) {
	if len(w.behind) > 0 {
		n := w.advance(w.behind[:min(len(b), len(w.behind))])
		copy(b, w.behind[:n])
		w.behind = w.behind[n:]
		return n, nil
	}
	for {
		n, err := w.Conn.Read(b)
		if n > 0 {
			at := w.advance(b[:n])
			w.room = append(w.room[:0], b[at:n]...)
			w.behind = w.room
			return at, nil
		}
		if err == nil || w.isMeant(err) {
			return n, err
		}
		w.Conn.SetDeadline(time.Time{})
	}
}

// advance passes over the record at hand, and returns where it ends in b, or how long b is.
func (w *wire) advance(b []byte) int {
	at := 0
	if w.left == 0 {
		at = copy(w.head[w.headLen:], b)
		if w.headLen += at; w.headLen < recordHead {
			return at
		}
		w.headLen, w.left = 0, int(w.head[3])<<8|int(w.head[4])
	}
	take := min(w.left, len(b)-at)
	w.left -= take
	return at + take
}

// isMeant reports whether err ends a wait: it is no interruption, or one that is due.
func (w *wire) isMeant(err error) bool {
	return w.overdue == nil || w.closing.Load() || !errors.Is(err, os.ErrDeadlineExceeded) || w.overdue()
}

func (w *wire) Write(b []byte) (int, error) {
	sent := 0
	for {
		if w.cut.Load() {
			return sent, errCut
		}
		n, err := w.Conn.Write(b[sent:])
		if sent += n; err == nil || w.isMeant(err) {
			return sent, err
		}
		w.Conn.SetDeadline(time.Time{})
	}
}

// SetWriteDeadline is called by package tls alone, when it says that it has nothing more to send.
func (w *wire) SetWriteDeadline(time.Time) error {
	w.closing.Store(true)
	return w.Conn.SetWriteDeadline(time.Now().Add(farewell))
}
