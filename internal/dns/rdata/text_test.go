package rdata

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
)

// TestEveryTypeHasAnExample enumerates what miekg/dns knows: a type that it learns
// fails here until it has an example, or a reason to have none.
func TestEveryTypeHasAnExample(t *testing.T) {
	for number := range dns.TypeToRR {
		rrtype := Type(number)
		_, isLeftOut := noZoneTypes[rrtype]
		if len(examples[rrtype]) == 0 && !isLeftOut {
			t.Errorf("%v has no example in the table", rrtype)
		}
		if shapeOf(rrtype) == nil && !hasGeneral(rrtype) && !hasGateway(rrtype) && !isServiceBinding(rrtype) && !isLeftOut {
			t.Errorf("%v can neither be read nor written", rrtype)
		}
	}
	for rrtype := range noZoneTypes {
		if _, err := ParseText(rrtype, dnsname.Root, "1.2.3.4"); err == nil {
			t.Errorf("%v: read, want an error", rrtype)
		}
	}
}

// TestRoundTrip: what AppendText writes, ParseText reads as the same octets, and
// so does the generic form (RFC 3597 §5: "the generic format can be used for any
// RR type").
func TestRoundTrip(t *testing.T) {
	for rrtype, texts := range examples {
		for _, text := range texts {
			data, err := ParseText(rrtype, dnsname.Root, text)
			if err != nil {
				t.Errorf("%v %s: %v", rrtype, text, err)
				continue
			}
			if err := Validate(rrtype, data); err != nil {
				t.Errorf("%v %s: Validate(%x): %v", rrtype, text, data, err)
			}
			written := string(AppendText(nil, rrtype, data))
			if strings.HasPrefix(written, `\#`) && text != "" && !looksCutOff(rrtype, data) {
				t.Errorf("%v %s: written in the generic form: %s", rrtype, text, written)
			}
			checkReads(t, rrtype, written, data)
			checkReads(t, rrtype, string(AppendGenericText(nil, data)), data)
		}
	}
}

func checkReads(t *testing.T, rrtype Type, text string, want []byte) {
	t.Helper()
	got, err := ParseText(rrtype, dnsname.Root, text)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("ParseText(%v, %q) = %x, %v; want %x", rrtype, text, got, err, want)
	}
}

// TestAgainstMiekg takes miekg/dns as the oracle: both ways it must read the same
// octets from the examples, and from what we write.
func TestAgainstMiekg(t *testing.T) {
	for rrtype, texts := range examples {
		if _, ok := dns.TypeToRR[uint16(rrtype)]; !ok || hasGeneral(rrtype) {
			continue // unknown to it, or read by it
		}
		if reason, ok := otherThanMiekg[rrtype]; ok {
			t.Logf("%v left out: %s", rrtype, reason)
			continue
		}
		for _, text := range texts {
			if reason, ok := textsOtherThanMiekg[text]; ok {
				t.Logf("%v %s left out: %s", rrtype, text, reason)
				continue
			}
			got, err := ParseText(rrtype, dnsname.Root, text)
			if err != nil {
				t.Errorf("%v %s: %v", rrtype, text, err)
				continue
			}
			if want := miekgReads(t, rrtype, text); !bytes.Equal(got, want) {
				t.Errorf("%v %s: got %x, miekg/dns %x", rrtype, text, got, want)
			}
			written := string(AppendText(nil, rrtype, got))
			if want := miekgReads(t, rrtype, written); !bytes.Equal(got, want) {
				t.Errorf("%v: we wrote %s of %x, which miekg/dns reads as %x", rrtype, written, got, want)
			}
		}
	}
}

var otherThanMiekg = map[Type]string{
	TypeNXT:      "miekg/dns uses NSEC's bit maps of RFC 4034 instead of RFC 2535's",
	TypeGPOS:     "miekg/dns reads its strings without quotes only",
	TypeX25:      "miekg/dns reads its string without quotes only",
	TypeISDN:     "miekg/dns writes an absent subaddress as an empty one (RFC 1183 §3.2: it is optional)",
	TypeAMTRELAY: "miekg/dns drops the relay when the discovery bit is set (RFC 8777 §4.2.2)",
}

