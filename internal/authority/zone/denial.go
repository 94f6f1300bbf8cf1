package zone

import (
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// MaxDenialLen is the most octets that AppendDenial appends: a pointer, the fixed
// fields of a record, two names and five numbers.
const MaxDenialLen = 2 + 10 + 2*dnsname.MaxLen + soaNumbers

// denial is the zone's SOA record in wire form, as every negative answer has it:
// with the TTL of a denial, and with the origin, wherever a name ends in it, left
// to be pointed to. Negative answers are what floods of random names cost, and
// this is one copy instead of three names to compress.
type denial struct {
	record   []byte    // begins with the pointer that is its owner; pointers are not filled in
	pointers [2]uint16 // offsets of the pointers in MNAME and RNAME; 0 for none
}

// newDenial makes the denial of a zone with the given SOA RDATA, in room if there is
// enough.
func newDenial(room []byte, origin dnsname.Name, ttl rdata.TTL, soa []byte) denial {
	var d denial
	if cap(room) == 0 {
		room = make([]byte, 0, 2+10+len(soa))
	}
	d.record = append(room[:0], 0, 0, 0, byte(rdata.TypeSOA), 0, byte(rdata.ClassIN))
	d.record = binary.BigEndian.AppendUint32(d.record, uint32(ttl))
	lengthAt := len(d.record)
	d.record = append(d.record, 0, 0)
	for i := range 2 {
		name, length, _ := dnsname.FromWire(soa) // well formed, as Add has checked
		if name.IsSubdomainOf(origin) && !origin.IsRoot() {
			d.record = append(d.record, soa[:length-origin.Len()]...)
			d.pointers[i] = uint16(len(d.record))
			d.record = append(d.record, 0, 0)
		} else {
			d.record = append(d.record, soa[:length]...)
		}
		soa = soa[length:]
	}
	d.record = append(d.record, soa...)
	binary.BigEndian.PutUint16(d.record[lengthAt:], uint16(len(d.record)-lengthAt-2))
	return d
}

// AppendDenial appends the SOA record of a negative answer (RFC 2308 §3) to b,
// ready for a message in which the zone's origin stands at the offset originAt:
// at the end of the question's name.
func (z *Zone) AppendDenial(b []byte, originAt int) []byte {
	at := len(b)
	b = append(b, z.denial.record...)
	pointer := 0xC000 | uint16(originAt)
	binary.BigEndian.PutUint16(b[at:], pointer)
	for _, i := range z.denial.pointers {
		if i != 0 {
			binary.BigEndian.PutUint16(b[at+int(i):], pointer)
		}
	}
	return b
}
