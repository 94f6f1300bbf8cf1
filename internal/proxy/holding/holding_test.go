package holding

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAwait: somebody waits for a change, for his time, until he is gone or nobody may wait; how
// many there are and what they have is bounded.
func TestAwait(t *testing.T) {
	for name, tt := range map[string]struct {
		room  Spec
		guest Guest
		why   string
		ready time.Duration // after which Look says so; 0: never
		want  End
		took  time.Duration
	}{
		"a change":     {Spec{1, 10, time.Minute, nil}, Guest{Octets: 10, Most: time.Hour}, "", 3 * time.Second, Ready, 3 * time.Second},
		"its time":     {Spec{1, 10, time.Minute, nil}, Guest{Octets: 1, Most: time.Hour}, "", 0, Late, time.Minute},
		"a lesser one": {Spec{1, 10, time.Minute, nil}, Guest{Octets: 1, Most: time.Second / 2}, "", 0, Late, time.Second / 2},
		"gone":         {Spec{1, 10, time.Minute, nil}, Guest{Octets: 1, Most: time.Hour}, "gone", 0, Gone, GoneInterval},
		"closing":      {Spec{1, 10, time.Minute, nil}, Guest{Octets: 1, Most: time.Hour}, "closing", 0, Closing, 0},
		"no memory":    {Spec{1, 10, time.Minute, nil}, Guest{Octets: 11, Most: time.Hour}, "", 0, Full, 0},
		"no place":     {Spec{0, 10, time.Minute, nil}, Guest{Octets: 1, Most: time.Hour}, "", 0, Full, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var woken atomic.Int64
			tt.room.Wake = func() { woken.Add(1) }
			r := (*Room)(nil).Under(tt.room)
			began, changed, closing := time.Now(), make(chan struct{}), make(chan struct{})
			tt.guest.Changed = func() <-chan struct{} { return changed }
			tt.guest.Closing = closing
			if tt.why == "closing" {
				close(closing)
			}
			tt.guest.Look = func() bool { return tt.ready > 0 && time.Since(began) >= tt.ready }
			tt.guest.IsGone = func() bool { return tt.why == "gone" }
			if tt.ready > 0 {
				time.AfterFunc(tt.ready, func() { close(changed) })
			}
			got := r.Await(&tt.guest)
			if took := time.Since(began); got != tt.want || took != tt.took {
				t.Errorf("%s: %d after %v, want %d after %v", name, got, took, tt.want, tt.took)
			}
			if (woken.Load() > 0) == (got == Full) {
				t.Errorf("%s: woken %d times", name, woken.Load())
			}
			want := Counters{Pool: "p", Held: 1}
			switch got {
			case Full:
				want.Held, want.Refused = 0, 1
			case Late:
				want.TimedOut = 1
			}
			if c := r.Under(Spec{}).Read("p"); c != want || r.Waiting() != 0 {
				t.Errorf("%s: counted %+v, want %+v", name, c, want)
			}
		})
	}
}
