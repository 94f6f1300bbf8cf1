package dnswire

import (
	"encoding/binary"
	"net/netip"
)

// Subnet is the network of a client that a resolver asks for (RFC 7871 §6).
//
//	family u16 | source prefix length u8 | scope prefix length u8 | address
//
// In a query the scope is 0; the address has as many octets as its length needs,
// and no bits set behind it.
type Subnet struct {
	Family uint16       // 1 is IPv4, 2 is IPv6; 0 with nothing said
	Prefix netip.Prefix // of length 0 if the resolver keeps its client to itself; invalid for family 0
}

// Address families of the option (RFC 7871 §6).
const (
	familyNone = 0
	familyIPv4 = 1
	familyIPv6 = 2
)

// maxSubnet is the length of the option at the most.
const maxSubnet = 4 + 16

// ParseSubnet reads the option of a query. ok is false for one that is malformed:
// RFC 7871 §7.1.2 has a server answer it with FORMERR.
func ParseSubnet(option []byte) (s Subnet, ok bool) {
	if len(option) < 4 || option[3] != 0 {
		return Subnet{}, false
	}
	s.Family = binary.BigEndian.Uint16(option)
	bits, address := int(option[2]), option[4:]
	if len(address) != (bits+7)/8 {
		return Subnet{}, false
	}
	var octets [16]byte
	copy(octets[:], address)
	var addr netip.Addr
	switch s.Family {
	case familyNone: // how BIND's dig says "+subnet=0"
		return s, bits == 0
	case familyIPv4:
		addr = netip.AddrFrom4([4]byte(octets[:4]))
	case familyIPv6:
		addr = netip.AddrFrom16(octets)
	default:
		return Subnet{}, false
	}
	if bits > addr.BitLen() {
		return Subnet{}, false
	}
	s.Prefix = netip.PrefixFrom(addr, bits)
	return s, s.Prefix == s.Prefix.Masked()
}

// IsSet reports whether s names a network, so that it can stand for a client.
func (s Subnet) IsSet() bool { return s.Prefix.IsValid() && s.Prefix.Bits() > 0 }

// AddSubnet echoes the option of the query with the length of the prefix for which
// the answer is good; 0: for everybody (RFC 7871 §7.2.1).
func (b *Builder) AddSubnet(option []byte, scope int) bool {
	var data [maxSubnet]byte
	n := copy(data[:], option)
	data[3] = byte(scope)
	return b.AddOption(OptionSubnet, data[:n])
}

// RaiseScope makes the scope of an option that AddSubnet has added at least so long: an
// answer turned out to be good for fewer clients. Without one it does nothing, nor where
// the client is kept secret: that answer is for everybody (RFC 7871 §7.1.2).
func (b *Builder) RaiseScope(scope int) {
	for at := 0; at+4 <= b.optionsLen; {
		length := int(binary.BigEndian.Uint16(b.options[at+2:]))
		if Option(binary.BigEndian.Uint16(b.options[at:])) == OptionSubnet && length >= 4 {
			if sourceLength := b.options[at+6]; sourceLength > 0 {
				b.options[at+7] = max(b.options[at+7], byte(scope))
			}
			return
		}
		at += 4 + length
	}
}
