package migrate

// This file takes of nsd.conf what is about TLS and catalog zones.

// serviceTLS takes the certificate that NSD shows.
func (n *nsd) serviceTLS() {
	key, pem := n.serviceKey, n.servicePEM
	if key.value == "" && pem.value == "" {
		return
	}
	if key.value == "" || pem.value == "" {
		n.note(key.place, "tls-service-key, tls-service-pem", "both are wanted")
		return
	}
	e := &n.result.Plan.Encrypted
	e.addCertificate(Certificate{below(n.folder, pem.value), below(n.folder, key.value)})
	if len(e.DoT) == 0 {
		n.note(key.place, "tls-service-key: "+key.value, "no ip-address has port %d, which is that of TLS: write the listener under listen.dot", n.tlsPort)
	}
}

// auth returns a tls-auth section; ok is false, with a note, if there is none.
func (n *nsd) auth(name string, a attribute, what string) (c *clause, ok bool) {
	if c = n.auths[name]; c == nil {
		n.note(a.place, what, "there is no tls-auth %s", clip(name))
	}
	return c, c != nil
}

// peerTLS returns how a server is known by a tls-auth section.
func (n *nsd) peerTLS(name string, a attribute, what string) (t PeerTLS, ok bool) {
	c, ok := n.auth(name, a, what)
	if !ok {
		return t, false
	}
	t = PeerTLS{Name: c.value("auth-domain-name"), CA: n.bundle}
	if cert, key := c.value("client-cert"), c.value("client-key"); cert != "" && key != "" {
		if c.value("client-key-pw") != "" {
			n.note(c.place, "tls-auth "+name+": client-key-pw", "keys are read without a password: write the key without")
		}
		t.Certificate, t.Key = below(n.folder, cert), below(n.folder, key)
	}
	if !t.known() {
		n.note(a.place, what, "%s", unknownServer)
		return t, false
	}
	return t, true
}

// ruleTLS returns what a client has to show by a tls-auth section.
func (n *nsd) ruleTLS(name string, a attribute, what string) (t RuleTLS, ok bool) {
	c, ok := n.auth(name, a, what)
	if !ok {
		return t, false
	}
	if n.bundle == "" {
		n.note(a.place, what, "no tls-cert-bundle says whose certificates are believed: write the authority under tls.ca of the rule")
		return t, false
	}
	return RuleTLS{CA: n.bundle, Name: c.value("auth-domain-name")}, true
}

// catalog takes "catalog: consumer" or "producer", and the pattern of members. NSD serves a
// member by the pattern that is called as its group, and else by catalog-member-pattern.
func (n *nsd) catalog(z *Zone, a attribute, c *clause, what string) {
	if a.name == "catalog-member-pattern" || n.inTemplate {
		return // taken with catalog; and a member is no catalog
	}
	switch a.value {
	case "producer":
		z.Kind = "catalog"
	case "consumer", "yes":
		if name := c.value("catalog-member-pattern"); name != "" {
			p := n.patterns[name]
			if p == nil {
				n.note(a.place, what, "there is no pattern %s", clip(name))
				return
			}
			z.Templates = append(z.Templates, n.template("", p))
		}
		for _, p := range n.order {
			if t := n.template(p.value("name"), p); len(t.Primaries) > 0 {
				z.Templates = append(z.Templates, t)
			}
		}
		if len(z.Templates) == 0 {
			n.note(a.place, what, "no pattern with request-xfr says how its members are served")
		}
	default:
		n.note(a.place, what, "want consumer or producer")
	}
}

// template returns how members with a group are served by a pattern.
func (n *nsd) template(group string, p *clause) Template {
	notes, blocked, unasked := len(n.result.Notes), n.blocked, n.unasked
	n.blocked, n.unasked, n.inTemplate = nil, nil, true
	defer func() { n.inTemplate = false }()
	m := Zone{Name: "member."}
	n.apply(&m, "member", p, nil)
	m.Transfer = n.withoutBlocked(m.Transfer, n.blocked, p, "pattern "+p.value("name")+": provide-xfr")
	m.Query = n.withoutBlocked(m.Query, n.unasked, p, "pattern "+p.value("name")+": allow-query")
	n.blocked, n.unasked = blocked, unasked
	if group != "" {
		n.result.Notes = n.result.Notes[:notes] // said with the zones of the pattern
	}
	return Template{Group: group, Primaries: m.Primaries, Transfer: m.Transfer, Query: m.Query, Notify: m.Notify}
}

// member takes the catalog that lists a zone. The group is the zone's pattern.
func (n *nsd) member(z *Zone, a attribute, c *clause, what string) {
	name, err := zoneName(a.value)
	if err != nil {
		n.note(a.place, what, "its name: %v", err)
		return
	}
	z.Member = name
	if c.name == "pattern" {
		z.Group = c.value("name")
	}
}
