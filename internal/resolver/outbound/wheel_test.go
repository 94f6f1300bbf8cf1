package outbound

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Timers expire after their time, at most two ticks late, once, and not if they were
// stopped; beside a map that is looked through.
func TestWheel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := new(wheel)
	all := map[*timer]time.Duration{} // when each is due
	var now time.Duration
	for range 200_000 {
		switch rng.IntN(4) {
		case 0, 1:
			d := time.Duration(rng.Int64N(int64(3 * time.Second)))
			if rng.IntN(20) == 0 {
				d *= 20 // more than a turn
			}
			x := new(timer)
			w.start(x, now, d)
			all[x] = now + d
		case 2:
			for x := range all {
				w.stop(x)
				w.stop(x) // no harm
				delete(all, x)
				break
			}
		case 3:
			now += time.Duration(rng.Int64N(int64(100 * time.Millisecond)))
			for x := w.expired(now); x != nil; x = w.expired(now) {
				due, ok := all[x]
				if !ok || due > now {
					t.Fatalf("at %v: a timer that is due at %v (there: %v)", now, due, ok)
				}
				delete(all, x)
			}
			for _, due := range all {
				if due < now-2*tick {
					t.Fatalf("at %v: a timer of %v is still there", now, due)
				}
			}
		}
		if w.count != len(all) {
			t.Fatalf("%d timers, want %d", w.count, len(all))
		}
		if d, ok := w.wait(now); ok != (len(all) > 0) || ok && d > 17*time.Second {
			t.Fatalf("wait %v %v with %d timers", d, ok, len(all))
		}
	}
}

// Who waits as long as wait says has something to do then, and has missed nothing.
func TestWheelWait(t *testing.T) {
	w := new(wheel)
	var now time.Duration
	x := new(timer)
	w.start(x, now, time.Minute) // several turns
	for turns := 0; ; turns++ {
		d, ok := w.wait(now)
		if !ok || turns > 10 {
			t.Fatalf("wait %v %v after %d turns", d, ok, turns)
		}
		now += d
		if w.expired(now) == x {
			break
		}
	}
	if now < time.Minute || now > time.Minute+2*tick {
		t.Errorf("expired after %v, want a minute", now)
	}
}
