package pool

import (
	"cmp"
	"fmt"
	"time"

	"pharos/internal/traffic/health"
)

// Said is what an operator has said of the state of a member at run time.
type Said uint8

// What can be said. The zero Said is Nothing.
const (
	Nothing  Said = iota
	Drain         // takes nothing new; what it has may finish
	Disabled      // takes nothing, and keeps nobody
	Ready         // is used, although the configuration drains it
)

var saidNames = [...]string{"", "drain", "disabled", "ready"}

// String returns "", "drain", "disabled" or "ready".
func (s Said) String() string { return saidNames[s] }

// MarshalText returns what String returns.
func (s Said) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Said) UnmarshalText(text []byte) error {
	for i, name := range saidNames {
		if string(text) == name {
			*s = Said(i)
			return nil
		}
	}
	return fmt.Errorf("state %q: want drain, disabled or ready", text)
}

// Stops reports whether a member of which s was said takes nothing new.
func (s Said) Stops() bool { return s == Drain || s == Disabled }

// Override is what an operator has said of a member at run time, as it holds now: it
// goes over what is configured. Who decides when it holds is package override. It is
// comparable; the zero Override is none.
type Override struct {
	State  Said      `json:"state,omitzero"`
	Weight int       `json:"weight,omitempty"` // 0: as configured
	Since  time.Time `json:"since,omitzero"`
	Cause  string    `json:"cause,omitempty"` // of the state, in words
}

// Configured is what of a Member an override can go over, as the configuration or a list
// has it.
type Configured struct {
	Weight int  `json:"weight"`
	Drain  bool `json:"drain,omitempty"`
	// Why says why it drains when that is nothing an operator can go over: it is just
	// being started or stopped. Empty: the configuration or a list has it drained.
	Why string `json:"why,omitempty"`
}

// drainedByConfiguration is the cause of a state.
const drainedByConfiguration = "drained in the configuration"

// isHeld reports whether m is drained whatever the state of its target. What its own agent
// says is part of that state: an operator's "ready" goes over a configuration, not over the
// server itself, which knows why.
func (m *Member) isHeld() bool {
	return m.Override.State.Stops() || m.Configured.Drain && (m.Override.State != Ready || m.Configured.Why != "")
}

// hold drains m, with the time and the cause of that.
func (m *Member) hold() {
	m.State, m.Since, m.Cause = health.Draining, time.Time{}, cmp.Or(m.Configured.Why, drainedByConfiguration)
	if m.Override.State.Stops() {
		m.Since, m.Cause = m.Override.Since, m.Override.Cause
	}
}
