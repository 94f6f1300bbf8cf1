package health

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// epoch is when every dialogue begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// step is one line of a dialogue: at a time after the epoch something happens, and
// the machine shows a transition ("from > to: cause") or none ("").
type step struct {
	at    time.Duration
	event string // ok, fail: a probe; hit, miss: real traffic; drain, resume, expire
	cause string
	want  string
	next  time.Duration // when not 0: what Next says, after the epoch
}

// play makes the events of steps happen to m and holds it to what they want.
func play(t *testing.T, m Machine, steps []step) Machine {
	t.Helper()
	m.check()
	for i, s := range steps {
		got := ""
		if tr, ok := happen(&m, epoch.Add(s.at), s.event, s.cause); ok {
			got = fmt.Sprintf("%v > %v: %s", tr.From, tr.To, tr.Cause)
			if !tr.At.Equal(epoch.Add(s.at)) && s.event != "resume" {
				t.Errorf("step %d: transition at %v, want %v", i, tr.At.Sub(epoch), s.at)
			}
		}
		m.check()
		if got != s.want {
			t.Errorf("step %d, %v %s %q: got %q, want %q", i, s.at, s.event, s.cause, got, s.want)
		}
		if next := m.Next().Sub(epoch); s.next != 0 && next != s.next {
			t.Errorf("step %d, %v %s: next at %v, want %v", i, s.at, s.event, next, s.next)
		}
	}
	return m
}

func happen(m *Machine, now time.Time, event, cause string) (Transition, bool) {
	switch event {
	case "ok", "fail":
		return m.Observe(now, Result{OK: event == "ok", At: now, Cause: cause})
	case "hit", "miss":
		return m.Observe(now, Result{OK: event == "hit", At: now, Cause: cause, Passive: true})
	case "drain", "resume":
		return m.Drain(now, event == "drain")
	case "expire":
		return m.Expire(now)
	case "lose":
		return m.Lose(now, "the switch is down")
	case "find":
		return m.Lose(now, "")
	case "poor", "whole":
		return m.Grade(now, Grade{Share: map[string]int{"poor": 100}[event], Cause: cause})
	case "eject":
		return m.Eject(now, cause)
	}
	panic("no such event: " + event)
}

// everySecond is the check of most dialogues: interval 1 s, timeout 500 ms, rise 2,
// fall 2, so confirm 500 ms.
var everySecond = Check{Kind: TCP}

const ms = time.Millisecond

// "A single good probe brings a target up from Unknown": a start leaves no good
// member unused.
func TestFirstGoodProbeMakesUp(t *testing.T) {
	play(t, New(everySecond, epoch), []step{
		{at: 1 * ms, event: "ok", cause: "status 200", want: "unknown > up: status 200", next: 1001 * ms},
		{at: 1001 * ms, event: "ok", cause: "status 200", want: "", next: 2001 * ms},
	})
}

// "From Unknown it takes Fall failures": one lost packet at start does not condemn.
func TestUnknownFallsLikeUp(t *testing.T) {
	play(t, New(everySecond, epoch), []step{
		{at: 1 * ms, event: "fail", cause: "connection refused", want: "", next: 501 * ms},
		{at: 501 * ms, event: "fail", cause: "connection refused", want: "unknown > down: connection refused", next: 1501 * ms},
	})
}

// Fall and rise: the verdict changes with the last of a run, and a single result to
// the contrary begins the run anew. While a run is open the next probe comes after
// Confirm.
func TestFallAndRise(t *testing.T) {
	c := Check{Kind: HTTP, Params: Params{Interval: time.Second, Fall: 3, Rise: 2, Confirm: 300 * ms}.Once()}
	play(t, New(c, epoch), []step{
		{at: 0, event: "ok", cause: "status 200", want: "unknown > up: status 200", next: 1000 * ms},
		{at: 1000 * ms, event: "fail", cause: "status 503", want: "", next: 1300 * ms},
		{at: 1300 * ms, event: "fail", cause: "status 503", want: "", next: 1600 * ms},
		{at: 1600 * ms, event: "ok", cause: "status 200", want: "", next: 2600 * ms}, // the run is broken
		{at: 2600 * ms, event: "fail", cause: "status 503", want: ""},
		{at: 2900 * ms, event: "fail", cause: "status 503", want: ""},
		{at: 3200 * ms, event: "fail", cause: "status 500", want: "up > down: status 500", next: 4200 * ms},
		{at: 4200 * ms, event: "ok", cause: "status 200", want: "", next: 4500 * ms},
		{at: 4500 * ms, event: "fail", cause: "status 503", want: "", next: 5500 * ms},
		{at: 5500 * ms, event: "ok", cause: "status 200", want: ""},
		{at: 5800 * ms, event: "ok", cause: "status 200", want: "down > up: 2 good probes in a row"},
	})
}

