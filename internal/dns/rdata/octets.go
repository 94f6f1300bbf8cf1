package rdata

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"pharos/internal/dns/dnsname"
)

// appendString appends a character-string (RFC 1035 §3.3): a count and at most
// 255 octets.
func appendString(dst []byte, text []byte, quoted, isTag bool) ([]byte, error) {
	begin := len(dst)
	dst, err := appendUnescaped(append(dst, 0), text, quoted)
	if err != nil {
		return dst, err
	}
	length := len(dst) - begin - 1
	if length > 255 {
		return dst, ErrTooLong
	}
	dst[begin] = byte(length)
	if isTag {
		return dst, checkTag(dst[begin+1:])
	}
	return dst, nil
}

// checkTag: RFC 8659 §4.1: tags are non-zero-length strings of ASCII letters and
// digits.
func checkTag(tag []byte) error {
	if len(tag) == 0 {
		return ErrSyntax
	}
	for _, c := range tag {
		if lower := c | 0x20; !isDigit(c) && (lower < 'a' || lower > 'z') {
			return ErrSyntax
		}
	}
	return nil
}

// appendUnescaped appends text with its escapes decoded.
func appendUnescaped(dst []byte, text []byte, quoted bool) ([]byte, error) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\':
			var width int
			if c, width = unescape(text[i+1:]); width == 0 {
				return dst, dnsname.ErrEscape
			}
			i += width
		case c == '"' && !quoted:
			return dst, ErrQuoteInside
		}
		dst = append(dst, c)
	}
	return dst, nil
}

// appendCounted appends the salt or the hash of an NSEC3 record (RFC 5155 §3.3),
// with the octet that counts it.
func appendCounted(dst []byte, k kind, text []byte) ([]byte, error) {
	begin := len(dst)
	dst = append(dst, 0)
	var err error
	switch {
	case k == kindHash:
		dst, err = base32hex.AppendDecode(dst, []byte(strings.ToUpper(string(text))))
		if err == nil && len(dst) == begin+1 {
			err = ErrSyntax
		}
	case string(text) != "-":
		dst, err = hex.AppendDecode(dst, text)
		if err == nil && len(dst) == begin+1 {
			err = ErrSyntax
		}
	}
	switch length := len(dst) - begin - 1; {
	case err != nil:
		return dst, ErrSyntax
	case length > 255:
		return dst, ErrTooLong
	default:
		dst[begin] = byte(length)
	}
	return dst, nil
}

// joined returns the texts of fields as one: RFC 4034 §2.2 and RFC 3597 §5 allow
// blanks anywhere in octets written in base64 or hexadecimal.
func joined(fields []Field) []byte {
	if len(fields) == 1 {
		return fields[0].Text
	}
	var text []byte
	for _, f := range fields {
		text = append(text, f.Text...)
	}
	return text
}

func appendHex(dst []byte, fields []Field) (out []byte, bad int) {
	dst, err := hex.AppendDecode(dst, joined(fields))
	if err == nil {
		return dst, -1
	}
	for i, f := range fields {
		for _, c := range f.Text {
			if _, ok := unhex(c); !ok {
				return dst, i
			}
		}
	}
	return dst, len(fields) - 1 // an odd number of digits
}

// appendNSAP reads an address of RFC 1706 §7: 0x, then hexadecimal digits with dots
// between them that mean nothing.
func appendNSAP(dst []byte, fields []Field) (out []byte, bad int) {
	text := joined(fields)
	if len(text) < 2 || text[0] != '0' || text[1]|0x20 != 'x' {
		return dst, 0
	}
	dst, err := hex.AppendDecode(dst, bytes.ReplaceAll(text[2:], []byte{'.'}, nil))
	if err != nil {
		return dst, len(fields) - 1
	}
	return dst, -1
}

func appendBase64(dst []byte, fields []Field) (out []byte, bad int) {
	text := joined(fields)
	dst, err := base64.StdEncoding.AppendDecode(dst, text)
	if err == nil {
		return dst, -1
	}
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) {
		at := int(corrupt)
		for i, f := range fields {
			if at < len(f.Text) {
				return dst, i
			}
			at -= len(f.Text)
		}
	}
	return dst, len(fields) - 1
}
