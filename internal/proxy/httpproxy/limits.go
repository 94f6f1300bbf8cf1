package httpproxy

import (
	"time"

	"pharos/internal/proxy/limits"
)

// Limits bounds what connections may cost.
type Limits = limits.Limits

// Limits that are not configurable, and why.
const (
	// tick is the period of the coarse clock: ten wake-ups a second cost nothing
	// to notice, and no limit needs to be finer.
	tick = 100 * time.Millisecond
	// perTick is how many connections are looked at per tick: about a millisecond.
	perTick = 8192
	// maxInterim is how many 1xx responses may precede a response: 100 and a few
	// 103 are honest, an endless row of them is an attack on the client.
	maxInterim = 8
	maxTries   = limits.MaxTries
	// smallBuffer holds nearly every head, and content of one packet burst.
	smallBuffer = 16 << 10
	// largeBuffer holds the largest head, and makes few system calls of much content.
	largeBuffer = 64 << 10
	// leastRoom is the room for content that a buffer has after its head.
	leastRoom = 4 << 10
)
