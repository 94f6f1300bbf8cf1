package scale

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pharos/internal/traffic/health"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC) // a Monday

func byRequests(least, most int) Rules {
	return Rules{
		Min: least, Max: most, Targets: []Target{{Requests, 100}}, Tolerance: 0.1,
		OutPause: 10 * time.Second, InPause: 30 * time.Second, WarmUp: 10 * time.Second, Stabilise: time.Minute,
	}
}

// world is members that take time to start, and a load on them.
type world struct {
	t        *testing.T
	s        *Scaler
	now      time.Time
	members  []Member
	began    map[string]time.Time
	boot     time.Duration
	next     int
	waiting  int
	broken   string
	values   func(w *world) [signals]Value
	changes  int
	lastWhen time.Time
}

func newWorld(t *testing.T, r Rules, members int) *world {
	t.Helper()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, s: New(r), now: start, boot: 3 * time.Second, began: map[string]time.Time{}}
	for range members {
		w.members = append(w.members, Member{Name: fmt.Sprint("m", w.next), State: health.Up, Since: start})
		w.next++
	}
	return w
}

func requests(perSecond float64) func(*world) [signals]Value {
	return func(*world) (v [signals]Value) { v[Requests] = Value{perSecond, true}; return v }
}

// step lets a second pass, and does what is decided.
func (w *world) step() Decision {
	w.now = w.now.Add(time.Second)
	for i := range w.members {
		if m := &w.members[i]; m.Starting && w.now.Sub(w.began[m.Name]) >= w.boot {
			m.Starting, m.State, m.Since, m.Ready = false, health.Up, w.now, w.now
		}
	}
	r := &Reading{At: w.now, Members: w.members, Waiting: w.waiting, Broken: w.broken}
	if w.values != nil {
		r.Values = w.values(w)
	}
	d := w.s.Decide(r)
	w.hold(&d)
	for range d.Start {
		name := fmt.Sprint("m", w.next)
		w.next++
		w.members = append(w.members, Member{Name: name, Starting: true})
		w.began[name] = w.now
	}
	for _, name := range d.Remove {
		for i := range w.members {
			if w.members[i].Name == name {
				w.members = append(w.members[:i], w.members[i+1:]...)
				break
			}
		}
	}
	if d.IsChange() {
		w.changes++
		w.lastWhen = w.now
	}
	return d
}

// hold checks what is true of every decision.
func (w *world) hold(d *Decision) {
	w.t.Helper()
	after := d.Have + d.Start + len(d.Keep) - len(d.Remove) + replaced(d)
	switch {
	case d.Want != after:
		w.t.Fatalf("%v: wants %d, but %d will be there: %+v", w.now, d.Want, after, d)
	case d.Start > 0 && after > d.Max:
		w.t.Fatalf("%v: above the maximum: %+v", w.now, d)
	case len(d.Remove) > replaced(d) && after < d.Min:
		w.t.Fatalf("%v: below the minimum: %+v", w.now, d)
	case d.Start > 0 && len(d.Remove) > 0:
		w.t.Fatalf("%v: adds and removes at once: %+v", w.now, d)
	case d.Rule == "" || d.Why == "":
		w.t.Fatalf("%v: a decision without a reason: %+v", w.now, d)
	}
}

// replaced is how many are removed that did not count.
func replaced(d *Decision) int {
	if d.Rule == "replace" {
		return len(d.Remove)
	}
	return 0
}

// run lets time pass.
func (w *world) run(d time.Duration) (last Decision) {
	for range d / time.Second {
		last = w.step()
	}
	return last
}

