// Package quota counts what a client may do only so often: requests that it gives up, frames
// that carry nothing.
//
// Entry points: New, Budget.Spend, Budget.Earn.
//
// Concurrency: a Budget is owned by one goroutine at a time.
package quota

import "time"

// Budget is something that a client may do so often: a burst, a rate at which it comes back,
// and more that it earns.
type Budget struct {
	left, burst, rate float64
	most              float64       // that can be left
	at                time.Duration // when it was counted last
}

// New returns a Budget with burst left, of which rate a second come back; by what it earns it
// has at most most. Times are of any one clock.
func New(now time.Duration, burst, most, rate float64) Budget {
	return Budget{left: burst, burst: burst, rate: rate, most: most, at: now}
}

// Spend takes n, and reports whether that was left.
func (b *Budget) Spend(now time.Duration, n float64) bool {
	if b.left < b.burst {
		b.left = min(b.burst, b.left+b.rate*(now-b.at).Seconds())
	}
	b.left -= n
	b.at = now
	return b.left >= 0
}

// Earn gives n back.
func (b *Budget) Earn(n float64) { b.left = min(b.most, b.left+n) }