var textsOtherThanMiekg = map[string]string{
	"1 0 5 - 00000000 NS TYPE4660": "miekg/dns writes 20 as the length of every hash (RFC 5155 §3.2: the length of the hash)",
	"10 0:0:0:1":                   "miekg/dns wants all digits (RFC 6742 §2.1.2 lets zeros out)",
	"TYPE65280 RSASHA256 2 1h 4294967295 0 65535 Example.COM. AQ==": "miekg/dns reads no units in the original TTL",
	"1 . dohpath=/dns-query{?dns}":                                  "we write key7, which Knot DNS 3.2 reads and miekg/dns does not",
	"1 . ohttp":                                                     "we write key8, for the same reason",
	"1 . key7=/dns-query{?dns}":                                     "miekg/dns refuses numbers of keys that it knows (RFC 9460 §2.1 allows them)",
	`1 . key1=\002h2`:                                               "the same",
}

func miekgReads(t *testing.T, rrtype Type, text string) []byte {
	t.Helper()
	fields, err := SplitFields(nil, []byte(text))
	if err != nil {
		t.Fatalf("%v %s: %v", rrtype, text, err)
	}
	rr, err := readRR(rrtype, "\x00", fields)
	if err != nil {
		t.Errorf("miekg/dns on %v %s: %v", rrtype, text, err)
		return nil
	}
	data, err := packRR(rr)
	if err != nil {
		t.Errorf("miekg/dns on %v %s: %v", rrtype, text, err)
	}
	return data
}

// TestWireAgainstMiekg: what we read, miekg/dns unpacks and packs as the same
// octets, except where TestAgainstMiekg says that it is wrong on the wire.
func TestWireAgainstMiekg(t *testing.T) {
	isWrong := map[Type]bool{
		TypeNXT: true, TypeISDN: true, TypeAMTRELAY: true,
		TypeURI: true, TypeCAA: true, // it unpacks a backslash without escaping it, and so loses it
	}
	for rrtype, texts := range examples {
		if _, ok := dns.TypeToRR[uint16(rrtype)]; !ok || isWrong[rrtype] {
			continue
		}
		for _, text := range texts {
			data, err := ParseText(rrtype, dnsname.Root, text)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) == 0 || textsOtherThanMiekg[text] != "" && rrtype == TypeNSEC3 {
				continue
			}
			rr, err := unpackRR(rrtype, data)
			if err != nil {
				t.Errorf("%v %s: miekg/dns on %x: %v", rrtype, text, data, err)
				continue
			}
			if again, err := packRR(rr); err != nil || !bytes.Equal(again, data) {
				t.Errorf("%v %s: miekg/dns packs %x, %v; want %x", rrtype, text, again, err, data)
			}
		}
	}
}

