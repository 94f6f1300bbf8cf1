package rdata

import (
	"fmt"
	"strconv"

	"pharos/internal/dns/dnsname"
)

// ParseText reads RDATA of type t in presentation form: what follows the type in
// an entry of a master file (RFC 1035 §5.1), or the generic form of RFC 3597 §5,
// which every type has. origin completes relative names; the zero Name means that
// there is none. The error is a *FieldError, or ErrUnclosed.
func ParseText(t Type, origin dnsname.Name, text string) ([]byte, error) {
	var room [16]Field
	fields, err := SplitFields(room[:0], []byte(text))
	if err != nil {
		return nil, fmt.Errorf("%v: %w: %q; close what was opened", t, err, text)
	}
	return AppendFields(nil, t, origin.Wire(), fields)
}

// AppendText appends RDATA of type t in presentation form to b, on one line, with
// all names absolute. What it writes, ParseText reads as the same octets; RDATA
// that is not well formed for its type, and types without a presentation form,
// get the generic form of RFC 3597 §5.
func AppendText(b []byte, t Type, data []byte) []byte {
	if looksCutOff(t, data) || Validate(t, data) != nil {
		return AppendGenericText(b, data)
	}
	switch shape := shapeOf(t); {
	case shape != nil:
		return appendShapeText(b, shape, data)
	case hasGateway(t):
		return appendGatewayText(b, t, data)
	case isServiceBinding(t):
		return appendServiceText(b, data)
	}
	if b, ok := appendGeneralText(b, t, data); ok {
		return b
	}
	return AppendGenericText(b, data)
}

// looksCutOff reports whether other readers take the presentation form of data for
// one that is cut off: a KEY that says there is no key (RFC 2535 §3.1.2), a CSYNC
// or NSEC without types.
func looksCutOff(t Type, data []byte) bool {
	switch t {
	case TypeKEY:
		return len(data) == 4
	case TypeCSYNC:
		return len(data) == 6
	case TypeNSEC:
		n, err := nameLen(data)
		return err == nil && n == len(data)
	}
	return false
}

// AppendGenericText appends RDATA of any type to b in the generic form of
// RFC 3597 §5.
func AppendGenericText(b []byte, data []byte) []byte {
	b = append(b, `\# `...)
	b = strconv.AppendInt(b, int64(len(data)), 10)
	if len(data) > 0 {
		b = append(b, ' ')
	}
	return appendHexText(b, data)
}
