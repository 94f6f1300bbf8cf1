package httpproxy

import (
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"pharos/internal/proxy/origins"
	"pharos/internal/proxy/places"
	"pharos/internal/proxy/tlsconn"
	"pharos/internal/traffic/pool"
)

// client is one client connection.
type client struct {
	// Constant after newClient and letIn; conn changes there with the server's mu held.
	server     *Server
	shard      *shard
	lane       uint32 // of picks
	conn       net.Conn
	wire       wire // how messages stand on conn
	peer       netip.Addr
	peerPort   uint16
	local      string // our address, for requests that name no host
	peerAs     peerText
	descriptor int                           // of conn; -1 when it has none
	socket     int                           // the one beneath, to wait for; -1 when there is none
	raw        syscall.RawConn               // nil when conn has no descriptor
	wait       func(descriptor uintptr) bool // for raw.Read: reads the first octets of a request
	tls        *Identity                     // nil: in the clear
	altSvc     *alternative                  // nil: none
	secured    *tlsconn.Conn                 // conn, if it is over TLS on a socket

	// Owned by the connection's goroutine.
	x       *exchange // nil while idle
	waitErr error     // what wait met
	begun   bool      // a request of HTTP/1.1 has come
	seated  bool      // it counts among the connections of its client

	mustSwitch bool // the client would take a 2xx for the switch of protocols that it asks for

	session sessions // of HTTP/2 or HTTP/3, for the watcher; nil: it is none. Set with server.mu held

	// Atomic.
	left     atomic.Bool                  // the client has reset its request (HTTP/2, HTTP/3)
	state    atomic.Int32                 // idle, active or closed
	rests    atomic.Bool                  // it is idle and has no goroutine
	deadline atomic.Int64                 // on the server's coarse clock; 0 is none
	until    atomic.Int64                 // the end of the whole time of a request, by the same clock; no deadline is later. 0 is none
	origin   atomic.Pointer[origins.Conn] // in use for this client, for the watcher to interrupt

	evicted atomic.Pointer[pool.MemberLoad] // of a member that was taken out of use while it was asked: see Evict
}

// sessions are what may have several requests under way.
type sessions interface {
	// carry carries requests until the connection ends; or rests, which it reports.
	carry() (rests bool)
	// mayRest reports whether it has waited for long enough for that.
	mayRest() bool
	// nudge has what is due be looked at. It does not wait.
	nudge()
	// appendClients appends the clients that have requests under way.
	appendClients(all []*client) []*client
}

// peerText is the peer in the spellings of the forwarding fields, made once.
type peerText struct {
	trusted   bool
	address   []byte // 192.0.2.1 or 2001:db8::1: X-Forwarded-For
	forwarded []byte // for=192.0.2.1 or for="[2001:db8::1]": Forwarded (RFC 7239 §6)
}

// States of a client. Whoever moves idle to closed closes the connection: the
// connection's goroutine or Shutdown.
const (
	active int32 = iota
	idle
	closed
)

func newClient(s *Server, conn net.Conn) *client {
	id := s.nextID.Add(1)
	c := &client{server: s, conn: conn, shard: &s.shards[id%shardCount], lane: uint32(id - 1), local: conn.LocalAddr().String(), descriptor: origins.Descriptor(conn)}
	c.socket = c.descriptor
	c.wire = (*plain)(c)
	if a, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		c.peer, c.peerPort = a.Addr().Unmap().WithZone(""), a.Port()
	}
	c.peerAs = c.spellPeer()
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw, c.wait = raw, c.readFirst
		}
	}
	return c
}

func (c *client) spellPeer() peerText {
	if !c.peer.IsValid() {
		return peerText{address: []byte("unknown"), forwarded: []byte("for=unknown")}
	}
	p := peerText{address: []byte(c.peer.String())}
	p.forwarded = append([]byte("for="), p.address...)
	if c.peer.Is6() {
		p.forwarded = append(append([]byte(`for="[`), p.address...), `]"`...)
	}
	p.trusted = c.server.isTrusted(c.peer)
	return p
}

// serve carries the requests of one connection, one after the other, until it ends or
// rests.
func (c *client) serve(d *Door) {
	rests := false
	defer func() {
		if bug := recover(); bug != nil || !rests {
			c.end(bug)
		}
	}()
	if d != nil && !c.letIn(d) || !c.takeSeat() {
		return
	}
	if rests = c.carryRequests(); rests {
		return
	}
	c.deadline.Store(0)
	c.release()
}

// takeSeat reports whether its client may have one more connection; if not, it is told so. A
// trusted proxy stands for many clients. Those of HTTP/3 are counted before their handshake.
func (c *client) takeSeat() bool {
	most := c.server.limits.PerClient
	if c.seated || most < 0 || !c.peer.IsValid() || c.peerAs.trusted {
		return true
	}
	if c.seated = c.server.places.TakeClient(c.peer, places.Proven, most); !c.seated {
		c.shard.crowded.Add(1)
		if c.tls == nil {
			c.server.sayFull(c.conn)
		}
	}
	return c.seated
}

