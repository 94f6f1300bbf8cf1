// Package mirror says which requests of a route are copied to another pool, and counts what
// becomes of the copies.
//
// It owns the choice, the bounds of copies, and their content while it gathers. It does not
// own their way, which is that of requests (package httpproxy).
//
// A request with more content than a copy may have is not copied: half of one is another
// request. What is beyond a bound is left out at once, as nobody waits for a copy.
//
// Entry points: Spec.Takes, Counts.Begin, Copy.Add.
//
// Concurrency: Counts may be used by any number of goroutines; a Copy belongs to one at a time.
package mirror

import (
	"fmt"
	"sync/atomic"
)

// Spec is a pool that gets copies of the requests of a route.
type Spec struct {
	Pool    string
	Percent int  // of the requests
	Unsafe  bool // those of methods that change something, too
	Content int  // octets of content at most
	Most    int  // copies under way at once
}

// Takes reports whether a request is to be copied; drawn is a number below 100.
func (s *Spec) Takes(isSafe bool, drawn int) bool {
	return (isSafe || s.Unsafe) && drawn < s.Percent
}

// Text says in words which requests are copied.
func (s *Spec) Text() string {
	which := "GET, HEAD and OPTIONS"
	if s.Unsafe {
		which = "all methods"
	}
	return fmt.Sprintf("%s, with content of at most %d octets, %d at once", which, s.Content, s.Most)
}

// Counts are what became of copies. They outlive configurations.
type Counts struct {
	underWay                        atomic.Int64
	answered, failed, full, skipped atomic.Uint64
}

// Skip counts a request that was not copied since its content is too large.
func (c *Counts) Skip() { c.skipped.Add(1) }

// Begin reports whether there is room for a copy, which is followed by End.
func (c *Counts) Begin(most int) bool {
	if c.underWay.Add(1) <= int64(most) {
		return true
	}
	c.underWay.Add(-1)
	c.full.Add(1)
	return false
}

// End counts a copy that has ended, with an answer or without.
func (c *Counts) End(answered bool) {
	if c.underWay.Add(-1); answered {
		c.answered.Add(1)
	} else {
		c.failed.Add(1)
	}
}

// Reading is what became of the copies of a route.
type Reading struct {
	Route, Pool string
	UnderWay    int64
	Answered    uint64 // with whatever status
	Failed      uint64
	Full        uint64 // left out, since too many were under way
	Skipped     uint64 // left out, since the content is too large
}

// Read returns a reading for a route and its pool.
func (c *Counts) Read(route, pool string) Reading {
	return Reading{route, pool, c.underWay.Load(), c.answered.Load(), c.failed.Load(), c.full.Load(), c.skipped.Load()}
}

// Copy is a copy whose content gathers.
type Copy struct {
	Head    []byte
	Content []byte
	Most    int  // octets of content
	IsOver  bool // there is more content than is copied
}

// Add takes content, as far as it is copied. The nil Copy takes none.
func (y *Copy) Add(piece []byte) {
	if y == nil || y.IsOver {
		return
	}
	if len(y.Content)+len(piece) > y.Most {
		y.IsOver, y.Content = true, nil
		return
	}
	y.Content = append(y.Content, piece...)
}
