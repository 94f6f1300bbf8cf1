package dnswire

import (
	"encoding/binary"

	"pharos/internal/dns/rdata"
)

// CanPointTo reports whether a compression pointer can lead to the offset at.
func CanPointTo(at int) bool { return HeaderLen <= at && at <= maxPointer }

// AddPointed is Add for an owner of which the caller knows that it stands at the
// offset ownerAt of the message, in any case: in the question, as the owner of a
// record before, or as a name in its RDATA. It spares the search for the name.
// CanPointTo(ownerAt) must hold.
func (b *Builder) AddPointed(s Section, ownerAt int, t rdata.Type, c rdata.Class, ttl rdata.TTL, data []byte) bool {
	start := len(b.msg)
	if !b.Add(s, b.query.Name, t, c, ttl, data) { // which is written as a pointer
		return false
	}
	binary.BigEndian.PutUint16(b.msg[start:], 0xC000|uint16(ownerAt))
	return true
}

// AddBelow is Add for a record whose owner ends in a name of suffixLen octets, which
// the caller knows to stand at the offset suffixAt of the message, and whose RDATA is
// not compressed (RFC 3597 §4). It spares the search for the name; the
// labels before the suffix are written out. CanPointTo(suffixAt) must hold.
func (b *Builder) AddBelow(s Section, r rdata.Record, suffixLen, suffixAt int) bool {
	labels := r.Name.Wire()[:r.Name.Len()-suffixLen]
	if len(b.msg)+len(labels)+2+10+len(r.Data) > b.limit {
		return false
	}
	msg := append(b.msg, labels...)
	msg = binary.BigEndian.AppendUint16(msg, 0xC000|uint16(suffixAt))
	msg = binary.BigEndian.AppendUint16(msg, uint16(r.Type))
	msg = binary.BigEndian.AppendUint16(msg, uint16(r.Class))
	msg = binary.BigEndian.AppendUint32(msg, uint32(r.TTL))
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(r.Data)))
	b.msg = append(msg, r.Data...)
	b.counts.add(s, 1)
	return true
}
