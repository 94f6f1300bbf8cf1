// Package refresh decides when a secondary asks its primaries, and when what it
// has is too old to be served (RFC 1034 §4.3.5, RFC 1996 §3.11).
//
//	        Loaded, Ended(ok)                 Tick at Next
//	absent ------------------> fresh --------------------------> checking
//	  ^                          ^  NOTIFY, operator: at once       |
//	  |                          +----------- Ended(ok) ------------+
//	  |        EXPIRE since the last good check      Ended(failed): again after RETRY
//	  +-------------------------------------------------------------+
//
// It owns the times. It does not own how a primary is asked (package xfr), nor
// what is done with a new version (package node).
//
// Entry points: New, Machine.Step, Machine.Next.
//
// Concurrency: a Machine belongs to one goroutine at a time. It has no clock: now
// is an argument.
//
// Sources: RFC 1034 §4.3.5, RFC 1035 §3.3.13, RFC 1996, RFC 1912 §2.2, RFC 7314.
package refresh

import (
	"fmt"
	"math/rand/v2"
	"time"

	"pharos/internal/dns/rdata"
)

// Bounds of the times that an SOA record may ask for. The least are Knot's: they
// keep a mistyped record from becoming a flood. The largest is four weeks, beyond
// which a wrong number is more likely than a wish.
const (
	minRefresh = 2 * time.Second
	minRetry   = time.Second
	minExpire  = 3 * time.Second
	maxTime    = 28 * 24 * time.Hour
)

const (
	// firstRetry and lastRetry are when an absent zone is asked for again: twice as
	// long after each failure.
	firstRetry = 2 * time.Second
	lastRetry  = 10 * time.Minute
	// notifyHold is how soon after a check the next NOTIFY may cause another:
	// whoever forges them gets one check a second.
	notifyHold = time.Second
)

// SOA is what the machine needs of an SOA record.
type SOA struct {
	Serial                 rdata.Serial
	Refresh, Retry, Expire time.Duration
}

// Event is what happens to the machine.
type Event interface{ event() }

// The events.
type (
	// Started begins without a version.
	Started struct{}
	// Loaded begins with a version that a primary confirmed at Confirmed.
	Loaded struct {
		SOA       SOA
		Confirmed time.Time
	}
	// Notified is a NOTIFY of a primary, with the serial it told, if it did.
	Notified struct {
		Serial    rdata.Serial
		HasSerial bool
	}
	// Asked is an operator's wish for a check.
	Asked struct{}
	// Tick is that the time of Next has come. Too early does no harm.
	Tick struct{}
	// Ended is that the check asked for by the action Check is over. Without Failed,
	// the zone has the version of SOA now, be it old or new. Age is for how long the
	// server that was asked, being a secondary itself, has not heard of its primary.
	Ended struct {
		Failed bool
		SOA    SOA
		Age    time.Duration
	}
)

func (Started) event()  {}
func (Loaded) event()   {}
func (Notified) event() {}
func (Asked) event()    {}
func (Tick) event()     {}
func (Ended) event()    {}

// Action is what the driver has to do.
type Action uint8

// The actions.
const (
	Check  Action = iota + 1 // ask the primaries, and come back with Ended
	Expire                   // stop serving the version there is
)

// Machine is the state of one secondary zone.
type Machine struct {
	rnd *rand.Rand

	soa       SOA
	present   bool      // there is a version, and it has not expired
	confirmed time.Time // when a primary last said that it is the newest
	checking  bool      // Invariant: exactly between Check and Ended
	again     bool      // a NOTIFY came while checking
	ended     time.Time // of the last check
	next      time.Time // of the next check
	failures  int       // in a row
}

// New returns a machine; rnd spreads the checks of many zones over time.
func New(rnd *rand.Rand) *Machine { return &Machine{rnd: rnd} }

// Present reports whether there is a version to serve.
func (m *Machine) Present() bool { return m.present }

// Checking reports whether a check is under way.
func (m *Machine) Checking() bool { return m.checking }

// NextCheck returns when the primaries are asked next, without a NOTIFY.
func (m *Machine) NextCheck() time.Time { return m.next }

// Confirmed returns when a primary last confirmed the version there is.
func (m *Machine) Confirmed() time.Time { return m.confirmed }

