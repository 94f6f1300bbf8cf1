package rdata

import (
	"bytes"
	"errors"
	"strings"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
)

// This file has the types that are not a plain row of fields (APL, LOC, HIP, SVCB,
// HTTPS): github.com/miekg/dns reads and writes them.
// Its result is never trusted blindly: what it wrote is read back, and where that
// gives other octets the generic form of RFC 3597 is used.

// hasGeneral reports whether t's presentation form is miekg/dns's.
func hasGeneral(t Type) bool {
	switch t {
	case TypeAPL, TypeLOC, TypeHIP, TypeSVCB, TypeHTTPS:
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
	at, text := -1, ""
	if len(fields) > 0 {
		at, text = fields[0].At, string(fields[0].Text)
	}
	return dst, &FieldError{Type: t, At: at, Text: text, Err: generalCause(err), Remedy: "write the fields of this type as its RFC shows them"}
}

// generalData returns the RDATA that fields spell.
func generalData(t Type, origin string, fields []Field) ([]byte, error) {
	rr, err := readRR(t, origin, fields)
	if err != nil {
		return nil, err
	}
	data, err := packRR(rr)
	if err == nil && isServiceBinding(t) {
		err = checkServiceParams(data)
	}
	return data, err
}

func isServiceBinding(t Type) bool { return t == TypeSVCB || t == TypeHTTPS }

// generalCause keeps of an error of miekg/dns only what concerns the RDATA, not
// the line and column of the text it was given.
func generalCause(err error) error {
	var parse *dns.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	text := strings.TrimPrefix(parse.Error(), "dns: ")
	if cut := strings.LastIndex(text, " at line:"); cut >= 0 {
		text = text[:cut]
	}
	return errors.New(text)
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
	if isServiceBinding(t) {
		if err := checkServiceParams(data); err != nil {
			return err
		}
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
