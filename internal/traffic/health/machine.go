package health

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Machine is the state of one target. Make it with New or Restore.
type Machine struct {
	// Constant after New.
	params  ParamsOnce
	checked bool // probes exist; without them only traffic tells

	verdict State // Invariant: never Draining, which is an overlay
	drained bool
	since   time.Time // when the verdict was made
	cause   string    // and why
	changes uint64    // of the state shown

	drainedSince time.Time
	poorSince    time.Time // when the grade of the target became poor
	grade        Grade     // beside its peers; Invariant: whole unless Up
	notes        Notes
	agentDrained time.Time // since when notes.Report drains
	agentCause   string    // in the agent's words; may be empty
	graceUntil   time.Time // failures before it do not count while Unknown

	okRun   int // probes in a row that succeeded; Invariant: 0 unless Down, and < Rise
	failRun int // probes in a row that failed; Invariant: 0 when Down by probes, and < Fall
	passive int // failures of traffic in a row; Invariant: < Passive, and 0 when Down

	lastProbe Result    // Invariant: not passive
	lastStart time.Time // of the last probe that ended
	next      time.Time // Invariant: zero only without a check or before the first schedule

	ejection
	damping
	lost string // what the target is behind and is down; "": nothing
}

// New returns the machine of a target of which nothing is known. With a check it
// is Unknown and its first probe is due now. Without one it is Up: nothing would
// ever tell otherwise but the traffic it must first be given.
func New(c Check, now time.Time) Machine {
	m := Machine{params: c.Params, checked: c.Kind != None, since: now, cause: "not probed yet", next: now}
	m.graceUntil = now.Add(m.params.Normal().Grace)
	if !m.checked {
		m.verdict, m.cause, m.next = Up, "no check: taken as up", time.Time{}
	}
	return m
}

// Restore returns the machine of a target that was last seen in status s. The
// state holds until Rise or Fall new probes say otherwise, so that a restart
// changes no answer (static stability). Draining by the operator is not restored: it
// is the configuration's to say. What an agent has said is: it says "drain" once.
//
// A Since ahead of now is of a clock that was put back since; evidence older than it
// would not count, for hours perhaps, so it becomes now.
func Restore(c Check, s Status, now time.Time) Machine {
	m := New(c, now)
	if !m.checked {
		return m
	}
	if c.Kind.IsAgent() {
		if m.notes.Report = s.Report; m.notes.Report.drains() {
			m.agentDrained, m.agentCause = earlier(s.Since, now), strings.TrimPrefix(strings.TrimPrefix(s.Cause, agentCause), ": ")
		}
	}
	if c.Kind.IsEncrypted() {
		m.notes.Certificate, m.notes.Warning = s.Certificate, s.Warning
	}
	switch s.State {
	case Up, Down:
		m.verdict, m.since, m.cause, m.changes = s.State, earlier(s.Since, now), s.Cause, s.Changes
		m.restoreHold(s, now)
	case Poor:
		m.verdict, m.since, m.cause, m.changes = Up, earlier(s.Since, now), "restored", s.Changes
		m.grade, m.notes.Share, m.poorSince = Grade{Share: s.Kept(), Cause: s.Cause}, s.Share, m.since
	}
	return m
}

// Retimed returns m under another check that asks the same question at other
// times (Target.Question): what is known stays, runs under way begin anew.
func (m *Machine) Retimed(c Check, now time.Time) Machine {
	drained, verdict := m.drained, Machine{verdict: m.verdict, since: m.since, cause: m.cause, changes: m.changes}
	next := Restore(c, verdict.Status(), now)
	next.drained, next.drainedSince, next.lastProbe, next.lastStart = drained, m.drainedSince, m.lastProbe, m.lastStart
	next.notes, next.agentDrained, next.agentCause, next.graceUntil = m.notes, m.agentDrained, m.agentCause, m.graceUntil
	next.changes, next.grade, next.poorSince, next.lost = m.changes, m.grade, m.poorSince, m.lost
	next.ejection, next.damping = m.ejection, m.damping
	return next
}

// State returns the state shown: Draining if the operator or the agent wants it, else
// the verdict.
func (m *Machine) State() State {
	if m.drained || m.notes.Report.drains() {
		return Draining
	}
	if m.verdict == Up && m.grade.isPoor() {
		return Poor
	}
	return m.verdict
}

// Status returns all there is to tell of m.
func (m *Machine) Status() Status {
	s := Status{
		Penalty: m.penalty, PenaltyAt: m.penaltyAt, Ejections: m.ejections,
		State: m.State(), Since: m.since, Cause: m.cause, Changes: m.changes,
		LastProbe: m.lastProbe.At, LastLatency: m.lastProbe.Latency, LastCause: m.lastProbe.Cause, LastOK: m.lastProbe.OK,
		PassiveFailed: m.passive, Notes: m.notes,
	}
	switch {
	case m.drained:
		s.Since, s.Cause = m.drainedSince, drainCause
	case m.notes.Report.drains():
		s.Since, s.Cause = m.agentDrained, agentCause
		if m.agentCause != "" {
			s.Cause += ": " + m.agentCause
		}
	case s.State == Poor:
		s.Since, s.Cause = m.poorSince, m.grade.Cause
	}
	return s
}

