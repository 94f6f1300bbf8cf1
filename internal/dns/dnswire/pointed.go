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
