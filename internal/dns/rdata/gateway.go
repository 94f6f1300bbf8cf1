package rdata

import (
	"encoding/base64"
	"strconv"
)

// This file has IPSECKEY (RFC 4025) and AMTRELAY (RFC 8777), whose gateway is
// nothing, an address or a name, as an octet before it says.
//
//	IPSECKEY  precedence, gateway type, algorithm, gateway, key
//	AMTRELAY  precedence, discovery bit and relay type, relay

func hasGateway(t Type) bool { return t == TypeIPSECKEY || t == TypeAMTRELAY }

// The gateway types of RFC 4025 §2.3 and RFC 8777 §4.2.3.
const (
	gatewayNone = iota
	gatewayIPv4
	gatewayIPv6
	gatewayName
)

// discoveryBit is the D bit of RFC 8777 §4.2.2, above the relay type.
const discoveryBit = 0x80

// gatewayKinds is the form of the gateway of each type.
var gatewayKinds = [...]kind{gatewayNone: kindName, gatewayIPv4: kindIPv4, gatewayIPv6: kindIPv6, gatewayName: kindName}

// appendGateway appends the RDATA of an IPSECKEY or AMTRELAY.
func appendGateway(dst []byte, t Type, origin string, fields []Field) ([]byte, error) {
	const least = 4
	for i := range least {
		if i == len(fields) {
			return dst, &FieldError{Type: t, Index: i, At: -1, Err: ErrMissing, Remedy: "write precedence, types and gateway as RFC 4025 §3 or RFC 8777 §4.3 show them"}
		}
		if fields[i].Quoted {
			return dst, fieldError(t, fields, i, ErrQuoted, "take the quotes off")
		}
	}
	var number [3]uint64
	limits := [3]uint64{255, gatewayName, 255}
	if t == TypeAMTRELAY {
		limits = [3]uint64{255, 1, gatewayName}
	}
	for i := range number {
		var ok bool
		if number[i], ok = parseNumber(fields[i].Text, limits[i]); !ok {
			return dst, fieldError(t, fields, i, ErrSyntax, "write a number from 0 to "+strconv.FormatUint(limits[i], 10))
		}
	}
	gatewayType := number[1]
	if t == TypeAMTRELAY {
		gatewayType = number[2]
		dst = append(dst, byte(number[0]), byte(number[1]*discoveryBit|number[2]))
	} else {
		dst = append(dst, byte(number[0]), byte(number[1]), byte(number[2]))
	}
	k := gatewayKinds[gatewayType]
	if gatewayType != gatewayNone {
		var err error
		if dst, err = appendField(dst, k, origin, fields[3].Text, false); err != nil {
			return dst, fieldError(t, fields, 3, err, remedyFor(k, err))
		}
	} else if string(fields[3].Text) != "." { // RFC 4025 §3.1: "." stands for none
		return dst, fieldError(t, fields, 3, ErrSyntax, "write . where the gateway type is 0")
	}
	return appendGatewayKey(dst, t, fields)
}

// appendGatewayKey appends the key of an IPSECKEY. RFC 4025 §2.4: algorithm 0
// means that there is none.
func appendGatewayKey(dst []byte, t Type, fields []Field) ([]byte, error) {
	if t == TypeAMTRELAY {
		if len(fields) > 4 {
			return dst, fieldError(t, fields, 4, ErrExtra, "remove it")
		}
		return dst, nil
	}
	dst, bad := appendBase64(dst, fields[4:])
	if bad >= 0 {
		return dst, fieldError(t, fields, 4+bad, ErrSyntax, remedies[kindOptBase64])
	}
	return dst, nil
}

// splitGateway returns the parts of an IPSECKEY or AMTRELAY.
func splitGateway(t Type, data []byte) (k kind, gateway, key []byte, err error) {
	head := 2
	if t == TypeIPSECKEY {
		head = 3
	}
	if len(data) < head {
		return 0, nil, nil, ErrShort
	}
	gatewayType := data[1]
	if t == TypeAMTRELAY {
		gatewayType &^= discoveryBit
	}
	rest := data[head:]
	if int(gatewayType) >= len(gatewayKinds) {
		return 0, nil, nil, ErrNotTheType
	}
	n := 0
	if gatewayType != gatewayNone {
		k = gatewayKinds[gatewayType]
		if n, err = checkField(k, rest); err != nil {
			return 0, nil, nil, err
		}
	}
	if t == TypeAMTRELAY && n < len(rest) {
		return 0, nil, nil, ErrTrailing
	}
	return k, rest[:n], rest[n:], nil
}

// appendGatewayText writes checked RDATA of an IPSECKEY or AMTRELAY.
func appendGatewayText(b []byte, t Type, data []byte) []byte {
	b = strconv.AppendUint(b, uint64(data[0]), 10)
	b = append(b, ' ')
	if t == TypeAMTRELAY {
		b = append(b, '0'+data[1]>>7, ' ', '0'+data[1]&^discoveryBit)
	} else {
		b = append(b, '0'+data[1], ' ')
		b = strconv.AppendUint(b, uint64(data[2]), 10)
	}
	b = append(b, ' ')
	k, gateway, key, _ := splitGateway(t, data)
	if len(gateway) > 0 {
		b, _ = appendFieldText(b, k, gateway)
	} else {
		b = append(b, '.')
	}
	if len(key) > 0 {
		b = append(b, ' ')
		b = base64.StdEncoding.AppendEncode(b, key)
	}
	return b
}
