package zone

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"unsafe"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Limits of the additional iterations of a zone's NSEC3 hashes.
const (
	// warnIterations: RFC 9276 §3.1: the number should be 0; above 150 validating
	// resolvers take the zone for insecure, or fail. It is served, with a warning.
	warnIterations = 150
	// maxIterations: RFC 5155 §10.3: what the largest keys allow. Above it a zone
	// is served without proofs of denial: each would cost a millisecond.
	maxIterations = 2500
)

// Values of fields of NSEC3 and NSEC3PARAM records (RFC 5155 §3.1 and §4.1).
const (
	nsec3SHA1 = 1 // the only hash algorithm there is

	nsec3Flags      = 1 // offsets: algorithm, flags, iterations, salt length, salt
	nsec3Iterations = 2
	nsec3SaltLen    = 4
	nsec3Salt       = 5
)

// nsec3Index is the owners of NSEC3 records by their hashes. Hashes are evenly
// spread, so the first bits of one choose a page of as good as equal size, and say
// about where in the page it is. An edit copies the pages that it changes.
type nsec3Index struct {
	pages      [][]uint64 // a power of two of them; entries in ascending order: the first four octets of the hash, the Node
	shift      int        // a prefix of 32 bits, shifted so far, is the index of its page
	count      int        // of all entries
	iterations int
	params     []byte // RDATA of NSEC3PARAM, which has the salt
	apex       Node   // matches the origin: see anchor
	star       Node   // covers the wildcard below the origin
}

// HashParams returns the RDATA of the NSEC3PARAM record by which Hash hashes; nil if the
// zone has no NSEC3 chain.
func (z *Zone) HashParams() []byte { return z.nsec3.params }

// salt returns what is added to a name before it is hashed.
func (x *nsec3Index) salt() []byte {
	if len(x.params) == 0 {
		return nil
	}
	return x.params[nsec3Salt:]
}

// nsec3PageLen is how many entries a page has on average at most: for a million
// entries the list of the pages is 24 kB, a page 8 kB.
const nsec3PageLen = 1024

// paged divides entries in ascending order into pages.
func (x *nsec3Index) paged(entries []uint64) {
	x.count = len(entries)
	pageBits := bits.Len(uint(len(entries) / nsec3PageLen))
	x.shift = 32 - pageBits
	x.pages = make([][]uint64, 1<<pageBits)
	for len(entries) > 0 {
		page, n := entries[0]>>32>>x.shift, 1
		for n < len(entries) && entries[n]>>32>>x.shift == page {
			n++
		}
		x.pages[page], entries = entries[:n:n], entries[n:]
	}
}

func (x *nsec3Index) size() int {
	size := cap(x.params)
	for _, page := range x.pages {
		size += 24 + 8*cap(page)
	}
	return size
}

// HashLen is the length of a Hash: 20 octets in base32.
const HashLen = sha1.Size * 8 / 5

// Hash is the hash of a name as an owner of NSEC3 records has it in its leftmost
// label: in base32 with the extended hex alphabet, lower case, in which order is
// that of the octets (RFC 5155 §3.3).
type Hash [HashLen]byte

// Hash returns the hash of n by the parameters of the zone (RFC 5155 §5). The
// zone's DenialType must be NSEC3.
func (z *Zone) Hash(n dnsname.Name) Hash {
	salt := z.nsec3.salt()
	if len(salt) == 0 && z.nsec3.iterations == 0 { // as RFC 9276 §3.1 wants it
		return encodeHash(sha1.Sum(unsafe.Slice(unsafe.StringData(n.Wire()), n.Len())))
	}
	var input [dnsname.MaxLen + 255]byte // a name or hash, and the salt
	length := copy(input[:], n.Wire())
	digest := sha1.Sum(input[:length+copy(input[length:], salt)])
	if z.nsec3.iterations > 0 {
		salted := input[:sha1.Size+copy(input[sha1.Size:], salt)]
		for range z.nsec3.iterations {
			copy(salted, digest[:])
			digest = sha1.Sum(salted)
		}
	}
	return encodeHash(digest)
}

const base32Hex = "0123456789abcdefghijklmnopqrstuv"

