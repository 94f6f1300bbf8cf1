package rdata

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
)

// FuzzParseText: no text crashes the reader, what it accepts is well formed, and
// what is written of it reads back as the same octets.
func FuzzParseText(f *testing.F) {
	for rrtype, texts := range examples {
		for _, text := range texts {
			f.Add(uint16(rrtype), text)
		}
	}
	f.Fuzz(func(t *testing.T, number uint16, text string) {
		rrtype := Type(number)
		data, err := ParseText(rrtype, dnsname.MustParse("example.com."), text)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		if err := Validate(rrtype, data); err != nil {
			t.Fatalf("%v %q was read as %x, which is not well formed: %v", rrtype, text, data, err)
		}
		checkReads(t, rrtype, string(AppendText(nil, rrtype, data)), data)
	})
}

// FuzzValidate: no octets crash what checks and writes them, and what is well
// formed reads back as it was written.
func FuzzValidate(f *testing.F) {
	for rrtype, texts := range examples {
		for _, text := range texts {
			data, err := ParseText(rrtype, dnsname.Root, text)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint16(rrtype), data)
		}
	}
	f.Fuzz(func(t *testing.T, number uint16, data []byte) {
		rrtype := Type(number)
		valid := Validate(rrtype, data)
		Target(rrtype, data)
		text := string(AppendText(nil, rrtype, data))
		if rrtype.IsMeta() || len(data) > maxData {
			return
		}
		if valid == nil {
			checkReads(t, rrtype, text, data)
			return
		}
		if _, err := ParseText(rrtype, dnsname.Root, text); err == nil {
			t.Errorf("%v %x is not well formed (%v), but its text %s was read", rrtype, data, valid, text)
		}
	})
}

// FuzzUnpack: no message crashes the decoder, and names come out as miekg/dns
// reads them.
func FuzzUnpack(f *testing.F) {
	f.Add(uint16(TypeMX), []byte("\x07example\x03com\x00\x00\x0a\x04mail\xC0\x00"), 13, 9)
	f.Add(uint16(TypeSOA), []byte("\x03net\x00\xC0\x00\x01a\xC0\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01"), 5, 26)
	f.Add(uint16(TypeNAPTR), []byte("\x00\x00\x01\x00\x02\x01s\x01t\x00\xC0\x00"), 1, 11)
	f.Add(uint16(TypeCNAME), []byte("\xC0\x00"), 0, 2)
	f.Fuzz(func(t *testing.T, number uint16, msg []byte, off, length int) {
		if off < 0 || length < 0 || off > len(msg) || length > len(msg) {
			return
		}
		data, err := Unpack(nil, Type(number), msg, off, length)
		if err == nil && LayoutOf(Type(number)).Names == 0 && !bytes.Equal(data, msg[off:off+length]) {
			t.Errorf("RDATA without names was changed: %x", data)
		}
		if err == nil && len(data) <= maxData {
			Validate(Type(number), data)
		}
		got, end, err := UnpackName(nil, msg, off)
		if err != nil {
			return
		}
		want, wantEnd, err := dns.UnpackDomainName(msg, off)
		if err != nil {
			return // miekg/dns allows fewer pointers
		}
		wire := make([]byte, dnsname.MaxLen+1)
		n, err := dns.PackDomainName(want, wire, 0, nil, false)
		if err != nil || !bytes.Equal(got, wire[:n]) || end != wantEnd {
			t.Errorf("UnpackName = %x, %d; miekg/dns %x (%q), %d, %v", got, end, wire[:n], want, wantEnd, err)
		}
	})
}
