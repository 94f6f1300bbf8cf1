// Package histogram counts how long things took, by many processors at once.
//
// It owns the buckets, and how they are spread over memory. What is timed, and how it is
// shown, is for others.
//
// Entry points: Histogram.Part, Part.Observe, Histogram.Read.
//
// Concurrency: all methods may be called from any goroutine, and wait for nobody.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets is the number of buckets of a histogram: bucket i
// counts requests of at most Bound(i), the last one all others.
const Buckets = 22

// Bound returns the upper bound of a bucket: 64 us doubled i times.
func Bound(i int) time.Duration { return 64 * time.Microsecond << i }

// Bucket returns the bucket of a time.
func Bucket(d time.Duration) int {
	units := uint64(max(d-1, 0)/time.Microsecond) >> 6 // of 64 us
	return min(bits.Len64(units), Buckets-1)
}

// Histogram counts how long something took, in buckets of Bound. Nobody waits for
// anybody: it is spread over parts, which are made with the first observation. All atomic.
type Histogram struct {
	parts atomic.Pointer[[parts]Part]
}

// parts is over how many parts a histogram is spread: enough for a few processors
// seldom to write to one cache line, and no more, as there may be thousands of histograms.
const parts = 8

// Part is one of those that a Histogram is spread over.
type Part struct {
	buckets [Buckets]atomic.Uint64
	nanos   atomic.Uint64
	Classes [6]atomic.Uint64 // of status, where somebody counts them
	_       [24]byte         // parts are not to share a cache line
}

// Part returns the part for a connection.
func (h *Histogram) Part(lane uint32) *Part {
	all := h.parts.Load()
	if all == nil {
		all = new([parts]Part)
		if !h.parts.CompareAndSwap(nil, all) {
			all = h.parts.Load()
		}
	}
	return &all[lane%parts]
}

// Observe counts one.
func (p *Part) Observe(took time.Duration) {
	p.buckets[Bucket(took)].Add(1)
	p.nanos.Add(uint64(took))
}

// Reading is what a Histogram has counted.
type Reading struct {
	Buckets [Buckets]uint64 // see Bound
	Sum     time.Duration
	Classes [6]uint64
}

// Read returns what h has counted; ok is false if that is nothing.
func (h *Histogram) Read() (r Reading, ok bool) {
	all := h.parts.Load()
	if all == nil {
		return r, false
	}
	for i := range all {
		p := &all[i]
		for j := range p.buckets {
			r.Buckets[j] += p.buckets[j].Load()
		}
		for j := range p.Classes {
			r.Classes[j] += p.Classes[j].Load()
		}
		r.Sum += time.Duration(p.nanos.Load())
	}
	return r, true
}
