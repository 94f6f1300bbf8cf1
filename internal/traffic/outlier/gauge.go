package outlier

import (
	"math/bits"
	"sync/atomic"
	"time"

	"pharos/internal/traffic/health"
)

// Gauge counts what traffic shows of one member. A request costs one atomic addition, to
// the bucket of its response time, so that requests of different times seldom meet.
type Gauge struct {
	busy     atomic.Bool // something was counted since the last reading
	took     [Buckets]atomic.Uint32
	outcomes [health.Outcomes]atomic.Uint32 // Answered is in took
}

// Buckets is how many response times are told apart: from 64 us on, two to each doubling,
// and all from 67 s on are one.
const Buckets = 41

// leastTook is the end of the first bucket; as a power of two.
const leastTook = 16 // of nanoseconds: 65.5 us

// IsBusy reports whether something was counted since a jury has looked.
func (g *Gauge) IsBusy() bool { return g.busy.Load() }

// Note takes in how one request went; took is the time until its response began.
func (g *Gauge) Note(o health.Outcome, took time.Duration) {
	if o == health.Answered {
		g.took[bucketOf(took)].Add(1)
	} else {
		g.outcomes[o].Add(1)
	}
	if !g.busy.Load() {
		g.busy.Store(true)
	}
}

// bucketOf returns the bucket of a time: the place of its highest bit, and the one after.
func bucketOf(took time.Duration) int {
	n := uint64(max(took, 0)) >> (leastTook - 1)
	high := bits.Len64(n)
	if high < 2 {
		return 0
	}
	return min(2*(high-2)+int(n>>(high-2)&1)+1, Buckets-1)
}

// startOf returns where a bucket begins, in nanoseconds.
func startOf(bucket int) float64 {
	if bucket == 0 {
		return 0
	}
	octave, half := (bucket-1)/2, (bucket-1)%2
	return float64(uint64(1)<<(leastTook+octave)) * (1 + float64(half)/2)
}

// Counts are the requests of a time, or since the Gauge was made.
type Counts struct {
	took     [Buckets]uint32
	outcomes [health.Outcomes]uint32
}

// Total returns what g has counted since it was made, of each outcome.
func (g *Gauge) Total() (all [health.Outcomes]uint32) {
	c := g.read()
	for _, n := range c.took {
		c.outcomes[health.Answered] += n
	}
	return c.outcomes
}

func (g *Gauge) read() (c Counts) {
	for i := range g.took {
		c.took[i] = g.took[i].Load()
	}
	for i := range g.outcomes {
		c.outcomes[i] = g.outcomes[i].Load()
	}
	return c
}

// add adds what was counted from one reading to another one. Counters may have passed
// the end of numbers meanwhile.
func (c *Counts) add(from, to *Counts) {
	for i := range c.took {
		c.took[i] += to.took[i] - from.took[i]
	}
	for i := range c.outcomes {
		c.outcomes[i] += to.outcomes[i] - from.outcomes[i]
	}
}

// sum returns how many requests were answered, and how many failed.
func (c *Counts) sum() (answered, failed uint32) {
	for _, n := range c.took {
		answered += n
	}
	for o, n := range c.outcomes {
		if health.Outcome(o).IsFailure() {
			failed += n
		}
	}
	return answered, failed
}

// median returns the time within which half of the answers began. Within a bucket they
// are taken to be evenly spread.
func (c *Counts) median() time.Duration {
	answered, _ := c.sum()
	before, half := float64(0), float64(answered)/2
	for i, n := range c.took {
		if after := before + float64(n); n > 0 && after >= half {
			end := startOf(i) * 4 / 3
			if i < Buckets-1 {
				end = startOf(i + 1)
			}
			return time.Duration(startOf(i) + (end-startOf(i))*(half-before)/float64(n))
		} else {
			before = after
		}
	}
	return 0
}
