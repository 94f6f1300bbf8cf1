package sign

import (
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/dns/zonemd"
)

func texts(problems []zone.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// TestVerifyOwn: what is signed here is good here, in all ways.
func TestVerifyOwn(t *testing.T) {
	z := mustBuild(t, manyThings)
	for _, algorithm := range algorithms {
		for way, nsec3 := range ways {
			signed := whole(t, z, nil, Params{Keys: keysFor(t, algorithm, algorithm%2 == 0), NSEC3: nsec3, ZONEMD: []uint8{zonemd.SHA512}}, moment())
			if got := Verify(signed, moment(), Limits{}); len(got) > 0 {
				t.Errorf("%d %s:\n%s", algorithm, way, texts(got))
			}
		}
	}
}

// TestVerifyFinds: each thing that can be wrong is found, and how bad it is.
func TestVerifyFinds(t *testing.T) {
	now := moment()
	keys := keysFor(t, dnssec.ECDSAP256, false)
	chains := map[string]*zone.Zone{}
	for way, nsec3 := range ways {
		chains[way] = whole(t, mustBuild(t, manyThings), nil, Params{Keys: keys, NSEC3: nsec3, ZONEMD: []uint8{zonemd.SHA384}}, now)
	}
	other, _ := mustGenerate(t, KSK, dnssec.ECDSAP256).DS(example, 2)
	stranger, _ := dnssec.ParseDS(other)
	own, _ := keys[0].DS(example, 2)
	anchor, _ := dnssec.ParseDS(own)
	isType := func(n string, t rdata.Type) func(rdata.Record) bool {
		return func(r rdata.Record) bool { return r.Type == t && (n == "" || r.Name.String() == n) }
	}
	covering := func(n string, t rdata.Type) func(rdata.Record) bool {
		return func(r rdata.Record) bool {
			return r.Type == rdata.TypeRRSIG && r.Name.String() == n && r.Data[1] == byte(t) && r.Data[0] == byte(t>>8)
		}
	}
	drop := func(rdata.Record) []rdata.Record { return nil }
	flip := func(at int) func(r rdata.Record) []rdata.Record {
		return func(r rdata.Record) []rdata.Record {
			r.Data = slices.Clone(r.Data)
			r.Data[(at+len(r.Data))%len(r.Data)] ^= 1
			return []rdata.Record{r}
		}
	}
	for _, test := range []struct {
		name, way string
		which     func(rdata.Record) bool
		change    func(rdata.Record) []rdata.Record
		when      time.Duration
		limits    Limits
		want      string
		fatal     bool
	}{
		{name: "with its anchor", way: "nsec", limits: Limits{Anchors: []dnssec.DS{stranger, anchor}}},
		{name: "with another anchor", way: "nsec", limits: Limits{Anchors: []dnssec.DS{stranger}}, want: "trust anchor", fatal: true},
		{name: "later", way: "nsec", when: 60 * 24 * time.Hour, want: "has expired", fatal: true},
		{name: "earlier", way: "nsec", when: -24 * time.Hour, want: "not valid yet", fatal: true},
		{name: "soon", way: "nsec", limits: Limits{Soon: 20 * 24 * time.Hour}, want: "signatures end within"},
		{"no DNSKEY", "nsec", isType("", rdata.TypeDNSKEY), drop, 0, Limits{}, "not signed", true},
		{"no signature", "nsec", covering("www.example.org.", rdata.TypeA), drop, 0, Limits{}, "no signature", true},
		{"no DNSKEY signature", "nsec", covering("example.org.", rdata.TypeDNSKEY), drop, 0, Limits{}, "DNSKEY RRset", true},
		{"wrong octets", "nsec", covering("www.example.org.", rdata.TypeA), flip(-1), 0, Limits{}, "does not fit", true},
		{"changed record", "nsec3", isType("uri.example.org.", rdata.TypeURI), flip(-1), 0, Limits{}, "does not fit", true},
		{"NSEC gone", "nsec", isType("www.example.org.", rdata.TypeNSEC), drop, 0, Limits{}, "no NSEC record", true},
		{"a name gone", "nsec", func(r rdata.Record) bool { return r.Name.String() == "www.example.org." }, drop, 0, Limits{}, "next name", true},
		{"a type gone", "nsec", isType("www.example.org.", rdata.TypeHTTPS), drop, 0, Limits{}, "lists the types", true},
		{"a type gone", "nsec3", isType("www.example.org.", rdata.TypeHTTPS), drop, 0, Limits{}, "lists the types", true},
		{"a name gone", "nsec3", func(r rdata.Record) bool { return r.Name.String() == "naptr.example.org." }, drop, 0, Limits{}, "does not exist", false},
		{"NSEC3 of the apex gone", "salted", isType("", rdata.TypeNSEC3), nil, 0, Limits{}, "no NSEC3 record", true},
		{"digest", "nsec", isType("example.org.", rdata.TypeZONEMD), flip(-1), 0, Limits{}, "digest of the zone", true},
		{"DS of a delegation gone", "opt-out", isType("secure.example.org.", rdata.TypeDS), drop, 0, Limits{}, "lists the types", true},
		{"a new insecure delegation", "opt-out", isType("deep.insecure.below.example.org.", rdata.TypeNS), func(r rdata.Record) []rdata.Record {
			more := r
			more.Name = dnsname.MustParse("fresh.example.org.")
			return []rdata.Record{r, more}
		}, 0, Limits{}, "digest", true},
		{"a new insecure delegation", "nsec3", isType("deep.insecure.below.example.org.", rdata.TypeNS), func(r rdata.Record) []rdata.Record {
			more := r
			more.Name = dnsname.MustParse("fresh.example.org.")
			return []rdata.Record{r, more}
		}, 0, Limits{}, "fresh.example.org. NSEC3: no NSEC3 record", true},
		{"glue that is signed", "nsec", covering("www.example.org.", rdata.TypeA), func(r rdata.Record) []rdata.Record {
			more := r
			more.Name = dnsname.MustParse("ns.secure.example.org.")
			return []rdata.Record{r, more}
		}, 0, Limits{}, "not the zone's own", false},
	} {
		z := chains[test.way]
		if test.which != nil {
			z = changed(t, z, test.which, test.change)
		}
		got := Verify(z, now.Add(test.when), test.limits)
		fatal := slices.ContainsFunc(got, func(p zone.Problem) bool {
			return p.Severity == zone.Fatal && !strings.Contains(p.Text, "digest") || test.fatal && p.Severity == zone.Fatal
		})
		if fatal != test.fatal || !strings.Contains(texts(got), test.want) || test.want == "" && len(got) > 0 {
			t.Errorf("%s, %s: want %q, fatal %v; got\n%s", test.name, test.way, test.want, test.fatal, texts(got))
		}
	}
}

// changed returns z with some records changed; without a change, without the NSEC3 record
// of the apex.
func changed(t *testing.T, z *zone.Zone, which func(rdata.Record) bool, change func(rdata.Record) []rdata.Record) *zone.Zone {
	t.Helper()
	var records []rdata.Record
	for r := range z.Records() {
		switch {
		case !which(r):
			records = append(records, r)
		case change == nil:
			if label(hashIn(z)) != r.Name.Label() {
				records = append(records, r)
			}
		default:
			records = append(records, change(r)...)
		}
	}
	out, problems := zone.Build(z.Origin(), slices.Values(records))
	if out == nil {
		t.Fatal(problems)
	}
	return out
}

func hashIn(z *zone.Zone) [hashLen]byte {
	set, _ := z.RRset(z.Apex(), rdata.TypeNSEC3PARAM)
	s := signing{p: &Params{NSEC3: chainOf(dataOf(&set))}}
	return s.hash(z.Origin())
}

// TestVerifyRandom: one octet of one record changed is always found: the NSEC and NSEC3 chains
// and the signatures cover everything but glue and delegations' NS.
func TestVerifyRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	for way, nsec3 := range ways {
		z := whole(t, mustBuild(t, manyThings), nil, Params{Keys: keysFor(t, dnssec.Ed25519, false), NSEC3: nsec3}, moment())
		all := slices.Collect(z.Records())
		for range 150 {
			i := rnd.IntN(len(all))
			if found := z.Lookup(all[i].Name); found.Cut != 0 && (found.Cut != found.Exact || all[i].Type == rdata.TypeNS) || all[i].Type == rdata.TypeSOA {
				continue
			}
			records := slices.Clone(all)
			records[i].Data = slices.Clone(records[i].Data)
			at := rnd.IntN(len(records[i].Data))
			records[i].Data[at] ^= 1 << rnd.IntN(8)
			if records[i].Type == rdata.TypeRRSIG && at < 18 || strings.EqualFold(string(records[i].Data), string(all[i].Data)) {
				continue
			}
			b, _ := zone.Build(z.Origin(), slices.Values(records))
			if b == nil {
				continue // found already
			}
			if got := Verify(b, moment(), Limits{}); len(got) == 0 {
				t.Errorf("%s: octet %d of %s is not missed", way, at, all[i])
			}
		}
	}
}

