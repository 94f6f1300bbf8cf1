package rdata

import (
	"slices"
)

// appendBitmap appends the type bit maps of RFC 4034 §4.1.2 for the types that
// fields name: one block per window of 256 types, window blocks in order, no
// trailing zero octets, no empty window. bad is the field that is no type, or -1.
func appendBitmap(dst []byte, fields []Field) (out []byte, bad int) {
	var room [32]Type
	types := room[:0]
	for i, f := range fields {
		t, ok := ParseTypeField(f.Text)
		if !ok || f.Quoted {
			return dst, i
		}
		types = append(types, t)
	}
	if !slices.IsSorted(types) {
		slices.Sort(types)
	}
	return AppendBitmap(dst, types), -1
}

// AppendBitmap appends the type bit maps of RFC 4034 §4.1.2 for types in ascending
// order.
func AppendBitmap(dst []byte, types []Type) []byte {
	for i := 0; i < len(types); {
		window := types[i] >> 8
		var bits [32]byte
		last := 0
		for ; i < len(types) && types[i]>>8 == window; i++ {
			low := byte(types[i])
			bits[low/8] |= 0x80 >> (low % 8)
			last = int(low / 8)
		}
		dst = append(dst, byte(window), byte(last+1))
		dst = append(dst, bits[:last+1]...)
	}
	return dst
}

// checkBitmap reports what is wrong with type bit maps (RFC 4034 §4.1.2).
func checkBitmap(data []byte) error {
	previous := -1
	for len(data) > 0 {
		if len(data) < 2 {
			return ErrShort
		}
		window, length := int(data[0]), int(data[1])
		switch {
		case window <= previous, length == 0, length > 32:
			return ErrBitmap
		case 2+length > len(data):
			return ErrShort
		case data[1+length] == 0:
			return ErrBitmap
		}
		previous, data = window, data[2+length:]
	}
	return nil
}

// appendBitmapText writes the types of checked bit maps, each with a blank before
// it.
func appendBitmapText(b []byte, data []byte) []byte {
	for len(data) > 0 {
		window, length := Type(data[0])<<8, int(data[1])
		b = appendBitsText(b, window, data[2:2+length])
		data = data[2+length:]
	}
	return b
}

func appendBitsText(b []byte, window Type, bits []byte) []byte {
	for i, octet := range bits {
		for bit := range 8 {
			if octet&(0x80>>bit) != 0 {
				b = append(b, ' ')
				b = AppendType(b, window+Type(8*i+bit))
			}
		}
	}
	return b
}

// appendOldBitmap appends the single bit map of RFC 2535 §5.2, which has room for
// the types 1 to 127.
func appendOldBitmap(dst []byte, fields []Field) (out []byte, bad int) {
	var bits [16]byte
	last := -1
	for i, f := range fields {
		t, ok := ParseTypeField(f.Text)
		if !ok || f.Quoted || t > 127 {
			return dst, i
		}
		bits[t/8] |= 0x80 >> (t % 8)
		last = max(last, int(t/8))
	}
	return append(dst, bits[:last+1]...), -1
}

// checkOldBitmap: RFC 2535 §5.2: bit zero announces another format, which was
// never defined, and trailing zero octets are left out.
func checkOldBitmap(data []byte) error {
	if len(data) > 16 || len(data) > 0 && (data[0]&0x80 != 0 || data[len(data)-1] == 0) {
		return ErrBitmap
	}
	return nil
}
