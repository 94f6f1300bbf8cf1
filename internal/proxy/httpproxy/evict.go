package httpproxy

import (
	"net/netip"
	"time"

	"pharos/internal/traffic/pool"
)

// Evict interrupts the requests and tunnels that are under way on a member of a pool, whose
// load this is, and returns how many it has found. A request of which nothing was answered
// yet goes to another member if it may be repeated; other clients lose their connection.
// The member is not to be picked any more: one that was picked just before is found by the
// next call. It says nothing of the member's health. A nil Server has none under way.
func (s *Server) Evict(member *pool.MemberLoad) (found int) {
	if s == nil {
		return 0
	}
	past := time.Unix(1, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.eachClient {
		o := c.origin.Load()
		if o == nil || o.Serves.Load() != member {
			continue
		}
		// The descriptor is the client's own goroutine's to close (writeNow), which is
		// therefore woken up to see why.
		c.evicted.Store(member)
		o.SetDeadline(past)
		found++
	}
	return found
}

// isEvicted reports whether the member at hand was taken out of use.
func (c *client) isEvicted() bool {
	member, o := c.evicted.Load(), c.origin.Load()
	return member != nil && o != nil && o.Serves.Load() == member
}

// CloseKept closes the connections that are kept to an origin server and not in use.
func (s *Server) CloseKept(address netip.AddrPort) {
	if s == nil {
		return
	}
	s.origins.CloseKept(address)
}
