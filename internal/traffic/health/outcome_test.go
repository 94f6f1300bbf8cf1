package health

import (
	"testing"
	"time"
)

// A Poor target is Up with a part of its share; the grade goes with the verdict.
func TestGrade(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := Check{Kind: TCP}
	m := New(c, now)
	if _, changed := m.Grade(now, Grade{Share: 100, Cause: "slow"}); changed || m.State() != Unknown || m.Notes().Kept() != 1000 {
		t.Errorf("a target of which nothing is known is %v with %d", m.State(), m.Notes().Kept())
	}
	m.Observe(now, Result{OK: true, At: now})
	now = now.Add(time.Minute)
	tr, changed := m.Grade(now, Grade{Share: 100, Cause: "slow"})
	m.check()
	if want := (Transition{Up, Poor, now, "slow"}); !changed || tr != want {
		t.Errorf("graded: got %+v, want %+v", tr, want)
	}
	if s := m.Status(); s.State != Poor || s.Share != 100 || s.Kept() != 100 || !s.Since.Equal(now) || s.Cause != "slow" {
		t.Errorf("got %+v", s)
	}
	if _, changed := m.Grade(now.Add(time.Second), Grade{Share: 250, Cause: "less slow"}); changed || m.Notes().Share != 250 || !m.Status().Since.Equal(now) {
		t.Errorf("another share is no other state: %+v", m.Status())
	}
	kept := Restore(c, m.Status(), now)
	kept.check()
	if got := kept.Status(); got.State != Poor || got.Share != 250 || got.Cause != "less slow" {
		t.Errorf("restored: %+v", got)
	}
	again := m.Retimed(Check{Kind: TCP, Params: Params{Interval: time.Minute}.Once()}, now)
	again.check()
	if got := again.Status(); got.State != Poor || got.Share != 250 {
		t.Errorf("asked at other times: %+v", got)
	}
	if tr, changed := m.Grade(now.Add(time.Minute), Grade{Cause: "as fast as its peers"}); !changed || tr.To != Up || tr.Cause != "as fast as its peers" || m.Notes().Share != 0 {
		t.Errorf("recovered: %+v, %+v", tr, m.Status())
	}
	m.Grade(now, Grade{Share: 50, Cause: "slow"})
	for range 2 {
		m.Observe(now, Result{At: now, Cause: "connection refused"})
		m.check()
	}
	if s := m.Status(); s.State != Down || s.Share != 0 {
		t.Errorf("down: %+v", s)
	}
}

// What counts against a member, and what only among many.
func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		o                Outcome
		name             string
		failure, counted bool
	}{
		{Answered, "answered", false, false}, {Doubtful, "doubtful", true, false}, {Erred, "erred", true, true},
		{Unreached, "unreached", true, true}, {Late, "late", true, true}, {Broken, "broken", true, true},
	} {
		if c.o.String() != c.name || c.o.IsFailure() != c.failure || c.o.IsCounted() != c.counted {
			t.Errorf("%v: got %v, %v, want %+v", c.o, c.o.IsFailure(), c.o.IsCounted(), c)
		}
	}
}
