package iterate

import (
	"net/netip"
	"time"
)

// This file is how long failures are remembered (RFC 9520 §3.2): a question that goes
// on failing is tried less and less often.

const (
	// failureMost is how long a failure is remembered at most: 1 minute. RFC 9520 §3.2
	// allows five; who mends his servers should not have to wait that long.
	failureMost = time.Minute
	// failingOctets is what a question takes beside its name.
	failingOctets = 96
)

// failing are the questions that failed, with how often in a row: some 4,000 with the
// default of Limits.Memory. At the limit the one known longest counts as failing for the
// first time.
type failing struct {
	known bounded[question, *persistent]
}

type persistent struct {
	times int       // failures in a row
	until time.Time // what came to nothing at times is remembered
}

// forHow returns how long a failure of q now is remembered: the first three for once, as
// packets get lost, then twice as long each time that it fails anew soon after.
func (f *failing) forHow(now time.Time, q question, once time.Duration) time.Duration {
	p := f.known.get(q)
	switch {
	case p == nil:
		p = f.add(q)
	case now.Before(p.until): // told of twice
		return p.until.Sub(now)
	case now.Sub(p.until) > failureMost: // that was another trouble
		p.times = 0
	}
	lasts := max(once, min(once<<min(max(p.times-2, 0), 10), failureMost))
	p.times++
	p.until = now.Add(lasts)
	return lasts
}

func (f *failing) add(q question) *persistent {
	p := &persistent{}
	q.name = q.name.Clone()
	f.known.put(q, p, failingOctets+q.name.Len())
	return p
}

// rememberFailure keeps a failure of a question in the cache.
func (r *Resolver) rememberFailure(q question, f *failure, least time.Duration) {
	if r.isWeak(WeakFailures) {
		return
	}
	q.near = netip.Prefix{}
	remembered := f.remembered()
	remembered.For = max(least, r.failing.forHow(r.now, q, r.cache.Limits().FailureTime))
	r.cache.PutFailure(r.now, q.name, q.t, remembered)
}
