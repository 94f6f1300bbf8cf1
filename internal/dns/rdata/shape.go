package rdata

// kind is the form of one field of RDATA, in the text and on the wire.
type kind uint8

const (
	kindName       kind = iota + 1 // domain name
	kindU8                         // decimal number
	kindScheme                     // RFC 9859 §2.2: octet; number or mnemonic NOTIFY
	kindU16                        //
	kindU32                        //
	kindTTL                        // 32-bit seconds; the text may use units, as in 1h30m
	kindTime                       // RFC 4034 §3.2: YYYYMMDDHHmmSS, or seconds
	kindAlgorithm                  // octet; DNSSEC algorithm number or mnemonic
	kindCertType                   // RFC 4398 §2.1: 16 bits, number or mnemonic
	kindType                       // RR type
	kindIPv4                       //
	kindIPv6                       //
	kindEUI48                      // RFC 7043: octets in hexadecimal with hyphens
	kindEUI64                      //
	kindLocator                    // RFC 6742 §2.1.2: 64 bits as four groups of hexadecimal
	kindString                     // one character-string
	kindTag                        // RFC 8659 §4.1: character-string of letters and digits
	kindSalt                       // RFC 5155 §3.3: counted octets in hexadecimal, or -
	kindHash                       // RFC 5155 §3.3: counted octets in base32hex
	kindStrings                    // all further fields: at least one character-string
	kindOptStrings                 // all further fields: any number of character-strings
	kindOctets                     // the rest of the RDATA as one string without a count
	kindHex                        // all further fields: the rest of the RDATA in hexadecimal
	kindNSAP                       // RFC 1706 §7: the rest in hexadecimal after 0x, with dots anywhere
	kindBase64                     // all further fields: the rest of the RDATA in base64
	kindOptBase64                  // the same, may be empty
	kindBitmap                     // all further fields: RFC 4034 §4.1.2 type bit maps
	kindOldBitmap                  // all further fields: RFC 2535 §5.2, types 1 to 127 in one map
)

// Shapes that several types share.
var (
	shapeName      = []kind{kindName}
	shapeTwoNames  = []kind{kindName, kindName}
	shapePrefName  = []kind{kindU16, kindName}
	shapeStrings   = []kind{kindStrings}
	shapeString    = []kind{kindString}
	shapeNumber    = []kind{kindU32}
	shapeHex       = []kind{kindHex}
	shapeBase64    = []kind{kindBase64}
	shapeDigest    = []kind{kindU16, kindAlgorithm, kindU8, kindHex}
	shapeKey       = []kind{kindU16, kindU8, kindAlgorithm, kindBase64}
	shapeSignature = []kind{kindType, kindAlgorithm, kindU8, kindTTL, kindTime, kindTime, kindU16, kindName, kindBase64}
	shapeTLSA      = []kind{kindU8, kindU8, kindU8, kindHex}
	shapeLocator   = []kind{kindU16, kindLocator}
)

