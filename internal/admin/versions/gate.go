package versions

import (
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
)

// gating is which version the gate has looked at, and by which rules, so that it is not
// asked again. What it said is in remarks.
type gating struct {
	version *zone.Zone
	rules   *gate.Rules
}

// Rules keeps the last rules: a million zones have them in common.
type Rules struct{ last *gate.Rules }

func (s *Rules) of(rules gate.Rules) *gate.Rules {
	if s.last == nil || *s.last != rules {
		s.last = &rules
	}
	return s.last
}

// pass asks the gate whether v may take the place of what is served, and puts its
// findings under the warnings. The error has what the version is refused for.
func (w *Way) pass(c *config.Zone, s, old *Zone, v journal.Version) error {
	rules := settings.Gate(c)
	serial, ok := w.Accepted[c.Name]
	rules.Accepted = ok && serial == v.Zone.Serial()
	var against *zone.Zone
	if old == nil && w.wasAccepted(c, v) {
		rules.Accepted = true
	}
	s.gated, s.findings, s.refusedBeside = gating{}, nil, nil
	if old != nil {
		against, s.gated, s.findings, s.refusedBeside = old.Zone, old.gated, old.findings, old.refusedBeside
	}
	// What is served has passed, and what was said then stays true.
	served := s.gated.version == v.Zone && against == v.Zone
	if known := s.gated.version == v.Zone && s.refusedBeside == against && *s.gated.rules == rules; !served && !known {
		s.gated, s.refusedBeside = gating{v.Zone, w.Rules.of(rules)}, against
		s.findings = gate.Check(against, v.Zone, leading(v.Journal, against), rules, clock.Now())
		if against == nil {
			w.recall(c, s, v, rules)
		}
	}
	for _, f := range s.findings {
		if text := f.String(); !f.Refused && !slices.Contains(s.Warnings, text) {
			s.Warnings = append(s.Warnings, text)
		}
	}
	err := gate.Refusals(s.findings)
	if err == nil {
		s.refusedBeside = nil // or the version before would stay in memory
	}
	if !served {
		w.note(c, v, rules, err)
	}
	return err
}

// leading returns the differences that lead from a version on; none if that is
// not known.
func leading(j *journal.Journal, from *zone.Zone) []*journal.Difference {
	if from == nil {
		return nil
	}
	list, _ := j.Since(from.Serial())
	return list
}
