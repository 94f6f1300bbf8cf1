package zone

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// naive is a second implementation of the lookup, straight from the definitions,
// to hold Zone.Lookup against: a map of all owners, and walks along names.
type naive struct {
	origin dnsname.Name
	types  map[dnsname.Name]map[rdata.Type]bool // of every existing name; empty for an empty non-terminal
}

func newNaive(origin dnsname.Name, records []rdata.Record) naive {
	o := naive{origin, map[dnsname.Name]map[rdata.Type]bool{}}
	for _, r := range records {
		if !r.Name.IsSubdomainOf(origin) {
			continue
		}
		for n := r.Name; ; n = n.Parent() {
			if o.types[n] == nil {
				o.types[n] = map[rdata.Type]bool{}
			}
			if n == origin {
				break
			}
		}
		o.types[r.Name][r.Type] = true
	}
	return o
}

// lookup returns what Lookup should find, as names.
func (o naive) lookup(n dnsname.Name) (exact, encloser, cut, dname, wildcard dnsname.Name) {
	if !n.IsSubdomainOf(o.origin) {
		return
	}
	if o.types[n] != nil {
		exact = n
	}
	for encloser = n; o.types[encloser] == nil; {
		encloser = encloser.Parent()
	}
	// From the apex down: the first thing that hides the name is the one.
	for labels := o.origin.Labels(); labels <= n.Labels() && cut.IsZero() && dname.IsZero(); labels++ {
		a := n.Ancestor(labels)
		switch {
		case a != o.origin && o.types[a][rdata.TypeNS]:
			cut = a
		case a != n && o.types[a][rdata.TypeDNAME]:
			dname = a
		}
	}
	isCut := encloser != o.origin && o.types[encloser][rdata.TypeNS]
	if star, err := encloser.Child("*"); exact.IsZero() && !isCut && err == nil && o.types[star] != nil {
		wildcard = star
	}
	return
}

// check compares Lookup of n with the oracle.
func (o naive) check(t *testing.T, z *Zone, n dnsname.Name) {
	t.Helper()
	f := z.Lookup(n)
	name := func(node Node) dnsname.Name {
		if node == 0 {
			return dnsname.Name{}
		}
		return z.Name(node)
	}
	got := fmt.Sprintf("exact %q encloser %q cut %q dname %q wildcard %q",
		name(f.Exact), name(f.Encloser), name(f.Cut), name(f.DNAME), name(f.Wildcard))
	exact, encloser, cut, dname, wildcard := o.lookup(n)
	want := fmt.Sprintf("exact %q encloser %q cut %q dname %q wildcard %q", exact, encloser, cut, dname, wildcard)
	if got != want {
		t.Fatalf("Lookup(%s)\n got %s\nwant %s\nin %v", n, got, want, slices.Collect(z.Records()))
	}
}

// randomName returns a name of few different labels at or below origin, or, now
// and then, beside it.
func randomName(rnd *rand.Rand, origin dnsname.Name) dnsname.Name {
	n := origin
	if rnd.IntN(20) == 0 {
		n = dnsname.Root
	}
	for range rnd.IntN(6) {
		labels := []string{"*", "a", "b", "bb", "\x00", "\x01", "a\x00", "*", "averylonglabel", "exactly8", "zz.z"}
		if child, err := n.Child(labels[rnd.IntN(len(labels))]); err == nil {
			n = child
		}
	}
	return n
}

// rdataFor returns well-formed RDATA.
func rdataFor(t rdata.Type, target dnsname.Name) []byte {
	switch t {
	case rdata.TypeA:
		return []byte{192, 0, 2, byte(target.Len())}
	case rdata.TypeSOA:
		return append([]byte(target.Wire()+target.Wire()), make([]byte, soaNumbers)...)
	case rdata.TypeMX:
		return append([]byte{0, 10}, target.Wire()...)
	case rdata.TypeTXT:
		return []byte("\x04text")
	}
	return []byte(target.Wire())
}

// randomZone returns the records of a zone that Build accepts.
func randomZone(rnd *rand.Rand, origin dnsname.Name) []rdata.Record {
	record := func(n dnsname.Name, t rdata.Type) rdata.Record {
		return rdata.Record{Name: n, Type: t, Class: rdata.ClassIN, TTL: 60, Data: rdataFor(t, randomName(rnd, origin))}
	}
	list := []rdata.Record{record(origin, rdata.TypeSOA), record(origin, rdata.TypeNS)}
	types := []rdata.Type{rdata.TypeA, rdata.TypeA, rdata.TypeMX, rdata.TypeTXT, rdata.TypeNS, rdata.TypeCNAME, rdata.TypeDNAME}
	taken := map[dnsname.Name]rdata.Type{}
	for range rnd.IntN(25) {
		n, t := randomName(rnd, origin), types[rnd.IntN(len(types))]
		if other, ok := taken[n]; ok && (t == rdata.TypeCNAME || other == rdata.TypeCNAME || t == rdata.TypeDNAME) {
			continue
		}
		if n == origin && t == rdata.TypeCNAME {
			continue
		}
		taken[n] = t
		list = append(list, record(n, t))
	}
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// TestLookupOracle compares Lookup with the naive implementation on random zones
// and names.
func TestLookupOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, origin := range []dnsname.Name{dnsname.Root, dnsname.MustParse("test."), dnsname.MustParse("a.long.er.Example.")} {
		for range 1500 {
			list := randomZone(rnd, origin)
			z, problems := Build(origin, each(list))
			if z == nil {
				t.Fatalf("%v from %v", problems, list)
			}
			oracle := newNaive(origin, list)
			for n := range oracle.types {
				oracle.check(t, z, n)
			}
			for range 40 {
				oracle.check(t, z, randomName(rnd, origin))
			}
			checkOrder(t, z, list)
			checkLinks(t, z)
		}
	}
}

