package pool

import (
	"math"
	"sync/atomic"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/outlier"
)

// cacheLine is the distance at which two counters do not share a cache line; two
// lines, because CPUs fetch them in pairs.
const cacheLine = 128

// Lanes is over how many cursors the picks of a pool are spread, so that cores
// seldom write to one cache line. Each lane by itself is exact; all of them
// together are off by a pick for each lane at most.
const Lanes = 8

// Load is the changing part of a pool: where its rotations stand, and how much is in
// flight. It outlives views and reloads.
type Load struct {
	_     [cacheLine]byte
	lanes [Lanes]lane
	// Answers counts answers of DNS. A cursor of its own, because a client asks and
	// then connects: with one cursor for both, two members would split into one that
	// is answered and one that is connected to.
	Answers atomic.Uint64
	// Opinions is how many requests are on a second member now, since the first one has
	// answered with an error.
	Opinions atomic.Int64
	// Retrying is how many requests are tried on another member now, since one has failed.
	Retrying atomic.Int64
	changed  atomic.Pointer[chan struct{}] // closed with the next view; nil: nobody waits
	_        [cacheLine - 32]byte
}

// Changed returns a channel that is closed with the next view of the pool, also of one
// that a reload makes. Who waits for something in a view asks for the channel first, and
// then looks.
func (l *Load) Changed() <-chan struct{} {
	fresh := make(chan struct{})
	for {
		if c := l.changed.Load(); c != nil {
			return *c
		}
		if l.changed.CompareAndSwap(nil, &fresh) {
			return fresh
		}
	}
}

// stir wakes who waits for another view.
func (l *Load) stir() {
	if l.changed.Load() == nil {
		return
	}
	if c := l.changed.Swap(nil); c != nil {
		close(*c)
	}
}

type lane struct {
	turn    atomic.Uint64
	flight  atomic.Uint64 // requests that have begun, modulo 1<<32, and below them how many are in flight
	answers [outcomes]atomic.Uint64
	_       [cacheLine - 16 - 8*outcomes]byte
}

// Outcome is what an answer of DNS from a pool said.
type Outcome uint8

// The outcomes of answers.
const (
	Some         Outcome = iota // members that can serve
	None                        // NODATA
	FromFallback                // members of the fallback, or its addresses
	WhileAllDown                // members, though all are down
	outcomes
)

var outcomeNames = [outcomes]string{"some", "none", "fallback", "all_down"}

// String returns the word of metrics.
func (o Outcome) String() string { return outcomeNames[o] }

// Answered counts an answer of DNS, at a turn.
func (l *Load) Answered(turn uint64, o Outcome) { l.lanes[turn%Lanes].answers[o].Add(1) }

// AnswersBy returns how many answers of DNS there were, by outcome.
func (l *Load) AnswersBy() (counts [outcomes]uint64) {
	for i := range l.lanes {
		for o := range counts {
			counts[o] += l.lanes[i].answers[o].Load()
		}
	}
	return counts
}

// Turn returns the next turn of a lane and moves it on. Lanes begin one after the
// other, so that the first picks of each, taken together, are in turn as well.
func (l *Load) Turn(by uint32) uint64 {
	by %= Lanes
	return l.lanes[by].turn.Add(1) - 1 + uint64(by)
}

// PeekTurn returns what Turn would return now, and leaves the lane where it is.
func (l *Load) PeekTurn(by uint32) uint64 {
	by %= Lanes
	return l.lanes[by].turn.Load() + uint64(by)
}

// Begun returns how many requests have begun in a lane, with the lane added as to a turn. Begin counts them;
// so it is a turn that a pick has for nothing, and that two picks at once may both have.
func (l *Load) Begun(by uint32) uint64 {
	by %= Lanes
	return l.lanes[by].flight.Load()>>32 + uint64(by)
}

// Active returns the number of requests in flight on all members.
func (l *Load) Active() int64 {
	n := &l.lanes // not a loop: bounded picks do this each time
	sum := n[0].flight.Load() + n[1].flight.Load() + n[2].flight.Load() + n[3].flight.Load()
	sum += n[4].flight.Load() + n[5].flight.Load() + n[6].flight.Load() + n[7].flight.Load()
	return int64(uint32(sum))
}

// All lanes are summed up by Active.
var _ = [1]struct{}{}[Lanes-8]

// Begin notes that a request or connection begins on m.
func (l *Load) Begin(by uint32, m *MemberLoad, now time.Duration) {
	m.Active.Add(1)
	l.lanes[by%Lanes].flight.Add(1<<32 + 1)
	m.tell(now)
}

// End notes that what Begin noted, in the same lane, has ended.
func (l *Load) End(by uint32, m *MemberLoad, now time.Duration) {
	m.Active.Add(-1)
	l.lanes[by%Lanes].flight.Add(^uint64(0))
	m.tell(now)
}

// MemberLoad is what traffic is doing to one member of one pool.
type MemberLoad struct {
	// Active is the number of requests or connections on the member now.
	Active  atomic.Int64
	latency atomic.Uint64        // packed; peak-EWMA of nanoseconds
	rate    atomic.Uint64        // packed; octets per second
	home    atomic.Pointer[home] // on the board of the view that is published; nil: it has none
	parting atomic.Int64         // when it was first seen draining; 0: it is not
	suspect atomic.Bool          // the last result of traffic was a failure
	good    atomic.Uint32        // the tick in which the last good answer came
	served  atomic.Uint64        // responses
	spent   atomic.Int64         // nanoseconds until their heads, in all
	_       [cacheLine - 64]byte

	// Gauge counts outcomes and response times, for who looks at them beside those of
	// other members.
	Gauge outlier.Gauge
}

