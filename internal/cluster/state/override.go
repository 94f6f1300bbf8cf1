package state

import (
	"fmt"
	"strings"
	"time"
)

// Override is what an operator has said of one member of a pool at run time. It goes over
// what the configuration says of the member, and never into it. It is kept whether or not
// there is such a member now: those that are discovered come and go.
type Override struct {
	// Pool and Member name the member.
	Pool   string `json:"pool" format:"identifier" required:"true" example:"web"`
	Member string `json:"member" required:"true" example:"a"`
	// State is what the member is to do: drain, disabled or ready; empty: what its health says.
	State string `json:"state,omitzero" enum:",drain,disabled,ready" default:"" example:"drain"`
	// Weight goes in place of the configured one. 0: it does not.
	Weight int `json:"weight,omitzero" min:"0" max:"65536" default:"0" example:"5"`
	// From is when State begins to hold, Until when it ends; zero: when it was said, and not by itself.
	From  time.Time `json:"from,omitzero" example:"2026-07-01T22:00:00Z"`
	Until time.Time `json:"until,omitzero" example:"2026-07-01T23:00:00Z"`
	// Deadline is when the connections of a member that drains are closed; zero: never.
	Deadline time.Time `json:"deadline,omitzero" example:"2026-07-01T22:05:00Z"`
	// Reason is what the operator says for it.
	Reason string `json:"reason,omitzero" example:"new kernel"`
	// Said is when it was said: of two, the later one holds.
	Said time.Time `json:"said" required:"true" example:"2026-07-01T21:00:00Z"`
}

// Key returns what an override is called: pool and member, e.g. "web/a".
func (o *Override) Key() string { return o.Pool + "/" + o.Member }

// Limits of an Override; both arbitrary.
const (
	MaxReason = 200 // characters: a line
	maxMember = 128 // an identifier, or an address with its port
)

// check reports what is wrong within one override; paths begin with at.
func (o *Override) check(at string, report Report) {
	printable := func(text string, most int) bool {
		return len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
	}
	if o.Member == "" || !printable(o.Member, maxMember) {
		report(at+"member", fmt.Sprintf("%.60q is the name of no member", o.Member), "give its name, or its address and port")
	}
	if !printable(o.Reason, MaxReason) {
		report(at+"reason", fmt.Sprintf("it has more than %d octets, or some that cannot be printed", MaxReason), "say it in one line")
	}
	if !o.Until.IsZero() && !o.Until.After(o.From) {
		report(at+"until", "it ends before it begins", "write a later end")
	}
	if !o.Deadline.IsZero() && o.Deadline.Before(o.From) {
		report(at+"deadline", "the deadline is before the beginning", "write a later one")
	}
	if o.State == "" && o.Weight == 0 {
		report(at+"state", "it says neither a state nor a weight", "delete it to take everything back")
	}
}

// CheckOverride says what is wrong with o, if anything.
func CheckOverride(o *Override) error {
	_, err := DecodeBody(KindOverride, Body(o))
	return err
}
