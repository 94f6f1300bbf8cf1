package zone

import (
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file is about zone cuts without DS records in a zone with NSEC3 records, of
// which a top level domain has millions. A referral to one has to prove that there are
// none (RFC 5155 §7.2.7): which record does is found by hashing the cut's name, when
// the zone is built and not for each answer.
//
// The node of that record is noted in the cut, in the place of the wildcard, which a
// zone cut has no use for: nothing is answered from below it. An edit leaves the note
// of a cut that it does not write anew. The note still holds then as long as the NSEC3
// record that it names was not written anew either: a name that came into, or went
// from, the span of hashes that the record covers would have changed it.

// Insecurity returns the nodes of the NSEC3 records that prove that a zone cut has no
// DS records: the one that matches it; or the one that matches the zone's origin, which
// then is the closest provable encloser, and the one that covers the cut (RFC 5155
// §7.2.1 and §6). ok is false where that has to be found by hashing.
func (z *Zone) Insecurity(cut Node) (matching, covering Node, ok bool) {
	memory, at := z.place(cut)
	flags := memory[at+nodeFlags]
	if flags&flagCut == 0 {
		return 0, 0, false
	}
	proof := Node(binary.LittleEndian.Uint32(memory[at+nodeWildcard:]))
	switch {
	case proof == 0 || z.over != nil && z.over.isMoved(proof):
		return 0, 0, false
	case flags&flagOptOut != 0:
		return z.nsec3.apex, proof, true
	}
	return proof, 0, true
}

// noteInsecure notes in every zone cut without DS records of a zone that was just built
// which NSEC3 record proves that.
func (b *Builder) noteInsecure(z *Zone, order []uint32) {
	if z.nsec3.count == 0 {
		return
	}
	for _, i := range order {
		if b.nodes[i].flags&flagCut == 0 {
			continue
		}
		at := int(b.nodes[i].node) * nodeUnit
		proof, flag := z.insecurityOf(b.nodes[i].node)
		binary.LittleEndian.PutUint32(z.arena[at+nodeWildcard:], uint32(proof))
		z.arena[at+nodeFlags] |= flag
	}
}

// insecurityOf returns what is noted of a zone cut, and with which flag.
func (z *Zone) insecurityOf(cut Node) (proof Node, flag byte) {
	if z.cover(cut) != cut {
		return 0, 0 // below another: nobody is referred to it
	}
	if _, secure := z.RRset(cut, rdata.TypeDS); secure {
		return 0, 0
	}
	name := z.Name(cut)
	h := z.Hash(name)
	switch matching := z.Matching(h); {
	case matching != 0:
		return matching, 0
	case name.Parent() == z.origin:
		return z.Covering(h), flagOptOut
	}
	return 0, 0 // by opt-out, below a name that may have an NSEC3 record or not
}

// anchor finds the NSEC3 records that many answers need. It reports whether there is one
// for the origin, without which there is no chain.
func (x *nsec3Index) anchor(z *Zone) bool {
	var wire [dnsname.MaxLen]byte
	x.apex, x.star = z.Matching(z.Hash(z.origin)), 0
	if z.origin.Len()+2 <= dnsname.MaxLen {
		wire[0], wire[1] = 1, '*'
		x.star = z.Covering(z.Hash(dnsname.View(wire[:2+copy(wire[2:], z.origin.Wire())])))
	}
	return x.apex != 0
}

// MatchingOrigin is Matching for the zone's origin.
func (z *Zone) MatchingOrigin() Node { return z.nsec3.apex }

// CoveringWildcard is Covering for the wildcard below the zone's origin.
func (z *Zone) CoveringWildcard() Node { return z.nsec3.star }