// "Target-tracking": as many members as bring each to its target, and back.
func TestTarget(t *testing.T) {
	w := newWorld(t, byRequests(1, 10), 1)
	w.values = requests(80)
	if d := w.run(2 * time.Minute); d.Want != 1 || w.changes != 0 {
		t.Errorf("below the target: %+v", d)
	}
	w.values = requests(450)
	if d := w.step(); d.Start != 4 || d.Rule != "target requests" {
		t.Errorf("450/s: %+v", d)
	}
	if d := w.step(); d.Have != 5 || d.Start != 0 {
		t.Errorf("those that start count: %+v", d)
	}
	w.run(time.Minute)
	w.values = requests(110)
	if d := w.step(); d.Want != 5 || !strings.Contains(d.NotLess, "within the last 1m0s the rules have wanted 5") {
		t.Errorf("110/s, at once: %+v", d)
	}
	if w.run(time.Minute); len(w.members) != 2 { // 110/s are more than one may have
		t.Errorf("110/s, later: %d members", len(w.members))
	}
	w.values = requests(1e9)
	if d := w.step(); d.Want != 10 || !strings.Contains(d.NotMore, "at most 10 (maximum)") {
		t.Errorf("without bounds: %+v", d)
	}
}

// What is constant moves nothing twice, whatever it is.
func TestNoOscillation(t *testing.T) {
	for perSecond := 0.0; perSecond < 1300; perSecond += 23 {
		w := newWorld(t, byRequests(0, 10), 3)
		w.values = requests(perSecond)
		w.run(5 * time.Minute)
		if settled := w.lastWhen; w.changes > 1 {
			t.Fatalf("%g/s: %d changes, the last %v after the start", perSecond, w.changes, settled.Sub(start))
		}
	}
}

// A latency does not fall in step with numbers: members that are shared by too few are
// slow, and with one more are fast. It is found out once, and then remembered.
func TestLatencySettles(t *testing.T) {
	r := byRequests(1, 10)
	r.Targets = []Target{{Latency, float64(200 * time.Millisecond)}}
	for _, demand := range []float64{10, 90, 150, 260, 390, 505, 2000} {
		w := newWorld(t, r, 3)
		w.values = func(w *world) (v [signals]Value) {
			serving := 0.0
			for _, m := range w.members {
				if !m.Starting {
					serving++
				}
			}
			busy := min(demand/(100*serving), 0.99) // of an M/M/1 queue with 10 ms
			v[Latency] = Value{10e6 / (1 - busy), true}
			v[Requests] = Value{demand, true}
			return v
		}
		w.run(30 * time.Minute)
		before := w.changes
		w.run(20 * time.Minute)
		if w.changes != before {
			t.Errorf("%g/s: %d changes after it had settled", demand, w.changes-before)
		}
		if least := int(demand/100) + 1; len(w.members) < min(least, 10) {
			t.Errorf("%g/s: %d members", demand, len(w.members))
		}
	}
}

// More demand never leads to fewer members.
func TestMonotone(t *testing.T) {
	for have := range 12 {
		last := 0
		for perSecond := 0.0; perSecond < 2000; perSecond += 3 {
			w := newWorld(t, byRequests(0, 15), have)
			r := &Reading{At: w.now, Members: w.members}
			r.Values[Requests] = Value{perSecond, true}
			d := Decision{Counts: w.s.count(r)}
			d.Have = d.Counts.capacity()
			if c := w.s.track(w.s.rules.Targets[0], r, &d); c.Wants < last {
				t.Fatalf("%d members, %g/s: wants %d, with less %d", have, perSecond, c.Wants, last)
			} else {
				last = c.Wants
			}
		}
	}
}

