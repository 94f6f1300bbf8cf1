package sign

import (
	"encoding/base32"
	"strings"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// bitmapAt returns the type bit maps of the record of n in the chain.
func (s *signing) bitmapAt(n zone.Node, content []rdata.RRset) []byte {
	var room [64]rdata.Type
	return rdata.AppendBitmap(make([]byte, 0, 16), s.typesAt(n, content, room[:0]))
}

// typesAt appends the types that the record of n in the chain lists, in ascending
// order, for the RRsets content of n (RFC 4034 §4.1.2, RFC 5155 §3.2.1).
func (s *signing) typesAt(n zone.Node, content []rdata.RRset, types []rdata.Type) []rdata.Type {
	cut, plain := s.z.IsCut(n), s.p.NSEC3 == nil
	signed := plain // NSEC is itself signed; NSEC3 has another owner
	add := func(t rdata.Type) {
		if cut && t != rdata.TypeNS && t != rdata.TypeDS {
			return // RFC 4035 §2.3: what else is there is the child's
		}
		signed = signed || !cut || t == rdata.TypeDS
		types = append(types, t)
	}
	steering := s.z.Steering(n)
	if s.p.Exported { // a server that denies what its own chain lists is bogus to a validator
		steering = zone.NotSteered
	}
	missing := steering.Types()
	for _, set := range content {
		if steering.Hides(set.Type) {
			continue
		}
		for len(missing) > 0 && missing[0] < set.Type {
			add(missing[0])
			missing = missing[1:]
		}
		add(set.Type)
	}
	for _, t := range missing {
		add(t)
	}
	if signed {
		types = insertType(types, rdata.TypeRRSIG)
	}
	if plain {
		types = insertType(types, rdata.TypeNSEC)
	}
	return types
}

// insertType inserts t into ascending types.
func insertType(types []rdata.Type, t rdata.Type) []rdata.Type {
	types = append(types, t)
	for i := len(types) - 1; i > 0 && types[i-1] > t; i-- {
		types[i-1], types[i] = types[i], types[i-1]
	}
	return types
}

// nsec returns the NSEC RRset of a name (RFC 4034 §4).
func (s *signing) nsec(owner, next dnsname.Name, bitmap []byte) rdata.RRset {
	data := append(next.AppendWire(make([]byte, 0, next.Len()+len(bitmap))), bitmap...)
	return rdata.RRset{Name: owner, Type: rdata.TypeNSEC, Class: rdata.ClassIN, TTL: s.denialTTL, Data: [][]byte{data}}
}

// hashed is a name's place in a chain of NSEC3 records.
type hashed struct {
	hash [hashLen]byte
	node zone.Node
}

const hashLen = 20 // octets of SHA-1

var base32hex = base32.HexEncoding.WithPadding(base32.NoPadding)

func (s *signing) hash(n dnsname.Name) (h [hashLen]byte) {
	copy(h[:], dnssec.HashName(n, s.p.NSEC3.Salt, int(s.p.NSEC3.Iterations)))
	return h
}

// hashOf returns the hash that the name of an NSEC3 record spells.
func hashOf(n, origin dnsname.Name) (h [hashLen]byte, ok bool) {
	if len(n.Label()) != zone.HashLen || n.Parent() != origin {
		return h, false
	}
	octets, err := base32hex.DecodeString(strings.ToUpper(n.Label()))
	return [hashLen]byte(append(octets, make([]byte, hashLen)...)), err == nil
}

// label returns a hash as the leftmost label of an owner (RFC 5155 §3.3).
func label(h [hashLen]byte) string { return strings.ToLower(base32hex.EncodeToString(h[:])) }

// nsec3 returns the NSEC3 RRset of a hash (RFC 5155 §3).
func (s *signing) nsec3(owner, next [hashLen]byte, bitmap []byte) (rdata.RRset, error) {
	name, err := s.origin.Child(label(owner))
	if err != nil {
		return rdata.RRset{}, err
	}
	flags := byte(0)
	if s.p.NSEC3.OptOut {
		flags = 1
	}
	data := s.p.NSEC3.append(make([]byte, 0, 26+len(s.p.NSEC3.Salt)+len(bitmap)), flags)
	data = append(append(append(data, hashLen), next[:]...), bitmap...)
	return rdata.RRset{Name: name, Type: rdata.TypeNSEC3, Class: rdata.ClassIN, TTL: s.denialTTL, Data: [][]byte{data}}, nil
}

// before returns the node that a name of the zone has in old, if it is looked at for
// signatures.
func (s *signing) before(n dnsname.Name) zone.Node {
	if !s.reuse {
		return 0
	}
	return s.old.Lookup(n).Exact
}

// beforeHashed is before for the owner of an NSEC3 record, which no question finds.
func (s *signing) beforeHashed(h [hashLen]byte) zone.Node {
	if !s.reuse || s.old.DenialType() != rdata.TypeNSEC3 {
		return 0
	}
	return s.old.Matching(zone.Hash([]byte(label(h))))
}
