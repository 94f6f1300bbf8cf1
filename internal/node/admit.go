package node

import (
	"fmt"
	"net/netip"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
)

// This file is who may ask. There is one order, from the outside in; each step can
// only refuse:
//
//	1  dns.access of the listener            everything that comes
//	2  the view, by key, then by network     which zones there are
//	3  the zone's own rules, one list each   query; transfer; primaries (NOTIFY); updates
//	4  resolver.allow, or the view's         what is in no zone

// access is one entry of dns.access.
type access struct {
	listeners []netip.AddrPort
	acl       *admission.ACL
	drop      bool
}

func compileAccess(entries []config.Access) ([]access, error) {
	var all []access
	for i, e := range entries {
		var rules []admission.Rule
		if len(e.Allow) == 0 { // everybody but those denied
			e.Allow = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
		}
		for _, p := range e.Allow {
			rules = append(rules, admission.Rule{Prefix: p, Action: admission.Allow})
		}
		for _, p := range e.Deny {
			rules = append(rules, admission.Rule{Prefix: p, Action: admission.Deny})
		}
		acl, err := admission.Compile(rules)
		if err != nil {
			return nil, fmt.Errorf("dns.access[%d]: %w", i, err)
		}
		all = append(all, access{listeners: e.Listeners, acl: acl, drop: e.Drop})
	}
	return all, nil
}

// isFor reports whether the entry is for what comes to the address local.
func (a *access) isFor(local netip.AddrPort) bool {
	for _, l := range a.listeners {
		if l.Port() == local.Port() && (l.Addr() == local.Addr() || l.Addr().IsUnspecified() && l.Addr().Is4() == local.Addr().Is4()) {
			return true
		}
	}
	return len(a.listeners) == 0
}

// refuses returns the entry of dns.access that refuses a client at a listener, or
// nil.
func (s *Snapshot) refuses(client netip.Addr, local netip.AddrPort) *access {
	for i := range s.access {
		if a := &s.access[i]; a.isFor(local) {
			if a.acl.Allows(client) {
				return nil
			}
			return a
		}
	}
	return nil
}

const noAccess = "this server does not answer this client"

// refuseAccess answers a client that a refuses.
func (a *access) refuse(r *dnsserver.Request) dnsserver.Verdict {
	if a.drop {
		return dnsserver.Drop
	}
	r.Out.SetRcode(dnswire.RcodeRefused)
	r.Out.SetEDE(dnswire.EDEProhibited, noAccess)
	return dnsserver.Answered
}

// mayQuery reports whether a client, whose query is signed with key if that is set,
// may ask about the zone.
func (s *Snapshot) mayQuery(z *zone.Zone, client netip.Addr, key dnsname.Name) bool {
	if len(s.restricted) == 0 {
		return true
	}
	rules, restricted := s.restricted[z.Origin()]
	return !restricted || anyRule(rules, client, key)
}

// anyRule reports whether one of the rules names a client that signs with key.
func anyRule(rules []config.TransferRule, client netip.Addr, key dnsname.Name) bool {
	return slices.ContainsFunc(rules, func(rule config.TransferRule) bool { return names(rule, client, key) })
}

// names reports whether a rule names a client that signs with key; what it says of
// TLS is not looked at.
func names(rule config.TransferRule, client netip.Addr, key dnsname.Name) bool {
	return (!rule.Network.IsValid() || rule.Network.Contains(client)) && (rule.Key.IsZero() || rule.Key == key)
}

// identity returns what the server tells about itself under a name of class CH
// (RFC 4892 §2), or nothing.
func (s *Snapshot) identity(name dnsname.Name) string {
	switch name {
	case idServer, hostnameBind:
		return s.Config.DNS.Identity.Name
	case versionServer, versionBind:
		return s.Config.DNS.Identity.Version
	}
	return ""
}

var (
	idServer      = dnsname.MustParse("id.server")
	hostnameBind  = dnsname.MustParse("hostname.bind")
	versionServer = dnsname.MustParse("version.server")
	versionBind   = dnsname.MustParse("version.bind")
)

// decideChaos says who answers a query of class CH: nobody, unless there is
// something that is to be told.
func (s *Snapshot) decideChaos(q *dnswire.Query) plan {
	text := s.identity(q.Name)
	if text == "" {
		return plan{rcode: dnswire.RcodeRefused, ede: dnswire.EDENotSupported, why: "only class IN is served"}
	}
	return plan{identity: text}
}

// addIdentity answers with what is told in class CH. RFC 4892 §2 has TXT with a TTL
// of 0, so that it is not cached; other types are not there.
func addIdentity(q *dnswire.Query, text string, out *dnswire.Builder) {
	out.SetAA(true)
	if q.Type != rdata.TypeTXT && q.Type != rdata.TypeANY {
		return
	}
	var data [256]byte
	data[0] = byte(len(text))
	n := 1 + copy(data[1:], text)
	if !out.Add(dnswire.Answer, q.Name, rdata.TypeTXT, rdata.ClassCH, 0, data[:n]) {
		out.SetTC(true)
	}
}

// addZoneOptions adds what a client has asked to know of the zone itself.
func (n *Node) addZoneOptions(s *Snapshot, z *zone.Zone, q *dnswire.Query, out *dnswire.Builder) {
	if q.EDNS.ZoneVersion {
		out.AddZoneVersion(z.Origin().Labels(), z.Serial())
	}
	if q.Type == rdata.TypeSOA && q.Name == z.Origin() {
		n.addExpire(s, z, q, out)
	}
}

// addExpire adds how long the zone may yet be served, for secondaries that ask with
// SOA, AXFR or IXFR (RFC 7314 §3.2).
func (n *Node) addExpire(s *Snapshot, z *zone.Zone, q *dnswire.Query, out *dnswire.Builder) {
	if q.EDNS.Expire {
		out.AddExpire(n.expireOf(s, z))
	}
}

// expireOf returns for how many seconds a secondary of ours may serve the zone: the
// time that its SOA record says, or, if the zone is a secondary one, the time that is
// left of it (RFC 7314 §3.2).
func (n *Node) expireOf(s *Snapshot, z *zone.Zone) uint32 {
	if a := s.apexes.Get(z.Origin()); a != nil && a.served.IsSecondary() {
		if st, ok := n.secondariesOf(s).State(z.Origin()); ok {
			return uint32(max(0, clock.Until(st.Expires).Seconds()))
		}
	}
	return transfer.ExpireOf(z)
}
