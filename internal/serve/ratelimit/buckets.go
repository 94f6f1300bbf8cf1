package ratelimit

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Buckets are accounts of keys that the caller hashes, in a table of fixed size, as a Limiter
// has them. Who fills the table with keys of his own pushes out accounts that are nearly full
// first: to have one forgotten that is used up, an attacker must use up eight others that
// share its place, which he cannot know, so that it costs more than waiting does.
//
// Two keys share an account by chance if they have the same place and the same 16 bits: one
// in 8,000 of those that are kept.
type Buckets struct {
	start atomic.Pointer[time.Time] // of the first use
	words []atomic.Uint64
}

// Limits of tables.
const (
	leastAccounts = 1 << 10
	mostAccounts  = 1 << 24 // 128 MiB
)

// NewBuckets returns room for about so many accounts.
func NewBuckets(accounts int) *Buckets {
	n := leastAccounts
	for n < min(accounts, mostAccounts) {
		n *= 2
	}
	return &Buckets{words: make([]atomic.Uint64, n)}
}

// Bound is how fast an account gains, and how much it can hold.
type Bound struct {
	r     rate
	burst int
}

// maxBound keeps times within the table: an account is full again within a year.
const maxBound = 365 * 24 * time.Hour

// BoundOf returns the bound of so many in a time, and so many at once.
func BoundOf(requests int, per time.Duration, burst int) (Bound, error) {
	interval := per / time.Duration(max(requests, 1))
	switch {
	case requests < 1 || burst < 1 || per <= 0:
		return Bound{}, fmt.Errorf("a bound of nothing")
	case interval < time.Microsecond:
		return Bound{}, fmt.Errorf("%d in %v are more than a million a second", requests, per)
	case interval > maxBound/time.Duration(burst):
		return Bound{}, fmt.Errorf("%d in %v with %d at once take more than a year", requests, per, burst)
	}
	us := uint64(interval.Microseconds())
	return Bound{rate{us, us * uint64(burst-1)}, burst}, nil
}

// Burst returns how much an account can hold.
func (b Bound) Burst() int { return b.burst }

// Taken is what became of taking one out of an account.
type Taken struct {
	OK   bool
	Left int           // that can be taken at once
	Wait time.Duration // until one can be taken
	Full time.Duration // until the account is full
}

// Take takes one out of the account of a key.
func (b *Buckets) Take(now time.Time, key uint64, bound Bound) Taken {
	at := b.since(now)
	full, ok := take(b.words, at, key, bound.r)
	return bound.taken(at, full, ok)
}

// Look returns what Take would, but for what it takes.
func (b *Buckets) Look(now time.Time, key uint64, bound Bound) Taken {
	at := b.since(now)
	full := at
	if _, old := word(b.words, key, key>>(64-tagBits)); old>>(64-tagBits) == key>>(64-tagBits) {
		full = max(at, old&timeMax)
	}
	return bound.taken(at, full, full-at <= bound.r.burst)
}

func (b *Buckets) since(now time.Time) uint64 {
	start := b.start.Load()
	if start == nil {
		first := now
		b.start.CompareAndSwap(nil, &first)
		start = b.start.Load()
	}
	return uint64(max(now.Sub(*start).Microseconds(), 0)) & timeMax
}

// taken says what it means that an account will be full at a time.
func (b Bound) taken(now, full uint64, ok bool) Taken {
	owed := full - now
	t := Taken{OK: ok, Full: time.Duration(owed) * time.Microsecond}
	all := b.r.burst + b.r.interval
	if owed < all {
		t.Left = int((all - owed) / b.r.interval)
	}
	if owed > b.r.burst {
		t.Wait = time.Duration(owed-b.r.burst) * time.Microsecond
	}
	return t
}
