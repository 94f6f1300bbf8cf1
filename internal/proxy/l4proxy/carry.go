package l4proxy

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/proxy/l4route"
	"pharos/internal/proxy/places"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file is the way of a connection, top-down.

// conn is one connection.
type conn struct {
	// Constant after take, or owned by the goroutine of carry.
	proxy   *Proxy
	of      *running
	stream  *Stream // as it was when the connection came
	began   time.Time
	from    time.Duration // the same by the clock of loads
	lane    uint32
	peer    netip.AddrPort
	client  netip.AddrPort // who a proxy says it is, or the peer
	local   netip.AddrPort
	name    string // that was asked for; "" if none, or if it does not matter
	tls     bool   // TLS ended here
	target  *Target
	member  *pool.Member
	tries   int
	connect time.Duration // how long the member took to take the connection
	held    []byte        // octets of the client that were read to decide by
	fate

	in  net.Conn // to the client
	out net.Conn // to the member; nil before there is one

	load     atomic.Pointer[pool.MemberLoad] // of the member
	last     atomic.Int64                    // when something was carried last
	half     atomic.Bool                     // one side sends nothing more
	hungUp   atomic.Bool                     // that was the member, before the client
	first    atomic.Int64                    // when the member sent its first octet; 0: not yet
	asked    atomic.Int64                    // when the client's first octet went to the member; 0: not yet
	received atomic.Int64                    // octets from the client that went to the member
	sent     atomic.Int64                    // octets from the member that went to the client
	reason   atomic.Pointer[string]          // why it ended; the first one counts

	kept bool // that somebody is still there is looked at; guarded by Proxy.mu

	closing sync.Mutex // guards both; held while a side is closed
	both    [2]net.Conn
}

// take begins to carry a connection of a client.
func (p *Proxy) take(r *running, client *net.TCPConn) {
	s := r.stream.Load()
	c := &conn{proxy: p, of: r, stream: s, in: client, lane: p.lanes.Add(1), began: time.Now(), from: p.cfg.Clock()}
	c.last.Store(int64(c.from))
	c.both[0] = client
	c.peer = unmapped(client.RemoteAddr())
	c.client = c.peer
	if !r.places.Take(s.Limits.Connections) {
		r.Refused[RefusedFull].Add(1)
		c.refuse()
		return
	}
	if !p.enter(c) {
		r.places.Give()
		c.refuse()
		return
	}
	r.Taken.Add(1)
	p.crew.do(func() { // ends with the connection, which Shutdown cuts
		defer p.leave(c)
		defer r.places.Give()
		c.carry()
	})
}

// refuse closes a connection of which nothing is carried, with a reset, so that it leaves nothing
// behind here, and the client does not take it for one that was served.
func (c *conn) refuse() { c.finish(endRefused, true) }

