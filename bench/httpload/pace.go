package httpload

import (
	"context"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// pace is how often a request is due. Zero: when the one before is answered.
type pace struct {
	each float64 // nanoseconds
	due  int64   // requests that were due
}

// at returns when the next request is due.
func (p *pace) at() int64 { return int64(float64(p.due) * p.each) }

// left returns how many requests that were due before a time have not been asked.
func (p *pace) left(until int64) int {
	if p.each == 0 {
		return 0
	}
	return max(0, int(math.Ceil(float64(until)/p.each))-int(p.due))
}

// Pace asks at a constant rate, on whichever connection is free, for the given time. A request that finds
// none free waits for one, and every time is measured from when the request was due: who is late because
// others are still waiting is late as well ("coordinated omission" leaves these out).
func (c *Clients) Pace(ctx context.Context, rate float64, d time.Duration) (Result, error) {
	return c.start(ctx, d, 0, false, pace{each: float64(time.Second) / rate})
}

// Sleeping has the clients' thread sleep while nothing is due, whom others on its processor would
// wait for otherwise.
func (c *Clients) Sleeping() {
	c.loop.order(func() {
		c.sleeps = true
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(time.Microsecond), 0, 0, 0) // or what is due is up to 50 us late
	})
}

// longestSleep is how often the clock is looked at, for the end.
const longestSleep = 10 * time.Millisecond

// untilDue returns how long the thread may sleep.
func (c *Clients) untilDue() time.Duration {
	if len(c.queue) == 0 {
		return longestSleep
	}
	return min(max(time.Duration(c.pace.at())-time.Since(c.began), 0), longestSleep)
}

// askDue asks what has become due, as far as connections are free, which take turns. It may be behind
// when the time is over, and asks then what was due before.
func (c *Clients) askDue() {
	for len(c.queue) > 0 {
		due := c.pace.at()
		if due > c.now || due >= c.until {
			return
		}
		client := c.queue[0]
		c.queue = c.queue[1:]
		c.pace.due++
		c.ask(client, due)
	}
}
