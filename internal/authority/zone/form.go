package zone

import (
	"bytes"
	"cmp"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// isWellFormed reports whether data has the length and the names that everything
// behind this package relies on when it copies and compresses RDATA. It is not a
// full check of the type; rdata.Validate is.
func isWellFormed(t rdata.Type, data []byte) bool {
	if len(data) > maxRdata {
		return false
	}
	switch t {
	case rdata.TypeA:
		return len(data) == 4
	case rdata.TypeAAAA:
		return len(data) == 16
	}
	l := rdata.LayoutOf(t)
	if l.Names == 0 || l.Prefix < 0 {
		return true
	}
	_, end, ok := namesIn(l, data)
	if !ok {
		return false
	}
	switch t {
	case rdata.TypeSOA:
		return len(data) == end+soaNumbers
	case rdata.TypeSIG, rdata.TypeNXT, rdata.TypeRRSIG, rdata.TypeNSEC, rdata.TypeSVCB, rdata.TypeHTTPS:
		return true // more fields follow
	}
	return len(data) == end
}

// soaNumbers is the length of the five numbers that end the RDATA of SOA.
const soaNumbers = 20

// namesIn returns the part of RDATA with layout l that is domain names.
func namesIn(l rdata.Layout, data []byte) (start, end int, ok bool) {
	end = max(l.Prefix, 0)
	start = end
	for range l.Names {
		first := end
		for {
			if end >= len(data) || data[end] > dnsname.MaxLabelLen {
				return start, start, false
			}
			length := int(data[end])
			end += 1 + length
			if length == 0 {
				break
			}
		}
		if end > len(data) || end-first > dnsname.MaxLen {
			return start, start, false
		}
	}
	return start, end, true
}

// setKey is what the records of one RRset have in common: their type, and for
// RRSIG the type they cover (RFC 4034 §3: they are no RRset in the sense of
// RFC 2181, their TTL is that of the records they cover). In its order signatures
// come right behind what they cover, where an answer finds them.
func setKey(t rdata.Type, data []byte) uint32 {
	if t == rdata.TypeRRSIG {
		return (uint32(data[0])<<8|uint32(data[1]))<<1 | 1
	}
	return uint32(t) << 1
}

// compareRdata orders RDATA of one type canonically (RFC 4034 §6.3): as octets,
// but the letters of domain names in lower case (§6.2).
func compareRdata(t rdata.Type, x, y []byte) int {
	l := rdata.LayoutOf(t)
	if l.Names == 0 || l.Prefix < 0 {
		return bytes.Compare(x, y)
	}
	xStart, xEnd, _ := namesIn(l, x)
	yStart, yEnd, _ := namesIn(l, y)
	for i := range min(len(x), len(y)) {
		a, b := x[i], y[i]
		if xStart <= i && i < xEnd {
			a = lower(a)
		}
		if yStart <= i && i < yEnd {
			b = lower(b)
		}
		if a != b {
			return cmp.Compare(a, b)
		}
	}
	return cmp.Compare(len(x), len(y))
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
