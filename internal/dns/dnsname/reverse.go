package dnsname

import (
	"net/netip"
	"strconv"
)

// Where addresses are names: RFC 1035 §3.5, RFC 3596 §2.5.
var (
	reverse4 = MustParse("in-addr.arpa")
	reverse6 = MustParse("ip6.arpa")
)

// Reverse returns the name below in-addr.arpa or ip6.arpa at which the PTR record of
// addr stands; the zero Name if addr is not valid.
func Reverse(addr netip.Addr) Name {
	if !addr.IsValid() {
		return Name{}
	}
	var wire []byte
	octets := addr.AsSlice()
	for i := len(octets) - 1; i >= 0; i-- {
		if addr.Is4() {
			digits := strconv.AppendUint(nil, uint64(octets[i]), 10)
			wire = append(append(wire, byte(len(digits))), digits...)
			continue
		}
		const digits = "0123456789abcdef"
		wire = append(wire, 1, digits[octets[i]&15], 1, digits[octets[i]>>4])
	}
	if addr.Is4() {
		return Name{string(append(wire, reverse4.wire...))}
	}
	return Name{string(append(wire, reverse6.wire...))}
}

// Address is the inverse of Reverse: it returns the address whose PTR record stands at
// n; ok is false if n is not the name of a whole address.
func (n Name) Address() (addr netip.Addr, ok bool) {
	switch {
	case n.IsSubdomainOf(reverse4):
		return n.address4()
	case n.IsSubdomainOf(reverse6):
		return n.address6()
	}
	return netip.Addr{}, false
}

func (n Name) address4() (netip.Addr, bool) {
	var octets [4]byte
	for i := len(octets) - 1; i >= 0; i-- {
		label := n.Label()
		value, err := strconv.ParseUint(label, 10, 8)
		if err != nil || len(label) > 1 && label[0] == '0' {
			return netip.Addr{}, false
		}
		octets[i] = byte(value)
		n = n.Parent()
	}
	return netip.AddrFrom4(octets), n == reverse4
}

func (n Name) address6() (netip.Addr, bool) {
	var octets [16]byte
	for i := 31; i >= 0; i-- {
		label := n.Label()
		value, err := strconv.ParseUint(label, 16, 8)
		if err != nil || len(label) != 1 {
			return netip.Addr{}, false
		}
		octets[i/2] |= byte(value) << (4 * (1 - i%2))
		n = n.Parent()
	}
	return netip.AddrFrom16(octets), n == reverse6
}
