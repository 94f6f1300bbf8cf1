// Package rdata is what a resource record is: its type, class and TTL, the shape
// of its RDATA, and how RDATA is written in presentation form and in wire form.
//
// RDATA is kept as uncompressed wire octets everywhere in the program. This
// package knows where the domain names in it are, which is what compression
// (package dnswire), additional-section processing (package answer) and the
// resolver need. A type that is a row of fields is read, written and checked by
// its row in the table shapes; the few others by github.com/miekg/dns; types that
// nobody knows, and octets that do not fit their type, have the generic form of
// RFC 3597.
//
// Entry points: Record, RRset; LayoutOf, Target, Unpack; ParseText, AppendText,
// Validate; AppendFields, AppendName and ParseTTL for a reader of master files;
// AppendPacked, Packed and ReadPacked for what keeps records.
//
// Concurrency: everything is a value or a pure function. RDATA slices are shared
// and never written to.
//
// Sources: RFC 1035 §3.2-§3.4 and §5.1, RFC 2181 §5 and §8, RFC 3597, RFC 6895,
// RFC 1982; the RFC of each field's form stands in shape.go.
package rdata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"pharos/internal/dns/dnsname"
)

// Record is one resource record. Data is its RDATA, uncompressed, not to be
// written to.
type Record struct {
	Name  dnsname.Name
	Type  Type
	Class Class
	TTL   TTL
	Data  []byte
}

// String returns r as one line of a master file, fields parted by one tab.
func (r Record) String() string { return string(r.AppendText(nil)) }

// AppendText appends what String returns.
func (r Record) AppendText(b []byte) []byte {
	b = append(r.Name.AppendText(b), '\t')
	b = append(strconv.AppendUint(b, uint64(r.TTL), 10), '\t')
	b = append(append(b, r.Class.String()...), '\t')
	b = append(append(b, r.Type.String()...), '\t')
	return AppendText(b, r.Type, r.Data)
}

// RRset is the records of one owner name, class and type. RFC 2181 §5.2: they
// have one TTL.
type RRset struct {
	Name  dnsname.Name
	Type  Type
	Class Class
	TTL   TTL
	Data  [][]byte
}

// Layout says where domain names stand in the RDATA of a type: Names of them in
// a row, after Prefix octets of other fields, except for NAPTR, whose prefix
// varies (Prefix is -1; see namesAt).
type Layout struct {
	Prefix int
	Names  int
	// Compress: RFC 3597 §4: a sender may compress these names only for the types
	// of RFC 1035.
	Compress bool
}

// layouts has every type whose RDATA may come with compressed names: those of
// RFC 1035, and those that RFC 3597 §4 tells a receiver to decompress.
var layouts = [...]Layout{
	TypeNS: {0, 1, true}, TypeMD: {0, 1, true}, TypeMF: {0, 1, true}, TypeCNAME: {0, 1, true},
	TypeSOA: {0, 2, true}, TypeMB: {0, 1, true}, TypeMG: {0, 1, true}, TypeMR: {0, 1, true},
	TypePTR: {0, 1, true}, TypeMINFO: {0, 2, true}, TypeMX: {2, 1, true},
	TypeRP: {0, 2, false}, TypeAFSDB: {2, 1, false}, TypeRT: {2, 1, false}, TypeSIG: {18, 1, false},
	TypePX: {2, 2, false}, TypeNXT: {0, 1, false}, TypeSRV: {6, 1, false}, TypeNAPTR: {-1, 1, false},
	TypeKX: {2, 1, false}, TypeDNAME: {0, 1, false},
	TypeRRSIG: {18, 1, false}, TypeNSEC: {0, 1, false},
}

// LayoutOf returns the layout of t's RDATA. A type without names that matter has
// the zero Layout.
func LayoutOf(t Type) Layout {
	if int(t) < len(layouts) {
		return layouts[t]
	}
	if t == TypeSVCB || t == TypeHTTPS {
		return Layout{Prefix: 2, Names: 1}
	}
	return Layout{}
}

// Errors of wire RDATA.
var (
	ErrShort    = errors.New("RDATA ends before its last field")
	ErrTrailing = errors.New("RDATA goes on after its last field")
	ErrPointer  = errors.New("bad compression pointer")
)

