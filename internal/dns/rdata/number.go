package rdata

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// appendNumber appends a field that is a number on the wire.
func appendNumber(dst []byte, k kind, text []byte) ([]byte, error) {
	var value uint64
	ok := false
	switch k {
	case kindU8:
		value, ok = parseNumber(text, math.MaxUint8)
	case kindScheme:
		if value, ok = parseNumber(text, math.MaxUint8); !ok && strings.EqualFold(string(text), "NOTIFY") {
			value, ok = 1, true
		}
	case kindU16:
		value, ok = parseNumber(text, math.MaxUint16)
	case kindU32:
		value, ok = parseNumber(text, math.MaxUint32)
	case kindTTL:
		value, ok = parseSeconds(text)
	case kindTime:
		value, ok = parseTime(text)
	case kindAlgorithm:
		if value, ok = parseNumber(text, math.MaxUint8); !ok {
			var number uint8
			number, ok = dns.StringToAlgorithm[strings.ToUpper(string(text))]
			value = uint64(number)
		}
	case kindCertType:
		if value, ok = parseNumber(text, math.MaxUint16); !ok {
			var number uint16
			number, ok = dns.StringToCertType[strings.ToUpper(string(text))]
			value = uint64(number)
		}
	case kindType:
		var t Type
		t, ok = ParseTypeField(text)
		value = uint64(t)
	}
	if !ok {
		return dst, ErrSyntax
	}
	switch k {
	case kindU8, kindAlgorithm, kindScheme:
		return append(dst, byte(value)), nil
	case kindU16, kindCertType, kindType:
		return binary.BigEndian.AppendUint16(dst, uint16(value)), nil
	}
	return binary.BigEndian.AppendUint32(dst, uint32(value)), nil
}

// parseNumber reads a decimal number of at most limit, without sign.
func parseNumber(text []byte, limit uint64) (uint64, bool) {
	if len(text) == 0 || len(text) > 20 {
		return 0, false
	}
	value := uint64(0)
	for _, c := range text {
		if !isDigit(c) {
			return 0, false
		}
		if value = value*10 + uint64(c-'0'); value > limit {
			return 0, false
		}
	}
	return value, true
}

// ParseTTL reads a TTL of 0 to MaxTTL seconds: a number, or numbers with the
// units w d h m s as BIND introduced them and every server reads them (1h30m).
func ParseTTL(text []byte) (TTL, bool) {
	value, ok := parseSeconds(text)
	return TTL(value), ok && value <= uint64(MaxTTL)
}

func parseSeconds(text []byte) (uint64, bool) {
	total, part, digits, units := uint64(0), uint64(0), 0, 0
	for _, c := range text {
		if isDigit(c) {
			part = part*10 + uint64(c-'0')
			digits++
		} else {
			unit := unitSeconds(c)
			if unit == 0 || digits == 0 {
				return 0, false
			}
			total += part * unit
			part, digits = 0, 0
			units++
		}
		if part > math.MaxUint32 || total > math.MaxUint32 {
			return 0, false
		}
	}
	// "1h30" is nothing that servers agree on.
	if digits > 0 && units > 0 || digits == 0 && units == 0 {
		return 0, false
	}
	return total + part, total+part <= math.MaxUint32
}

func unitSeconds(c byte) uint64 {
	switch c | 0x20 {
	case 's':
		return 1
	case 'm':
		return 60
	case 'h':
		return 3600
	case 'd':
		return 86400
	case 'w':
		return 604800
	}
	return 0
}

// parseTime reads a time of a signature. RFC 4034 §3.2: it is either 14 digits,
// YYYYMMDDHHmmSS, or a number of seconds, which has at most 10.
func parseTime(text []byte) (uint64, bool) {
	if len(text) != 14 {
		return parseNumber(text, math.MaxUint32)
	}
	year, ok := parseNumber(text[:4], 9999)
	if !ok {
		return 0, false
	}
	var part [5]int // month, day, hour, minute, second
	for i := range part {
		value, ok := parseNumber(text[4+2*i:6+2*i], 99)
		if !ok {
			return 0, false
		}
		part[i] = int(value)
	}
	when := time.Date(int(year), time.Month(part[0]), part[1], part[2], part[3], part[4], 0, time.UTC)
	_, month, day := when.Date() // 31 February becomes another day
	if int(month) != part[0] || day != part[1] || part[2] > 23 || part[3] > 59 || part[4] > 59 {
		return 0, false
	}
	// RFC 4034 §3.1.5: the 32 bits wrap around; BIND writes those that are closer to
	// now that way as a time before 1970.
	seconds := when.Unix()
	if seconds < math.MinInt32 || seconds > math.MaxUint32 {
		return 0, false
	}
	return uint64(uint32(seconds)), true
}

// ParseTypeField is ParseType without garbage for the types that zones are full of.
func ParseTypeField(text []byte) (Type, bool) {
	var room [8]byte // longer than the names below
	if len(text) > len(room) {
		return ParseType(string(text))
	}
	upper := room[:copy(room[:], text)]
	for i, c := range upper {
		if 'a' <= c && c <= 'z' {
			upper[i] = c - ('a' - 'A')
		}
	}
	switch string(upper) {
	case "A":
		return TypeA, true
	case "NS":
		return TypeNS, true
	case "AAAA":
		return TypeAAAA, true
	case "DS":
		return TypeDS, true
	case "RRSIG":
		return TypeRRSIG, true
	case "NSEC":
		return TypeNSEC, true
	case "NSEC3":
		return TypeNSEC3, true
	case "TXT":
		return TypeTXT, true
	case "MX":
		return TypeMX, true
	case "CNAME":
		return TypeCNAME, true
	case "PTR":
		return TypePTR, true
	}
	return ParseType(string(text))
}
