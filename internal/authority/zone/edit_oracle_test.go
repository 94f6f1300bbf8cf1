package zone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// editRecord returns a record that may stand in a zone at origin, more or less.
func editRecord(rnd *rand.Rand, origin dnsname.Name) rdata.Record {
	types := []rdata.Type{
		rdata.TypeA, rdata.TypeA, rdata.TypeA, rdata.TypeAAAA, rdata.TypeMX, rdata.TypeTXT, rdata.TypeNS, rdata.TypeNS, rdata.TypeCNAME,
		rdata.TypeDNAME, rdata.TypeNSEC, rdata.TypeNSEC, rdata.TypeRRSIG, rdata.TypeHTTPS, rdata.TypeNSEC3, rdata.TypeNSEC3, rdata.TypeNSEC3,
	}
	n, t := randomName(rnd, origin), types[rnd.IntN(len(types))]
	target := randomName(rnd, origin)
	data := rdataFor(t, target)
	switch t {
	case rdata.TypeAAAA:
		data = make([]byte, 16)
	case rdata.TypeNSEC:
		data = append([]byte(target.Wire()), 0, 1, 0x40)
	case rdata.TypeRRSIG:
		data = signature([]rdata.Type{rdata.TypeA, rdata.TypeNSEC, rdata.TypeNSEC3, rdata.TypeSOA, rdata.TypeNSEC3PARAM}[rnd.IntN(5)], origin)
	case rdata.TypeHTTPS:
		if rnd.IntN(2) == 0 {
			target = dnsname.Root
		}
		data = append([]byte{0, 1}, target.Wire()...)
	case rdata.TypeNSEC3:
		var digest [20]byte
		digest[0], digest[19] = byte(rnd.IntN(8)*37), byte(rnd.IntN(3))
		h := encodeHash(digest)
		if rnd.IntN(10) > 0 {
			n, _ = origin.Child(string(h[:]))
		}
		data = append([]byte{nsec3SHA1, 0, 0, byte(rnd.IntN(12) / 11), 0, 20}, append(digest[:], 0, 1, 0x40)...)
	}
	return rdata.Record{Name: n, Type: t, Class: rdata.ClassIN, TTL: rdata.TTL(60 + 60*(rnd.IntN(20)/19)), Data: data}
}

// editBase returns the records of a zone of one of three kinds: not signed, with NSEC, with NSEC3.
func editBase(rnd *rand.Rand, origin dnsname.Name) []rdata.Record {
	list := randomZone(rnd, origin)
	add := func(t rdata.Type, data []byte) {
		list = append(list, rdata.Record{Name: origin, Type: t, Class: rdata.ClassIN, TTL: 60, Data: data})
	}
	kind := rnd.IntN(3)
	if kind > 0 {
		add(rdata.TypeRRSIG, signature(rdata.TypeSOA, origin))
	}
	switch kind {
	case 1:
		add(rdata.TypeNSEC, append([]byte(origin.Wire()), 0, 1, 0x40))
	case 2:
		add(rdata.TypeNSEC3PARAM, []byte{nsec3SHA1, 0, 0, 0, 0})
		z := Zone{origin: origin, special: &ordinary}
		h := z.Hash(origin)
		n, _ := origin.Child(string(h[:]))
		list = append(list, rdata.Record{Name: n, Type: rdata.TypeNSEC3, Class: rdata.ClassIN, TTL: 60, Data: append([]byte{nsec3SHA1, 0, 0, 0, 0, 20}, append(make([]byte, 20), 0, 1, 0x40)...)})
	}
	for range rnd.IntN(15) {
		if r := editRecord(rnd, origin); r.Type != rdata.TypeCNAME && r.Type != rdata.TypeDNAME {
			list = append(list, r)
		}
	}
	return list
}

