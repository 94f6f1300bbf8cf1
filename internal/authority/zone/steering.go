package zone

import (
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Steering is which records of a name are not the zone's to give, because they come from
// what is healthy now.
type Steering uint8

// The kinds. The zero Steering is none.
const (
	NotSteered Steering = iota
	SteersAddresses
	SteersHTTPS // with the addresses
	SteersSVCB
	SteersSRV
	SteersMX
	SteersAlias // whatever is asked for: the name is an alias
)

var steeredTypes = [...][]rdata.Type{
	nil, {rdata.TypeA, rdata.TypeAAAA}, {rdata.TypeA, rdata.TypeAAAA, rdata.TypeHTTPS}, {rdata.TypeSVCB}, {rdata.TypeSRV}, {rdata.TypeMX}, {rdata.TypeCNAME},
}

var steeringNames = [...]string{"", "address", "https", "svcb", "srv", "mx", "cname"}

// String returns the word of the configuration.
func (s Steering) String() string { return steeringNames[s] }

// ParseSteering reads what String wrote; the empty word is SteersAddresses.
func ParseSteering(word string) (Steering, bool) {
	if word == "" {
		return SteersAddresses, true
	}
	at := slices.Index(steeringNames[:], word)
	return Steering(max(at, 0)), at > 0
}

// Types returns the types of the records that are not the zone's, ascending. Not to be
// written to.
func (s Steering) Types() []rdata.Type { return steeredTypes[s] }

// Takes reports whether a question of type t is not for the zone to answer. ANY is among
// them, since RFC 8482 §4.1 allows an answer with one RRset; but not where mail is
// steered, which is mostly at an apex with much else.
func (s Steering) Takes(t rdata.Type) bool {
	switch s {
	case NotSteered:
		return false
	case SteersAlias: // RFC 1034 §3.6.2; but the proofs of a name are its own (RFC 4035 §2.5)
		return t != rdata.TypeNSEC && t != rdata.TypeRRSIG
	}
	return slices.Contains(steeredTypes[s], t) || t == rdata.TypeANY && s != SteersMX
}

// Hides reports whether records of type t that the zone has at a name are not answered:
// beside an alias there is nothing else (RFC 2181 §10.1).
func (s Steering) Hides(t rdata.Type) bool {
	return s == SteersAlias || slices.Contains(steeredTypes[s], t)
}

// givesAddress reports whether a node with such flags has addresses that are the zone's to
// give.
func givesAddress(flags byte) bool {
	return flags&flagAddress != 0 && !steeringOf(flags).Hides(rdata.TypeA)
}

// flags returns the flags of a node that is so steered: the kind in three bits. A zone cut
// needs one of them for itself; what is there is the child's, and never steered.
func (s Steering) flags() byte { return byte(s)&1<<3 | byte(s)&6<<5 }

// steeringOf is the reverse of flags.
func steeringOf(flags byte) Steering {
	if flags&flagSteering == 0 || flags&flagCut != 0 {
		return NotSteered
	}
	return Steering(flags>>3&1 | flags>>5&6)
}

// withoutOptOut returns flags without that of zone cuts which is found out anew for each
// version.
func withoutOptOut(flags byte) byte {
	if flags&flagCut != 0 {
		flags &^= flagOptOut
	}
	return flags
}

// Steering returns how n is steered.
func (z *Zone) Steering(n Node) Steering { return steeringOf(z.flags(n)) }

// isSteering reports whether flags are those of a Steering that there is.
func isSteering(flags byte) bool { return steeringOf(flags) <= SteersAlias }

// IsSteered reports whether some records of n are not the zone's to give.
func (z *Zone) IsSteered(n Node) bool { return steeringOf(z.flags(n)) != NotSteered }

// Steer makes name exist, and leaves its records of some types to somebody else who
// answers from what is healthy now. What else the zone has at name is answered
// from the zone; what it has of these types is kept, but not answered. name must
// be in the zone.
func (b *Builder) Steer(name dnsname.Name, s Steering) {
	if !name.IsSubdomainOf(b.origin) {
		panic("BUG: steered name " + name.String() + " is outside of zone " + b.origin.String())
	}
	node := &b.nodes[b.nodeOf(name)]
	node.flags = node.flags&^flagSteering | s.flags()
}
