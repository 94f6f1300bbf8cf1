package scenario

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/localdata"
	rpz "pharos/internal/resolver/policy"
)

// This file maps the settings of both dialects about what is answered in place of, or
// after, what the servers say: policy zones, local data, DNS64.

// Policies are what a scenario's settings say of rewriting.
type Policies struct {
	Zones []*PolicyZone
	Local []*LocalData // of views, the one outside of them first
	DNS64 *dns64.Config
	views map[netip.Prefix]string

	forwards []iterate.Route
}

// PolicyZone is a clause "rpz".
type PolicyZone struct {
	block    int
	Name     dnsname.Name
	Records  []rdata.Record
	Override rpz.Action
	CNAME    dnsname.Name
	Primary  netip.Addr // the zone is transferred from there, later; the zero Addr: it is not
}

// LocalData is local zones and their data, of one view.
type LocalData struct {
	View    string
	Zones   map[dnsname.Name]localdata.Kind
	Records []rdata.Record
	First   bool // what it says nothing of is looked up outside of views
}

// apply takes one setting in; handled is false for one that is not about this.
func (p *Policies) apply(set Setting, names map[int]string) (handled bool, err error) {
	if set.Clause == "rpz" {
		return true, p.applyZone(set, names)
	}
	switch set.Key {
	case "dns64-prefix", "dns64-ignore-aaaa":
		return true, p.applyDNS64(set)
	case "response-ip", "response-ip-data":
		return true, p.applyResponse(set)
	case "local-zone", "local-data", "local-data-ptr", "view-first":
		return true, p.applyLocal(set, names)
	case "access-control-view":
		return true, p.applyView(set)
	case "features":
		return p.applyFeature(set)
	case "feature-list":
		return p.applyList(set)
	}
	return set.Clause == "view", nil
}

func wrong(set Setting, what string) error {
	return &Unsupported{"config", what + " " + set.Value, set.Line}
}

// zoneOf returns the policy zone of a block, made if need be.
func (p *Policies) zoneOf(block int, name string) (*PolicyZone, error) {
	for _, z := range p.Zones {
		if z.block == block {
			return z, nil
		}
	}
	n, err := dnsname.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("policy zone %q: %w", name, err)
	}
	z := &PolicyZone{block: block, Name: n}
	p.Zones = append(p.Zones, z)
	return z, nil
}

func (p *Policies) applyZone(set Setting, names map[int]string) error {
	z, err := p.zoneOf(set.Block, names[set.Block])
	if err != nil {
		return err
	}
	switch set.Key {
	case "rpz-action-override":
		a, ok := rpz.ParseAction(set.Value)
		if !ok {
			return wrong(set, set.Key)
		}
		z.Override = a
	case "rpz-cname-override":
		z.CNAME, err = dnsname.ParseIn(set.Value, dnsname.Root)
	case "master", "primary":
		z.Primary, err = netip.ParseAddr(set.Value)
	case "TEMPFILE_CONTENTS":
		z.Records, err = readZone(z.Name, set.Value)
	}
	return err
}

// readZone reads a policy zone. Unbound takes zones without SOA and NS records, and the
// first of several CNAME records at a name.
func readZone(origin dnsname.Name, text string) ([]rdata.Record, error) {
	var records []rdata.Record
	aliases, hasApex := map[dnsname.Name]bool{}, false
	for r, err := range zonefile.Read(strings.NewReader("$TTL 3600\n"+text), zonefile.Options{Origin: origin}) {
		if err != nil {
			return nil, err
		}
		if r.Type == rdata.TypeCNAME && aliases[r.Name] {
			continue
		}
		r.Name, r.Data = r.Name.Clone(), slices.Clone(r.Data)
		aliases[r.Name] = aliases[r.Name] || r.Type == rdata.TypeCNAME
		hasApex = hasApex || r.Type == rdata.TypeSOA
		records = append(records, r)
	}
	if !hasApex {
		soa, err := readZone(origin, "@ SOA ns.invalid. host.invalid. 0 3600 900 86400 3600\n@ NS ns.invalid.\n")
		return append(soa, records...), err
	}
	return records, nil
}

// compile makes the policy zone of its records.
func (z *PolicyZone) compile() (*rpz.Zone, error) {
	made, problems := zone.Build(z.Name, slices.Values(z.Records))
	if made == nil {
		return nil, fmt.Errorf("policy zone %v: %v", z.Name, problems)
	}
	return rpz.Compile(made, rpz.Options{Override: z.Override, CNAME: z.CNAME, EDE: dnswire.EDEBlocked}), nil
}

