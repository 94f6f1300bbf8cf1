package dnsserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/proxyheader"
)

// tcpConn is one connection that carries messages with their lengths: TCP, or TLS
// over it.
//
//	letIn: header of a proxy, TLS
//	reader (run): octets -> message -> begin -> Handler -+-> enqueue -> flush
//	deferred (any goroutine):            Send -----------+
//	                                     SendMore: enqueue, flush and wait
//
// Answers collect in out while somebody writes; whoever finds nobody writing does
// it. So one write carries all answers to a pipelined burst (RFC 7766 §6.2.1.1),
// and Send never waits for the client; SendMore does, and nobody but its caller
// with it.
type tcpConn struct {
	// Constant after newTCPConn.
	entrance *Entrance
	nc       *net.TCPConn
	proxied  bool // a header of a proxy comes first

	arrival // written by letIn, and then constant; conn also under mu

	// Owned by the reader. in[start:end] has been received and not yet taken.
	in         []byte
	start, end int
	queries    int // taken so far

	// idleSince is when the last query in flight was done with, or 0 while there
	// is one; in Unix nanoseconds. Atomic.
	idleSince atomic.Int64

	// mu comes after connTable.mu. room is signalled when inFlight falls or dead
	// is set.
	mu       sync.Mutex
	room     sync.Cond
	out      *outBuffer // answers with their lengths, for the next write; nil: none
	outCount int        // answers in out
	inFlight int        // queries taken whose answers have not been written. Invariant: outCount <= inFlight
	flushing bool       // somebody writes
	draining bool       // the read deadline is Shutdown's
	dead     bool       // nc is closed, or about to be
}

// connWork is what a query on a TCP connection needs while it is worked on. Idle
// connections have none.
type connWork struct {
	responder responder
	exchange  *exchange // for Visit.Ask; nil: none is there yet
	buf       [2 + dnswire.MaxMessage + dnswire.BufferSlack]byte
}

// outBuffer is what a connection is about to write. Idle connections have none.
type outBuffer struct{ octets []byte }

var outBuffers = sync.Pool{New: func() any { return &outBuffer{make([]byte, 0, 4*smallBuffer)} }}

// keptOutBuffer is the largest buffer that is kept for the next answers, in octets:
// a window of padded ones.
const keptOutBuffer = 64 << 10

var connWorks = sync.Pool{New: func() any { return new(connWork) }}

func newTCPConn(e *Entrance, nc *net.TCPConn, proxied bool) *tcpConn {
	c := &tcpConn{
		entrance: e, nc: nc, proxied: proxied,
		arrival: arrival{conn: nc, client: plain(nc.RemoteAddr()), local: plain(nc.LocalAddr())},
		in:      make([]byte, smallBuffer),
	}
	c.room.L = &c.mu
	c.idleSince.Store(time.Now().UnixNano())
	return c
}

// plain returns addr with IPv4 as IPv4 and without zone.
func plain(addr net.Addr) netip.AddrPort {
	ap := addr.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// run is the connection's life. It ends when the client closes its side, breaks
// the framing, is too slow or idle for too long, or when the server shuts down;
// answers still owed are sent first.
func (c *tcpConn) run() {
	if c.letIn() {
		for c.more() {
		}
	}
	c.finish()
}

// letIn does what comes before the first query.
func (c *tcpConn) letIn() bool {
	e := c.entrance
	if !c.proxied && e.tls == nil {
		return true
	}
	a := c.arrival
	if e.letIn(&a, c.proxied, c) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrival = a
	if c.draining { // whose deadline was not heeded
		c.nc.SetReadDeadline(time.Now().Add(drainTime))
	}
	return !c.dead
}

// more takes one message, and reports whether another may follow.
func (c *tcpConn) more() bool {
	e := c.entrance
	msg, err := c.next()
	switch {
	case errors.Is(err, errSlow):
		e.counts.add(SlowClients, 1)
	case errors.Is(err, errProxy):
		e.counts.add(ProxyRefused, 1)
	}
	if err != nil || !c.begin() || !c.serve(msg) {
		return false
	}
	if c.queries++; c.queries == e.limits.Queries {
		e.counts.add(ConnectionsSpent, 1)
		return false
	}
	if !c.hasMessage() {
		c.flush()
	}
	return true
}

var (
	errSlow  = errors.New("message not complete in time")
	errProxy = errors.New("header of a proxy that is not trusted")
)

// next returns the next message, a view of c.in until the next call.
func (c *tcpConn) next() ([]byte, error) {
	var deadline time.Time // zero while no message has begun
	for {
		if c.hasMessage() {
			length := int(binary.BigEndian.Uint16(c.in[c.start:]))
			msg := c.in[c.start+2 : c.start+2+length]
			c.start += 2 + length
			return msg, nil
		}
		if c.queries == 0 && proxyheader.Is(c.in[c.start:c.end]) {
			return nil, errProxy
		}
		c.makeRoom()
		begun := c.end > c.start
		if begun && deadline.IsZero() {
			deadline = time.Now().Add(c.entrance.limits.Read)
		}
		c.setReadDeadline(deadline)
		n, err := c.conn.Read(c.in[c.end:])
		c.end += n
		if err != nil && n == 0 {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, err
			}
			switch {
			case c.isDraining():
				return nil, io.EOF
			case begun:
				return nil, errSlow
			case c.isIdleTooLong():
				return nil, io.EOF
			}
		}
	}
}

