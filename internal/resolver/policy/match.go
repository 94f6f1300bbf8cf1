package policy

import (
	"net/netip"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// A question is looked at in two steps. Before anything is resolved, who asks and the
// name are known; with the answer come aliases, addresses and name servers. What is
// found first in this order applies (draft §5):
//
//	name after name along the aliases > zone by zone > trigger by trigger in it >
//	exact name over wildcard, longer network over shorter

// Before returns the rule that applies to a question for name from client, as far as
// that can be said before it is resolved. wait: there is none, or it is only to be
// followed if the answer meets none of the zones before it; then Response says which.
// Rules of zones that are disabled are given to skipped, if that is not nil.
func (s *Set) Before(client netip.Addr, name dnsname.Name, skipped func(Hit)) (h Hit, wait bool) {
	for i, z := range s.zones {
		if h = z.before(client, name); h.IsZero() {
			continue
		}
		if h.Action == Disabled {
			if skipped != nil {
				skipped(h)
			}
			h = Hit{}
			continue
		}
		return h, i > s.response
	}
	return Hit{}, s.response < len(s.zones)
}

// before looks at who asks, which does not count where client is not valid, and at
// the name.
func (z *Zone) before(client netip.Addr, name dnsname.Name) Hit {
	if client.IsValid() {
		if n, _ := z.nets[ClientIP].find(client); n != 0 {
			return z.hit(ClientIP, n)
		}
	}
	if z.names && !isFolder(name, dnsname.Root) {
		if n := z.lookup(name, ""); n != 0 {
			return z.hit(QName, n)
		}
	}
	return Hit{}
}

// Servers are the name servers of the zones above a name.
type Servers interface {
	// Each calls yield with the name and the known addresses of each until it returns
	// false.
	Each(yield func(name dnsname.Name, addrs []netip.Addr) bool)
}

// Response returns the rule that applies at one name of the way from a question to its
// answer: client is valid at the question's own name only, addrs are those in the
// answer if name is where the aliases end, and servers, which may be nil, are those of
// the zones above name.
func (s *Set) Response(client netip.Addr, name dnsname.Name, addrs []netip.Addr, servers Servers, skipped func(Hit)) Hit {
	for _, z := range s.zones {
		h := z.before(client, name)
		if h.IsZero() {
			h = z.response(addrs)
		}
		if h.IsZero() && servers != nil && z.looksAtServers() {
			h = z.byServers(servers)
		}
		switch {
		case h.IsZero():
		case h.Action == Disabled:
			if skipped != nil {
				skipped(h)
			}
		default:
			return h
		}
	}
	return Hit{}
}

// response looks at the addresses of an answer; the longest network counts (draft
// §5.5).
func (z *Zone) response(addrs []netip.Addr) Hit {
	nets := &z.nets[ResponseIP]
	if nets.isEmpty() {
		return Hit{}
	}
	var best longest
	best.consider(nets, addrs)
	return z.hit(ResponseIP, best.node)
}

// byServers looks at name servers: at their names first, of which the first in
// canonical order counts, then at their addresses (draft §5.3 and §5.4).
func (z *Zone) byServers(servers Servers) Hit {
	if z.servers {
		var best zone.Node
		var first dnsname.Name
		servers.Each(func(name dnsname.Name, _ []netip.Addr) bool {
			if n := z.lookup(name, folders[NSDName]); n != 0 && (best == 0 || name.Compare(first) < 0) {
				best, first = n, name
			}
			return true
		})
		if best != 0 {
			return z.hit(NSDName, best)
		}
	}
	var best longest
	if nets := &z.nets[NSIP]; !nets.isEmpty() {
		servers.Each(func(_ dnsname.Name, addrs []netip.Addr) bool {
			best.consider(nets, addrs)
			return true
		})
	}
	return z.hit(NSIP, best.node)
}

// longest is the rule with the longest network so far; of several as long, that of the
// smallest address (draft §5.6).
type longest struct {
	node zone.Node
	bits int
	addr netip.Addr
}

func (l *longest) consider(nets *networks, addrs []netip.Addr) {
	for _, a := range addrs {
		if n, bits := nets.find(a); bits > l.bits || n != 0 && bits == l.bits && a.Less(l.addr) {
			*l = longest{n, bits, a}
		}
	}
}

// lookup returns the node of the rule for name among the names below a folder, or
// among those right below the apex if folder is empty. Wildcards are those of RFC
// 4592: what exists below a name keeps the wildcards above away.
func (z *Zone) lookup(name dnsname.Name, folder string) zone.Node {
	if name.IsRoot() {
		return 0
	}
	var room [2 * dnsname.MaxLen]byte
	rest := z.zone.Origin().Len()
	if folder != "" {
		rest += 1 + len(folder)
	}
	wire := append(room[:0], name.Wire()[:name.Len()-1]...)
	// A name too long to be the owner of a rule may still be below a wildcard: what
	// does not fit is left out, and a label that no rule has is put there.
	if len(wire)+rest > dnsname.MaxLen {
		cut := 0
		for len(wire)-cut+2+rest > dnsname.MaxLen {
			cut += 1 + int(wire[cut])
		}
		wire = wire[cut-2:]
		wire[0], wire[1] = 1, 0
	}
	if folder != "" {
		wire = append(append(wire, byte(len(folder))), folder...)
	}
	wire = append(wire, z.zone.Origin().Wire()...)
	f := z.zone.Lookup(dnsname.View(wire))
	for _, n := range [...]zone.Node{f.Exact, f.Wildcard} {
		if n != 0 && z.zone.HasData(n) {
			return n
		}
	}
	return 0
}

// hit makes a Hit of the rule at n; the zero Hit if there is none.
func (z *Zone) hit(t Trigger, n zone.Node) Hit {
	if n == 0 {
		return Hit{}
	}
	h := Hit{Zone: z, Trigger: t, Action: z.Override, node: n}
	if h.Action == Given {
		h.Action = z.actionOf(n)
	}
	return h
}

// Targets of CNAME records that stand for actions (draft §3).
var (
	noData   = dnsname.MustParse("*.")
	passthru = dnsname.MustParse("rpz-passthru.")
	drop     = dnsname.MustParse("rpz-drop.")
	tcpOnly  = dnsname.MustParse("rpz-tcp-only.")
)

// actionOf reads the records of a rule.
func (z *Zone) actionOf(n zone.Node) Action {
	set, ok := z.zone.RRset(n, rdata.TypeCNAME)
	if !ok {
		return Local
	}
	data, _, _ := set.Record(0)
	var room [dnsname.MaxLen]byte
	wire := append(room[:0], data...)
	dnsname.Lower(wire)
	switch target := dnsname.View(wire); {
	case target.IsRoot():
		return NXDomain
	case target == noData:
		return NoData
	case target == passthru, z.isOwner(n, target): // the latter is how it was once written (draft §3.2)
		return Passthru
	case target == drop:
		return Drop
	case target == tcpOnly:
		return TCPOnly
	}
	return Alias
}

// isOwner reports whether target is the name that the rule at n is about.
func (z *Zone) isOwner(n zone.Node, target dnsname.Name) bool {
	owner := z.zone.Name(n).Wire()
	return owner[:len(owner)-z.zone.Origin().Len()] == target.Wire()[:target.Len()-1]
}

// Target returns to which name an Alias leads from name: the rule's target, in which
// name takes the place of an asterisk (draft §3.6).
func (h Hit) Target(name dnsname.Name) (dnsname.Name, error) {
	target := h.Zone.CNAME
	if h.Zone.Override != Alias {
		set, _ := h.Zone.zone.RRset(h.node, rdata.TypeCNAME)
		data, _, _ := set.Record(0)
		var err error
		if target, _, err = dnsname.FromWire(data); err != nil {
			return target, err
		}
	}
	if !target.IsWildcard() {
		return target, nil
	}
	return name.ReplaceSuffix(dnsname.Root, target.Parent())
}

// TTL returns the time to live of an Alias.
func (h Hit) TTL() rdata.TTL {
	if h.Zone.Override != Alias {
		if set, ok := h.Zone.zone.RRset(h.node, rdata.TypeCNAME); ok {
			return set.TTL
		}
	}
	return h.Zone.zone.NegativeTTL()
}

// Each calls add with the records of type t, or all if t is ANY, of a rule with local
// data, until it returns false. RDATA looks at the zone's memory.
func (h Hit) Each(t rdata.Type, add func(t rdata.Type, ttl rdata.TTL, data []byte) bool) {
	sets := h.Zone.zone.RRsets(h.node)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		// What signs the policy zone does not sign what is made of it.
		if set.Type != t && t != rdata.TypeANY || set.Type == rdata.TypeRRSIG || set.Type == rdata.TypeNSEC {
			continue
		}
		at := 0
		for range set.Count {
			var data []byte
			if data, _, at = set.Record(at); !add(set.Type, set.TTL, data) {
				return
			}
		}
	}
}

