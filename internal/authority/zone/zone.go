// Package zone is one version of one zone as an immutable index, and the set of
// zones a server answers for.
//
// It owns where a name falls in a zone (Lookup), the RRsets found there, and
// which zone of many a name belongs to (Set). It does not read master files
// (package zonefile), and it does not decide what is answered (package answer).
//
// Entry points: Build or Builder make a Zone and the list of what is wrong with
// it; Zone.Lookup, Zone.RRset, Zone.RRsets and Zone.Records read it; NewSet and
// Set.Find choose among several.
//
// Concurrency: Zone and Set never change after they are made; any number of
// goroutines read them without locks and without allocating. A Builder belongs
// to one goroutine.
//
// A zone is two slices without pointers, so that a zone of millions of records
// is two objects to the garbage collector. The arena has the nodes in canonical
// order, each with its RRsets behind it, because an answer needs both:
//
//	node    cover u32 | wildcard u32 | RRsets u16 | name length u8 | flags u8 | name
//	RRset   type u16 | records u16 | TTL u32 | length of the body u32 | body
//	body    for each record: length u16 | RDATA | link u32, of the types with a target
//
// A Node is a place in the arena, in units of 4 octets; integers are little
// endian. cover is the topmost zone cut at or above the node, or the topmost
// DNAME above it, whichever is higher; wildcard is the node's child "*", or in a zone
// cut what insecure.go says; link is the node in which the target's addresses are. The table finds a node by the
// hash of its name. RRSIG records lie behind the RRset that they cover.
//
// A signed zone also has an index of its NSEC records by their owners, or of its
// NSEC3 records by their hashes, to find the one that denies a name
// (Zone.Denying, Zone.Matching, Zone.Covering). Owners of nothing but NSEC3 are
// not in the table: to a question they do not exist (RFC 5155 §7.2.8).
//
// Sources: RFC 1034 §4.2 and §4.3.2, RFC 2181 §5 to §7, RFC 4592 (closest
// encloser, empty non-terminals, wildcards), RFC 6672 (DNAME), RFC 4034 §6
// (canonical order), RFC 4035 §3.1.4.1 (DS at the parent), RFC 5155 (NSEC3),
// RFC 9276 (its parameters).
package zone

