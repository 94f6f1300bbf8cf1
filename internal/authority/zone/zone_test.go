package zone

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

const exampleText = `
@           3600 IN SOA   ns1 hostmaster 7 3600 900 604800 300
@           3600 IN NS    ns1
@           3600 IN NS    ns.child
@           3600 IN MX    10 Mail
ns1         60   IN A     192.0.2.1
mail        60   IN AAAA  2001:db8::1
www         60   IN CNAME mail
child       60   IN NS    ns.child
ns.child    60   IN A     192.0.2.2
*.wild      60   IN TXT   "any"
a.b.c       60   IN A     192.0.2.3
old         60   IN DNAME new.example.net.
`

// parse reads master-file text.
func parse(t testing.TB, origin, text string) []rdata.Record {
	t.Helper()
	var list []rdata.Record
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: dnsname.MustParse(origin)}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

// build makes a zone that must not have any problem.
func build(t testing.TB, origin, text string) *Zone {
	t.Helper()
	z, problems := Build(dnsname.MustParse(origin), each(parse(t, origin, text)))
	if z == nil || len(problems) > 0 {
		t.Fatalf("problems %v", problems)
	}
	return z
}

// TestLookup shows each thing that Lookup finds, on the zone above.
func TestLookup(t *testing.T) {
	z := build(t, "example.", exampleText)
	for _, tt := range []struct{ name, exact, encloser, cut, dname, wildcard string }{
		{"example.", "example.", "example.", "", "", ""},
		{"ns1.example.", "ns1.example.", "ns1.example.", "", "", ""},
		{"nope.example.", "", "example.", "", "", ""},
		{"x.y.nope.example.", "", "example.", "", "", ""},
		{"b.c.example.", "b.c.example.", "b.c.example.", "", "", ""}, // an empty non-terminal
		{"x.b.c.example.", "", "b.c.example.", "", "", ""},
		{"child.example.", "child.example.", "child.example.", "child.example.", "", ""},
		{"ns.child.example.", "ns.child.example.", "ns.child.example.", "child.example.", "", ""},
		{"x.y.child.example.", "", "child.example.", "child.example.", "", ""},
		{"old.example.", "old.example.", "old.example.", "", "", ""},
		{"x.old.example.", "", "old.example.", "", "old.example.", ""},
		{"wild.example.", "wild.example.", "wild.example.", "", "", ""},
		{"x.y.wild.example.", "", "wild.example.", "", "", "*.wild.example."},
		{"*.wild.example.", "*.wild.example.", "*.wild.example.", "", "", ""},
		{"x.*.wild.example.", "", "*.wild.example.", "", "", ""},
		{"example.net.", "", "", "", "", ""},
		{"ample.", "", "", "", "", ""},
		{"xexample.", "", "", "", "", ""},
		{`x\007example.`, "", "", "", "", ""}, // ends in the octets of the origin, but not at a label
		{strings.Repeat("a.", 123) + "example.", "", "example.", "", "", ""},
		{".", "", "", "", "", ""},
	} {
		f := z.Lookup(dnsname.MustParse(tt.name))
		for _, c := range []struct {
			what string
			node Node
			want string
		}{{"exact", f.Exact, tt.exact}, {"encloser", f.Encloser, tt.encloser}, {"cut", f.Cut, tt.cut}, {"dname", f.DNAME, tt.dname}, {"wildcard", f.Wildcard, tt.wildcard}} {
			got := ""
			if c.node != 0 {
				got = z.Name(c.node).String()
			}
			if got != c.want {
				t.Errorf("%s: %s %q, want %q", tt.name, c.what, got, c.want)
			}
		}
	}
	if got := z.Lookup(dnsname.Name{}); got != (Found{}) {
		t.Errorf("the zero name: %+v", got)
	}
}

// TestZone: what a Zone says about itself and its nodes.
func TestZone(t *testing.T) {
	z := build(t, "example.", exampleText)
	names, records, _ := z.Stats()
	// Names: 9 owners, and wild, c, b.c.
	if z.Origin().String() != "example." || z.Serial() != 7 || z.NegativeTTL() != 300 || names != 12 || records != 12 {
		t.Errorf("origin %s serial %d negative TTL %d names %d records %d", z.Origin(), z.Serial(), z.NegativeTTL(), names, records)
	}
	node := func(name string) Node { return z.Lookup(dnsname.MustParse(name)).Exact }
	if z.Apex() != node("example.") || z.IsCut(z.Apex()) || !z.IsCut(node("child.example.")) {
		t.Error("the apex is no cut, child.example. is one")
	}
	if !z.HasCNAME(node("www.example.")) || !z.HasDNAME(node("old.example.")) || z.HasData(node("b.c.example.")) {
		t.Error("CNAME, DNAME or empty non-terminal not recognised")
	}
	if z.IsOccluded(node("child.example.")) || !z.IsOccluded(node("ns.child.example.")) {
		t.Error("glue is occluded, the zone cut itself is not")
	}
	mx, _ := z.RRset(z.Apex(), rdata.TypeMX)
	data, target, _ := mx.Record(0)
	if target != node("mail.example.") || mx.TargetName(data) != dnsname.View([]byte("\x04Mail\x07example\x00")) {
		t.Errorf("MX target %s, node %d", mx.TargetName(data), target)
	}
	if _, ok := z.RRset(z.Apex(), rdata.TypeTXT); ok {
		t.Error("found a TXT RRset that is not there")
	}
}