// A probe that takes long is followed by a pause, never by the next at once.
func TestPauseAfterLongProbe(t *testing.T) {
	m := New(everySecond, epoch)
	ended := epoch.Add(500 * ms)
	m.Observe(ended, Result{At: ended, Latency: 500 * ms, Cause: "timeout after 500ms"})
	if got, want := m.Next().Sub(ended), MinPause; got != want {
		t.Errorf("the next probe begins %v after a failed one of 500ms, want %v", got, want)
	}
}

// "Three failures of traffic in a row take a member down; a success between them
// begins the count anew. Probes that contradict the traffic do not bring it back before
// its ejection is over: a passive success does neither."
func TestPassiveFailures(t *testing.T) {
	m := play(t, New(everySecond, epoch), []step{
		{at: 0, event: "ok", cause: "connected", want: "unknown > up: connected", next: 1000 * ms},
		{at: 100 * ms, event: "miss", cause: "connection reset", want: "", next: 500 * ms}, // looks sooner: Confirm after the last probe
		{at: 110 * ms, event: "miss", cause: "connection reset", want: ""},
		{at: 120 * ms, event: "hit", want: ""},
		{at: 130 * ms, event: "miss", cause: "connection reset", want: ""},
		{at: 140 * ms, event: "miss", cause: "connection reset", want: ""},
		{at: 150 * ms, event: "miss", cause: "connection refused", want: "up > down: 3 failed requests in a row, last: connection refused; ejected for 10s", next: 500 * ms},
		{at: 160 * ms, event: "hit", want: ""},
		{at: 170 * ms, event: "miss", cause: "connection refused", want: ""},
		{at: 500 * ms, event: "ok", want: "", next: 1500 * ms}, // held: no hurry
		{at: 1500 * ms, event: "ok", want: ""},
		{at: 10100 * ms, event: "ok", want: "", next: 11100 * ms},
	})
	if s := m.Status(); s.Held != Ejected || !s.HeldUntil.Equal(epoch.Add(10150*ms)) || s.Ejections != 1 {
		t.Errorf("held: %+v", s)
	}
	play(t, m, []step{
		{at: 11100 * ms, event: "ok", want: "down > up: ejection of 10s is over, and probes are good: on trial"},
		{at: 11200 * ms, event: "miss", cause: "timeout", want: "up > down: 1 failed request in a row, last: timeout; ejected for 20s"},
	})
}

// When probes see what traffic saw, they see the end of it, too: the ejection does not
// keep away what has been mended.
func TestProbesConfirmAnEjection(t *testing.T) {
	m := play(t, New(everySecond, epoch), []step{
		{at: 0, event: "ok", want: "unknown > up: probe succeeded"},
		{at: 100 * ms, event: "miss", cause: "connection refused", want: ""},
		{at: 100 * ms, event: "miss", cause: "connection refused", want: ""},
		{at: 100 * ms, event: "miss", cause: "connection refused", want: "up > down: 3 failed requests in a row, last: connection refused; ejected for 10s"},
		{at: 500 * ms, event: "fail", cause: "connection refused", want: "", next: 1000 * ms},
		{at: 1000 * ms, event: "fail", cause: "connection refused", want: ""},
	})
	if s := m.Status(); s.Held != NotHeld || !strings.HasSuffix(s.Cause, "; probes fail as well: connection refused") {
		t.Errorf("confirmed: %+v", s)
	}
	play(t, m, []step{
		{at: 2000 * ms, event: "ok", want: "", next: 2500 * ms},
		{at: 2500 * ms, event: "ok", want: "down > up: 2 good probes in a row"},
	})
}

