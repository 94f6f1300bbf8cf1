package migrate

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"pharos/internal/dns/dnsname"
)

// Plan is what is written: a part of our configuration.
type Plan struct {
	Listen          []netip.AddrPort
	Encrypted       Encrypted
	NSID            string
	CookieSecret    string
	RateLimit       int
	RateLimitExempt []netip.Prefix
	TCPConnections  int
	TCPQueries      int // of one connection
	Incoming        int // transfers at a time
	Outgoing        int
	PerPrimary      int            // of Incoming
	Resolver        bool           // whether there is one
	Recursion       []netip.Prefix // who may ask it; empty with Resolver: our own machine
	RootHints       string
	NoValidation    bool
	Keys            []Key
	Zones           []Zone
	Views           []View
	Routes          []Route // of the resolver
}

// Route is a zone whose servers the resolver is told.
type Route struct {
	Zone    string
	Stub    bool // they serve it themselves; else they are resolvers
	First   bool // names are looked up without them if they do not answer
	Servers []netip.AddrPort
}

// Key is a TSIG key.
type Key struct {
	Name, Algorithm, Secret, File string // Secret or File
}

// Zone is a zone.
type Zone struct {
	Name      string // with a final dot
	Kind      string // "file", "store", "secondary", "catalog"
	File      string
	Primaries []Peer
	Transfer  []Rule
	Query     []Rule // who may ask; nobody here: everybody
	Updates   []Update
	Forward   bool // updates go to the primaries
	Notify    []Peer
	Gate      [][2]string // keys and values of gate

	Member, Group string     // the catalog that lists it, and the group that says
	Templates     []Template // of its members, if it is a catalog that is looked at
}

// Peer is another server of a zone.
type Peer struct {
	Address netip.AddrPort
	Key     string
	TLS     PeerTLS
}

// Rule is who may transfer a zone.
type Rule struct {
	Network netip.Prefix // the zero Prefix: everybody
	Key     string       // "": no key is asked for
	TLS     RuleTLS
}

// Update is who may change a zone by dynamic update.
type Update struct {
	Rule
	Name    string   // the one name that may be changed; "": all of the zone
	Subtree string   // all names from here down
	Self    bool     // the name that is the key's
	Types   []string // "": all that are not the zone's own matter
}

// algorithms are those of our keys, by what the others call them.
var algorithms = map[string]string{
	"hmac-sha1": "hmac-sha1", "hmac-sha224": "hmac-sha224", "hmac-sha256": "hmac-sha256", "hmac-sha384": "hmac-sha384", "hmac-sha512": "hmac-sha512",
	"sha1": "hmac-sha1", "sha224": "hmac-sha224", "sha256": "hmac-sha256", "sha384": "hmac-sha384", "sha512": "hmac-sha512",
}

// zoneName returns a zone's or key's name in one spelling.
func zoneName(text string) (string, error) {
	n, err := dnsname.Parse(text)
	if err != nil {
		return "", err
	}
	return n.String(), nil
}

// hasKey reports whether there is a key of that name.
func (p *Plan) hasKey(name string) bool {
	return slices.ContainsFunc(p.Keys, func(k Key) bool { return k.Name == name })
}

// keepUsable leaves out, with a note, what names a key that was not carried over: a
// rule without its key would let more people in, a peer without it would not do.
func (r *reader) keepUsable(z *Zone, at place) {
	for i := range z.Templates { // first, for they may share lists with the zone
		r.keepUsableOf(&z.Templates[i], z.Name, at)
	}
	lost := func(what string, rule Rule) bool {
		bad := rule.Key != "" && !r.result.Plan.hasKey(rule.Key)
		if bad {
			r.note(at, what+" rule of zone "+z.Name, "its key %s was not carried over", rule.Key)
		}
		return bad
	}
	z.Transfer = slices.DeleteFunc(z.Transfer, func(rule Rule) bool { return lost("transfer", rule) })
	z.Updates = slices.DeleteFunc(z.Updates, func(u Update) bool { return lost("update", u.Rule) })
	if len(z.Query) > 0 {
		if z.Query = slices.DeleteFunc(z.Query, func(rule Rule) bool { return lost("query", rule) }); len(z.Query) == 0 {
			z.Kind = "" // nobody is left who may ask, which cannot be said
		}
	}
	for _, list := range []*[]Peer{&z.Primaries, &z.Notify} {
		*list = slices.DeleteFunc(*list, func(p Peer) bool {
			bad := p.Key != "" && !r.result.Plan.hasKey(p.Key)
			if bad {
				r.note(at, fmt.Sprintf("server %s of zone %s", p.Address, z.Name), "its key %s was not carried over", p.Key)
			}
			return bad
		})
		*list = unique(*list)
	}
	z.Transfer, z.Query = unique(z.Transfer), unique(z.Query)
}