// TestRotation: every rotation gives all records, each begins one further.
func TestRotation(t *testing.T) {
	z := build(t, "example.", exampleText+"\nmany 60 A 192.0.2.1\nmany 60 A 192.0.2.2\nmany 60 A 192.0.2.3\n")
	set, _ := z.RRset(z.Lookup(dnsname.MustParse("many.example.")).Exact, rdata.TypeA)
	for rotation := range uint32(7) {
		var got []byte
		at := set.Start(rotation)
		for range set.Count {
			data, _, next := set.Record(at)
			got, at = append(got, data[3]), next
		}
		want := []byte{1, 2, 3, 1, 2, 3}[rotation%3:][:3]
		if !slices.Equal(got, want) {
			t.Errorf("rotation %d: %v, want %v", rotation, got, want)
		}
	}
}

// TestProblems: each kind of problem is reported with its owner and severity.
func TestProblems(t *testing.T) {
	const soa, ns = "@ 60 IN SOA ns.other. h.other. 1 2 3 4 5\n", "@ 60 IN NS ns.other.\n"
	for _, tt := range []struct {
		text string
		want string // severity, owner, type and the beginning of the text
	}{
		{ns, "fatal: example. SOA: the zone has no SOA record"},
		{soa, "fatal: example. NS: the zone has no NS record"},
		{soa + ns + "@ 60 IN SOA ns.other. h.other. 2 2 3 4 5", "fatal: example. SOA: 2 records where only one"},
		{soa + ns + "x 60 IN SOA ns.other. h.other. 2 2 3 4 5", "fatal: x.example. SOA: an SOA record below the apex"},
		{soa + ns + "x.test. 60 IN A 192.0.2.1", "warning: x.test. A: left out, for it is outside the zone example."},
		{soa + ns + "x 60 IN CNAME a\nx 60 IN A 192.0.2.1", "fatal: x.example. CNAME: CNAME and other data"},
		{soa + ns + "x 60 IN CNAME a\nx 60 IN CNAME b", "fatal: x.example. CNAME: 2 records where only one"},
		{soa + ns + "x 60 IN DNAME a\nx 60 IN DNAME b", "fatal: x.example. DNAME: 2 records where only one"},
		{soa + ns + "x 60 IN DNAME a\nx 60 IN NS ns.other.", "warning: x.example. DNAME: DNAME beside NS"},
		{soa + ns + "x 60 IN A 192.0.2.1\nx 30 IN A 192.0.2.2", "warning: x.example. A: records of one RRset differ in TTL; all are served with the lowest, 30"},
		{soa + ns + "x 60 IN NS a.X\nx 60 IN NS A.x\na.x 60 IN A 192.0.2.1", "warning: x.example.: 1 duplicate records left out"},
		{soa + ns + "x 60 IN NS ns.x", "warning: x.example. NS: name server ns.x.example. has no address in the zone"},
		{soa + ns + "@ 60 IN NS ns", "warning: example. NS: name server ns.example. has no address in the zone"},
	} {
		z, problems := Build(dnsname.MustParse("example."), each(parse(t, "example.", tt.text)))
		if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), tt.want) {
			t.Errorf("%s:\n got %v\nwant %s", tt.text, problems, tt.want)
		}
		if fatal := strings.HasPrefix(tt.want, "fatal"); fatal != (z == nil) {
			t.Errorf("%s: zone %v", tt.text, z)
		}
	}
}

