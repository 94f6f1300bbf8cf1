package health

import "time"

// Lose takes in that what the target is behind, a gateway or a switch, is down: failed
// probes say nothing about the target any more. One that was Down becomes Unknown; one
// that still answers stays Up until it does not. cause says what is down; with an empty
// one it is there again, and the target is found out about anew.
func (m *Machine) Lose(now time.Time, cause string) (Transition, bool) {
	if !m.checked {
		return Transition{}, false
	}
	before, was := m.State(), m.lost
	m.lost = cause
	switch {
	case cause != "" && was == "" && m.verdict == Down && m.ejectUntil.IsZero():
		if now.Sub(m.since) <= m.justBefore() {
			m.refund()
		}
		m.enter(Unknown, now, cause)
	case cause == "" && was != "" && m.verdict == Unknown:
		m.enter(Unknown, now, "not probed since what it depends on is back")
		m.next = earlier(m.next, now)
		return Transition{}, false
	}
	return m.changed(before)
}

// IsLost reports whether nothing can be known of the target, as what it is behind is down.
func (m *Machine) IsLost() bool { return m.lost != "" && m.verdict == Unknown }

// justBefore is how long before the loss of what it is behind a target may have been
// found down for the same reason.
func (m *Machine) justBefore() time.Duration {
	return 2 * (m.params.Normal().Interval + m.params.Normal().Timeout) * time.Duration(m.params.Normal().Fall)
}
