package http2

import "pharos/internal/proxy/section"

// Field blocks that are sent use the static table for names and for common status codes,
// and no dynamic one: a response passes once, and what a table saves in octets it costs in
// searching. Nothing is compressed, so that no secret can be guessed by lengths.

// staticNames are the entries of the static table whose names responses have (RFC 7541,
// appendix A).
var staticNames = map[string]uint8{
	"accept-ranges": 18, "access-control-allow-origin": 20, "age": 21, "allow": 22, "cache-control": 24,
	"content-disposition": 25, "content-encoding": 26, "content-language": 27, "content-length": 28, "content-location": 29,
	"content-range": 30, "content-type": 31, "date": 33, "etag": 34, "expires": 36, "last-modified": 44, "link": 45, "location": 46,
	"proxy-authenticate": 48, "refresh": 52, "retry-after": 53, "server": 54, "set-cookie": 55, "strict-transport-security": 56,
	"vary": 59, "via": 60, "www-authenticate": 61,
}

// Representations of a field (RFC 7541 §6).
const (
	indexed       = 0x80
	literal       = 0x00 // without indexing
	neverIndexed  = 0x10
	statusName    = 8 // :status in the static table
	setCookieName = 55
)

func appendStatus(b []byte, status int) []byte {
	switch status {
	case 200:
		return append(b, indexed|8)
	case 204:
		return append(b, indexed|9)
	case 206:
		return append(b, indexed|10)
	case 304:
		return append(b, indexed|11)
	case 400:
		return append(b, indexed|12)
	case 404:
		return append(b, indexed|13)
	case 500:
		return append(b, indexed|14)
	}
	return append(b, literal|statusName, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
}

// appendFields appends field lines, their names in lower case. Fields that concern one
// connection are left out (RFC 9113 §8.2.2).
func appendFields(b, lines []byte) []byte {
	for name, value := range section.Fields(lines) {
		b = appendField(b, name, value)
	}
	return b
}

func appendField(b, name, value []byte) []byte {
	var room [64]byte
	low := section.AppendLower(room[:0], name)
	if section.IsOfConnection(low) {
		return b
	}
	switch i := staticNames[string(low)]; i {
	case 0:
		b = appendString(append(b, literal), low)
	case setCookieName:
		// RFC 7541 §7.1.3: a secret, that nobody behind us may index either.
		b = appendInt(b, neverIndexed, 4, int(i))
	default:
		b = appendInt(b, literal, 4, int(i))
	}
	return appendString(b, value)
}

func appendString(b, s []byte) []byte { return append(appendInt(b, 0, 7, len(s)), s...) }

// appendInt appends an integer with a prefix of so many bits (RFC 7541 §5.1).
func appendInt(b []byte, first uint8, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, first|uint8(n))
	}
	b = append(b, first|uint8(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, uint8(n)|0x80)
	}
	return append(b, uint8(n))
}
