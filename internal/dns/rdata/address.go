package rdata

import (
	"bytes"
	"net/netip"
	"unsafe"
)

func appendIPv4(dst []byte, text []byte) ([]byte, error) {
	part, digits, dots, value := [4]byte{}, 0, 0, 0
	for _, c := range text {
		switch {
		case isDigit(c):
			// A leading zero means octal to some readers: refused, as netip does.
			if digits > 0 && value == 0 {
				return dst, ErrSyntax
			}
			value = value*10 + int(c-'0')
			if digits++; value > 255 {
				return dst, ErrSyntax
			}
		case c == '.' && digits > 0 && dots < 3:
			part[dots] = byte(value)
			dots++
			digits, value = 0, 0
		default:
			return dst, ErrSyntax
		}
	}
	if dots != 3 || digits == 0 {
		return dst, ErrSyntax
	}
	part[3] = byte(value)
	return append(dst, part[:]...), nil
}

func appendIPv6(dst []byte, text []byte) ([]byte, error) {
	// A zone, as in fe80::1%eth0, is not part of an address on the wire.
	if len(text) == 0 || bytes.IndexByte(text, '%') >= 0 {
		return dst, ErrSyntax
	}
	// The string is a view of text, not a copy of it: neither the Addr without a zone
	// nor anything else keeps it after this call.
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(text), len(text)))
	if err != nil || !addr.Is6() {
		return dst, ErrSyntax
	}
	octets := addr.As16()
	return append(dst, octets[:]...), nil
}

// appendGroups appends octets written in groups of hexadecimal digits: RFC 7043
// §3.2 and §4.2 with all their digits, RFC 6742 §2.1.2 with leading zeros left out.
func appendGroups(dst []byte, k kind, text []byte) ([]byte, error) {
	groups, octets, separator := 4, 2, byte(':')
	if k != kindLocator {
		groups, octets, separator = 6, 1, '-'
	}
	if k == kindEUI64 {
		groups = 8
	}
	for n := groups; n > 0; n-- {
		value, digits := uint16(0), 0
		for ; digits < len(text) && digits < 2*octets; digits++ {
			nibble, ok := unhex(text[digits])
			if !ok {
				break
			}
			value = value<<4 | uint16(nibble)
		}
		if digits == 0 || k != kindLocator && digits != 2 {
			return dst, ErrSyntax
		}
		if octets == 2 {
			dst = append(dst, byte(value>>8))
		}
		dst = append(dst, byte(value))
		text = text[digits:]
		if n > 1 {
			if len(text) == 0 || text[0] != separator {
				return dst, ErrSyntax
			}
			text = text[1:]
		}
	}
	if len(text) > 0 {
		return dst, ErrSyntax
	}
	return dst, nil
}

func unhex(c byte) (byte, bool) {
	switch lower := c | 0x20; {
	case isDigit(c):
		return c - '0', true
	case 'a' <= lower && lower <= 'f':
		return lower - 'a' + 10, true
	}
	return 0, false
}
