package policy

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"pharos/internal/authority/zone"
)

// networks are triggers of one kind that are networks: for each length of a prefix a
// sorted list, so that a lookup is one binary search for each length that occurs.
//
// Invariant: v4 and v6 have a list for each length in their order, longest first.
type networks struct {
	v4 []lengthOf[uint32]
	v6 []lengthOf[uint128]
}

// uint128 is an IPv6 address as a number.
type uint128 struct{ hi, lo uint64 }

func (a uint128) less(b uint128) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

// lengthOf are the networks of one length.
type lengthOf[A any] struct {
	bits  int
	nodes []entry[A] // by address
}

type entry[A any] struct {
	address A
	node    zone.Node
}

func (x *networks) isEmpty() bool { return len(x.v4) == 0 && len(x.v6) == 0 }

// add takes in a network. An IPv4-mapped IPv6 network is the IPv4 network it stands
// for (draft §4.1.1).
func (x *networks) add(p netip.Prefix, n zone.Node) {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Addr().Is4() {
		x.v4 = addTo(x.v4, p.Bits(), entry[uint32]{number4(p.Addr()), n})
		return
	}
	x.v6 = addTo(x.v6, p.Bits(), entry[uint128]{number6(p.Addr()), n})
}

func addTo[A any](lists []lengthOf[A], bits int, e entry[A]) []lengthOf[A] {
	for i := range lists {
		if lists[i].bits == bits {
			lists[i].nodes = append(lists[i].nodes, e)
			return lists
		}
	}
	return append(lists, lengthOf[A]{bits, []entry[A]{e}})
}

// finish puts everything in order.
func (x *networks) finish() {
	slices.SortFunc(x.v4, func(a, b lengthOf[uint32]) int { return b.bits - a.bits })
	slices.SortFunc(x.v6, func(a, b lengthOf[uint128]) int { return b.bits - a.bits })
	for i := range x.v4 {
		slices.SortFunc(x.v4[i].nodes, func(a, b entry[uint32]) int { return cmp.Compare(a.address, b.address) })
		x.v4[i].nodes = slices.Clip(x.v4[i].nodes)
	}
	for i := range x.v6 {
		slices.SortFunc(x.v6[i].nodes, func(a, b entry[uint128]) int {
			return cmp.Or(cmp.Compare(a.address.hi, b.address.hi), cmp.Compare(a.address.lo, b.address.lo))
		})
		x.v6[i].nodes = slices.Clip(x.v6[i].nodes)
	}
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func number6(a netip.Addr) uint128 {
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// find returns the node of the longest network that a lies in, and its length among
// all of both families (IPv4 networks count 96 bits more, draft §5.5); zero if it lies
// in none.
func (x *networks) find(a netip.Addr) (n zone.Node, bits int) {
	if a = a.Unmap(); a.Is4() {
		return x.find4(number4(a))
	}
	if !a.Is6() {
		return 0, 0
	}
	return x.find6(number6(a))
}

func (x *networks) find4(a uint32) (zone.Node, int) {
	for i := range x.v4 {
		l := &x.v4[i]
		masked := a &^ (1<<(32-l.bits) - 1)
		low, high := 0, len(l.nodes)
		for low < high {
			if middle := (low + high) / 2; l.nodes[middle].address < masked {
				low = middle + 1
			} else {
				high = middle
			}
		}
		if low < len(l.nodes) && l.nodes[low].address == masked {
			return l.nodes[low].node, 96 + l.bits
		}
	}
	return 0, 0
}

func (x *networks) find6(a uint128) (zone.Node, int) {
	for i := range x.v6 {
		l := &x.v6[i]
		masked := a.masked(l.bits)
		low, high := 0, len(l.nodes)
		for low < high {
			if middle := (low + high) / 2; l.nodes[middle].address.less(masked) {
				low = middle + 1
			} else {
				high = middle
			}
		}
		if low < len(l.nodes) && l.nodes[low].address == masked {
			return l.nodes[low].node, l.bits
		}
	}
	return 0, 0
}

// masked returns a with all but its first bits zero.
func (a uint128) masked(bits int) uint128 {
	if bits <= 64 {
		return uint128{a.hi &^ (1<<(64-bits) - 1), 0}
	}
	return uint128{a.hi, a.lo &^ (1<<(128-bits) - 1)}
}