// shapes has the types whose RDATA is a row of fields: read, written and checked
// here, without another representation in between. The few with choices inside are
// in gateway.go, svcb.go and general.go.
var shapes = [...][]kind{
	TypeA: {kindIPv4}, TypeAAAA: {kindIPv6},
	TypeNS: shapeName, TypeMD: shapeName, TypeMF: shapeName, TypeCNAME: shapeName,
	TypeMB: shapeName, TypeMG: shapeName, TypeMR: shapeName, TypePTR: shapeName,
	TypeNSAPPTR: shapeName, TypeNSAP: {kindNSAP}, TypeDNAME: shapeName,
	TypeMINFO: shapeTwoNames, TypeRP: shapeTwoNames, TypeTALINK: shapeTwoNames,
	TypeMX: shapePrefName, TypeAFSDB: shapePrefName, TypeRT: shapePrefName, TypeKX: shapePrefName, TypeLP: shapePrefName,
	TypeSOA:   {kindName, kindName, kindU32, kindTTL, kindTTL, kindTTL, kindTTL},
	TypePX:    {kindU16, kindName, kindName},
	TypeSRV:   {kindU16, kindU16, kindU16, kindName},
	TypeNAPTR: {kindU16, kindU16, kindString, kindString, kindString, kindName},
	TypeHINFO: {kindString, kindString}, TypeGPOS: {kindString, kindString, kindString},
	TypeISDN: {kindString, kindOptStrings}, TypeX25: shapeString, TypeUINFO: shapeString,
	TypeTXT: shapeStrings, TypeSPF: shapeStrings, TypeAVC: shapeStrings, TypeNINFO: shapeStrings,
	TypeRESINFO: shapeStrings, TypeWALLET: shapeStrings,
	TypeUID: shapeNumber, TypeGID: shapeNumber,
	TypeEID: shapeHex, TypeNIMLOC: shapeHex,
	TypeDHCID: shapeBase64, TypeOPENPGPKEY: shapeBase64, TypeHHIT: shapeBase64, TypeBRID: shapeBase64,
	TypeCERT:  {kindCertType, kindU16, kindAlgorithm, kindBase64},
	TypeSSHFP: {kindU8, kindU8, kindHex},
	TypeTLSA:  shapeTLSA, TypeSMIMEA: shapeTLSA,
	TypeCAA: {kindU8, kindTag, kindOctets}, TypeURI: {kindU16, kindU16, kindOctets},
	TypeEUI48: {kindEUI48}, TypeEUI64: {kindEUI64},
	TypeL32: {kindU16, kindIPv4}, TypeL64: shapeLocator, TypeNID: shapeLocator,
	TypeDSYNC: {kindType, kindScheme, kindU16, kindName},
	TypeDS:    shapeDigest, TypeCDS: shapeDigest,
	TypeDNSKEY: shapeKey, TypeCDNSKEY: shapeKey, TypeRKEY: shapeKey,
	TypeKEY:   {kindU16, kindU8, kindAlgorithm, kindOptBase64}, // RFC 2535 §3.1.2: flags may say "no key"
	TypeRRSIG: shapeSignature, TypeSIG: shapeSignature,
	TypeNSEC: {kindName, kindBitmap}, TypeNXT: {kindName, kindOldBitmap},
	TypeNSEC3:      {kindU8, kindU8, kindU16, kindSalt, kindHash, kindBitmap},
	TypeNSEC3PARAM: {kindU8, kindU8, kindU16, kindSalt},
	TypeCSYNC:      {kindU32, kindU16, kindBitmap},
	TypeZONEMD:     {kindU32, kindU8, kindU8, kindHex},
}

// shapeOf returns the shape of t, nil when t has none in shapes.
func shapeOf(t Type) []kind {
	if int(t) < len(shapes) {
		return shapes[t]
	}
	switch t {
	case TypeDLV, TypeTA:
		return shapeDigest
	case TypeALIAS:
		return shapeName
	}
	return nil
}

// isRest reports whether k takes all fields that are left.
func (k kind) isRest() bool {
	return k == kindStrings || k == kindOptStrings || k >= kindHex
}

// isString reports whether k may be written in quotes.
func (k kind) isString() bool {
	return k == kindString || k == kindStrings || k == kindOptStrings || k == kindOctets
}

// remedies say, for each kind, what a field of it looks like.
var remedies = [...]string{
	kindName:       "write a domain name, with labels of 1 to 63 octets",
	kindU8:         "write a number from 0 to 255",
	kindScheme:     "write a number from 0 to 255, or NOTIFY",
	kindU16:        "write a number from 0 to 65535",
	kindU32:        "write a number from 0 to 4294967295",
	kindTTL:        "write seconds from 0 to 4294967295, or units such as 1h30m",
	kindTime:       "write YYYYMMDDHHmmSS in UTC, or seconds since 1970",
	kindAlgorithm:  "write a DNSSEC algorithm number from 0 to 255, or its mnemonic",
	kindCertType:   "write a certificate type from 0 to 65535, or its mnemonic",
	kindType:       "write an RR type such as AAAA, or TYPEnnn",
	kindIPv4:       "write an IPv4 address such as 192.0.2.1",
	kindIPv6:       "write an IPv6 address such as 2001:db8::1",
	kindEUI48:      "write six octets as 00-00-5e-00-53-2a",
	kindEUI64:      "write eight octets as 00-00-5e-ef-10-00-00-2a",
	kindLocator:    "write four groups of hexadecimal such as 2001:db8:1140:1000",
	kindString:     "write a string of at most 255 octets, in quotes if it has blanks",
	kindTag:        "write letters and digits such as issue",
	kindSalt:       "write at most 255 octets in hexadecimal, or - for none",
	kindHash:       "write 1 to 255 octets in base32hex without padding",
	kindStrings:    "write one or more strings of at most 255 octets each",
	kindOptStrings: "write strings of at most 255 octets each",
	kindOctets:     "write one string, in quotes if it has blanks",
	kindHex:        "write an even number of hexadecimal digits",
	kindNSAP:       "write 0x and an even number of hexadecimal digits, with dots where you like",
	kindBase64:     "write octets in base64",
	kindOptBase64:  "write octets in base64, or nothing",
	kindBitmap:     "write RR types such as A NS TYPE65280",
	kindOldBitmap:  "write RR types numbered from 1 to 127",
}
