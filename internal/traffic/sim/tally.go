package sim

import (
	"math/bits"
	"time"

	"pharos/internal/traffic/health"
)

// windows is into how many parts of equal length a run is cut for what is shown over time: of
// a day, five minutes each.
const windows = 288

// tally is what is counted of a run.
type tally struct {
	began, failed, retried, questions, probes uint64

	length  time.Duration // of a window
	took    spread        // of all answers in time
	parts   []window
	served  []counts // by server
	warming bool
}

// window is what is counted in one part of a run.
type window struct {
	requests, failed uint64
	took             spread
	work             []time.Duration // by server
	sent             []uint64
	unwell           []bool // the server was not well for all of it
}

type counts struct{ sent, failed uint64 }

func newTally(w *world) tally {
	t := tally{length: max(w.plan.Length.Std()/windows, 1), parts: make([]window, windows), served: make([]counts, len(w.servers))}
	for i := range t.parts {
		t.parts[i].work = make([]time.Duration, len(w.servers))
		t.parts[i].sent = make([]uint64, len(w.servers))
		t.parts[i].unwell = make([]bool, len(w.servers))
	}
	return t
}

// part returns the window of a time.
func (w *world) part(at time.Duration) *window {
	return &w.parts[min(int(at/w.length), windows-1)]
}

func (w *world) noteBegan() {
	w.began++
	w.part(w.now).requests++
}

// noteSent notes that a server is sent a request.
func (w *world) noteSent(r *request) {
	w.served[r.server].sent++
	w.part(w.now).sent[r.server]++
	r.during = -1
	for _, i := range w.servers[r.server].active {
		w.happens[i].lastSent = w.now
		w.happens[i].sent.add(w.now - w.happens[i].from)
		r.during = int32(i)
	}
}

// noteWorked notes for how long a worker had a request.
func (w *world) noteWorked(server int, took time.Duration) {
	w.part(w.now).work[server] += took
}

// noteUnwell notes that a server is not to be counted on in the windows of a happening.
func (w *world) noteUnwell(h *happening) {
	for at := h.from; at < h.to; at += w.length {
		w.part(at).unwell[h.server] = true
	}
	w.part(h.to).unwell[h.server] = true
}

// noteVerdict notes when a verdict takes a member out to whom something has happened.
func (w *world) noteVerdict(c *checked) {
	if s := c.machine.State(); s != health.Down && s != health.Draining {
		return
	}
	for _, i := range w.servers[c.server].active {
		if h := &w.happens[i]; h.seen < 0 {
			h.seen = w.now
		}
	}
}

// succeed ends a request that was answered well and in time.
func (w *world) succeed(id int32) {
	r := &w.requests[id]
	took := w.now - r.began + r.trips
	w.took.add(took)
	w.part(r.began).took.add(took)
	w.drop(id)
}

// fail ends a request that was not.
func (w *world) fail(id int32) {
	r := &w.requests[id]
	w.failed++
	w.part(r.began).failed++
	if r.tries > 0 {
		w.served[r.server].failed++
		if r.during >= 0 {
			w.happens[r.during].failed++
		}
	}
	w.drop(id)
}

// drop makes the memory of a request free for another one.
func (w *world) drop(id int32) {
	r := &w.requests[id]
	r.visit++
	r.view, r.load, r.answer = nil, nil, nil
	w.free = append(w.free, id)
}

// spread is how often something took how long: to a sixteenth, from 1 us to 9 hours.
type spread struct {
	count  uint64
	counts [35 * 16]uint32
}

func (s *spread) add(d time.Duration) {
	s.count++
	s.counts[bucketOf(d)]++
}

func bucketOf(d time.Duration) int {
	us := max(uint64(d/time.Microsecond), 1)
	high := bits.Len64(us) - 1
	within := (us << 4 >> high) & 15
	return min(high*16+int(within), 35*16-1)
}

// rateUntil returns until when there have been this many in a second, at least.
func (s *spread) rateUntil(least float64) (until time.Duration) {
	for i, n := range s.counts {
		from, to := time.Duration(0), upTo(i)
		if i > 0 {
			from = upTo(i - 1)
		}
		if n > 1 && float64(n) >= least*(to-from).Seconds() {
			until = to
		}
	}
	return until
}

// upTo returns where a bucket ends.
func upTo(i int) time.Duration {
	return time.Duration(float64(17+i%16)/16*float64(uint64(1)<<(i/16))) * time.Microsecond
}

// quantile returns what a part q of all took at most; 0 if there are none.
func (s *spread) quantile(q float64) time.Duration {
	if s.count == 0 {
		return 0
	}
	left := uint64(q * float64(s.count-1))
	for i, n := range s.counts {
		if left < uint64(n) {
			high, within := i/16, i%16
			return time.Duration((float64(within)+16.5)/16*float64(uint64(1)<<high)) * time.Microsecond
		}
		left -= uint64(n)
	}
	return 0
}
