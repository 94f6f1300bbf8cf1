// Package health decides what state a target is in. It owns the states, what a
// check asks (Check), the counting of rise and fall, the ejection by failures of
// real traffic, and the time of the next probe. It does not probe (package probe)
// and does not know pools (package pool).
//
//	           one OK probe
//	Unknown ------------------> Up <---------------------+
//	   |                        |                        |
//	   | Fall failed probes     | Fall failed probes, or |  Rise OK probes; without a
//	   v                        v Passive failures       |  check: the ejection is over
//	   +---------------------> Down ---------------------+
//
//	Draining lies over all of them for as long as the operator, or the member's own
//	agent, wants it. Failures of a new target do not count during Params.Grace. Poor is
//	Up with a part of its share (Grade), for it does worse than its peers.
//
// Entry points: New and Restore make a Machine; Observe, Grade, Expire and Drain move
// it; Next says when to probe. Target and Check name what is probed, Terms what is
// asked of it; ParseAgent reads what a member says of itself.
//
// Concurrency: a Machine belongs to whoever holds it and has no lock. Everything
// else is a value. Nothing here reads a clock: time comes in as an argument.
package health

import (
	"fmt"
	"time"
)

// State is what is held true of a target now.
type State uint8

// The states. The zero State is Unknown: nothing has been learned yet.
const (
	Unknown  State = iota // not probed yet
	Up                    // takes traffic
	Down                  // takes none, unless everything is down
	Draining              // takes nothing new, by the operator's or its own will
	Poor                  // Up, but slower or more faulty than its peers: takes a part of its share
)

var stateNames = [...]string{"unknown", "up", "down", "draining", "poor"}

// String returns "unknown", "up", "down", "draining" or "poor".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText returns what String returns.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if string(text) == name {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("state %q: want unknown, up, down, draining or poor", text)
}

// IsServing reports whether a target in state s is well enough to be picked while
// others are: Up, or Poor.
func (s State) IsServing() bool { return s == Up || s == Poor }

// Result is one piece of evidence about a target: a probe that ended, or a
// request of real traffic that was carried or failed.
type Result struct {
	OK      bool
	At      time.Time     // when it ended
	Latency time.Duration // how long it took: At minus Latency is when it began
	Cause   string        // what went wrong or was seen, for people: "connection refused", "status 503"
	Passive bool          // from real traffic, not from a probe
	Outcome Outcome       // of a Passive result: how the request or connection went
	Said    *Saying       // what the agent of the member said; nil: there is none, or it said nothing
	// Certificate is the end of the certificate that the target showed; zero: it showed none.
	Certificate time.Time
	// Warning is what an operator should look at although the target is well.
	Warning string
}

// Transition is a change of state.
type Transition struct {
	From  State     `json:"from"`
	To    State     `json:"to"`
	At    time.Time `json:"at"`
	Cause string    `json:"cause"`
}

// Status is what there is to know of a target: for views, for people, and to be
// kept over a restart (Restore).
type Status struct {
	State State     `json:"state"`
	Since time.Time `json:"since"`
	Cause string    `json:"cause"` // of the last transition
	// Changes counts the transitions, so that of two Statuses of one target the
	// later can be told.
	Changes uint64 `json:"changes"`
	// LastProbe is the last probe that ended; zero before the first.
	LastProbe     time.Time     `json:"lastProbe,omitzero"`
	LastLatency   time.Duration `json:"lastLatencyNanos,omitempty"`
	LastCause     string        `json:"lastCause,omitempty"`
	LastOK        bool          `json:"lastOK"`
	PassiveFailed int           `json:"passiveFailed,omitempty"` // consecutive failures of traffic
	Ejections     int           `json:"ejections,omitempty"`     // by traffic, that are not forgotten
	Penalty       float64       `json:"penalty,omitempty"`       // for coming and going (PenaltyNow), at
	PenaltyAt     time.Time     `json:"penaltyAt,omitzero"`
	Notes
}

// Notes are what is known of a target beside its state.
type Notes struct {
	// Share is how much of its weight a Poor target keeps, in permille; 0: all of it (Kept).
	Share int `json:"share,omitempty"`
	// Warm: it has served all the time, though it was Poor for a while.
	Warm bool `json:"warm,omitempty"`
	// Held says why it is Down although probes do not find it so, and HeldUntil how long
	// at least.
	Held      Hold      `json:"held,omitzero"`
	HeldUntil time.Time `json:"heldUntil,omitzero"`
	// Report is what its agent has said.
	Report Report `json:"report,omitzero"`
	// Certificate is the end of the certificate it showed last; zero: it showed none.
	Certificate time.Time `json:"certificate,omitzero"`
	// Warning is what an operator should look at although the target is well.
	Warning string `json:"warning,omitempty"`
}
