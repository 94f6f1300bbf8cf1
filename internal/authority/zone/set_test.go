package zone

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// empty returns a zone with nothing but what makes it one.
func empty(t testing.TB, origin dnsname.Name) *Zone {
	t.Helper()
	z, problems := Build(origin, each([]rdata.Record{
		{Name: origin, Type: rdata.TypeSOA, Class: rdata.ClassIN, Data: rdataFor(rdata.TypeSOA, dnsname.MustParse("ns.other."))},
		{Name: origin, Type: rdata.TypeNS, Class: rdata.ClassIN, Data: rdataFor(rdata.TypeNS, dnsname.MustParse("ns.other."))},
	}))
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// TestSet: the longest origin counts; DS belongs to the parent.
func TestSet(t *testing.T) {
	var zones []*Zone
	for _, origin := range []string{"example.", "child.example.", "deep.below.child.example.", "2.0.192.in-addr.arpa."} {
		zones = append(zones, empty(t, dnsname.MustParse(origin)))
	}
	s := NewSet(zones...)
	withRoot := NewSet(append(zones, empty(t, dnsname.Root))...)
	for _, tt := range []struct {
		name           string
		qtype          rdata.Type
		want, withRoot string
	}{
		{"www.example.", rdata.TypeA, "example.", "example."},
		{"example.", rdata.TypeA, "example.", "example."},
		{"child.example.", rdata.TypeA, "child.example.", "child.example."},
		{"below.child.example.", rdata.TypeA, "child.example.", "child.example."},
		{"x.deep.below.child.example.", rdata.TypeA, "deep.below.child.example.", "deep.below.child.example."},
		{"child.example.", rdata.TypeDS, "example.", "example."}, // RFC 4035 §3.1.4.1
		{"deep.below.child.example.", rdata.TypeDS, "child.example.", "child.example."},
		{"x.child.example.", rdata.TypeDS, "child.example.", "child.example."},
		{"example.", rdata.TypeDS, "example.", "."}, // without the parent, the child says NODATA
		{"1.2.0.192.in-addr.arpa.", rdata.TypePTR, "2.0.192.in-addr.arpa.", "2.0.192.in-addr.arpa."},
		{"other.", rdata.TypeA, "", "."},
		{"ample.", rdata.TypeA, "", "."},
		{"xchild.example.", rdata.TypeA, "example.", "example."},
		{".", rdata.TypeNS, "", "."},
		{".", rdata.TypeDS, "", "."},
	} {
		for _, c := range []struct {
			set  *Set
			want string
		}{{s, tt.want}, {withRoot, tt.withRoot}} {
			got := ""
			if z := c.set.Find(dnsname.MustParse(tt.name), tt.qtype); z != nil {
				got = z.Origin().String()
			}
			if got != c.want {
				t.Errorf("%s %s: zone %q, want %q", tt.name, tt.qtype, got, c.want)
			}
		}
	}
	if z := NewSet().Find(dnsname.Root, rdata.TypeA); z != nil {
		t.Error("the empty set found a zone")
	}
	if z := withRoot.Find(dnsname.Name{}, rdata.TypeA); z != nil {
		t.Error("found a zone for the zero name")
	}
}

// TestSetReplaces: of two versions of a zone the later counts.
func TestSetReplaces(t *testing.T) {
	first, second := empty(t, dnsname.MustParse("example.")), empty(t, dnsname.MustParse("example."))
	s := NewSet(first, second)
	if got := s.Find(dnsname.MustParse("www.example."), rdata.TypeA); got != second || s.Len() != 1 {
		t.Errorf("found %p of %v, want %p", got, slices.Collect(s.All()), second)
	}
}

// TestSetOracle compares Find with a scan over all zones.
func TestSetOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		byOrigin := map[dnsname.Name]*Zone{}
		var zones []*Zone
		for range rnd.IntN(12) {
			if n := randomName(rnd, dnsname.Root); byOrigin[n] == nil {
				byOrigin[n] = empty(t, n)
				zones = append(zones, byOrigin[n])
			}
		}
		s := NewSet(zones...)
		for range 50 {
			n, qtype := randomName(rnd, dnsname.Root), []rdata.Type{rdata.TypeA, rdata.TypeDS}[rnd.IntN(2)]
			var found []*Zone // longest origin first
			for a := n; !a.IsZero(); a = a.Parent() {
				if z := byOrigin[a]; z != nil {
					found = append(found, z)
				}
			}
			var want *Zone
			if len(found) > 0 {
				want = found[0]
				if qtype == rdata.TypeDS && want.Origin() == n && len(found) > 1 {
					want = found[1]
				}
			}
			if got := s.Find(n, qtype); got != want {
				t.Fatalf("Find(%s, %s) = %v, want %v", n, qtype, got, want)
			}
		}
	}
}

// TestSetChanges: a set made by changes finds what a set made at once finds, and the sets before do not change.
func TestSetChanges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	now := map[dnsname.Name]*Zone{}
	s := NewSet()
	check := func(s *Set, want map[dnsname.Name]*Zone) {
		t.Helper()
		fresh := NewSet(slices.Collect(maps.Values(want))...)
		if s.Len() != len(want) || fresh.lowest != s.lowest || fresh.depths != s.depths {
			t.Fatalf("%d zones down to %d, want %d down to %d", s.Len(), s.lowest, len(want), fresh.lowest)
		}
		seen := 0
		for z := range s.All() {
			if seen++; want[z.Origin()] != z || s.Get(z.Origin()) != z {
				t.Fatalf("zone %s is not the one expected", z.Origin())
			}
		}
		if seen != len(want) {
			t.Fatalf("%d zones, want %d", seen, len(want))
		}
	}
	top := dnsname.MustParse("example.")
	for i := range 3000 {
		before, beforeMap := s, maps.Clone(now)
		origin, _ := top.Child(fmt.Sprint(rnd.IntN(1500)))
		if rnd.IntN(3) == 0 {
			origin, _ = origin.Child("deep")
		}
		if rnd.IntN(3) == 0 {
			s = s.Without(origin)
			delete(now, origin)
		} else {
			z := &Zone{origin: origin}
			s = s.With(z)
			now[origin] = z
		}
		if i%100 == 0 {
			check(s, now)
			check(before, beforeMap)
		}
	}
	check(s, now)
}

// BenchmarkSetWith replaces one of 1,000,000 zones.
func BenchmarkSetWith(b *testing.B) {
	top := dnsname.MustParse("example.")
	s := newSet(1_000_000)
	for i := range 1_000_000 {
		origin, _ := top.Child(fmt.Sprint(i))
		s.put(&Zone{origin: origin}, hashName(origin.Wire()))
	}
	z := &Zone{origin: dnsname.MustParse("7.example.")}
	b.ReportAllocs()
	for b.Loop() {
		s = s.With(z)
	}
}

// BenchmarkSetFind finds one of 10,000 zones.
func BenchmarkSetFind(b *testing.B) {
	var zones []*Zone
	var names []dnsname.Name
	for i := range 10_000 {
		origin := dnsname.MustParse(fmt.Sprintf("zone%d.example.", i))
		zones = append(zones, empty(b, origin))
		www, _ := origin.Child("www")
		names = append(names, www)
	}
	s := NewSet(zones...)
	for i := 0; b.Loop(); i++ {
		s.Find(names[i*7919%len(names)], rdata.TypeA)
	}
}
