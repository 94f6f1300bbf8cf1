package health

import (
	"fmt"
	"time"
)

// Hold is why a target is Down although probes do not find it so.
type Hold uint8

// The holds. A pool may use held members when too few others are left.
const (
	NotHeld Hold = iota
	Ejected      // by traffic
	Damped       // it came and went too often
)

var holdNames = [...]string{"", "ejected", "damped"}

// String returns "", "ejected" or "damped".
func (h Hold) String() string { return holdNames[h] }

// MarshalText returns what String returns.
func (h Hold) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hold) UnmarshalText(text []byte) error {
	for i, name := range holdNames {
		if string(text) == name {
			*h = Hold(i)
			return nil
		}
	}
	return fmt.Errorf("hold %q: want ejected, damped or nothing", text)
}

// forgiveAfter is how many first ejections of calm make one ejection forgotten.
const forgiveAfter = 6

// ejection is the part of a Machine that tells how traffic put its target out.
//
// An ejection lasts Params.Eject times the ejections that are not forgotten, at most
// MaxEject. Of a target with a check, probes have the last word in both directions: when
// Fall of them fail as well, it is Down like any other and Rise good ones bring it back;
// but while they contradict the traffic, which is what clients see, they do not end the
// ejection before its time.
type ejection struct {
	ejections  int // not forgotten
	ejectedFor time.Duration
	ejectUntil time.Time // Invariant: set only while Down by traffic
	ejectedEnd time.Time // of the last ejection that is over
	onTrial    bool      // back from an ejection, no success seen yet: one failure ejects
}

// eject puts the target out for a time that grows.
func (m *Machine) eject(now time.Time, cause string) {
	if m.ejections > 0 {
		m.ejections = max(0, m.ejections-int(max(0, now.Sub(m.ejectedEnd))/(forgiveAfter*m.params.Normal().Eject)))
	}
	m.ejections = min(m.ejections+1, MaxCount)
	m.ejectedFor = min(time.Duration(m.ejections)*m.params.Normal().Eject, MaxEject)
	m.enter(Down, now, fmt.Sprintf("%s; ejected for %v", cause, m.ejectedFor))
	m.ejectUntil, m.ejectedEnd = now.Add(m.ejectedFor), now.Add(m.ejectedFor)
	m.notes.Held, m.notes.HeldUntil = Ejected, m.ejectUntil
}

// Eject puts a target out that traffic has shown to fail too often, though not each time.
func (m *Machine) Eject(now time.Time, cause string) (Transition, bool) {
	if m.verdict != Up || m.params.Normal().Passive < 0 {
		return Transition{}, false
	}
	before := m.State()
	m.eject(now, cause)
	return m.changed(before)
}

// confirm makes of an ejection what probes have found, too.
func (m *Machine) confirm(r Result) {
	if r.Cause != "" {
		m.cause += "; probes fail as well: " + r.Cause
	}
	m.failRun, m.ejectedEnd = 0, earlier(m.ejectedEnd, r.At)
	m.ejectUntil, m.notes.Held, m.notes.HeldUntil = time.Time{}, NotHeld, time.Time{}
}

// comeBack brings a target up that Rise good probes speak for, unless it is held.
func (m *Machine) comeBack(now time.Time) {
	switch {
	case now.Before(m.ejectUntil):
		m.okRun = m.params.Normal().Rise - 1
	case m.isDamped(now):
		m.okRun = m.params.Normal().Rise - 1
		m.ejectUntil = time.Time{}
		m.notes.Held, m.notes.HeldUntil = Damped, m.reuseAt(now)
	case !m.ejectUntil.IsZero():
		m.enter(Up, now, fmt.Sprintf("ejection of %v is over, and probes are good: on trial", m.ejectedFor))
		m.onTrial = true
	default:
		m.enter(Up, now, fmt.Sprintf("%s in a row", count(m.params.Normal().Rise, "good probe")))
	}
}

// letGo takes back that the target is held by damping alone: a probe has failed.
func (m *Machine) letGo(time.Time) {
	if m.notes.Held == Damped {
		m.notes.Held, m.notes.HeldUntil = NotHeld, time.Time{}
	}
}

// Expire ends an ejection whose time is over: the target takes traffic again, on
// trial. The driver calls it when Next has come.
func (m *Machine) Expire(now time.Time) (Transition, bool) {
	if m.checked || m.ejectUntil.IsZero() || m.verdict != Down || now.Before(m.ejectUntil) {
		return Transition{}, false
	}
	before := m.State()
	m.enter(Up, now, fmt.Sprintf("ejection of %v is over: on trial", m.ejectedFor))
	m.onTrial = true
	return m.changed(before)
}

// restoreHold gives a restored target the rest of its ejection.
func (m *Machine) restoreHold(s Status, now time.Time) {
	m.ejections = min(max(s.Ejections, 0), MaxCount)
	if left := s.HeldUntil.Sub(now); s.State == Down && s.Held == Ejected && left > 0 && left <= MaxEject {
		m.ejectedFor = min(time.Duration(max(m.ejections, 1))*m.params.Normal().Eject, MaxEject)
		m.ejectUntil, m.ejectedEnd = s.HeldUntil, s.HeldUntil
		m.notes.Held, m.notes.HeldUntil = Ejected, s.HeldUntil
	}
	m.penalty, m.penaltyAt = max(s.Penalty, 0), earlier(s.PenaltyAt, now)
	m.damped = m.params.Normal().Suppress > 0 && m.penaltyNow(now) >= float64(m.params.Normal().Suppress)
}
