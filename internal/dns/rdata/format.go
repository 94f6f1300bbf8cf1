package rdata

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"
)

const upperHex = "0123456789ABCDEF"

// appendShapeText writes data, which Validate has accepted, field by field.
func appendShapeText(b []byte, shape []kind, data []byte) []byte {
	for i, k := range shape {
		// A bit map puts a blank before each of its types.
		if i > 0 && k != kindBitmap && k != kindOldBitmap && (!k.isRest() || len(data) > 0) {
			b = append(b, ' ')
		}
		n := len(data)
		if k.isRest() || k == kindOctets {
			b = appendRestText(b, k, data)
		} else {
			b, n = appendFieldText(b, k, data)
		}
		data = data[n:]
	}
	return b
}

// appendFieldText writes the field that data begins with, and returns its length
// in octets.
func appendFieldText(b []byte, k kind, data []byte) ([]byte, int) {
	switch k {
	case kindName:
		return appendNameText(b, data)
	case kindU8, kindAlgorithm, kindScheme:
		return strconv.AppendUint(b, uint64(data[0]), 10), 1
	case kindU16, kindCertType:
		return strconv.AppendUint(b, uint64(binary.BigEndian.Uint16(data)), 10), 2
	case kindU32, kindTTL:
		return strconv.AppendUint(b, uint64(binary.BigEndian.Uint32(data)), 10), 4
	case kindTime:
		return appendTimeText(b, binary.BigEndian.Uint32(data)), 4
	case kindType:
		return AppendType(b, Type(binary.BigEndian.Uint16(data))), 2
	case kindIPv4:
		return netip.AddrFrom4([4]byte(data)).AppendTo(b), 4
	case kindIPv6:
		return netip.AddrFrom16([16]byte(data)).AppendTo(b), 16
	case kindEUI48:
		return appendGroupsText(b, data[:6], '-'), 6
	case kindEUI64:
		return appendGroupsText(b, data[:8], '-'), 8
	case kindLocator:
		return appendLocatorText(b, data[:8]), 8
	}
	n := 1 + int(data[0]) // the others are counted octets
	switch counted := data[1:n]; {
	case k == kindTag:
		b = append(b, counted...)
	case k == kindHash:
		b = base32hex.AppendEncode(b, counted)
	case k == kindString:
		b = appendQuoted(b, counted)
	case len(counted) == 0: // an empty salt
		b = append(b, '-')
	default:
		b = appendHexText(b, counted)
	}
	return b, n
}

// appendRestText writes what data holds to its end.
func appendRestText(b []byte, k kind, data []byte) []byte {
	switch k {
	case kindStrings, kindOptStrings:
		for at := 0; at < len(data); at += 1 + int(data[at]) {
			if at > 0 {
				b = append(b, ' ')
			}
			b = appendQuoted(b, data[at+1:at+1+int(data[at])])
		}
	case kindOctets:
		b = appendQuoted(b, data)
	case kindHex:
		b = appendHexText(b, data)
	case kindNSAP:
		b = appendHexText(append(b, "0x"...), data)
	case kindBase64, kindOptBase64:
		b = base64.StdEncoding.AppendEncode(b, data)
	case kindBitmap:
		b = appendBitmapText(b, data)
	case kindOldBitmap:
		b = appendBitsText(b, 0, data)
	}
	return b
}

// appendQuoted writes octets as a quoted string. RFC 1035 §5.1: a quote and a
// backslash are escaped; octets that are not printable ASCII go as \DDD, which
// every reader understands whatever its character set.
func appendQuoted(b []byte, octets []byte) []byte {
	b = append(b, '"')
	for _, c := range octets {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = appendDDD(b, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func appendHexText(b []byte, octets []byte) []byte {
	for _, c := range octets {
		b = append(b, upperHex[c>>4], upperHex[c&15])
	}
	return b
}

func appendGroupsText(b []byte, octets []byte, separator byte) []byte {
	for i := range octets {
		if i > 0 {
			b = append(b, separator)
		}
		b = hex.AppendEncode(b, octets[i:i+1])
	}
	return b
}

// appendLocatorText writes all four digits of each group: not every reader knows
// that leading zeros may be left out.
func appendLocatorText(b []byte, octets []byte) []byte {
	for i := 0; i < len(octets); i += 2 {
		if i > 0 {
			b = append(b, ':')
		}
		b = hex.AppendEncode(b, octets[i:i+2])
	}
	return b
}

// appendTimeText writes the time of a signature as YYYYMMDDHHmmSS (RFC 4034
// §3.2), taking the number as seconds since 1970, so up to the year 2106.
func appendTimeText(b []byte, seconds uint32) []byte {
	when := time.Unix(int64(seconds), 0).UTC()
	year, month, day := when.Date()
	hour, minute, second := when.Clock()
	b = strconv.AppendInt(b, int64(year), 10)
	for _, part := range [...]int{int(month), day, hour, minute, second} {
		b = append(b, '0'+byte(part/10), '0'+byte(part%10))
	}
	return b
}

// AppendType appends t so that every reader knows it: types that some reader of
// master files does not know by name go as TYPEnnn.
func AppendType(b []byte, t Type) []byte {
	if t.IsPortable() {
		return append(b, t.String()...)
	}
	b = append(b, "TYPE"...)
	return strconv.AppendUint(b, uint64(t), 10)
}