// TestBadRecords: records that no master file could have are refused.
func TestBadRecords(t *testing.T) {
	good := parse(t, "example.", exampleText)
	name := dnsname.MustParse("bad.example.")
	for _, tt := range []struct {
		record rdata.Record
		want   string
	}{
		{rdata.Record{Name: name, Type: rdata.TypeA, Class: rdata.ClassCH, Data: []byte{1, 2, 3, 4}}, "class CH"},
		{rdata.Record{Name: name, Type: rdata.TypeAXFR, Class: rdata.ClassIN}, "no zone can hold"},
		{rdata.Record{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN, Data: []byte{1, 2, 3}}, "does not have the form"},
		{rdata.Record{Name: name, Type: rdata.TypeNS, Class: rdata.ClassIN, Data: []byte{3, 'a'}}, "does not have the form"},
		{rdata.Record{Name: name, Type: rdata.TypeMX, Class: rdata.ClassIN, Data: []byte{0}}, "does not have the form"},
		{rdata.Record{Name: name, Type: rdata.TypeMX, Class: rdata.ClassIN, Data: []byte{0, 1, 0, 9}}, "does not have the form"},
		{rdata.Record{Name: name, Type: rdata.TypeSOA, Class: rdata.ClassIN, Data: make([]byte, 21)}, "does not have the form"},
		{rdata.Record{Name: name, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, Data: make([]byte, 18)}, "does not have the form"},
		{rdata.Record{Name: name, Type: rdata.TypeTXT, Class: rdata.ClassIN, Data: make([]byte, 65536)}, "does not have the form"},
		{rdata.Record{Name: name, Type: rdata.TypeCNAME, Class: rdata.ClassIN, Data: []byte(strings.Repeat("\x01a", 128) + "\x00")}, "does not have the form"},
	} {
		z, problems := Build(dnsname.MustParse("example."), each(append(slices.Clone(good), tt.record)))
		if z != nil || len(problems) != 1 || problems[0].Severity != Fatal || !strings.Contains(problems[0].Text, tt.want) {
			t.Errorf("%s with %x: zone %v, problems %v", tt.record.Type, tt.record.Data[:min(20, len(tt.record.Data))], z, problems)
		}
	}
}

// TestManyProblems: a flood of problems stays readable, and hides no worse ones.
func TestManyProblems(t *testing.T) {
	text := exampleText
	for i := range 3 * maxProblems {
		text += "host" + string(rune('a'+i%26)) + strings.Repeat("x", i/26) + ".elsewhere. 60 A 192.0.2.1\n"
	}
	text += "www 60 A 192.0.2.1\n"
	z, problems := Build(dnsname.MustParse("example."), each(parse(t, "example.", text)))
	if z != nil || len(problems) != maxProblems+1 || problems[maxProblems].Severity != Fatal {
		t.Fatalf("zone %v, %d problems, the last %v", z, len(problems), problems[len(problems)-1])
	}
	if last := problems[maxProblems-1].Text; !strings.HasSuffix(last, "not shown") {
		t.Errorf("the last warning does not say that there are more: %s", last)
	}
}

// TestLargestRRset: an RRset has as many records as its count can say, and no more.
func TestLargestRRset(t *testing.T) {
	name := dnsname.MustParse("many.example.")
	for count, want := range map[int]bool{maxRRset: true, maxRRset + 1: false} {
		b := NewBuilder(dnsname.MustParse("example."))
		for _, r := range parse(t, "example.", exampleText) {
			b.Add(r)
		}
		for i := range count {
			b.Add(rdata.Record{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Data: []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}})
		}
		z, problems := b.Finish()
		if (z != nil) != want || !want && !strings.Contains(fmt.Sprint(problems), "65536 records in one RRset; no more than 65535") {
			t.Errorf("%d records: a zone: %v, want %v: %v", count, z != nil, want, problems)
		}
	}
}

// TestSignatures: RFC 4034 §3: RRSIG records have the TTL of what they cover, so
// those of one name may differ in it.
func TestSignatures(t *testing.T) {
	z := build(t, "example.", exampleText+`
mail 60  RRSIG AAAA 13 2 60 20300101000000 20200101000000 1 example. AAAA
mail 300 RRSIG NSEC 13 2 300 20300101000000 20200101000000 1 example. AAAA
mail 300 NSEC  ns1 AAAA RRSIG NSEC
`)
	sets := z.RRsets(z.Lookup(dnsname.MustParse("mail.example.")).Exact)
	var got []rdata.TTL
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		if set.Type == rdata.TypeRRSIG {
			got = append(got, set.TTL)
		}
	}
	if !slices.Equal(got, []rdata.TTL{60, 300}) {
		t.Errorf("TTLs of RRSIG %v", got)
	}
}

// TestReverse: the zones of addresses, whose names have many labels.
func TestReverse(t *testing.T) {
	const apex = "@ 60 IN SOA ns.other. h.other. 1 2 3 4 5\n@ 60 IN NS ns.other.\n"
	v4 := build(t, "2.0.192.in-addr.arpa.", apex+"1 60 PTR www.example.\n0/25 60 NS ns.other.\n")
	if f := v4.Lookup(dnsname.MustParse("1.2.0.192.in-addr.arpa.")); f.Exact == 0 {
		t.Errorf("PTR owner: %+v", f)
	}
	if f := v4.Lookup(dnsname.MustParse("7.0/25.2.0.192.in-addr.arpa.")); f.Cut == 0 { // RFC 2317
		t.Errorf("classless delegation: %+v", f)
	}
	const nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
	v6 := build(t, "8.b.d.0.1.0.0.2.ip6.arpa.", apex+nibbles+" 60 PTR www.example.\n")
	if names, _, _ := v6.Stats(); names != 25 {
		t.Errorf("%d names, want 25: each nibble is an empty non-terminal", names)
	}
	f := v6.Lookup(dnsname.MustParse("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."))
	if f.Exact != 0 || v6.Name(f.Encloser).Labels() != 33 {
		t.Errorf("a neighbour's encloser is %s", v6.Name(f.Encloser))
	}
}

