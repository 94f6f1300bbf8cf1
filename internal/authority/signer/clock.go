package signer

import (
	"sync"
	"time"

	"pharos/internal/clock"
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

// wallClock is the time that signatures are dated with. After a sudden jump it goes on as
// before for a while: a mistyped date, or a virtual machine that wakes up in the
// wrong year, does not make signatures that nobody can use. kasp does not ask this
// clock how long something took, but the monotonic one.
type wallClock struct {
	wall   func() time.Time
	steady func() time.Duration // what nobody can set; only differences count

	mu    sync.Mutex    // guards what follows
	base  time.Time     // the last wall time believed
	at    time.Duration // and when that was
	doubt time.Duration // since when the wall clock is not believed; 0: it is
}

func newClock() *wallClock {
	start := clock.Now()
	return &wallClock{
		wall:   func() time.Time { return clock.Now().Round(0) },
		steady: func() time.Duration { return clock.Since(start) + time.Second }, // never 0
		base:   start.Round(0), at: time.Second,
	}
}

// read returns the time to use, and by how much the wall clock has jumped away from it.
func (c *wallClock) read() (now time.Time, jumped time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, at := c.wall(), c.steady()
	expected := c.base.Add(at - c.at)
	if jumped = wall.Sub(expected); jumped.Abs() > maxJump {
		if c.doubt == 0 {
			c.doubt = at
		}
		if at-c.doubt < jumpHold {
			return expected, jumped
		}
	}
	c.base, c.at, c.doubt = wall, at, 0
	return wall, 0
}
