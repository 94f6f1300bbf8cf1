// Package origins opens connections to origin servers and keeps those that are good for
// another request.
//
//	Set.Of -> Origin -> Kept: one that is alive, or Open: a new one, as its Reach says
//	                 -> ... a request and its response ... -> Set.Keep, or Close
//
// It owns the connections that nobody uses, their bounds in number and time, and what is counted
// of each server. It does not own which server a request goes to, nor what is said on a connection.
//
// Entry points: New, Set.Of, Origin.Kept, Origin.Open, Set.Keep, Set.Tend, Set.Close.
//
// Concurrency: every method may be called from any goroutine; a Conn belongs to who has got it,
// until it is kept. Times are those of the caller's coarse clock.
package origins

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

// Limits bound what is kept.
type Limits struct {
	PerOrigin int           // connections to one server
	Idle      time.Duration // for which a connection is kept
}

// Dial opens a connection.
type Dial func(ctx context.Context, address netip.AddrPort) (net.Conn, error)

// Set is all origin servers in use. Make it with New.
type Set struct {
	limits Limits
	dial   Dial
	all    atomic.Pointer[map[place]*Origin] // copied on write, with mu held
	mu     sync.Mutex
}

// New returns a Set without any. dial may be nil.
func New(l Limits, dial Dial) *Set {
	if dial == nil {
		dial = DialTCP
	}
	s := &Set{limits: l, dial: dial}
	s.all.Store(&map[place]*Origin{})
	return s
}

// DialTCP is how connections are opened where nothing else is said.
func DialTCP(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address.String())
}

// place is an origin server as connections are kept by it.
type place struct {
	address netip.AddrPort
	by      *Reach // nil: HTTP/1.1 in the clear
}

// Origin is one origin server, by its address and how it is reached. Pools that share a member
// share it.
type Origin struct {
	// Constant.
	place
	set *Set

	// What the caller counts; atomic.
	Requests, Failures atomic.Uint64

	connectFailures, opened, reused, stale atomic.Uint64
	used                                   atomic.Int64 // the last use
	old                                    atomic.Bool  // of two versions it has chosen HTTP/1.1 last

	// Guarded by mu, which is held for a push or a pop.
	mu   sync.Mutex
	kept []*Conn // the most recently used last
}

// Conn is one connection to an origin server.
type Conn struct {
	net.Conn
	Descriptor int           // -1 when there is none to read and write
	Secured    *tlsconn.Conn // Conn, if it is over TLS

	// Serves is the member that it carries a request to, or carried the last one to.
	Serves atomic.Pointer[pool.MemberLoad]

	socket int  // the one beneath, to look at; -1 when there is none
	once   bool // not kept: it is for one exchange, or of one client
	since  int64
}

// Counters is a reading of one origin server's counters.
type Counters struct {
	Address         netip.AddrPort
	Requests        uint64 // sent to it
	ConnectFailures uint64
	Failures        uint64 // after connecting, before an answer
	Opened, Reused  uint64 // connections opened; requests on a kept one
	Stale           uint64 // kept connections found dead
	Kept            int    // connections kept now
}

// Read returns the counters of every origin server in use.
func (s *Set) Read() []Counters {
	all := map[netip.AddrPort]*Counters{} // however they are reached
	var out []Counters
	for _, o := range *s.all.Load() {
		c := all[o.address]
		if c == nil {
			c = &Counters{Address: o.address}
			all[o.address] = c
		}
		o.mu.Lock()
		c.Kept += len(o.kept)
		o.mu.Unlock()
		c.Requests += o.Requests.Load()
		c.ConnectFailures += o.connectFailures.Load()
		c.Failures += o.Failures.Load()
		c.Opened += o.opened.Load()
		c.Reused += o.reused.Load()
		c.Stale += o.stale.Load()
	}
	for _, c := range all {
		out = append(out, *c)
	}
	return out
}

