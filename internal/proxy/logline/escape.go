package logline

import (
	"encoding/binary"
	"slices"
)

// escaped is where a value stands, which decides on what of it has to be escaped.
type escaped uint8

const (
	inNothing escaped = iota // what we make
	inJSON                   // between quotes of JSON: octets that are no ASCII become \u00xx
	inQuotes                 // between double quotes: \xhh
	inColumn                 // between white space: that too becomes \xhh
)

// mustEscape are the octets that cannot stand as they are, a bit for each place.
var mustEscape = func() (t [256]uint8) {
	for c := range 256 {
		if c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			t[c] = 1<<inJSON | 1<<inQuotes | 1<<inColumn
		}
	}
	t[' '] |= 1 << inColumn
	return t
}()

// escape escapes what is behind from, in place. Mostly there is nothing to escape, which is
// seen eight octets at a time.
func (e escaped) escape(b []byte, from int) []byte {
	bit, more := uint8(1)<<e, 0
	for at := e.plain(b, from); at < len(b); at++ {
		if c := b[at]; mustEscape[c]&bit != 0 {
			more += e.length(c) - 1
		}
	}
	if more == 0 {
		return b
	}
	read := len(b)
	b = slices.Grow(b, more)[:len(b)+more]
	for write := len(b); read > from; { // from the end, as what is written is longer
		read--
		c := b[read]
		if mustEscape[c]&bit == 0 {
			write--
			b[write] = c
			continue
		}
		write -= e.length(c)
		e.put(b[write:], c)
	}
	return b
}

// plain returns up to where from octets at from on, eight by eight, nothing has to be escaped.
func (e escaped) plain(b []byte, from int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	least := uint64(' ')
	if e == inColumn {
		least = ' ' + 1
	}
	for ; from+8 <= len(b); from += 8 {
		x := binary.LittleEndian.Uint64(b[from:])
		// The high bit of an octet is set if the octet has it, is below the least one, or is one
		// of three. A borrow may set that of an octet behind such a one, never alone.
		if (x|(x-least*ones)|((x^0x7f*ones)-ones)|((x^'"'*ones)-ones)|((x^'\\'*ones)-ones))&highs != 0 {
			break
		}
	}
	return from
}

func (e escaped) length(c byte) int {
	switch {
	case c == '"' || c == '\\':
		return 2
	case e == inJSON:
		return len(`\u00ff`)
	}
	return len(`\xff`)
}

func (e escaped) put(b []byte, c byte) {
	const hex = "0123456789abcdef"
	b[0] = '\\'
	switch {
	case c == '"' || c == '\\':
		b[1] = c
	case e == inJSON:
		b[1], b[2], b[3], b[4], b[5] = 'u', '0', '0', hex[c>>4], hex[c&15]
	default:
		b[1], b[2], b[3] = 'x', hex[c>>4], hex[c&15]
	}
}
