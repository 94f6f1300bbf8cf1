package rdata

import (
	"bytes"
	"errors"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
)

// neverCompressed are the types with names in their RDATA that are younger than
// RFC 3597, or, as NSAP-PTR, older but not in its lists: no sender compresses them.
var neverCompressed = map[Type]bool{TypeNSAPPTR: true, TypeTALINK: true, TypeLP: true, TypeDSYNC: true}

// TestLayoutsFollowShapes: the table of where names are and the table of what the
// fields are say the same.
func TestLayoutsFollowShapes(t *testing.T) {
	for number, shape := range shapes {
		rrtype := Type(number)
		if shape == nil {
			continue
		}
		prefix, names := 0, 0
		for _, k := range shape {
			switch {
			case k == kindName:
				names++
			case names == 0 && fixedLen[k] > 0:
				prefix += fixedLen[k]
			case names == 0:
				prefix = -1000
			}
		}
		if rrtype == TypeNAPTR {
			prefix = -1
		}
		want := Layout{Prefix: prefix, Names: names, Compress: LayoutOf(rrtype).Compress}
		if got := LayoutOf(rrtype); names > 0 && !neverCompressed[rrtype] && got != want {
			t.Errorf("%v: layout is %v, its fields say %v", rrtype, got, want)
		}
		if got := LayoutOf(rrtype); names == 0 && got.Names != 0 {
			t.Errorf("%v: layout has %d names, its fields have none", rrtype, got.Names)
		}
	}
}

// TestCompressedTypes: RFC 3597 §4: senders may compress "for the types defined in
// RFC 1035"; receivers decompress those and "RP, AFSDB, RT, SIG, PX, NXT, NAPTR,
// and SRV".
func TestCompressedTypes(t *testing.T) {
	mayCompress := map[Type]bool{
		TypeNS: true, TypeMD: true, TypeMF: true, TypeCNAME: true, TypeSOA: true, TypeMB: true, TypeMG: true,
		TypeMR: true, TypePTR: true, TypeMINFO: true, TypeMX: true,
	}
	for number := range 300 {
		rrtype := Type(number)
		if got := LayoutOf(rrtype).Compress; got != mayCompress[rrtype] {
			t.Errorf("%v: may compress is %v, want %v", rrtype, got, mayCompress[rrtype])
		}
	}
	for _, rrtype := range []Type{TypeRP, TypeAFSDB, TypeRT, TypeSIG, TypePX, TypeNXT, TypeNAPTR, TypeSRV} {
		if LayoutOf(rrtype).Names == 0 {
			t.Errorf("%v: its names are not decompressed", rrtype)
		}
	}
}

// TestUnpackCompressed: names that miekg/dns compressed come out as they went in.
func TestUnpackCompressed(t *testing.T) {
	for rrtype, texts := range examples {
		if LayoutOf(rrtype).Names == 0 || rrtype == TypeNXT {
			continue
		}
		for _, text := range texts {
			want, err := ParseText(rrtype, dnsname.Root, text)
			if err != nil {
				t.Fatal(err)
			}
			rr, err := unpackRR(rrtype, want)
			if err != nil {
				t.Errorf("%v %s: miekg/dns: %v", rrtype, text, err)
				continue
			}
			// Names that end as those of the examples do, for pointers to lead to.
			message := &dns.Msg{Compress: true, Answer: []dns.RR{
				&dns.NS{Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeNS, Class: 1}, Ns: "a.example."}, rr, dns.Copy(rr),
			}}
			wire, err := message.Pack()
			if err != nil {
				t.Fatal(err)
			}
			data := rr.Header().Rdlength
			for _, at := range []int{bytes.LastIndex(wire, []byte{0, 1, 0, 0, 0, 0}) + 8} {
				got, err := Unpack(nil, rrtype, wire, at, len(wire)-at)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%v %s (%d octets): Unpack = %x, %v; want %x", rrtype, text, data, got, err, want)
				}
			}
		}
	}
}

func TestUnpackNameRefuses(t *testing.T) {
	chain := []byte{0}
	for at := 0; len(chain) < 600; at = len(chain) - 2 {
		chain = append(chain, 0xC0|byte(at>>8), byte(at))
	}
	tests := []struct {
		why  string
		msg  []byte
		off  int
		want error
	}{
		{"a pointer to itself", []byte{0xC0, 0}, 0, ErrPointer},
		{"a pointer forward", []byte{0xC0, 2, 0}, 0, ErrPointer},
		{"two pointers in a circle", []byte{1, 'a', 0xC0, 0}, 2, ErrPointer},
		{"half a pointer", []byte{0, 0xC0}, 1, ErrShort},
		{"half a label", []byte{3, 'a', 'b'}, 0, ErrShort},
		{"no end", []byte{1, 'a'}, 0, ErrShort},
		{"RFC 6891 §5: an extended label", []byte{0x41, 0}, 0, dnsname.ErrCompressed},
		{"256 octets", append(bytes.Repeat([]byte{1, 'a'}, 128), 0), 0, dnsname.ErrNameTooLong},
		{"a name that loops through its own label", []byte{1, 'a', 0xC0, 0}, 0, ErrPointer},
		{"hundreds of pointers to pointers", chain, len(chain) - 2, ErrPointer},
	}
	for _, test := range tests {
		if got, _, err := UnpackName(nil, test.msg, test.off); !errors.Is(err, test.want) {
			t.Errorf("%s: got %x, %v; want %v", test.why, got, err, test.want)
		}
	}
}

// TestTarget: the types whose target's addresses go into the additional section.
func TestTarget(t *testing.T) {
	want := map[Type]string{
		TypeNS: "a.root-servers.net.", TypeMD: "mail.example.", TypeMF: "mail.example.", TypeMB: "host.example.",
		TypeMX: "mail.example.com.", TypeAFSDB: "afs.example.com.", TypeRT: "relay.example.com.", TypeSRV: "sipserver.example.com.",
		TypeKX: "kx.example.com.", TypeSVCB: "svc.example.com.", TypeHTTPS: ".",
	}
	for rrtype, texts := range examples {
		data, err := ParseText(rrtype, dnsname.Root, texts[0])
		if err != nil {
			t.Fatal(err)
		}
		got, _ := Target(rrtype, data)
		if got.String() != want[rrtype] {
			t.Errorf("Target(%v %s) = %q, want %q", rrtype, texts[0], got, want[rrtype])
		}
	}
	if _, ok := Target(TypeMX, []byte{0, 1, 3}); ok {
		t.Error("a target was found in broken RDATA")
	}
}

func TestRecordString(t *testing.T) {
	record := Record{Name: dnsname.MustParse("www.example.com."), Type: TypeMX, Class: ClassIN, TTL: 300, Data: []byte{0, 10, 1, 'a', 0}}
	if got, want := record.String(), "www.example.com.\t300\tIN\tMX\t10 a."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	record.Type, record.Class, record.Data = Type(65280), Class(42), nil
	if got, want := record.String(), "www.example.com.\t300\tCLASS42\tTYPE65280\t\\# 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
