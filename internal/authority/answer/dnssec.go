package answer

import (
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is what a signed zone adds to its answers for a client that asks for
// DNSSEC (RFC 4035 §3.1): signatures beside every RRset, DS at referrals, and the
// NSEC or NSEC3 records that prove what does not exist. All of it is in the zone
// already; nothing is signed here.

// maxProofs is how many denying records an answer can need: one for each name of
// an alias chain that a wildcard answered for, and at its end four (RFC 5155
// §7.2.5: the closest encloser, the next closer name, the wildcard; or DS).
const maxProofs = maxAliases + 1 + 4

// proofs are the nodes whose NSEC or NSEC3 records the authority section must
// have, in the order in which the need was found, each once.
type proofs struct {
	nodes [maxProofs]zone.Node
	count int
	added int // how many of them are in the message
}

// need notes a node; 0 is none: the zone's chain is incomplete, and what it has
// is all that can be given.
func (p *proofs) need(n zone.Node) {
	for _, other := range p.nodes[:p.count] {
		if other == n {
			return
		}
	}
	if n != 0 && p.count < len(p.nodes) {
		p.nodes[p.count] = n
		p.count++
	}
}

// answerSigned is Into with proofs, which live in its stack frame.
func answerSigned(outcome *Outcome, o *Options, q *dnswire.Query, z *zone.Zone, rotation uint32, out *dnswire.Builder) {
	var p proofs
	r := response{q: q, z: z, out: out, rotation: rotation, proofs: &p, Options: o, outcome: outcome}
	r.run()
}

// addProofs adds the denying records that are needed and not in the message yet.
// RFC 4035 §3.1.3: they are required, as what they prove is.
func (r *response) addProofs() {
	if r.proofs == nil {
		return
	}
	for p := r.proofs; p.added < p.count; p.added++ {
		node := p.nodes[p.added]
		set, ok := r.z.RRset(node, r.z.DenialType())
		switch {
		case !ok:
		case set.Type == rdata.TypeNSEC3 && set.Count == 1 && !r.z.Origin().IsRoot():
			if !r.addHashed(r.z.Name(node), &set) {
				r.outcome.Truncated = true
				return
			}
		case !r.require(dnswire.Authority, r.z.Name(node), &set):
			return
		}
	}
}

// addHashed is addSigned for the NSEC3 record of set. Its owner has one label more
// than the origin, which stands in the question, so it needs no search.
func (r *response) addHashed(owner dnsname.Name, set *zone.RRset) bool {
	mark, start := r.out.Mark(), r.out.Len()
	originLen := r.z.Origin().Len()
	data, _, _ := set.Record(0)
	record := rdata.Record{Name: owner, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: data}
	if !r.out.AddBelow(dnswire.Authority, record, originLen, dnswire.HeaderLen+r.q.Name.Len()-originLen) ||
		!r.addSignatures(dnswire.Authority, owner, start, set) {
		r.out.Rollback(mark)
		return false
	}
	return true
}

// addSigned is addPointed with the signatures: all of it or nothing.
func (r *response) addSigned(s dnswire.Section, owner dnsname.Name, ownerAt int, set *zone.RRset) bool {
	mark, start := r.out.Mark(), r.out.Len()
	if !r.addRecords(s, owner, ownerAt, set) {
		return false
	}
	if !dnswire.CanPointTo(ownerAt) {
		ownerAt = start
	}
	if !r.addSignatures(s, owner, ownerAt, set) {
		r.out.Rollback(mark)
		return false
	}
	return true
}

// addSignatures adds the RRSIG records of the RRset added last, or reports that
// they do not fit (RFC 4035 §3.1.1). owner and ownerAt are those of the RRset.
func (r *response) addSignatures(s dnswire.Section, owner dnsname.Name, ownerAt int, set *zone.RRset) bool {
	signatures, ok := set.Signatures()
	if !ok && r.isCompact() {
		return r.signStored(s, owner, ownerAt, set)
	}
	if !ok { // of another zone's data: NS at a cut, glue (RFC 4035 §2.2)
		return true
	}
	at := 0
	for range signatures.Count {
		var data []byte
		data, _, at = signatures.Record(at)
		if dnswire.CanPointTo(ownerAt) {
			ok = r.out.AddPointed(s, ownerAt, rdata.TypeRRSIG, rdata.ClassIN, signatures.TTL, data)
		} else {
			ok = r.out.Add(s, owner, rdata.TypeRRSIG, rdata.ClassIN, signatures.TTL, data)
		}
		if !ok {
			return false
		}
	}
	return true
}

// addDenialSignatures adds the RRSIG records of the SOA record of a denial, whose
// owner stands at originAt.
func (r *response) addDenialSignatures(originAt int) bool {
	if r.isCompact() {
		return r.signDenialSOA(originAt)
	}
	signatures := r.z.DenialSignatures()
	at := 0
	for range signatures.Count {
		var data []byte
		data, _, at = signatures.Record(at)
		if !r.out.AddPointed(dnswire.Authority, originAt, rdata.TypeRRSIG, rdata.ClassIN, signatures.TTL, data) {
			return false
		}
	}
	return true
}

// addDelegationSecurity says in a referral whether the zone below cut is signed:
// its DS records, or the proof that there are none (RFC 4035 §3.1.4, RFC 5155
// §7.2.7).
func (r *response) addDelegationSecurity(cut zone.Node) {
	if set, ok := r.z.RRset(cut, rdata.TypeDS); ok {
		if !r.require(dnswire.Authority, r.z.Name(cut), &set) {
			return
		}
	} else {
		r.proveNode(cut)
	}
	r.addProofs()
}

// proveNoName proves that name, which fell to found, does not exist, nor a
// wildcard that would answer for it.
func (r *response) proveNoName(name dnsname.Name, found *zone.Found) {
	if r.isCompact() {
		r.denyLive(name, 0, 0)
		return
	}
	encloser := r.z.Name(found.Encloser)
	var wire [dnsname.MaxLen]byte
	switch r.z.DenialType() {
	case rdata.TypeNSEC: // RFC 4035 §3.1.3.2
		r.proofs.need(r.z.Denying(name))
		r.proofs.need(r.z.DenyingWildcard(found.Encloser))
	case rdata.TypeNSEC3: // RFC 5155 §7.2.2
		if encloser = r.proveEncloser(name, encloser); encloser == r.z.Origin() {
			r.proofs.need(r.z.CoveringWildcard())
			return
		}
		r.proofs.need(r.z.Covering(r.z.Hash(wildcardOf(encloser, &wire))))
	}
}

// proveNoType proves that name, which fell to found, exists without the type
// asked for, or that the wildcard that answers for it does not have the type.
func (r *response) proveNoType(name dnsname.Name, found *zone.Found) {
	if r.Live != nil && r.proveLive(name, found) {
		return
	}
	if found.Exact != 0 {
		r.proveNode(found.Exact)
		return
	}
	// The next closer name was disproved when the wildcard was met.
	switch r.z.DenialType() {
	case rdata.TypeNSEC: // RFC 4035 §3.1.3.4
		r.proveNode(found.Wildcard)
	case rdata.TypeNSEC3: // RFC 5155 §7.2.5
		r.proveEncloser(name, r.z.Name(found.Encloser))
		r.proofs.need(r.z.Matching(r.z.Hash(r.z.Name(found.Wildcard))))
	}
}

// proveLive is proveNoType with a record made for the question: in a compact zone, and
// for what a steered name has no address of now.
func (r *response) proveLive(name dnsname.Name, found *zone.Found) bool {
	node := found.Exact
	if node == 0 {
		node = found.Wildcard
	}
	switch steered := r.z.Steering(node).Takes(r.q.Type); {
	case r.isCompact(), steered && r.z.DenialType() == rdata.TypeNSEC:
		r.denyLive(name, node, r.q.Type)
	case steered && r.z.DenialType() == rdata.TypeNSEC3:
		r.denyLiveHashed(node, r.q.Type)
	default:
		return false
	}
	return true
}

// proveNode proves which types node has.
func (r *response) proveNode(node zone.Node) {
	if r.isCompact() {
		r.denyLive(r.z.Name(node), node, 0)
		return
	}
	name := r.z.Name(node)
	switch r.z.DenialType() {
	case rdata.TypeNSEC:
		// RFC 4035 §3.1.3.1. An empty non-terminal has no NSEC record: the one that
		// covers it proves by its next name that it is one.
		if _, ok := r.z.RRset(node, rdata.TypeNSEC); ok {
			r.proofs.need(node)
		} else {
			r.proofs.need(r.z.Denying(name))
		}
	case rdata.TypeNSEC3:
		// RFC 5155 §7.2.3 and §7.2.4. Only a delegation without DS, or an empty
		// non-terminal above such, may have no NSEC3 record, by opt-out.
		matching, covering, ok := r.z.Insecurity(node)
		if !ok {
			r.proveEncloser(name, name)
			return
		}
		r.proofs.need(matching)
		r.proofs.need(covering)
	}
}

// proveExpansion proves that the wildcard which answers for name may do so,
// because no closer match exists.
func (r *response) proveExpansion(name dnsname.Name, found *zone.Found) {
	if r.isCompact() {
		return // the name is signed as if it stood in the zone
	}
	switch r.z.DenialType() {
	case rdata.TypeNSEC: // RFC 4035 §3.1.3.3
		r.proofs.need(r.z.Denying(name))
	case rdata.TypeNSEC3: // RFC 5155 §7.2.6
		r.proofs.need(r.z.Covering(r.z.Hash(nextCloser(name, r.z.Name(found.Encloser)))))
	}
}

// proveEncloser is the closest encloser proof of RFC 5155 §7.2.1: the NSEC3 record
// that matches the closest provable encloser of name, at or above the node
// encloser, and the one that covers the next closer name, unless that encloser is
// name itself. It returns that encloser.
func (r *response) proveEncloser(name, encloser dnsname.Name) dnsname.Name {
	var below zone.Hash // of the name below encloser, if one was hashed
	var node zone.Node
	hashed := false
	for ; encloser != r.z.Origin(); encloser = encloser.Parent() {
		h := r.z.Hash(encloser)
		if node = r.z.Matching(h); node != 0 {
			break
		}
		below, hashed = h, true
	}
	if node == 0 {
		node = r.z.MatchingOrigin()
	}
	r.proofs.need(node)
	if encloser == name {
		return encloser
	}
	if !hashed {
		below = r.z.Hash(nextCloser(name, encloser))
	}
	r.proofs.need(r.z.Covering(below))
	return encloser
}

// nextCloser returns the ancestor of name, or name itself, that has one label
// more than encloser, which is above it.
func nextCloser(name, encloser dnsname.Name) dnsname.Name {
	for {
		parent := name.Parent()
		if parent.Len() <= encloser.Len() {
			return name
		}
		name = parent
	}
}

// wildcardOf returns the wildcard below encloser, which has room for one: a name
// longer by two octets or more was asked for. The name is in the memory of wire.
func wildcardOf(encloser dnsname.Name, wire *[dnsname.MaxLen]byte) dnsname.Name {
	wire[0], wire[1] = 1, '*'
	return dnsname.View(wire[:2+copy(wire[2:], encloser.Wire())])
}