// Probes and traffic fail a new member in its grace, and nothing comes of it.
func TestGraceHoldsForTraffic(t *testing.T) {
	c := everySecond
	p := c.Params.Get()
	p.Grace = 10 * time.Second
	c.Params = p.Once()
	var steps []step
	for i := range 5 {
		steps = append(steps, step{at: time.Duration(i) * time.Second, event: "miss", want: ""}, step{at: time.Duration(i)*time.Second + ms, event: "fail", want: ""})
	}
	m := play(t, New(c, epoch), append(steps, step{at: 6 * time.Second, event: "ok", want: "unknown > up: probe succeeded"}))
	if s := m.Status(); s.Penalty != 0 || s.Ejections != 0 {
		t.Errorf("a start has cost %+v", s)
	}
}

// A failure of traffic makes the probe look now when the last one is long ago, so
// that a dead member is found by its first failed request.
func TestPassiveFailureBringsTheProbeForward(t *testing.T) {
	play(t, New(everySecond, epoch), []step{
		{at: 0, event: "ok", want: "unknown > up: probe succeeded", next: 1000 * ms},
		{at: 700 * ms, event: "miss", cause: "connection refused", want: "", next: 700 * ms},
		{at: 701 * ms, event: "fail", cause: "connection refused", want: "", next: 1201 * ms},
		{at: 1201 * ms, event: "fail", cause: "connection refused", want: "up > down: connection refused"},
	})
}

// Requests that began before a target came back and fail after it, such as those
// that waited for a timeout, do not take it down again.
func TestLateFailuresOfOldTrouble(t *testing.T) {
	m := play(t, New(everySecond, epoch), []step{{at: 1000 * ms, event: "ok", want: "unknown > up: probe succeeded"}})
	for _, c := range []struct {
		took    time.Duration
		changes bool
	}{{500 * ms, false}, {499 * ms, true}} {
		late := m
		changed := false
		for range 3 {
			now := epoch.Add(1499 * ms)
			_, changed = late.Observe(now, Result{At: now, Latency: c.took, Passive: true, Cause: "timeout"})
			late.check()
		}
		if changed != c.changes {
			t.Errorf("requests that took %v took it down: %v, want %v", c.took, changed, c.changes)
		}
	}
}

// Passive results neither bring an Unknown target up nor count when they are off.
func TestPassiveSuccessIsNoProbe(t *testing.T) {
	play(t, New(everySecond, epoch), []step{{at: ms, event: "hit", want: ""}})
	off := Check{Kind: TCP, Params: Params{Passive: -1}.Once()}
	play(t, New(off, epoch), []step{
		{at: 0, event: "ok", want: "unknown > up: probe succeeded"},
		{at: 1 * ms, event: "miss", want: ""}, {at: 2 * ms, event: "miss", want: ""},
		{at: 3 * ms, event: "miss", want: ""}, {at: 4 * ms, event: "miss", want: "", next: 1000 * ms},
	})
}