// describe writes down all that can be seen of a zone.
func describe(z *Zone, asked []dnsname.Name) string {
	var b strings.Builder
	name := func(n Node) string {
		if n == 0 {
			return "-"
		}
		return z.Name(n).String()
	}
	names, records, _ := z.Stats()
	fmt.Fprintf(&b, "%s serial %d negative %d names %d records %d denial %v type %v signed %v %v\n", z.Origin(), z.Serial(), z.NegativeTTL(),
		names, records, z.AppendDenial(nil, 12), z.DenialType(), z.IsSigned(), z.DenialSignatures().Count)
	for r := range z.Records() {
		if fmt.Fprintln(&b, r); !z.MayHave(r.Type) {
			fmt.Fprintln(&b, "which it says it has not")
		}
	}
	for n := range z.Nodes() {
		fmt.Fprintf(&b, "node %s cut %v cname %v dname %v steered %v occluded %v data %v hash %v\n", name(n), z.IsCut(n), z.HasCNAME(n), z.HasDNAME(n),
			z.IsSteered(n), z.IsOccluded(n), z.HasData(n), z.flags(n)&flagHash != 0)
		sets := z.RRsets(n)
		for set, ok := sets.Next(); ok; set, ok = sets.Next() {
			signatures, signed := set.Signatures()
			fmt.Fprintf(&b, "  %s %d, signatures %v %d:", set.Type, set.TTL, signed, signatures.Count)
			at := 0
			for range set.Count {
				var target Node
				_, target, at = set.Record(at)
				fmt.Fprintf(&b, " %s", name(target))
			}
			fmt.Fprintln(&b)
		}
		var below []string
		for n := range z.Below(n) {
			below = append(below, name(n))
		}
		fmt.Fprintln(&b, "  below", below)
	}
	for _, n := range asked {
		f := z.Lookup(n)
		fmt.Fprintf(&b, "lookup %s: %s %s %s %s %s", n, name(f.Exact), name(f.Encloser), name(f.Cut), name(f.DNAME), name(f.Wildcard))
		if n.IsSubdomainOf(z.origin) {
			fmt.Fprintf(&b, "; denying %s %s", name(z.Denying(n)), name(z.Preceding(n)))
			if z.DenialType() == rdata.TypeNSEC3 {
				h := z.Hash(n)
				fmt.Fprintf(&b, "; %s %s", name(z.Matching(h)), name(z.Covering(h)))
				h = encodeHash([20]byte{byte(n.Len() * 37), 19: byte(n.Labels() % 3)})
				fmt.Fprintf(&b, " %s %s", name(z.Matching(h)), name(z.Covering(h)))
			}
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

func describeProblems(list []Problem) string {
	var lines []string
	for _, p := range list {
		lines = append(lines, p.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// editAtRandom makes some versions of a zone, each by an edit of the one before, and
// compares each with one that is built anew. Versions before must not change.
func editAtRandom(t *testing.T, rnd *rand.Rand, origin dnsname.Name) (patched int) {
	z, _ := Build(origin, each(editBase(rnd, origin)))
	if z == nil {
		return 0
	}
	asked := []dnsname.Name{origin}
	for range 30 {
		asked = append(asked, randomName(rnd, origin))
	}
	for range 1 + rnd.IntN(6) {
		before := describe(z, asked)
		present := slices.Collect(z.Records())
		e, twin := z.Edit(), z.Edit()
		e.always = true
		var log []string
		for range 1 + rnd.IntN(6) {
			r := editRecord(rnd, origin)
			switch k := rnd.IntN(12); {
			case k < 6:
				if rnd.IntN(6) > 0 {
					r = present[rnd.IntN(len(present))]
				}
				if r.Type == rdata.TypeSOA && rnd.IntN(4) > 0 {
					continue
				}
				if got, want := e.Delete(r), twin.Delete(r); got != want {
					t.Fatalf("deleted %v, want %v", got, want)
				}
				log = append(log, "delete "+r.String())
			case k == 6 && r.Name.IsSubdomainOf(origin):
				e.Steer(r.Name, SteersAddresses)
				twin.Steer(r.Name, SteersAddresses)
				log = append(log, "steer "+r.Name.String())
			default:
				e.Add(r)
				twin.Add(r)
				log = append(log, "add "+r.String())
			}
		}
		got, gotProblems := e.Finish()
		want, wantProblems := twin.rebuild()
		story := func() string { return fmt.Sprintf("%s\nedited:\n%s", before, strings.Join(log, "\n")) }
		if (got == nil) != (want == nil) {
			t.Fatalf("zone %v, want %v\n%v\n%v\n%s", got, want, gotProblems, wantProblems, story())
		}
		if describe(z, asked) != before {
			t.Fatalf("the zone before has changed:\n%s\n%s", describe(z, asked), story())
		}
		if got == nil {
			continue
		}
		if g, w := describe(got, asked), describe(want, asked); g != w {
			t.Fatalf("%s\n%s", difference(g, w), story())
		}
		if g, w := describeProblems(gotProblems), describeProblems(wantProblems); g != w {
			t.Fatalf("problems\n%s\nwant\n%s\n%s", g, w, story())
		}
		if got.over != nil {
			patched++
		}
		if rnd.IntN(4) > 0 { // else edit the version before once more
			z = got
		}
	}
	return patched
}

// difference returns the first lines that differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf(" got %s\nwant %s", g[i], w[i])
		}
	}
	return got
}

// TestEditOracle: an edited zone cannot be told from one that is built of its records.
func TestEditOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	rounds, patched := 500, 0
	if testing.Short() {
		rounds = 300
	}
	for i := range rounds {
		origin := []dnsname.Name{dnsname.Root, dnsname.MustParse("test."), dnsname.MustParse("a.long.er.Example.")}[i%3]
		patched += editAtRandom(t, rnd, origin)
	}
	if patched < rounds {
		t.Errorf("of %d rounds only %d versions were patched", rounds, patched)
	}
}

// FuzzEdit is TestEditOracle with any seed.
func FuzzEdit(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		editAtRandom(t, rand.New(rand.NewPCG(seed, 1)), dnsname.MustParse("test."))
	})
}
