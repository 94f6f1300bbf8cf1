// Package compact keeps zones compact that are edited again and again.
//
// Each edit of a zone writes what has changed beside the zone's arena, and shares the
// rest; see package zone. What was written over stays there, and once there is enough of
// it the zone should be built anew, which for a million records takes a second. No edit
// may wait for that. So a Twin of the zone is built anew beside it, catches up with the
// edits that were made meanwhile, and takes its place with one of the next.
//
//	Follow(old, now) ──────────────> now                  ... now is fragmented: a job
//	Follow(old, now) ──> noted ────> now                  ... the job builds the twin,
//	Follow(old, now) ──> noted ────> now                      and makes the noted edits
//	Follow(old, now) ──> twin with this edit, equal to now
//
// It owns when that is done and that nothing is lost. It does not own the versions, nor
// the goroutine of the job: who makes the versions starts it.
//
// A version never becomes another one by this: the twin takes a version's place before
// anybody else has seen that.
//
// Entry point: Twin.Follow.
//
// Concurrency: Follow belongs to one goroutine at a time; a job may run beside it.
package compact

import (
	"sync"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
)

// catchUp is how many edits a twin may be behind to take the zone's place: what makes
// them is waited for. A hundredth of a millisecond each.
const catchUp = 64

// maxNoted is how many edits are noted for a twin. If it is so far behind it is given
// up, and another is begun when there is less to do. Some megabytes.
const maxNoted = 100_000

// Twin is what is known of the zone that is to take the place of an edited one. Its zero
// value is ready to use.
type Twin struct {
	mu    sync.Mutex // guards all below
	last  *zone.Zone // the version before; what does not follow from it ends the twin
	job   uint64     // counts jobs, so that one that was given up is told from the next
	runs  bool       // there is a job
	ready *zone.Zone // the twin, without the edits in noted; nil: the job is at it
	noted []*journal.Difference
}

// Follow is told that differences led from one version to the next, and returns the zone
// to go on with: now, or one that is equal to it and compact. The job is nil, or is to
// be run on a goroutine of its own.
func (t *Twin) Follow(old, now *zone.Zone, differences []*journal.Difference) (next *zone.Zone, job func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.runs && (t.last != old || len(differences) == 0 || len(t.noted) > maxNoted) {
		t.forget()
	}
	switch {
	case !t.runs && now.Fragmented():
		t.runs = true
		t.job++
		number := t.job
		job = func() { t.work(now, number) }
	case t.runs:
		t.noted = append(t.noted, differences...)
	}
	if t.ready != nil && len(t.noted) <= catchUp+len(differences) {
		if twin := with(t.ready, t.noted); twin != nil && isLike(twin, now) {
			now = twin
		}
		t.forget()
	}
	t.last = now
	return now, job
}

// forget ends the twin. t.mu is held.
func (t *Twin) forget() { t.runs, t.ready, t.noted = false, nil, nil }

// work builds a twin and lets it catch up.
func (t *Twin) work(now *zone.Zone, number uint64) {
	twin := now.Compact()
	for twin != nil {
		t.mu.Lock()
		if !t.runs || t.job != number {
			t.mu.Unlock()
			return
		}
		if len(t.noted) <= catchUp {
			t.ready = twin
			t.mu.Unlock()
			return
		}
		edits := t.noted
		t.noted = nil
		t.mu.Unlock()
		twin = with(twin, edits)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.job == number {
		t.forget()
	}
}

// with returns a zone with differences made, nil if they do not fit.
func with(z *zone.Zone, differences []*journal.Difference) *zone.Zone {
	edit := z.Edit()
	for _, d := range differences {
		if d.Apply(edit) != nil {
			return nil
		}
	}
	next, _ := edit.Finish()
	return next
}

// isLike reports whether two zones that should be equal are, as far as can be seen
// without looking at all of them.
func isLike(a, b *zone.Zone) bool {
	names, records, _ := a.Stats()
	otherNames, otherRecords, _ := b.Stats()
	return names == otherNames && records == otherRecords && a.Serial() == b.Serial()
}
