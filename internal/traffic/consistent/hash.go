// Package consistent gives each key a member such that few keys move when members
// come and go. It owns the tables: Maglev, the ring, rendezvous. It does not own
// what is hashed (package httpproxy) nor who may be picked (package pool): a table
// is over members by their number, and knows of each an identity and a weight.
//
//	            find                at a transition       keys that move when 1 of N leaves
//	Maglev      1 load              its slots (Keep)      1/N; when members are configured, and a little
//	Ring        2-3 loads           nothing               1/N
//	Rendezvous  N draws; of more    its seats (Keep)      1/N; when members are configured and N is above 64,
//	            than 64 some steps                        and a little
//
// Entry points: ID and Sum hash names and keys; NewMaglev, NewRing, NewRendezvous.
//
// Every node that has the same members gives a key the same one: no hash here is
// seeded by chance, and the order of members does not matter.
//
// Concurrency: tables are immutable. No I/O, no clock.
//
// Sources: Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load
// Balancer" (NSDI 2016) §3.4; Karger and others, "Consistent Hashing and Random
// Trees" (STOC 1997); Thaler and Ravishankar, "A Name-Based Mapping Scheme for
// Rendezvous" (1996).
package consistent

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Member is what a table has to know of a member.
type Member struct {
	ID     uint64 // of ID; two members differ in it
	Weight int    // > 0
}

// ID returns the identity of the member that is called name.
func ID(name string) uint64 { return Sum([]byte(name)) }

const (
	k0 = 0x9E3779B97F4A7C15
	k1 = 0xA0761D6478BD642F
	k2 = 0xE7037ED1A0B428DB
)

// Sum hashes a key. It is no secret: who can choose keys can choose members, which
// a bound on load limits.
func Sum(key []byte) uint64 {
	h := k0 ^ uint64(len(key))*k1
	for len(key) >= 8 {
		h = fold(h^binary.LittleEndian.Uint64(key), k1)
		key = key[8:]
	}
	var rest uint64
	for i, c := range key {
		rest |= uint64(c) << (8 * i)
	}
	return Mix(h ^ fold(rest^k2, k0))
}

// SumAddress hashes the address of a client. An IPv4 address is the same as the one that is
// mapped into IPv6.
func SumAddress(addr netip.Addr) uint64 {
	octets := addr.As16()
	return Sum(octets[:])
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// Mix makes of x a number of which every bit depends on all bits of x.
func Mix(x uint64) uint64 {
	x ^= x >> 32
	x *= k2 | 1
	x ^= x >> 29
	x *= k0
	return x ^ x>>32
}

// Spread returns the upper half of what Mix makes of a number below 1<<32, in fewer steps.
func Spread(x uint64) uint32 {
	x *= k2 | 1
	return uint32((x ^ x>>29) * k0 >> 32)
}
