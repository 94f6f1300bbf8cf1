package node

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"pharos/internal/admin/config"
	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/localdata"
	"pharos/internal/resolver/policy"
	"pharos/internal/resolver/rewrite"
	"pharos/internal/resolver/rrcache"
)

// This file makes the rules of what the resolver says in place of, or after, what the
// Internet says. What stands in the configuration is compiled with it; policy zones are
// attached whenever the zones of a snapshot have changed, which is quick: only what has
// another version is compiled anew.

// rewriting is those rules, of a view or outside of views. It does not change.
type rewriting struct {
	config *config.Rewriting
	rules  *rewrite.Rules // nil: the resolver's word stands
	cache  *rrcache.Cache
	hosts  []masterfile.Stamp
	local  []string                        // what is wrong with local data
	absent []string                        // policy zones without a version
	counts map[dnsname.Name]*policy.Counts // by policy zone
}

// compileRewriting compiles what cfg says but for the policy zones, or takes over from
// prev what has not changed.
func compileRewriting(cfg *config.Resolver, r *config.Rewriting, cache *rrcache.Cache, prev *rewriting) (*rewriting, error) {
	w := &rewriting{config: r, cache: cache, counts: map[dnsname.Name]*policy.Counts{}}
	if prev != nil {
		w.counts = prev.counts
	}
	for _, p := range r.Policies {
		if w.counts[p.Zone] == nil {
			w.counts = withCounts(w.counts, p.Zone)
		}
	}
	rules := &rewrite.Rules{Hide: r.HideTypes, Cache: cache}
	if err := w.compileLocal(rules, prev); err != nil {
		return nil, fmt.Errorf("localData: %w", err)
	}
	if r.Rebinding.Protect {
		rules.Private = &rewrite.Private{Networks: r.Rebinding.Private, Except: slices.Clone(r.Rebinding.Except)}
		for _, route := range cfg.Routes {
			if !route.Zone.IsRoot() {
				rules.Private.Except = append(rules.Private.Except, route.Zone)
			}
		}
	}
	if d := r.DNS64; len(d.Prefixes) > 0 {
		var err error
		if rules.DNS64, err = dns64.New(dns64.Config{Prefixes: d.Prefixes, Exclude: d.Exclude, Ignore: d.IgnoreAAAA, Private: d.Private}); err != nil {
			return nil, fmt.Errorf("dns64.prefixes: %w", err)
		}
	}
	if prev != nil && prev.rules != nil && reflect.DeepEqual(r, prev.config) && rules.Local == prev.rules.Local && reflect.DeepEqual(rules.Private, prev.rules.Private) {
		return prev, nil
	}
	if prev != nil && prev.rules != nil {
		rules.Policies = prev.rules.Policies // for attach to take over what it can
	}
	if rules.Local != nil || len(rules.Hide) > 0 || rules.Private != nil || rules.DNS64 != nil || len(r.Policies) > 0 {
		w.rules = rules
	}
	return w, nil
}

// withCounts returns counts with a further zone; counts itself may be in use.
func withCounts(counts map[dnsname.Name]*policy.Counts, name dnsname.Name) map[dnsname.Name]*policy.Counts {
	more := map[dnsname.Name]*policy.Counts{name: {}}
	for n, c := range counts {
		more[n] = c
	}
	return more
}

// compileLocal reads local data. Of a file that cannot be read, and of lines that make
// no sense, the rest is used.
func (w *rewriting) compileLocal(rules *rewrite.Rules, prev *rewriting) error {
	l := &w.config.LocalData
	if len(l.Records)+len(l.Hosts)+len(l.Zones) == 0 {
		return nil
	}
	if prev != nil && prev.rules != nil && reflect.DeepEqual(*l, prev.config.LocalData) && !masterfile.Changed(prev.hosts) {
		rules.Local, w.hosts, w.local = prev.rules.Local, prev.hosts, prev.local
		return nil
	}
	records, err := parseRecords(l.Records)
	if err != nil {
		return err
	}
	for _, file := range l.Hosts {
		w.hosts = append(w.hosts, masterfile.StampOf(file))
		more, mistakes, err := readHosts(file)
		if err != nil {
			mistakes = append(mistakes, err.Error())
		}
		for _, m := range mistakes {
			w.local = append(w.local, fmt.Sprintf("%s: %s", file, m))
		}
		records = append(records, more...)
	}
	zones := map[dnsname.Name]localdata.Kind{}
	for _, z := range l.Zones {
		zones[z.Name], _ = localdata.ParseKind(z.Kind)
	}
	rules.Local, err = localdata.Compile(zones, records)
	return err
}

func readHosts(file string) ([]rdata.Record, []string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return localdata.ReadHosts(f)
}

// localTTL is the time to live of local data that says none, in seconds: 3600, as
// Unbound has it.
const localTTL = "$TTL 3600\n"

