package xfr

import (
	"pharos/internal/authority/journal"
	"pharos/internal/spare"
)

// compact returns r with a compact zone that is equal, if one has been built beside the
// changes that came before: a zone that changes by IXFR is never built anew while a
// change waits. It is called before anybody has seen the version of r.
func (s *Secondaries) compact(q inquiry, r Result) Result {
	if q.old == nil || r.Zone == q.old {
		return r
	}
	var differences []*journal.Difference
	if len(r.changes) > 0 {
		differences = append(differences, differenceOf(q.old, r.Zone, r.changes))
	}
	next, job := q.twin.Follow(q.old, r.Zone, differences)
	if next != r.Zone {
		s.mu.Lock()
		s.counts.Compacted++
		s.mu.Unlock()
	}
	r.Zone = next
	if job != nil {
		s.work.Go(func() { // ends by itself, some seconds later; Close waits for it
			s.compacts <- struct{}{} // one at a time: each takes a processor and some memory
			spare.Run(job)
			<-s.compacts
		})
	}
	return r
}
