package rdata

import (
	"encoding/base32"
	"errors"

	"pharos/internal/dns/dnsname"
)

// maxData is the most octets an RDLENGTH can count (RFC 1035 §3.2.1).
const maxData = 1<<16 - 1

// base32hex is the encoding of RFC 4648 §7 as RFC 5155 §3.3 uses it.
var base32hex = base32.HexEncoding.WithPadding(base32.NoPadding)

// AppendFields appends to dst the RDATA of type t that fields spell. origin, in
// wire form, completes relative names; "" means that there is none. Errors are
// *FieldError; dst's new octets are then without meaning.
func AppendFields(dst []byte, t Type, origin string, fields []Field) ([]byte, error) {
	begin := len(dst)
	var err error
	switch shape := shapeOf(t); {
	case len(fields) > 0 && isGeneric(fields[0]):
		dst, err = appendGeneric(dst, t, fields)
	case shape != nil:
		dst, err = appendShape(dst, t, shape, origin, fields)
	case hasGateway(t):
		dst, err = appendGateway(dst, t, origin, fields)
	case isServiceBinding(t):
		dst, err = appendService(dst, t, origin, fields)
	default:
		dst, err = appendGeneral(dst, t, origin, fields)
	}
	if err == nil && len(dst)-begin > maxData {
		err = wholeError(t, ErrDataTooLong, "shorten it")
	}
	return dst, err
}

// wholeError is about no field in particular.
func wholeError(t Type, err error, remedy string) error {
	return &FieldError{Type: t, Index: -1, At: -1, Err: err, Remedy: remedy}
}

// isGeneric reports whether f begins the generic form of RFC 3597 §5.
func isGeneric(f Field) bool { return !f.Quoted && string(f.Text) == `\#` }

// appendGeneric reads the generic form, \# length hex. RFC 3597 §5 allows it for
// every type, known or not; the RDATA of a known type must still be well formed.
func appendGeneric(dst []byte, t Type, fields []Field) ([]byte, error) {
	const remedy = `write \#, the number of octets, and the octets in hexadecimal`
	if t.IsMeta() {
		return dst, metaError(t)
	}
	if len(fields) < 2 {
		return dst, &FieldError{Type: t, Index: 1, At: -1, Err: ErrMissing, Remedy: remedy}
	}
	want, ok := parseNumber(fields[1].Text, maxData)
	if !ok {
		return dst, fieldError(t, fields, 1, ErrSyntax, remedy)
	}
	begin := len(dst)
	dst, bad := appendHex(dst, fields[2:])
	if bad >= 0 {
		return dst, fieldError(t, fields, 2+bad, ErrSyntax, remedy)
	}
	if uint64(len(dst)-begin) != want {
		return dst, fieldError(t, fields, 1, ErrLength, remedy)
	}
	if err := Validate(t, dst[begin:]); err != nil {
		return dst, fieldError(t, fields, 0, err, "write octets that are RDATA of this type")
	}
	return dst, nil
}

func metaError(t Type) error {
	return wholeError(t, ErrMetaType, "leave this record out: the type only occurs in messages")
}

func fieldError(t Type, fields []Field, i int, err error, remedy string) error {
	f := fields[i]
	return &FieldError{Type: t, Index: i, At: f.At, Text: string(f.Text), Err: err, Remedy: remedy}
}

