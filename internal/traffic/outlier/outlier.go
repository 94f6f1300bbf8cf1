// Package outlier judges members by the traffic that they carry, beside the other
// members of their pool. It owns the counting of outcomes and response times (Gauge) and
// what they mean (Jury): who performs poorly and which share it keeps, who fails so often
// that it is better left out, and when that is over. It does not own runs of failures
// (package health), nor how many of a pool may be out (package pool).
//
//	request --> Gauge.Note --> counters of the member
//	                               | some times a second, by whoever drives it
//	                               v
//	                        Jury.Judge(now, rules, peers) --> grades, and whom to eject
//
// Everything is relative: a member is slow if it is slower than its peers, so that in a
// pool where all are slow nobody is; and it is compared with the upper median of the
// others, so that at least half of them have to do better.
//
// Entry points: Gauge.Note; Jury.Judge, Jury.Evidence.
//
// Concurrency: a Gauge is atomics. A Jury belongs to one goroutine.
package outlier

import (
	"time"

	"pharos/internal/traffic/health"
)

// Rules are what makes an outlier in one pool. The zero Rules are the defaults.
type Rules struct {
	Window      time.Duration // over which requests are counted; 0: DefaultWindow
	MinRequests int           // of fewer nothing is concluded; 0: DefaultMinRequests
	ErrorRate   int           // percent of failed requests that eject; 0: DefaultErrorRate, <0: never
	Slow        float64       // times the median of the others that is poor; 0: DefaultSlow, <0: never
	Floor       int           // percent of its weight that a poor member keeps at least; 0: DefaultFloor
}

// Defaults of Rules.
const (
	// DefaultWindow is short, for who is slow now is of interest, and long enough for a
	// collection of garbage or a rotation of logs to pass.
	DefaultWindow      = 5 * time.Second
	DefaultMinRequests = 20 // a median of 20 is mostly right to its bucket
	DefaultErrorRate   = 50
	DefaultSlow        = 3 // what a member of another generation of machines may be is less
	// DefaultFloor lets recovery be measured: one request of 20 of an equal share.
	DefaultFloor = 5
)

// Normal returns r with its defaults.
func (r Rules) Normal() Rules {
	if r.Window <= 0 {
		r.Window = DefaultWindow
	}
	if r.MinRequests <= 0 {
		r.MinRequests = DefaultMinRequests
	}
	if r.ErrorRate == 0 {
		r.ErrorRate = DefaultErrorRate
	}
	if r.Slow == 0 {
		r.Slow = DefaultSlow
	}
	if r.Floor <= 0 {
		r.Floor = DefaultFloor
	}
	r.Floor = min(r.Floor, 100)
	return r
}

// Peer is a member of the pool that is judged.
type Peer struct {
	Gauge *Gauge
	State health.State
	Notes health.Notes
	Cause string // of State
	// Group is of members that are to do alike: nobody is slow for being far away.
	Group int
}

// Sentence is what the Jury finds of one peer: its grade, and if it has to go.
type Sentence struct {
	Peer  int // in the list that was given
	Grade health.Grade
	Eject string // the evidence; "": it stays
}

// Numbers of the Jury, and why.
const (
	// tellingGap is the least difference of response times that anybody would notice:
	// of 0.2 and 1 ms the second is not poor.
	tellingGap = 5 * time.Millisecond
	// against and inFavour are how many looks in a row, each at new requests, have to
	// agree before a member is Poor, and is not any more. To trust takes longer.
	against, inFavour = 2, 5
	// fewer is by how much fewer requests it takes to see that a poor member is well: it has
	// few, and five looks have to agree.
	fewer = 4
	// mostTimes bounds how much longer to trust takes each time it was in vain.
	mostTimes = 12
	// patience is how many windows a member with too few requests keeps its grade.
	patience = 12
	// doubt is what is added to rates of errors before they are compared, so that one
	// failure among many successes elsewhere is no great factor.
	doubt = 0.02
	// stepUp is by how much a share has to change to be worth a new view.
	stepUp = 1.3
)

// Jury remembers what was counted of the members of one pool. The zero Jury is ready.
type Jury struct {
	records map[*Gauge]*record
	round   uint64
	last    time.Time

	// Memory that is used again.
	sentences []Sentence
	present   []witness
	medians   []time.Duration
	rates     []float64
}

// IsIdle reports whether nothing is remembered of anybody. Judge then has nothing to say of peers that are neither
// busy nor Poor.
func (j *Jury) IsIdle() bool { return len(j.records) == 0 }

// record is what is remembered of one member.
type record struct {
	seen        Counts // at the last look
	now, before Counts // of this window and of the last one
	began       time.Time
	heard       time.Time // when there were enough requests last
	round       uint64    // of the Jury, when it was there last
	grade       health.Grade
	bad, good   int       // looks in a row against it, and in its favour
	times       int       // it was Poor lately
	well        time.Time // since when it is not any more
	evidence    string    // of the last look
	fresh       bool      // something was counted since the last look
}

// witness is a peer of which there is enough to tell.
type witness struct {
	peer   int
	record *record
	median time.Duration
	rate   float64 // of failures
	n      uint32
}
