//go:build !testclock

// Package clock is the time by which the program decides: whether a record has
// expired, a signature is valid, a check is due.
//
// It is the system's clock. In a binary built with -tags testclock an offset is added
// that another program sets (testclock.go), so that judges from outside can move the
// time of a running node. Deadlines of connections, and stop-watches, take package
// time: the system that keeps them knows no offset.
//
// Entry points: Now, Since, Until; AfterFunc, NewTimer, for what is due at a time of
// day and not after a while.
//
// Concurrency: all functions may be called at once.
package clock

import "time"

// Now returns the time.
func Now() time.Time { return time.Now() }

// Since returns how long ago t was.
func Since(t time.Time) time.Duration { return time.Since(t) }

// Until returns how long it is until t.
func Until(t time.Time) time.Duration { return time.Until(t) }

// Timer is a time.Timer.
type Timer = time.Timer

// AfterFunc calls f on a goroutine of its own when d is over.
func AfterFunc(d time.Duration, f func()) *Timer { return time.AfterFunc(d, f) }

// NewTimer returns a Timer that sends the time on its channel when d is over.
func NewTimer(d time.Duration) *Timer { return time.NewTimer(d) }
