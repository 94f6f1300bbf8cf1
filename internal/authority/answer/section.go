package answer

import (
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// require adds a whole RRset that the answer must have. If it does not fit, none
// of it is added, the answer is marked as truncated (RFC 2181 §9), and require
// reports false.
func (r *response) require(s dnswire.Section, owner dnsname.Name, set *zone.RRset) bool {
	if !r.add(s, owner, set) {
		r.outcome.Truncated = true
		return false
	}
	return true
}

// add adds a whole RRset, rotated, or nothing of it and reports false.
func (r *response) add(s dnswire.Section, owner dnsname.Name, set *zone.RRset) bool {
	ownerAt := 0
	if r.q.Name.IsSubdomainOf(owner) {
		ownerAt = dnswire.HeaderLen + r.q.Name.Len() - owner.Len() // in the question
	}
	return r.addPointed(s, owner, ownerAt, set)
}

// addPointed is add for an owner that stands at the offset ownerAt of the message;
// 0 if that is not known.
func (r *response) addPointed(s dnswire.Section, owner dnsname.Name, ownerAt int, set *zone.RRset) bool {
	if r.proofs != nil {
		return r.addSigned(s, owner, ownerAt, set)
	}
	return r.addRecords(s, owner, ownerAt, set)
}

// addRecords is addPointed for the records alone. It notes where their targets
// stand.
func (r *response) addRecords(s dnswire.Section, owner dnsname.Name, ownerAt int, set *zone.RRset) bool {
	mark := r.out.Mark()
	at := set.Start(r.rotation)
	for i := range set.Count {
		data, _, next := set.Record(at)
		start, target, ok := r.out.Len(), 0, false
		if dnswire.CanPointTo(ownerAt) {
			ok = r.out.AddPointed(s, ownerAt, set.Type, rdata.ClassIN, set.TTL, data)
			if at := start + pointedHeader; dnswire.CanPointTo(at) {
				target = at
			}
		} else {
			ok = r.out.Add(s, owner, set.Type, rdata.ClassIN, set.TTL, data)
			ownerAt = start
		}
		if !ok {
			r.out.Rollback(mark)
			return false
		}
		if set.HasTargets() && i < len(r.targets) {
			r.targets[i] = uint16(target)
		}
		at = next
	}
	return true
}

// pointedHeader is the length of a record before its RDATA, when its owner is a
// pointer.
const pointedHeader = 2 + 10

// refer refers the client to the zone below cut: its NS records, and addresses
// of its name servers (RFC 1034 §4.3.2 step 3b).
func (r *response) refer(cut zone.Node) {
	r.outcome.Kind = Referral
	set, _ := r.z.RRset(cut, rdata.TypeNS)
	if !r.require(dnswire.Authority, r.z.Name(cut), &set) {
		return
	}
	if r.proofs != nil {
		r.addDelegationSecurity(cut)
	}
	// RFC 9471 §3.1: all glue for in-domain name servers, or TC. The zone's other
	// addresses of name servers come after it, as far as there is room (§3.2).
	if others := r.addGlue(cut, &set); others > 0 {
		r.addOtherAddresses(cut, &set)
	}
}

// addGlue adds the addresses of name servers below cut, all of which are
// required, and returns how many other name servers have addresses in the zone.
func (r *response) addGlue(cut zone.Node, set *zone.RRset) (others int) {
	at := set.Start(r.rotation)
	for i := range set.Count {
		data, node, next := set.Record(at)
		switch {
		case node == 0:
		case r.z.At(node).Cut != cut:
			others++
		case !r.addAddresses(set, i, data, node):
			r.outcome.Truncated = true
		}
		at = next
	}
	return others
}

// addOtherAddresses adds the addresses of name servers that are not below cut.
func (r *response) addOtherAddresses(cut zone.Node, set *zone.RRset) {
	at := set.Start(r.rotation)
	for i := range set.Count {
		data, node, next := set.Record(at)
		if node != 0 && r.z.At(node).Cut != cut && !r.addAddresses(set, i, data, node) {
			return
		}
		at = next
	}
}

// maxTargets is for how many records of an RRset in the answer section addresses
// are added; for the others the client asks. More would hardly fit in a message,
// and the number bounds the search for repeated targets.
const maxTargets = 32

// addTargets adds the addresses of the targets of an RRset in the answer section
// (RFC 1035 §3.3, RFC 2782, RFC 9460 §4.1), each once, as far as there is room.
func (r *response) addTargets(set *zone.RRset) {
	if !set.HasTargets() || r.Minimal {
		return
	}
	if r.addTargetAddresses(set, 0) && isService(set.Type) {
		in := services{nodes: [1 + maxServiceAliases]zone.Node{r.outcome.Last.Exact}, count: 1}
		r.addAliasTargets(*set, &in)
	}
}

// addTargetAddresses does so for the RRset added last, and reports whether they all
// fitted. Those of the node known are in the message already.
func (r *response) addTargetAddresses(set *zone.RRset, known zone.Node) bool {
	var seen [maxTargets]dnsname.Name
	at := set.Start(r.rotation)
	for i := range min(set.Count, maxTargets) {
		data, node, next := set.Record(at)
		at = next
		if node == 0 || node == known {
			continue
		}
		seen[i] = r.targetName(set, data, node)
		if !contains(seen[:i], seen[i]) && !r.addAddresses(set, i, data, node) {
			return false
		}
	}
	return true
}

func isService(t rdata.Type) bool { return t == rdata.TypeSVCB || t == rdata.TypeHTTPS }

// maxServiceAliases is how many AliasMode records are followed for one answer: enough
// for a zone that means well, as clients may give up sooner (RFC 9460 §3).
const maxServiceAliases = 4

// services are the nodes whose service bindings are in the message.
type services struct {
	nodes [1 + maxServiceAliases]zone.Node
	count int
}

// enter adds n, if it is new and there is room.
func (s *services) enter(n zone.Node) bool {
	for _, other := range s.nodes[:s.count] {
		if other == n {
			return false
		}
	}
	if s.count == len(s.nodes) {
		return false
	}
	s.nodes[s.count] = n
	s.count++
	return true
}

// addAliasTargets adds, for the AliasMode records of an RRset of service bindings,
// the RRset of the same type that their targets have, and what that needs in turn
// (RFC 9460 §4.1), as far as there is room. in is what the message has.
func (r *response) addAliasTargets(set zone.RRset, in *services) {
	at := set.Start(r.rotation)
	for range min(set.Count, maxTargets) {
		data, addresses, next := set.Record(at)
		at = next
		node, ok := r.aliasTarget(data)
		if !ok {
			continue
		}
		bindings, ok := r.z.RRset(node, set.Type)
		if !ok || !in.enter(node) {
			continue
		}
		if addresses == 0 {
			addresses = node // which has none
		}
		if !r.add(dnswire.Additional, r.z.Name(node), &bindings) || !r.addTargetAddresses(&bindings, addresses) {
			return
		}
		r.addAliasTargets(bindings, in)
	}
}

// aliasTarget returns the node of the target of an AliasMode record, which has
// priority 0 (RFC 9460 §2.4.2), if it is data of this zone. The target "." is no
// service (§2.5.1).
func (r *response) aliasTarget(data []byte) (zone.Node, bool) {
	if data[0] != 0 || data[1] != 0 || data[2] == 0 {
		return 0, false
	}
	var wire [dnsname.MaxLen]byte
	target := wire[:copy(wire[:], data[2:])]
	dnsname.Lower(target)
	found := r.z.Lookup(dnsname.View(target))
	return found.Exact, found.Exact != 0 && found.Cut == 0
}

func contains(names []dnsname.Name, name dnsname.Name) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// addAddresses adds the address records of the target of the i-th record of the
// RRset added last, which are those of node. It reports whether they all fitted.
func (r *response) addAddresses(set *zone.RRset, i int, data []byte, node zone.Node) bool {
	owner, ownerAt := r.targetName(set, data, node), 0
	if r.proofs != nil && r.z.Name(node).IsWildcard() && owner.Len() != r.z.Name(node).Len() {
		// A client that asks for DNSSEC could not use an expansion without its proof,
		// which belongs into the authority section (RFC 4035 §3.1.3.3), before this one.
		return true
	}
	// A target of another length is the "." of SVCB, which means the record's owner.
	if i < len(r.targets) && r.targets[i] != 0 && set.TargetName(data).Len() == owner.Len() {
		ownerAt = int(r.targets[i]) + set.TargetOffset()
	}
	sets := r.z.RRsets(node)
	for addresses, ok := sets.Next(); ok && (addresses.Type <= rdata.TypeAAAA || addresses.Type == rdata.TypeRRSIG); addresses, ok = sets.Next() {
		if addresses.Type != rdata.TypeA && addresses.Type != rdata.TypeAAAA {
			continue
		}
		if !r.addPointed(dnswire.Additional, owner, ownerAt, &addresses) {
			return false
		}
	}
	return true
}

// targetName returns the name of the target of a record, the addresses of which
// are those of node: the node's own, or one that a wildcard answers for.
func (r *response) targetName(set *zone.RRset, data []byte, node zone.Node) dnsname.Name {
	if name := r.z.Name(node); !name.IsWildcard() {
		return name
	}
	return set.TargetName(data)
}
