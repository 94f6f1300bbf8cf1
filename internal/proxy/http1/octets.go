package http1

import (
	"encoding/binary"
	"math/bits"
)

// Classes of octets, one bit each.
const (
	tchar    = 1 << iota // RFC 9110 §5.6.2
	under                // "_", which is also a tchar
	digit                // 0-9
	hexdig               // 0-9 a-f A-F
	hostchar             // letters, digits, "-", ".", "_" and "~"
	visible              // VCHAR without "#", which never belongs into a target
)

var class = func() (t [256]uint8) {
	for c := 0x21; c < 0x7f; c++ {
		t[c] |= visible
	}
	t['#'] &^= visible
	for c := '0'; c <= '9'; c++ {
		t[c] |= tchar | digit | hexdig | hostchar
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= tchar | hostchar
		t[c-0x20] |= tchar | hostchar
	}
	for c := 'a'; c <= 'f'; c++ {
		t[c] |= hexdig
		t[c-0x20] |= hexdig
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= tchar
	}
	for _, c := range "-._~" {
		t[c] |= hostchar
	}
	t['_'] |= under
	return t
}()

func isToken(c byte) bool { return class[c]&tchar != 0 }
func isDigit(c byte) bool { return class[c]&digit != 0 }
func isHex(c byte) bool   { return class[c]&hexdig != 0 }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// EqualFold reports whether a and b are the same but for the case of ASCII
// letters.
func EqualFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if c != b[i] && lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}

// equalLower reports whether a, in lower case, is want, which is in lower case.
func equalLower(a []byte, want string) bool {
	if len(a) != len(want) {
		return false
	}
	for i, c := range a {
		if c != want[i] && lower(c) != want[i] {
			return false
		}
	}
	return true
}

// badValueOctet returns the index of the first octet of v that may not stand in
// a field value: any control character but HTAB (RFC 9110 §5.5); -1 when all
// may. Eight octets are tested at a time.
func badValueOctet(v []byte) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(v); i += 8 {
		x := binary.LittleEndian.Uint64(v[i:])
		del := x ^ 0x7f*ones
		// A high bit per octet below 0x20, or equal to 0x7f; an octet above a hit
		// may be marked falsely, which only costs the slow look below.
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 {
			if j := badOctet(v[i : i+8]); j >= 0 {
				return i + j
			}
		}
	}
	if j := badOctet(v[i:]); j >= 0 {
		return i + j
	}
	return -1
}

func badOctet(v []byte) int {
	for i, c := range v {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return i
		}
	}
	return -1
}

// lettersOf returns how many octets at the start of a line are letters or hyphens, as far as
// eight can be tested at a time: names of fields have mostly nothing else.
func lettersOf(line []byte) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(line); i += 8 {
		x := binary.LittleEndian.Uint64(line[i:])
		low := x &^ highs // sums of seven bits stay in their octets
		folded := low | 0x20*ones
		letters := (folded + (0x80-'a')*ones) &^ (folded + (0x7f-'z')*ones)
		hyphens := ^((low ^ '-'*ones) + 0x7f*ones)
		if other := (^(letters | hyphens) | x) & highs; other != 0 {
			return i + bits.TrailingZeros64(other)/8
		}
	}
	return i
}

// trimOWS returns [from, to) of b without the spaces and tabs at its ends.
func trimOWS(b []byte, from, to int) (int, int) {
	for from < to && (b[from] == ' ' || b[from] == '\t') {
		from++
	}
	for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	return from, to
}