// keepUsableOf is keepUsable for the members that a template is for.
func (r *reader) keepUsableOf(t *Template, catalog string, at place) {
	m := Zone{Name: "(member of " + catalog + ")", Primaries: slices.Clone(t.Primaries), Transfer: slices.Clone(t.Transfer), Query: slices.Clone(t.Query), Notify: slices.Clone(t.Notify)}
	before := len(m.Query)
	r.keepUsable(&m, at)
	t.Primaries, t.Transfer, t.Query, t.Notify = m.Primaries, m.Transfer, m.Query, m.Notify
	if before > 0 && len(t.Query) == 0 { // nobody may ask: who is nowhere
		t.Query = []Rule{{Network: netip.MustParsePrefix("127.0.0.1/32")}}
		r.note(at, "query rule of the members of "+catalog, "nobody is left who may ask for them but this machine")
	}
}

func unique[T comparable](list []T) []T {
	var out []T
	for _, x := range list {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// addZone adds a zone, unless there is one of that name, or it lacks what its kind
// needs.
func (r *reader) addZone(z Zone, at place) {
	r.keepUsable(&z, at)
	name := "zone " + z.Name
	switch {
	case r.zones[z.Name]:
		r.note(at, name, "there is a zone of this name already; the first one was taken")
	case z.Kind == "":
		r.note(at, name, "nobody is left who may ask for it")
	case z.Kind == "file" && z.File == "":
		r.note(at, name, "it names no file")
	case z.Kind == "catalog" && dnsname.MustParse(z.Name).Len() > maxCatalogName:
		r.note(at, name, "its name leaves no room for the names of its members")
	case z.Kind == "secondary" && len(z.Primaries) == 0:
		r.note(at, name, "none of its primaries was carried over")
	default:
		if r.zones == nil {
			r.zones = map[string]bool{}
		}
		r.zones[z.Name] = true
		into := &r.result.Plan.Zones
		if r.view != nil {
			into = &r.view.Zones
		}
		*into = append(*into, z)
	}
}

// Limits of our configuration: see docs/CONFIG.md.
const (
	maxPrimaries = 16
	maxRules     = 1000
	maxNotified  = 256
	maxZones     = 100_000
	maxViews     = 128
	maxKeys      = 10_000
	maxNetworks  = 10_000
	maxListen    = 64
	maxNSID      = 64
	maxServers   = 13

	maxCatalogName = 255 - 45
)

// atMost returns the first of a list that our configuration has room for.
func atMost[T any](r *reader, at place, what string, list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	r.note(at, what, "%d of them, but there is room for %d; the first ones were taken", len(list), most)
	return list[:most]
}

// finish holds the plan to the limits of our configuration.
func (r *reader) finish(main string) *Result {
	p, at := &r.result.Plan, place{main, 0}
	p.Listen = atMost(r, at, "addresses to listen on", p.Listen, maxListen)
	p.Routes = atMost(r, at, "routes", p.Routes, maxZones)
	p.Keys = atMost(r, at, "keys", p.Keys, maxKeys)
	p.Zones = atMost(r, at, "zones", p.Zones, maxZones)
	p.Recursion = atMost(r, at, "networks that may use the resolver", p.Recursion, maxNetworks)
	p.RateLimitExempt = atMost(r, at, "networks without a rate limit", p.RateLimitExempt, maxNetworks)
	p.Views = atMost(r, at, "views", p.Views, maxViews)
	all := []*Zone{}
	for i := range p.Zones {
		all = append(all, &p.Zones[i])
	}
	for i := range p.Views {
		v := &p.Views[i]
		v.Zones = atMost(r, at, "zones of view "+v.Name, v.Zones, maxZones)
		v.Clients = atMost(r, at, "networks of view "+v.Name, v.Clients, maxNetworks)
		v.Keys = atMost(r, at, "keys of view "+v.Name, v.Keys, maxRules)
		for j := range v.Zones {
			all = append(all, &v.Zones[j])
		}
	}
	r.finishTLS(at, all)
	r.finishCatalogs(at, p.Zones)
	for i := range p.Views {
		r.finishCatalogs(at, p.Views[i].Zones)
	}
	for _, z := range all {
		z.Primaries = atMost(r, at, "primaries of zone "+z.Name, z.Primaries, maxPrimaries)
		z.Transfer = atMost(r, at, "transfer rules of zone "+z.Name, z.Transfer, maxRules)
		z.Query = atMost(r, at, "query rules of zone "+z.Name, z.Query, maxRules)
		z.Updates = atMost(r, at, "update rules of zone "+z.Name, z.Updates, maxRules)
		z.Notify = atMost(r, at, "notified servers of zone "+z.Name, z.Notify, maxNotified)
	}
	r.result.sortNotes(main)
	return r.result
}

// setCookieSecret takes the secret of server cookies, the first of several.
func (r *reader) setCookieSecret(at place, secret string) {
	octets, err := hex.DecodeString(strings.TrimPrefix(secret, "0x"))
	if err != nil || len(octets) != 16 || r.result.Plan.CookieSecret != "" {
		r.note(at, "cookie secret", "one secret of 32 hexadecimal digits is taken")
		return
	}
	r.result.Plan.CookieSecret = strings.TrimPrefix(secret, "0x")
}

// setNSID takes the name of the server.
func (r *reader) setNSID(at place, name string) {
	if name == "" || len(name) > maxNSID || !utf8.ValidString(name) {
		r.note(at, "name of the server (NSID)", "write it as text of at most %d octets under dns.nsid", maxNSID)
		return
	}
	r.result.Plan.NSID = name
}

// YAML writes the configuration, with what is not in it as comments.
func (r *Result) YAML() []byte {
	var b strings.Builder
	p := &r.Plan
	b.WriteString("# Written by pharos import. Every key is explained in docs/CONFIG.md.\n")
	p.writeListen(&b)
	p.writeDNS(&b)
	p.writeTransfers(&b)
	p.writeResolver(&b)
	if len(p.Keys) > 0 {
		b.WriteString("keys:\n")
	}
	for _, k := range p.Keys {
		secret := "secret: " + quote(k.Secret)
		if k.File != "" {
			secret = "secretFile: " + quote(k.File)
		}
		fmt.Fprintf(&b, "  - {name: %s, algorithm: %s, %s}\n", quote(k.Name), k.Algorithm, secret)
	}
	if len(p.Zones) > 0 {
		b.WriteString("zones:\n")
	}
	for _, z := range p.Zones {
		z.write(&b)
	}
	if len(p.Views) > 0 {
		b.WriteString("views:\n")
	}
	for i := range p.Views {
		p.Views[i].write(&b)
	}
	if len(r.Notes) > 0 {
		b.WriteString("\n# Not carried over:\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "#   %s\n", strings.Map(printable, n.String()))
	}
	return []byte(b.String())
}

func (p *Plan) writeDNS(b *strings.Builder) {
	var keys []string
	add := func(key, value string) { keys = append(keys, "  "+key+": "+value+"\n") }
	if p.TCPConnections > 0 {
		add("tcpConnections", fmt.Sprint(p.TCPConnections))
	}
	if p.TCPQueries > 0 {
		add("tcpQueries", fmt.Sprint(p.TCPQueries))
	}
	if p.NSID != "" {
		add("nsid", quote(p.NSID))
	}
	if p.CookieSecret != "" {
		add("cookieSecret", quote(p.CookieSecret))
	}
	if p.RateLimit > 0 {
		add("rateLimit", fmt.Sprint(p.RateLimit))
	}
	if len(p.RateLimitExempt) > 0 {
		add("rateLimitExempt", flow(p.RateLimitExempt))
	}
	if p.Encrypted.Path != "" {
		add("encrypted", "{path: "+quote(p.Encrypted.Path)+"}")
	}
	if len(keys) > 0 {
		b.WriteString("dns:\n" + strings.Join(keys, ""))
	}
}

func (p *Plan) writeTransfers(b *strings.Builder) {
	if p.Incoming > 0 || p.Outgoing > 0 || p.PerPrimary > 0 {
		b.WriteString("transfers:\n")
	}
	if p.Incoming > 0 {
		fmt.Fprintf(b, "  incoming: %d\n", p.Incoming)
	}
	if p.PerPrimary > 0 {
		fmt.Fprintf(b, "  incomingPerPrimary: %d\n", p.PerPrimary)
	}
	if p.Outgoing > 0 {
		// Our limit per client may not be above the whole.
		fmt.Fprintf(b, "  outgoing: %d\n  outgoingPerClient: %d\n", p.Outgoing, min(8, p.Outgoing))
	}
}

func (p *Plan) writeResolver(b *strings.Builder) {
	if !p.Resolver {
		b.WriteString("resolver:\n  allow: []\n")
		return
	}
	if len(p.Recursion) == 0 && p.RootHints == "" && !p.NoValidation && len(p.Routes) == 0 {
		return
	}
	b.WriteString("resolver:\n")
	if len(p.Recursion) > 0 {
		fmt.Fprintf(b, "  allow: %s\n", flow(p.Recursion))
	}
	if p.RootHints != "" {
		fmt.Fprintf(b, "  rootHints: %s\n", quote(p.RootHints))
	}
	if p.NoValidation {
		b.WriteString("  validate: false\n")
	}
	if len(p.Routes) > 0 {
		b.WriteString("  routes:\n")
	}
	for _, route := range p.Routes {
		more := ""
		if route.Stub {
			more = ", kind: stub"
		}
		if route.First {
			more += ", first: true"
		}
		fmt.Fprintf(b, "    - {zone: %s%s, servers: %s}\n", quote(route.Zone), more, flow(route.Servers))
	}
}

func (z *Zone) write(b *strings.Builder) {
	fmt.Fprintf(b, "  - name: %s\n", quote(z.Name))
	if z.Kind != "file" {
		fmt.Fprintf(b, "    kind: %s\n", z.Kind)
	}
	if z.File != "" {
		fmt.Fprintf(b, "    file: %s\n", quote(z.File))
	}
	writePeers(b, "primaries", z.Primaries)
	writeRules(b, "transfer", z.Transfer)
	writeRules(b, "query", z.Query)
	writePeers(b, "notify", z.Notify)
	if len(z.Updates) > 0 {
		b.WriteString("    updates:\n")
	}
	for _, u := range z.Updates {
		fmt.Fprintf(b, "      - {%s}\n", strings.Join(u.parts(), ", "))
	}
	if z.Forward {
		b.WriteString("    forwardUpdates: true\n")
	}
	if len(z.Gate) > 0 {
		var parts []string
		for _, k := range z.Gate {
			parts = append(parts, k[0]+": "+k[1])
		}
		fmt.Fprintf(b, "    gate: {%s}\n", strings.Join(parts, ", "))
	}
	z.writeCatalog(b)
}

// parts returns the keys of a rule.
func (r Rule) parts() (parts []string) {
	if r.Network.IsValid() {
		parts = append(parts, "network: "+quote(r.Network.String()))
	}
	if r.Key != "" {
		parts = append(parts, "key: "+quote(r.Key))
	}
	return append(parts, r.TLS.parts()...)
}

// parts returns the keys of a server.
func (p Peer) parts() []string {
	parts := []string{"address: " + quote(p.Address.String())}
	if p.Key != "" {
		parts = append(parts, "key: "+quote(p.Key))
	}
	return append(parts, p.TLS.parts()...)
}

// parts returns the keys of a rule.
func (u Update) parts() []string {
	parts := u.Rule.parts()
	if u.Name != "" {
		parts = append(parts, "names: ["+quote(u.Name)+"]")
	}
	if u.Subtree != "" {
		parts = append(parts, "subtrees: ["+quote(u.Subtree)+"]")
	}
	if u.Self {
		parts = append(parts, "self: true")
	}
	if len(u.Types) > 0 {
		var types []string
		for _, t := range u.Types {
			types = append(types, quote(t))
		}
		parts = append(parts, "types: ["+strings.Join(types, ", ")+"]")
	}
	return parts
}

func writeRules(b *strings.Builder, key string, rules []Rule) {
	if len(rules) > 0 {
		fmt.Fprintf(b, "    %s:\n", key)
	}
	for _, rule := range rules {
		fmt.Fprintf(b, "      - {%s}\n", strings.Join(rule.parts(), ", "))
	}
}

func writePeers(b *strings.Builder, key string, peers []Peer) {
	if len(peers) > 0 {
		fmt.Fprintf(b, "    %s:\n", key)
	}
	for _, p := range peers {
		fmt.Fprintf(b, "      - {%s}\n", strings.Join(p.parts(), ", "))
	}
}

// quote writes a scalar that YAML reads as this text and nothing else: JSON is YAML.
func quote(s string) string {
	text, err := json.Marshal(strings.ToValidUTF8(s, "?"))
	if err != nil {
		panic("BUG: " + err.Error()) // a string can always be written
	}
	var b strings.Builder
	for _, c := range string(text) {
		if isControl(c) { // in JSON those above blanks may stand as they are, in YAML not
			fmt.Fprintf(&b, "\\u%04x", c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func flow[T fmt.Stringer](list []T) string {
	var parts []string
	for _, x := range list {
		parts = append(parts, quote(x.String()))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// printable keeps a comment on its line.
func printable(c rune) rune {
	if isControl(c) || c == 0x2028 || c == 0x2029 {
		return ' '
	}
	return c
}

// isControl reports whether a character is none that YAML allows, or ends a line.
func isControl(c rune) bool {
	return c < ' ' || 0x7F <= c && c < 0xA0 || c == 0xFEFF || c == 0xFFFE || c == 0xFFFF
}

// sortNotes puts the notes in the order of the files and lines they are about.
func (r *Result) sortNotes(first string) {
	slices.SortStableFunc(r.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(boolInt(a.File != first), boolInt(b.File != first)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
