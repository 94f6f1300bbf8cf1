package dnswire

import (
	"encoding/binary"
	"unsafe"

	"pharos/internal/dns/dnsname"
)

// maxPointer is the largest offset a compression pointer can hold (RFC 1035 §4.1.4).
const maxPointer = 0x3FFF

// compressSlots is the size of the table of names written so far. When two
// names fall on one slot the later one wins, and the earlier is not found again:
// some octets lost, never a wrong pointer. A power of two; 256 leaves a full
// UDP response (some 40 names) with few collisions.
const compressSlots = 256

// compressor finds names already written to a message, so that they become
// pointers. Every suffix of every name is remembered by its hash, and a find is
// checked against the message itself, so an entry that has gone stale does no
// harm.
type compressor struct {
	generation uint16 // entries of another generation are empty
	slots      [compressSlots]struct{ generation, offset uint16 }
	hashes     [dnsname.MaxLabels]uint32 // scratch: hash of the suffix from label i on
	starts     [dnsname.MaxLabels]uint8  // scratch: offset of label i
}

// reset forgets all names.
func (c *compressor) reset() {
	c.generation++
	if c.generation == 0 { // wrapped: entries of 65,535 messages ago would come alive
		clear(c.slots[:])
		c.generation = 1
	}
}

// remember adds the name at msg[at:], uncompressed there, and its suffixes.
func (c *compressor) remember(name string, at int) {
	labels := c.split(name)
	for i := range labels {
		c.add(i, at+int(c.starts[i]))
	}
}

// appendName appends name, in wire form and any case, to msg, ending it with a
// pointer to the longest suffix that msg already has. It remembers the rest.
// msg must have the room.
func (c *compressor) appendName(msg []byte, name string) []byte {
	labels, base := c.split(name), len(msg)
	for i := range labels {
		start := int(c.starts[i])
		slot := c.slots[c.hashes[i]%compressSlots]
		if slot.generation == c.generation && matches(msg, int(slot.offset), name[start:]) {
			msg = append(msg, name[:start]...)
			return binary.BigEndian.AppendUint16(msg, 0xC000|slot.offset)
		}
		c.add(i, base+start)
	}
	return append(msg, name...)
}

// split fills starts and hashes for name and returns the number of labels.
func (c *compressor) split(name string) int {
	labels := 0
	for i := 0; name[i] != 0; i += 1 + int(name[i]) {
		c.starts[labels] = uint8(i)
		labels++
	}
	hash, end := uint64(0), len(name)-1
	for i := labels - 1; i >= 0; i-- { // from the right, so that each suffix has its own
		start := int(c.starts[i])
		hash = hashLabel(hash, name[start:end])
		c.hashes[i] = uint32(hash >> 32)
		end = start
	}
	return labels
}

// hashLabel returns the hash of a name from that of its parent and its leftmost
// label with the length octet, eight octets at a time. The bit in which letters
// differ by case is set in all of them; what else that makes equal, matches tells
// apart.
func hashLabel(parent uint64, label string) uint64 {
	const caseBits, multiplier = 0x2020202020202020, 0x9E3779B97F4A7C15
	b := unsafe.Slice(unsafe.StringData(label), len(label))
	for ; len(b) >= 8; b = b[8:] {
		parent = (parent ^ (binary.LittleEndian.Uint64(b) | caseBits)) * multiplier
		parent ^= parent >> 32
	}
	var rest uint64
	switch n := len(b); {
	case n >= 4:
		rest = uint64(binary.LittleEndian.Uint32(b))<<32 | uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		rest = uint64(b[0])<<16 | uint64(b[n/2])<<8 | uint64(b[n-1])
	}
	parent = (parent ^ (rest | caseBits)) * multiplier
	return parent ^ parent>>32
}

// add remembers the suffix from label i of the name last split, written at
// offset.
func (c *compressor) add(i, offset int) {
	if offset > maxPointer {
		return
	}
	slot := &c.slots[c.hashes[i]%compressSlots]
	slot.generation, slot.offset = c.generation, uint16(offset)
}

// matches reports whether the name at msg[at:] is name, without regard to case.
func matches(msg []byte, at int, name string) bool {
	for at < len(msg) {
		length := int(msg[at])
		if length >= 0xC0 {
			if at+2 > len(msg) {
				return false
			}
			to := int(binary.BigEndian.Uint16(msg[at:]) & maxPointer)
			if to >= at {
				return false
			}
			at = to
			continue
		}
		if length != int(name[0]) || at+1+length > len(msg) {
			return false
		}
		if length == 0 {
			return true
		}
		if string(msg[at+1:at+1+length]) != name[1:1+length] && !equalFold(msg[at+1:at+1+length], name[1:1+length]) {
			return false
		}
		at, name = at+1+length, name[1+length:]
	}
	return false
}

// equalFold reports whether two labels of one length are equal without regard to
// case.
func equalFold(a []byte, b string) bool {
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
