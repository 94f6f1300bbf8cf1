package dnsname

import (
	"errors"
	"fmt"
)

// What can be wrong with a name. Errors from this package wrap one of these.
var (
	ErrNameTooLong  = errors.New("name longer than 255 octets")
	ErrLabelTooLong = errors.New("label longer than 63 octets")
	ErrEmptyLabel   = errors.New("empty label")
	ErrEscape       = errors.New(`bad escape: want \DDD (000 to 255) or \X`)
	ErrTruncated    = errors.New("name ends before its last label")
	ErrCompressed   = errors.New("compressed or extended label where a plain name must stand")
	ErrNoOrigin     = errors.New("relative name where no origin is known")
)

// FromWire returns the name that b begins with, in uncompressed wire form, and
// the number of octets it takes. Letters may be in either case.
func FromWire(b []byte) (Name, int, error) {
	end := 0
	for {
		if end >= len(b) {
			return Name{}, 0, ErrTruncated
		}
		if end >= MaxLen {
			return Name{}, 0, ErrNameTooLong
		}
		length := int(b[end])
		if length > MaxLabelLen {
			return Name{}, 0, ErrCompressed
		}
		end += 1 + length
		if length == 0 {
			break
		}
	}
	if end > MaxLen {
		return Name{}, 0, ErrNameTooLong
	}
	wire := append(make([]byte, 0, end), b[:end]...)
	Lower(wire)
	return View(wire), end, nil
}

// Lower turns the ASCII letters of a name in wire form to lower case, in place
// (RFC 4343 §3). Length octets are below 'A', so they are left alone.
func Lower(wire []byte) {
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + 'a' - 'A'
		}
	}
}

// Parse reads a name in presentation form (RFC 1035 §5.1: labels joined by
// dots, \DDD and \X escapes). A name without a final dot is taken as if it had
// one. The errors wrap those of this package and show s.
func Parse(s string) (Name, error) {
	wire, _, err := parseLabels(make([]byte, 0, len(s)+2), s)
	if err == nil {
		if wire = append(wire, 0); len(wire) > MaxLen {
			err = ErrNameTooLong
		}
	}
	if err != nil {
		return Name{}, fmt.Errorf("name %q: %w", s, err)
	}
	return View(wire), nil
}

// ParseIn reads a name in presentation form as a master file writes it: "@" is
// the origin, and a name without a final dot is relative to it (RFC 1035 §5.1).
// With the zero Name as origin, such names are refused.
func ParseIn(s string, origin Name) (Name, error) {
	if s == "@" && !origin.IsZero() {
		return origin, nil
	}
	wire, absolute, err := parseLabels(make([]byte, 0, len(s)+1+origin.Len()), s)
	if err == nil {
		switch {
		case absolute:
			wire = append(wire, 0)
		case origin.IsZero():
			err = ErrNoOrigin
		default:
			wire = append(wire, origin.wire...)
		}
		if len(wire) > MaxLen {
			err = ErrNameTooLong
		}
	}
	if err != nil {
		return Name{}, fmt.Errorf("name %q: %w", s, err)
	}
	return View(wire), nil
}

// MustParse is Parse for names that are part of the program; it panics on a bad
// one.
func MustParse(s string) Name {
	n, err := Parse(s)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return n
}

// parseLabels appends the labels of s, lower-cased and without the root's, and
// reports whether s ended with a dot.
func parseLabels(b []byte, s string) (wire []byte, absolute bool, err error) {
	switch s {
	case "":
		return nil, false, ErrEmptyLabel
	case ".":
		return b, true, nil
	}
	start := len(b) // of the current label's length octet
	b = append(b, 0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '.':
			if len(b) == start+1 {
				return nil, false, ErrEmptyLabel
			}
			b[start] = byte(len(b) - start - 1)
			if i == len(s)-1 {
				return b, true, nil
			}
			start = len(b)
			b = append(b, 0)
			continue
		case '\\':
			var width int
			if c, width = unescape(s[i+1:]); width == 0 {
				return nil, false, ErrEscape
			}
			i += width
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if len(b)-start > MaxLabelLen {
			return nil, false, ErrLabelTooLong
		}
		if b = append(b, c); len(b) > MaxLen {
			return nil, false, ErrNameTooLong
		}
	}
	b[start] = byte(len(b) - start - 1)
	return b, false, nil
}

// unescape decodes what follows a backslash: DDD or X. width 0 means neither.
func unescape(s string) (c byte, width int) {
	if s == "" {
		return 0, 0
	}
	if !isDigit(s[0]) {
		return s[0], 1
	}
	if len(s) < 3 || !isDigit(s[1]) || !isDigit(s[2]) {
		return 0, 0
	}
	value := int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	if value > 255 {
		return 0, 0
	}
	return byte(value), 3
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Child returns the name with label, as plain octets, in front of n.
func (n Name) Child(label string) (Name, error) {
	switch {
	case n.IsZero(), label == "":
		return Name{}, ErrEmptyLabel
	case len(label) > MaxLabelLen:
		return Name{}, ErrLabelTooLong
	case 1+len(label)+len(n.wire) > MaxLen:
		return Name{}, ErrNameTooLong
	}
	wire := make([]byte, 0, 1+len(label)+len(n.wire))
	wire = append(wire, byte(len(label)))
	wire = append(wire, label...)
	Lower(wire[1:])
	return View(append(wire, n.wire...)), nil
}

// ReplaceSuffix returns n with its ancestor from replaced by to: the DNAME
// substitution of RFC 6672 §2.2. It fails with ErrNameTooLong if the result
// passes MaxLen, which a server answers with YXDOMAIN. n must be a subdomain of
// from.
func (n Name) ReplaceSuffix(from, to Name) (Name, error) {
	prefix := n.wire[:len(n.wire)-len(from.wire)]
	if len(prefix)+len(to.wire) > MaxLen {
		return Name{}, ErrNameTooLong
	}
	return Name{prefix + to.wire}, nil
}
