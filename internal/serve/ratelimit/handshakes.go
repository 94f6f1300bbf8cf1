package ratelimit

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Handshakes bounds how many TLS handshakes begin in a second: each costs as much as
// a hundred queries, and a client can have one for a packet of its own.
//
// A network has two accounts, so that who forges its addresses (in first packets of
// QUIC) can use up only the one for unproven addresses: after that they have to be
// proven, which the real ones can do.
type Handshakes struct {
	// Constant after NewHandshakes.
	clients *Limiter // nil: no limit
	total   rate     // no limit if zero
	start   time.Time

	full    atomic.Uint64 // when the account of all will be full, in microseconds since start
	refused atomic.Uint64
}

// NewHandshakes returns one that lets perSecond handshakes begin in all and
// perNetwork for each IPv4 /24 and IPv6 /56; 0: any number. now is any time not after
// the first call of Allow.
func NewHandshakes(perSecond, perNetwork int, now time.Time) *Handshakes {
	h := &Handshakes{start: now}
	if perNetwork > 0 {
		h.clients = New(Usual(perNetwork), now)
	}
	if perSecond > 0 {
		interval := uint64(time.Second.Microseconds()) / uint64(perSecond)
		h.total = rate{interval, interval * uint64(perSecond-1)}
	}
	return h
}

// Allow reports whether a handshake with client may begin now. proven tells whether
// the address cannot be forged: over TCP it never can. An unproven one that is
// refused may come again with a proof.
func (h *Handshakes) Allow(now time.Time, client netip.Addr, proven bool) bool {
	account := Answer
	if !proven {
		account = Empty
	}
	at := uint64(max(now.Sub(h.start).Microseconds(), 0)) & timeMax
	// The network comes first, so that its floods take nothing from the others.
	if h.clients != nil && !h.clients.take(at, h.clients.account(client, account), h.clients.rates[account]) || !h.takeTotal(at) {
		h.refused.Add(1)
		return false
	}
	return true
}

func (h *Handshakes) takeTotal(now uint64) bool {
	for h.total.interval > 0 {
		old := h.full.Load()
		full := max(now, old)
		if full-now > h.total.burst {
			return false
		}
		if h.full.CompareAndSwap(old, full+h.total.interval) {
			break
		}
	}
	return true
}

// Refused returns how often Allow has said no.
func (h *Handshakes) Refused() uint64 { return h.refused.Load() }
