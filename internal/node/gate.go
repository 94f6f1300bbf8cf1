package node

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// gating is which version the gate has looked at, and by which rules, so that it is not
// asked again. What it said is in remarks.
type gating struct {
	version *zone.Zone
	rules   *gate.Rules
}

// sameRules keeps the last rules: a million zones have them in common.
type sameRules struct{ last *gate.Rules }

func (s *sameRules) of(rules gate.Rules) *gate.Rules {
	if s.last == nil || *s.last != rules {
		s.last = &rules
	}
	return s.last
}

// pass asks the gate whether v may take the place of what is served, and puts its
// findings under the warnings. The error has what the version is refused for.
func (from before) pass(c *config.Zone, s, old *servedZone, v journal.Version) error {
	rules := settings.Gate(c)
	serial, ok := from.accepted[c.Name]
	rules.Accepted = ok && serial == v.Zone.Serial()
	var against *zone.Zone
	if old == nil && from.wasAccepted(c, v) {
		rules.Accepted = true
	}
	s.gated, s.findings, s.refusedBeside = gating{}, nil, nil
	if old != nil {
		against, s.gated, s.findings, s.refusedBeside = old.Zone, old.gated, old.findings, old.refusedBeside
	}
	// What is served has passed, and what was said then stays true.
	served := s.gated.version == v.Zone && against == v.Zone
	if known := s.gated.version == v.Zone && s.refusedBeside == against && *s.gated.rules == rules; !served && !known {
		s.gated, s.refusedBeside = gating{v.Zone, from.gateRules.of(rules)}, against
		s.findings = gate.Check(against, v.Zone, leading(v.Journal, against), rules, clock.Now())
		if against == nil {
			from.recall(c, s, v, rules)
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
		from.note(c, v, rules, err)
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

// AcceptZone serves the version of a zone that the gate has refused, once.
func (n *Node) AcceptZone(_ context.Context, name string, serial uint32) (api.Applied, error) {
	in, a, err := n.findZone(name)
	if err != nil {
		return api.Applied{}, err
	}
	apex, k := a.served.Name, n.keepingOf(in)
	k.accept(apex, rdata.Serial(serial), true)
	k.changed(apex)
	k.accept(apex, 0, false)
	s, now := k.apex(apex)
	if now == nil || now.served.Err != nil || now.served.Zone == nil || now.served.Zone.Serial() != rdata.Serial(serial) {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: fmt.Errorf("zone %s has no version with serial %d that waits to be accepted; \"pharos status\" shows what was refused and why", a.served.id(), serial)}
	}
	return api.Applied{Revision: s.Revision, Changed: []string{fmt.Sprintf("zone %s: serial %d is served", a.served.id(), serial)}}, nil
}

// accept lets one version of a zone pass the gate, or no longer.
func (k *keeping) accept(name dnsname.Name, serial rdata.Serial, may bool) {
	k.n.mu.Lock()
	defer k.n.mu.Unlock()
	delete(k.accepted, name)
	if k.accepted == nil {
		k.accepted = map[dnsname.Name]rdata.Serial{}
	}
	if may {
		k.accepted[name] = serial
	}
}

// Rules returns what the gate holds the first version of a zone to, by a configuration
// file, and how much of the zone's own file is read; those of a zone that says nothing of
// it where no configuration is named.
func Rules(file string, name dnsname.Name) (gate.Rules, masterfile.Limits, error) {
	cfg, err := config.Parse("", []byte(fmt.Sprintf("zones: [{name: %q, file: zone}]", name)))
	if file != "" {
		cfg, err = config.Load(file)
	}
	if err != nil {
		return gate.Rules{}, masterfile.Limits{}, err
	}
	at := slices.IndexFunc(cfg.Zones, func(z config.Zone) bool { return z.Name == name })
	if at < 0 {
		return gate.Rules{}, masterfile.Limits{}, fmt.Errorf("%s has no zone %s outside of views; name one with --origin", file, name)
	}
	return settings.Gate(&cfg.Zones[at]), settings.Reading(&cfg.Zones[at]), nil
}
