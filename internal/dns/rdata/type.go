package rdata

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Type is an RR TYPE (RFC 1035 §3.2.2 and the IANA registry).
type Type uint16

// The types this program treats specially somewhere; every other type is known
// by its mnemonic through String and ParseType.
const (
	TypeA          Type = 1
	TypeNS         Type = 2
	TypeMD         Type = 3
	TypeMF         Type = 4
	TypeCNAME      Type = 5
	TypeSOA        Type = 6
	TypeMB         Type = 7
	TypeMG         Type = 8
	TypeMR         Type = 9
	TypePTR        Type = 12
	TypeHINFO      Type = 13
	TypeMINFO      Type = 14
	TypeMX         Type = 15
	TypeTXT        Type = 16
	TypeRP         Type = 17
	TypeAFSDB      Type = 18
	TypeRT         Type = 21
	TypeSIG        Type = 24
	TypePX         Type = 26
	TypeAAAA       Type = 28
	TypeNXT        Type = 30
	TypeSRV        Type = 33
	TypeNAPTR      Type = 35
	TypeKX         Type = 36
	TypeCERT       Type = 37
	TypeDNAME      Type = 39
	TypeOPT        Type = 41
	TypeDS         Type = 43
	TypeRRSIG      Type = 46
	TypeNSEC       Type = 47
	TypeDNSKEY     Type = 48
	TypeNSEC3      Type = 50
	TypeNSEC3PARAM Type = 51
	TypeCDS        Type = 59
	TypeCDNSKEY    Type = 60
	TypeZONEMD     Type = 63
	TypeSVCB       Type = 64
	TypeHTTPS      Type = 65
	TypeTKEY       Type = 249
	TypeTSIG       Type = 250
	TypeIXFR       Type = 251
	TypeAXFR       Type = 252
	TypeMAILB      Type = 253
	TypeMAILA      Type = 254
	TypeANY        Type = 255
)

// IsMeta reports whether t is a QTYPE or a meta type, which no zone holds and no
// cache keeps (RFC 6895 §3.1: 128 to 255, and OPT).
func (t Type) IsMeta() bool { return t == 0 || t == TypeOPT || 128 <= t && t <= 255 }

// String returns the mnemonic of t, or TYPEnnn (RFC 3597 §5).
func (t Type) String() string {
	if name, ok := dns.TypeToString[uint16(t)]; ok && t != 0 {
		return name
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// MarshalText returns what String returns.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseType with an error.
func (t *Type) UnmarshalText(text []byte) error {
	parsed, ok := ParseType(string(text))
	if !ok {
		return fmt.Errorf("%q is no RR type: want a mnemonic such as AAAA, or TYPEnnn", text)
	}
	*t = parsed
	return nil
}

// ParseType reads a mnemonic in any case, or TYPEnnn.
func ParseType(s string) (Type, bool) {
	// Generic first: "TYPE65280" must not depend on a table.
	if n, ok := parseGeneric(s, "TYPE"); ok {
		return Type(n), true
	}
	if t, ok := dns.StringToType[s]; ok && t != 0 {
		return Type(t), true
	}
	t, ok := dns.StringToType[strings.ToUpper(s)]
	return Type(t), ok && t != 0
}

// Class is an RR CLASS (RFC 1035 §3.2.4).
type Class uint16

// The classes that are in use.
const (
	ClassIN   Class = 1
	ClassCH   Class = 3
	ClassHS   Class = 4
	ClassNONE Class = 254 // RFC 2136 §2.4
	ClassANY  Class = 255
)

// String returns the mnemonic of c, or CLASSnnn (RFC 3597 §5).
func (c Class) String() string {
	switch c {
	case ClassIN:
		return "IN"
	case ClassCH:
		return "CH"
	case ClassHS:
		return "HS"
	case ClassNONE:
		return "NONE"
	case ClassANY:
		return "ANY"
	}
	return "CLASS" + strconv.Itoa(int(c))
}

// ParseClass reads a mnemonic in any case, or CLASSnnn.
func ParseClass(s string) (Class, bool) {
	for _, c := range []Class{ClassIN, ClassCH, ClassHS, ClassNONE, ClassANY} {
		if strings.EqualFold(s, c.String()) {
			return c, true
		}
	}
	n, ok := parseGeneric(s, "CLASS")
	return Class(n), ok
}

// parseGeneric reads prefix followed by a decimal number of 16 bits.
func parseGeneric(s, prefix string) (uint16, bool) {
	if len(s) <= len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return 0, false
	}
	n, err := strconv.ParseUint(s[len(prefix):], 10, 16)
	return uint16(n), err == nil
}

// TTL is a time to live in seconds, 0 to MaxTTL.
type TTL uint32

// MaxTTL is the largest time to live. RFC 2181 §8: a value with the top bit set
// is to be treated as 0.
const MaxTTL TTL = 1<<31 - 1

// Serial is an SOA SERIAL, which wraps around (RFC 1982).
type Serial uint32

// Less reports whether s comes before o in serial number arithmetic
// (RFC 1982 §3.2). For two serials exactly 2^31 apart it is false both ways.
func (s Serial) Less(o Serial) bool { return s != o && int32(s-o) < 0 && s-o != 1<<31 }