// Target returns the domain name whose addresses belong in the additional
// section of an answer with this record (RFC 1035 §3.3, RFC 2782, RFC 2230,
// RFC 1183, RFC 9460 §4.2); ok is false for the types that ask for none.
func Target(t Type, data []byte) (n dnsname.Name, ok bool) {
	switch t {
	case TypeNS, TypeMD, TypeMF, TypeMB, TypeMX, TypeSRV, TypeKX, TypeAFSDB, TypeRT:
	case TypeSVCB, TypeHTTPS:
	default:
		return dnsname.Name{}, false
	}
	return NameAt(data, LayoutOf(t).Prefix)
}

// NameAt returns the uncompressed name at data[off:].
func NameAt(data []byte, off int) (dnsname.Name, bool) {
	if off < 0 || off > len(data) {
		return dnsname.Name{}, false
	}
	n, _, err := dnsname.FromWire(data[off:])
	return n, err == nil
}

// namesAt returns the offset of the first domain name in uncompressed or
// compressed RDATA of layout l.
func (l Layout) namesAt(data []byte) (int, error) {
	if l.Prefix >= 0 {
		if l.Prefix > len(data) {
			return 0, ErrShort
		}
		return l.Prefix, nil
	}
	// NAPTR, RFC 3403 §4.1: order, preference, three character-strings, a name.
	at := 4
	for range 3 {
		if at >= len(data) {
			return 0, ErrShort
		}
		at += 1 + int(data[at])
	}
	if at > len(data) {
		return 0, ErrShort
	}
	return at, nil
}

// Unpack appends to dst the RDATA of a record of type t that stands at
// msg[off:off+length], with compressed names expanded (RFC 3597 §4). The letters
// of names keep their case. It refuses pointers that do not lead strictly
// towards the start of the message, and RDATA that does not fit its type's
// layout.
func Unpack(dst []byte, t Type, msg []byte, off, length int) ([]byte, error) {
	if off+length > len(msg) {
		return dst, ErrShort
	}
	data := msg[off : off+length]
	l := LayoutOf(t)
	if l.Names == 0 {
		return append(dst, data...), nil
	}
	at, err := l.namesAt(data)
	if err != nil {
		return dst, err
	}
	dst = append(dst, data[:at]...)
	at += off
	for range l.Names {
		if dst, at, err = UnpackName(dst, msg[:off+length], at); err != nil {
			return dst, err
		}
	}
	return append(dst, msg[at:off+length]...), nil
}

// UnpackName appends to dst the name at msg[off:], expanded, in its own case,
// and returns the offset after it. Every pointer must lead to before the place
// where the name, or the part of it now read, began: so no loop is possible and
// at most 255 octets and MaxLabels pointers are followed.
func UnpackName(dst []byte, msg []byte, off int) (out []byte, end int, err error) {
	start, limit, at := len(dst), off, off
	end = -1
	pointers := 0
	for {
		if at >= len(msg) {
			return dst, 0, ErrShort
		}
		c := int(msg[at])
		switch {
		case c == 0:
			if dst = append(dst, 0); len(dst)-start > dnsname.MaxLen {
				return dst, 0, dnsname.ErrNameTooLong
			}
			if end < 0 {
				end = at + 1
			}
			return dst, end, nil
		case c <= dnsname.MaxLabelLen:
			if at+1+c > len(msg) {
				return dst, 0, ErrShort
			}
			dst = append(dst, msg[at:at+1+c]...)
			if len(dst)-start >= dnsname.MaxLen {
				return dst, 0, dnsname.ErrNameTooLong
			}
			at += 1 + c
		case c >= 0xC0:
			if at+2 > len(msg) {
				return dst, 0, ErrShort
			}
			if end < 0 {
				end = at + 2
			}
			to := int(binary.BigEndian.Uint16(msg[at:]) & 0x3FFF)
			// A pointer to a pointer adds no label, so the length of the name does not
			// limit how many there are: one before each label is all that makes sense.
			if pointers++; to >= limit || pointers > dnsname.MaxLabels {
				return dst, 0, ErrPointer
			}
			limit, at = to, to
		default: // RFC 6891 §5: extended labels are not in use
			return dst, 0, fmt.Errorf("label type %#x: %w", c&0xC0, dnsname.ErrCompressed)
		}
	}
}
