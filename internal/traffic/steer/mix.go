package steer

import (
	"encoding/binary"
	"math"
	"net/netip"
)

// The hashes of this package are fixed, so that every node and every run chooses alike.
// Who chooses his address can find out which others share his member; there is nothing
// to gain by it.
const (
	seedPlace  = 0x70686172_6f732e31
	seedClient = 0x70686172_6f732e32
	seedMember = 0x70686172_6f732e33
)

// mix is the finaliser of splitmix64: each bit of x changes half of the bits of the result.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// hashText returns h with text hashed into it (FNV-1a, mixed; the end counts as a character).
func hashText(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	return mix(h + 0x9e3779b97f4a7c15)
}

// hashNetwork returns the hash of the network of addr with so many bits.
func hashNetwork(addr netip.Addr, bits4, bits6 int) uint64 {
	addr = addr.Unmap()
	octets := addr.As16()
	hi, lo := binary.BigEndian.Uint64(octets[:8]), binary.BigEndian.Uint64(octets[8:])
	if addr.Is4() {
		lo &= ^uint64(0) << (32 - uint(bits4))
	} else {
		hi &= ^uint64(0) << (64 - min(uint(bits6), 64))
		lo &= ^uint64(0) << (64 - (max(uint(bits6), 64) - 64))
	}
	return mix(hi ^ mix(lo^seedClient))
}

// score is the standing of a member with the client's network key: rendezvous hashing with
// weights (each member is first for a share of the networks that is its weight's; when one
// leaves, only its networks move).
func score(key, member uint64, weight float64) float64 {
	u := (float64(mix(key^member)>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -weight / math.Log(u)
}
