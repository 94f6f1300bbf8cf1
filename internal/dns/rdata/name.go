package rdata

import (
	"pharos/internal/dns/dnsname"
)

// AppendName appends to dst, in wire form, the domain name that text spells in
// presentation form (RFC 1035 §5.1), with its letters in their own case. "@" is
// the origin, and a name without a final dot is relative to it. origin is a name
// in wire form; "" means that there is none.
//
// A name that is to become a dnsname.Name still has to go through
// dnsname.Lower.
func AppendName(dst []byte, text []byte, origin string) ([]byte, error) {
	if len(text) == 1 {
		switch {
		case text[0] == '.':
			return append(dst, 0), nil
		case text[0] == '@' && origin == "":
			return dst, dnsname.ErrNoOrigin
		case text[0] == '@':
			return append(dst, origin...), nil
		}
	}
	begin := len(dst)
	dst, absolute, err := appendLabels(dst, text)
	switch {
	case err != nil:
		return dst[:begin], err
	case absolute:
		dst = append(dst, 0)
	case origin == "":
		return dst[:begin], dnsname.ErrNoOrigin
	default:
		dst = append(dst, origin...)
	}
	if len(dst)-begin > dnsname.MaxLen {
		return dst[:begin], dnsname.ErrNameTooLong
	}
	return dst, nil
}

// appendLabels appends the labels that text spells, without the root's, and
// reports whether text ended with a dot.
func appendLabels(dst []byte, text []byte) (out []byte, absolute bool, err error) {
	begin, start := len(dst), len(dst) // of the name; of the label's length octet
	dst = append(dst, 0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '.':
			length := len(dst) - start - 1
			if length == 0 {
				return dst, false, dnsname.ErrEmptyLabel
			}
			dst[start] = byte(length)
			if i == len(text)-1 {
				return dst, true, nil
			}
			start = len(dst)
			dst = append(dst, 0)
			continue
		case '"':
			return dst, false, ErrQuoteInside
		case '\\':
			var width int
			if c, width = unescape(text[i+1:]); width == 0 {
				return dst, false, dnsname.ErrEscape
			}
			i += width
		}
		if len(dst)-start > dnsname.MaxLabelLen {
			return dst, false, dnsname.ErrLabelTooLong
		}
		if dst = append(dst, c); len(dst)-begin > dnsname.MaxLen {
			return dst, false, dnsname.ErrNameTooLong
		}
	}
	if len(dst)-start == 1 {
		return dst, false, dnsname.ErrEmptyLabel
	}
	dst[start] = byte(len(dst) - start - 1)
	return dst, false, nil
}

// unescape decodes what follows a backslash: DDD, or any octet but a digit. width
// 0 means neither.
func unescape(text []byte) (c byte, width int) {
	if len(text) == 0 || text[0] == '\n' {
		return 0, 0
	}
	if !isDigit(text[0]) {
		return text[0], 1
	}
	if len(text) < 3 || !isDigit(text[1]) || !isDigit(text[2]) {
		return 0, 0
	}
	value := int(text[0]-'0')*100 + int(text[1]-'0')*10 + int(text[2]-'0')
	if value > 255 {
		return 0, 0
	}
	return byte(value), 3
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// nameLen returns the length of the uncompressed name that data begins with.
func nameLen(data []byte) (int, error) {
	for at := 0; at < len(data); {
		length := int(data[at])
		if length > dnsname.MaxLabelLen {
			return 0, dnsname.ErrCompressed
		}
		at += 1 + length
		switch {
		case at > dnsname.MaxLen:
			return 0, dnsname.ErrNameTooLong
		case length == 0:
			return at, nil
		}
	}
	return 0, ErrShort
}

// appendNameText appends the name that data begins with in presentation form,
// its letters in their own case, and returns its length. data has been checked.
func appendNameText(b []byte, data []byte) ([]byte, int) {
	if data[0] == 0 {
		return append(b, '.'), 1
	}
	at := 0
	for data[at] != 0 {
		next := at + 1 + int(data[at])
		for _, c := range data[at+1 : next] {
			b = appendNameOctet(b, c)
		}
		b = append(b, '.')
		at = next
	}
	return b, at + 1
}

// appendNameOctet writes one octet of a label as dnsname.AppendLabelText does.
func appendNameOctet(b []byte, c byte) []byte {
	switch {
	case c == '.' || c == '\\' || c == '"' || c == ';' || c == '(' || c == ')' || c == '@' || c == '$':
		return append(b, '\\', c)
	case c <= ' ' || c > '~':
		return appendDDD(b, c)
	}
	return append(b, c)
}

func appendDDD(b []byte, c byte) []byte {
	return append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
}