// TestRootZone loads the real root zone.
func TestRootZone(t *testing.T) {
	for _, tt := range []struct {
		file string
		tlds int
	}{{"root-2026-08-22-unsigned.zone.gz", 1438}, {"root-2020-10-19-signed.zone.gz", 0}} {
		var list []rdata.Record
		for r, err := range zonefile.Read(openShared(t, "data/"+tt.file), zonefile.Options{Origin: dnsname.Root}) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, r)
		}
		z, problems := Build(dnsname.Root, each(list))
		if z == nil {
			t.Fatal(problems)
		}
		for _, p := range problems {
			t.Errorf("%s: %v", tt.file, p)
		}
		checkOrder(t, z, list)
		com := z.Lookup(dnsname.MustParse("www.example.com."))
		if com.Cut == 0 || z.Name(com.Cut).String() != "com." {
			t.Errorf("%s: %+v", tt.file, com)
		}
		cuts := map[dnsname.Name]bool{}
		for r := range z.Records() {
			if r.Type == rdata.TypeNS && !r.Name.IsRoot() {
				cuts[r.Name] = true
			}
		}
		if tt.tlds != 0 && len(cuts) != tt.tlds {
			t.Errorf("%s: %d delegations, want %d", tt.file, len(cuts), tt.tlds)
		}
	}
}

// openShared opens a compressed file of the shared test material, which lies
// beside the repository or where PHAROS_SHARED says. Without it the test is
// skipped, except in CI.
func openShared(t testing.TB, name string) *gzip.Reader {
	t.Helper()
	shared := os.Getenv("PHAROS_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "..", "shared")
	}
	f, err := os.Open(filepath.Join(shared, name))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the shared test material is required in CI: %v", err)
		}
		t.Skipf("the shared test material is absent (set PHAROS_SHARED to its folder): %v", err)
	}
	t.Cleanup(func() { f.Close() })
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return zr
}

// TestNoAllocs: nothing on the way of a query allocates.
func TestNoAllocs(t *testing.T) {
	z := build(t, "example.", exampleText)
	s := NewSet(z, build(t, "child.example.", "@ 60 IN SOA ns.other. h.other. 1 2 3 4 5\n@ 60 IN NS ns.other.\n"))
	e := z.Edit()
	e.always = true
	e.Add(record(t, "mail.example.", rdata.TypeTXT, "edited"))
	e.Delete(record(t, "mail.example.", rdata.TypeAAAA, "2001:db8::1")) // so that links are looked up
	edited, _ := e.Finish()
	for _, s := range []*Set{s, s.With(edited)} {
		checkNoAllocs(t, s)
	}
}

func checkNoAllocs(t *testing.T, s *Set) {
	t.Helper()
	for _, text := range []string{"www.example.", "x.y.wild.example.", "a.b.c.d.e.f.example.", "x.child.example.", "other.", strings.Repeat("a.", 123) + "example."} {
		n := dnsname.MustParse(text)
		if got := testing.AllocsPerRun(100, func() {
			if z := s.Find(n, rdata.TypeA); z != nil {
				f := z.Lookup(n)
				set, ok := z.RRset(f.Encloser, rdata.TypeMX)
				if ok {
					set.Record(set.Start(3))
				}
			}
		}); got != 0 {
			t.Errorf("%.20s: %v allocations", text, got)
		}
	}
}

// BenchmarkLookup looks up names that exist and names that do not, among 125,000
// records, and the longest names there are.
func BenchmarkLookup(b *testing.B) {
	list := collect(mixed("example.", 125_000))
	z, _ := Build(dnsname.MustParse("example."), each(list))
	var hits, misses [1024]dnsname.Name
	for i := range hits {
		hits[i] = list[3+i*97%len(list[3:])].Name
		misses[i], _ = hits[i].Child("not-there")
	}
	long := dnsname.MustParse(strings.Repeat("a.", 123) + "example.")
	b.Run("hit", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			z.Lookup(hits[i%len(hits)])
		}
	})
	b.Run("miss", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			z.Lookup(misses[i%len(misses)])
		}
	})
	b.Run("124 labels", func(b *testing.B) {
		for b.Loop() {
			z.Lookup(long)
		}
	})
}