// hasMessage reports whether a whole message has been received.
func (c *tcpConn) hasMessage() bool {
	have := c.end - c.start
	return have >= 2 && have >= 2+int(binary.BigEndian.Uint16(c.in[c.start:]))
}

// makeRoom moves what has been received to the front of a buffer that can take the
// whole message, and lets go of a large one that is empty.
func (c *tcpConn) makeRoom() {
	size := smallBuffer
	if have := c.end - c.start; have >= 2 {
		size = max(size, 2+int(binary.BigEndian.Uint16(c.in[c.start:])))
	}
	to := c.in
	if size > len(c.in) || size == smallBuffer && len(c.in) > smallBuffer {
		to = make([]byte, size)
	}
	c.end = copy(to, c.in[c.start:c.end])
	c.in, c.start = to, 0
}

// setReadDeadline sets the deadline of the message that has begun, or else that of
// an idle connection; Shutdown's comes before both.
func (c *tcpConn) setReadDeadline(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return
	}
	if deadline.IsZero() {
		since := time.Now()
		if idle := c.idleSince.Load(); idle != 0 {
			since = time.Unix(0, idle)
		}
		deadline = since.Add(c.entrance.limits.Idle)
	}
	c.nc.SetReadDeadline(deadline)
}

// isIdleTooLong reports whether the connection is to be closed for idleness
// (RFC 7766 §6.2.3): not while a query is in flight, nor before Idle has passed
// since the last one was.
func (c *tcpConn) isIdleTooLong() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.idleSince.Load()
	return idle != 0 && time.Since(time.Unix(0, idle)) >= c.entrance.limits.Idle
}

