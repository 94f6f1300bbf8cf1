package breaker

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/queue"
)

var start = time.Unix(1_000_000, 0)

func rules() Rules {
	return Rules{ErrorRate: 50, MinRequests: 4, Window: 10 * time.Second, Open: 5 * time.Second, Trials: 2}
}

// carry has a request go through b, and reports whether it was let in.
func carry(t *testing.T, b *Breaker, now time.Time, o Outcome) bool {
	t.Helper()
	p, r := b.Enter(now)
	if r.IsSet() {
		return false
	}
	b.Leave(p, o, now)
	return true
}

func TestStates(t *testing.T) {
	b, now := New(rules()), start
	want := func(s State) {
		t.Helper()
		if got := b.Read(now).State; got != s {
			t.Fatalf("at %v: got %v, want %v", now.Sub(start), got, s)
		}
	}
	for range 3 { // too few to say anything
		carry(t, b, now, Bad)
	}
	want(Closed)
	now = now.Add(10 * time.Second) // and they are forgotten
	for range 3 {
		carry(t, b, now, Good)
	}
	carry(t, b, now, Neither)
	carry(t, b, now, Bad)
	carry(t, b, now, Bad)
	want(Closed) // 2 of 5
	carry(t, b, now, Bad)
	want(Open) // 3 of 6
	if r := b.Read(now); !strings.Contains(r.Cause, "3 of 6 requests to it failed within 10s") {
		t.Errorf("the cause is %q", r.Cause)
	}
	if _, r := b.Enter(now.Add(time.Second)); !r.IsSet() || r.After != 4*time.Second || r.IsFull {
		t.Errorf("while it is open: %+v", r)
	}
	now = now.Add(5 * time.Second)
	want(HalfOpen)
	first, r1 := b.Enter(now)
	second, r2 := b.Enter(now)
	if _, r3 := b.Enter(now); r1.IsSet() || r2.IsSet() || !r3.IsSet() {
		t.Errorf("trials: %+v %+v %+v", r1, r2, r3)
	}
	b.Leave(first, Good, now)
	b.Leave(second, Bad, now)
	want(Open)
	now = now.Add(5 * time.Second)
	carry(t, b, now, Good)
	carry(t, b, now, Neither) // which says nothing
	want(HalfOpen)
	carry(t, b, now, Good)
	want(Closed)
	if c := b.Read(now).Counters; c.Opened != 2 || c.RefusedOpen != 2 {
		t.Errorf("counted %+v", c)
	}
}

// What has begun before the breaker opened says nothing of it afterwards.
func TestLateResults(t *testing.T) {
	b := New(rules())
	late := make([]Pass, 8)
	for i := range late {
		late[i], _ = b.Enter(start)
	}
	for i := range 4 {
		b.Leave(late[i], Bad, start)
	}
	now := start.Add(5 * time.Second)
	trial, r := b.Enter(now)
	if r.IsSet() {
		t.Fatal(r)
	}
	b.Leave(late[4], Bad, now)
	b.Leave(late[5], Good, now)
	if got := b.Read(now).State; got != HalfOpen {
		t.Fatalf("late results have made it %v", got)
	}
	b.Leave(trial, Good, now)
	carry(t, b, now, Good)
	if got := b.Read(now).State; got != Closed {
		t.Errorf("after the trials it is %v", got)
	}
}

func TestBound(t *testing.T) {
	b := New(Rules{Bounds: queue.Bounds{Most: 1, Queue: 1, Wait: time.Second}})
	first, _ := b.Enter(start)
	second, r := b.Enter(start)
	if r.IsSet() || second.Waits() == nil {
		t.Fatalf("the second: %+v", r)
	}
	if _, r := b.Enter(start); !r.IsFull {
		t.Errorf("the third: %+v", r)
	}
	b.Leave(first, Good, start)
	<-second.Waits()
	if r := b.Turn(&second, start); r.IsSet() {
		t.Errorf("the second, when the first has left: %+v", r)
	}
	third, _ := b.Enter(start)
	if r := b.Turn(&third, start); !r.IsFull {
		t.Errorf("one whose time is over: %+v", r)
	}
	b.Leave(second, Good, start)
	if got := b.Read(start); got.Inside != 0 || got.Waiting != 0 || got.Waited != 2 || got.TimedOut != 1 || got.RefusedFull != 1 {
		t.Errorf("at the end: %+v", got)
	}
}

// Who has waited while the breaker opened is refused as the others are.
func TestOpenWhileWaiting(t *testing.T) {
	r := rules()
	r.Bounds, r.MinRequests = queue.Bounds{Most: 1, Queue: 1, Wait: time.Minute}, 1
	b := New(r)
	first, _ := b.Enter(start)
	second, _ := b.Enter(start)
	b.Leave(first, Bad, start)
	<-second.Waits()
	if r := b.Turn(&second, start); !r.IsSet() || r.IsFull {
		t.Errorf("got %+v", r)
	}
	if got := b.Read(start); got.Inside != 0 {
		t.Errorf("left are %+v", got)
	}
}

// However requests come, end and give up: no more are inside than may be, trials are never
// more than they may be, and at the end nobody is left.
func TestInvariants(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		rules := rules()
		rules.Bounds = queue.Bounds{Most: 1 + r.IntN(4), Queue: r.IntN(4), Wait: time.Second}
		b, now := New(rules), start
		var inside, waiting []Pass
		for range 2000 {
			now = now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
			switch at := 0; {
			case r.IntN(2) == 0:
				p, refusal := b.Enter(now)
				if refusal.IsSet() {
					break
				}
				if p.Waits() != nil {
					waiting = append(waiting, p)
				} else {
					inside = append(inside, p)
				}
			case len(waiting) > 0 && r.IntN(3) == 0:
				at = r.IntN(len(waiting))
				p := waiting[at]
				waiting = append(waiting[:at], waiting[at+1:]...)
				if !b.Turn(&p, now).IsSet() {
					inside = append(inside, p)
				}
			case len(inside) > 0:
				at = r.IntN(len(inside))
				p := inside[at]
				inside = append(inside[:at], inside[at+1:]...)
				b.Leave(p, Outcome(r.IntN(3)), now)
			}
			if len(inside) > rules.Most || b.trials < 0 || b.trials > rules.Trials {
				t.Fatalf("seed %d: %d inside of %d, %d trials of %d", seed, len(inside), rules.Most, b.trials, rules.Trials)
			}
		}
		for len(waiting) > 0 {
			p := waiting[0]
			if waiting = waiting[1:]; !b.Turn(&p, now).IsSet() {
				inside = append(inside, p)
			}
		}
		for _, p := range inside {
			b.Leave(p, Neither, now)
		}
		if got := b.Read(now); got.Inside != 0 || got.Waiting != 0 || b.trials != 0 {
			t.Fatalf("seed %d: left are %+v, %d trials", seed, got, b.trials)
		}
	}
}

func TestNoAllocs(t *testing.T) {
	r := rules()
	r.Bounds = queue.Bounds{Most: 10}
	b := New(r)
	if n := testing.AllocsPerRun(100, func() { carry(t, b, start, Good) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
