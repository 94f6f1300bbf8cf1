package sign

import (
	"fmt"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
)

// hosts makes an unsigned zone of so many names.
func hosts(b *testing.B, count int, serial string, more ...rdata.Record) *zone.Zone {
	b.Helper()
	builder := zone.NewBuilder(example)
	for _, r := range append(records(b, "@ 300 IN SOA ns host "+serial+" 2 3 4 60\n@ 300 IN NS ns\nns 300 IN A 192.0.2.1\n"), more...) {
		builder.Add(r)
	}
	for i := range count {
		n, err := example.Child(fmt.Sprintf("host-%d", i))
		if err != nil {
			b.Fatal(err)
		}
		builder.Add(rdata.Record{Name: n, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 300, Data: []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}})
	}
	z, problems := builder.Finish()
	if z == nil {
		b.Fatal(problems)
	}
	return z
}

// BenchmarkUpdate adds one name to a signed zone of 50,000 names, which costs as much in one
// of any size: see Update.
func BenchmarkUpdate(b *testing.B) {
	for way, nsec3 := range map[string]*NSEC3{"nsec": nil, "nsec3": {}} {
		b.Run(way, func(b *testing.B) {
			p := Params{Keys: keysFor(b, dnssec.ECDSAP256, true), NSEC3: nsec3}
			old := whole(b, hosts(b, 50_000, "1"), nil, p, moment())
			fresh := dnsname.MustParse("fresh.example.org.")
			next := hosts(b, 50_000, "2", rdata.Record{Name: fresh, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 300, Data: []byte{192, 0, 2, 1}})
			for b.Loop() {
				change, err := Update(Revision{Old: old, New: next, Touched: []dnsname.Name{fresh}}, p, moment())
				if err != nil || len(change.Added) < 6 {
					b.Fatal(change, err)
				}
			}
		})
	}
}

// BenchmarkDigest is what ZONEMD costs for each version of a signed zone.
func BenchmarkDigest(b *testing.B) {
	z := whole(b, hosts(b, 50_000, "1"), nil, Params{Keys: keysFor(b, dnssec.ECDSAP256, true)}, moment())
	_, count, _ := z.Stats()
	for b.Loop() {
		if _, err := zonemd.Sum(example, z.Records(), zonemd.SHA384); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/float64(count)*1e6, "s/million-records")
}

// BenchmarkVerify is the time to verify a zone, for each signature.
func BenchmarkVerify(b *testing.B) {
	z := whole(b, hosts(b, 2_000, "1"), nil, Params{Keys: keysFor(b, dnssec.ECDSAP256, true)}, moment())
	for b.Loop() {
		if got := Verify(z, moment().Add(time.Second), Limits{}); len(got) > 0 {
			b.Fatal(texts(got))
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/4000*1e6, "us/signature")
}
