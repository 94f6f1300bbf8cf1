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
	TypeNULL       Type = 10
	TypePTR        Type = 12
	TypeHINFO      Type = 13
	TypeMINFO      Type = 14
	TypeMX         Type = 15
	TypeTXT        Type = 16
	TypeRP         Type = 17
	TypeAFSDB      Type = 18
	TypeX25        Type = 19
	TypeISDN       Type = 20
	TypeRT         Type = 21
	TypeNSAP       Type = 22
	TypeNSAPPTR    Type = 23
	TypeSIG        Type = 24
	TypeKEY        Type = 25
	TypePX         Type = 26
	TypeGPOS       Type = 27
	TypeAAAA       Type = 28
	TypeLOC        Type = 29
	TypeNXT        Type = 30
	TypeEID        Type = 31
	TypeNIMLOC     Type = 32
	TypeSRV        Type = 33
	TypeNAPTR      Type = 35
	TypeKX         Type = 36
	TypeCERT       Type = 37
	TypeDNAME      Type = 39
	TypeOPT        Type = 41
	TypeAPL        Type = 42
	TypeDS         Type = 43
	TypeSSHFP      Type = 44
	TypeIPSECKEY   Type = 45
	TypeRRSIG      Type = 46
	TypeNSEC       Type = 47
	TypeDNSKEY     Type = 48
	TypeDHCID      Type = 49
	TypeNSEC3      Type = 50
	TypeNSEC3PARAM Type = 51
	TypeTLSA       Type = 52
	TypeSMIMEA     Type = 53
	TypeHIP        Type = 55
	TypeNINFO      Type = 56
	TypeRKEY       Type = 57
	TypeTALINK     Type = 58
	TypeCDS        Type = 59
	TypeCDNSKEY    Type = 60
	TypeOPENPGPKEY Type = 61
	TypeCSYNC      Type = 62
	TypeZONEMD     Type = 63
	TypeSVCB       Type = 64
	TypeHTTPS      Type = 65
	TypeDSYNC      Type = 66
	TypeHHIT       Type = 67
	TypeBRID       Type = 68
	TypeSPF        Type = 99
	TypeUINFO      Type = 100
	TypeUID        Type = 101
	TypeGID        Type = 102
	TypeNID        Type = 104
	TypeL32        Type = 105
	TypeL64        Type = 106
	TypeLP         Type = 107
	TypeEUI48      Type = 108
	TypeEUI64      Type = 109
	TypeNXNAME     Type = 128
	TypeTKEY       Type = 249
	TypeTSIG       Type = 250
	TypeIXFR       Type = 251
	TypeAXFR       Type = 252
	TypeMAILB      Type = 253
	TypeMAILA      Type = 254
	TypeANY        Type = 255
	TypeURI        Type = 256
	TypeCAA        Type = 257
	TypeAVC        Type = 258
	TypeAMTRELAY   Type = 260
	TypeRESINFO    Type = 261
	TypeWALLET     Type = 262
	TypeTA         Type = 32768
	TypeDLV        Type = 32769
	TypeALIAS      Type = 65401 // private use, and PowerDNS's choice: addresses are those of the target
)

// typeReserved is the highest type number, which RFC 6895 §3.1 reserves;
// miekg/dns calls it "Reserved".
const typeReserved Type = 65535

// IsMeta reports whether t is a QTYPE or a meta type, which no zone holds and no
// cache keeps (RFC 6895 §3.1: 128 to 255, and OPT).
func (t Type) IsMeta() bool { return t == 0 || t == TypeOPT || 128 <= t && t <= 255 }

// newTypes has the mnemonics of the IANA registry that miekg/dns does not know.
var newTypes = map[Type]string{
	TypeNSAP: "NSAP", TypeDSYNC: "DSYNC", TypeHHIT: "HHIT", TypeBRID: "BRID", TypeWALLET: "WALLET",
	TypeALIAS: "ALIAS",
}

// String returns the mnemonic of t, or TYPEnnn (RFC 3597 §5).
func (t Type) String() string {
	if name, ok := dns.TypeToString[uint16(t)]; ok && t != 0 && t != typeReserved {
		return name
	}
	if name, ok := newTypes[t]; ok {
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
	s = strings.ToUpper(s) // returns s itself when there is nothing to do
	if t, ok := dns.StringToType[s]; ok {
		return Type(t), true
	}
	for t, name := range newTypes {
		if s == name {
			return t, true
		}
	}
	return 0, false
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