// encodeHash writes a digest in base32 (RFC 4648 §7), which needs no padding: each
// five octets are eight digits.
func encodeHash(digest [sha1.Size]byte) (h Hash) {
	for i := range sha1.Size / 5 {
		five := digest[5*i : 5*i+5]
		bits := uint64(five[0])<<32 | uint64(binary.BigEndian.Uint32(five[1:]))
		for j := range 8 {
			h[8*i+j] = base32Hex[bits>>(35-5*j)&31]
		}
	}
	return h
}

// hashPrefix returns the first 32 bits of the hash that a label spells, which is
// in lower case and as long as a Hash; ok is false for what is no hash.
func hashPrefix(label string) (prefix uint32, ok bool) {
	bits := uint64(0)
	for i := range HashLen {
		digit := strings.IndexByte(base32Hex, label[i])
		if digit < 0 {
			return 0, false
		}
		if i < 7 {
			bits = bits<<5 | uint64(digit)
		}
	}
	return uint32(bits >> 3), true
}

// prefix is hashPrefix of h.
func (h *Hash) prefix() uint32 {
	bits := uint64(0)
	for _, c := range h[:7] {
		digit := c - '0'
		if c >= 'a' {
			digit = c - 'a' + 10
		}
		bits = bits<<5 | uint64(digit)
	}
	return uint32(bits >> 3)
}

// Matching returns the node whose NSEC3 record has the hash h, zero if there is
// none.
func (z *Zone) Matching(h Hash) Node {
	if entry, ok := z.searchHash(&h); ok {
		if n := Node(entry); z.hashLabel(n) == string(h[:]) {
			return n
		}
	}
	return 0
}

// Covering returns the node whose NSEC3 record covers h, if none matches: the last
// one before it, before the first the last of all (RFC 5155 §3.1.7).
func (z *Zone) Covering(h Hash) Node {
	entry, ok := z.searchHash(&h)
	if !ok {
		entry, _ = z.nsec3.lastOf(len(z.nsec3.pages))
	}
	return Node(entry)
}

// searchHash returns the last entry that is not behind h; ok is false if all are.
func (z *Zone) searchHash(h *Hash) (entry uint64, ok bool) {
	x, prefix := &z.nsec3, h.prefix()
	page := int(uint64(prefix) >> x.shift)
	if n := z.searchPage(x.pages[page], prefix, h); n > 0 {
		return x.pages[page][n-1], true
	}
	return x.lastOf(page)
}

// lastOf returns the last entry of the pages before page.
func (x *nsec3Index) lastOf(page int) (entry uint64, ok bool) {
	for page--; page >= 0; page-- {
		if n := len(x.pages[page]); n > 0 {
			return x.pages[page][n-1], true
		}
	}
	return 0, false
}