// TestParseTextWire has octets written down by hand from the RFCs.
func TestParseTextWire(t *testing.T) {
	origin := dnsname.MustParse("example.com.")
	tests := []struct {
		rule, text string
		rrtype     Type
		want       string
	}{
		{"RFC 1035 §5.1: a name without a dot at its end is relative", "Www", TypeCNAME, "03577777076578616d706c6503636f6d00"},
		{"RFC 1035 §5.1: @ is the origin", "@", TypeNS, "076578616d706c6503636f6d00"},
		{"RFC 1035 §5.1: \\DDD is the octet with that decimal number", `"\065\\\""`, TypeTXT, "03415c22"},
		{"RFC 1035 §5.1: \\X takes away the special meaning of X", `a\.b.`, TypeNS, "03612e6200"},
		{"RFC 1035 §5.1: a string without blanks needs no quotes", `a;b`, TypeTXT, "0161"},
		{"RFC 1035 §5.1: parentheses group lines", "(\n 10 ; preference\n mail.\n)", TypeMX, "000a046d61696c00"},
		{"RFC 3597 §5: hexadecimal digits in words of any length", `\# 4 0a 0000 01`, TypeA, "0a000001"},
		{"RFC 3597 §5: RDATA of length zero", `\# 0`, Type(65280), ""},
		{"RFC 4034 §2.2: whitespace is allowed within the base64 text", "256 3 8 AQ I D", TypeDNSKEY, "01000308010203"},
		{"RFC 4034 §3.2: a time may be a number of seconds", "A 8 0 1 1 2 3 . AQID", TypeRRSIG, "000108000000000100000001000000020003" + "00" + "010203"},
		{"RFC 4034 §3.2: or YYYYMMDDHHmmSS in UTC", "A 8 0 1 19700101000001 19700101000002 3 . AQID", TypeRRSIG, "000108000000000100000001000000020003" + "00" + "010203"},
		{"RFC 4034 §3.1.5: 32 bits that wrap around", "A 8 0 1 19691231235959 21060207062815 3 . AQID", TypeRRSIG, "0001080000000001ffffffffffffffff0003" + "00" + "010203"},
		{"RFC 4034 §4.3: the example's bit maps", "host.example.com. A MX RRSIG NSEC TYPE1234", TypeNSEC,
			"04686f7374076578616d706c6503636f6d000006400100000003041b000000000000000000000000000000000000000000000000000020"},
		{"RFC 4034 §4.1.2: order of the types in the text is free", "a. NSEC A", TypeNSEC, "01610000" + "06" + "400000000001"},
		{"RFC 5155 §3.3: the salt - is no salt", "1 0 0 - 00", TypeNSEC3PARAM, ""},
		{"RFC 8659 §4.1: tag and value", `0 issue "x"`, TypeCAA, "000569737375" + "65" + "78"},
		{"BIND's units of time, in SOA too", ". . 1 1h30m 1d 1w 60", TypeSOA, "0000" + "00000001" + "00001518" + "00015180" + "00093a80" + "0000003c"},
	}
	for _, test := range tests {
		got, err := ParseText(test.rrtype, origin, test.text)
		if test.rrtype == TypeNSEC3PARAM {
			if err == nil {
				t.Errorf("%s: %s with a field too many was read", test.rule, test.text)
			}
			continue
		}
		if err != nil || hex.EncodeToString(got) != test.want {
			t.Errorf("%s: ParseText(%v, %q) = %x, %v; want %s", test.rule, test.rrtype, test.text, got, err, test.want)
		}
	}
}

