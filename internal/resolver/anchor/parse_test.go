package anchor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

const (
	ds20326  = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
	key20326 = ". IN DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU="
	autoHead = "; autotrust trust anchor file\n;;id: . 1\n;;last_queried: 1700000000 ;;Tue Nov 14 22:13:20 2023\n"
	ianaFile = `<?xml version="1.0" encoding="UTF-8"?>
<TrustAnchor id="380DC50D-484E-40D0-A3AE-68F2B18F61C7" source="http://data.iana.org/root-anchors/root-anchors.xml">
<Zone>.</Zone>
<KeyDigest id="Kjqmt7v" validFrom="2010-07-15T00:00:00+00:00" validUntil="2019-01-11T00:00:00+00:00">
<KeyTag>19036</KeyTag><Algorithm>8</Algorithm><DigestType>2</DigestType>
<Digest>49AAC11D7B6F6446702E54A1607371607A1A41855200FD2CE1CDDE32F24E8FB5</Digest>
</KeyDigest>
<KeyDigest id="Klajeyz" validFrom="2017-02-02T00:00:00+00:00">
<KeyTag>20326</KeyTag><Algorithm>8</Algorithm><DigestType>2</DigestType>
<Digest>E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D</Digest>
<PublicKey>ignored</PublicKey><Flags>257</Flags>
</KeyDigest>
<KeyDigest id="Kmyv6jo" validFrom="2024-07-18T00:00:00+00:00">
<KeyTag>38696</KeyTag><Algorithm>8</Algorithm><DigestType>2</DigestType>
<Digest>683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16</Digest>
</KeyDigest>
</TrustAnchor>`
)

// TestParse: the forms in which the root's anchors are published and kept.
func TestParse(t *testing.T) {
	in2018, in2026 := time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, text string
		now        time.Time
		tags       []uint16
	}{
		{"DS", ds20326, in2026, []uint16{20326}},
		{"root.key of Debian", "\n" + key20326 + " ; keytag 20326\n", in2026, []uint16{20326}},
		{"root.key of Unbound", autoHead + strings.Replace(key20326, ".", ".\t172800", 1) + " ;{id = 20326 (ksk), size = 2048b} ;;state=2 [  VALID  ] ;;count=0 ;;lastchange=1 ;;Thu\n" +
			strings.Replace(key20326, "IN DNSKEY 257 3 8 AwEAAaz", "IN DNSKEY 257 3 8 AwEAAaa", 1) + " ;;state=1 [ ADDPEND ] ;;count=3\n" +
			strings.Replace(key20326, "257", "385", 1) + " ;;state=4 [ REVOKED ]\n", in2026, []uint16{20326}},
		{"IANA in 2018", ianaFile, in2018, []uint16{19036, 20326}},
		{"IANA in 2026", ianaFile, in2026, []uint16{20326, 38696}},
	} {
		records, err := Parse(test.now, test.name, []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var tags []uint16
		for _, r := range records {
			if d, ok := dnssec.ParseDS(r.Data); ok && r.Type == rdata.TypeDS {
				tags = append(tags, d.Tag)
			} else {
				tags = append(tags, dnssec.KeyTag(r.Data))
			}
		}
		if len(tags) != len(test.tags) || tags[0] != test.tags[0] || tags[len(tags)-1] != test.tags[len(test.tags)-1] {
			t.Errorf("%s: keys %d, want %d", test.name, tags, test.tags)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "comments": "; nothing here\n", "another type": ". NS a.root.\n", "no digest": ". DS 1 8 2\n",
		"revoked only": strings.Replace(key20326, "257", "385", 1), "half a file": ianaFile[:400], "other XML": "<html></html>", "large": strings.Repeat(" ", MaxFile+1),
		"not hexadecimal": strings.Replace(ianaFile, "49AAC1", "49AAX1", 1), "bad time": strings.Replace(ianaFile, "2019-01-11T", "11 January ", 1),
	} {
		if records, err := Parse(in2026, name, []byte(text)); err == nil {
			t.Errorf("%s: %v", name, records)
		} else if name == "comments" && !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{ds20326, key20326, autoHead + key20326 + ";;state=2\n", ianaFile} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		records, err := Parse(start, "fuzz", text)
		if err != nil {
			return
		}
		for _, p := range New(start, records, nil) {
			if len(p.Anchors()) == 0 {
				t.Errorf("%v has a trust point without anchors", p.Zone)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(Kept{}))
	f.Add(Encode(Kept{Points: New(start, []rdata.Record{{Name: dnsname.Root, Type: rdata.TypeDNSKEY, Class: rdata.ClassIN, Data: []byte{1, 1, 3, 15, 9, 9}}}, nil)}))
	f.Fuzz(func(t *testing.T, text []byte) {
		kept, err := Decode(text)
		if err != nil {
			return
		}
		if _, err := Decode(Encode(kept)); err != nil {
			t.Error(err)
		}
	})
}

// TestNegatives is RFC 7646: every anchor of run time has an end, and goes before it when
// it is of no use any more.
func TestNegatives(t *testing.T) {
	var n Negatives
	a, b, c := dnsname.MustParse("a.example."), dnsname.MustParse("b.example."), dnsname.MustParse("c.example.")
	n.Configure(start, []dnsname.Name{c})
	for _, lasts := range []time.Duration{0, -time.Second, NegativeMost + 1} {
		if err := n.Add(start, a, lasts, "", false); err == nil {
			t.Errorf("one of %v is taken", lasts)
		}
	}
	if n.Add(start, a, day, "mail is down", false) != nil || n.Add(start, b, time.Hour, "", false) != nil || len(n.List) != 3 {
		t.Fatal(n)
	}
	if n.Add(start, c, day, "", false) == nil || n.Remove(c) == nil || n.Remove(dnsname.MustParse("d.")) == nil {
		t.Error("one of the configuration can be changed, or one that is not there")
	}
	if names, next := n.Due(start); len(names) != 0 || !next.Equal(start.Add(15*time.Minute)) { // a quarter of b's hour
		t.Errorf("due: %v, next at %v", names, next)
	}
	if names, _ := n.Due(start.Add(2 * time.Hour)); len(names) != 3 {
		t.Errorf("due two hours later: %v", names)
	}
	if n.Tested(start.Add(time.Hour), a, false, "the signature expired") || n.List[0].Verdict == "" {
		t.Error("a is removed though it is broken")
	}
	if n.Tested(start.Add(time.Hour), c, true, "secure") || !n.List[2].Mended {
		t.Error("c, of the configuration, is removed, or not known to be mended")
	}
	if gone := n.Expire(start.Add(time.Hour)); len(gone) != 1 || gone[0] != b {
		t.Errorf("gone after an hour: %v", gone)
	}
	if !n.Tested(start.Add(2*time.Hour), a, true, "secure") || len(n.List) != 1 {
		t.Error("a stays though it is mended")
	}
	if err := n.Add(start, a, NegativeMost, "", false); err != nil {
		t.Fatal(err)
	}
	if gone := n.Expire(start.Add(-365 * day)); len(gone) != 1 {
		t.Error("an anchor lasts for a year, as the clock went back")
	}
	n.Configure(start, nil)
	if len(n.List) != 0 {
		t.Error("c stays when it is not configured any more")
	}
}
