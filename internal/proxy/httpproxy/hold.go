package httpproxy

import (
	"fmt"
	"time"

	"pharos/internal/proxy/holding"
)

// retryAfter is when a client may try again that was not held: a start takes some time.
const retryAfter = 5

// kindNobody is how RFC 9209 §2.3.5 calls it when there is nobody to ask.
const kindNobody = "destination_unavailable"

// awaitMember holds a request until a member of its pool can be picked. The refusal says
// why it is held no longer, or why not at all.
func (c *client) awaitMember(x *exchange) refusal {
	refused := refusal{status: 503, kind: kindNobody, text: "no member of the pool takes requests"}
	h := x.table.HoldOf(x.index)
	if h == nil || len(x.pool.View().Eligible) > 0 {
		return refused
	}
	refused.after = retryAfter
	c.deadline.Store(0)
	began, passed := time.Now(), x.chain
	defer func() { x.choice.held += time.Since(began) }()
	var moved refusal
	end := h.Await(&holding.Guest{
		Octets: int64(len(x.in) + len(x.back) + cap(x.head)), Most: min(h.Time()-x.choice.held, c.remaining()),
		Changed: func() <-chan struct{} { return x.pool.Load().Changed() },
		Look: func() bool { // a reload may have another pool for it
			if moved = c.findRoute(x); !moved.isSet() && x.chain != passed {
				moved = refusal{status: 503, kind: "proxy_configuration_error", after: retryAfter, text: "the filters of the route have changed while the request waited"}
			}
			return moved.isSet() || len(x.pool.View().Eligible) > 0
		},
		IsGone: c.wire.isGone, Closing: c.server.closing,
	})
	switch {
	case end == holding.Ready:
		return moved
	case end == holding.Full:
		refused.text = "no member of the pool is up yet, and too many requests wait for one"
	case end == holding.Gone:
		return gone("the client closed the connection while it waited for a member of the pool")
	case end == holding.Closing:
		refused.text, refused.close = "the gateway is being shut down", true
	case c.remaining() == 0:
		return totalOver
	default:
		refused.text = fmt.Sprintf("no member of the pool came up within %v", h.Time())
	}
	return refused
}