// translator returns the settings of DNS64, made if need be. Unbound and Knot Resolver
// translate private addresses with any prefix.
func (p *Policies) translator() *dns64.Config {
	if p.DNS64 == nil {
		p.DNS64 = &dns64.Config{Private: true, Exclude: []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/96")}}
	}
	return p.DNS64
}

func (p *Policies) applyDNS64(set Setting) error {
	if set.Key == "dns64-ignore-aaaa" {
		name, err := dnsname.ParseIn(set.Value, dnsname.Root)
		p.translator().Ignore = append(p.translator().Ignore, name)
		return err
	}
	prefix, err := netip.ParsePrefix(set.Value)
	p.translator().Prefixes = append(p.translator().Prefixes, prefix)
	return err
}

// responseBlock tells the policy zone that response-ip settings make from those of the
// file.
const responseBlock = -1

// responseActions are Unbound's words for what rules of a policy zone say.
var responseActions = map[string]string{"deny": "CNAME rpz-drop.", "always_deny": "CNAME rpz-drop.", "always_nxdomain": "CNAME .", "always_nodata": "CNAME *."}

// applyResponse maps "response-ip: PREFIX ACTION" to a rule of a policy zone.
func (p *Policies) applyResponse(set Setting) error {
	network, action, _ := strings.Cut(set.Value, " ")
	prefix, err := netip.ParsePrefix(network)
	if err != nil || !prefix.Addr().Is4() || responseActions[strings.TrimSpace(action)] == "" {
		return wrong(set, set.Key)
	}
	z, err := p.zoneOf(responseBlock, "response-ip.invalid.")
	if err != nil {
		return err
	}
	b := prefix.Addr().As4()
	rules, err := readZone(z.Name, fmt.Sprintf("%d.%d.%d.%d.%d.rpz-ip %s\n", prefix.Bits(), b[3], b[2], b[1], b[0], responseActions[strings.TrimSpace(action)]))
	z.Records = append(z.Records, rules...)
	return err
}

// localOf returns the local data of a view, made if need be; "" is outside of views.
func (p *Policies) localOf(view string) *LocalData {
	for _, l := range p.Local {
		if l.View == view {
			return l
		}
	}
	l := &LocalData{View: view, Zones: map[dnsname.Name]localdata.Kind{}}
	p.Local = append(p.Local, l)
	return l
}

// localKinds are Unbound's words for kinds of local zones.
var localKinds = map[string]localdata.Kind{
	"transparent": localdata.Transparent, "typetransparent": localdata.TypeTransparent, "static": localdata.Static,
	"redirect": localdata.Redirect, "refuse": localdata.Refuse, "deny": localdata.Drop, "inform": localdata.Transparent,
	"always_nxdomain": localdata.NXDomain, "always_nodata": localdata.NoData, "always_transparent": localdata.Pass,
}

func (p *Policies) applyLocal(set Setting, names map[int]string) error {
	view := ""
	if set.Clause == "view" {
		view = names[set.Block]
	}
	switch set.Key {
	case "view-first":
		p.localOf(view).First = set.Value == "yes"
	case "local-zone":
		words := strings.Fields(strings.ReplaceAll(set.Value, `"`, ""))
		if len(words) == 2 && words[1] == "nodefault" { // test. and the like are resolved here anyway
			return nil
		}
		if len(words) != 2 {
			return wrong(set, set.Key)
		}
		name, err := dnsname.ParseIn(words[0], dnsname.Root)
		kind, ok := localKinds[words[1]]
		if err != nil || !ok {
			return wrong(set, set.Key)
		}
		p.localOf(view).Zones[name] = kind
	case "local-data":
		r, err := ParseRecord(set.Value, ".", 3600)
		if err != nil {
			return fmt.Errorf("line %d: local-data: %w", set.Line, err)
		}
		p.localOf(view).Records = append(p.localOf(view).Records, r)
	default:
		return wrong(set, set.Key)
	}
	return nil
}

func (p *Policies) applyView(set Setting) error {
	network, view, _ := strings.Cut(set.Value, " ")
	prefix, err := netip.ParsePrefix(network)
	if err != nil {
		return wrong(set, set.Key)
	}
	if p.views == nil {
		p.views = map[netip.Prefix]string{}
	}
	p.views[prefix] = strings.Trim(view, `" `)
	return nil
}

// localFor returns the local data for a client: that of its view, with what is outside
// of views where the view has nothing to say, if it is to be so.
func (p *Policies) localFor(client netip.Addr) *LocalData {
	view := ""
	for prefix, name := range p.views {
		if prefix.Contains(client) {
			view = name
		}
	}
	var own, outside *LocalData
	for _, l := range p.Local {
		switch l.View {
		case "":
			outside = l
		case view:
			own = l
		}
	}
	if view == "" {
		return outside
	}
	if own == nil || !own.First || outside == nil {
		return own
	}
	both := &LocalData{Zones: map[dnsname.Name]localdata.Kind{}, Records: slices.Clone(own.Records)}
	isOwn := func(n dnsname.Name) bool {
		for top := range own.Zones {
			if n.IsSubdomainOf(top) {
				return true
			}
		}
		return false
	}
	for n, k := range outside.Zones {
		both.Zones[n] = k
	}
	for n, k := range own.Zones {
		both.Zones[n] = k
	}
	for _, r := range outside.Records {
		if !isOwn(r.Name) {
			both.Records = append(both.Records, r)
		}
	}
	return both
}

// applyFeature maps Knot Resolver's "features" that have a counterpart.
func (p *Policies) applyFeature(set Setting) (bool, error) {
	key, value, _ := strings.Cut(set.Value, "=")
	if strings.TrimSpace(key) != "dns64_prefix" {
		return false, nil
	}
	prefix, err := netip.ParseAddr(strings.TrimSpace(value))
	if err != nil {
		return true, err
	}
	p.translator().Prefixes = append(p.translator().Prefixes, netip.PrefixFrom(prefix, 96))
	return true, nil
}

// rules of Knot Resolver's module policy, first in the list first.
var (
	forwardRule = regexp.MustCompile(`^policy=policy:add\(policy\.suffix\(policy\.FORWARD\('([^']+)'\), \{todname\('([^']+)'\)\}\)\)$`)
	suffixRule  = regexp.MustCompile(`^policy=policy:add\(policy\.suffix\(policy\.(DENY|PASS), \{todname\('([^']+)'\)\}\)\)$`)
	nameRule    = regexp.MustCompile(`^policy=policy:add\(policy\.pattern\(policy\.(DENY|PASS), todname\('([^']+)'\)\)\)$`)
	patternRule = regexp.MustCompile(`^policy=policy:add\(policy\.pattern\(policy\.(DENY|PASS), '\\\d+([a-z]+)\[(\d)-(\d)\]\\\d+([a-z]+)'\)\)$`)
)

// applyList maps a rule of that module to a policy zone of its own.
func (p *Policies) applyList(set Setting) (bool, error) {
	action, names := "", []string(nil)
	if m := forwardRule.FindStringSubmatch(set.Value); m != nil {
		addr, err := netip.ParseAddr(m[1])
		p.forwards = append(p.forwards, iterate.Route{Zone: dnsname.MustParse(m[2]), Forward: true, Servers: []netip.AddrPort{netip.AddrPortFrom(addr, 53)}})
		return true, err
	}
	if m := suffixRule.FindStringSubmatch(set.Value); m != nil {
		action, names = m[1], []string{m[2]}
	} else if m := nameRule.FindStringSubmatch(set.Value); m != nil {
		action, names = m[1], []string{m[2]}
	} else if m := patternRule.FindStringSubmatch(set.Value); m != nil {
		action = m[1]
		for digit := m[3][0]; digit <= m[4][0]; digit++ {
			names = append(names, m[2]+string(digit)+"."+m[5])
		}
	} else {
		return false, nil
	}
	z, err := p.zoneOf(-2-len(p.Zones), fmt.Sprintf("rule%d.invalid.", len(p.Zones)))
	if err != nil {
		return true, err
	}
	target := map[string]string{"DENY": ".", "PASS": "rpz-passthru."}[action]
	var text strings.Builder
	for _, n := range names {
		fmt.Fprintf(&text, "%[1]s CNAME %[2]s\n*.%[1]s CNAME %[2]s\n", n, target)
	}
	z.Records, err = readZone(z.Name, text.String())
	return true, err
}
