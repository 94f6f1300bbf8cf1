package zone

import (
	"slices"

	"fmt"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

func (b *Builder) warn(node *stagedNode, t rdata.Type, format string, args ...any) {
	b.problems.add(Warning, b.stagedName(node), t, format, args...)
}

func (ps *problems) addMalformed(r rdata.Record) {
	ps.add(Fatal, r.Name, r.Type, "RDATA that does not have the form of its type; correct the record")
}

func (b *Builder) stagedName(node *stagedNode) dnsname.Name {
	return dnsname.View(b.names[node.name : node.name+uint32(node.nameLen)])
}

// checkRRset checks the number of records of an RRset of node i.
func (b *Builder) checkRRset(i uint32, t rdata.Type, count int) {
	problem := ""
	switch {
	case t == rdata.TypeSOA && i != 0:
		problem = "an SOA record below the apex; it belongs into a zone of its own"
	case count > 1 && (t == rdata.TypeSOA || t == rdata.TypeCNAME || t == rdata.TypeDNAME):
		// RFC 1035 §5.2, RFC 2181 §10.1, RFC 6672 §2.4.
		problem = fmt.Sprintf("%d records where only one can be; remove all but one", count)
	case count > maxRRset:
		problem = fmt.Sprintf("%d records in one RRset; no more than %d can be served", count, maxRRset)
	}
	if problem != "" {
		b.problems.add(Fatal, b.stagedName(&b.nodes[i]), t, "%s", problem)
	}
}

// checkNode checks what RRsets stand beside each other at node i.
func (b *Builder) checkNode(i uint32) {
	node := &b.nodes[i]
	if node.sets > maxRRsets {
		b.problems.add(Fatal, b.stagedName(node), 0, "%d RRsets at one name; no more than %d can be served", node.sets, maxRRsets)
	}
	if node.flags&flagCNAME != 0 && b.hasBesideCNAME(node) {
		b.problems.add(Fatal, b.stagedName(node), rdata.TypeCNAME, "CNAME and other data at one name (RFC 1034 §3.6.2); remove one of them")
	}
	if node.flags&flagDNAME != 0 && node.flags&flagCut != 0 {
		b.problems.keep(aboutNode, b.stagedName(node), rdata.TypeDNAME, "DNAME beside NS below the apex (RFC 6672 §2.3); the DNAME is not served, for the name is delegated")
	}
}

// hasBesideCNAME reports whether node has records that cannot stand beside a
// CNAME: any but its signatures and its place in the chain (RFC 4034 §2.5, §4).
func (b *Builder) hasBesideCNAME(node *stagedNode) bool {
	for next := node.first; next != 0; next = b.records[next-1].next {
		switch b.records[next-1].rrtype {
		case rdata.TypeCNAME, rdata.TypeRRSIG, rdata.TypeNSEC:
		default:
			return true
		}
	}
	return false
}

// checkApex checks that the zone has what makes it one (RFC 1034 §4.2.1).
func (b *Builder) checkApex() {
	soa, ns := false, false
	for next := b.nodes[0].first; next != 0; next = b.records[next-1].next {
		soa = soa || b.records[next-1].rrtype == rdata.TypeSOA
		ns = ns || b.records[next-1].rrtype == rdata.TypeNS
	}
	if !soa {
		b.problems.add(Fatal, b.origin, rdata.TypeSOA, "the zone has no SOA record at its apex; add one, or correct the zone's name")
	}
	if !ns {
		b.problems.add(Fatal, b.origin, rdata.TypeNS, "the zone has no NS record at its apex; add its name servers")
	}
}

// checkGlue warns of name servers of n inside the zone that have no address. Name
// servers below another cut are that zone's matter.
func (ps *problems) checkGlue(z *Zone, n Node) {
	set, ok := z.RRset(n, rdata.TypeNS)
	if !ok || z.IsOccluded(n) {
		return
	}
	at := 0
	for range set.Count {
		data, node, next := set.Record(at)
		at = next
		if node != 0 {
			continue
		}
		var wire [dnsname.MaxLen]byte
		target := lowered(&wire, set.TargetName(data))
		found := z.Lookup(target)
		if found.Cut != 0 && found.Cut != n {
			ps.excused = append(ps.excused, cutMember(z.hashOf(z.Name(found.Cut))))
			continue
		}
		if found.Encloser == 0 || found.Exact != 0 && z.Steering(found.Exact).Hides(rdata.TypeA) {
			continue
		}
		server := ""
		if ps.counts[Warning] < maxProblems { // a zone may have a million of these
			server = target.String()
		}
		ps.keep(aboutGlue, z.Name(n), rdata.TypeNS, "name server %s has no address in the zone; add A or AAAA records for it", server)
	}
}

// checkSteered warns of a steered name in a signed zone whose signer does not know that
// it is one: so it has no keys here to sign the records with.
func (ps *problems) checkSteered(z *Zone, n Node) {
	if !z.listsSteered(n) {
		ps.keep(aboutNode, z.Name(n), 0, "steered from a pool in a signed zone: its records have no signature, so validating resolvers refuse them; steer a name of an unsigned zone, or have this node sign the zone")
	}
}

// listsSteered reports whether the NSEC or NSEC3 record of n says that it has some of what
// it is answered with from a pool. It may be less than all: with the present answer in the
// zone, that is listed.
func (z *Zone) listsSteered(n Node) bool {
	t, types := z.DenialType(), z.Steering(n).Types()
	if t == rdata.TypeNSEC3 {
		n = z.Matching(z.Hash(z.Name(n)))
	}
	if n == 0 {
		return false
	}
	set, ok := z.RRset(n, t)
	if !ok {
		return false
	}
	data, _, _ := set.Record(0)
	if t == rdata.TypeNSEC {
		_, length, _ := dnsname.FromWire(data) // well formed, as Add has checked
		data = data[length:]
	} else if !isNSEC3Param(data) {
		return false
	} else if at := nsec3Salt + int(data[nsec3SaltLen]); at < len(data) && at+1+int(data[at]) <= len(data) {
		data = data[at+1+int(data[at]):]
	}
	return slices.ContainsFunc(types, func(t rdata.Type) bool { // all are in window 0 (RFC 4034 §4.1.2)
		at := 2 + int(t)/8
		return len(data) > at && data[0] == 0 && 2+int(data[1]) > at && data[at]&(0x80>>(t%8)) != 0
	})
}
