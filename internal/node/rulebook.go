package node

import (
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/localdata"
	"pharos/internal/resolver/policy"
	"pharos/internal/resolver/rewrite"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/resolver/rulebook"
)

var extendedErrors = map[string]dnswire.EDE{"blocked": dnswire.EDEBlocked, "censored": dnswire.EDECensored, "filtered": dnswire.EDEFiltered}

// compileRules makes the rules of what the resolver of s says in place of, or after,
// what the Internet says.
func (s *Snapshot) compileRules(cache *rrcache.Cache, prev *Snapshot) (err error) {
	cfg := &s.Config.Resolver
	r := &cfg.Rewriting
	c := rulebook.Config{
		Hide:  r.HideTypes,
		Local: rulebook.Local{Records: r.LocalData.Records, Hosts: r.LocalData.Hosts, Zones: map[dnsname.Name]localdata.Kind{}},
		DNS64: dns64.Config{Prefixes: r.DNS64.Prefixes, Exclude: r.DNS64.Exclude, Ignore: r.DNS64.IgnoreAAAA, Private: r.DNS64.Private},
	}
	for _, z := range r.LocalData.Zones {
		c.Local.Zones[z.Name], _ = localdata.ParseKind(z.Kind)
	}
	for _, p := range r.Policies {
		action, _ := policy.ParseAction(p.Action)
		c.Policies = append(c.Policies, rulebook.Policy{Zone: p.Zone, Options: policy.Options{Override: action, CNAME: p.CNAME, EDE: extendedErrors[p.ExtendedError]}})
	}
	if r.Rebinding.Protect {
		c.Private = &rewrite.Private{Networks: r.Rebinding.Private, Except: slices.Concat(r.Rebinding.Except, routed(cfg))}
	}
	var before *rulebook.Book
	if prev != nil {
		before = prev.rulebook
	}
	s.rulebook, err = rulebook.Compile(c, cache, before)
	return err
}

// routed returns the zones for which the operator has named other servers.
func routed(cfg *config.Resolver) (zones []dnsname.Name) {
	for _, route := range cfg.Routes {
		if !route.Zone.IsRoot() {
			zones = append(zones, route.Zone)
		}
	}
	return zones
}

// version returns the version of a zone that is served in s, or else outside, in top.
func (s *Snapshot) version(top *Snapshot) func(dnsname.Name) *zone.Zone {
	return func(name dnsname.Name) *zone.Zone {
		for _, in := range [...]*Snapshot{s, top} {
			if a := in.apexes.Get(name); a != nil {
				return a.served.Zone
			}
		}
		return nil
	}
}

// rules returns the rules of s; nil if there are none.
func (s *Snapshot) rules() *rewrite.Rules { return s.rulebook.Rules() }

// hostsChanged reports whether a hosts file has changed.
func (s *Snapshot) hostsChanged() bool {
	return slices.ContainsFunc(append([]*Snapshot{s}, s.views...), func(in *Snapshot) bool { return in.rulebook.FilesChanged() })
}

// rulesChanged sets the problems of policy zones, if next has other versions of them
// than prev: most changes of zones are none of theirs.
func (n *Node) rulesChanged(prev, next *Snapshot) {
	same := func(a, b *Snapshot) bool { return a.rulebook == b.rulebook }
	if !same(prev, next) || !slices.EqualFunc(prev.views, next.views, same) {
		n.reportRules(next)
	}
}

// reportRules sets the problems of policy zones and local data.
func (n *Node) reportRules(s *Snapshot) {
	var subjects []string
	for _, in := range append([]*Snapshot{s}, s.views...) {
		if in.rules() == nil {
			continue
		}
		about, p := in.viewName(), in.rulebook.Problems()
		subjects = append(subjects, about)
		n.problem(problems.LocalDataWarning, about, p.Local)
		n.problem(problems.PolicyAbsent, about, p.Absent)
		n.problem(problems.PolicyWarning, about, p.Skipped)
	}
	for _, c := range []problems.Code{problems.LocalDataWarning, problems.PolicyAbsent, problems.PolicyWarning} {
		n.problems.Keep(c, subjects)
	}
}

// sampleRules gives the counters of policy zones to a scrape.
func (n *Node) sampleRules(emit func(telemetry.Sample)) {
	s := n.current.Load()
	for _, in := range append([]*Snapshot{s}, s.views...) {
		in.rulebook.Counts(func(zone dnsname.Name, action policy.Action, count uint64) {
			emit(counter("policy_hits_total", "Answers by rules of response policy zones, by action; disabled ones were only counted.",
				count, "zone", zone.String(), "view", in.viewName(), "action", action.String()))
		})
	}
}
