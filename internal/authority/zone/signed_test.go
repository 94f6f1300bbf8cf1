package zone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// signature returns RDATA of RRSIG that covers t, of the right form and no value.
func signature(t rdata.Type, origin dnsname.Name) []byte {
	data := append([]byte{byte(t >> 8), byte(t), 13, 1}, make([]byte, 14)...)
	return append(append(data, origin.Wire()...), make([]byte, 64)...)
}

// record returns a record with RDATA in presentation form.
func record(t testing.TB, owner string, rrtype rdata.Type, text string) rdata.Record {
	t.Helper()
	data, err := rdata.ParseText(rrtype, dnsname.MustParse("example."), text)
	if err != nil {
		t.Fatal(err)
	}
	return rdata.Record{Name: dnsname.MustParse(owner), Type: rrtype, Class: rdata.ClassIN, TTL: 60, Data: data}
}

// signedApex returns the records of an apex with a signed SOA.
func signedApex(t testing.TB, more ...rdata.Record) []rdata.Record {
	origin := dnsname.MustParse("example.")
	return append([]rdata.Record{
		record(t, "example.", rdata.TypeSOA, "ns.other. h.other. 1 2 3 4 30"),
		record(t, "example.", rdata.TypeNS, "ns.other."),
		{Name: origin, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: 60, Data: signature(rdata.TypeSOA, origin)},
	}, more...)
}

func mustBuild(t testing.TB, records []rdata.Record) (*Zone, string) {
	t.Helper()
	z, problems := Build(dnsname.MustParse("example."), slices.Values(records))
	if z == nil {
		t.Fatal(problems)
	}
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.String())
	}
	return z, strings.Join(texts, "\n")
}

// TestSignaturesBeside: signatures are found beside what they cover, and the records of
// the zone are in the order of types all the same.
func TestSignaturesBeside(t *testing.T) {
	origin := dnsname.MustParse("example.")
	records := signedApex(t, record(t, "example.", rdata.TypeTXT, "x"), record(t, "example.", rdata.TypeCAA, `0 issue "x"`))
	for _, covered := range []rdata.Type{rdata.TypeCAA, rdata.TypeTXT, rdata.TypeA, rdata.TypeNSEC} {
		records = append(records, rdata.Record{Name: origin, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: 60, Data: signature(covered, origin)})
	}
	records = append(records, record(t, "example.", rdata.TypeNSEC, "example. SOA"))
	z, _ := mustBuild(t, records)
	for rrtype, want := range map[rdata.Type]bool{
		rdata.TypeSOA: true, rdata.TypeNS: false, rdata.TypeTXT: true, rdata.TypeCAA: true, rdata.TypeNSEC: true,
	} {
		set, ok := z.RRset(z.Apex(), rrtype)
		signatures, got := set.Signatures()
		if !ok || got != want || got && (signatures.Covers() != rrtype || signatures.Count != 1) {
			t.Errorf("%s: found %v, signatures %v %v, want %v", rrtype, ok, got, signatures, want)
		}
	}
	if set, ok := z.RRset(z.Apex(), rdata.TypeRRSIG); !ok || set.Covers() != rdata.TypeA {
		t.Errorf("first RRSIG: %v %v", set, ok)
	}
	if _, ok := z.RRset(z.Apex(), rdata.TypeMX); ok {
		t.Error("a type between others was found")
	}
	last := rdata.Type(0)
	count := 0
	for r := range z.Records() {
		if r.Type < last {
			t.Errorf("%s after %s", r.Type, last)
		}
		last = r.Type
		count++
	}
	if count != len(records) {
		t.Errorf("%d records, want %d", count, len(records))
	}
	if set := z.DenialSignatures(); !z.IsSigned() || set.TTL != 30 || set.Covers() != rdata.TypeSOA {
		t.Errorf("signatures of a denial: %v", set)
	}
}

// TestDenying: RFC 4035 §3.1.3.2: the NSEC record before a name in canonical order,
// compared with a search through all of them.
func TestDenying(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	origin := dnsname.MustParse("example.")
	for range 300 {
		records := signedApex(t, record(t, "example.", rdata.TypeNSEC, "example. SOA"))
		owners := []dnsname.Name{origin}
		for range rnd.IntN(40) {
			n := randomName(rnd, origin)
			if n.IsSubdomainOf(origin) && !slices.Contains(owners, n) {
				owners = append(owners, n)
				records = append(records, record(t, n.String(), rdata.TypeNSEC, "example. A"))
			}
		}
		z, _ := mustBuild(t, records)
		slices.SortFunc(owners, dnsname.Name.Compare)
		for range 50 {
			n := randomName(rnd, origin)
			if !n.IsSubdomainOf(origin) {
				continue
			}
			want := origin
			for _, o := range owners {
				if o.Compare(n) <= 0 {
					want = o
				}
			}
			if got := z.Name(z.Denying(n)); got != want {
				t.Fatalf("%s is denied by %s, want %s", n, got, want)
			}
		}
	}
}