// Of returns the origin server at an address: a look-up in a map that is never written to,
// but replaced. A nil Reach is HTTP/1.1 in the clear.
func (s *Set) Of(address netip.AddrPort, by *Reach, now int64) *Origin {
	at := place{address, by}
	if o := (*s.all.Load())[at]; o != nil {
		return o
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.all.Load()
	if o := old[at]; o != nil {
		return o
	}
	next := make(map[place]*Origin, len(old)+1)
	for a, o := range old {
		next[a] = o
	}
	o := &Origin{place: at, set: s}
	o.used.Store(now)
	next[at] = o
	s.all.Store(&next)
	return o
}

// Kept returns a connection that was kept and is alive, nil if there is none; and how many were
// found dead.
func (o *Origin) Kept(now int64) (oc *Conn, stale uint64) {
	o.used.Store(now)
	for {
		if oc = o.pop(); oc == nil {
			return nil, stale
		}
		if oc.isAlive() {
			o.reused.Add(1)
			return oc, stale
		}
		o.Stale()
		stale++
		oc.Close()
	}
}

// Stale counts a kept connection that turned out to be dead.
func (o *Origin) Stale() { o.stale.Add(1) }

// Open returns a new connection, or one over which more than one exchange goes, and reports
// whether that was there.
func (o *Origin) Open(ctx context.Context, now int64, n Need) (oc *Conn, reused bool, err error) {
	o.used.Store(now)
	oc, reused, err = o.open(ctx, n)
	switch {
	case err != nil:
		o.connectFailures.Add(1)
		return nil, false, err
	case reused:
		o.reused.Add(1)
	default:
		o.opened.Add(1)
	}
	return oc, reused, nil
}

func (o *Origin) pop() *Conn {
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

// Keep puts oc, on which nothing is under way, where the next request finds it. It is closed
// if there are enough.
func (o *Origin) Keep(oc *Conn, now int64) {
	oc.since = now
	o.mu.Lock()
	full := oc.once || len(o.kept) >= o.set.limits.PerOrigin
	if !full {
		o.kept = append(o.kept, oc)
	}
	o.mu.Unlock()
	if full {
		oc.Close()
	}
}

// isAlive reports whether a kept connection is open and silent. One that has
// something to read has been closed, or holds octets that nobody asked for: read
// as the response to the next request they would poison it.
func (oc *Conn) isAlive() bool {
	if oc.Secured != nil && oc.Secured.Pending() {
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

// Descriptor returns that of a connection; -1 if it has none of its own.
func Descriptor(conn net.Conn) int {
	descriptor := -1
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			raw.Control(func(d uintptr) { descriptor = int(d) })
		}
	}
	return descriptor
}

// Tend closes connections that were kept for too long, and forgets servers long unused.
func (s *Set) Tend(now int64) {
	unused, changed := 0, map[*Reach]bool{}
	for _, o := range *s.all.Load() {
		limit := now - int64(s.limits.Idle)
		if o.by.hasChanged(changed) {
			limit = math.MaxInt64 // made under what counted before
		}
		o.closeOlder(limit)
		if o.isUnused(now) {
			unused++
		}
	}
	if unused == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[place]*Origin)
	for a, o := range *s.all.Load() {
		if !o.isUnused(now) {
			next[a] = o
		}
	}
	s.all.Store(&next)
}

// isUnused reports whether nothing was sent to o for an hour: its counters are
// of no interest any more.
func (o *Origin) isUnused(now int64) bool {
	return o.used.Load() < now-int64(time.Hour)
}

// closeOlder closes the connections kept since before limit; they are the first in the list.
func (o *Origin) closeOlder(limit int64) {
	o.mu.Lock()
	n := 0
	for n < len(o.kept) && o.kept[n].since < limit {
		n++
	}
	old := append([]*Conn(nil), o.kept[:n]...)
	rest := copy(o.kept, o.kept[n:])
	clear(o.kept[rest:])
	o.kept = o.kept[:rest]
	o.mu.Unlock()
	for _, oc := range old {
		oc.Close()
	}
}

// CloseKept closes the connections that are kept to the server at an address.
func (s *Set) CloseKept(address netip.AddrPort) {
	for at, o := range *s.all.Load() {
		if at.address == address {
			o.closeOlder(math.MaxInt64)
		}
	}
}

// Close closes all that is kept.
func (s *Set) Close() {
	for _, o := range *s.all.Load() {
		if o.by != nil && o.by.Close != nil {
			o.by.Close()
		}
		o.closeOlder(math.MaxInt64)
	}
}
