package health

import (
	"strings"
	"testing"
	"time"
)

// What agents say, in HAProxy's words (configuration manual, "agent-check") and as JSON.
func TestParseAgent(t *testing.T) {
	for text, want := range map[string]Saying{
		"up\n":                        {},
		"75%\n":                       {Report: Report{Weight: 750, Weighted: true}},
		"up 50%\r\n":                  {Report: Report{Weight: 500, Weighted: true}},
		"0%":                          {Report: Report{Weight: 0, Weighted: true}},
		"drain":                       {Report: Report{Drain: true}},
		"maint":                       {Report: Report{Drain: true}},
		"READY, up, 100%, maxconn:30": {Report: Report{Weight: 1000, Weighted: true, Capacity: 30}, Ready: true},
		"down # disk is full\n":       {Report: Report{Down: true}, Cause: "disk is full"},
		"stopped\tload:12.5%":         {Report: Report{Load: 125, Loaded: true, Down: true}},
		"fail\nup":                    {Report: Report{Down: true}}, // one line
		`{"state": "up", "weight": 75, "load": 40.5, "connections": 10, "other": {"x": 1}}`: {Report: Report{Weight: 750, Weighted: true, Load: 405, Loaded: true, Capacity: 10}},
		`{"weight": 0}`:                          {Report: Report{Weighted: true}},
		`{"state": "down", "cause": "a\u0007b"}`: {Report: Report{Down: true}, Cause: "a b"},
	} {
		if got, err := ParseAgent(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", " \n", "uppp", "-1%", "1001%", "NaN%", "%", "maxconn:", "maxconn:0", "maxconn:99999999999", "load:", `{}`, `{"state": 1}`, `{"weight": "x"}`, `{"weight": -1}`, "{", strings.Repeat("up ", 33)} {
		if got, err := ParseAgent(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

// An agent speaks of some things now and of others later: what it does not speak of
// stays, and its drain stays until it says "ready" (HAProxy: "canceling any DRAIN").
func TestAgentSaysMore(t *testing.T) {
	var r Report
	for _, step := range []struct {
		says string
		want Report
	}{
		{"up 50%", Report{Weight: 500, Weighted: true}},
		{"up", Report{Weight: 500, Weighted: true}},
		{"drain", Report{Weight: 500, Weighted: true, Drain: true}},
		{"up 75% load:10%", Report{Weight: 750, Weighted: true, Load: 100, Loaded: true, Drain: true}},
		{"ready maxconn:7", Report{Weight: 750, Weighted: true, Load: 100, Loaded: true, Capacity: 7}},
	} {
		said, err := ParseAgent(step.says)
		if err != nil {
			t.Fatal(err)
		}
		if r = said.Onto(r); r != step.want {
			t.Errorf("after %q: %+v, want %+v", step.says, r, step.want)
		}
	}
	if (Report{}).Permille() != 1000 || r.Permille() != 750 {
		t.Errorf("factors %d and %d", (Report{}).Permille(), r.Permille())
	}
}

// said is a result of an agent check.
func said(t *testing.T, at time.Time, text string) Result {
	s, err := ParseAgent(text)
	if err != nil {
		t.Fatal(err)
	}
	return Result{OK: !s.Down, At: at, Cause: "agent said", Said: &s}
}

// The drain of an agent lies over the verdict as the operator's does, and the
// operator's goes first.
func TestAgentDrains(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	m := New(Check{Kind: Agent}, start)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	step := func(s int, text, from, to, cause string) {
		t.Helper()
		tr, changed := m.Observe(at(s), said(t, at(s), text))
		m.check()
		if changed != (from != to) || changed && (tr.From.String() != from || tr.To.String() != to || tr.Cause != cause || !tr.At.Equal(at(s))) {
			t.Errorf("%q: got %+v, %v", text, tr, changed)
		}
	}
	step(1, "up", "unknown", "up", "agent said")
	step(2, "drain # maintenance", "up", "draining", "drained by its agent: maintenance")
	step(3, "up 30%", "draining", "draining", "")
	if s := m.Status(); s.Cause != "drained by its agent: " && !s.Since.Equal(at(2)) || s.Report.Weight != 300 {
		t.Errorf("status %+v", s)
	}
	step(4, "ready", "draining", "up", "no longer drained; agent said")
	step(5, "0%", "up", "draining", "drained by its agent")
	m.Drain(at(6), true)
	step(7, "20%", "draining", "draining", "")
	if tr, changed := m.Drain(at(8), false); !changed || tr.To != Up {
		t.Errorf("undrained by both: %+v, %v", tr, changed)
	}
	// An agent that cannot be reached takes nothing back, and its drain outlives a restart.
	step(9, "drain", "up", "draining", "drained by its agent")
	m.Observe(at(10), Result{At: at(10), Cause: "connection refused"})
	again := Restore(Check{Kind: Agent}, m.Status(), at(11))
	if again.State() != Draining || again.Status().Report != m.Status().Report {
		t.Errorf("after a restart %+v, before it %+v", again.Status(), m.Status())
	}
	// Under another check nobody would ever say "ready".
	if other := Restore(Check{Kind: TCP}, m.Status(), at(11)); other.State() == Draining {
		t.Error("the drain of an agent outlived its check")
	}
}

// Failures of a new target do not count while it may be starting; it is asked often,
// and one success ends the grace.
func TestStartGrace(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	c := Check{Kind: TCP, Params: Params{Interval: 4 * time.Second, Grace: 30 * time.Second}.Once()}
	m := New(c, start)
	at := start
	fail := func() bool {
		_, changed := m.Observe(at, Result{At: at, Cause: "connection refused"})
		m.check()
		return changed
	}
	for at.Before(start.Add(30 * time.Second)) {
		if fail() {
			t.Fatalf("%v after %v", m.State(), at.Sub(start))
		}
		if next := m.Next().Sub(at); next != 2*time.Second {
			t.Fatalf("next probe after %v, want the fast interval, 2s", next)
		}
		at = m.Next()
	}
	if fail() || !fail() || m.State() != Down {
		t.Errorf("state %v after the grace and two failures, want down", m.State())
	}
	m = New(c, start)
	m.Observe(start, Result{OK: true, At: start})
	at = start.Add(time.Second)
	fail()
	if !fail() {
		t.Error("failures after the first success did not count")
	}
	// A restored target is not new.
	m = Restore(c, Status{State: Up, Since: start}, start)
	fail()
	if !fail() {
		t.Error("failures of a restored target did not count")
	}
}

// A wall clock that was put back leaves a Since ahead of now in what was saved. It must
// not make evidence seem old.
func TestClockPutBack(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	m := Restore(Check{Kind: TCP}, Status{State: Up, Since: now.Add(24 * time.Hour)}, now)
	if got := m.Status().Since; !got.Equal(now) {
		t.Errorf("up since %v, want now", got)
	}
	for i := range 3 {
		at := now.Add(time.Duration(i+1) * time.Second)
		m.Observe(at, Result{At: at, Passive: true, Cause: "connection refused"})
		m.check()
	}
	if m.State() != Down {
		t.Error("failures of traffic did not count")
	}
}

// The end of a certificate is known from the last handshake, and a warning goes with it.
func TestCertificateNotes(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	m := New(Check{Kind: TLS}, now)
	m.Observe(now, Result{OK: true, At: now, Certificate: now.Add(time.Hour), Warning: "certificate ends soon"})
	m.Observe(now, Result{At: now, Cause: "connection refused"})
	if n := m.Notes(); n.Warning != "certificate ends soon" || !n.Certificate.Equal(now.Add(time.Hour)) {
		t.Errorf("notes %+v", n)
	}
	m.Observe(now, Result{OK: true, At: now, Certificate: now.Add(1000 * time.Hour)})
	if n := m.Notes(); n.Warning != "" {
		t.Errorf("notes %+v after a new certificate", n)
	}
}

// Whatever an agent says, reading it ends in bounds.
func FuzzParseAgent(f *testing.F) {
	for _, seed := range []string{"up 75%", "drain # why", "ready,maxconn:3", `{"state": "up", "weight": 1e2}`, "load:3%\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseAgent(text)
		if err != nil {
			return
		}
		if s.Weight < 0 || s.Weight > MaxAgentWeight || s.Load < 0 || s.Load > MaxAgentWeight || s.Capacity < 0 || s.Capacity > MaxAgentCapacity || len(s.Cause) > maxCause+3 || strings.ContainsAny(s.Cause, "\x1b\n\r\x00") {
			t.Fatalf("%q: %+v", text, s)
		}
		if s.Drain && s.Ready {
			t.Fatalf("%q: both drain and ready", text)
		}
	})
}
