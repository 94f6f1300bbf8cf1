package rdata

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
)

// This file replays advisories about other name servers: what crashed them is refused
// here, or is read and written as any other record.

// TestAdvisorySVCBOverflow: CVE-2026-12244 (NSD): an SVCB record of about 65,509 octets
// overflowed the buffer that its text was made in. The largest that there can be goes
// through text and back; a larger one is refused.
func TestAdvisorySVCBOverflow(t *testing.T) {
	for _, size := range []int{65_000, 65_509, 65_535, 65_536, 70_000} {
		value := size - len("\x00\x01\x00") - 4 // priority, root, key and length of the parameter
		data := append([]byte("\x00\x01\x00\xff\x00"), byte(value>>8), byte(value))
		data = append(data, bytes.Repeat([]byte{0xFF}, value)...) // four octets of text for each of RDATA
		if size > 65_535 {
			text := fmt.Sprintf("1 . key65280=%s", strings.Repeat(`\255`, value))
			if _, err := ParseText(TypeSVCB, dnsname.Name{}, text); err == nil {
				t.Errorf("%d octets of RDATA are accepted", size)
			}
			continue
		}
		if err := Validate(TypeSVCB, data); err != nil {
			t.Fatalf("%d octets: %v", size, err)
		}
		text := AppendText(nil, TypeSVCB, data)
		again, err := ParseText(TypeSVCB, dnsname.Name{}, string(text))
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%d octets of RDATA became %d of text and %d of RDATA: %v", size, len(text), len(again), err)
		}
	}
	// Parameters whose lengths lie.
	for _, params := range []string{"\x00\x01\xff\xff", "\x00\x04\x00\x03\x01\x02\x03", "\x00\x04\x00\x05\x01\x02\x03\x04\x05", "\x00\x06\x00\x11" + strings.Repeat("a", 17), "\x00"} {
		if err := Validate(TypeSVCB, []byte("\x00\x01\x00"+params)); err == nil {
			t.Errorf("parameters %x are accepted", params)
		}
	}
}

// TestAdvisoryAPLWrite: CVE-2026-12246 (NSD): an APL record whose AFDLENGTH was larger
// than an address wrote beyond it. RFC 3123 §4: no more octets than the address has.
func TestAdvisoryAPLWrite(t *testing.T) {
	for family, most := range map[byte]int{1: 4, 2: 16} {
		for length := range 128 {
			for _, negated := range []byte{0, 0x80} {
				data := append([]byte{0, family, byte(min(length, most) * 8), negated | byte(length)}, bytes.Repeat([]byte{1}, length)...)
				err := Validate(TypeAPL, data)
				if (err != nil) != (length > most) {
					t.Fatalf("family %d, AFDLENGTH %d: %v", family, length, err)
				}
				text := AppendText(nil, TypeAPL, data) // in generic form if it is none
				if again, err := ParseText(TypeAPL, dnsname.Name{}, string(text)); length <= most && (err != nil || len(again) != len(data)) {
					t.Fatalf("family %d, AFDLENGTH %d: %s: %v", family, length, text, err)
				}
			}
		}
	}
	for _, cut := range []string{"\x00", "\x00\x01\x08", "\x00\x01\x08\x04\x01", "\x00\x01\x21\x04\x01\x01\x01\x01", "\x00\x02\x81\x00"} {
		if Validate(TypeAPL, []byte(cut)) == nil {
			t.Errorf("%x is accepted", cut)
		}
	}
}

// TestAdvisorySOA: malformed SOA records ended NSD 4.14.3 to 4.15.1 by an assertion: cut
// at every place, too long, with names that lead nowhere.
func TestAdvisorySOA(t *testing.T) {
	good, err := ParseText(TypeSOA, dnsname.Name{}, "ns.example. hostmaster.example. 1 2 3 4 5")
	if err != nil {
		t.Fatal(err)
	}
	for cut := range good {
		if Validate(TypeSOA, good[:cut]) == nil {
			t.Errorf("an SOA record cut after %d octets is accepted", cut)
		}
		if data, err := Unpack(nil, TypeSOA, good[:cut], 0, cut); err == nil && Validate(TypeSOA, data) == nil {
			t.Errorf("an SOA record cut after %d octets is unpacked", cut)
		}
	}
	if Validate(TypeSOA, append(bytes.Clone(good), 0)) == nil {
		t.Error("an SOA record with an octet too many is accepted")
	}
	for _, name := range []string{"\xC0\x00", "\x40a", "\xC0", strings.Repeat("\x3F"+strings.Repeat("a", 63), 5) + "\x00"} {
		msg := []byte(name + "\x00" + strings.Repeat("\x00", 20))
		if _, err := Unpack(nil, TypeSOA, msg, 0, len(msg)); err == nil {
			t.Errorf("an SOA record with the name %x is unpacked", name)
		}
	}
}