// Notes returns what is known of the target beside its state.
func (m *Machine) Notes() Notes { return m.notes }

// Grade takes in how the target does beside its peers, and reports the change of the
// state shown, if there is one. Only what is Up has a grade; a new verdict begins whole.
func (m *Machine) Grade(now time.Time, g Grade) (Transition, bool) {
	if m.verdict != Up {
		return Transition{}, false
	}
	before, was := m.State(), m.grade.isPoor()
	m.grade, m.notes.Share = g, 0
	if g.isPoor() {
		m.notes.Share = g.Share
		if !was {
			m.poorSince = now
		}
	} else if was {
		m.since, m.cause, m.notes.Warm = now, g.Cause, true
	}
	return m.changed(before)
}

// Next returns when something is due: the next probe, or for a target without a
// check the end of its ejection (Expire). Zero means nothing is.
func (m *Machine) Next() time.Time {
	if !m.checked {
		return m.ejectUntil
	}
	return m.next
}

// Observe takes in a result and reports the change of the state shown, if there
// is one. While Draining the verdict goes on underneath, unseen.
func (m *Machine) Observe(now time.Time, r Result) (Transition, bool) {
	if r.Passive {
		return m.observePassive(now, r)
	}
	if !m.checked {
		return Transition{}, false // a probe sent before the check was taken away
	}
	m.lastProbe, m.lastStart = r, r.At.Add(-r.Latency)
	before := m.State()
	m.note(now, r)
	if r.OK {
		m.succeed(now, r)
	} else {
		m.fail(now, r)
	}
	m.schedule()
	t, changed := m.changed(before)
	if before == Draining {
		t.At, t.Cause = now, undrained+t.Cause
	}
	return t, changed
}

// note takes in what a probe tells beside its outcome. Who is silent takes nothing
// back: an agent that cannot be reached for a moment does not end its own drain.
func (m *Machine) note(now time.Time, r Result) {
	if r.Said != nil {
		drained := m.notes.Report.drains()
		if m.notes.Report = r.Said.Onto(m.notes.Report); m.notes.Report.drains() && (!drained || r.Said.Cause != "") {
			m.agentCause = r.Said.Cause
		}
		if m.notes.Report.drains() && !drained {
			m.agentDrained = now
		}
	}
	if !r.Certificate.IsZero() {
		m.notes.Certificate, m.notes.Warning = r.Certificate, r.Warning
	} else if r.OK {
		m.notes.Warning = ""
	}
}

// succeed counts a good probe. From Unknown one is enough: rise and fall guard a
// state against single results that speak against it, and Unknown is no state to
// guard; a restart would else leave good members unused for Rise probes.
func (m *Machine) succeed(now time.Time, r Result) {
	m.failRun = 0
	switch m.verdict {
	case Unknown:
		m.enter(Up, now, cmp.Or(r.Cause, "probe succeeded"))
	case Down:
		if m.okRun+1 >= m.params.Normal().Rise {
			m.comeBack(now)
			return
		}
		m.okRun++
	}
}

// fail counts a bad probe. From Unknown it takes Fall of them, as from Up: an
// Unknown member is picked only when nothing is Up, so waiting harms nobody, and
// one lost packet at start does not condemn.
func (m *Machine) fail(now time.Time, r Result) {
	m.okRun = 0
	m.letGo(now)
	switch {
	case m.verdict == Down && m.ejectUntil.IsZero(), m.inGrace(now), m.verdict == Unknown && m.lost != "":
		return
	}
	if m.failRun++; m.failRun < m.params.Normal().Fall {
		return
	}
	switch {
	case m.lost != "":
		m.enter(Unknown, now, m.lost)
	case m.verdict == Down: // probes see now what traffic saw, and will see the end of it
		m.confirm(r)
	default:
		came := m.verdict == Up
		m.enter(Down, now, cmp.Or(r.Cause, "probe failed"))
		if came { // what was never up does not come and go
			m.charge(now)
		}
	}
}

// observePassive counts a result of real traffic. A success only ends a run of
// failures: it never brings a target up that probes hold Down or do not know, for
// the check asks what the operator cares for and traffic may not touch.
func (m *Machine) observePassive(now time.Time, r Result) (Transition, bool) {
	if m.params.Normal().Passive < 0 || m.verdict == Down || m.inGrace(now) {
		return Transition{}, false // of requests begun before it went Down
	}
	if r.At.Add(-r.Latency).Before(m.since) && m.verdict == Up {
		return Transition{}, false // it began before the target came back: the last of an old trouble
	}
	if r.OK {
		m.passive, m.onTrial = 0, false
		return Transition{}, false
	}
	before := m.State()
	if m.passive++; m.passive >= m.params.Normal().Passive || m.onTrial {
		m.eject(now, fmt.Sprintf("%s in a row, last: %s", count(m.passive, "failed request"), cmp.Or(r.Cause, "no cause given")))
	}
	// A failure of traffic is a reason to look now, but not more often than a
	// verdict in progress would.
	if soon := later(now, m.lastStart.Add(m.params.Normal().Confirm)); m.checked && soon.Before(m.next) {
		m.next = soon
	}
	return m.changed(before)
}