func appendShape(dst []byte, t Type, shape []kind, origin string, fields []Field) ([]byte, error) {
	i := 0
	for _, k := range shape {
		if k.isRest() {
			out, bad, err := appendRest(dst, k, fields[i:])
			switch {
			case err != nil && i+bad < len(fields):
				return out, fieldError(t, fields, i+bad, err, valueRemedy(k, err))
			case err != nil:
				return out, &FieldError{Type: t, Index: i, At: -1, Err: err, Remedy: remedies[k]}
			}
			dst, i = out, len(fields)
			continue
		}
		if i == len(fields) {
			return dst, &FieldError{Type: t, Index: i, At: -1, Err: ErrMissing, Remedy: remedies[k]}
		}
		if fields[i].Quoted && !k.isString() {
			return dst, fieldError(t, fields, i, ErrQuoted, "take the quotes off")
		}
		var err error
		if dst, err = appendField(dst, k, origin, fields[i].Text, fields[i].Quoted); err != nil {
			return dst, fieldError(t, fields, i, err, remedyFor(k, err))
		}
		i++
	}
	if i < len(fields) {
		return dst, fieldError(t, fields, i, ErrExtra, "remove it, or quote a string that has blanks")
	}
	return dst, nil
}

func remedyFor(k kind, err error) string {
	if k == kindName {
		return NameRemedy(err)
	}
	return valueRemedy(k, err)
}

// valueRemedy is for fields that are not names.
func valueRemedy(k kind, err error) string {
	switch {
	case errors.Is(err, dnsname.ErrEscape):
		return escapeRemedy
	case errors.Is(err, ErrQuoteInside):
		return `put the whole string in quotes, or write \" for a quote`
	}
	return remedies[k]
}

const escapeRemedy = `write \DDD with three digits, or \X with any other octet`

// NameRemedy says what to do about an error of AppendName.
func NameRemedy(err error) string {
	switch {
	case errors.Is(err, dnsname.ErrNoOrigin):
		return "end the name with a dot, or state an origin"
	case errors.Is(err, dnsname.ErrEmptyLabel):
		return "put at least one octet between two dots"
	case errors.Is(err, dnsname.ErrEscape):
		return escapeRemedy
	case errors.Is(err, ErrQuoteInside):
		return `write \" for a quote in a name`
	case errors.Is(err, dnsname.ErrLabelTooLong):
		return "shorten the label to 63 octets"
	case errors.Is(err, dnsname.ErrNameTooLong):
		return "shorten the name to 255 octets, its origin included"
	}
	return remedies[kindName]
}

// appendField appends the field text of kind k.
func appendField(dst []byte, k kind, origin string, text []byte, quoted bool) ([]byte, error) {
	switch k {
	case kindName:
		return AppendName(dst, text, origin)
	case kindIPv4:
		return appendIPv4(dst, text)
	case kindIPv6:
		return appendIPv6(dst, text)
	case kindString, kindTag:
		return appendString(dst, text, quoted, k == kindTag)
	case kindOctets:
		return appendUnescaped(dst, text, quoted)
	case kindEUI48, kindEUI64, kindLocator:
		return appendGroups(dst, k, text)
	case kindSalt, kindHash:
		return appendCounted(dst, k, text)
	}
	return appendNumber(dst, k, text)
}

// appendRest appends the fields of a kind that takes all that are left. bad is
// the field that is wrong, len(fields) when one is missing.
func appendRest(dst []byte, k kind, fields []Field) (out []byte, bad int, err error) {
	bad = -1
	begin := len(dst)
	switch k {
	case kindStrings, kindOptStrings:
		for i, f := range fields {
			if dst, err = appendString(dst, f.Text, f.Quoted, false); err != nil {
				return dst, i, err
			}
		}
	case kindHex:
		dst, bad = appendHex(dst, fields)
	case kindNSAP:
		dst, bad = appendNSAP(dst, fields)
	case kindBase64, kindOptBase64:
		dst, bad = appendBase64(dst, fields)
	case kindBitmap:
		dst, bad = appendBitmap(dst, fields)
	case kindOldBitmap:
		dst, bad = appendOldBitmap(dst, fields)
	}
	if bad >= 0 {
		return dst, bad, ErrSyntax
	}
	if len(dst) == begin && (k == kindStrings || k == kindHex || k == kindNSAP || k == kindBase64) {
		return dst, len(fields), ErrMissing
	}
	return dst, -1, nil
}