// searchPage returns how many entries of the page of h are not behind it. It
// begins where h would be if hashes were spread with perfect evenness, and goes
// on in steps that grow, should they not be.
func (z *Zone) searchPage(page []uint64, prefix uint32, h *Hash) int {
	low, high := 0, len(page) // all before low are not behind h; all from high on are
	rest := uint64(prefix) & (1<<z.nsec3.shift - 1)
	guess := int(rest * uint64(len(page)) >> z.nsec3.shift)
	for step := 8; low < high; step *= 2 {
		if z.isHashBehind(page[guess], prefix, h) {
			if high = guess; high-step < low {
				break
			}
			guess = high - step
		} else {
			if low = guess + 1; low+step >= high {
				break
			}
			guess = low + step
		}
	}
	for low < high {
		middle := int(uint(low+high) / 2)
		if z.isHashBehind(page[middle], prefix, h) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// isHashBehind reports whether an entry comes after h.
func (z *Zone) isHashBehind(entry uint64, prefix uint32, h *Hash) bool {
	p := uint32(entry >> 32)
	return p > prefix || p == prefix && z.hashLabel(Node(entry)) > string(h[:])
}

// hashLabel returns the label of a node of the index that is a hash.
func (z *Zone) hashLabel(n Node) string { return z.Name(n).Wire()[1 : 1+HashLen] }

// indexNSEC3 makes the index of the chain that the NSEC3PARAM record at the apex
// tells of. Without one there may be NSEC3 records, but no complete chain
// (RFC 5155 §7.3).
func (b *Builder) indexNSEC3(z *Zone, order []uint32) {
	params, _ := z.RRset(apex, rdata.TypeNSEC3PARAM)
	for at := 0; params.Count > 0; params.Count-- {
		var data []byte
		data, _, at = params.Record(at)
		// RFC 5155 §4.1.2: a record with flags is not for servers to use.
		if !isNSEC3Param(data) || data[nsec3Flags] != 0 {
			continue
		}
		x := nsec3Index{
			iterations: int(binary.BigEndian.Uint16(data[nsec3Iterations:])),
			params:     bytes.Clone(data[:nsec3Salt+int(data[nsec3SaltLen])]),
		}
		if x.iterations > warnIterations {
			b.problems.keep(aboutZone, z.origin, rdata.TypeNSEC3PARAM, "%d additional iterations, where RFC 9276 wants 0 and validating resolvers accept at most %d; sign the zone with 0", x.iterations, warnIterations)
		}
		if x.iterations > maxIterations {
			b.problems.keep(aboutZone, z.origin, rdata.TypeNSEC3PARAM, "denials are answered without proof, for more than %d iterations (RFC 5155 §10.3) are not computed", maxIterations)
			continue
		}
		x.fill(b, z, order)
		z.nsec3 = x
		if x.count > 0 && z.nsec3.anchor(z) {
			return
		}
		z.nsec3 = nsec3Index{}
	}
}

// isNSEC3Param reports whether data is RDATA of NSEC3PARAM, or begins as RDATA of
// NSEC3 does, with the algorithm SHA-1.
func isNSEC3Param(data []byte) bool {
	return len(data) >= nsec3Salt && data[0] == nsec3SHA1 && len(data) >= nsec3Salt+int(data[nsec3SaltLen])
}

// fill adds the owners of NSEC3 records with the parameters of x. They are
// children of the apex (RFC 5155 §3), so canonical order is that of their hashes.
func (x *nsec3Index) fill(b *Builder, z *Zone, order []uint32) {
	var entries []uint64
	for _, i := range order {
		if b.nodes[i].parent == 0 {
			if entry, ok := z.hashEntry(b.nodes[i].node, x.params); ok {
				entries = append(entries, entry)
			}
		}
	}
	x.paged(slices.Clip(entries))
}

// hashEntry returns what the index has of n, a child of the apex; ok is false if it
// has no NSEC3 record with the parameters params.
func (z *Zone) hashEntry(n Node, params []byte) (entry uint64, ok bool) {
	wire := z.Name(n).Wire()
	if wire[0] != HashLen || len(wire) != 1+HashLen+z.origin.Len() {
		return 0, false
	}
	prefix, ok := hashPrefix(wire[1 : 1+HashLen])
	if !ok {
		return 0, false
	}
	set, ok := z.RRset(n, rdata.TypeNSEC3)
	return uint64(prefix)<<32 | uint64(n), ok && isOfChain(set, params)
}

// isOfChain reports whether an NSEC3 record of set has the parameters params.
func isOfChain(set RRset, params []byte) bool {
	at := 0
	for range set.Count {
		var data []byte
		data, _, at = set.Record(at)
		if isNSEC3Param(data) && data[nsec3SaltLen] == params[nsec3SaltLen] &&
			bytes.Equal(data[nsec3Iterations:nsec3Salt+int(data[nsec3SaltLen])], params[nsec3Iterations:nsec3Salt+int(params[nsec3SaltLen])]) {
			return true
		}
	}
	return false
}

// change adds an entry to an index whose list of pages nobody else has, or takes it
// out; the page is copied.
func (x *nsec3Index) change(z *Zone, entry uint64, add bool) {
	page := int(entry >> 32 >> x.shift)
	entries := slices.Clone(x.pages[page])
	if !add {
		at := slices.Index(entries, entry)
		x.pages[page], x.count = slices.Delete(entries, at, at+1), x.count-1
		return
	}
	h := Hash([]byte(z.hashLabel(Node(entry))))
	at := z.searchPage(entries, uint32(entry>>32), &h)
	x.pages[page], x.count = slices.Insert(entries, at, entry), x.count+1
}
