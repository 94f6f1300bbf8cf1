package dnsserver

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"
)

// tcpListener accepts connections at one address.
type tcpListener struct {
	// Constant after Listen.
	server *Server
	ln     *net.TCPListener
	local  netip.AddrPort

	failed bool // owned by run: the last attempt to accept failed
}

// run accepts until Shutdown closes the listener. Each connection has a goroutine,
// which ends with it.
func (l *tcpListener) run() {
	s := l.server
	for {
		nc, err := l.ln.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.acceptFailed(err)
			continue
		}
		l.failed = false
		c := newTCPConn(s, nc)
		if !s.conns.admit(c) {
			s.tcpCounts.add(ConnectionsRefused, 1)
			nc.Close()
			continue
		}
		s.tcpCounts.add(Connections, 1)
		s.loops.Go(c.run)
	}
}

func (l *tcpListener) acceptFailed(err error) {
	s := l.server
	s.tcpCounts.add(ReceiveErrors, 1)
	if !l.failed { // once, until it works again
		s.log.Warn("dnsserver: cannot accept connections", "address", l.local, "error", err)
	}
	l.failed = true
	pause := time.NewTimer(acceptPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-s.stop:
	}
}

// connTable holds the open connections, and the limits on them.
type connTable struct {
	// Constant after init.
	limits TCPLimits
	counts *sharedCounts

	// mu comes before tcpConn.mu. Invariant: perClient has the number of conns of
	// each client, and no zeroes.
	mu        sync.Mutex
	conns     map[*tcpConn]struct{} // guarded by mu
	perClient map[netip.Addr]int    // guarded by mu
	draining  bool                  // guarded by mu
}

func (t *connTable) init(limits TCPLimits, counts *sharedCounts) {
	t.limits, t.counts = limits, counts
	t.conns, t.perClient = map[*tcpConn]struct{}{}, map[netip.Addr]int{}
}

// clientKey is what PerClient counts by: an IPv4 address or an IPv6 /64, which one
// customer has all of.
func clientKey(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}

// admit adds c, if the limits allow it.
func (t *connTable) admit(c *tcpConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining || t.perClient[c.key] >= t.limits.PerClient {
		return false
	}
	if len(t.conns) >= t.limits.Connections && !t.evictLocked() {
		return false
	}
	t.conns[c] = struct{}{}
	t.perClient[c.key]++
	return true
}

// evictLocked closes the connection that has been idle for longest. It looks at
// all of them, some 10 us for the default limit, once per connection above it.
func (t *connTable) evictLocked() bool {
	for range 2 { // the one chosen may have got a query since
		var oldest *tcpConn
		var since int64
		for c := range t.conns {
			if at := c.idleSince.Load(); at != 0 && (oldest == nil || at < since) {
				oldest, since = c, at
			}
		}
		if oldest == nil {
			return false
		}
		if oldest.evict() {
			t.counts.add(ConnectionsEvicted, 1)
			t.removeLocked(oldest)
			return true
		}
	}
	return false
}

// remove takes c out, if it is still there.
func (t *connTable) remove(c *tcpConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(c)
}

func (t *connTable) removeLocked(c *tcpConn) {
	if _, ok := t.conns[c]; !ok {
		return
	}
	delete(t.conns, c)
	if t.perClient[c.key]--; t.perClient[c.key] == 0 {
		delete(t.perClient, c.key)
	}
}

// drainAll refuses new connections and lets those there are end in order.
func (t *connTable) drainAll(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	for c := range t.conns {
		c.drain(now)
	}
}

// killAll closes every connection, whatever it waits for.
func (t *connTable) killAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	for c := range t.conns {
		c.kill()
	}
}

func (t *connTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

// check returns what is wrong with the table, for tests.
func (t *connTable) check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := map[netip.Addr]int{}
	for c := range t.conns {
		count[c.key]++
		if err := c.check(); err != nil {
			return err
		}
	}
	if !maps.Equal(count, t.perClient) {
		return fmt.Errorf("connections per client: got %v, want %v", t.perClient, count)
	}
	return nil
}
