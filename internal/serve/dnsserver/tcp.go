package dnsserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"pharos/internal/serve/proxyheader"
)

// tcpListener accepts connections at one address.
type tcpListener struct {
	// Constant after Listen.
	entrance *Entrance
	ln       *net.TCPListener
	local    netip.AddrPort

	failed bool // owned by run: the last attempt to accept failed
}

// add has e accept connections from ln.
func (e *Entrance) add(ln *net.TCPListener) netip.AddrPort {
	local := plain(ln.Addr())
	e.addrs = append(e.addrs, local)
	e.listeners = append(e.listeners, &tcpListener{entrance: e, ln: ln, local: local})
	return local
}

// run accepts until Shutdown closes the listener. Each connection has a goroutine,
// which ends with it.
func (l *tcpListener) run() {
	e := l.entrance
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
		e.accept(nc)
	}
}

// accept has a connection served, if the limits allow it.
func (e *Entrance) accept(nc *net.TCPConn) {
	peer := plain(nc.RemoteAddr())
	// What a proxy carries is counted by the client that its header will name.
	proxied := e.server.proxies != nil && e.server.proxies(peer.Addr())
	var g guest
	var run func()
	if e.carry == nil {
		c := newTCPConn(e, nc, proxied)
		g, run = c, c.run
	} else {
		v := newVisit(e, peer.Addr(), func() { nc.Close() })
		g, run = v, func() { e.carryConn(nc, v, proxied) }
	}
	if !e.conns.admit(g, !proxied) {
		e.counts.add(ConnectionsRefused, 1)
		nc.Close()
		return
	}
	e.counts.add(Connections, 1)
	e.server.loops.Go(run) // ends with the connection
}

// carryConn is the life of a connection that a driver reads.
func (e *Entrance) carryConn(nc *net.TCPConn, v *Visit, proxied bool) {
	defer v.Leave()
	defer nc.Close()
	a := arrival{client: plain(nc.RemoteAddr()), local: plain(nc.LocalAddr()), conn: nc}
	if e.letIn(&a, proxied, v) != nil {
		return
	}
	v.Client, v.Local, v.TLS = a.client, a.local, a.tls
	e.carry(a.conn.(*tls.Conn), v)
}

// arrival is a connection on its way in.
type arrival struct {
	conn          net.Conn // what is read and written from then on
	client, local netip.AddrPort
	tls           *tls.ConnectionState
}

// letIn reads the header of a proxy and agrees on TLS, each within
// Limits.Handshake. The connection is closed by the caller if there is an error.
func (e *Entrance) letIn(a *arrival, proxied bool, g guest) error {
	if proxied {
		a.conn.SetReadDeadline(time.Now().Add(e.limits.Handshake))
		h, err := proxyheader.Read(a.conn)
		if err != nil {
			e.counts.add(ProxyRefused, 1)
			return err
		}
		if h.Client.IsValid() {
			a.client = h.Client // local stays: rules for a listener are for what comes to it
		}
		if !e.conns.rename(g, a.client.Addr()) {
			e.counts.add(ConnectionsRefused, 1)
			return errTooMany
		}
	}
	if e.tls != nil {
		if !e.MayShake(a.client.Addr(), true) {
			return errHandshakes
		}
		conn := tls.Server(a.conn, e.tls)
		ctx, cancel := context.WithTimeout(context.Background(), e.limits.Handshake)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			e.counts.add(HandshakesFailed, 1)
			return err
		}
		state := conn.ConnectionState()
		a.conn, a.tls = conn, &state
	}
	return nil
}

var errHandshakes = errors.New("too many TLS handshakes")

var errTooMany = errors.New("too many connections of this client")

func (l *tcpListener) acceptFailed(err error) {
	s := l.entrance.server
	l.entrance.counts.add(ReceiveErrors, 1)
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

// guest is an open connection.
type guest interface {
	address() netip.Addr // of the client
	idleAt() int64       // since when it has been idle, in Unix nanoseconds; 0: it is not
	evict() bool         // closes it if it is idle, and reports whether it was
	drain(now time.Time) // lets it end in order
	kill()               // closes it, whatever it waits for
	check() error
}

// connTable holds the open connections, and the limits on them.
type connTable struct {
	// Constant after init.
	limits Limits
	counts *sharedCounts

	// mu comes before the guests' own. Invariant: perClient has the number of conns
	// of each client, and no zeroes.
	mu        sync.Mutex
	conns     map[guest]netip.Addr // with what the client is counted by; guarded by mu
	perClient map[netip.Addr]int   // guarded by mu
	draining  bool                 // guarded by mu
}

func (t *connTable) init(limits Limits, counts *sharedCounts) {
	t.limits, t.counts = limits, counts
	t.conns, t.perClient = map[guest]netip.Addr{}, map[netip.Addr]int{}
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

// admit adds g, if the limits allow it. Without counted, its client is not known
// yet: see rename.
func (t *connTable) admit(g guest, counted bool) bool {
	key := netip.Addr{}
	if counted {
		key = clientKey(g.address())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining || counted && t.perClient[key] >= t.limits.PerClient {
		return false
	}
	if len(t.conns) >= t.limits.Connections && !t.evictLocked() {
		return false
	}
	t.conns[g] = key
	if counted {
		t.perClient[key]++
	}
	return true
}

// rename counts g, which was admitted without being counted, as client's. It
// reports false when the client has too many connections, or g is gone.
func (t *connTable) rename(g guest, client netip.Addr) bool {
	key := clientKey(client)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.conns[g]; !ok || t.perClient[key] >= t.limits.PerClient {
		return false
	}
	t.conns[g] = key
	t.perClient[key]++
	return true
}

// evictLocked closes the connection that has been idle for longest. It looks at
// all of them, some 10 us for the default limit, once per connection above it.
func (t *connTable) evictLocked() bool {
	for range 2 { // the one chosen may have got a query since
		var oldest guest
		var since int64
		for g := range t.conns {
			if at := g.idleAt(); at != 0 && (oldest == nil || at < since) {
				oldest, since = g, at
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

// remove takes g out, if it is still there.
func (t *connTable) remove(g guest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(g)
}

func (t *connTable) removeLocked(g guest) {
	key, ok := t.conns[g]
	if !ok {
		return
	}
	delete(t.conns, g)
	if !key.IsValid() {
		return
	}
	if t.perClient[key]--; t.perClient[key] == 0 {
		delete(t.perClient, key)
	}
}

// drainAll refuses new connections and lets those there are end in order.
func (t *connTable) drainAll(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	for g := range t.conns {
		g.drain(now)
	}
}

// killAll closes every connection, whatever it waits for.
func (t *connTable) killAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	for g := range t.conns {
		g.kill()
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
	for g, key := range t.conns {
		if key.IsValid() {
			count[key]++
		}
		if err := g.check(); err != nil {
			return err
		}
	}
	if !maps.Equal(count, t.perClient) {
		return fmt.Errorf("connections per client: got %v, want %v", t.perClient, count)
	}
	return nil
}