// TestVerifyRoot: the signed root zone of 2020-10-19 was good the day after, and is not now.
func TestVerifyRoot(t *testing.T) {
	z := rootZone(t)
	check := NewCheck(z, time.Date(2020, 10, 20, 0, 0, 0, 0, time.UTC), Limits{})
	var group sync.WaitGroup
	for range 2 {
		group.Go(check.Work)
	}
	group.Wait()
	if got := check.Problems(); len(got) > 0 {
		t.Errorf("in 2020:\n%s", texts(got))
	}
	if done, all := check.Progress(); done != all || all < 10 {
		t.Errorf("%d of %d jobs", done, all)
	}
	got := Verify(z, time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC), Limits{Problems: 5})
	if len(got) != 6 || got[0].Severity != zone.Fatal || !strings.Contains(texts(got), "further problems") {
		t.Errorf("in 2026:\n%s", texts(got))
	}
}

// rootZone reads the shared signed root zone.
func rootZone(t testing.TB) *zone.Zone {
	t.Helper()
	dir := os.Getenv("PHAROS_SHARED")
	for up := ".."; dir == "" && len(up) < 40; up += "/.." {
		if _, err := os.Stat(filepath.Join(up, "shared", "data")); err == nil {
			dir = filepath.Join(up, "shared")
		}
	}
	f, err := os.Open(filepath.Join(dir, "data", "root-2020-10-19-signed.zone.gz"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no shared data: ", err)
	}
	defer f.Close()
	text, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b := zone.NewBuilder(dnsname.Root)
	for r, err := range zonefile.Read(text, zonefile.Options{Origin: dnsname.Root}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// BenchmarkSign signs a zone of 2,000 names: the time of one signature.
func BenchmarkSign(b *testing.B) {
	var text strings.Builder
	text.WriteString("@ 300 IN SOA ns h 1 2 3 4 5\n@ 300 IN NS ns\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "host%d 300 IN A 192.0.2.1\n", i)
	}
	z := mustBuild(b, text.String())
	for _, algorithm := range []uint8{dnssec.ECDSAP256, dnssec.Ed25519, dnssec.RSASHA256} {
		b.Run(AlgorithmName(algorithm), func(b *testing.B) {
			keys := keysFor(b, algorithm, true)
			signatures := 0
			for b.Loop() {
				plan, err := NewPlan(z, nil, Params{Keys: keys}, moment())
				if err != nil {
					b.Fatal(err)
				}
				plan.Work()
				made, _ := plan.Signatures()
				signatures += made
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(signatures), "us/signature")
		})
	}
}