// Whatever happens, the bounds hold (world.hold), and a pool of which nothing is known
// is left alone.
func TestAnything(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		least := random.IntN(4)
		r := byRequests(least, max(1, least)+random.IntN(8))
		r.Targets = append(r.Targets, Target{Load, 70})
		r.Steps = []Step{{Connections, true, 20, 2}, {Connections, false, 1, 1}}
		r.Replace = 20 * time.Second
		w := newWorld(t, r, random.IntN(6))
		w.values = func(*world) (v [signals]Value) {
			for i := range v {
				v[i] = Value{random.Float64() * 1000, random.IntN(8) > 0}
			}
			v[Load].Total /= 8
			return v
		}
		for range 600 {
			if random.IntN(10) == 0 && len(w.members) > 0 {
				m := &w.members[random.IntN(len(w.members))]
				m.State, m.Since = health.State(random.IntN(5)), w.now
			}
			if w.waiting = 0; random.IntN(10) == 0 {
				w.waiting = 3
			}
			up := 0
			for _, m := range w.members {
				if m.State == health.Up && !m.Starting {
					up++
				}
			}
			if d := w.step(); d.Counts.Unknown > 0 && d.Have <= d.Max && len(d.Remove) > replaced(&d) {
				t.Fatalf("seed %d: removes while something is unknown: %+v", seed, d)
			} else if len(d.Remove) > replaced(&d) && up < d.Want && d.Have <= d.Max {
				t.Fatalf("seed %d: fewer are healthy than are wanted, and it removes: %+v", seed, d)
			}
		}
	}
}

// "Never scales on Unknown": neither when a signal is not known, nor when a member is.
func TestUnknown(t *testing.T) {
	w := newWorld(t, byRequests(1, 10), 4)
	w.values = func(*world) (v [signals]Value) { return v }
	if d := w.run(5 * time.Minute); w.changes != 0 || d.Rule != "unknown" || d.Considered[0].Wants != -1 {
		t.Errorf("no signal: %+v", d)
	}
	w.values = requests(5000)
	w.members[1].State = health.Unknown
	if d := w.run(5 * time.Minute); w.changes != 0 || !strings.Contains(d.Why, "nothing is known yet of 1 members") {
		t.Errorf("an unknown member: %+v", d)
	}
	w.values = requests(0)
	if d := w.run(5 * time.Minute); w.changes != 0 {
		t.Errorf("an unknown member, no load: %+v", d)
	}
	w.members = w.members[:0]
	if d := w.step(); d.Start != 1 || d.Rule != "minimum" {
		t.Errorf("the minimum needs no signal: %+v", d)
	}
}

// "Members in warm-up do not count as signal", and nobody goes while somebody comes.
func TestWarmUp(t *testing.T) {
	r := byRequests(1, 10)
	r.Targets, r.OutPause = []Target{{Load, 50}}, 0
	w := newWorld(t, r, 2)
	load := 80.0
	w.values = func(*world) (v [signals]Value) { v[Load] = Value{load, true}; return v }
	if d := w.step(); d.Start != 2 { // 2 x 80 / 50
		t.Errorf("too much load: %+v", d)
	}
	for range 12 { // until they are warm the two others are as loaded, and that is known
		if d := w.step(); d.Start != 0 || d.Have != 4 {
			t.Fatalf("starting: %+v", d)
		}
	}
	load = 40
	if d := w.run(time.Minute); d.Have != 4 {
		t.Errorf("warm: %+v", d)
	}
	r = byRequests(1, 10)
	w = newWorld(t, r, 2)
	w.values = requests(390)
	w.step()
	w.values = requests(10)
	for range 12 {
		if d := w.step(); len(d.Remove) != 0 || !strings.Contains(d.NotLess, "starting or warming") && d.Counts.Starting+d.Counts.Warming > 0 {
			t.Fatalf("%+v", d)
		}
	}
}

// Cool-downs: in and out each have their own.
func TestCoolDown(t *testing.T) {
	r := byRequests(1, 20)
	r.Stabilise = 0
	w := newWorld(t, r, 1)
	w.values = requests(200)
	if d := w.step(); d.Start != 1 {
		t.Fatalf("%+v", d)
	}
	w.values = requests(600)
	if d := w.step(); d.Start != 0 || !strings.Contains(d.NotMore, "cool-down: members were added 1s ago, the next are in 9s") {
		t.Errorf("%+v", d)
	}
	if d := w.run(9 * time.Second); d.Start != 4 {
		t.Errorf("after the cool-down: %+v", d)
	}
	w.values = requests(100)
	if w.run(29 * time.Second); len(w.members) != 6 {
		t.Errorf("before the cool-down for fewer is over: %d", len(w.members))
	}
	if w.run(2 * time.Second); len(w.members) != 2 {
		t.Errorf("after it: %d", len(w.members))
	}
}

