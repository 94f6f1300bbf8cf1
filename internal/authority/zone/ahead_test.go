package zone

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// manyZones returns a set with enough zones for Prefetch, at several depths.
func manyZones(t testing.TB) (*Set, []dnsname.Name) {
	t.Helper()
	var zones []*Zone
	var origins []dnsname.Name
	for i := range 2 * prefetchZones {
		origin := dnsname.MustParse([]string{"zone%d.example.", "a.zone%d.example.", "zone%d."}[i%3])
		origin = dnsname.MustParse(fmt.Sprintf(origin.String(), i/2))
		zones = append(zones, empty(t, origin))
		origins = append(origins, origin)
	}
	return NewSet(zones...), origins
}

// TestPrefetchFindsWhatFindFinds: what is fetched ahead is what the answers look at,
// in whatever case a name is asked for.
func TestPrefetchFindsWhatFindFinds(t *testing.T) {
	s, origins := manyZones(t)
	for i, origin := range origins {
		name, _ := origin.Child("www")
		var a ahead
		a.add(s, append(bytes.ToUpper([]byte(name.Wire())), 0, 1, 0, 1))
		a.slots(s)
		var found []*Zone
		for _, w := range a.at[:a.count] {
			if z := w.shard.withHash(w.apex, w.slot); z != nil {
				found = append(found, z)
			}
		}
		want := s.Find(name, rdata.TypeA)
		if len(found) == 0 || found[len(found)-1] != want {
			t.Fatalf("%d: %s: found %d zones, of which %s is not the last", i, name, len(found), want.Origin())
		}
		if got := a.at[a.count-1].name; got != hashName(name.Wire()) {
			t.Fatalf("%s: hash %x, want %x", name, got, hashName(name.Wire()))
		}
		a.fetch()
	}
}

// TestPrefetchFindsNodes: of a large zone, the node of the name asked for, or of the name
// above it, is fetched.
func TestPrefetchFindsNodes(t *testing.T) {
	origin := dnsname.MustParse("large.example.")
	b := NewBuilder(origin)
	for _, r := range slices.Collect(empty(t, origin).Records()) {
		b.Add(r)
	}
	const names = 20_000
	for i := range names {
		b.Add(record(t, fmt.Sprintf("host%d.large.example.", i), rdata.TypeTXT, "some octets that make the zone large"))
	}
	z, _ := b.Finish()
	s := NewSet(z)
	if !s.large {
		t.Fatalf("an arena of %d octets is not large", len(z.arena))
	}
	missed := 0
	for i := range names {
		name := dnsname.MustParse(fmt.Sprintf("host%d.large.example.", i))
		below, _ := name.Child("www")
		for _, asked := range []dnsname.Name{name, below} {
			var a ahead
			a.add(s, append(bytes.ToUpper([]byte(asked.Wire())), 0, 1, 0, 1))
			a.slots(s)
			a.fetch()
			if got, want := a.at[0].node, z.Lookup(name).Exact; got == 0 || got == apex {
				missed++
			} else if got != want {
				t.Fatalf("%s: node %d, want %d", asked, got, want)
			}
		}
	}
	if missed > 2*names/40 {
		t.Errorf("%d of %d nodes were not found", missed, 2*names)
	}
}

// TestPrefetchTakesAnything: questions come from anybody.
func TestPrefetchTakesAnything(t *testing.T) {
	s, origins := manyZones(t)
	long := bytes.Repeat([]byte{1, 'a'}, 127)
	questions := [][]byte{
		nil, {}, {0}, {63}, {3, 'w', 'w'}, {0xC0, 12}, {64, 'a'}, long, append(bytes.Clone(long), 0), append(bytes.Clone(long), long...),
		bytes.Repeat([]byte{0xFF}, 600), append(bytes.Repeat([]byte{63}, 256), 0),
	}
	for len(questions) < 3*maxAhead { // more than there is room for
		questions = append(questions, []byte(origins[len(questions)].Wire()))
	}
	s.Prefetch(questions)
	NewSet().Prefetch(questions)
}

func FuzzPrefetch(f *testing.F) {
	s, origins := manyZones(f)
	f.Add([]byte(origins[0].Wire()))
	f.Add([]byte{3, 'w', 'W', 0x80, 0})
	f.Fuzz(func(t *testing.T, question []byte) {
		s.Prefetch([][]byte{question, question})
	})
}

func TestPrefetchNoAllocs(t *testing.T) {
	s, origins := manyZones(t)
	var questions [][]byte
	for _, origin := range origins[:64] {
		questions = append(questions, []byte(origin.Wire()))
	}
	if got := testing.AllocsPerRun(10, func() { s.Prefetch(questions) }); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

// TestLowerEight: against one octet after the other.
func TestLowerEight(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			x := uint64(c)<<(8*at) | ^(uint64(0xFF) << (8 * at))
			want := uint64(lower(byte(c)))<<(8*at) | ^(uint64(0xFF) << (8 * at))
			if got := lowerEight(x); got != want {
				t.Errorf("lowerEight(%x) = %x, want %x", x, got, want)
			}
		}
	}
}

// TestPrefetchTouchesToTheEnd: of a node that lies at the end of the arena, as the last
// one of a small zone does, what there is is fetched.
func TestPrefetchTouchesToTheEnd(t *testing.T) {
	z := build(t, "example.", exampleText)
	last := false
	for n := range z.Nodes() {
		at, got, want := int(n)*nodeUnit, uint64(0), uint64(0)
		for line := at; line < min(at+aheadNode, len(z.arena)); line += 64 {
			want += uint64(z.arena[line])
		}
		if z.touch(n, &got); got != want {
			t.Errorf("node at %d of %d: %d was read, want %d", at, len(z.arena), got, want)
		}
		last = last || at+aheadNode > len(z.arena)
	}
	if !last {
		t.Error("no node is at the end")
	}
	var none uint64
	if z.touch(0, &none); none != 0 {
		t.Error("no node was read")
	}
}
