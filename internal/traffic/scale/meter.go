package scale

import (
	"slices"
	"time"
)

// Sample is what traffic has done to a member until a moment.
type Sample struct {
	Name     string
	Active   int64         // requests in flight
	Served   uint64        // responses since the member is there
	Spent    time.Duration // until their heads, in all
	Bits     float64       // per second, now
	Load     float64       // in percent, as its agent reports
	Reported bool          // it does
	// Counts: how the member feels counts, because it has warmed up.
	Counts bool
}

// Meter makes signals of samples: means over a short time, so that a moment decides
// nothing.
type Meter struct {
	over  time.Duration // over which it measures
	taken []taken       // the oldest first; more than over but for the first
}

// taken is all samples of a moment.
type taken struct {
	at      time.Time
	samples []Sample // by name
}

// maxTaken bounds the samples of a Meter. Who takes more of them in the time gets a
// shorter one.
const maxTaken = 256

// NewMeter returns a Meter that measures over a time.
func NewMeter(over time.Duration) *Meter { return &Meter{over: over} }

// Add takes samples. They are the Meter's from now on.
func (m *Meter) Add(now time.Time, samples []Sample) {
	slices.SortFunc(samples, func(a, b Sample) int { return compare(a.Name, b.Name) })
	if n := len(m.taken); n > 0 && !now.After(m.taken[n-1].at) {
		m.taken = m.taken[:0] // the clock was put back
	}
	m.taken = append(m.taken, taken{now, samples})
	first := 0
	for first < len(m.taken)-2 && now.Sub(m.taken[first+1].at) >= m.over || len(m.taken)-first > maxTaken {
		first++
	}
	m.taken = slices.Delete(m.taken, 0, first)
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Values returns the signals. Before there are two moments, nothing is known; before a
// quarter of the time is measured, rates are not, for they could be of a burst.
func (m *Meter) Values() (v [signals]Value) {
	n := len(m.taken)
	if n < 2 {
		return v
	}
	first, last := m.taken[0], m.taken[n-1]
	span := last.at.Sub(first.at)
	var active, bits float64
	for _, t := range m.taken[1:] {
		for _, s := range t.samples {
			active += float64(s.Active)
			bits += s.Bits
		}
	}
	v[Connections] = Value{active / float64(n-1), true}
	v[Bandwidth] = Value{bits / float64(n-1), true}
	var served, counted uint64
	var spent time.Duration
	busy := false
	for _, s := range last.samples {
		before := find(first.samples, s.Name)
		if s.Served < before.Served {
			before = Sample{} // another one under its name
		}
		served += s.Served - before.Served
		busy = busy || s.Active > 0
		if s.Counts {
			counted += s.Served - before.Served
			spent += s.Spent - before.Spent
		}
	}
	v[Requests] = Value{float64(served) / span.Seconds(), 4*span >= m.over}
	switch {
	case counted > 0:
		v[Latency] = Value{float64(spent) / float64(counted), true}
	case served == 0 && !busy:
		v[Latency] = Value{0, true} // idle
	}
	v[Load] = loadOf(last.samples)
	return v
}

// loadOf is the mean of what agents report; who has an agent and is silent makes it
// unknown.
func loadOf(samples []Sample) (v Value) {
	sum, n := 0.0, 0
	for _, s := range samples {
		if !s.Counts {
			continue
		}
		if !s.Reported {
			return Value{}
		}
		sum += s.Load
		n++
	}
	if n == 0 {
		return Value{}
	}
	return Value{sum / float64(n), true}
}

func find(samples []Sample, name string) Sample {
	i, ok := slices.BinarySearchFunc(samples, name, func(s Sample, name string) int { return compare(s.Name, name) })
	if !ok {
		return Sample{}
	}
	return samples[i]
}
