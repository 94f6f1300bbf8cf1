// Package rulebook makes the rules of what a resolver says in place of, or after, what
// the Internet says (package rewrite), and takes over what has not changed since they
// were made before:
//
//	configuration, hosts files -> Compile ----+--> Book -> Rules
//	versions of policy zones   -> Book.Attach +
//
// What stands in the configuration is compiled with it; policy zones are attached
// whenever the zones of a node have changed, which is quick: only what has another
// version is compiled anew.
//
// Entry points: Compile; Book.Attach, Book.Rules.
//
// Concurrency: a Book does not change; the counters of its policy zones do, and may be
// read at any time.
package rulebook

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"pharos/internal/authority/zone"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/localdata"
	"pharos/internal/resolver/policy"
	"pharos/internal/resolver/rewrite"
	"pharos/internal/resolver/rrcache"
)

// Config is what an operator wants said.
type Config struct {
	Local    Local
	Hide     []rdata.Type
	Policies []Policy
	Private  *rewrite.Private // nil: there is no protection against rebinding
	DNS64    dns64.Config
}

// Local is local data.
type Local struct {
	Records []string // as in a master file
	Hosts   []string // files
	Zones   map[dnsname.Name]localdata.Kind
}

func (l *Local) isEmpty() bool { return len(l.Records)+len(l.Hosts)+len(l.Zones) == 0 }

// Policy is a policy zone, and how its rules are meant. The Book counts what they do.
type Policy struct {
	Zone    dnsname.Name
	Options policy.Options
}

// Book is the rules of one resolver. A nil Book has none.
type Book struct {
	config Config
	rules  *rewrite.Rules // nil: the resolver's word stands
	cache  *rrcache.Cache
	hosts  []diskfile.Stamp
	local  []string                        // what is wrong with local data
	absent []string                        // policy zones without a version
	counts map[dnsname.Name]*policy.Counts // by policy zone
}

// Compile compiles all but the policy zones, or takes over from prev, which may be nil,
// what has not changed. cache is the resolver's.
func Compile(c Config, cache *rrcache.Cache, prev *Book) (*Book, error) {
	b := &Book{config: c, cache: cache, counts: map[dnsname.Name]*policy.Counts{}}
	if prev != nil {
		b.counts = maps.Clone(prev.counts)
	}
	for _, p := range c.Policies {
		if b.counts[p.Zone] == nil {
			b.counts[p.Zone] = new(policy.Counts)
		}
	}
	rules := &rewrite.Rules{Hide: c.Hide, Cache: cache, Private: c.Private}
	if err := b.compileLocal(rules, prev); err != nil {
		return nil, fmt.Errorf("localData: %w", err)
	}
	if len(c.DNS64.Prefixes) > 0 {
		var err error
		if rules.DNS64, err = dns64.New(c.DNS64); err != nil {
			return nil, fmt.Errorf("dns64.prefixes: %w", err)
		}
	}
	if prev != nil && prev.rules != nil && prev.cache == cache && reflect.DeepEqual(c, prev.config) && rules.Local == prev.rules.Local {
		return prev, nil
	}
	if prev != nil && prev.rules != nil {
		rules.Policies = prev.rules.Policies // for Attach to take over what it can
	}
	if rules.Local != nil || len(rules.Hide) > 0 || rules.Private != nil || rules.DNS64 != nil || len(c.Policies) > 0 {
		b.rules = rules
	}
	return b, nil
}