func (c *tcpConn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// begin counts one more query in flight, as soon as there is room for it. It
// reports false when the connection has died meanwhile.
func (c *tcpConn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.inFlight >= c.entrance.limits.InFlight && !c.dead {
		if c.outCount > 0 && !c.flushing {
			c.flushLocked()
			continue
		}
		c.room.Wait()
	}
	if c.dead {
		return false
	}
	c.inFlight++
	c.idleSince.Store(0)
	return true
}

// serve answers one message. It reports false when the client does not speak DNS:
// what must not be answered has no place on a connection of queries.
func (c *tcpConn) serve(msg []byte) bool {
	work := connWorks.Get().(*connWork)
	defer connWorks.Put(work)
	a := &work.responder
	a.init(c.entrance.server, c.entrance.transport)
	a.req.from, a.req.Client, a.req.Local, a.req.TLS = c, c.client, c.local, c.tls
	a.req.Now, a.req.Rotation = clock.Now(), c.entrance.rotation.Add(1)
	answer, fate := a.respond(msg, work.buf[2:])
	switch fate {
	case answered:
		if c.enqueue(answer) == nil {
			a.counts.answered(a.req.Out.Rcode(), isTruncated(answer))
		} else {
			a.counts.events[SendErrors]++
		}
	case silent, alien:
		c.abandon()
	}
	c.entrance.counts.flush(&a.counts)
	return fate != alien
}

// enqueue adds an answer to what is to be written.
func (c *tcpConn) enqueue(msg []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enqueueLocked(msg)
}

func (c *tcpConn) enqueueLocked(msg []byte) error {
	if c.dead {
		c.doneLocked(1)
		return ErrGone
	}
	c.appendLocked(msg)
	c.outCount++
	return nil
}

// appendLocked puts a message into what is to be written.
func (c *tcpConn) appendLocked(msg []byte) {
	if c.out == nil {
		c.out = outBuffers.Get().(*outBuffer)
	}
	b := binary.BigEndian.AppendUint16(c.out.octets, uint16(len(msg)))
	c.out.octets = append(b, msg...)
}

// returnPath implements origin: the connection itself is the way back.
func (c *tcpConn) returnPath() returnPath { return c }

// send implements returnPath.
func (c *tcpConn) send(msg []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enqueueLocked(msg); err != nil {
		return err
	}
	if !c.flushing { // else whoever writes takes this too
		go c.flush() // ends when all is written, or when limits.Write is over
	}
	return nil
}

// sendMore implements returnPath. The caller's goroutine does the writing, so it
// is as fast as the client, and no faster.
func (c *tcpConn) sendMore(msg []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.flushing && !c.dead {
		c.room.Wait()
	}
	if c.dead {
		return ErrGone
	}
	c.appendLocked(msg) // not in outCount: its query goes on
	c.flushLocked()
	if c.dead {
		return ErrGone
	}
	return nil
}

// abandon implements returnPath.
func (c *tcpConn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doneLocked(1)
}

// doneLocked counts n queries less in flight.
func (c *tcpConn) doneLocked(n int) {
	c.inFlight -= n
	if c.inFlight == 0 {
		c.idleSince.Store(time.Now().UnixNano())
	}
	c.room.Broadcast()
}

// flush writes all answers that are ready, unless somebody else is at it.
func (c *tcpConn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked()
}

// flushLocked gives mu up while it writes.
func (c *tcpConn) flushLocked() {
	if c.flushing {
		return
	}
	c.flushing = true
	for c.out != nil && !c.dead {
		buf, count := c.out, c.outCount
		c.out, c.outCount = nil, 0
		c.mu.Unlock()
		c.nc.SetWriteDeadline(time.Now().Add(c.entrance.limits.Write))
		_, err := c.conn.Write(buf.octets)
		if cap(buf.octets) <= keptOutBuffer {
			buf.octets = buf.octets[:0]
			outBuffers.Put(buf)
		}
		c.mu.Lock()
		if err != nil {
			c.writeFailedLocked(err)
		}
		c.doneLocked(count)
	}
	c.flushing = false
	c.room.Broadcast() // sendMore waits for its turn
}

func (c *tcpConn) writeFailedLocked(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.entrance.counts.add(SlowClients, 1)
	}
	c.killLocked()
}

// kill closes the connection, whatever it waits for.
func (c *tcpConn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killLocked()
}

func (c *tcpConn) killLocked() {
	if !c.dead {
		c.dead = true
		c.nc.SetLinger(0) // what is not sent by now is not to occupy the kernel
		c.nc.Close()
	}
	c.room.Broadcast()
}

// evict closes the connection if it is idle, and reports whether it was.
func (c *tcpConn) evict() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlight > 0 || c.dead {
		return false
	}
	c.dead = true
	go c.conn.Close() // ends at once, or within seconds when TLS cannot say goodbye
	return true
}

func (c *tcpConn) address() netip.Addr { return c.client.Addr() }

func (c *tcpConn) idleAt() int64 { return c.idleSince.Load() }

// drain lets the reader take what the client has already sent, and then see the
// end of the stream.
func (c *tcpConn) drain(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.nc.SetReadDeadline(now.Add(drainTime))
	c.nc.CloseRead()
}

// finish sends the answers still owed, also to a client that has closed its side
// (RFC 7766 §6.2.4 lets it), and closes the connection.
func (c *tcpConn) finish() {
	c.mu.Lock()
	for c.inFlight > 0 && !c.dead {
		if c.outCount > 0 && !c.flushing {
			c.flushLocked()
			continue
		}
		c.room.Wait()
	}
	first := !c.dead
	c.dead = true
	c.mu.Unlock()
	if first {
		c.conn.Close()
	}
	c.entrance.conns.remove(c)
}

// check returns what is wrong with the connection, for tests.
func (c *tcpConn) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outCount > c.inFlight || c.inFlight < 0 || c.inFlight > c.entrance.limits.InFlight {
		return fmt.Errorf("%v: %d answers ready of %d queries in flight, at most %d allowed", c.client, c.outCount, c.inFlight, c.entrance.limits.InFlight)
	}
	if idle := c.idleSince.Load() != 0; idle != (c.inFlight == 0) {
		return fmt.Errorf("%v: idle %v with %d queries in flight", c.client, idle, c.inFlight)
	}
	return nil
}