// Scale to zero, and from it when requests wait.
func TestZero(t *testing.T) {
	w := newWorld(t, byRequests(0, 3), 1)
	w.values = requests(0)
	w.run(2 * time.Minute)
	if len(w.members) != 0 {
		t.Fatalf("idle: %d members", len(w.members))
	}
	w.run(time.Minute)
	w.waiting = 2
	if d := w.step(); d.Start != 1 || d.Rule != "waiting requests" {
		t.Errorf("%+v", d)
	}
	if d := w.step(); d.Start != 0 || d.Have != 1 {
		t.Errorf("one is enough to begin with: %+v", d)
	}
	w.broken = "the command ends at once"
	w.members = nil
	if d := w.step(); d.Start != 0 || d.NotMore != w.broken {
		t.Errorf("broken: %+v", d)
	}
}

// Steps: the highest that is passed counts, and waits for those that it has started.
func TestSteps(t *testing.T) {
	r := Rules{Min: 1, Max: 10, Steps: []Step{
		{Latency, true, 200e6, 1}, {Latency, true, 500e6, 3}, {Latency, false, 50e6, 1},
	}, WarmUp: 5 * time.Second, Stabilise: 20 * time.Second}
	w := newWorld(t, r, 2)
	latency := 300e6
	w.values = func(*world) (v [signals]Value) {
		v[Latency], v[Requests] = Value{latency, true}, Value{100, true}
		return v
	}
	if d := w.step(); d.Start != 1 || d.Rule != "step latency" || d.Why != "above 200ms: 1 more" {
		t.Errorf("%+v", d)
	}
	latency = 800e6
	if d := w.step(); d.Start != 0 {
		t.Errorf("before it is warm: %+v", d)
	}
	if w.run(9 * time.Second); len(w.members) != 6 {
		t.Errorf("the higher step: %d members", len(w.members))
	}
	latency = 10e6
	if w.run(10 * time.Minute); len(w.members) != 4 { // three were too few for this much
		t.Errorf("fast again: %d members", len(w.members))
	}
}

// Members that are down serve nobody: others take their places, but never more than the
// maximum; and one that stays down is replaced.
func TestDown(t *testing.T) {
	r := byRequests(1, 4)
	r.Replace = time.Minute
	w := newWorld(t, r, 3)
	w.values = requests(280)
	w.members[0].State, w.members[0].Since = health.Down, w.now
	if d := w.step(); d.Start != 1 || d.Have != 2 {
		t.Errorf("%+v", d)
	}
	w.run(20 * time.Second)
	w.members[1].State, w.members[1].Since = health.Down, w.now
	if d := w.step(); d.Start != 0 || !strings.Contains(d.NotMore, "2 members are down and hold their places") {
		t.Errorf("%+v", d)
	}
	w.run(40 * time.Second)
	if w.members[0].Name == "m0" {
		t.Errorf("m0 was not replaced: %+v", w.members)
	}
}

// Leaving members are kept before others are started; those of others are never removed.
func TestKeepAndFixed(t *testing.T) {
	w := newWorld(t, byRequests(1, 10), 4)
	w.members[2].Leaving, w.members[3].Leaving = true, true
	r := &Reading{At: w.now, Members: w.members}
	r.Values[Requests] = Value{500, true}
	if d := w.s.Decide(r); fmt.Sprint(d.Keep) != "[m2 m3]" || d.Start != 1 || d.Want != 5 {
		t.Errorf("%+v", d)
	}
	w = newWorld(t, byRequests(1, 10), 4)
	for i := range 3 {
		w.members[i].Fixed = true
	}
	w.values = requests(0)
	w.run(5 * time.Minute)
	if len(w.members) != 3 || w.members[2].Name != "m2" {
		t.Errorf("%+v", w.members)
	}
	if d := w.step(); d.NotLess == "" {
		t.Errorf("%+v", d)
	}
}

