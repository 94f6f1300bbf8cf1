package rdata

import (
	"encoding/binary"
	"errors"
)

// Keys of service parameters (RFC 9460 §14.3.2) with rules that github.com/miekg/dns
// does not hold.
const (
	keyMandatory = 0
	keyALPN      = 1
)

var (
	errEmptyValue = errors.New("mandatory and alpn need a value (RFC 9460 §7.1.1 and §8)")
	errMandatory  = errors.New("mandatory lists keys in ascending order, each once, each present, and not itself (RFC 9460 §8)")
)

// checkServiceParams checks what concerns several parameters of an SVCB or HTTPS
// record, or is more than miekg/dns asks for. data has the form of RFC 9460 §2.2:
// priority, target, then key, length and value of each parameter in ascending
// order.
func checkServiceParams(data []byte) error {
	if len(data) < 2 {
		return ErrShort
	}
	n, err := nameLen(data[2:])
	if err != nil {
		return err
	}
	var mandatory []byte
	for params := data[2+n:]; len(params) > 0; {
		if len(params) < 4 || 4+int(binary.BigEndian.Uint16(params[2:])) > len(params) {
			return ErrShort
		}
		key := binary.BigEndian.Uint16(params)
		value := params[4 : 4+int(binary.BigEndian.Uint16(params[2:]))]
		params = params[4+len(value):]
		if (key == keyMandatory || key == keyALPN) && len(value) == 0 {
			return errEmptyValue
		}
		if key == keyMandatory {
			if mandatory = value; !isAscending(value) {
				return errMandatory
			}
			continue
		}
		// Both are in ascending order, so one pass finds every listed key.
		if len(mandatory) > 0 && binary.BigEndian.Uint16(mandatory) == key {
			mandatory = mandatory[2:]
		}
	}
	if len(mandatory) > 0 {
		return errMandatory
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