// Expires returns when the version there is must no longer be served; zero
// without one.
func (m *Machine) Expires() time.Time {
	if !m.present {
		return time.Time{}
	}
	return m.confirmed.Add(clamp(m.soa.Expire, minExpire))
}

// Failures returns how many checks in a row have failed.
func (m *Machine) Failures() int { return m.failures }

// Next returns when the machine wants a Tick.
func (m *Machine) Next() time.Time {
	next := m.next
	if m.checking {
		next = time.Time{}
	}
	if e := m.Expires(); !e.IsZero() && (next.IsZero() || e.Before(next)) {
		next = e
	}
	return next
}

// Step takes an event and appends what is to be done to actions.
func (m *Machine) Step(now time.Time, ev Event, actions []Action) []Action {
	switch ev := ev.(type) {
	case Started:
		m.next = now
	case Loaded:
		m.load(now, ev)
	case Notified:
		m.notified(now, ev)
	case Asked:
		m.pull(now)
	case Ended:
		m.end(now, ev)
	}
	if e := m.Expires(); !e.IsZero() && !now.Before(e) {
		m.present = false
		actions = append(actions, Expire)
	}
	if !m.checking && !now.Before(m.next) {
		m.checking = true
		actions = append(actions, Check)
	}
	return actions
}

// load begins with the version of a copy on disk. It is checked at once: nobody
// told us while we were away.
func (m *Machine) load(now time.Time, ev Loaded) {
	m.soa, m.present, m.next = ev.SOA, true, now
	m.confirmed = ev.Confirmed
	if m.confirmed.After(now) { // the clock was set back meanwhile
		m.confirmed = now
	}
}

// pull makes the next check happen now, or another one follow that under way.
func (m *Machine) pull(now time.Time) {
	if m.checking {
		m.again = true
		return
	}
	m.next = now
}

// notified pulls the check forward, unless the serial is none of interest
// (RFC 1996 §4.7: the NOTIFY's data is a hint, not to be believed).
func (m *Machine) notified(now time.Time, ev Notified) {
	if ev.HasSerial && m.present && !m.soa.Serial.Less(ev.Serial) {
		return
	}
	if hold := m.ended.Add(notifyHold); !m.checking && now.Before(hold) {
		if hold.Before(m.next) {
			m.next = hold
		}
		return
	}
	m.pull(now)
}

func (m *Machine) end(now time.Time, ev Ended) {
	m.checking, m.ended = false, now
	again := m.again
	m.again = false
	if ev.Failed {
		m.failures++
		m.next = now.Add(m.retry())
	} else {
		m.failures = 0
		m.confirm(now, ev)
		m.next = now.Add(m.jitter(clamp(ev.SOA.Refresh, minRefresh)))
	}
	if hold := now.Add(notifyHold); again && hold.Before(m.next) {
		m.next = hold
	}
}

// confirm takes over a version that a primary has. RFC 7314 §4: it expires when it does
// there; but who heard of it from somebody better before does not forget that.
func (m *Machine) confirm(now time.Time, ev Ended) {
	at := now.Add(-max(ev.Age, 0))
	if m.present && m.soa.Serial == ev.SOA.Serial && m.confirmed.After(at) {
		at = m.confirmed
	}
	m.soa, m.present, m.confirmed = ev.SOA, true, at
}

// retry returns the time to the next check after a failure.
func (m *Machine) retry() time.Duration {
	if m.present {
		return m.jitter(clamp(m.soa.Retry, minRetry))
	}
	wait := firstRetry
	for i := 1; i < m.failures && wait < lastRetry; i++ {
		wait *= 2
	}
	return m.jitter(min(wait, lastRetry))
}

// jitter shortens d by up to a quarter.
func (m *Machine) jitter(d time.Duration) time.Duration {
	return d - time.Duration(m.rnd.Int64N(int64(d)/4+1))
}

func clamp(d, least time.Duration) time.Duration { return min(max(d, least), maxTime) }

// check returns what is wrong with m, for tests.
func (m *Machine) check() error {
	if m.again && !m.checking {
		return fmt.Errorf("a check is to follow one that is not under way")
	}
	if m.present && m.confirmed.IsZero() {
		return fmt.Errorf("a version that nobody confirmed")
	}
	return nil
}
