package http2

import "time"

// budget is something that a client may do so often: a burst, and a rate at which it comes
// back.
type budget struct {
	left, most, rate float64
	at               time.Duration // when it was counted last
}

func newBudget(burst, rate float64) budget { return budget{left: burst, most: burst, rate: rate} }

// spend takes n, and reports whether that was left.
func (b *budget) spend(now time.Duration, n float64) bool {
	b.left = min(b.most, b.left+b.rate*(now-b.at).Seconds()) - n
	b.at = now
	return b.left >= 0
}

// earn gives n back.
func (b *budget) earn(n float64) { b.left = min(b.most, b.left+n) }
