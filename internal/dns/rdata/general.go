package rdata

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
)

// This file has the types that are not a plain row of fields and that
// github.com/miekg/dns reads and writes well: APL, LOC, HIP.
// Its result is never trusted blindly: what it wrote is read back, and where that
// gives other octets the generic form of RFC 3597 is used.

// hasGeneral reports whether t's presentation form is miekg/dns's.
func hasGeneral(t Type) bool {
	switch t {
	case TypeAPL, TypeLOC, TypeHIP:
		return true
	}
	return false
}

// appendGeneral appends the RDATA of a type without a shape.
func appendGeneral(dst []byte, t Type, origin string, fields []Field) ([]byte, error) {
	if t.IsMeta() {
		return dst, metaError(t)
	}
	if !hasGeneral(t) {
		return dst, wholeError(t, ErrUnknownType, `write the generic form: \#, the number of octets, and the octets in hexadecimal (RFC 3597)`)
	}
	data, err := generalData(t, origin, fields)
	if err == nil {
		return append(dst, data...), nil
	}
	return dst, generalError(t, fields, err)
}

// generalError returns what miekg/dns found wrong, at the field whose text its
// message shows: the line and column of the text that it was given mean nothing to
// the user.
func generalError(t Type, fields []Field, err error) error {
	const remedy = "write the fields of this type as its RFC shows them"
	var parse *dns.ParseError
	if !errors.As(err, &parse) {
		return wholeError(t, err, remedy)
	}
	message := strings.TrimPrefix(parse.Error(), "dns: ")
	if cut := strings.LastIndex(message, " at line:"); cut >= 0 {
		message = message[:cut]
	}
	cause := error(ErrSyntax)
	if cut := strings.LastIndex(message, `: "`); cut > 0 {
		cause = errors.New(message[:cut])
	}
	for i, f := range fields {
		if len(f.Text) > 0 && strings.HasSuffix(message, strconv.Quote(string(f.Text))) {
			return fieldError(t, fields, i, cause, remedy)
		}
	}
	return wholeError(t, cause, remedy)
}

// generalData returns the RDATA that fields spell.
func generalData(t Type, origin string, fields []Field) ([]byte, error) {
	rr, err := readRR(t, origin, fields)
	if err != nil {
		return nil, err
	}
	return packRR(rr)
}

// readRR gives fields to miekg/dns as one line of a master file.
func readRR(t Type, origin string, fields []Field) (dns.RR, error) {
	line := append([]byte(". 0 IN "), dns.TypeToString[uint16(t)]...)
	for _, f := range fields {
		line = append(line, ' ')
		if f.Quoted {
			line = append(line, '"')
		}
		line = append(line, f.Text...)
		if f.Quoted {
			line = append(line, '"')
		}
	}
	line = append(line, '\n')
	var originText []byte
	if origin != "" {
		originText, _ = appendNameText(nil, []byte(origin))
	}
	parser := dns.NewZoneParser(bytes.NewReader(line), string(originText), "")
	rr, ok := parser.Next()
	if err := parser.Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrMissing
	}
	return rr, nil
}

// packRR returns the RDATA of rr, which belongs to the root.
func packRR(rr dns.RR) ([]byte, error) {
	const header = 1 + 10 // the root's name; TYPE, CLASS, TTL, RDLENGTH
	wire := make([]byte, header+dns.Len(rr)+dnsname.MaxLen)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		wire = make([]byte, header+maxData)
		if end, err = dns.PackRR(rr, wire, 0, nil, false); err != nil {
			return nil, err
		}
	}
	return wire[header:end], nil
}

// unpackRR gives RDATA to miekg/dns as the record of the root.
func unpackRR(t Type, data []byte) (dns.RR, error) {
	header := dns.RR_Header{Name: ".", Rrtype: uint16(t), Class: dns.ClassINET, Rdlength: uint16(len(data))}
	rr, _, err := dns.UnpackRRWithHeader(header, data, 0)
	return rr, err
}

// checkGeneral is Validate for a type without a shape: RDATA is well formed when
// the record it becomes has the same RDATA again. That refuses compression too.
func checkGeneral(t Type, data []byte) error {
	if !hasGeneral(t) {
		return nil
	}
	if len(data) == 0 {
		if t == TypeAPL { // RFC 3123 §4: zero or more items
			return nil
		}
		return ErrShort
	}
	rr, err := unpackRR(t, data)
	if err != nil {
		return err
	}
	again, err := packRR(rr)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errors.New("not in the form that a sender writes")
	}
	return nil
}

// appendGeneralText writes data as miekg/dns does; ok is false when that does not
// read back as the same octets.
func appendGeneralText(b []byte, t Type, data []byte) (out []byte, ok bool) {
	if !hasGeneral(t) || len(data) == 0 {
		return b, false
	}
	rr, err := unpackRR(t, data)
	if err != nil {
		return b, false
	}
	text := strings.TrimPrefix(rr.String(), rr.Header().String())
	fields, err := SplitFields(nil, []byte(text))
	if err != nil {
		return b, false
	}
	again, err := appendGeneral(nil, t, dnsname.Root.Wire(), fields)
	if err != nil || !bytes.Equal(again, data) {
		return b, false
	}
	return append(b, text...), true
}
