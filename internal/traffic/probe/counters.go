package probe

import (
	"sync/atomic"
	"time"
)

// DurationBounds are the upper bounds of the classes of Counters.Durations.
var DurationBounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second,
}

// Counters is what a Prober has done so far, for metrics.
type Counters struct {
	Probes      uint64 // that ended with a verdict
	Failures    uint64 // of those, the bad ones
	Unsent      uint64 // that said nothing, for want of ports or descriptors
	Passive     uint64 // results of traffic reported
	Transitions uint64
	Targets     int
	InFlight    int
	// Behind is by how much the probe that is due first is late: above zero for long
	// when Config.Concurrency is too small for the targets that are silent.
	Behind time.Duration
	// Durations counts the probes by how long they took: Durations[i] those of up to
	// DurationBounds[i], the last one all others. Total is the sum.
	Durations [len(DurationBounds) + 1]uint64
	Total     time.Duration
}

// counters is Counters while it is counted. All atomic.
type counters struct {
	probes, failures, unsent, passive, transitions atomic.Uint64

	behind, total atomic.Int64 // nanoseconds
	durations     [len(DurationBounds) + 1]atomic.Uint64
}

func (c *counters) count(o outcome, took time.Duration) {
	if o.verdict == unsent {
		c.unsent.Add(1)
		return
	}
	c.probes.Add(1)
	if o.verdict == bad {
		c.failures.Add(1)
	}
	class := 0
	for class < len(DurationBounds) && took > DurationBounds[class] {
		class++
	}
	c.durations[class].Add(1)
	c.total.Add(int64(took))
}

// Counters returns what p has done so far.
func (p *Prober) Counters() Counters {
	p.mu.Lock()
	targets, inFlight := len(p.targets), p.inFlight
	p.mu.Unlock()
	c := Counters{
		Probes: p.counters.probes.Load(), Failures: p.counters.failures.Load(), Unsent: p.counters.unsent.Load(),
		Passive: p.counters.passive.Load(), Transitions: p.counters.transitions.Load(),
		Targets: targets, InFlight: inFlight,
		Behind: time.Duration(p.counters.behind.Load()), Total: time.Duration(p.counters.total.Load()),
	}
	for i := range c.Durations {
		c.Durations[i] = p.counters.durations[i].Load()
	}
	return c
}
