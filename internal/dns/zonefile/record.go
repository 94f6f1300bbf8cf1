package zonefile

import (
	"bytes"
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// record reads an entry that is a record. RFC 1035 §5.1:
//
//	<domain-name> | <blank>   [<TTL>] [<class>] <type> <RDATA>
//	                          [<class>] [<TTL>] <type> <RDATA>
func (r *Reader) record(src *source, fields []rdata.Field) (rdata.Record, error) {
	owner, fields, err := r.owner(src, fields)
	if err != nil {
		return rdata.Record{}, err
	}
	head, fields, err := r.head(src, fields)
	if err != nil {
		return rdata.Record{}, err
	}
	data, err := rdata.AppendFields(r.room(minRoom), head.t, src.origin, fields)
	if err != nil {
		return rdata.Record{}, src.rdataError(head.typeField, err)
	}
	ttl, err := r.ttl(src, head, data)
	if err != nil {
		return rdata.Record{}, err
	}
	return rdata.Record{Name: owner, Type: head.t, Class: r.class, TTL: ttl, Data: r.keep(data)}, nil
}

// minRoom is what the RDATA of nearly all records, and every name, fits in.
const minRoom = 512

// owner returns the owner name of an entry, and the fields after it. RFC 1035
// §5.1: "If an entry for an RR begins with a blank, then the RR is assumed to be
// owned by the last stated owner."
func (r *Reader) owner(src *source, fields []rdata.Field) (dnsname.Name, []rdata.Field, error) {
	if src.blank {
		if src.owner.IsZero() {
			return dnsname.Name{}, nil, src.fieldError(fields[0], ErrNoOwner, "write the owner, or @ for the origin, in the first column")
		}
		return src.owner, fields, nil
	}
	f := fields[0]
	if !f.Quoted && len(f.Text) > 0 && bytes.Equal(f.Text, src.ownerText) {
		return src.owner, fields[1:], nil
	}
	name, err := r.name(src, f)
	if src.ownerBad = err != nil; err != nil {
		return dnsname.Name{}, nil, err
	}
	src.owner, src.ownerText = name, append(src.ownerText[:0], f.Text...)
	return name, fields[1:], nil
}

// name reads an owner name.
func (r *Reader) name(src *source, f rdata.Field) (dnsname.Name, error) {
	if f.Quoted {
		return dnsname.Name{}, src.fieldError(f, ErrQuoted, "take the quotes off the name")
	}
	wire, err := rdata.AppendName(r.room(minRoom), f.Text, src.origin)
	if err != nil {
		return dnsname.Name{}, src.fieldError(f, err, rdata.NameRemedy(err))
	}
	dnsname.Lower(wire)
	return dnsname.View(r.keep(wire)), nil
}

// head is what stands between owner and RDATA.
type head struct {
	ttl       rdata.TTL
	hasTTL    bool
	t         rdata.Type
	typeField rdata.Field
}

// head reads TTL and class, in any order and each at most once, and the type.
func (r *Reader) head(src *source, fields []rdata.Field) (h head, rest []rdata.Field, err error) {
	hasClass := false
	for i, f := range fields {
		if f.Quoted {
			return h, nil, src.fieldError(f, ErrQuoted, "take the quotes off")
		}
		if !h.hasTTL && '0' <= f.Text[0] && f.Text[0] <= '9' {
			if h.ttl, h.hasTTL = rdata.ParseTTL(f.Text); !h.hasTTL {
				return h, nil, src.fieldError(f, ErrTTL, ttlRemedy)
			}
			continue
		}
		if class, ok := parseClass(f.Text); ok && !hasClass {
			hasClass = true
			if r.class == 0 {
				r.class = class
			}
			if class != r.class {
				return h, nil, src.fieldError(f, ErrClass, "write "+r.class.String()+", or leave the class out")
			}
			continue
		}
		t, ok := rdata.ParseTypeField(f.Text)
		if !ok {
			return h, nil, src.fieldError(f, ErrUnknownType, "write a type such as AAAA, or TYPEnnn with RDATA as \\# length hex")
		}
		if r.class == 0 { // RFC 1035 §5.1 has no default; every server takes IN
			r.class = rdata.ClassIN
		}
		h.t, h.typeField = t, f
		return h, fields[i+1:], nil
	}
	at := src.lastOctet()
	return h, nil, src.errorAt(at, nil, ErrMissingType, "write [TTL] [class] type RDATA after the owner; an owner left out needs a blank before the type")
}

const ttlRemedy = "write seconds from 0 to 2147483647, or units such as 1h30m"

// parseClass reads a class that a zone can have.
func parseClass(text []byte) (rdata.Class, bool) {
	switch len(text) {
	case 2:
		switch {
		case text[0]|0x20 == 'i' && text[1]|0x20 == 'n':
			return rdata.ClassIN, true
		case text[0]|0x20 == 'c' && text[1]|0x20 == 'h':
			return rdata.ClassCH, true
		case text[0]|0x20 == 'h' && text[1]|0x20 == 's':
			return rdata.ClassHS, true
		}
	case 6, 7, 8, 9, 10: // CLASSnnn
		class, ok := rdata.ParseClass(string(text))
		return class, ok && class != 0 && class != rdata.ClassNONE && class != rdata.ClassANY
	}
	return 0, false
}

// ttl returns the TTL of a record and remembers it where a later record may need
// it. In this order, as BIND does:
//   - what the record states;
//   - RFC 2308 §4: the last $TTL;
//   - RFC 1035 §5.1: "Omitted class and TTL values are default to the last
//     explicitly stated values";
//   - for an SOA record that comes first: its MINIMUM, which is what RFC 1035
//     §3.3.13 meant it for, and which then counts as $TTL.
func (r *Reader) ttl(src *source, h head, data []byte) (rdata.TTL, error) {
	switch {
	case h.hasTTL:
		r.lastTTL, r.hasLastTTL = h.ttl, true
		return h.ttl, nil
	case r.hasDefaultTTL:
		return r.defaultTTL, nil
	case r.hasLastTTL:
		return r.lastTTL, nil
	case h.t == rdata.TypeSOA:
		minimum := rdata.TTL(binary.BigEndian.Uint32(data[len(data)-4:]))
		r.defaultTTL, r.hasDefaultTTL = min(minimum, rdata.MaxTTL), true
		return r.defaultTTL, nil
	}
	return 0, src.fieldError(h.typeField, ErrNoTTL, "write $TTL and a number in a line before it")
}