// checkOrder checks that the zone has exactly the records that it was built of,
// in canonical order.
func checkOrder(t *testing.T, z *Zone, list []rdata.Record) {
	t.Helper()
	type key struct {
		name dnsname.Name
		t    rdata.Type
		data string
	}
	want := map[key]bool{}
	for _, r := range list {
		if r.Name.IsSubdomainOf(z.Origin()) {
			want[key{r.Name, r.Type, string(r.Data)}] = true
		}
	}
	var previous rdata.Record
	count := 0
	for r := range z.Records() {
		if c := previous.Name.Compare(r.Name); c > 0 || c == 0 && previous.Type > r.Type {
			t.Fatalf("%v comes before %v", previous, r)
		}
		if !want[key{r.Name, r.Type, string(r.Data)}] {
			t.Fatalf("%v is not a record of the zone", r)
		}
		previous, count = r, count+1
	}
	if _, records, _ := z.Stats(); count != len(want) || records != len(want) {
		t.Fatalf("Records gives %d, Stats says %d, want %d", count, records, len(want))
	}
}

// checkLinks checks that each target's node is one that Lookup leads to, and has
// addresses.
func checkLinks(t *testing.T, z *Zone) {
	t.Helper()
	for r := range z.Records() {
		set, _ := z.RRset(z.Lookup(r.Name).Exact, r.Type)
		if set.link() == 0 {
			continue
		}
		at := 0
		for range set.Count {
			data, node, next := set.Record(at)
			f := z.Lookup(set.TargetName(data))
			want := f.Exact
			if set.Type != rdata.TypeCNAME {
				if want == 0 && f.Cut == 0 && f.DNAME == 0 {
					want = f.Wildcard
				}
				if _, ok := z.RRset(want, rdata.TypeA); want == 0 || !ok {
					want = 0
				}
			}
			if node != want {
				t.Fatalf("%v: target node %d, want %d", r, node, want)
			}
			at = next
		}
	}
}

// FuzzLookup looks any name up in zones made from a seed.
func FuzzLookup(f *testing.F) {
	f.Add(uint64(1), []byte("\x01a\x04test\x00"))
	f.Add(uint64(2), []byte("\x01*\x01a\x04test\x00"))
	f.Add(uint64(3), []byte("\x01\x00\x02bb\x01a\x04test\x00"))
	f.Add(uint64(4), []byte("\x05other\x00"))
	f.Add(uint64(5), []byte("\x00"))
	f.Add(uint64(6), append(slices.Repeat([]byte("\x01a"), 124), "\x04test\x00"...))
	origin := dnsname.MustParse("test.")
	f.Fuzz(func(t *testing.T, seed uint64, wire []byte) {
		n, _, err := dnsname.FromWire(wire)
		if err != nil {
			return
		}
		list := randomZone(rand.New(rand.NewPCG(seed, 0)), origin)
		z, _ := Build(origin, each(list))
		newNaive(origin, list).check(t, z, n)
	})
}

// FuzzBuild builds zones of records with any RDATA: whatever is accepted comes
// out again and can be looked up.
func FuzzBuild(f *testing.F) {
	f.Add(uint16(2), []byte("\x01a\x00"), uint16(15), []byte("\x00\x0a\x01b\x00"))
	f.Add(uint16(6), []byte("\x00\x00"), uint16(46), []byte("\x00\x01"))
	f.Add(uint16(35), []byte{1}, uint16(64), []byte{0, 1, 0})
	f.Add(uint16(5), []byte{}, uint16(39), []byte{0xC0, 12})
	origin := dnsname.MustParse("test.")
	f.Fuzz(func(t *testing.T, t1 uint16, d1 []byte, t2 uint16, d2 []byte) {
		child, _ := origin.Child("x")
		list := []rdata.Record{
			{Name: origin, Type: rdata.TypeSOA, Class: rdata.ClassIN, Data: rdataFor(rdata.TypeSOA, origin)},
			{Name: origin, Type: rdata.TypeNS, Class: rdata.ClassIN, Data: rdataFor(rdata.TypeNS, child)},
			{Name: child, Type: rdata.Type(t1), Class: rdata.ClassIN, Data: d1},
			{Name: child, Type: rdata.Type(t2), Class: rdata.ClassIN, Data: d2},
		}
		z, problems := Build(origin, each(list))
		if z == nil {
			if len(problems) == 0 {
				t.Fatal("no zone and no problem")
			}
			return
		}
		if got := count(z.Records()); got != 4 && got != 3 {
			t.Fatalf("%d records", got)
		}
		z.Lookup(child)
	})
}

func count(seq iter.Seq[rdata.Record]) (n int) {
	for range seq {
		n++
	}
	return n
}