const (
	drainCause = "drained by the operator"
	agentCause = "drained by its agent"
	undrained  = "no longer drained; "
)

// Drain puts the operator's overlay on or takes it off.
func (m *Machine) Drain(now time.Time, on bool) (Transition, bool) {
	before := m.State()
	if on && !m.drained {
		m.drainedSince = now
	}
	m.drained = on
	t, ok := m.changed(before)
	if ok {
		t.At = now
		if !on {
			t.Cause = undrained + t.Cause
		}
	}
	return t, ok
}

// Postpone puts the next probe off to at. The driver spreads first probes with it.
func (m *Machine) Postpone(at time.Time) {
	if m.checked {
		m.next = at
	}
}

// Unsent takes in a probe that could not be made for a reason of our own, such as
// want of descriptors: it says nothing about the target. The next one follows soon.
func (m *Machine) Unsent(r Result) {
	if m.checked {
		if r.Warning != "" {
			m.notes.Warning = r.Warning
		}
		r.Cause = "not sent: " + r.Cause
		m.lastProbe, m.lastStart = r, r.At.Add(-r.Latency)
		m.next = r.At.Add(m.params.Normal().Confirm)
	}
}

// enter makes a verdict and forgets every run that led to it.
func (m *Machine) enter(s State, now time.Time, cause string) {
	m.verdict, m.since, m.cause = s, now, cause
	m.okRun, m.failRun, m.passive, m.onTrial = 0, 0, 0, false
	m.grade, m.notes.Share, m.notes.Warm = Grade{}, 0, false
	m.ejectUntil, m.notes.Held, m.notes.HeldUntil = time.Time{}, NotHeld, time.Time{}
}

// inGrace reports whether the target is new and may still be starting.
func (m *Machine) inGrace(now time.Time) bool {
	return m.verdict == Unknown && now.Before(m.graceUntil)
}

// changed reports the transition from before to the state shown now, if any.
func (m *Machine) changed(before State) (Transition, bool) {
	state := m.State()
	if state == before {
		return Transition{}, false
	}
	m.changes++
	s := m.Status()
	return Transition{From: before, To: state, At: s.Since, Cause: s.Cause}, true
}

// isOpen reports whether a verdict is open: a run of probes against the one there is,
// or none yet of a target that is starting. The next probe then comes after Confirm and
// not after Interval.
func (m *Machine) isOpen() bool {
	return m.okRun > 0 && m.notes.Held == NotHeld || m.failRun > 0 || m.verdict == Unknown && m.inGrace(m.lastProbe.At)
}

// schedule sets the next probe after one that ended.
func (m *Machine) schedule() {
	period := m.params.Normal().Interval
	if m.isOpen() {
		period = m.params.Normal().Confirm
	}
	m.next = later(m.lastStart.Add(period), m.lastProbe.At.Add(MinPause))
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// check panics if an invariant of the fields does not hold. Tests call it after
// every step.
func (m *Machine) check() {
	p := m.params.Normal()
	for _, rule := range []struct {
		holds bool
		text  string
	}{
		{m.verdict != Draining, "verdict is Draining"},
		{m.okRun == 0 || m.verdict == Down, "okRun counted while not Down"},
		{m.okRun < p.Rise, "okRun reached Rise without a verdict"},
		{m.failRun == 0 || m.verdict != Down || !m.ejectUntil.IsZero(), "failRun counted while Down by probes"},
		{m.failRun < p.Fall, "failRun reached Fall without a verdict"},
		{m.passive == 0 || m.verdict != Down, "passive failures counted while Down"},
		{m.passive == 0 || m.passive < p.Passive, "passive reached Passive without a verdict"},
		{!m.grade.isPoor() || m.verdict == Up, "a grade while not Up"},
		{m.notes.Share == 0 || m.notes.Share == m.grade.Share && m.grade.isPoor(), "a share without a grade"},
		{!m.lastProbe.Passive, "a passive result held as the last probe"},
		{m.checked || m.next.IsZero(), "a probe is due without a check"},
		{m.checked || m.verdict != Unknown, "Unknown without a check"},
		{m.checked || !m.ejectUntil.IsZero() == (m.verdict == Down), "ejection does not go with Down without a check"},
		{m.ejectUntil.IsZero() || m.verdict == Down, "ejected while not Down"},
		{m.notes.Held == NotHeld || m.verdict == Down, "held while not Down"},
		{(m.notes.Held == Ejected) == !m.ejectUntil.IsZero(), "ejected without its note"},
		{m.notes.Held != Damped || m.damped, "held by damping without being damped"},
		{!m.onTrial || m.verdict == Up, "on trial while not back from an ejection"},
	} {
		if !rule.holds {
			panic("BUG: health: " + rule.text)
		}
	}
}
