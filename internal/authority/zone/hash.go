package zone

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"unsafe"
)

// hashSeed is the hash of the root: another in every process, so that nobody who
// chooses names can choose which of them collide.
var hashSeed = maphash.String(maphash.MakeSeed(), "")

// Constants without a pattern: the fractions of the golden ratio and of the square
// root of two.
const (
	mixA = 0x9E3779B97F4A7C15
	mixB = 0x6A09E667F3BCC909
)

// hashLabel returns the hash of a name from that of its parent and its leftmost
// label, given with its length octet. So the hashes of all ancestors of a name
// come from one pass over it, from the right.
//
// It folds 8 octets at a time with a 64 by 64 bit multiplication, as wyhash does.
func hashLabel(parent uint64, label string) uint64 {
	b := unsafe.Slice(unsafe.StringData(label), len(label))
	h := parent
	for len(b) > 8 {
		h = mix(h^binary.LittleEndian.Uint64(b), mixA)
		b = b[8:]
	}
	// 1 to 8 octets are left. The label's own first octet has its length, so names
	// that differ only in where a label ends do not come out equal.
	var last uint64
	switch n := len(b); {
	case n == 8:
		last = binary.LittleEndian.Uint64(b)
	case n >= 4:
		last = uint64(binary.LittleEndian.Uint32(b))<<32 | uint64(binary.LittleEndian.Uint32(b[n-4:]))
	default:
		last = uint64(b[0])<<16 | uint64(b[n/2])<<8 | uint64(b[n-1])
	}
	return mix(h^last, mixB^uint64(len(label)))
}

// mix multiplies and folds both halves of the product together.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hashName is hashLabel over all labels of a name in wire form.
func hashName(wire string) uint64 {
	if len(wire) <= 1 {
		return hashSeed
	}
	next := 1 + int(wire[0])
	return hashLabel(hashName(wire[next:]), wire[:next])
}

// slotOf spreads hashes evenly over a table of any size by their upper bits.
func slotOf(hash uint64, size int) int {
	hi, _ := bits.Mul64(hash, uint64(size))
	return int(hi)
}
