// Package requestid makes the ids of requests, and knows which of others may be passed on.
//
// Entry points: Append, IsOne.
//
// Concurrency: everything here may be called from any goroutine.
//
// Sources: RFC 9562 (UUIDs).
package requestid

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// Append appends a new UUID of version 7 (RFC 9562 §5.7): 48 bits of
// milliseconds since 1970, then random bits, so that ids sort by time. The
// random bits come from the runtime's ChaCha8, which takes no lock.
func Append(b []byte, now time.Time) []byte {
	hi := uint64(now.UnixMilli())<<16 | 0x7000 | rand.Uint64()&0x0fff
	lo := 1<<63 | rand.Uint64()>>2
	var id [36]byte
	binary.BigEndian.PutUint64(id[0:], hex(uint32(hi>>32)))
	binary.BigEndian.PutUint64(id[10:], hex(uint32(hi))) // its first half moves down, to make room
	copy(id[9:], id[10:14])
	binary.BigEndian.PutUint64(id[20:], hex(uint32(lo>>32)))
	copy(id[19:], id[20:24])
	binary.BigEndian.PutUint64(id[28:], hex(uint32(lo)))
	id[8], id[13], id[18], id[23] = '-', '-', '-', '-'
	return append(b, id[:]...)
}

// hex returns the eight digits of v, each in an octet, the first one in the highest. All are
// made at once: a digit from 10 on is as much above '0' as 'a' is above ':' further.
func hex(v uint32) uint64 {
	const ones = 0x0101010101010101
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (x + 6*ones) >> 4 & ones
	return x + '0'*ones + letters*('a'-':')
}

// IsOne reports whether a given id may be passed on and logged: 1 to 128
// characters that need no quoting anywhere.
func IsOne(id []byte) bool {
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
