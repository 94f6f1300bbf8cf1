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
	NSID            string
	CookieSecret    string
	RateLimit       int
	RateLimitExempt []netip.Prefix
	TCPConnections  int
	Incoming        int // transfers at a time
	Outgoing        int
	Resolver        bool           // whether there is one
	Recursion       []netip.Prefix // who may ask it; empty with Resolver: our own machine
	RootHints       string
	NoValidation    bool
	Keys            []Key
	Zones           []Zone
	Views           []View
}

// Key is a TSIG key.
type Key struct {
	Name, Algorithm, Secret, File string // Secret or File
}

// Zone is a zone.
type Zone struct {
	Name      string // with a final dot
	Kind      string // "file", "store", "secondary"
	File      string
	Primaries []Peer
	Transfer  []Rule
	Query     []Rule // who may ask; nobody here: everybody
	Updates   []Update
	Forward   bool // updates go to the primaries
	Notify    []Peer
}

// Peer is another server of a zone.
type Peer struct {
	Address netip.AddrPort
	Key     string
}

// Rule is who may transfer a zone.
type Rule struct {
	Network netip.Prefix // the zero Prefix: everybody
	Key     string       // "": no key is asked for
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
	if len(p.Listen) > 0 {
		fmt.Fprintf(&b, "listen:\n  dns: %s\n", flow(p.Listen))
	}
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
	if len(keys) > 0 {
		b.WriteString("dns:\n" + strings.Join(keys, ""))
	}
}

func (p *Plan) writeTransfers(b *strings.Builder) {
	if p.Incoming > 0 || p.Outgoing > 0 {
		b.WriteString("transfers:\n")
	}
	if p.Incoming > 0 {
		fmt.Fprintf(b, "  incoming: %d\n", p.Incoming)
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
	if len(p.Recursion) == 0 && p.RootHints == "" && !p.NoValidation {
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
}

// parts returns the keys of a rule.
func (r Rule) parts() (parts []string) {
	if r.Network.IsValid() {
		parts = append(parts, "network: "+quote(r.Network.String()))
	}
	if r.Key != "" {
		parts = append(parts, "key: "+quote(r.Key))
	}
	return parts
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
		key := ""
		if p.Key != "" {
			key = ", key: " + quote(p.Key)
		}
		fmt.Fprintf(b, "      - {address: %s%s}\n", quote(p.Address.String()), key)
	}
}

// quote writes a scalar that YAML reads as this text and nothing else: JSON is YAML.
func quote(s string) string {
	text, err := json.Marshal(strings.ToValidUTF8(s, "?"))
	if err != nil {
		panic("BUG: " + err.Error()) // a string can always be written
	}
	return string(text)
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
	if c < ' ' || c == 0x7F || c == 0x85 || c == 0x2028 || c == 0x2029 || c == 0xFEFF {
		return ' '
	}
	return c
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
