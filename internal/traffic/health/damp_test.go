package health

import (
	"math"
	"testing"
	"time"
)

// RFC 2439 §4: a penalty for each time it goes down, that decays exponentially; from the
// suppress threshold on it is held, until the penalty has fallen below the reuse one.
func TestDamping(t *testing.T) {
	c := everySecond
	p := c.Params.Get()
	p.Rise, p.Fall, p.Confirm = 1, 1, time.Second
	c.Params = p.Once()
	const s = time.Second
	m := play(t, New(c, epoch), []step{
		{at: 0, event: "ok", want: "unknown > up: probe succeeded"},
		{at: 1 * s, event: "fail", cause: "refused", want: "up > down: refused"},
		{at: 2 * s, event: "ok", want: "down > up: 1 good probe in a row"},
		{at: 3 * s, event: "fail", cause: "refused", want: "up > down: refused"},
		{at: 4 * s, event: "ok", want: "down > up: 1 good probe in a row"},
		{at: 5 * s, event: "fail", cause: "refused", want: "up > down: refused"},
		{at: 6 * s, event: "ok", want: "down > up: 1 good probe in a row"},
		{at: 7 * s, event: "fail", cause: "refused", want: "up > down: refused; it comes and goes (penalty 3865), so it stays down until 00:02:05 at least"},
	})
	m.Observe(epoch.Add(8*s), Result{OK: true, At: epoch.Add(8 * s)})
	if st := m.Status(); st.State != Down || st.Held != Damped || st.HeldUntil.Before(epoch.Add(124*s)) {
		t.Fatalf("held: %+v", st)
	}
	m.Observe(epoch.Add(9*s), Result{At: epoch.Add(9 * s), Cause: "refused"})
	if st := m.Status(); st.Held != NotHeld {
		t.Errorf("held by damping while probes fail: %+v", st)
	}
	for at := 10 * s; at < 400*s; at += s {
		if tr, changed := m.Observe(epoch.Add(at), Result{OK: true, At: epoch.Add(at)}); changed {
			want := 7*s + time.Duration(math.Log2(m.penalty/1000)*float64(time.Minute))
			if tr.To != Up || at < want || at > want+2*s {
				t.Errorf("%v at %v, want up at %v", tr, at, want)
			}
			return
		}
		m.check()
	}
	t.Error("it is held for ever")
}

// However restless a target was, it is not held for longer than four half-lives after
// it has become calm; and what comes and goes seldom is never held.
func TestDampingIsBounded(t *testing.T) {
	c := everySecond
	p := c.Params.Get()
	p.Rise, p.Fall = 1, 1
	c.Params = p.Once()
	m := New(c, epoch)
	m.Observe(epoch, Result{OK: true, At: epoch})
	for range 1000 {
		m.enter(Up, epoch, "")
		m.Observe(epoch, Result{At: epoch})
		m.check()
	}
	if most := m.reuseAt(epoch).Sub(epoch); most > 4*time.Minute+time.Second {
		t.Errorf("held for %v", most)
	}
	seldom, now := New(c, epoch), epoch
	for range 50 {
		seldom.Observe(now, Result{OK: true, At: now})
		if seldom.State() != Up {
			t.Fatalf("held: %+v", seldom.Status())
		}
		now = now.Add(time.Minute)
		seldom.Observe(now, Result{At: now})
	}
}

// What is known of its restlessness outlives a restart, and a clock that jumps neither
// forgives at once nor holds for ever.
func TestDampingOverRestartsAndJumps(t *testing.T) {
	c := everySecond
	p := c.Params.Get()
	p.Rise, p.Fall = 1, 1
	c.Params = p.Once()
	m := New(c, epoch)
	for i := range 4 {
		now := epoch.Add(time.Duration(i) * time.Second)
		m.Observe(now, Result{OK: true, At: now})
		m.Observe(now, Result{At: now})
	}
	back := epoch.Add(-time.Hour)
	again := Restore(c, m.Status(), back)
	again.check()
	for at := time.Duration(0); ; at += time.Second {
		if _, changed := again.Observe(back.Add(at), Result{OK: true, At: back.Add(at)}); changed {
			if at < 30*time.Second || at > 4*time.Minute {
				t.Errorf("up after %v", at)
			}
			return
		}
		again.check()
		if at > time.Hour {
			t.Fatal("held for ever")
		}
	}
}

// "A gateway that is down makes its members Unknown, not Down": what failed just before
// for the same reason is not held against them, and who still answers stays Up.
func TestDependency(t *testing.T) {
	const s = time.Second
	m := play(t, New(everySecond, epoch), []step{
		{at: 0, event: "ok", want: "unknown > up: probe succeeded"},
		{at: 1 * s, event: "fail", cause: "timeout", want: ""},
		{at: 1500 * ms, event: "fail", cause: "timeout", want: "up > down: timeout"},
		{at: 1600 * ms, event: "lose", want: "down > unknown: the switch is down"},
		{at: 2 * s, event: "fail", cause: "timeout", want: ""},
		{at: 3 * s, event: "fail", cause: "timeout", want: ""},
		{at: 4 * s, event: "fail", cause: "timeout", want: ""},
		{at: 4100 * ms, event: "find", want: ""},
	})
	if s := m.Status(); s.Penalty != 0 || s.Cause != "not probed since what it depends on is back" {
		t.Errorf("after the loss: %+v", s)
	}
	play(t, m, []step{
		{at: 5 * s, event: "fail", cause: "timeout", want: ""},
		{at: 5500 * ms, event: "fail", cause: "timeout", want: "unknown > down: timeout"},
		{at: 6 * s, event: "lose", want: "down > unknown: the switch is down"},
		{at: 7 * s, event: "ok", want: "unknown > up: probe succeeded"}, // there is another way to it
		{at: 8 * s, event: "fail", want: ""},
		{at: 8500 * ms, event: "fail", want: "up > unknown: the switch is down"},
	})
	without := New(Check{}, epoch)
	if _, changed := without.Lose(epoch, "x"); changed || without.State() != Up {
		t.Error("a target without a check has become unknown")
	}
}
