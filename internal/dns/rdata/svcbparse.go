package rdata

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"pharos/internal/dns/dnsname"
)

// param is one service parameter, its value in wire form.
type param struct {
	key   uint16
	value []byte
}

// appendService appends the RDATA of an SVCB or HTTPS record: priority, target and
// parameters as key or key=value, in any order (RFC 9460 §2.1).
func appendService(dst []byte, t Type, origin string, fields []Field) ([]byte, error) {
	head := fields[:min(2, len(fields))]
	begin := len(dst)
	dst, err := appendShape(dst, t, []kind{kindU16, kindName}, origin, head)
	if err != nil {
		return dst, err
	}
	var params []param
	for i := len(head); i < len(fields); i++ {
		p, err := parseParam(fields[i])
		if err == nil && slices.ContainsFunc(params, func(o param) bool { return o.key == p.key }) {
			err = errParamKey
		}
		if err == nil {
			err = checkParam(p.key, p.value)
		}
		if err != nil {
			return dst, fieldError(t, fields, i, err, "write key or key=value, each key once, with a value of its form")
		}
		params = append(params, p)
	}
	slices.SortFunc(params, func(a, b param) int { return int(a.key) - int(b.key) })
	for _, p := range params {
		dst = binary.BigEndian.AppendUint16(dst, p.key)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(p.value)))
		dst = append(dst, p.value...)
	}
	if err := checkService(dst[begin:]); err != nil {
		return dst, wholeError(t, err, "add what is listed in mandatory, or take it off the list")
	}
	return dst, nil
}

// parseParam reads one parameter. Its value may be in quotes.
func parseParam(f Field) (p param, err error) {
	name, text, hasValue := bytes.Cut(f.Text, []byte{'='})
	key, isNumbered, ok := parseParamKey(name)
	if f.Quoted || !ok {
		return p, ErrSyntax
	}
	p.key = key
	if !hasValue {
		return p, nil
	}
	quoted := len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"'
	if quoted {
		text = text[1 : len(text)-1]
	}
	// Within quotes a bare quote cannot be left: the string would have ended there.
	value, err := appendUnescaped(nil, text, false)
	if err != nil {
		return p, err
	}
	if len(value) > math.MaxUint16 {
		return p, ErrTooLong
	}
	p.value, err = paramValue(key, isNumbered, value)
	return p, err
}

// parseParamKey reads the name of a key, or keyNNNNN without leading zeros, which
// is allowed for every key and means that the value is plain octets.
func parseParamKey(name []byte) (key uint16, isNumbered, ok bool) {
	for i, known := range paramNames {
		if string(name) == known {
			return uint16(i), false, true
		}
	}
	switch string(name) {
	case "dohpath":
		return keyDoHPath, false, true
	case "ohttp":
		return keyOHTTP, false, true
	}
	digits, ok := bytes.CutPrefix(name, []byte("key"))
	if !ok || len(digits) > 1 && digits[0] == '0' {
		return 0, false, false
	}
	number, ok := parseNumber(digits, keyInvalid-1)
	return uint16(number), true, ok
}

// paramValue turns the text of a value, its escapes decoded, into its wire form.
func paramValue(key uint16, isNumbered bool, text []byte) (value []byte, err error) {
	if isNumbered {
		return text, nil
	}
	switch key {
	case keyPort:
		number, ok := parseNumber(text, math.MaxUint16)
		if !ok {
			return nil, ErrSyntax
		}
		return binary.BigEndian.AppendUint16(nil, uint16(number)), nil
	case keyECH:
		if value, err = base64.StdEncoding.AppendDecode(nil, text); err != nil {
			return nil, ErrSyntax
		}
		return value, nil
	case keyALPN:
		return parseALPN(text)
	case keyMandatory, keyIPv4Hint, keyIPv6Hint:
		return parseList(key, text)
	}
	return text, nil
}

// parseList reads values that are joined with commas and hold none themselves.
func parseList(key uint16, text []byte) (value []byte, err error) {
	var keys []uint16
	for item := range bytes.SplitSeq(text, []byte{','}) {
		switch key {
		case keyIPv4Hint:
			value, err = appendIPv4(value, item)
		case keyIPv6Hint:
			value, err = appendIPv6(value, item)
		default:
			listed, _, ok := parseParamKey(item)
			if !ok {
				err = ErrSyntax
			}
			keys = append(keys, listed)
		}
		if err != nil {
			return nil, err
		}
	}
	// §8: in the text the keys of mandatory stand in any order.
	slices.Sort(keys)
	for _, listed := range keys {
		value = binary.BigEndian.AppendUint16(value, listed)
	}
	return value, nil
}

var errALPN = errors.New("protocol id not of 1 to 255 octets (RFC 9460 §7.1.1)")

// parseALPN reads protocol ids joined with commas. RFC 9460 Appendix A.1: a
// backslash before a comma or a backslash makes it part of an id.
func parseALPN(text []byte) (value []byte, err error) {
	begin := 0
	value = append(value, 0)
	for i := 0; i <= len(text); i++ {
		if i < len(text) && text[i] != ',' {
			if text[i] == '\\' {
				if i++; i == len(text) || text[i] != ',' && text[i] != '\\' {
					return nil, dnsname.ErrEscape
				}
			}
			value = append(value, text[i])
			continue
		}
		length := len(value) - begin - 1
		if length == 0 || length > 255 {
			return nil, errALPN
		}
		value[begin] = byte(length)
		begin, value = len(value), append(value, 0)
	}
	return value[:begin], nil
}
