package migrate

import (
	"net/netip"
	"slices"
	"strings"

	"pharos/internal/dns/rdata"
)

// This file takes of knot.conf what is about TLS and QUIC, catalog zones, and what an ACL
// lets updates change.

// listenTLS takes the addresses of listen-tls or listen-quic. Without a certificate Knot
// makes one by itself.
func (k *knot) listenTLS(server *item, s *setting, to *[]netip.AddrPort) {
	for _, v := range s.values {
		addr, err := addressAt(v, 853)
		if err != nil {
			k.note(s.place, s.name+": "+v, "%v", err)
			continue
		}
		*to = append(*to, addr)
	}
	e := &k.result.Plan.Encrypted
	cert, key := server.one("cert-file"), server.one("key-file")
	if cert == "" || key == "" {
		e.SelfSigned = true
		return
	}
	e.addCertificate(Certificate{below(k.folder, cert), below(k.folder, key)})
}

// peerTLS returns how a remote is known, and its usual port; ok is false, with a note, if
// it cannot be asked so.
func (k *knot) peerTLS(it *item, what string, mayTLS bool) (t PeerTLS, port uint16, ok bool) {
	switch {
	case it.one("quic") == "on":
		k.note(it.place, what, "%s", knotReasons["quic"])
		return t, 0, false
	case it.one("tls") != "on":
		return t, 53, true
	case !mayTLS:
		k.note(it.place, what, "NOTIFY goes over UDP and TCP, not over TLS: name the port for that")
		return t, 0, false
	}
	if s := it.get("cert-key"); s != nil && len(s.values) > 0 {
		t.Pin = s.values[0]
		if len(s.values) > 1 {
			k.note(s.place, what+": "+s.name, "one pin is taken, the first of %d", len(s.values))
		}
		if !isPin(t.Pin) {
			k.note(s.place, what+": "+s.name, "%s is no SHA-256 in base64", clip(t.Pin))
			return t, 0, false
		}
	}
	if s := it.get("cert-hostname"); s != nil && len(s.values) > 0 {
		t.Name, t.CA = s.values[0], k.ca
		if len(s.values) > 1 {
			k.note(s.place, what+": "+s.name, "one name is taken, the first of %d", len(s.values))
		}
	}
	if !t.known() {
		k.note(it.place, what, "%s", unknownServer)
		return t, 0, false
	}
	return t, 853, true
}

// ruleTLS returns what an ACL wants of the transport; ok is false, with a note, if that
// cannot be said.
func (k *knot) ruleTLS(it *item, what, action string, isDeny bool) (t RuleTLS, ok bool) {
	for _, name := range []string{"protocol", "cert-key", "cert-hostname"} {
		s := it.get(name)
		if s == nil || len(s.values) == 0 {
			continue
		}
		switch {
		case isDeny || action != "transfer":
			k.note(s.place, what+": "+s.String(), "only who may transfer can be told by TLS")
			return t, false
		case name == "protocol":
			if slices.ContainsFunc(s.values, func(v string) bool { return v != "tls" && v != "quic" }) {
				k.note(s.place, what+": "+s.String(), "a rule for one transport in clear text only")
				return t, false
			}
			t.Required = true
		case name == "cert-key":
			k.note(s.place, what+": "+s.String(), "clients are known by an authority and a name, not by their key: see zones[].transfer[].tls")
			return t, false
		case k.ca == "" || len(s.values) > 1:
			k.note(s.place, what+": "+s.String(), "one name is taken, in a certificate of an authority: see zones[].transfer[].tls")
			return t, false
		default:
			t.CA, t.Name = k.ca, s.values[0]
		}
	}
	return t, true
}

