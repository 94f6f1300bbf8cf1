package httpproxy

import (
	"math/rand/v2"
	"time"
)

// appendUUIDv7 appends a new UUID of version 7 (RFC 9562 §5.7): 48 bits of
// milliseconds since 1970, then random bits, so that ids sort by time. The
// random bits come from the runtime's ChaCha8, which takes no lock.
func appendUUIDv7(b []byte, now time.Time) []byte {
	const hex = "0123456789abcdef"
	hi := uint64(now.UnixMilli())<<16 | 0x7000 | rand.Uint64()&0x0fff
	lo := 1<<63 | rand.Uint64()>>2
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			b = append(b, '-')
		}
		v := hi
		if i >= 16 {
			v = lo
		}
		b = append(b, hex[v>>(60-4*(i%16))&15])
	}
	return b
}

// isRequestID reports whether a given id may be passed on and logged: 1 to 128
// characters that need no quoting anywhere.
func isRequestID(id []byte) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-' || c == '_' || c == '.' || c == ':' || c == '/' || c == '=' || c == '+':
		default:
			return false
		}
	}
	return true
}
