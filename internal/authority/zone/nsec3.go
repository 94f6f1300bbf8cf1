package zone

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
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
// spread, so a search begins in the right bucket of a few and ends there.
type nsec3Index struct {
	entries    []uint64 // in ascending order: the first four octets of the hash, the Node
	buckets    []uint32 // where in entries each bucket begins, and the end of the last
	iterations int
	salt       []byte
}

// bucketEntries is how many entries a bucket has on average: a cache line.
const bucketEntries = 8

func (x *nsec3Index) size() int { return 8*cap(x.entries) + 4*cap(x.buckets) + cap(x.salt) }

// bucketOf returns the bucket of a hash that begins with prefix.
func (x *nsec3Index) bucketOf(prefix uint32) int {
	return int(uint64(prefix) * uint64(len(x.buckets)-1) >> 32)
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
	salt := z.nsec3.salt
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
	if i := z.searchHash(&h); i >= 0 {
		if n := Node(z.nsec3.entries[i]); z.hashLabel(n) == string(h[:]) {
			return n
		}
	}
	return 0
}

// Covering returns the node whose NSEC3 record covers h, if none matches: the last
// one before it, before the first the last of all (RFC 5155 §3.1.7).
func (z *Zone) Covering(h Hash) Node {
	i := z.searchHash(&h)
	if i < 0 {
		i = len(z.nsec3.entries) - 1
	}
	return Node(z.nsec3.entries[i])
}

// searchHash returns the index of the last entry that is not behind h, -1 if all
// are.
func (z *Zone) searchHash(h *Hash) int {
	x := &z.nsec3
	prefix := h.prefix()
	bucket := x.bucketOf(prefix)
	low, high := int(x.buckets[bucket]), int(x.buckets[bucket+1])
	for low < high {
		middle := int(uint(low+high) / 2)
		p := uint32(x.entries[middle] >> 32)
		if p < prefix || p == prefix && z.hashLabel(Node(x.entries[middle])) <= string(h[:]) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low - 1
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
			salt:       bytes.Clone(data[nsec3Salt : nsec3Salt+int(data[nsec3SaltLen])]),
		}
		if x.iterations > warnIterations {
			b.problems.add(Warning, z.origin, rdata.TypeNSEC3PARAM, "%d additional iterations, where RFC 9276 wants 0 and validating resolvers accept at most %d; sign the zone with 0", x.iterations, warnIterations)
		}
		if x.iterations > maxIterations {
			b.problems.add(Warning, z.origin, rdata.TypeNSEC3PARAM, "denials are answered without proof, for more than %d iterations (RFC 5155 §10.3) are not computed", maxIterations)
			continue
		}
		x.fill(b, z, order, data)
		z.nsec3 = x
		if len(x.entries) > 0 && z.Matching(z.Hash(z.origin)) != 0 {
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

// fill adds the owners of NSEC3 records with the parameters params. They are
// children of the apex (RFC 5155 §3), so canonical order is that of their hashes.
func (x *nsec3Index) fill(b *Builder, z *Zone, order []uint32, params []byte) {
	for _, i := range order {
		node := &b.nodes[i]
		wire := b.nameOf(i)
		if node.parent != 0 || i == 0 || wire[0] != HashLen {
			continue
		}
		prefix, ok := hashPrefix(wire[1 : 1+HashLen])
		if set, has := z.RRset(node.node, rdata.TypeNSEC3); ok && has && isOfChain(set, params) {
			x.entries = append(x.entries, uint64(prefix)<<32|uint64(node.node))
		}
	}
	count := len(x.entries)/bucketEntries + 1
	x.buckets = make([]uint32, count+1)
	for i, entry := range x.entries {
		x.buckets[x.bucketOf(uint32(entry>>32))+1] = uint32(i + 1)
	}
	for i := range count { // an empty bucket begins where the one before it ends
		x.buckets[i+1] = max(x.buckets[i+1], x.buckets[i])
	}
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