// nsec3Zone returns a zone with a chain of NSEC3 records for names, and the hashes
// in order.
func nsec3Zone(t testing.TB, names []string, iterations int, salt string) (*Zone, []string, string) {
	t.Helper()
	parameters := fmt.Sprintf("1 0 %d %s", iterations, salt)
	if salt == "" {
		parameters += "-"
	}
	records := signedApex(t, record(t, "example.", rdata.TypeNSEC3PARAM, parameters))
	var hashes []string
	for _, n := range append(names, "example.") {
		hash := strings.ToLower(dns.HashName(n, dns.SHA1, uint16(iterations), salt))
		hashes = append(hashes, hash)
		records = append(records, record(t, hash+".example.", rdata.TypeNSEC3, parameters+" "+hash+" A"))
	}
	slices.Sort(hashes)
	z, problems := mustBuild(t, records)
	return z, hashes, problems
}

// TestHashes: RFC 5155 §5: the hash is that of another library, and RFC 5155 §3.1.7:
// the record that matches or covers it is that of a search through all.
func TestHashes(t *testing.T) {
	for _, tt := range []struct {
		iterations int
		salt       string
		names      int
	}{{0, "", 0}, {0, "", 1}, {0, "", 1000}, {1, "", 30}, {0, "aabbccdd", 30}, {12, "aabbccdd", 100}} {
		var names []string
		for i := range tt.names {
			names = append(names, fmt.Sprintf("n%d.example.", i))
		}
		z, hashes, problems := nsec3Zone(t, names, tt.iterations, tt.salt)
		if z.DenialType() != rdata.TypeNSEC3 || problems != "" {
			t.Fatalf("%+v: denial by %s, %s", tt, z.DenialType(), problems)
		}
		for i := range 1500 {
			n := dnsname.MustParse(fmt.Sprintf("n%d.example.", i))
			hash := strings.ToLower(dns.HashName(n.String(), dns.SHA1, uint16(tt.iterations), tt.salt))
			h := z.Hash(n)
			if string(h[:]) != hash {
				t.Fatalf("hash of %s: %s, want %s", n, h, hash)
			}
			at, exact := slices.BinarySearch(hashes, hash)
			if got := z.Matching(h); exact != (got != 0) || exact && z.Name(got).Label() != hash {
				t.Fatalf("%s matches node %d, want %v", hash, got, exact)
			}
			if !exact {
				if got, want := z.Name(z.Covering(h)).Label(), hashes[(at+len(hashes)-1)%len(hashes)]; got != want {
					t.Fatalf("%s is covered by %s, want %s", hash, got, want)
				}
			}
		}
	}
}

// TestHashOwners: RFC 5155 §7.2.8: an owner of nothing but NSEC3 does not exist to a
// question, unless something is below it.
func TestHashOwners(t *testing.T) {
	z, hashes, _ := nsec3Zone(t, []string{"a.example.", "b.example."}, 0, "")
	for _, hash := range hashes {
		if f := z.Lookup(dnsname.MustParse(hash + ".example.")); f.Exact != 0 || f.Encloser != z.Apex() {
			t.Errorf("%s: %+v", hash, f)
		}
	}
	records := slices.Collect(z.Records())
	if len(records) != 4+3 {
		t.Errorf("%d records, want all", len(records))
	}
	below := hashes[0] + ".example."
	z, _ = mustBuild(t, append(records, record(t, "x."+below, rdata.TypeA, "192.0.2.1")))
	if f := z.Lookup(dnsname.MustParse(below)); f.Exact == 0 {
		t.Error("the ancestor of an existing name does not exist")
	}
	if z.DenialType() != rdata.TypeNSEC3 || z.Matching(z.Hash(dnsname.MustParse("example."))) == 0 {
		t.Error("the chain is lost")
	}
}