// SOA returns the SOA record of the zone, which tells clients whose rule it was (draft
// §6). It looks at the zone's memory.
func (z *Zone) SOA() (rdata.Record, bool) {
	set, ok := z.zone.RRset(z.zone.Apex(), rdata.TypeSOA)
	if !ok {
		return rdata.Record{}, false
	}
	data, _, _ := set.Record(0)
	return rdata.Record{Name: z.zone.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: z.zone.NegativeTTL(), Data: data}, true
}

// What follows is for local data, which is no policy zone but answers like one.

// Exact returns the rule with local data at name itself; the zero Hit if there is none.
func (z *Zone) Exact(name dnsname.Name) Hit {
	n := z.zone.Lookup(name).Exact
	if n == 0 || !z.zone.HasData(n) {
		return Hit{}
	}
	h := Hit{Zone: z, Trigger: QName, Action: Local, node: n}
	if z.zone.HasCNAME(n) {
		h.Action = Alias
	}
	return h
}

// Exists reports whether name, or one below it, has data.
func (z *Zone) Exists(name dnsname.Name) bool { return z.zone.Lookup(name).Exact != 0 }

// Outcome returns a Hit that says a and has no records.
func (z *Zone) Outcome(a Action) Hit {
	return Hit{Zone: z, Trigger: QName, Action: a, node: z.zone.Apex()}
}

// Has reports whether a rule has an answer to a question for type t.
func (h Hit) Has(t rdata.Type) bool {
	if h.Action == Alias || t == rdata.TypeANY {
		return true
	}
	_, ok := h.Zone.zone.RRset(h.node, t)
	return ok
}