// Work returns how many responses the member has given, and how long it took until their
// heads, in all.
func (l *MemberLoad) Work() (served uint64, spent time.Duration) {
	return l.served.Load(), time.Duration(l.spent.Load())
}

// Note takes in how a request or connection went, at now, and reports whether the
// machine of the target is to be told at once (probe.Prober.Report): of each failure
// that counts in a run, and the first success after one. For the run of successes that
// traffic mostly is, it costs one addition and two loads. took is the time until the
// response began.
//
// A request that comes too late counts in a run only if the member has answered nothing
// well since it began: else it is the request that takes so long.
func (l *MemberLoad) Note(o health.Outcome, now, took time.Duration) (tell bool) {
	tick := tickOf(now)
	if o == health.Late && int32(l.good.Load()-tickOf(now-took)) > 0 {
		o = health.Doubtful
	}
	l.Gauge.Note(o, took)
	switch {
	case o.IsCounted():
		l.suspect.Store(true)
		return true
	case o != health.Answered:
		return false
	}
	if l.good.Load() != tick {
		l.good.Store(tick)
	}
	return l.suspect.Load() && l.suspect.CompareAndSwap(true, false)
}

// Observe notes how long a response took: until its head, so that what a client is
// slow to take does not count. It is to be followed by End.
func (l *MemberLoad) Observe(now, took time.Duration) {
	l.served.Add(1)
	l.spent.Add(int64(took))
	tick, sample := tickOf(now), float32(max(took, 1))
	for {
		old := l.latency.Load()
		value := decayed(old, tick, latencyHalving)
		if sample > value {
			value = sample // a peak counts at once
		} else if kept := unpack(old); kept > 0 {
			value += sample * (1 - value/kept)
			value -= max(value-sample, 0) * latencyForgets
		}
		if l.latency.CompareAndSwap(old, pack(value, tick)) {
			return
		}
	}
}

// Latency returns the peak-EWMA of response times at now: a slow response raises it
// at once, and it falls by half each 8.6 seconds, and by an eighth with each quicker response, towards what comes
// after. 0: nothing is known, or not any more.
func (l *MemberLoad) Latency(now time.Duration) time.Duration {
	return time.Duration(decayed(l.latency.Load(), tickOf(now), latencyHalving))
}

// Carried notes that n octets went to or came from the member.
func (l *MemberLoad) Carried(now time.Duration, n int) {
	if n <= 0 {
		return
	}
	tick := tickOf(now)
	for {
		old := l.rate.Load()
		value := decayed(old, tick, rateHalving) + float32(n)*perSecond
		if l.rate.CompareAndSwap(old, pack(value, tick)) {
			break
		}
	}
	if h := l.home.Load(); h != nil && h.policy == LeastBandwidth {
		l.tell(now)
	}
}

// Bandwidth returns the octets per second at now, over the last seconds: what was
// carried counts half after 1.07 seconds.
func (l *MemberLoad) Bandwidth(now time.Duration) float64 {
	return float64(decayed(l.rate.Load(), tickOf(now), rateHalving))
}

// Parting returns since when the member is draining, as far as picks have seen, and
// notes that it is, or is not.
func (l *MemberLoad) Parting(now time.Duration, draining bool) time.Duration {
	since := l.parting.Load()
	switch {
	case draining && since == 0:
		l.parting.CompareAndSwap(0, int64(max(now, 1)))
		return max(now, 1)
	case !draining && since != 0:
		l.parting.Store(0)
		return 0
	}
	return time.Duration(since)
}

// Values that decay are packed in one word: a float32, and when it was so, in ticks
// of 16.8 ms since the node began. A word is read and written at once, and what it is
// worth now costs no division and no logarithm.
const (
	tickBits       = 24 // of nanoseconds
	latencyHalving = 9  // 512 ticks are 8.6 s: a member that was slow is tried again some times a minute
	rateHalving    = 6  // 64 ticks are 1.07 s: Mbps now, but over more than one response
)

// latencyForgets is what each quicker response takes of how much slower the member was before. By time alone, who
// was slow once would be as slow as who always is for many seconds: and when a node stands still for a moment, as a
// machine does, all are slow once. Who is not asked forgets by time alone.
const latencyForgets = 1.0 / 8

// perSecond turns octets into their part of a rate that halves each 64 ticks.
const perSecond = math.Ln2 / ((1 << (tickBits + rateHalving)) / 1e9)

func tickOf(now time.Duration) uint32 { return uint32(now >> tickBits) }

func pack(value float32, tick uint32) uint64 {
	return uint64(math.Float32bits(value))<<32 | uint64(tick)
}

func unpack(packed uint64) float32 { return math.Float32frombits(uint32(packed >> 32)) }

// decayed returns what is left of a packed value at tick, when half is left after
// each 1<<halving ticks.
func decayed(packed uint64, tick uint32, halving uint) float32 {
	value := unpack(packed)
	age := tick - uint32(packed) // around the end of numbers, after 2 years
	if int32(age) <= 0 {
		return value
	}
	halves := age >> halving
	if halves > 100 {
		return 0
	}
	// 2^-x between 0 and 1, right to 0.1 %, and in its slope at 0: many small steps are
	// as good as a large one.
	x := float32(age&(1<<halving-1)) / float32(uint32(1)<<halving)
	return value * (1 - x*(0.69315-x*(0.24023-x*0.04708))) * math.Float32frombits((127-halves)<<23)
}