// TestClockJumps: a clock that is put back or forward, by as much as it may, breaks no bound
// and stops nothing: what is needed is started within a cool-down of the new time.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, -20 * 365 * 24 * time.Hour, time.Hour, 20 * 365 * 24 * time.Hour} {
		w := newWorld(t, byRequests(1, 10), 2)
		w.values = requests(200)
		for range 120 {
			w.step()
		}
		if len(w.members) != 2 {
			t.Fatalf("%d members for what two have to do", len(w.members))
		}
		w.now = w.now.Add(jump)
		w.values = requests(600)
		for range 60 {
			w.step()
		}
		if len(w.members) != 6 {
			t.Errorf("a jump of %v: %d members a minute later, want 6", jump, len(w.members))
		}
		w.values = requests(60)
		for range 900 {
			w.step()
		}
		if len(w.members) != 1 {
			t.Errorf("a jump of %v: %d members a quarter of an hour after the load has gone, want 1", jump, len(w.members))
		}
	}
}

// Schedules raise and lower the bounds.
func TestSchedule(t *testing.T) {
	r := byRequests(1, 3)
	window, err := ParseWindow("0 9 * * mon-fri", time.UTC, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	window.Min, window.Max = 4, 8
	r.Windows = []Window{window}
	w := newWorld(t, r, 1)
	w.values = requests(50)
	if w.run(59 * time.Minute); len(w.members) != 1 {
		t.Errorf("before: %d", len(w.members))
	}
	var d Decision
	for range 120 {
		if d = w.step(); d.IsChange() {
			break
		}
	}
	if d.Start != 3 || d.Rule != "schedule 0 9 * * mon-fri UTC for 1h0m0s" || !w.now.Equal(start.Add(time.Hour)) {
		t.Errorf("at %v: %+v", w.now, d)
	}
	w.values = requests(900)
	if w.run(time.Minute); len(w.members) != 8 {
		t.Errorf("within, with load: %d", len(w.members))
	}
	if w.run(time.Hour); len(w.members) != 3 {
		t.Errorf("after: %d; the maximum holds at once", len(w.members))
	}
}

// The log is bounded, and what is said again is not kept again.
func TestLog(t *testing.T) {
	w := newWorld(t, byRequests(1, 10), 1)
	w.values = requests(50)
	w.run(time.Minute)
	if got := w.s.Log(10); len(got) != 1 || got[0].Number != 1 || !got[0].At.Equal(w.now) {
		t.Errorf("%+v", got)
	}
	w.values = requests(190)
	w.run(time.Minute)
	if got := w.s.Log(100); len(got) < 3 || !got[len(got)-2].IsChange() || got[0].Number != uint64(len(got)) {
		t.Errorf("%+v", got)
	}
	var l Log
	for i := range 3 * maxLog {
		l.add(&Decision{Have: i})
	}
	if got := l.Last(2 * maxLog); len(got) != maxLog || got[0].Number != 3*maxLog || got[0].Have != 3*maxLog-1 {
		t.Errorf("%d decisions, the first %+v", len(got), got[0])
	}
}

func TestValidate(t *testing.T) {
	for want, r := range map[string]Rules{
		"min 2, max 1":         {Min: 2, Max: 1},
		"min 0, max 0":         {},
		"max 1001":             {Max: 1001},
		"is not above 0":       {Max: 1, Targets: []Target{{Requests, 0}}},
		"tolerance 1":          {Max: 1, Tolerance: 1},
		"a time is below 0":    {Max: 1, WarmUp: -1},
		"changes by 0":         {Max: 1, Steps: []Step{{Load, true, 1, 0}}},
		"17 targets":           {Max: 1, Targets: make([]Target, 17)},
		"target bandwidth: -1": {Max: 1, Targets: []Target{{Bandwidth, -1}}},
	} {
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
