package http2

import "time"

// budget is something that a client may do so often: a burst, a rate at which it comes back,
// and more that it earns.
type budget struct {
	left, burst, rate float64
	most              float64       // that can be left
	at                time.Duration // when it was counted last
}

func newBudget(now time.Duration, burst, most, rate float64) budget {
	return budget{left: burst, burst: burst, rate: rate, most: most, at: now}
}

// spend takes n, and reports whether that was left.
func (b *budget) spend(now time.Duration, n float64) bool {
	if b.left < b.burst {
		b.left = min(b.burst, b.left+b.rate*(now-b.at).Seconds())
	}
	b.left -= n
	b.at = now
	return b.left >= 0
}

// earn gives n back.
func (b *budget) earn(n float64) { b.left = min(b.most, b.left+n) }