// catalog takes what a zone has to do with catalogs.
func (k *knot) catalog(z *Zone, get func(string) *setting) (isCatalog, isMember bool) {
	role := get("catalog-role")
	if role == nil || len(role.values) == 0 {
		return false, false
	}
	what := "zone " + z.Name + ": " + role.String()
	first := func(name string) string {
		if s := get(name); s != nil && len(s.values) > 0 {
			return s.values[0]
		}
		return ""
	}
	switch role.values[0] {
	case "none":
	case "generate":
		z.Kind, z.File, z.Primaries, z.Updates = "catalog", "", nil, nil
	case "member":
		name, err := zoneName(first("catalog-zone"))
		if err != nil || first("catalog-zone") == "" {
			k.note(role.place, what, "it names no catalog-zone")
			return false, false
		}
		z.Member, z.Group = name, first("catalog-group")
		return false, true
	case "interpret":
		s := get("catalog-template")
		if s == nil {
			s = &setting{role.place, "catalog-template", []string{"default"}}
		}
		for i, id := range s.values {
			if t, ok := k.template(z, s, id); ok {
				if i == 0 { // Knot: for members without a group
					z.Templates = append(z.Templates, Template{"", t.Primaries, t.Transfer, t.Query, t.Notify})
				}
				t.Group = id
				z.Templates = append(z.Templates, t)
			}
		}
		return true, false
	default:
		k.note(role.place, what, "want none, interpret, generate or member")
	}
	return false, false
}

// template returns how members of a catalog are served by a template of Knot.
func (k *knot) template(z *Zone, s *setting, id string) (t Template, ok bool) {
	what := "zone " + z.Name + ": " + s.name + ": " + id
	it := k.byID["template"][id]
	switch {
	case it == nil && id != "default":
		k.note(s.place, what, "there is no such template")
		return t, false
	case it.get("master") == nil:
		k.note(s.place, what, "it names no master, so its members come from files: members of a catalog are secondary zones here")
		return t, false
	}
	if t.Primaries = k.peers(it.get("master"), "members of "+z.Name, true); len(t.Primaries) == 0 {
		k.note(s.place, what, "none of its masters was carried over")
		return t, false
	}
	if n := it.get("notify"); n != nil {
		t.Notify = k.peers(n, "members of "+z.Name, false)
	}
	if a := it.get("acl"); a != nil {
		t.Transfer = k.rules(a, "members of "+z.Name, "transfer")
	}
	return t, true
}

// updateRules returns who may change what of a zone.
func (k *knot) updateRules(s *setting, zone string) (all []Update) {
	k.eachRule(s, zone, "update", func(acl *item, rule Rule) {
		what := "zone " + zone + ": acl: " + acl.one("id")
		if types := acl.get("update-type"); types != nil {
			for _, t := range types.values {
				if _, known := rdata.ParseType(strings.ToUpper(t)); !known || strings.ContainsAny(t, "()") {
					k.note(types.place, what+": "+types.String(), "type %s is not known", clip(t))
					return
				}
			}
		}
		for _, u := range k.owners(acl, rule, zone, what) {
			if types := acl.get("update-type"); types != nil {
				for _, t := range types.values {
					u.Types = append(u.Types, strings.ToUpper(t))
				}
			}
			all = append(all, u)
		}
	})
	return all
}

// owners returns one update rule for each name that an ACL lets a client change.
func (k *knot) owners(acl *item, rule Rule, zone, what string) (all []Update) {
	owner, match := acl.one("update-owner"), acl.one("update-owner-match")
	if match == "" {
		match = "sub-or-equal"
	}
	var names []string
	switch owner {
	case "", "none":
		return []Update{{Rule: rule}}
	case "zone":
		names = []string{zone}
	case "key":
		if rule.Key == "" {
			k.note(acl.place, what+": update-owner: key", "the rule is for no key")
			return nil
		}
		names = []string{rule.Key}
	case "name":
		s := acl.get("update-owner-name")
		if s == nil {
			k.note(acl.place, what+": update-owner: name", "there is no update-owner-name")
			return nil
		}
		for _, n := range s.values {
			if !strings.HasSuffix(n, ".") { // as in a zone file
				n += "." + strings.TrimPrefix(zone, ".")
			}
			names = append(names, n)
		}
	default:
		k.note(acl.place, what+": update-owner: "+owner, "want key, zone or name")
		return nil
	}
	for _, text := range names {
		name, err := zoneName(text)
		u := Update{Rule: rule, Subtree: name}
		switch {
		case err != nil || !isBelow(name, zone):
			k.note(acl.place, what+": "+text, "no name of the zone")
			continue
		case match == "equal":
			u.Name, u.Subtree = name, ""
		case match != "sub-or-equal":
			k.note(acl.place, what+": update-owner-match: "+match, "a rule is about a name, or about it and all below: see names and subtrees of zones[].updates")
			return nil
		}
		all = append(all, u)
	}
	return all
}