// TestChainProblems: what cannot be proved, or only at a high price, is said.
func TestChainProblems(t *testing.T) {
	apexHash := strings.ToLower(dns.HashName("example.", dns.SHA1, 0, ""))
	for _, tt := range []struct {
		what    string
		records []rdata.Record
		denial  rdata.Type
		want    string
	}{
		{"no chain", signedApex(t), 0, "no complete chain"},
		{"NSEC", signedApex(t, record(t, "example.", rdata.TypeNSEC, "example. SOA")), rdata.TypeNSEC, ""},
		{"NSEC3 without the apex", signedApex(t, record(t, "example.", rdata.TypeNSEC3PARAM, "1 0 0 -"),
			record(t, "00000000000000000000000000000000.example.", rdata.TypeNSEC3, "1 0 0 - 00000000000000000000000000000000 A")), 0, "no complete chain"},
		{"NSEC3PARAM with flags, RFC 5155 §4.1.2", signedApex(t, record(t, "example.", rdata.TypeNSEC3PARAM, "1 1 0 -"),
			record(t, apexHash+".example.", rdata.TypeNSEC3, "1 0 0 - "+apexHash+" A")), 0, "no complete chain"},
		{"NSEC3 of other parameters", signedApex(t, record(t, "example.", rdata.TypeNSEC3PARAM, "1 0 0 -"),
			record(t, apexHash+".example.", rdata.TypeNSEC3, "1 0 0 aa "+apexHash+" A")), 0, "no complete chain"},
		{"owners that are no hashes", signedApex(t, record(t, "example.", rdata.TypeNSEC, "example. SOA"), record(t, "example.", rdata.TypeNSEC3PARAM, "1 0 0 -"),
			record(t, "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww.example.", rdata.TypeNSEC3, "1 0 0 - "+apexHash+" A")), rdata.TypeNSEC, ""},
	} {
		z, problems := mustBuild(t, tt.records)
		if z.DenialType() != tt.denial || !strings.Contains(problems, tt.want) || tt.want == "" && problems != "" {
			t.Errorf("%s: denial by %v, problems %q, want %v and %q", tt.what, z.DenialType(), problems, tt.denial, tt.want)
		}
	}
	if z, _, problems := nsec3Zone(t, nil, 151, ""); z.DenialType() != rdata.TypeNSEC3 || !strings.Contains(problems, "151 additional iterations") {
		t.Errorf("151 iterations: denial by %v, problems %q", z.DenialType(), problems)
	}
	if z, _, problems := nsec3Zone(t, nil, 2501, ""); z.DenialType() != 0 || !strings.Contains(problems, "without proof") {
		t.Errorf("2501 iterations: denial by %v, problems %q", z.DenialType(), problems)
	}
	b := NewBuilder(dnsname.MustParse("example."))
	b.Steer(dnsname.MustParse("www.example."), SteersAddresses)
	for _, r := range signedApex(t, record(t, "example.", rdata.TypeNSEC, "example. SOA")) {
		b.Add(r)
	}
	if _, problems := b.Finish(); len(problems) != 1 || !strings.Contains(problems[0].Text, "no signature") {
		t.Errorf("steered name in a signed zone: %v", problems)
	}
}

// TestHashNoAllocs: hashing and searching allocate nothing.
func TestHashNoAllocs(t *testing.T) {
	for _, salt := range []string{"", "aabb"} {
		z, _, _ := nsec3Zone(t, []string{"a.example.", "b.example."}, len(salt), salt)
		n := dnsname.MustParse("x.y.example.")
		if got := testing.AllocsPerRun(100, func() {
			h := z.Hash(n)
			z.Matching(h)
			z.Covering(h)
		}); got != 0 {
			t.Errorf("%v allocations", got)
		}
	}
}

// TestDenyingWildcard: RFC 4035 §3.1.3.2: the NSEC record that covers the wildcard below a
// name is the one that a search finds, in chains that are whole.
func TestDenyingWildcard(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	origin := dnsname.MustParse("example.")
	direct := 0
	for range 300 {
		owners := []dnsname.Name{origin}
		for range rnd.IntN(40) {
			n := randomName(rnd, origin)
			if rnd.IntN(3) == 0 {
				n, _ = n.Child([]string{"!", "*a", ")z", "+"}[rnd.IntN(4)])
			}
			if n.IsSubdomainOf(origin) && !slices.Contains(owners, n) {
				owners = append(owners, n)
			}
		}
		slices.SortFunc(owners, dnsname.Name.Compare)
		records := signedApex(t)
		for i, n := range owners {
			next := owners[(i+1)%len(owners)].String()
			if rnd.IntN(2) == 0 {
				next = strings.ToUpper(next)
			}
			records = append(records, record(t, n.String(), rdata.TypeNSEC, next+" A"))
		}
		z, _ := mustBuild(t, records)
		for n := range z.Nodes() {
			star, _ := z.Name(n).Child("*")
			if z.Lookup(star).Exact != 0 {
				continue
			}
			got, want := z.DenyingWildcard(n), z.Denying(star)
			if got != want {
				t.Fatalf("%s is denied by %s, want %s, of %v", star, z.Name(got), z.Name(want), owners)
			}
			if got == n {
				direct++
			}
		}
	}
	if direct < 1000 {
		t.Errorf("only %d times it was the record of the name above", direct)
	}
}

// TestDenyingAlike: names that begin alike for longer than a key, over several chunks.
func TestDenyingAlike(t *testing.T) {
	records := signedApex(t, record(t, "example.", rdata.TypeNSEC, "example. SOA"))
	name := func(i int) string { return fmt.Sprintf("names-that-begin-alike-%05d.example.", i) }
	const count = 5 * nsecChunkLen
	for i := range count {
		records = append(records, record(t, name(2*i), rdata.TypeNSEC, "example. A"))
	}
	z, _ := mustBuild(t, records)
	for i := range 2 * count {
		want := dnsname.MustParse(name(i &^ 1))
		if got := z.Name(z.Denying(dnsname.MustParse(name(i)))); got != want {
			t.Fatalf("%s is denied by %s, want %s", name(i), got, want)
		}
	}
	if got := z.Name(z.Denying(dnsname.MustParse("a.example."))); got.String() != "example." {
		t.Errorf("the first name is denied by %s", got)
	}
}