import (
	"encoding/binary"
	"iter"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Zone is one version of one zone.
type Zone struct {
	// What every query looks at is first, and together in memory: among many small
	// zones, nearly all of what a query costs more is waiting for memory.
	origin     dnsname.Name
	originHash uint64
	table      []uint64 // see probe
	arena      []byte
	over       *overlay // of an edited zone; nil if all that the zone has is in the arena
	depth      int32    // labels that the deepest name has below the origin, or once had
	linksHold  bool     // whether the links in the arena are right in spite of the edits

	// What an edit must know to do no more than it has to; see also targets.
	wild   bool // whether some wildcard has addresses
	loose  bool // whether some target in the zone has, or had, no node
	steers bool // whether some name is, or was, steered

	serial   rdata.Serial
	negative rdata.TTL
	denial   denial
	*special
	names   int
	records int
	types   typeSet   // of the records that there are, or once were
	targets targetSet // names in the zone whose addresses an answer or a check has looked for
}

// special is what an ordinary small zone has not: so a million of these take a third
// less memory. It is never changed once the zone is made.
type special struct {
	signatures RRset // RRSIG of the SOA record; without them the zone is not signed
	nsec       nsecIndex
	nsec3      nsec3Index
	unindexed  int // nodes of the arena with flagHash that nsec3 has not
	warnings   warnings
}

// ordinary is the special of all zones that have nothing of it.
var ordinary special

// settle ends the making of a zone, after which nothing of it changes.
func (z *Zone) settle() {
	s := z.special
	if s.signatures.Count == 0 && len(s.nsec.chunks) == 0 && s.nsec3.count == 0 && s.unindexed == 0 && len(s.warnings.list) == 0 && !s.warnings.more {
		z.special = &ordinary
	}
}

// Node is a name that exists in a zone, be it only as an empty non-terminal. It
// has a meaning only to the Zone it came from. The zero Node is no node.
type Node uint32

// apex is the node of the zone's origin, the first in canonical order.
const apex Node = 1

// Layout of a node in the arena: offsets of its fields.
const (
	nodeCover    = 0
	nodeWildcard = 4
	nodeSets     = 8
	nodeNameLen  = 10
	nodeFlags    = 11
	nodeName     = 12

	nodeUnit = 4 // a Node counts octets of the arena in this unit
)

// Flags of a node.
const (
	flagCut     = 1 << iota // has NS and is not the apex
	flagCNAME               // has CNAME
	flagDNAME               // has DNAME
	flagSteered             // part of flagSteering: see Builder.Steer
	flagAddress             // has A or AAAA
	flagHash                // has NSEC3 and nothing else: no name that can be asked for
	flagOptOut              // the NSEC3 record noted in this zone cut covers it, and does not match it

	flagSteering = flagSteered | flagOptOut | flagOptOut<<1 // of what is no zone cut
)

// Origin returns the name of the zone's apex.
func (z *Zone) Origin() dnsname.Name { return z.origin }

// Serial returns the serial number of the zone's SOA record.
func (z *Zone) Serial() rdata.Serial { return z.serial }

// NegativeTTL returns how long a denial from the zone may be cached: the lesser
// of the SOA record's TTL and its field MINIMUM (RFC 2308 §3 and §5).
func (z *Zone) NegativeTTL() rdata.TTL { return z.negative }

// Apex returns the node of the zone's origin.
func (z *Zone) Apex() Node { return apex }

// Stats returns the number of names, with empty non-terminals, the number of
// records, and the octets of memory that the zone takes.
func (z *Zone) Stats() (names, records, sizeBytes int) {
	return z.names, z.records, cap(z.arena) + 8*cap(z.table) + z.nsec.size() + z.nsec3.size() + 8*cap(z.targets) + z.over.size()
}

// Name returns the name of n. It looks at the zone's memory.
func (z *Zone) Name(n Node) dnsname.Name {
	memory, at := z.arena, int(n)*nodeUnit
	if at >= len(memory) { // added by an edit; names never move
		memory, at = z.over.octets, int(n-z.over.start)*nodeUnit
	}
	length := int(memory[at+nodeNameLen])
	return dnsname.View(memory[at+nodeName : at+nodeName+length])
}

// IsCut reports whether n is a zone cut: it has NS records and is not the apex.
func (z *Zone) IsCut(n Node) bool { return z.flags(n)&flagCut != 0 }

// HasCNAME reports whether n has a CNAME record.
func (z *Zone) HasCNAME(n Node) bool { return z.flags(n)&flagCNAME != 0 }

// HasDNAME reports whether n has a DNAME record.
func (z *Zone) HasDNAME(n Node) bool { return z.flags(n)&flagDNAME != 0 }

// MaySteer reports whether some name may be steered: if not, nobody needs to look for
// one. It looks at no name.
func (z *Zone) MaySteer() bool { return z.steers }

// IsOccluded reports whether n lies below a zone cut or a DNAME, so that its
// records are no authoritative data of this zone: at most glue.
func (z *Zone) IsOccluded(n Node) bool {
	cover := z.cover(n)
	return cover != 0 && cover != n
}

func (z *Zone) flags(n Node) byte {
	memory, at := z.place(n)
	return memory[at+nodeFlags]
}

func (z *Zone) cover(n Node) Node {
	memory, at := z.place(n)
	return Node(binary.LittleEndian.Uint32(memory[at+nodeCover:]))
}

// wildcard returns the node of the child "*" of n; 0 if there is none, or if n is a zone
// cut.
func (z *Zone) wildcard(n Node) Node {
	memory, at := z.place(n)
	if memory[at+nodeFlags]&flagCut != 0 {
		return 0
	}
	return Node(binary.LittleEndian.Uint32(memory[at+nodeWildcard:]))
}

// place returns where what n has is: the memory and the offset in it.
func (z *Zone) place(n Node) (memory []byte, at int) {
	if z.over != nil {
		return z.over.place(z.arena, n)
	}
	return z.arena, int(n) * nodeUnit
}

// Records returns all records of the zone, glue and occluded ones too, in the
// canonical order of names (RFC 4034 §6.1), by type within a name, and by
// canonical RDATA within a type. Names and RDATA look at the zone's memory.
func (z *Zone) Records() iter.Seq[rdata.Record] {
	return func(yield func(rdata.Record) bool) {
		for n := range z.Nodes() {

			if !z.yieldNode(n, yield) {
				return
			}
		}
	}
}

// yieldNode yields the records of n by type, which is the arena's order but for
// RRSIG.
func (z *Zone) yieldNode(n Node, yield func(rdata.Record) bool) bool {
	for _, part := range [...]func(t rdata.Type) bool{
		func(t rdata.Type) bool { return t < rdata.TypeRRSIG },
		func(t rdata.Type) bool { return t == rdata.TypeRRSIG },
		func(t rdata.Type) bool { return t > rdata.TypeRRSIG },
	} {
		sets := z.RRsets(n)
		for set, ok := sets.Next(); ok; set, ok = sets.Next() {
			if part(set.Type) && !z.yieldRRset(z.Name(n), set, yield) {
				return false
			}
		}
	}
	return true
}

func (z *Zone) yieldRRset(owner dnsname.Name, set RRset, yield func(rdata.Record) bool) bool {
	at := 0
	for range set.Count {
		var data []byte
		data, _, at = set.Record(at)
		if !yield(rdata.Record{Name: owner, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: data}) {
			return false
		}
	}
	return true
}

// roundUp returns the first offset from at on where a node may begin.
func roundUp(at int) int { return (at + nodeUnit - 1) &^ (nodeUnit - 1) }