// carryRequests reports whether the connection rests; else it is to end.
func (c *client) carryRequests() (rests bool) {
	if c.session != nil {
		return c.session.carry() // it has rested
	}
	for c.awaitRequest() {
		if !c.begun && c.speaksHTTP2() {
			return c.serveHTTP2()
		}
		c.begun = true
		if !c.request() {
			return false
		}
	}
	return c.waitErr == errLongIdle && c.rest()
}

// end closes the connection. A panic ends here too: it is a bug, but one
// connection's bug must not end all others. Its buffers are left to the
// collector, as nobody knows what state they are in.
func (c *client) end(bug any) {
	if bug != nil {
		c.server.log.Error("a bug ended a connection", "client", c.peer.String(), "panic", bug, "stack", string(debug.Stack()))
		c.wire.cut()
		if c.x != nil {
			c.x.leave()
		}
		if oc := c.origin.Swap(nil); oc != nil {
			oc.Close()
		}
	}
	c.reportRoundTrip()
	c.conn.Close()
	if c.seated {
		c.server.places.GiveClient(c.peer, places.Proven)
	}
	c.shard.closed.Add(1)
	c.server.remove(c)
}

// awaitRequest waits for the first octets of the next request; false when the
// connection is to end. While it waits, the connection holds no buffers.
func (c *client) awaitRequest() bool {
	if c.x != nil && c.x.unread() > 0 {
		return true // the next request came with the last one
	}
	if c.readNext() {
		return true
	}
	c.setDeadline(c.server.limits.Idle)
	c.state.Store(idle)
	if c.server.lastCall.Load() { // Shutdown may have passed before the store
		c.closeIfIdle()
		return false
	}
	err := c.readFirstOctets()
	if err == errLongIdle {
		return false // and waits on, at rest
	}
	if !c.state.CompareAndSwap(idle, active) {
		return false // closed by Shutdown
	}
	return err == nil
}

// readNext reads the first octets of the next request if they are there already, as they mostly
// are with many requests in flight. The connection need not become idle for it; buffers are
// given back while others run, as those that were just used are the fastest.
func (c *client) readNext() bool {
	if c.raw == nil {
		return false
	}
	c.release()
	if !c.letOthersRun() || c.descriptor < 0 {
		return false
	}
	x := c.hold()
	x.rewind()
	if x.filled = readNow(c.descriptor, x.in); x.filled == 0 {
		c.release()
	}
	return x.filled > 0
}

func (c *client) readFirstOctets() error {
	if c.raw == nil {
		x := c.hold()
		x.rewind()
		n, err := c.read(c.conn, x.in)
		x.filled = n
		return err
	}
	if c.secured != nil {
		return c.readFirstSecured()
	}
	for {
		c.release()
		c.waitErr = nil
		if err := c.raw.Read(c.wait); err != nil {
			if !c.isSpurious(err) {
				return err
			}
			if c.server.lot.Load() == nil || !c.mayRest() {
				continue
			}
			c.waitErr = errLongIdle
		}
		return c.waitErr
	}
}

// letOthersRun stands before a read that most likely finds nothing yet. When
// many requests are in flight, other connections have work now; until they have
// done it, the octets are there, which saves an empty read and a wait (measured:
// 6 to 12 % of the CPU per request at 64 connections on one core). With few
// requests it would only wake idle processors up.
func (c *client) letOthersRun() bool {
	if c.server.inFlight.Load() <= c.server.crowd {
		return false
	}
	runtime.Gosched()
	return true
}

// readFirst is called when octets may be there. It takes buffers from the pool
// only for the read itself; false asks to be called again when there are some.
func (c *client) readFirst(descriptor uintptr) bool {
	x := c.hold()
	x.rewind()
	n, err := readDescriptor(int(descriptor), x.in)
	switch {
	case err == syscall.EAGAIN:
		c.release()
		return false
	case err != nil:
		c.waitErr = err
	case n == 0:
		c.waitErr = errClosedByPeer
	}
	x.filled = max(n, 0)
	return true
}

// isLongIdle reports whether the connection has waited for a request for longer
// than grace.
func (c *client) isLongIdle(grace time.Duration) bool {
	return c.state.Load() == idle && c.server.now.Load()-c.idleSince() > int64(grace)
}

// closeIfIdle closes a connection that waits for a request.
func (c *client) closeIfIdle() {
	if !c.state.CompareAndSwap(idle, closed) {
		return
	}
	rested := c.rouse()
	switch {
	case rested:
		go c.end(nil) // at once: nobody else does it for one at rest
	case c.secured != nil:
		c.wakeToEnd()
	default:
		c.conn.Close()
	}
}

// hold returns the exchange of c, taking one from the pool if it has none.
func (c *client) hold() *exchange {
	if c.x == nil {
		c.x = exchanges.Get().(*exchange)
	}
	return c.x
}

// release gives the exchange back to the pool, with all buffers.
func (c *client) release() {
	if c.x != nil {
		c.x.shrink()
		exchanges.Put(c.x)
		c.x = nil
	}
}