func TestParseTextErrors(t *testing.T) {
	tests := []struct {
		rrtype Type
		text   string
		want   error
		index  int
	}{
		{TypeA, "192.0.2", ErrSyntax, 0},
		{TypeA, "192.0.2.256", ErrSyntax, 0},
		{TypeA, "192.0.2.01", ErrSyntax, 0},
		{TypeA, "2001:db8::1", ErrSyntax, 0},
		{TypeA, "", ErrMissing, 0},
		{TypeA, "192.0.2.1 192.0.2.2", ErrExtra, 1},
		{TypeA, `"192.0.2.1"`, ErrQuoted, 0},
		{TypeAAAA, "192.0.2.1", ErrSyntax, 0},
		{TypeAAAA, "fe80::1%eth0", ErrSyntax, 0},
		{TypeMX, "65536 a.", ErrSyntax, 0},
		{TypeMX, "-1 a.", ErrSyntax, 0},
		{TypeMX, "10", ErrMissing, 1},
		{TypeMX, "10 a..b.", dnsname.ErrEmptyLabel, 1},
		{TypeNS, strings.Repeat("a", 64) + ".", dnsname.ErrLabelTooLong, 0},
		{TypeNS, strings.Repeat("a.", 128), dnsname.ErrNameTooLong, 0},
		{TypeNS, `a\25.`, dnsname.ErrEscape, 0},
		{TypeNS, `a\256.`, dnsname.ErrEscape, 0},
		{TypeNS, "relative", dnsname.ErrNoOrigin, 0},
		{TypeNS, "@", dnsname.ErrNoOrigin, 0},
		{TypeTXT, "", ErrMissing, 0},
		{TypeTXT, `"` + strings.Repeat("a", 256) + `"`, ErrTooLong, 0},
		{TypeTXT, `a="b c"`, ErrQuoteInside, 0},
		{TypeDS, "1 8 2", ErrMissing, 3},
		{TypeDS, "1 8 2 ABC", ErrSyntax, 3},
		{TypeDS, "1 8 2 AB XY", ErrSyntax, 4},
		{TypeDS, "1 NOSUCHALGORITHM 2 AB", ErrSyntax, 1},
		{TypeDNSKEY, "256 3 8 AQ!D", ErrSyntax, 3},
		{TypeRRSIG, "A 8 0 1 20200230000000 2 3 . AQID", ErrSyntax, 4},
		{TypeRRSIG, "A 8 0 1 20200101000060 2 3 . AQID", ErrSyntax, 4},
		{TypeNSEC, "a. NOSUCHTYPE", ErrSyntax, 1},
		{TypeCAA, "0 is-sue x", ErrSyntax, 1},
		{TypeEUI48, "00-00-5e-00-53", ErrSyntax, 0},
		{TypeNID, "10 1:2:3", ErrSyntax, 1},
		{TypeA, `\# 4 0102`, ErrLength, 1},
		{TypeA, `\# 3 010203`, ErrShort, 0},
		{TypeA, `\# 5 0102030405`, ErrTrailing, 0},
		{TypeA, `\# 4 010203x4`, ErrSyntax, 2},
		{TypeA, `\#`, ErrMissing, 1},
		{Type(65280), "abc", ErrUnknownType, -1},
		{TypeOPT, `\# 0`, ErrMetaType, -1},
		{TypeANY, "x", ErrMetaType, -1},
		{TypeLOC, "91 0 0 N 0 0 0 E 0m", nil, 0},
		{TypeSVCB, "1 . port=x", ErrSyntax, 2},
		{TypeSVCB, "1 . alpn=h2 alpn=h3", errParamKey, 3},
		{TypeSVCB, "1 . key65535=x", ErrSyntax, 2},
		{TypeSVCB, "1 . key01=x", ErrSyntax, 2},
		{TypeSVCB, "1 . alpn=h2,,h3", errALPN, 2},
		{TypeSVCB, "1 . key3=abc", errParam, 2},
		{TypeSVCB, "1 . mandatory=port", errMandatory, -1},
	}
	for _, test := range tests {
		_, err := ParseText(test.rrtype, dnsname.Name{}, test.text)
		var wrong *FieldError
		if test.want != nil && !errors.Is(err, test.want) || !errors.As(err, &wrong) || wrong.Index != test.index {
			t.Errorf("ParseText(%v, %q): got %v, want %v at field %d", test.rrtype, test.text, err, test.want, test.index+1)
		} else if wrong.Remedy == "" {
			t.Errorf("ParseText(%v, %q): no remedy in %v", test.rrtype, test.text, err)
		}
	}
	for _, text := range []string{`"a`, "(a", "a)", `a"b`} {
		if _, err := ParseText(TypeTXT, dnsname.Root, text); !errors.Is(err, ErrUnclosed) {
			t.Errorf("ParseText(TXT, %q): got %v, want %v", text, err, ErrUnclosed)
		}
	}
	if _, err := ParseText(TypeDNSKEY, dnsname.Root, "256 3 8 "+strings.Repeat("AAAA", 22000)); !errors.Is(err, ErrDataTooLong) {
		t.Errorf("66000 octets of key: got %v, want %v", err, ErrDataTooLong)
	}
}
