package compact

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// hosts is a zone of so many hosts.
func hosts(t *testing.T, count int) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(dnsname.MustParse("example."))
	b.Add(record("example.", rdata.TypeSOA, "ns.example. admin.example. 1 7200 3600 86400 300"))
	b.Add(record("example.", rdata.TypeNS, "ns.example."))
	b.Add(record("ns.example.", rdata.TypeA, "192.0.2.1"))
	for i := range count {
		b.Add(record(fmt.Sprintf("host%d.example.", i), rdata.TypeA, fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)))
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

func record(name string, t rdata.Type, text string) rdata.Record {
	data, err := rdata.ParseText(t, dnsname.Root, text)
	if err != nil {
		panic(err)
	}
	return rdata.Record{Name: dnsname.MustParse(name), Type: t, Class: rdata.ClassIN, TTL: 300, Data: data}
}

// changed makes the i-th edit of z.
func changed(t *testing.T, z *zone.Zone, i int) (*zone.Zone, *journal.Difference) {
	t.Helper()
	set, _ := z.RRset(z.Apex(), rdata.TypeSOA)
	data, _, _ := set.Record(0)
	edit := z.Edit()
	edit.Delete(rdata.Record{Name: z.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: 300, Data: data})
	edit.Add(record("example.", rdata.TypeSOA, fmt.Sprintf("ns.example. admin.example. %d 7200 3600 86400 300", z.Serial()+1)))
	owner := fmt.Sprintf("new%d.example.", i%700)
	edit.Add(record(owner, rdata.TypeTXT, fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", 100))))
	next, problems := edit.Finish()
	if next == nil {
		t.Fatal(problems)
	}
	return next, journal.BetweenAt(z, next, []dnsname.Name{dnsname.MustParse(owner)})
}

// TestFollow: edits go on while the twin is built, however long that takes; none of them
// waits for it, and the twin that takes the zone's place has all of them.
func TestFollow(t *testing.T) {
	for _, meanwhile := range []int{0, 1, catchUp, 5 * catchUp} {
		var twin Twin
		z := hosts(t, 3000)
		var job func()
		jobs, places, after := 0, 0, 0
		for i := 0; places < 2; i++ {
			if i > 20_000 {
				t.Fatalf("%d edits meanwhile: the twin never takes its place", meanwhile)
			}
			next, d := changed(t, z, i)
			if next.Edits() == 0 {
				t.Fatalf("edit %d built the zone anew while somebody waited for it", i)
			}
			followed, begun := twin.Follow(z, next, []*journal.Difference{d})
			if begun != nil {
				if job != nil {
					t.Fatal("two jobs at a time")
				}
				job, after = begun, 0
				jobs++
			} else if job != nil {
				after++
			}
			if job != nil && after == meanwhile {
				job()
				job = nil
			}
			if followed != next {
				places++
				if !journal.Same(followed, next) || followed.Serial() != next.Serial() {
					t.Fatalf("%d edits meanwhile: the twin is not what the zone is", meanwhile)
				}
				if followed.Edits() >= next.Edits() {
					t.Errorf("the twin has %d octets of edits, the zone %d", followed.Edits(), next.Edits())
				}
			}
			z = followed
		}
		if jobs != 2 {
			t.Errorf("%d edits meanwhile: %d jobs for %d places", meanwhile, jobs, places)
		}
	}
}

// TestFollowElsewhere: a version that does not follow from the one before, or of which
// nobody knows how, ends the twin.
func TestFollowElsewhere(t *testing.T) {
	for _, how := range []string{"another version", "no difference", "a difference that does not fit"} {
		var twin Twin
		z := hosts(t, 3000)
		var job func()
		for i := 0; job == nil; i++ {
			next, d := changed(t, z, i)
			z, job = twin.Follow(z, next, []*journal.Difference{d})
		}
		other := hosts(t, 3000)
		next, d := changed(t, other, 1)
		switch how {
		case "another version":
			if got, _ := twin.Follow(other, next, []*journal.Difference{d}); got != next {
				t.Errorf("%s: got a twin", how)
			}
			job()
		case "no difference":
			job()
			if got, _ := twin.Follow(z, next, nil); got != next {
				t.Errorf("%s: got a twin", how)
			}
		default:
			job()
			if got, _ := twin.Follow(z, next, []*journal.Difference{d}); got != next {
				t.Errorf("%s: got a twin", how)
			}
		}
		last := next
		next, d = changed(t, next, 2)
		if got, _ := twin.Follow(last, next, []*journal.Difference{d}); got != next {
			t.Errorf("%s: got a twin of what was before", how)
		}
	}
}

// TestEditStaysSmall: one edit of a large zone does not take memory by the size of the
// zone, however many were made before it.
func TestEditStaysSmall(t *testing.T) {
	z := hosts(t, 30_000)
	_, _, size := z.Stats()
	var twin Twin
	for i := range 3000 {
		next, d := changed(t, z, i)
		var job func()
		if z, job = twin.Follow(z, next, []*journal.Difference{d}); job != nil {
			job()
		}
	}
	i := 10_000
	if got := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			changed(t, z, i)
		}
	}); got.AllocedBytesPerOp() > int64(size/10) {
		t.Errorf("an edit takes %d octets of memory, of a zone with %d", got.AllocedBytesPerOp(), size)
	}
}
