package httpproxy

import (
	"context"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"pharos/internal/proxy/tlsconn"
	"pharos/internal/traffic/pool"
)

// origin is one origin server, by address: its kept connections and counters.
// Pools that share a member share these.
type origin struct {
	// Constant after originOf made it.
	place

	// Atomic.
	requests, connectFailures, failures, opened, reused, stale atomic.Uint64
	used                                                       atomic.Int64 // coarse time of the last use

	// Guarded by mu, which is held for a push or a pop.
	mu   sync.Mutex
	kept []*originConn // the most recently used last
}

// originConn is one connection to an origin server, owned by the client
// connection that uses it or by its origin's kept list.
type originConn struct {
	conn       net.Conn
	descriptor int           // -1 when there is none to read and write
	socket     int           // the one beneath, to look at; -1 when there is none
	secured    *tlsconn.Conn // conn, if it is over TLS
	once       bool          // not kept: it is for one exchange, or of one client
	since      int64

	serves atomic.Pointer[pool.MemberLoad] // the member that it carries a request to, or carried the last one to
}

// OriginCounters is a reading of one origin server's counters.
type OriginCounters struct {
	Address         netip.AddrPort
	Requests        uint64 // sent to it
	ConnectFailures uint64
	Failures        uint64 // after connecting, before an answer
	Opened, Reused  uint64 // connections opened; requests on a kept one
	Stale           uint64 // kept connections found dead
	Kept            int    // connections kept now
}

// Origins returns the counters of every origin server in use.
func (s *Server) Origins() []OriginCounters {
	all := map[netip.AddrPort]*OriginCounters{} // however they are reached
	var out []OriginCounters
	for _, o := range *s.origins.Load() {
		c := all[o.address]
		if c == nil {
			c = &OriginCounters{Address: o.address}
			all[o.address] = c
		}
		o.mu.Lock()
		c.Kept += len(o.kept)
		o.mu.Unlock()
		c.Requests += o.requests.Load()
		c.ConnectFailures += o.connectFailures.Load()
		c.Failures += o.failures.Load()
		c.Opened += o.opened.Load()
		c.Reused += o.reused.Load()
		c.Stale += o.stale.Load()
	}
	for _, c := range all {
		out = append(out, *c)
	}
	return out
}

// originOf returns the origin server at a place: a look-up in a map that is
// never written to, but replaced.
func (s *Server) originOf(at place) *origin {
	if o := (*s.origins.Load())[at]; o != nil {
		return o
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.origins.Load()
	if o := old[at]; o != nil {
		return o
	}
	next := make(map[place]*origin, len(old)+1)
	for a, o := range old {
		next[a] = o
	}
	o := &origin{place: at}
	o.used.Store(s.now.Load())
	next[at] = o
	s.origins.Store(&next)
	return o
}

// connect returns a connection to o, a kept one if fresh is false and there is
// one alive.
func (c *client) connect(o *origin, fresh bool) (oc *originConn, reused bool, err error) {
	s := c.server
	o.used.Store(s.now.Load())
	for !fresh {
		oc := o.pop()
		if oc == nil {
			break
		}
		if oc.isAlive() {
			if oc.secured != nil {
				oc.secured.Interruptible(c.isOverdue)
			}
			o.reused.Add(1)
			c.shard.originReused.Add(1)
			return oc, true, nil
		}
		o.stale.Add(1)
		c.shard.stale.Add(1)
		oc.conn.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.Connect)
	defer cancel()
	c.deadline.Store(0) // the context is the limit here
	began := time.Now()
	oc, reused, err = c.open(ctx, o)
	c.x.times.connect += time.Since(began)
	switch {
	case err != nil:
		o.connectFailures.Add(1)
		c.shard.connectFailures.Add(1)
		return nil, false, err
	case reused:
		o.reused.Add(1)
		c.shard.originReused.Add(1)
	default:
		o.opened.Add(1)
		c.shard.originNew.Add(1)
	}
	if oc.secured != nil {
		oc.secured.Interruptible(c.isOverdue)
	}
	return oc, reused, nil
}

func dialTCP(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address.String())
}

func (o *origin) pop() *originConn {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.kept)
	if n == 0 {
		return nil
	}
	oc := o.kept[n-1]
	o.kept[n-1] = nil
	o.kept = o.kept[:n-1]
	return oc
}

// keep puts oc, on which nothing is under way, where the next request finds it.
func (s *Server) keep(o *origin, oc *originConn) {
	oc.since = s.now.Load()
	o.mu.Lock()
	full := oc.once || len(o.kept) >= s.limits.IdlePerOrigin || s.draining.Load()
	if !full {
		o.kept = append(o.kept, oc)
	}
	o.mu.Unlock()
	if full {
		oc.conn.Close()
	}
}

// isAlive reports whether a kept connection is open and silent. One that has
// something to read has been closed, or holds octets that nobody asked for: read
// as the response to the next request they would poison it.
func (oc *originConn) isAlive() bool {
	if oc.secured != nil && oc.secured.Pending() {
		return false
	}
	if oc.socket < 0 {
		return true // found out by using it
	}
	var b [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(oc.socket), uintptr(unsafe.Pointer(&b)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return errno == syscall.EAGAIN || errno == syscall.EINTR
}

func descriptorOf(conn net.Conn) int {
	descriptor := -1
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			raw.Control(func(d uintptr) { descriptor = int(d) })
		}
	}
	return descriptor
}

// dropIdleOrigins closes connections kept for longer than OriginIdle, and
// forgets origins long unused.
func (s *Server) dropIdleOrigins() {
	now := s.now.Load()
	unused, changed := 0, map[*Reach]bool{}
	for _, o := range *s.origins.Load() {
		limit := now - int64(s.limits.OriginIdle)
		if o.by.hasChanged(changed) {
			limit = math.MaxInt64 // made under what counted before
		}
		for _, oc := range o.takeOlder(limit) {
			oc.conn.Close()
		}
		if o.isUnused(now) {
			unused++
		}
	}
	if unused == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[place]*origin)
	for a, o := range *s.origins.Load() {
		if !o.isUnused(now) {
			next[a] = o
		}
	}
	s.origins.Store(&next)
}

// isUnused reports whether nothing was sent to o for an hour: its counters are
// of no interest any more.
func (o *origin) isUnused(now int64) bool {
	return o.used.Load() < now-int64(time.Hour)
}

// takeOlder removes and returns the connections kept since before limit; they
// are the first in the list.
func (o *origin) takeOlder(limit int64) []*originConn {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < len(o.kept) && o.kept[n].since < limit {
		n++
	}
	if n == 0 {
		return nil
	}
	old := append([]*originConn(nil), o.kept[:n]...)
	rest := copy(o.kept, o.kept[n:])
	clear(o.kept[rest:])
	o.kept = o.kept[:rest]
	return old
}

func (s *Server) closeOrigins() {
	for _, o := range *s.origins.Load() {
		if o.by != nil && o.by.Close != nil {
			o.by.Close()
		}
		for _, oc := range o.takeOlder(1<<63 - 1) {
			oc.conn.Close()
		}
	}
}
