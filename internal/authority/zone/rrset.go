package zone

import (
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// RRset is the records of one name and type, as they lie in the zone's memory.
// RRSIG records make one RRset for each type that they cover, for these differ
// in TTL.
type RRset struct {
	Type   rdata.Type
	TTL    rdata.TTL
	more   uint32 // RRsets of the node that follow in the arena, and above 16 bits linkLenOf the type
	Count  int
	body   []byte // what the arena has behind it is within its capacity
	edited *Zone  // nil if the links hold; else the zone to look targets up in
}

// left returns the number of the RRsets of the node that follow.
func (s *RRset) left() int { return int(s.more & 0xFFFF) }

// link returns the octets of the link behind each record.
func (s *RRset) link() int { return int(s.more >> 16) }

// setHeader is the length of an RRset in the arena before its body.
const setHeader = 12

// linkLen is the length of the link behind the RDATA of a record with a target.
const linkLen = 4

// linkLenOf returns the length of the links in an RRset of type t.
func linkLenOf(t rdata.Type) int {
	switch t {
	case rdata.TypeCNAME, rdata.TypeNS, rdata.TypeMX, rdata.TypeSRV, rdata.TypeSVCB, rdata.TypeHTTPS,
		rdata.TypeMD, rdata.TypeMF, rdata.TypeMB, rdata.TypeKX, rdata.TypeAFSDB, rdata.TypeRT:
		return linkLen
	}
	return 0
}

// Start returns where the record stands with which an RRset begins when it is
// rotated by rotation places: an argument for Record.
func (s *RRset) Start(rotation uint32) int {
	if s.Count < 2 {
		return 0
	}
	at := 0
	for range rotation % uint32(s.Count) {
		at += 2 + int(binary.LittleEndian.Uint16(s.body[at:])) + s.link()
	}
	return at
}

// Record returns the RDATA of the record at a place that Start or Record
// returned, the node in which the addresses of its target are (zero if the zone
// has none, or for another type), and the place of the next record; the first
// follows the last. So all records are seen by calling it Count times.
//
// For CNAME, the node is that of the target itself; it is zero also when the
// target only matches a wildcard.
func (s *RRset) Record(at int) (data []byte, target Node, next int) {
	length := int(binary.LittleEndian.Uint16(s.body[at:]))
	at += 2
	data = s.body[at : at+length : at+length]
	at += length
	if s.link() != 0 {
		target = Node(binary.LittleEndian.Uint32(s.body[at:]))
		at += linkLen
		if s.edited != nil {
			target = s.edited.linkNow(s, data, target)
		}
	}
	if at == len(s.body) {
		at = 0
	}
	return data, target, at
}

// HasTargets reports whether records of the RRset's type have a target whose
// addresses belong in the additional section of an answer.
func (s *RRset) HasTargets() bool { return s.link() != 0 && s.Type != rdata.TypeCNAME }

// TargetOffset returns where in the RDATA of the RRset's type the target begins.
func (s *RRset) TargetOffset() int { return rdata.LayoutOf(s.Type).Prefix }

// TargetName returns the target in RDATA of the RRset, in its own case. It looks
// at the memory of data.
func (s *RRset) TargetName(data []byte) dnsname.Name {
	start, end, _ := namesIn(rdata.Layout{Prefix: s.TargetOffset(), Names: 1}, data)
	return dnsname.View(data[start:end])
}

// Signatures returns the RRSIG records that cover s, which lie behind it.
func (s *RRset) Signatures() (set RRset, ok bool) {
	if s.left() == 0 {
		return RRset{}, false
	}
	arena, at := s.body[:cap(s.body)], len(s.body)
	h := arena[at : at+setHeader]
	if rdata.Type(binary.LittleEndian.Uint16(h)) != rdata.TypeRRSIG || rdata.Type(binary.BigEndian.Uint16(arena[at+setHeader+2:])) != s.Type {
		return RRset{}, false
	}
	return rrsetAt(arena, at, s.left()-1, nil), true
}

// Covers returns the type that an RRset of RRSIG records covers (RFC 4034 §3.1.1).
func (s *RRset) Covers() rdata.Type { return rdata.Type(binary.BigEndian.Uint16(s.body[2:])) }

// RRsets is a cursor over the RRsets of a node, in ascending order of type, but
// RRSIG records behind what they cover.
type RRsets struct {
	arena  []byte
	at     int
	left   int
	edited *Zone // see RRset
}

// RRsets returns a cursor before the first RRset of n.
func (z *Zone) RRsets(n Node) RRsets {
	c := RRsets{arena: z.arena, at: int(n) * nodeUnit}
	if z.over != nil {
		c.arena, c.at = z.over.place(z.arena, n)
		if !z.linksHold {
			c.edited = z
		}
	}
	c.left = int(binary.LittleEndian.Uint16(c.arena[c.at+nodeSets:]))
	c.at += nodeName + int(c.arena[c.at+nodeNameLen])
	return c
}

// Next returns the next RRset; ok is false after the last.
func (c *RRsets) Next() (set RRset, ok bool) {
	if c.left == 0 {
		return RRset{}, false
	}
	c.left--
	at := c.at
	c.at = at + setHeader + int(binary.LittleEndian.Uint32(c.arena[at+8:]))
	return rrsetAt(c.arena, at, c.left, c.edited), true
}

// rrsetAt returns the RRset that lies at an offset of a zone's memory, when so many of
// the node follow.
func rrsetAt(arena []byte, at, left int, edited *Zone) RRset {
	h := arena[at : at+setHeader]
	t := rdata.Type(binary.LittleEndian.Uint16(h))
	at += setHeader
	return RRset{
		Type:   t,
		TTL:    rdata.TTL(binary.LittleEndian.Uint32(h[4:])),
		more:   uint32(left) | uint32(linkLenOf(t))<<16,
		Count:  int(binary.LittleEndian.Uint16(h[2:])),
		body:   arena[at : at+int(binary.LittleEndian.Uint32(h[8:]))],
		edited: edited,
	}
}

// RRset returns the RRset of n with type t. Of RRSIG it is the first; RRsets has
// the others. (It goes on by itself, for a cursor would be copied, for which the
// processor has to wait until it is written.)
func (z *Zone) RRset(n Node, t rdata.Type) (set RRset, ok bool) {
	arena, at, edited := z.arena, int(n)*nodeUnit, (*Zone)(nil)
	if z.over != nil {
		arena, at = z.over.place(arena, n)
		if !z.linksHold {
			edited = z
		}
	}
	left := int(binary.LittleEndian.Uint16(arena[at+nodeSets:]))
	at += nodeName + int(arena[at+nodeNameLen])
	for left > 0 {
		left--
		h := arena[at : at+setHeader]
		if got := rdata.Type(binary.LittleEndian.Uint16(h)); got >= t {
			if got == t {
				return rrsetAt(arena, at, left, edited), true
			}
			if got != rdata.TypeRRSIG {
				break
			}
		}
		at += setHeader + int(binary.LittleEndian.Uint32(h[8:]))
	}
	return RRset{}, false
}

// HasData reports whether n has records of its own; an empty non-terminal has
// none (RFC 4592 §2.2.2).
func (z *Zone) HasData(n Node) bool {
	memory, at := z.place(n)
	return binary.LittleEndian.Uint16(memory[at+nodeSets:]) != 0
}