func unmapped(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// carry is the way itself.
func (c *conn) carry() {
	defer c.record()
	if !c.admit() || !c.mayEnter() {
		return
	}
	defer c.of.places.GiveClient(c.client.Addr(), places.Proven)
	if !c.route() || !c.reach() {
		return
	}
	c.join()
	c.judge()
}

// admit finds out who the client is, and agrees on TLS, where the stream does.
func (c *conn) admit() bool {
	c.local = unmapped(c.in.LocalAddr())
	if c.stream.Admit == nil {
		return true
	}
	a, err := c.stream.Admit(c.in, c.peer.Addr())
	if err != nil {
		c.of.Refused[RefusedArrival].Add(1)
		c.finish("refused: "+err.Error(), true)
		return false
	}
	if a.Client.IsValid() {
		c.client = netip.AddrPortFrom(a.Client.Addr().Unmap(), a.Client.Port())
	}
	c.name, c.tls = a.ServerName, a.TLS
	c.own(0, a.Conn)
	c.in = a.Conn
	return true
}

// own notes a side of the connection, to be closed by finish.
func (c *conn) own(side int, to net.Conn) {
	c.closing.Lock()
	defer c.closing.Unlock()
	c.both[side] = to
	if c.reason.Load() != nil {
		to.Close() // it was cut meanwhile
	}
}

// mayEnter reports whether the client is one that the stream is for, and has room; then a seat
// is taken for it.
func (c *conn) mayEnter() bool {
	if a := c.stream.Allows; a != nil && !a(c.client.Addr()) {
		c.of.Refused[RefusedClient].Add(1)
		c.finish("refused: the client is not let in", true)
		return false
	}
	if !c.of.places.TakeClient(c.client.Addr(), places.Proven, c.stream.Limits.PerClient) {
		c.of.Refused[RefusedPerClient].Add(1)
		c.finish("refused: the client has as many connections as one may have", true)
		return false
	}
	return true
}

// route finds the pool.
func (c *conn) route() bool {
	if !c.tls && c.stream.needsName() && !c.readHello() {
		return false
	}
	i := c.stream.Routes.Find(c.client.Addr(), []byte(c.name))
	if i == l4route.Nowhere {
		c.of.Refused[RefusedRoute].Add(1)
		c.finish("refused: no route, and no pool for the others", true)
		return false
	}
	c.target = &c.stream.Pools[i]
	return true
}

// needsName reports whether the name that clients ask for decides something.
func (s *Stream) needsName() bool {
	if s.Routes.NeedsName() {
		return true
	}
	for i := range s.Pools {
		if spec := s.Pools[i].Pool.View().Spec(); spec.Policy == pool.Hash && spec.Hash.Key.Of == pool.ServerName {
			return true
		}
	}
	return false
}

// readHello reads as much as it takes to know the server name, which stays in c.held to be
// carried on. The limit of time is for all of it.
func (c *conn) readHello() (ok bool) {
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	c.in.SetReadDeadline(time.Now().Add(c.stream.Limits.Hello))
	defer c.in.SetReadDeadline(time.Time{})
	b := r.octets[:0]
	for {
		n, err := c.in.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		name, v := l4route.ServerName(b, r.hello[:])
		var ne net.Error
		late := errors.As(err, &ne) && ne.Timeout()
		switch {
		case v == l4route.Hello, v == l4route.Foreign, late && len(b) == 0:
			c.held, c.name = append([]byte(nil), b...), string(name)
			return true
		case v == l4route.Malformed, len(b) == cap(b):
			c.of.Refused[RefusedHello].Add(1)
			c.finish("refused: a malformed TLS ClientHello", true)
			return false
		case late:
			c.of.Refused[RefusedHello].Add(1)
			c.finish("refused: the TLS ClientHello did not come in time", true)
			return false
		case err != nil:
			c.finish(endClient, false)
			return false
		}
	}
}

// reach connects to a member: to the next one when the first cannot be reached. Nothing of the
// client is lost by that, as nothing was sent.
func (c *conn) reach() bool {
	for !c.target.hasSomebody() {
		if !c.hold() {
			return false
		}
	}
	h := c.proxy.choose(c.target, c.client.Addr(), c.name, c.lane)
	if c.sampled = c.proxy.cfg.Past.isSampled(); c.sampled {
		c.told = h.tell()
	}
	if c.waited > 0 {
		c.note(c.proxy, &h)
	}
	var last error
	for c.tries < c.stream.Limits.Tries {
		m := h.next()
		if m == nil {
			break
		}
		if c.tries++; c.tries > 1 {
			c.of.Retries.Add(1)
		}
		out, took, err := c.connectTo(m)
		if err != nil {
			last = err
			c.failed = append(c.failed, failedTo(m, took, err))
			c.note(c.proxy, &h)
			c.of.Unreached.Add(1)
			if !isOurs(err) {
				c.proxy.tell(m, health.Unreached, took, err.Error())
			}
			continue
		}
		c.member, c.connect, c.out = m, took, out
		h.settled()
		now := c.proxy.cfg.Clock()
		c.load.Store(m.Load)
		c.target.Pool.Load().Begin(c.lane, m.Load, now)
		c.last.Store(int64(now))
		c.own(1, out)
		return true
	}
	c.of.Refused[RefusedMember].Add(1)
	c.note(c.proxy, &h)
	if last != nil {
		c.finish("refused: no member could be reached: "+last.Error(), true)
	} else {
		c.finish("refused: the pool has nobody to serve", true)
	}
	return false
}

// connectTo opens a connection to a member, tells it who the client is, and finds out who the
// member is.
func (c *conn) connectTo(m *pool.Member) (net.Conn, time.Duration, error) {
	began := c.proxy.cfg.Clock()
	out, err := dial(m.Address, c.stream.Limits.Connect, c.target.TLS != nil)
	if err == nil {
		out, err = c.introduce(out)
	}
	return out, c.proxy.cfg.Clock() - began, err
}

// introduce sends the PROXY header and agrees on TLS.
func (c *conn) introduce(out net.Conn) (net.Conn, error) {
	t := c.target
	if t.Header == nil && t.TLS == nil {
		return out, nil
	}
	out.SetDeadline(time.Now().Add(c.stream.Limits.Connect))
	if t.Header != nil {
		if _, err := out.Write(t.Header(c.client, c.local)); err != nil {
			out.Close()
			return nil, err
		}
	}
	if t.TLS != nil {
		secured, err := secure(out, t.TLS)
		if err != nil {
			out.Close()
			return nil, err
		}
		out = secured
	}
	out.SetDeadline(time.Time{})
	return out, nil
}

// join carries octets both ways until both sides have ended.
func (c *conn) join() {
	r := c.of
	r.Active.Add(1)
	defer r.Active.Add(-1)
	up := newFlow(c, c.in, c.out, true)
	done := make(chan struct{})
	c.proxy.crew.do(func() { // ends when either side has ended or was closed
		defer close(done)
		up.run(c.held)
	})
	newFlow(c, c.out, c.in, false).run(nil)
	<-done
	c.finish(endDone, false)
	c.target.Pool.Load().End(c.lane, c.member.Load, c.proxy.cfg.Clock())
}

// carried notes octets that were carried.
func (c *conn) carried(up bool, n int) {
	now := c.proxy.cfg.Clock()
	c.last.Store(int64(now))
	if up {
		if c.received.Add(int64(n)) == int64(n) {
			c.asked.Store(int64(now))
		}
		c.of.Received.Add(uint64(n))
	} else {
		if c.sent.Add(int64(n)) == int64(n) {
			c.first.Store(int64(now))
			c.answered(now)
		}
		c.of.Sent.Add(uint64(n))
	}
	c.member.Load.Carried(now, n)
}

// patience is for how long the connection may carry nothing; 0: it is not carried yet, and other
// limits of time hold.
func (c *conn) patience() time.Duration {
	if c.load.Load() == nil {
		return 0
	}
	limits := &c.of.stream.Load().Limits
	if c.half.Load() {
		return min(limits.HalfClosed, limits.Idle)
	}
	return limits.Idle
}

// keepAlive has the kernel look whether the member is still there. Most connections end before that would
// begin, and are spared the four calls that it takes.
func (c *conn) keepAlive() {
	c.closing.Lock()
	defer c.closing.Unlock()
	if out, ok := c.both[1].(*net.TCPConn); ok && c.reason.Load() == nil {
		_ = out.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
	}
}

// Reasons for which a connection ends.
const (
	endDone    = "both sides have ended it"
	endClient  = "the client has ended it"
	endReset   = "the client has reset it"
	endOrigin  = "the member has reset it"
	endIdle    = "idle for too long"
	endRefused = "refused"
	endEvicted = "the member was taken out of use"
	endDown    = "the member is down"
	endStopped = "the node was shut down"
)

// finish ends the connection, for the first reason that is given. reset: what is not whole must not
// be taken for whole. It reports whether it was not ended before.
func (c *conn) finish(reason string, reset bool) bool {
	c.closing.Lock()
	defer c.closing.Unlock()
	if !c.reason.CompareAndSwap(nil, &reason) {
		return false
	}
	for _, side := range c.both {
		if side == nil {
			continue
		}
		if l, ok := side.(interface{ SetLinger(int) error }); ok && reset {
			l.SetLinger(0)
		}
		side.Close()
	}
	return true
}
