package xfr

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of connections to primaries over TLS that are kept between two requests.
// Chosen, not derived: zones of one primary are mostly asked for in a row, and most
// servers close what has been idle for 10 s.
const (
	keptTime = 9 * time.Second
	keptMost = 256 // in all; at the limit a connection is closed instead
)

// kept are the connections to primaries over TLS that have no request now: RFC 9103
// §6.2 and §7.6 would have them used again.
type kept struct {
	mu     sync.Mutex // guards what follows
	conns  map[primaryID][]*keptConn
	count  int
	closed bool
}

// primaryID tells one way to a primary from another.
type primaryID struct {
	address netip.AddrPort
	tls     string
}

type keptConn struct {
	net.Conn
	timer *time.Timer
}

// take returns a connection to a primary, the one that was used last; nil if there
// is none.
func (k *kept) take(p Peer) net.Conn {
	if k == nil || p.TLS == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	id := primaryID{p.Address, p.TLSID}
	all := k.conns[id]
	if len(all) == 0 {
		return nil
	}
	last := all[len(all)-1]
	last.timer.Stop()
	k.setLocked(id, all[:len(all)-1])
	k.count--
	return last.Conn
}

// put keeps a connection for a while, or closes it.
func (k *kept) put(p Peer, conn net.Conn) {
	if k == nil || !k.keep(p, conn) {
		conn.Close()
	}
}

func (k *kept) keep(p Peer, conn net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || p.TLS == nil || k.count >= keptMost {
		return false
	}
	id, c := primaryID{p.Address, p.TLSID}, &keptConn{Conn: conn}
	c.timer = time.AfterFunc(keptTime, func() { k.drop(id, c) })
	k.setLocked(id, append(k.conns[id], c))
	k.count++
	return true
}

// drop closes a connection that was kept for long enough.
func (k *kept) drop(id primaryID, c *keptConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.conns[id]
	for i, have := range all {
		if have == c {
			k.setLocked(id, append(all[:i], all[i+1:]...))
			k.count--
			c.Close()
			return
		}
	}
}

func (k *kept) setLocked(id primaryID, all []*keptConn) {
	if k.conns == nil {
		k.conns = map[primaryID][]*keptConn{}
	}
	if k.conns[id] = all; len(all) == 0 {
		delete(k.conns, id)
	}
}

// close closes all there are, and those that are put back later.
func (k *kept) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for _, all := range k.conns {
		for _, c := range all {
			c.timer.Stop()
			c.Close()
		}
	}
	k.conns, k.count = nil, 0
}
