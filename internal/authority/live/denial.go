package live

import (
	"crypto/sha1" // RFC 5155 §11: the only hash of NSEC3

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file makes the records that deny one name and no other: they lead from the name to
// the one right behind it (RFC 4470, RFC 9824 §3).

// AppendNSEC appends the RDATA of an NSEC record of name that says that it has these
// types, and that nothing is right behind it. ok is false for the few names that have no
// room for one behind them.
func AppendNSEC(b []byte, name dnsname.Name, types []rdata.Type) (_ []byte, ok bool) {
	if b, ok = appendSuccessor(b, name); !ok {
		return b, false
	}
	return rdata.AppendBitmap(b, types), true
}

// appendSuccessor appends the name right behind name in canonical order: the child \000
// (RFC 9824 §3.1), or if there is no room for it, the next one beside name.
func appendSuccessor(b []byte, name dnsname.Name) ([]byte, bool) {
	length := len(name.Label())
	switch {
	case name.Len()+2 <= dnsname.MaxLen:
		return name.AppendWire(append(b, 1, 0)), true
	case name.Len()+1 <= dnsname.MaxLen && length < dnsname.MaxLabelLen:
		b = append(b, byte(length+1))
		b = append(b, name.Label()...)
		return name.Parent().AppendWire(append(b, 0)), true
	}
	last := name.Label()[length-1]
	switch last {
	case 0xFF:
		return b, false
	case 'A' - 1: // capital letters are in no name
		last = 'Z'
	}
	b = append(b, byte(length))
	b = append(b, name.Label()[:length-1]...)
	return name.Parent().AppendWire(append(b, last+1)), true
}

// AppendNSEC3 appends the RDATA of an NSEC3 record whose owner has the hash that label
// spells, with the next hash right behind it. params is the RDATA of NSEC3PARAM.
func AppendNSEC3(b []byte, label string, params []byte, types []rdata.Type) (_ []byte, ok bool) {
	var hash [sha1.Size]byte
	if len(label) != sha1.Size*8/5 {
		return b, false
	}
	for i := range sha1.Size / 5 { // five octets are eight digits (RFC 4648 §7)
		var bits uint64
		for _, c := range []byte(label[8*i : 8*i+8]) {
			digit := c - '0'
			if c >= 'a' {
				digit = c - 'a' + 10
			}
			if digit > 31 {
				return b, false
			}
			bits = bits<<5 | uint64(digit)
		}
		for j := range 5 {
			hash[5*i+j] = byte(bits >> (32 - 8*j))
		}
	}
	for i := len(hash) - 1; i >= 0; i-- {
		if hash[i]++; hash[i] != 0 {
			break
		}
	}
	b = append(append(b, params...), byte(len(hash)))
	b = append(b, hash[:]...)
	return rdata.AppendBitmap(b, types), true
}
