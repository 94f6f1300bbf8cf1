package signer

import (
	"sync"
	"time"
)

// Limits of what a wall clock may do.
const (
	// maxJump is how far the wall clock may move against the monotonic one before it
	// is not believed at once: more than NTP ever steps on a machine that runs, less
	// than the hour by which signatures are dated back.
	maxJump = 10 * time.Minute
	// jumpHold is how long it must then stay where it went before it is believed.
	jumpHold = 10 * time.Minute
)

// clock is the time that signatures are dated with. After a sudden jump it goes on as
// before for a while: a mistyped date, or a virtual machine that wakes up in the
// wrong year, does not make signatures that nobody can use. kasp does not ask this
// clock how long something took, but the monotonic one.
type clock struct {
	now func() time.Time // with a monotonic reading

	mu    sync.Mutex // guards what follows
	base  time.Time  // the last wall time believed
	doubt time.Time  // since when the wall clock is not
}

func newClock() *clock { return &clock{now: time.Now, base: time.Now()} }

// read returns the time to use, and by how much the wall clock has jumped away from it.
func (c *clock) read() (at time.Time, jumped time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	steady := c.base.Round(0).Add(now.Sub(c.base)) // by the monotonic clock
	jumped = now.Round(0).Sub(steady)
	if jumped.Abs() > maxJump {
		if c.doubt.IsZero() {
			c.doubt = now
		}
		if now.Sub(c.doubt) < jumpHold {
			return steady, jumped
		}
	}
	c.base, c.doubt = now, time.Time{}
	return now, 0
}
