package rdata

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// This file checks and writes SVCB and HTTPS records (RFC 9460 §2.2):
//
//	priority (2) | target | for each parameter: key (2) | length (2) | value
//
// with the keys in strictly ascending order.

// Keys of service parameters (RFC 9460 §14.3.2).
const (
	keyMandatory     = 0
	keyALPN          = 1
	keyNoDefaultALPN = 2
	keyPort          = 3
	keyIPv4Hint      = 4
	keyECH           = 5
	keyIPv6Hint      = 6
	keyDoHPath       = 7 // RFC 9461
	keyOHTTP         = 8 // RFC 9540
	keyInvalid       = 65535
)

var (
	errMandatory = errors.New("mandatory lists keys in ascending order, each once, each present, and not itself (RFC 9460 §8)")
	errParamKey  = errors.New("parameter twice, out of order, or reserved (RFC 9460 §2.2)")
	errParam     = errors.New("malformed value of a parameter (RFC 9460 §7)")
)

func isServiceBinding(t Type) bool { return t == TypeSVCB || t == TypeHTTPS }

// checkService is Validate for SVCB and HTTPS.
func checkService(data []byte) error {
	if len(data) < 2 {
		return ErrShort
	}
	n, err := nameLen(data[2:])
	if err != nil {
		return err
	}
	var mandatory []byte
	previous := -1
	for params := data[2+n:]; len(params) > 0; {
		if len(params) < 4 || 4+int(binary.BigEndian.Uint16(params[2:])) > len(params) {
			return ErrShort
		}
		key := binary.BigEndian.Uint16(params)
		value := params[4 : 4+int(binary.BigEndian.Uint16(params[2:]))]
		params = params[4+len(value):]
		if int(key) <= previous || key == keyInvalid {
			return errParamKey
		}
		previous = int(key)
		if err := checkParam(key, value); err != nil {
			return err
		}
		switch {
		case key == keyMandatory:
			mandatory = value
		case len(mandatory) > 0 && binary.BigEndian.Uint16(mandatory) == key:
			mandatory = mandatory[2:] // both ascend, so one pass finds every listed key
		}
	}
	if len(mandatory) > 0 {
		return errMandatory
	}
	return nil
}

// checkParam checks the value of one parameter.
func checkParam(key uint16, value []byte) error {
	ok := true
	switch key {
	case keyMandatory: // RFC 9460 §8
		if len(value) == 0 || !isAscending(value) {
			return errMandatory
		}
	case keyALPN: // §7.1.1: one or more ids of 1 to 255 octets
		at := 0
		for at < len(value) && value[at] > 0 {
			at += 1 + int(value[at])
		}
		ok = at > 0 && at == len(value)
	case keyNoDefaultALPN, keyOHTTP: // §7.1.1; RFC 9540 §4: the value is empty
		ok = len(value) == 0
	case keyPort: // §7.2
		ok = len(value) == 2
	case keyIPv4Hint: // §7.3
		ok = len(value) > 0 && len(value)%4 == 0
	case keyIPv6Hint:
		ok = len(value) > 0 && len(value)%16 == 0
	case keyECH, keyDoHPath:
		ok = len(value) > 0
	}
	if !ok {
		return errParam
	}
	return nil
}

// isAscending reports whether keys, 16 bits each, ascend strictly and none is
// "mandatory".
func isAscending(keys []byte) bool {
	previous := uint16(keyMandatory)
	for ; len(keys) >= 2; keys = keys[2:] {
		key := binary.BigEndian.Uint16(keys)
		if key <= previous {
			return false
		}
		previous = key
	}
	return len(keys) == 0
}

// paramNames has the keys whose names every reader of master files knows. Younger
// ones are written as keyNNNNN (RFC 9460 §2.1), which all of them read.
var paramNames = [...]string{"mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint"}

func appendParamName(b []byte, key uint16) []byte {
	if int(key) < len(paramNames) {
		return append(b, paramNames[key]...)
	}
	return strconv.AppendUint(append(b, "key"...), uint64(key), 10)
}

// appendServiceText writes checked RDATA of an SVCB or HTTPS record.
func appendServiceText(b []byte, data []byte) []byte {
	b = strconv.AppendUint(b, uint64(binary.BigEndian.Uint16(data)), 10)
	b = append(b, ' ')
	b, n := appendNameText(b, data[2:])
	for params := data[2+n:]; len(params) > 0; {
		key, length := binary.BigEndian.Uint16(params), int(binary.BigEndian.Uint16(params[2:]))
		b = appendParamName(append(b, ' '), key)
		if length > 0 {
			b = appendParamValue(append(b, '='), key, params[4:4+length])
		}
		params = params[4+length:]
	}
	return b
}

// appendParamValue writes the value of one parameter (RFC 9460 §7 and §8), in
// quotes only where blanks or escapes ask for them.
func appendParamValue(b []byte, key uint16, value []byte) []byte {
	switch key {
	case keyMandatory:
		for i := 0; i < len(value); i += 2 {
			b = appendParamName(appendComma(b, i), binary.BigEndian.Uint16(value[i:]))
		}
	case keyALPN:
		b = appendValueText(b, alpnList(value))
	case keyPort:
		b = strconv.AppendUint(b, uint64(binary.BigEndian.Uint16(value)), 10)
	case keyIPv4Hint:
		for i := 0; i < len(value); i += 4 {
			b = netip.AddrFrom4([4]byte(value[i:])).AppendTo(appendComma(b, i))
		}
	case keyIPv6Hint:
		for i := 0; i < len(value); i += 16 {
			b = netip.AddrFrom16([16]byte(value[i:])).AppendTo(appendComma(b, i))
		}
	case keyECH:
		b = base64.StdEncoding.AppendEncode(b, value)
	default:
		b = appendValueText(b, value)
	}
	return b
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

// alpnList returns protocol ids as RFC 9460 Appendix A.1 joins them: with commas,
// and a backslash before a comma or a backslash inside one.
func alpnList(value []byte) []byte {
	var list []byte
	for i := 0; i < len(value); i += 1 + int(value[i]) {
		list = appendComma(list, i)
		for _, c := range value[i+1 : i+1+int(value[i])] {
			if c == ',' || c == '\\' {
				list = append(list, '\\')
			}
			list = append(list, c)
		}
	}
	return list
}

// appendValueText writes octets as a character-string, in quotes if they need
// them.
func appendValueText(b []byte, value []byte) []byte {
	for _, c := range value {
		if c <= ' ' || c > '~' || strings.IndexByte(`"\;()`, c) >= 0 {
			return appendQuoted(b, value)
		}
	}
	return append(b, value...)
}
