// Package scale decides how many members a pool should have, and which of them are to
// go. It owns the rules (targets, steps, schedules), the times between two changes, and
// the record of each decision with its reasons. It starts and stops nothing (package
// fleet), and knows no states of its own (package health).
//
//	samples of loads --Meter--> Reading --Scaler.Decide--> Decision --> whoever starts and stops
//	                               ^
//	            members with their states, requests that wait
//
// What the rules want is never less than the minimum nor more than the maximum. The rule
// that wants most counts. There are two kinds of signals:
//
//	connections, requests, bandwidth   what the clients want of the pool: all of it counts,
//	                                   whoever carries it, and is divided by the target
//	latency, load                      how a member feels: the mean over those that have
//	                                   warmed up, times their number, divided by the target
//
// Entry points: New, Scaler.Decide, Scaler.Log; Meter; ParseWindow.
//
// Concurrency: a Scaler and a Meter belong to whoever holds them. Nothing here reads a
// clock: time comes in as an argument.
package scale

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pharos/internal/traffic/health"
)

// Signal is what is measured of a pool.
type Signal uint8

// The signals.
const (
	Connections Signal = iota // requests and connections in flight
	Requests                  // per second
	Latency                   // until the head of a response, in nanoseconds
	Bandwidth                 // bits per second, both ways together
	Load                      // in percent of what a member can do, as its agent reports
	signals                   // how many there are
)

var signalNames = [...]string{"connections", "requests", "latency", "bandwidth", "load"}

// String returns the word of the configuration file.
func (s Signal) String() string { return signalNames[s] }

// MarshalText returns what String returns.
func (s Signal) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Signal) UnmarshalText(text []byte) error {
	for i, name := range signalNames {
		if string(text) == name {
			*s = Signal(i)
			return nil
		}
	}
	return fmt.Errorf("signal %q: want one of %s", text, strings.Join(signalNames[:], ", "))
}

// isMean reports whether s is how a member feels, and not what clients want.
func (s Signal) isMean() bool { return s == Latency || s == Load }

// Text returns a value of s with its unit.
func (s Signal) Text(value float64) string {
	switch s {
	case Requests:
		return short(value) + "/s"
	case Latency:
		return time.Duration(value).Round(10 * time.Microsecond).String()
	case Bandwidth:
		if value >= 1e6 {
			return short(value/1e6) + "Mbps"
		}
		return short(value/1e3) + "kbps"
	case Load:
		return short(value) + "%"
	}
	return short(value)
}

// short writes a number with three significant digits at least.
func short(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// Target is how much of a signal a member is to have.
type Target struct {
	By    Signal
	Value float64 // above 0
}

// Step adds or removes members when a signal, per member, passes a bound.
type Step struct {
	By     Signal
	Above  bool // passes it upwards, and adds; else downwards, and removes
	Bound  float64
	Change int // how many, above 0
}

// Rules are how a pool scales.
type Rules struct {
	Min, Max int // members, 0 <= Min <= Max, 1 <= Max
	Targets  []Target
	Steps    []Step
	Windows  []Window

	// Tolerance is by which part of the target a signal may be off it before anything
	// changes; 0.1 is a tenth.
	Tolerance float64
	// OutPause and InPause are the cool-downs: how long after a change none follows that
	// adds, or that removes.
	OutPause, InPause time.Duration
	// WarmUp is how long after it is up a member is new: how it feels does not count, it
	// counts as one that is there already, and nobody is removed.
	WarmUp time.Duration
	// Stabilise is how long the rules must have wanted fewer before members are removed;
	// the most that they wanted in that time counts.
	Stabilise time.Duration
	// Replace is how long a member is down before another takes its place; 0: it stays.
	Replace time.Duration
}

// Limits of Rules; Validate refuses what passes them.
const (
	MaxMembers = 1000 // arbitrary; nobody's machine runs more of one program
	maxRules   = 16   // of each kind; arbitrary
)

// Validate reports what is wrong with r.
func (r *Rules) Validate() error {
	switch {
	case r.Min < 0 || r.Max < max(r.Min, 1) || r.Max > MaxMembers:
		return fmt.Errorf("min %d, max %d: want 0 <= min <= max, and max from 1 to %d", r.Min, r.Max, MaxMembers)
	case len(r.Targets) > maxRules || len(r.Steps) > maxRules || len(r.Windows) > maxRules:
		return fmt.Errorf("%d targets, %d steps, %d schedules: at most %d of each", len(r.Targets), len(r.Steps), len(r.Windows), maxRules)
	case r.Tolerance < 0 || r.Tolerance >= 1:
		return fmt.Errorf("tolerance %g: want 0 or more, below 1", r.Tolerance)
	case min(r.OutPause, r.InPause, r.WarmUp, r.Stabilise, r.Replace) < 0:
		return fmt.Errorf("a time is below 0")
	}
	for _, t := range r.Targets {
		if t.By >= signals || !(t.Value > 0) {
			return fmt.Errorf("target %v: %g is not above 0", t.By, t.Value)
		}
	}
	for _, s := range r.Steps {
		if s.By >= signals || !(s.Bound >= 0) || s.Change < 1 || s.Change > MaxMembers {
			return fmt.Errorf("step by %v at %g: changes by %d; want a bound of 0 or more, and 1 to %d members", s.By, s.Bound, s.Change, MaxMembers)
		}
	}
	return nil
}

// Member is a member of the pool as a decision sees it.
type Member struct {
	Name  string
	State health.State
	Since time.Time // of State
	// Starting: it was started and has not been up yet. Its state does not count.
	Starting bool
	// Ready is when a member that was started by the driver was up first; zero: it was
	// there before, so it is warm.
	Ready time.Time
	// Leaving: it drains because it was removed. It may be kept after all.
	Leaving bool
	// Fixed: it is not the driver's, and cannot be removed.
	Fixed bool
}

// Value is a signal of a pool.
type Value struct {
	// Total is over all members; of a mean signal it is the mean over warm members.
	Total float64
	// Known: it could be measured.
	Known bool
}

// Reading is what a decision is made from.
type Reading struct {
	At      time.Time
	Members []Member
	Values  [signals]Value
	Waiting int // requests that are held because nobody serves
	// Broken says why members cannot be started now; empty: they can.
	Broken string
}