// compileLocal reads local data. Of a file that cannot be read, and of lines that make
// no sense, the rest is used.
func (b *Book) compileLocal(rules *rewrite.Rules, prev *Book) error {
	l := &b.config.Local
	if l.isEmpty() {
		return nil
	}
	if prev != nil && prev.rules != nil && reflect.DeepEqual(*l, prev.config.Local) && !diskfile.Changed(prev.hosts) {
		rules.Local, b.hosts, b.local = prev.rules.Local, prev.hosts, prev.local
		return nil
	}
	records, err := parseRecords(l.Records)
	if err != nil {
		return err
	}
	for _, file := range l.Hosts {
		b.hosts = append(b.hosts, diskfile.StampOf(file))
		more, mistakes, err := readHosts(file)
		if err != nil {
			mistakes = append(mistakes, err.Error())
		}
		for _, m := range mistakes {
			b.local = append(b.local, fmt.Sprintf("%s: %s", file, m))
		}
		records = append(records, more...)
	}
	rules.Local, err = localdata.Compile(l.Zones, records)
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

// Attach returns the Book with the versions of the policy zones that versionOf knows: b
// itself if it has them already.
func (b *Book) Attach(revision uint64, versionOf func(dnsname.Name) *zone.Zone) *Book {
	if b == nil || b.rules == nil {
		return b
	}
	before := b.rules.Policies.Zones()
	var zones []*policy.Zone
	var absent []string
	for _, p := range b.config.Policies {
		v := versionOf(p.Zone)
		if v == nil {
			absent = append(absent, p.Zone.String())
			continue
		}
		options := p.Options
		options.Counts = b.counts[p.Zone]
		if at := slices.IndexFunc(before, func(z *policy.Zone) bool { return z.Source() == v && z.Options == options }); at >= 0 {
			zones = append(zones, before[at])
			continue
		}
		zones = append(zones, policy.Compile(v, options))
	}
	if b.rules.Revision != 0 && slices.Equal(zones, before) && slices.Equal(absent, b.absent) {
		return b
	}
	next, rules := *b, *b.rules
	rules.Revision = max(uint32(revision), 1)
	if rules.Policies = nil; len(zones) > 0 {
		rules.Policies = policy.NewSet(zones...)
	}
	next.rules, next.absent = &rules, absent
	return &next
}

// Rules returns the rules; nil if there are none.
func (b *Book) Rules() *rewrite.Rules {
	if b == nil {
		return nil
	}
	return b.rules
}

// HasLocal reports whether the operator has something to say about a question himself.
func (b *Book) HasLocal(name dnsname.Name, t rdata.Type) bool {
	r := b.Rules()
	return r != nil && r.Local != nil && !r.Local.Find(name, t).IsZero()
}

// FilesChanged reports whether a hosts file has changed.
func (b *Book) FilesChanged() bool {
	return b != nil && len(b.hosts) > 0 && diskfile.Changed(b.hosts)
}

// Problems are what an operator should look at; each is empty if all is well.
type Problems struct{ Local, Absent, Skipped string }

// Problems returns what is wrong with local data and policy zones.
func (b *Book) Problems() (p Problems) {
	if b.Rules() == nil {
		return p
	}
	if len(b.local) > 0 {
		p.Local = fmt.Sprintf("local data: %s; the rest is answered", strings.Join(b.local, "; "))
	}
	if len(b.absent) > 0 {
		p.Absent = fmt.Sprintf("policy zones %v have no version yet, so nothing is done by their rules; see the problems of these zones", b.absent)
	}
	for _, z := range b.rules.Policies.Zones() {
		if skipped := z.Skipped(); len(skipped) > 0 {
			p.Skipped += fmt.Sprintf("policy zone %s: %s; ", z.Name(), strings.Join(skipped, "; "))
		}
	}
	if p.Skipped != "" {
		p.Skipped += "these owner names are no triggers and are passed over"
	}
	return p
}

// Counts tells how often the rules of each policy zone have led to each action.
func (b *Book) Counts(tell func(zone dnsname.Name, action policy.Action, count uint64)) {
	if b.Rules() == nil {
		return
	}
	for _, p := range b.config.Policies {
		for action := policy.Passthru; action <= policy.Disabled; action++ {
			tell(p.Zone, action, b.counts[p.Zone][action].Load())
		}
	}
}
