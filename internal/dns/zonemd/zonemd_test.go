package zonemd

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

var example = dnsname.MustParse("example.")

func build(t testing.TB, text string) *zone.Zone {
	t.Helper()
	var records []rdata.Record
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: example}) {
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		records = append(records, r)
	}
	z, problems := zone.Build(example, slices.Values(records))
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// RFC 8976 appendix A.1 to A.3.
var vectors = map[string]string{
	"simple": `@ 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
@ 86400 IN NS ns1
@ 86400 IN NS ns2
@ 86400 IN ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
ns1 3600 IN A 203.0.113.63
ns2 3600 IN AAAA 2001:db8::63
`,
	"complex": `@ 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
@ 86400 IN NS ns1
@ 86400 IN NS ns2
@ 86400 IN ZONEMD 2018031900 1 1 a3b69bad980a3504e1cffcb0fd6397f93848071c93151f552ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe
ns1 3600 IN A 203.0.113.63
NS2 3600 IN AAAA 2001:db8::63
occluded.sub 7200 IN TXT "I'm occluded but must be digested"
sub 7200 IN NS ns1
duplicate 300 IN TXT "I must be digested just once"
duplicate 300 IN TXT "I must be digested just once"
foo.test. 555 IN TXT "out-of-zone data must be excluded"
UPPERCASE 3600 IN TXT "canonicalize uppercase owner names"
* 777 IN PTR dont-forget-about-wildcards
mail 3600 IN MX 20 MAIL1
mail 3600 IN MX 10 Mail2.Example.
sortme 3600 IN AAAA 2001:db8::5:61
sortme 3600 IN AAAA 2001:db8::3:62
sortme 3600 IN AAAA 2001:db8::4:63
sortme 3600 IN AAAA 2001:db8::1:65
sortme 3600 IN AAAA 2001:db8::2:64
non-apex 900 IN ZONEMD 2018031900 1 1 616c6c6f776564206275742069676e6f7265642e20616c6c6f776564206275742069676e6f7265642e20616c6c6f7765
`,
	"multiple": `@ 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
@ 86400 IN NS ns1
@ 86400 IN NS ns2
@ 86400 IN ZONEMD 2018031900 1 1 62e6cf51b02e54b9b5f967d547ce43136792901f9f88e637493daaf401c92c279dd10f0edb1c56f8080211f8480ee306
@ 86400 IN ZONEMD 2018031900 1 2 08cfa1115c7b948c4163a901270395ea226a930cd2cbcf2fa9a5e6eb85f37c8a4e114d884e66f176eab121cb02db7d652e0cc4827e7a3204f166b47e5613fd27
@ 86400 IN ZONEMD 2018031900 1 240 e2d523f654b9422a96c5a8f44607bbee
@ 86400 IN ZONEMD 2018031900 241 1 e1846540e33a9e4189792d18d5d131f605fc283e
ns1 3600 IN A 203.0.113.63
ns2 86400 IN TXT "This example has multiple digests"
NS2 3600 IN AAAA 2001:db8::63
`,
}

// TestVectors: RFC 8976 appendix A: the digests are right, each one by itself.
func TestVectors(t *testing.T) {
	for name, text := range vectors {
		z := build(t, text)
		if err := Verify(example, z.Records()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		set, _ := z.RRset(z.Apex(), rdata.TypeZONEMD)
		at := 0
		for range set.Count {
			var data []byte
			data, _, at = set.Record(at)
			if data[4] != schemeSimple || hashes[data[5]] == 0 {
				continue
			}
			sum, err := Sum(example, z.Records(), data[5])
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := Record(2018031900, data[5], sum); string(want) != string(data) {
				t.Errorf("%s: algorithm %d: %x, want %x", name, data[5], want, data)
			}
		}
	}
}

// TestRefusals: RFC 8976 §4: what does not count, and what does not fit.
func TestRefusals(t *testing.T) {
	simple := vectors["simple"]
	for _, test := range []struct {
		old, new string
		want     error
	}{
		{"203.0.113.63", "203.0.113.64", ErrMismatch},
		{"ns1 3600", "ns1 3601", ErrMismatch},
		{"ns2 3600", "ns3 3600", ErrMismatch},
		{"ns2 3600 IN AAAA", "extra 60 IN A 192.0.2.1\nns2 3600 IN AAAA", ErrMismatch},
		{"ZONEMD 2018031900", "ZONEMD 2018031901", ErrUnusable},
		{"2018031900 1 1", "2018031900 2 1", ErrUnusable},
		{"2018031900 1 1", "2018031900 1 3", ErrUnusable},
		{"2018031900 1 1", "2018031900 1 2", ErrUnusable}, // with the length of another
		{"ns1 3600", "@ 86400 IN ZONEMD 2018031900 1 1 " + strings.Repeat("00", 48) + "\nns1 3600", ErrUnusable},
		{"@ 86400 IN ZONEMD", "not-the-apex 86400 IN ZONEMD", ErrNone},
	} {
		text := strings.Replace(simple, test.old, test.new, 1)
		if err := Verify(example, build(t, text).Records()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.new, err, test.want)
		}
	}
	if _, err := Sum(example, build(t, simple).Records(), 3); !errors.Is(err, ErrHash) {
		t.Errorf("hash algorithm 3: %v", err)
	}
}

// TestOrder: the order in which the records of a name come does not matter.
func TestOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for name, text := range vectors {
		records := slices.Collect(build(t, text).Records())
		for range 20 {
			rnd.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
			slices.SortStableFunc(records, func(a, b rdata.Record) int { return a.Name.Compare(b.Name) })
			if err := Verify(example, slices.Values(records)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// FuzzVerify: no records make Verify panic, and a zone with the digest that Sum makes of it
// verifies.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("\x01a"), uint16(46), []byte{0, 63, 13}, uint8(1))
	f.Add([]byte{}, uint16(63), make([]byte, 54), uint8(2))
	f.Fuzz(func(t *testing.T, label []byte, rrtype uint16, data []byte, algorithm uint8) {
		owner := example
		if child, err := example.Child(string(label)); err == nil {
			owner = child
		}
		soa, _ := rdata.ParseText(rdata.TypeSOA, example, "ns host 7 2 3 4 5")
		record := func(n dnsname.Name, rt rdata.Type, data []byte) rdata.Record {
			return rdata.Record{Name: n, Type: rt, Class: rdata.ClassIN, TTL: 60, Data: data}
		}
		records := []rdata.Record{record(example, rdata.TypeSOA, soa), record(owner, rdata.Type(rrtype), data)}
		Verify(example, slices.Values(records))
		if records[1].Type == rdata.TypeZONEMD && owner == example || records[1].Type == rdata.TypeSOA {
			return
		}
		sum, err := Sum(example, slices.Values(records), algorithm)
		if err != nil {
			return
		}
		digest, _ := Record(7, algorithm, sum)
		if err := Verify(example, slices.Values(append([]rdata.Record{record(example, rdata.TypeZONEMD, digest)}, records...))); err != nil {
			t.Error(err)
		}
	})
}
