package zone

import (
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// link writes behind each record with a target where the target's addresses are,
// so that an answer need not look for them, and checks the glue.
func (b *Builder) link(z *Zone) {
	wanted := b.wanted[:0]
	for n := range z.Nodes() {
		wanted = z.linkNode(n, wanted)
		b.problems.checkGlue(z, n)
	}
	b.wanted = append(wanted, b.problems.excused...)
	z.targets = newTargetSet(b.wanted)
}

// linkNode writes the links of a node of which nobody else knows yet. It appends
// the targets that are in the zone to wanted, as members of a targetSet, and notes
// whether one has no node.
func (z *Zone) linkNode(n Node, wanted []uint32) []uint32 {
	sets := z.RRsets(n)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		if set.link() == 0 {
			continue
		}
		set.edited = nil
		at := 0
		for range set.Count {
			var wire [dnsname.MaxLen]byte
			data, _, next := set.Record(at)
			target := lowered(&wire, set.TargetName(data))
			found := z.Lookup(target)
			node := z.linkOf(&set, found)
			if set.refersToOwner(target) {
				node = serviceNode(z, n, data)
			}
			binary.LittleEndian.PutUint32(set.body[at+2+len(data):], uint32(node))
			if found.Encloser != 0 {
				z.loose = z.loose || found.Exact == 0
				wanted = append(wanted, member(z.hashOf(target)))
			}
			at = next
		}
	}
	return wanted
}

// linkNow is linkOf for a record in a zone whose links do not all hold.
func (z *Zone) linkNow(s *RRset, data []byte, stored Node) Node {
	var wire [dnsname.MaxLen]byte
	target := lowered(&wire, s.TargetName(data))
	if s.refersToOwner(target) {
		return stored // written when the owner was
	}
	return z.linkOf(s, z.Lookup(target))
}

// linkOf returns the link of a record whose target falls where found says.
func (z *Zone) linkOf(s *RRset, found Found) Node {
	if s.Type == rdata.TypeCNAME {
		return found.Exact
	}
	return addressNode(z, found)
}

// refersToOwner reports whether the target of a record means the record's owner
// (RFC 9460 §2.5).
func (s *RRset) refersToOwner(target dnsname.Name) bool {
	return (s.Type == rdata.TypeSVCB || s.Type == rdata.TypeHTTPS) && target.IsRoot()
}

// lowered returns n in lower case. It lies in wire.
func lowered(wire *[dnsname.MaxLen]byte, n dnsname.Name) dnsname.Name {
	lower := wire[:copy(wire[:], n.Wire())]
	dnsname.Lower(lower)
	return dnsname.View(lower)
}

// serviceNode returns the node with the addresses for SVCB with the target ".",
// which is the record's owner, unless it says that there is no service
// (RFC 9460 §2.5). For a wildcard the owner is known only when it is asked for.
func serviceNode(z *Zone, owner Node, data []byte) Node {
	if priority := binary.BigEndian.Uint16(data); priority == 0 || z.Name(owner).IsWildcard() {
		return 0
	}
	return addressNode(z, z.At(owner))
}

// addressNode returns the node with the addresses of a name, be it by a wildcard
// (RFC 4592 §2.1.1: a wildcard answers for any name, whoever asks).
func addressNode(z *Zone, f Found) Node {
	node := f.Exact
	if node == 0 && f.Cut == 0 && f.DNAME == 0 {
		node = f.Wildcard
	}
	if node == 0 || !givesAddress(z.flags(node)) { // what is steered is asked for, not added
		return 0
	}
	return node
}

// flagOf returns the flag that follows from an RRset of type t at n.
func flagOf(t rdata.Type, n Node) uint8 {
	switch {
	case t == rdata.TypeNS && n != apex:
		return flagCut
	case t == rdata.TypeCNAME:
		return flagCNAME
	case t == rdata.TypeDNAME:
		return flagDNAME
	case t == rdata.TypeA, t == rdata.TypeAAAA:
		return flagAddress
	}
	return 0
}

// targetSet tells which names are certainly no targets: a Bloom filter with two
// bits for each member, of eight. Of names that are none it takes one in twenty
// for one.
type targetSet []uint64

// targetBits is how many bits there are for each member.
const targetBits = 8

// member is what a targetSet keeps of a name in the zone, given its hash.
func member(hash uint64) uint32 { return uint32(hash >> 32) }

// cutMember is what it keeps of a zone cut below which a name server has no address
// in the zone: without the cut that is something to warn of.
func cutMember(hash uint64) uint32 { return uint32(mix(hash, mixB) >> 32) }

func newTargetSet(members []uint32) targetSet {
	if len(members) == 0 {
		return nil
	}
	s := make(targetSet, len(members)*targetBits/64+1)
	for _, m := range members {
		for _, bit := range s.bitsOf(m) {
			s[bit/64] |= 1 << (bit % 64)
		}
	}
	return s
}

func (s targetSet) bitsOf(m uint32) [2]int {
	return [2]int{slotOf(uint64(m)<<32, len(s)*64), slotOf(uint64(m)*mixA, len(s)*64)}
}

// has reports whether m may be a member.
func (s targetSet) has(m uint32) bool {
	if len(s) == 0 {
		return false
	}
	for _, bit := range s.bitsOf(m) {
		if s[bit/64]>>(bit%64)&1 == 0 {
			return false
		}
	}
	return true
}
