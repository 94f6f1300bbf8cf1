package rdata

import (
	"errors"
	"fmt"
)

// ErrBitmap is wire RDATA with type bit maps against RFC 4034 §4.1.2.
var ErrBitmap = errors.New("malformed type bit maps")

// ErrNotTheType is wire RDATA that the rules of its type do not allow.
var ErrNotTheType = errors.New("RDATA not well formed for its type")

// Validate reports what is wrong with uncompressed RDATA of type t, nil when it
// is well formed. Any octets are well formed for a type that is not known
// (RFC 3597 §3) and for NULL (RFC 1035 §3.3.10).
func Validate(t Type, data []byte) error {
	if len(data) > maxData {
		return ErrDataTooLong
	}
	if shape := shapeOf(t); shape != nil {
		return checkShape(shape, data)
	}
	switch {
	case hasGateway(t):
		_, _, _, err := splitGateway(t, data)
		return err
	case isServiceBinding(t):
		return checkService(data)
	}
	if err := checkGeneral(t, data); err != nil {
		return fmt.Errorf("%w: %w", ErrNotTheType, err)
	}
	return nil
}

func checkShape(shape []kind, data []byte) error {
	for _, k := range shape {
		n, err := checkField(k, data)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	if len(data) > 0 {
		return ErrTrailing
	}
	return nil
}

// fixedLen is the length of the kinds that have one.
var fixedLen = [kindOldBitmap + 1]int{
	kindU8: 1, kindAlgorithm: 1, kindScheme: 1, kindU16: 2, kindCertType: 2, kindType: 2,
	kindU32: 4, kindTTL: 4, kindTime: 4, kindIPv4: 4, kindIPv6: 16,
	kindEUI48: 6, kindEUI64: 8, kindLocator: 8,
}

// checkField checks the field that data begins with and returns its length.
func checkField(k kind, data []byte) (int, error) {
	if n := fixedLen[k]; n > 0 {
		if n > len(data) {
			return 0, ErrShort
		}
		return n, nil
	}
	switch k {
	case kindName:
		return nameLen(data)
	case kindString, kindSalt, kindTag, kindHash:
		return checkCounted(k, data)
	case kindStrings, kindOptStrings:
		return checkStrings(k, data)
	case kindHex, kindNSAP, kindBase64:
		if len(data) == 0 {
			return 0, ErrShort
		}
	case kindBitmap:
		return len(data), checkBitmap(data)
	case kindOldBitmap:
		return len(data), checkOldBitmap(data)
	}
	return len(data), nil
}

func checkCounted(k kind, data []byte) (int, error) {
	if len(data) == 0 || 1+int(data[0]) > len(data) {
		return 0, ErrShort
	}
	n := 1 + int(data[0])
	if k == kindHash && n == 1 { // RFC 5155 §3.2: the length is 1 to 255
		return 0, ErrShort
	}
	if k == kindTag && checkTag(data[1:n]) != nil {
		return 0, ErrNotTheType
	}
	return n, nil
}

// checkStrings: RFC 1035 §3.3.14: TXT-DATA is one or more character-strings.
func checkStrings(k kind, data []byte) (int, error) {
	if len(data) == 0 && k == kindStrings {
		return 0, ErrShort
	}
	at := 0
	for at < len(data) {
		at += 1 + int(data[at])
	}
	if at > len(data) {
		return 0, ErrShort
	}
	return at, nil
}