// "Without a check a member is ejected for a time that grows; back on trial, one
// failure ejects it again." Each minute of peace makes one ejection forgotten.
func TestEjectionWithoutCheck(t *testing.T) {
	m := New(Check{Params: Params{Eject: 10 * time.Second}.Once()}, epoch)
	if got := m.State(); got != Up {
		t.Fatalf("without a check the first state is %v, want up", got)
	}
	const s = time.Second
	play(t, m, []step{
		{at: 1 * s, event: "miss", cause: "timeout", want: ""},
		{at: 1 * s, event: "miss", cause: "timeout", want: ""},
		{at: 1 * s, event: "miss", cause: "timeout", want: "up > down: 3 failed requests in a row, last: timeout; ejected for 10s", next: 11 * s},
		{at: 2 * s, event: "hit", want: ""},
		{at: 10 * s, event: "expire", want: "", next: 11 * s},
		{at: 11 * s, event: "expire", want: "down > up: ejection of 10s is over: on trial"},
		{at: 12 * s, event: "miss", cause: "timeout", want: "up > down: 1 failed request in a row, last: timeout; ejected for 20s", next: 32 * s},
		{at: 32 * s, event: "expire", want: "down > up: ejection of 20s is over: on trial"},
		{at: 33 * s, event: "hit", want: ""}, // the trial is passed
		{at: 34 * s, event: "miss", cause: "reset", want: ""},
		{at: 34 * s, event: "miss", cause: "reset", want: ""},
		{at: 34 * s, event: "miss", cause: "reset", want: "up > down: 3 failed requests in a row, last: reset; ejected for 30s", next: 64 * s},
		{at: 64 * s, event: "expire", want: "down > up: ejection of 30s is over: on trial"},
		{at: 244 * s, event: "miss", cause: "reset", want: "up > down: 1 failed request in a row, last: reset; ejected for 10s", next: 254 * s},
	})
}

// The growth of ejections ends at MaxEject.
func TestEjectionIsBounded(t *testing.T) {
	m := New(Check{Params: Params{Eject: time.Minute, Passive: 1}.Once()}, epoch)
	now, last := epoch, time.Duration(0)
	for range 10 {
		if _, ok := happen(&m, now, "miss", "x"); !ok {
			t.Fatal("a failure did not eject")
		}
		last = m.Next().Sub(now)
		now = m.Next()
		happen(&m, now, "expire", "")
		m.check()
	}
	if last != MaxEject {
		t.Errorf("tenth ejection lasts %v, want %v", last, MaxEject)
	}
}

// "Drain lies over the verdict", which goes on underneath and is shown again when
// the drain ends.
func TestDrain(t *testing.T) {
	m := play(t, New(everySecond, epoch), []step{
		{at: 0, event: "ok", want: "unknown > up: probe succeeded"},
		{at: 10 * ms, event: "drain", want: "up > draining: drained by the operator"},
		{at: 20 * ms, event: "drain", want: ""},
		{at: 1000 * ms, event: "fail", cause: "connection refused", want: ""},
		{at: 1500 * ms, event: "fail", cause: "connection refused", want: ""},
		{at: 1600 * ms, event: "resume", want: "draining > down: no longer drained; connection refused"},
		{at: 1700 * ms, event: "resume", want: ""},
	})
	if got := m.Status(); got.State != Down || !got.Since.Equal(epoch.Add(1500*ms)) || got.Changes != 3 {
		t.Errorf("after the drain: %+v", got)
	}
}

// "A restart changes no answer": a restored state holds until Rise or Fall new
// probes speak against it, and a Draining or Unknown one is learned anew.
func TestRestore(t *testing.T) {
	long := epoch.Add(-time.Hour)
	up := Restore(everySecond, Status{State: Up, Since: long, Cause: "status 200", Changes: 7}, epoch)
	if s := up.Status(); s.State != Up || !s.Since.Equal(long) || s.Cause != "status 200" || s.Changes != 7 {
		t.Errorf("restored: %+v", s)
	}
	play(t, up, []step{
		{at: 1 * ms, event: "fail", cause: "connection refused", want: "", next: 501 * ms},
		{at: 501 * ms, event: "fail", cause: "connection refused", want: "up > down: connection refused"},
	})
	play(t, Restore(everySecond, Status{State: Down}, epoch), []step{
		{at: 1 * ms, event: "ok", want: ""},
		{at: 501 * ms, event: "ok", want: "down > up: 2 good probes in a row"},
	})
	for _, s := range []State{Unknown, Draining} {
		m := Restore(everySecond, Status{State: s}, epoch)
		if got := m.State(); got != Unknown {
			t.Errorf("restored %v: got %v, want unknown", s, got)
		}
	}
}

