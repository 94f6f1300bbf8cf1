package httpproxy

import (
	"context"
	"time"

	"pharos/internal/proxy/origins"
)

// Origins returns the counters of every origin server in use.
func (s *Server) Origins() []origins.Counters { return s.origins.Read() }

// connect returns a connection to o, a kept one if fresh is false and there is
// one alive.
func (c *client) connect(o *origins.Origin, fresh bool) (oc *origins.Conn, reused bool, err error) {
	now := c.server.now.Load()
	if !fresh {
		oc, stale := o.Kept(now)
		if stale > 0 {
			c.shard.stale.Add(stale)
		}
		if oc != nil {
			c.shard.originReused.Add(1)
			c.attend(oc)
			return oc, true, nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.connectWithin(c.x))
	defer cancel()
	c.deadline.Store(0) // the context is the limit here
	began := time.Now()
	oc, reused, err = o.Open(ctx, now, origins.Need{Ends: c.ends, Switch: c.x.upgrade != nil})
	c.x.times.connect += time.Since(began)
	switch {
	case err != nil:
		c.shard.connectFailures.Add(1)
		return nil, false, err
	case reused:
		c.shard.originReused.Add(1)
	default:
		c.shard.originNew.Add(1)
	}
	c.attend(oc)
	return oc, reused, nil
}

// attend has the limits of time of c hold for oc.
func (c *client) attend(oc *origins.Conn) {
	if oc.Secured != nil {
		oc.Secured.Interruptible(c.isOverdue)
	}
}
