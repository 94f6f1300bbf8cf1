package scale

import (
	"fmt"
	"strings"
	"time"
)

// Decision is what was decided, from what, and why not otherwise.
type Decision struct {
	Number uint64    `json:"number"` // one more for each that is kept
	At     time.Time `json:"at"`
	// Have is how many members count now: those that are up, and those that are starting.
	Have int `json:"have"`
	// Want is how many there are to be: Have and what is started, less what is removed.
	Want int `json:"want"`
	// Rule decided: "target requests", "step latency above 200ms", "minimum", "maximum",
	// "schedule 0 8 * * mon-fri", "waiting requests", "cool-down", ...
	Rule string `json:"rule"`
	Why  string `json:"why"`

	Counts Counts `json:"counts"`
	Min    int    `json:"min"` // in force, with schedules
	Max    int    `json:"max"`
	// Considered is what each rule made of its signal.
	Considered []Considered `json:"considered,omitempty"`
	// NotMore and NotLess say why Want is not more, or not less; empty: it was not asked for.
	NotMore string `json:"notMore,omitempty"`
	NotLess string `json:"notLess,omitempty"`

	Start  int      `json:"start,omitempty"`  // how many are to be started
	Keep   []string `json:"keep,omitempty"`   // leaving, but wanted again
	Remove []string `json:"remove,omitempty"` // to be drained and stopped
}

// Counts is how many members there are of each kind.
type Counts struct {
	Up       int `json:"up"`                 // warm
	Poor     int `json:"poor,omitempty"`     // performing poorly
	Warming  int `json:"warming,omitempty"`  // up, but not long
	Starting int `json:"starting,omitempty"` // not up yet
	Unknown  int `json:"unknown,omitempty"`  // of which nothing is known
	Down     int `json:"down,omitempty"`
	Drained  int `json:"drained,omitempty"` // by an operator or by its own agent
	Leaving  int `json:"leaving,omitempty"` // removed, and not stopped yet
}

// String returns the kinds there are: "2 up, 1 starting".
func (c Counts) String() string {
	var parts []string
	for _, k := range []struct {
		n    int
		kind string
	}{
		{c.Up, "up"}, {c.Poor, "poor"}, {c.Warming, "warming up"}, {c.Starting, "starting"},
		{c.Unknown, "unknown"}, {c.Down, "down"}, {c.Drained, "drained"}, {c.Leaving, "leaving"},
	} {
		if k.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", k.n, k.kind))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// capacity is how many members count: who is down, drained or leaving serves nobody.
func (c Counts) capacity() int { return c.Up + c.Poor + c.Warming + c.Starting + c.Unknown }

// Considered is what one rule made of its signal.
type Considered struct {
	Rule  string `json:"rule"`
	Input string `json:"input"`
	// Wants is how many members the rule wants; -1: it does not know.
	Wants int    `json:"wants"`
	Why   string `json:"why"`
}

// Lines tells the decision to people, with what was considered and why it is not another.
func (d *Decision) Lines() []string {
	lines := []string{fmt.Sprintf("%s %d -> %d members (%s), by %s: %s", d.At.UTC().Format("15:04:05"), d.Have, d.Want, d.Counts, d.Rule, d.Why)}
	for _, c := range d.Considered {
		wants := fmt.Sprintf("wants %d", c.Wants)
		if c.Wants < 0 {
			wants = "does not know"
		}
		lines = append(lines, fmt.Sprintf("  %s %s: %s; %s", c.Rule, wants, c.Input, c.Why))
	}
	if d.NotMore != "" {
		lines = append(lines, "  not more: "+d.NotMore)
	}
	if d.NotLess != "" && d.NotLess != d.Why {
		lines = append(lines, "  not less: "+d.NotLess)
	}
	if len(d.Remove) > 0 {
		lines = append(lines, "  goes: "+strings.Join(d.Remove, ", "))
	}
	if len(d.Keep) > 0 {
		lines = append(lines, "  stays after all: "+strings.Join(d.Keep, ", "))
	}
	return lines
}

// IsChange reports whether d changes anything.
func (d *Decision) IsChange() bool { return d.Start > 0 || len(d.Keep)+len(d.Remove) > 0 }

// isLike reports whether d says what o says, at another time and of other numbers.
func (d *Decision) isLike(o *Decision) bool {
	return !d.IsChange() && !o.IsChange() && d.Have == o.Have && d.Want == o.Want && d.Rule == o.Rule && d.Counts == o.Counts
}

// maxLog is how many decisions are kept: a day with one every seven minutes. The oldest
// goes first.
const maxLog = 200

// Log is the last decisions, bounded.
type Log struct {
	all  []Decision // the oldest first
	last uint64
}

// add keeps d, unless it says what the one before has said: then it goes in its place.
func (l *Log) add(d *Decision) {
	if n := len(l.all); n > 0 && d.isLike(&l.all[n-1]) {
		d.Number = l.last
		l.all[n-1] = *d
		return
	}
	l.last++
	d.Number = l.last
	if len(l.all) == maxLog {
		l.all = append(l.all[:0], l.all[1:]...)
	}
	l.all = append(l.all, *d)
}

// Last returns the last n decisions, the newest first.
func (l *Log) Last(n int) []Decision {
	n = min(n, len(l.all))
	out := make([]Decision, n)
	for i := range out {
		out[i] = l.all[len(l.all)-1-i]
	}
	return out
}
