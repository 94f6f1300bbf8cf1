package health

import "time"

// Resting is a Machine between two pieces of evidence, in a third of its octets: there may be 100,000, and what
// is behind rare is zero in most of them for good. Make it with Rest.
type Resting struct {
	params    ParamsOnce
	cause     string
	since     time.Time
	changes   uint64
	grace     time.Time
	lastAt    time.Time
	lastTook  time.Duration
	lastCause string
	lastStart time.Time
	next      time.Time
	rare      *rare // nil: all of it is zero; never written to

	okRun, failRun, passive   int32 // each within MaxCount
	verdict                   State
	checked, drained, wasGood bool
}

// rare is what is not zero of few machines.
type rare struct {
	drainedSince time.Time
	poorSince    time.Time
	grade        Grade
	notes        Notes
	agentDrained time.Time
	agentCause   string
	ejection     ejection
	damping      damping
	lost         string

	// of the last probe
	said        *Saying
	certificate time.Time
	warning     string
	outcome     Outcome
	wasPassive  bool
}

// Rest returns m at rest. before, which may be nil, is what it was made of; what is the same is shared.
func (m *Machine) Rest(before *Resting) Resting {
	last := &m.lastProbe
	r := Resting{
		params: m.params, cause: m.cause, since: m.since, changes: m.changes, grace: m.graceUntil,
		lastAt: last.At, lastTook: last.Latency, lastCause: last.Cause, lastStart: m.lastStart, next: m.next,
		okRun: int32(m.okRun), failRun: int32(m.failRun), passive: int32(m.passive),
		verdict: m.verdict, checked: m.checked, drained: m.drained, wasGood: last.OK,
	}
	few := rare{
		drainedSince: m.drainedSince, poorSince: m.poorSince, grade: m.grade, notes: m.notes, agentDrained: m.agentDrained, agentCause: m.agentCause,
		ejection: m.ejection, damping: m.damping, lost: m.lost,
		said: last.Said, certificate: last.Certificate, warning: last.Warning, outcome: last.Outcome, wasPassive: last.Passive,
	}
	switch {
	case few == rare{}:
	case before != nil && before.rare != nil && *before.rare == few:
		r.rare = before.rare
	default:
		kept := few // or few would be on the heap for those that have none of it
		r.rare = &kept
	}
	return r
}

// Wake returns the Machine that r was.
func (r *Resting) Wake() Machine {
	m := Machine{
		params: r.params, cause: r.cause, since: r.since, changes: r.changes, graceUntil: r.grace,
		lastProbe: Result{OK: r.wasGood, At: r.lastAt, Latency: r.lastTook, Cause: r.lastCause}, lastStart: r.lastStart, next: r.next,
		okRun: int(r.okRun), failRun: int(r.failRun), passive: int(r.passive),
		verdict: r.verdict, checked: r.checked, drained: r.drained,
	}
	if f := r.rare; f != nil {
		m.drainedSince, m.poorSince, m.grade, m.notes, m.agentDrained, m.agentCause = f.drainedSince, f.poorSince, f.grade, f.notes, f.agentDrained, f.agentCause
		m.ejection, m.damping, m.lost = f.ejection, f.damping, f.lost
		m.lastProbe.Said, m.lastProbe.Certificate, m.lastProbe.Warning, m.lastProbe.Outcome, m.lastProbe.Passive = f.said, f.certificate, f.warning, f.outcome, f.wasPassive
	}
	return m
}

// Next returns what Machine.Next does.
func (r *Resting) Next() time.Time {
	m := r.Wake()
	return m.Next()
}

// Status returns what Machine.Status does.
func (r *Resting) Status() Status {
	m := r.Wake()
	return m.Status()
}

// Notes returns what Machine.Notes does.
func (r *Resting) Notes() Notes {
	m := r.Wake()
	return m.Notes()
}
