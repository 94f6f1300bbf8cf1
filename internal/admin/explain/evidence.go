package explain

import (
	"fmt"
	"slices"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// Evidence is what there is to know of targets.
type Evidence struct {
	Status  func(health.Target) health.Status
	History func(target health.Target, limit int) []health.Event // the newest first
	Beside  func(pool string, m *pool.Member) string             // what its traffic shows beside that of its peers; "": too little
	Now     time.Time
}

// Limits of what is told of members: nobody reads more of them.
const (
	maxMembers = 24
	maxEvents  = 3
)

// AddEvidence tells, of each member of v, what its weight is made of, and the evidence behind
// its state: the last probe, what traffic has shown, how it was before.
func (e *Explanation) AddEvidence(v *pool.View, known Evidence) {
	title := "what is known of the members of pool " + v.Name
	if slices.ContainsFunc(e.Steps, func(s Step) bool { return s.Text == title }) {
		return // a name and its URL lead to one pool: once is enough
	}
	var lines []string
	for i := range v.Members {
		if i == maxMembers {
			lines = append(lines, fmt.Sprintf("and %d more; pharos pool show %s has them all", len(v.Members)-i, v.Name))
			break
		}
		m := &v.Members[i]
		lines = append(lines, fmt.Sprintf("%s: %s %s", m.Name, m.State, sinceText(m.Since, known.Now))+causeText(m)+"; "+v.Terms(i).String())
		lines = append(lines, known.of(v.Name, m)...)
	}
	e.Add(Pool, title, lines...)
}

func causeText(m *pool.Member) string {
	if m.Cause == "" {
		return ""
	}
	return ": " + m.Cause
}

func sinceText(at, now time.Time) string {
	if at.IsZero() {
		return "as configured"
	}
	return "for " + now.Sub(at).Round(time.Second).String()
}

// of returns the evidence about one member.
func (k Evidence) of(name string, m *pool.Member) (lines []string) {
	s := k.Status(m.Target)
	switch {
	case m.Target.Check.Kind == health.None:
		lines = append(lines, "  no check: traffic alone tells")
	case s.LastProbe.IsZero():
		lines = append(lines, fmt.Sprintf("  check %s: not probed yet", m.Target.Check))
	default:
		verdict := "bad"
		if s.LastOK {
			verdict = "good"
		}
		lines = append(lines, fmt.Sprintf("  check %s: the last probe, %s ago, was %s in %v: %s",
			m.Target.Check, k.Now.Sub(s.LastProbe).Round(time.Millisecond), verdict, s.LastLatency.Round(10*time.Microsecond), s.LastCause))
	}
	if m.State == health.Draining && s.State != health.Draining {
		lines = append(lines, fmt.Sprintf("  beneath that its health is %s: %s", s.State, s.Cause))
	}
	if s.PassiveFailed > 0 {
		lines = append(lines, fmt.Sprintf("  %d requests in a row have failed on it", s.PassiveFailed))
	}
	if text := k.Beside(name, m); text != "" {
		lines = append(lines, "  traffic: "+text)
	}
	if text := m.Notes.Report.String(); text != "" {
		lines = append(lines, "  its agent says: "+text)
	}
	for _, event := range k.History(m.Target, maxEvents) {
		lines = append(lines, fmt.Sprintf("  %s: from %s to %s: %s", event.At.UTC().Format("2006-01-02 15:04:05"), event.From, event.To, event.Cause))
	}
	return lines
}
