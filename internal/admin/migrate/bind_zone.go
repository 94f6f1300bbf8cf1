package migrate

import (
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// zone takes a zone statement. limited says why not everybody could see it, which
// here everybody would.
func (b *bind) zone(s *statement, block []statement, from scope, limited string) {
	name, err := zoneName(s.word(1))
	if err != nil {
		b.note(s.place, s.String(), "its name: %v", err)
		return
	}
	if class := s.word(2); class != "" && !strings.EqualFold(class, "IN") {
		b.note(s.place, s.String(), "class %s; only zones of class IN are served", class)
		return
	}
	z := Zone{Name: name}
	var primaries, servers, mode *statement
	var rest []*statement
	kind := ""
	for i := range block {
		o := &block[i]
		switch o.word(0) {
		case "type":
			kind = o.word(1)
		case "file":
			z.File = below(b.directory, o.word(1))
		case "primaries", "masters":
			primaries = o
		case "in-view":
			kind = "in-view"
		case "forwarders", "server-addresses":
			servers = o
		case "forward":
			mode = o
		default:
			if !b.inherit(o, &from) {
				rest = append(rest, o)
			}
		}
	}
	switch kind {
	case "forward", "static-stub":
		b.route(s, z.Name, servers, mode, kind == "static-stub")
		return
	case "stub":
		b.route(s, z.Name, primaries, mode, true)
		return
	}
	if !b.zoneKind(s, &z, kind) {
		return
	}
	if limited != "" {
		b.note(s.place, "zone "+z.Name, "%s; write it and the view under views", limited)
		return
	}
	if !b.queryRules(&z, from) {
		b.note(from.query.place, "zone "+z.Name, "nobody is left of those whom allow-query lets in")
		return
	}
	for _, o := range rest {
		if b.updates(&z, o) {
			continue
		}
		b.note(o.place, "zone "+z.Name+": "+o.String(), "%s", reason(bindReasons, o.word(0)))
	}
	if from.policy != nil && from.policy.word(1) != "none" {
		b.note(s.place, "zone "+z.Name+": "+from.policy.String(), "%s", bindReasons["dnssec-policy"])
	}
	if primaries != nil {
		z.Primaries = b.peers(primaries, 0)
	}
	b.zoneRules(&z, from)
	b.gate(&z, from)
	b.catalog(&z, from)
	b.addZone(z, s.place)
}

// zoneKind sets the kind of z; ok is false for one that is no zone of ours.
func (b *bind) zoneKind(s *statement, z *Zone, kind string) (ok bool) {
	switch kind {
	case "primary", "master":
		z.Kind = "file"
		return true
	case "secondary", "slave":
		z.Kind = "secondary"
		if z.File != "" && !b.seen["secondary"] {
			b.seen["secondary"] = true
			b.note(s.place, "zone "+z.Name+": file", "secondary zones are kept in the data folder, and transferred anew; so it is for all others")
		}
		z.File = ""
		return true
	case "hint":
		b.result.Plan.RootHints = z.File
	case "":
		b.note(s.place, "zone "+z.Name, "it has no type")
	case "mirror":
		b.note(s.place, "zone "+z.Name+": type mirror", "make it a secondary zone if it is to be answered from; the resolver does not use it")
	default:
		b.note(s.place, "zone "+z.Name+": type "+kind, "no zone of this server's own; no counterpart here")
	}
	return false
}

// queryRules takes who may ask for a zone; ok is false if nobody may.
func (b *bind) queryRules(z *Zone, from scope) (ok bool) {
	if from.query == nil {
		return true
	}
	list, _ := from.query.block()
	if b.isAny(list, from.query) {
		return true
	}
	z.Query = b.rules(list, from.query, "zone "+z.Name+": allow-query")
	return len(z.Query) > 0
}

// updates takes who may change a zone; taken is false for another option.
func (b *bind) updates(z *Zone, o *statement) (taken bool) {
	list, _ := o.block()
	what := "zone " + z.Name + ": " + o.word(0)
	switch {
	case o.word(0) == "allow-update" && z.Kind != "secondary":
		for _, rule := range b.rules(list, o, what) {
			z.Updates = append(z.Updates, Update{Rule: rule})
		}
	case o.word(0) == "update-policy" && len(list) > 0 && z.Kind != "secondary":
		for i := range list {
			b.grant(z, &list[i], what)
		}
	case o.word(0) == "allow-update-forwarding" && z.Kind == "secondary":
		z.Forward = b.isAny(list, o)
		if !z.Forward {
			return false
		}
	default:
		return false
	}
	if len(z.Updates) > 0 {
		z.Kind = "store"
		if !b.seen["journal"] {
			b.seen["journal"] = true
			b.note(o.place, what, "the file is the first version of the zone: have named write it with rndc sync -clean before it is read")
		}
	}
	return true
}

// grant takes "grant KEY RULE [NAME] [TYPES]" of update-policy.
func (b *bind) grant(z *Zone, s *statement, what string) {
	what += ": " + s.String()
	key, err := zoneName(s.word(1))
	if s.word(0) != "grant" || err != nil || strings.Contains(s.word(1), "*") {
		b.note(s.place, what, "only grants to one key are taken; see zones[].updates about the others")
		return
	}
	u := Update{Rule: Rule{Key: key}}
	types := 4
	switch s.word(2) {
	case "name":
		u.Name, err = zoneName(s.word(3))
	case "subdomain":
		u.Subtree, err = zoneName(s.word(3))
	case "zonesub":
		types = 3
	case "self":
		u.Self = true
	default:
		b.note(s.place, what, "see zones[].updates about rules of this kind")
		return
	}
	for i := types; i < len(s.parts); i++ {
		u.Types = append(u.Types, strings.ToUpper(s.word(i)))
	}
	for _, t := range u.Types {
		if _, known := rdata.ParseType(t); !known || strings.ContainsAny(t, "()") {
			err = errText("type " + clip(t) + " is not known")
		}
	}
	if err != nil || u.Name+u.Subtree != "" && !isBelow(u.Name+u.Subtree, z.Name) {
		b.note(s.place, what, "the rule is not about names of the zone, or not understood")
		return
	}
	z.Updates = append(z.Updates, u)
}

// isBelow reports whether a name is that of the zone or below it.
func isBelow(name, zone string) bool {
	n, err := dnsname.Parse(name)
	z, zoneErr := dnsname.Parse(zone)
	return err == nil && zoneErr == nil && n.IsSubdomainOf(z)
}

// zoneRules takes who may transfer the zone and who is notified.
func (b *bind) zoneRules(z *Zone, from scope) {
	if t := from.transfer; t != nil {
		list, _ := t.block()
		switch {
		case t.after("transport") == "tls" && (t.after("port") == "" || t.after("port") == "853"):
			for _, rule := range b.rules(list, t, "zone "+z.Name+": allow-transfer") {
				rule.TLS.Required = true
				z.Transfer = append(z.Transfer, rule)
			}
		case t.after("transport") != "" || t.after("port") != "":
			b.note(t.place, "zone "+z.Name+": "+t.String(), "a rule for one port or transport only")
		default:
			z.Transfer = b.rules(list, t, "zone "+z.Name+": allow-transfer")
		}
	}
	if from.notifyTo == nil {
		return
	}
	if from.notify != nil && (from.notify.word(1) == "no" || from.notify.word(1) == "false" || from.notify.word(1) == "0") {
		b.note(from.notifyTo.place, "zone "+z.Name+": "+from.notifyTo.String(), "%s", bindReasons["also-notify"])
		return
	}
	z.Notify = b.inClear(from.notifyTo, b.peers(from.notifyTo, 0))
}

// element is one entry of an address match list.
type element struct {
	place
	text    string
	net     netip.Prefix // the zero Prefix: a key, or a word
	key     string
	negated bool
	unknown string // why it cannot be told what it stands for
}

// elements resolves an address match list: names of other lists, and lists within
// lists. The order stays, for the first that matches counts.
func (b *bind) elements(list []statement, at *statement, depth int) []element {
	var all []element
	if depth > maxNested {
		return []element{{place: at.place, text: at.String(), unknown: "lists that lead to each other"}}
	}
	for i := range list {
		s := &list[i]
		e := element{place: s.place, text: s.String()}
		parts := s.parts
		if first := parts[0]; !first.braces && strings.HasPrefix(first.word, "!") {
			e.negated = true
			parts = append([]part{{word: first.word[1:], quoted: first.quoted}}, parts[1:]...)
			if parts[0].word == "" {
				parts = parts[1:]
			}
		}
		if len(parts) == 0 {
			continue
		}
		all = append(all, b.element(e, parts, s, depth)...)
	}
	return all
}

func (b *bind) element(e element, parts []part, s *statement, depth int) []element {
	word := parts[0].word
	inner, isList := b.acls[word]
	switch {
	case parts[0].braces:
		inner, isList = parts[0].block, true
	case word == "key" && len(parts) > 1:
		var err error
		if e.key, err = zoneName(parts[1].word); err != nil {
			e.unknown = err.Error()
		}
		return []element{e}
	case len(parts) > 1:
		e.unknown = "more words than expected"
		return []element{e}
	}
	if isList {
		if e.negated {
			e.unknown = "a list as a whole is taken out"
			return []element{e}
		}
		return b.elements(inner, s, depth+1)
	}
	switch word {
	case "any":
		if !e.negated {
			e.text = "any"
		}
		return []element{e}
	case "none":
		e.text = "none"
		return []element{e}
	case "localhost":
		four, six := e, e
		four.net, six.net = netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")
		return []element{four, six}
	case "localnets":
		e.unknown = "the networks of this machine's interfaces: name them"
		return []element{e}
	}
	if e.net = parseNet(word); !e.net.IsValid() {
		e.unknown = "neither an address nor a list that is known"
	}
	return []element{e}
}

// parseNet reads 192.0.2.1, 192.0.2.0/24, and 10/8 as named does.
func parseNet(word string) netip.Prefix {
	if addr, err := netip.ParseAddr(word); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	head, bits, ok := strings.Cut(word, "/")
	if !ok {
		return netip.Prefix{}
	}
	for strings.Count(head, ".") < 3 && !strings.Contains(head, ":") {
		head += ".0"
	}
	addr, err := netip.ParseAddr(head)
	n, bitsErr := strconv.Atoi(bits)
	if err != nil || bitsErr != nil || addr.Zone() != "" {
		return netip.Prefix{}
	}
	p, err := addr.Prefix(n)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// allowed walks a match list in its order and calls allow for what it lets in.
// What comes behind an exception that it overlaps with is left out with a note: our
// rules only let in, so it would let in the exception too.
func (b *bind) allowed(list []statement, at *statement, what string, allow func(element)) {
	var except []element
	for _, e := range b.elements(list, at, 0) {
		switch {
		case e.unknown != "" && e.negated:
			except = append(except, element{text: "any"})
			b.note(e.place, what+": "+e.text, "%s; what comes behind it is left out", e.unknown)
		case e.unknown != "":
			b.note(e.place, what+": "+e.text, "%s", e.unknown)
		case e.text == "none":
		case e.negated:
			except = append(except, e)
		case overlaps(except, e):
			nets, ok := pieces(except, e)
			if !ok {
				b.note(e.place, what+": "+e.text, "an exception (!) stands before it, which rules that only let in cannot say")
			}
			for _, n := range nets {
				allow(element{place: e.place, text: n.String(), net: n})
			}
		default:
			allow(e)
		}
	}
}

// overlaps reports whether one of the exceptions might match what e matches.
func overlaps(except []element, e element) bool {
	for _, x := range except {
		both := x.net.IsValid() && e.net.IsValid()
		if !both || x.net.Overlaps(e.net) {
			return true // a key and a network may hold at once
		}
	}
	return false
}

// rules returns whom a list lets in.
func (b *bind) rules(list []statement, at *statement, what string) []Rule {
	var rules []Rule
	b.allowed(list, at, what, func(e element) {
		switch {
		case e.key != "":
			rules = append(rules, Rule{Key: e.key})
		case e.net.IsValid():
			rules = append(rules, Rule{Network: e.net})
		default: // any
			for _, n := range everybody {
				rules = append(rules, Rule{Network: n})
			}
		}
	})
	return rules
}

// networks returns the networks that a list lets in.
func (b *bind) networks(list []statement, at *statement, what string) (nets []netip.Prefix, ok bool) {
	b.allowed(list, at, at.word(0), func(e element) {
		switch {
		case e.key != "":
			b.note(e.place, at.word(0)+": "+e.text, "who %s is told by address only", what)
		case e.net.IsValid():
			nets = append(nets, e.net)
		default:
			nets = append(nets, everybody...)
		}
	})
	return unique(nets), len(nets) > 0
}

// isAny reports whether a list lets everybody in.
func (b *bind) isAny(list []statement, at *statement) bool {
	for _, e := range b.elements(list, at, 0) {
		if e.negated || e.unknown != "" {
			return false
		}
		if e.text == "any" {
			return true
		}
	}
	return false
}

// peers returns the servers of primaries or also-notify, lists by name included.
func (b *bind) peers(s *statement, depth int) []Peer {
	block, ok := s.block()
	if !ok || depth > maxNested {
		b.note(s.place, s.String(), "no list of servers")
		return nil
	}
	port := b.portOf(s, s.after("port"), 53)
	for _, word := range []string{"source", "source-v6"} {
		if s.after(word) != "" {
			b.note(s.place, s.String(), "the system chooses the source address")
		}
	}
	var all []Peer
	for i := range block {
		e := &block[i]
		addr, err := netip.ParseAddr(e.word(0))
		key := ""
		if word := e.after("key"); word != "" {
			if key, err = zoneName(word); err != nil {
				b.note(e.place, e.String(), "its key: %v", err)
				continue
			}
			addr, err = netip.ParseAddr(e.word(0))
		}
		if err != nil {
			if list := b.lists[e.word(0)]; list != nil {
				t, ok := b.peerTLS(e)
				if !ok {
					continue
				}
				for _, p := range b.peers(list, depth+1) {
					if key != "" {
						p.Key = key
					}
					if (t != PeerTLS{}) {
						p.TLS = t
					}
					all = append(all, p)
				}
				continue
			}
			b.note(e.place, e.String(), "neither an address nor a list that is known")
			continue
		}
		if key == "" {
			key = b.servers[addr]
		}
		t, ok := b.peerTLS(e)
		if !ok {
			continue
		}
		otherwise := port
		if (t != PeerTLS{}) && s.after("port") == "" {
			otherwise = 853
		}
		all = append(all, Peer{Address: netip.AddrPortFrom(addr.Unmap(), b.portOf(e, e.after("port"), otherwise)), Key: key, TLS: t})
	}
	return all
}

func isBase64(s string) bool {
	octets, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(octets) > 0
}