func parseRecords(lines []string) ([]rdata.Record, error) {
	var records []rdata.Record
	for i, line := range lines {
		for r, err := range zonefile.Read(strings.NewReader(localTTL+line+"\n"), zonefile.Options{Origin: dnsname.Root}) {
			if err != nil {
				return nil, fmt.Errorf("records[%d]: %w", i, err)
			}
			r.Name, r.Data = r.Name.Clone(), slices.Clone(r.Data)
			records = append(records, r)
		}
	}
	return records, nil
}

// attach gives w the versions of the policy zones that versionOf knows: w itself if it
// has them already.
func (w *rewriting) attach(revision uint64, versionOf func(dnsname.Name) *zone.Zone) *rewriting {
	if w == nil || w.rules == nil {
		return w
	}
	before := w.rules.Policies.Zones()
	var zones []*policy.Zone
	var absent []string
	for _, p := range w.config.Policies {
		v := versionOf(p.Zone)
		if v == nil {
			absent = append(absent, p.Zone.String())
			continue
		}
		options := policyOptions(p, w.counts[p.Zone])
		if at := slices.IndexFunc(before, func(z *policy.Zone) bool { return z.Source() == v && z.Options == options }); at >= 0 {
			zones = append(zones, before[at])
			continue
		}
		zones = append(zones, policy.Compile(v, options))
	}
	if w.rules.Revision != 0 && slices.Equal(zones, before) && slices.Equal(absent, w.absent) {
		return w
	}
	next, rules := *w, *w.rules
	rules.Revision = max(uint32(revision), 1)
	if rules.Policies = nil; len(zones) > 0 {
		rules.Policies = policy.NewSet(zones...)
	}
	next.rules, next.absent = &rules, absent
	return &next
}

var extendedErrors = map[string]dnswire.EDE{"blocked": dnswire.EDEBlocked, "censored": dnswire.EDECensored, "filtered": dnswire.EDEFiltered}

func policyOptions(p config.PolicyZone, counts *policy.Counts) policy.Options {
	action, _ := policy.ParseAction(p.Action)
	return policy.Options{Override: action, CNAME: p.CNAME, EDE: extendedErrors[p.ExtendedError], Counts: counts}
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

// hasLocal reports whether the operator has something to say about a question himself.
func (s *Snapshot) hasLocal(name dnsname.Name, t rdata.Type) bool {
	r := s.rules()
	return r != nil && r.Local != nil && !r.Local.Find(name, t).IsZero()
}

// rules returns the rules of s; nil if there are none.
func (s *Snapshot) rules() *rewrite.Rules {
	if s.rewriting == nil {
		return nil
	}
	return s.rewriting.rules
}

// hostsChanged reports whether a hosts file has changed.
func (s *Snapshot) hostsChanged() bool {
	return slices.ContainsFunc(append([]*Snapshot{s}, s.views...), func(in *Snapshot) bool {
		return in.rewriting != nil && len(in.rewriting.hosts) > 0 && masterfile.Changed(in.rewriting.hosts)
	})
}

// reportRewriting sets the problems of policy zones and local data.
func (n *Node) reportRewriting(s *Snapshot) {
	var subjects []string
	for _, in := range append([]*Snapshot{s}, s.views...) {
		w := in.rewriting
		if w == nil || w.rules == nil {
			continue
		}
		about := in.viewName()
		subjects = append(subjects, about)
		text := ""
		if len(w.local) > 0 {
			text = fmt.Sprintf("local data: %s; the rest is answered", strings.Join(w.local, "; "))
		}
		n.problem(localDataWarning, about, text)
		if text = ""; len(w.absent) > 0 {
			text = fmt.Sprintf("policy zones %v have no version yet, so nothing is done by their rules; see the problems of these zones", w.absent)
		}
		n.problem(policyAbsent, about, text)
		text = ""
		for _, z := range w.rules.Policies.Zones() {
			if skipped := z.Skipped(); len(skipped) > 0 {
				text += fmt.Sprintf("policy zone %s: %s; ", z.Name(), strings.Join(skipped, "; "))
			}
		}
		if text != "" {
			text += "these owner names are no triggers and are passed over"
		}
		n.problem(policyWarning, about, text)
	}
	for _, c := range []code{localDataWarning, policyAbsent, policyWarning} {
		n.problems.keep(c, subjects)
	}
}

// sampleRewriting gives the counters of policy zones to a scrape.
func (n *Node) sampleRewriting(emit func(telemetry.Sample)) {
	s := n.current.Load()
	for _, in := range append([]*Snapshot{s}, s.views...) {
		if in.rules() == nil {
			continue
		}
		for _, p := range in.rewriting.config.Policies {
			for action := policy.Passthru; action <= policy.Disabled; action++ {
				emit(counter("policy_hits_total", "Answers by rules of response policy zones, by action; disabled ones were only counted.",
					in.rewriting.counts[p.Zone][action].Load(), "zone", p.Zone.String(), "view", in.viewName(), "action", action.String()))
			}
		}
	}
}