// A change of times keeps what is known, and starts counting anew.
func TestRetimed(t *testing.T) {
	m := play(t, New(everySecond, epoch), []step{
		{at: 0, event: "ok", want: "unknown > up: probe succeeded"},
		{at: 1 * ms, event: "drain", want: "up > draining: drained by the operator"},
		{at: 1000 * ms, event: "fail", want: ""},
	})
	slower := Check{Kind: TCP, Params: Params{Interval: 5 * time.Second}.Once()}
	play(t, m.Retimed(slower, epoch.Add(2*time.Second)), []step{
		{at: 2 * time.Second, event: "fail", want: ""}, // the first of its own
		{at: 3 * time.Second, event: "resume", want: "draining > up: no longer drained; probe succeeded"},
		{at: 4 * time.Second, event: "fail", cause: "status 500", want: "up > down: status 500"},
	})
}

// A probe that could not be sent is no evidence.
func TestUnsentSaysNothing(t *testing.T) {
	m := play(t, New(everySecond, epoch), []step{
		{at: 0, event: "ok", want: "unknown > up: probe succeeded"},
		{at: 1000 * ms, event: "fail", want: ""},
	})
	m.Unsent(Result{At: epoch.Add(1500 * ms), Cause: "too many open files"})
	m.check()
	if s := m.Status(); s.State != Up || s.LastCause != "not sent: too many open files" {
		t.Errorf("got %+v", s)
	}
	if got := m.Next().Sub(epoch); got != 2000*ms {
		t.Errorf("next at %v, want 2s", got)
	}
}

// No order of events breaks an invariant, and every transition starts from the
// state shown before and is counted.
func TestRandomEventsKeepInvariants(t *testing.T) {
	events := []string{"ok", "ok", "fail", "fail", "hit", "miss", "miss", "drain", "resume", "expire", "lose", "find", "poor", "whole", "eject"}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := New(Check{Kind: Kind(r.IntN(3)), Params: Params{Rise: 1 + r.IntN(3), Fall: 1 + r.IntN(3), Passive: r.IntN(4) - 1, Suppress: 2000, Eject: time.Second}.Once()}, epoch)
		now, changes := epoch, uint64(0)
		for range 300 {
			now = now.Add(time.Duration(r.IntN(3000)) * ms)
			before := m.State()
			tr, changed := happen(&m, now, events[r.IntN(len(events))], "x")
			m.check()
			if changed != (before != m.State()) || changed && (tr.From != before || tr.To != m.State()) {
				t.Fatalf("seed %d: %v to %v, reported %v %+v", seed, before, m.State(), changed, tr)
			}
			if changed {
				changes++
			}
			if s := m.Status(); s.Changes != changes || s.State != m.State() {
				t.Fatalf("seed %d: status %+v after %d changes", seed, s, changes)
			}
		}
	}
}

// "Probe failure to changed answer within two intervals and 50 ms": of every check
// whose probes fit (Fall*Timeout <= Interval), whether targets refuse or are silent.
func TestDetectWithinTwoIntervals(t *testing.T) {
	for _, interval := range []time.Duration{100 * ms, time.Second, 5 * time.Second, 30 * time.Second} {
		for fall := 1; fall <= 5; fall++ {
			p := Params{Interval: interval, Fall: fall, Timeout: interval / time.Duration(max(fall, 2))}
			for _, spent := range []time.Duration{0, p.Timeout / 2, p.Timeout} {
				promise := 2*interval + 50*ms
				if got := p.DetectWithin(spent); got > promise {
					t.Errorf("interval %v, fall %d, probes of %v: %v, want <= %v", interval, fall, spent, got, promise)
				}
				if got := simulateDeath(p, spent); got > p.DetectWithin(spent) {
					t.Errorf("interval %v, fall %d, probes of %v: the machine took %v, DetectWithin says %v", interval, fall, spent, got, p.DetectWithin(spent))
				}
			}
		}
	}
}

// simulateDeath runs a machine whose target dies right after a good probe, and
// returns how long it then takes to be Down.
func simulateDeath(p Params, spent time.Duration) time.Duration {
	m := New(Check{Kind: TCP, Params: p.Once()}, epoch)
	m.Observe(epoch, Result{OK: true, At: epoch})
	for {
		ended := m.Next().Add(spent)
		if _, changed := m.Observe(ended, Result{At: ended, Latency: spent}); changed {
			return ended.Sub(epoch)
		}
	}
}
