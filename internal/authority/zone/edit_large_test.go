package zone

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// signedHosts returns the records of a signed zone with so many hosts: per host an
// address, its place in a chain of NSEC or NSEC3, and a signature of each. The
// signatures have the right form and no value.
func signedHosts(hosts int, nsec3 bool) iter.Seq[rdata.Record] {
	origin := dnsname.MustParse("example.")
	zeros := [20]byte{}
	return func(yield func(rdata.Record) bool) {
		add := func(name dnsname.Name, t rdata.Type, data []byte) {
			yield(rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: 60, Data: data})
			yield(rdata.Record{Name: name, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: 60, Data: signature(t, origin)})
		}
		chain := func(name dnsname.Name) {
			if !nsec3 {
				add(name, rdata.TypeNSEC, append([]byte(origin.Wire()), 0, 1, 0x40))
				return
			}
			h := (&Zone{special: &ordinary}).Hash(name)
			owner, _ := origin.Child(string(h[:]))
			add(owner, rdata.TypeNSEC3, append([]byte{nsec3SHA1, 0, 0, 0, 0, 20}, append(zeros[:], 0, 1, 0x40)...))
		}
		add(origin, rdata.TypeSOA, rdataFor(rdata.TypeSOA, dnsname.MustParse("ns.other.")))
		add(origin, rdata.TypeNS, rdataFor(rdata.TypeNS, dnsname.MustParse("ns.other.")))
		if nsec3 {
			add(origin, rdata.TypeNSEC3PARAM, []byte{nsec3SHA1, 0, 0, 0, 0})
		}
		chain(origin)
		for i := range hosts {
			host, _ := origin.Child(fmt.Sprintf("host%d", i))
			add(host, rdata.TypeA, binary.BigEndian.AppendUint32(nil, uint32(i)))
			chain(host)
		}
	}
}

// changeHost takes a host with all that signedHosts gives it out of the zone, or
// puts it in.
func changeHost(e *Editor, i int, nsec3, add bool) {
	name := fmt.Sprintf("host%d", i)
	owner, _ := e.z.origin.Child(name)
	h := (&Zone{special: &ordinary}).Hash(owner)
	for r := range signedHosts(0, nsec3) { // what the apex has, but for the name
		denies := r.Type == rdata.TypeNSEC || r.Type == rdata.TypeNSEC3 || r.Type == rdata.TypeRRSIG &&
			(r.Data[1] == byte(rdata.TypeNSEC) || r.Data[1] == byte(rdata.TypeNSEC3))
		if !denies {
			continue
		}
		r.Name = owner
		if nsec3 {
			r.Name, _ = e.z.origin.Child(string(h[:]))
		}
		if add {
			e.Add(r)
		} else {
			e.Delete(r)
		}
	}
	a := rdata.Record{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Data: binary.BigEndian.AppendUint32(nil, uint32(i))}
	s := rdata.Record{Name: owner, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: 60, Data: signature(rdata.TypeA, e.z.origin)}
	if add {
		e.Add(a)
		e.Add(s)
	} else {
		e.Delete(a)
		e.Delete(s)
	}
}

// TestEditChains: chains of many thousand names, from which and into which names go.
func TestEditChains(t *testing.T) {
	for _, nsec3 := range []bool{false, true} {
		rnd := rand.New(rand.NewPCG(9, 9))
		z, _ := Build(dnsname.MustParse("example."), signedHosts(6000, nsec3))
		there := map[int]bool{}
		for i := range 6000 {
			there[i] = true
		}
		for round := range 12 {
			e := z.Edit()
			e.always = true
			for range 500 {
				i := 3000 + rnd.IntN(4000)
				changeHost(e, i, nsec3, !there[i])
				there[i] = !there[i]
			}
			next, problems := e.Finish()
			if next == nil || len(problems) > 0 || next.over == nil {
				t.Fatalf("%v, overlay %v", problems, next.over != nil)
			}
			z = next
			if round != 11 {
				continue
			}
			fresh, asked := z.Compact(), []dnsname.Name{}
			for range 1500 {
				n, _ := z.origin.Child(fmt.Sprintf("host%d", rnd.IntN(8000)))
				asked = append(asked, n)
			}
			if got, want := describeDenials(z, asked), describeDenials(fresh, asked); got != want {
				t.Fatalf("%s", difference(got, want))
			}
		}
	}
}

// describeDenials is the part of describe about names that are denied.
func describeDenials(z *Zone, asked []dnsname.Name) string {
	var text strings.Builder
	fmt.Fprintln(&text, z.names, z.records, z.DenialType())
	for _, n := range asked {
		fmt.Fprintln(&text, n, z.Lookup(n).Exact != 0, z.Name(max(apex, z.Denying(n))), z.Name(max(apex, z.Preceding(n))))
		if z.nsec3.count > 0 {
			h := z.Hash(n)
			fmt.Fprintln(&text, z.Name(max(apex, z.Matching(h))), z.Name(z.Covering(h)))
		}
	}
	return text.String()
}

// TestEditWhileRead: versions are read while the next ones are made of them, two of
// each; for the race detector.
func TestEditWhileRead(t *testing.T) {
	z, _ := Build(dnsname.MustParse("example."), signedHosts(60, true))
	want := describe(z, nil)
	var readers sync.WaitGroup
	read := func(z *Zone) {
		text := describe(z, nil)
		readers.Go(func() {
			if got := describe(z, nil); got != text {
				t.Errorf("a version has changed:\n%s", difference(got, text))
			}
		})
	}
	now := z
	for i := range 10 {
		for branch := range 2 {
			e := now.Edit()
			e.always = true
			changeHost(e, 50+i+10*branch, true, branch == 1)
			next, _ := e.Finish()
			read(next)
			if branch == 1 {
				now = next
			}
		}
	}
	readers.Wait()
	if got := describe(z, nil); got != want {
		t.Errorf("the first version has changed:\n%s", difference(got, want))
	}
}

// TestEditShares: a change to a large zone takes little memory of its own, is due
// for compaction after many, and compaction gives the memory back.
func TestEditShares(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a zone of 100,000 records")
	}
	z, _ := Build(dnsname.MustParse("example."), signedHosts(25_000, false))
	_, _, size := z.Stats()
	e := z.Edit()
	changeHost(e, 30_000, false, true)
	next, _ := e.Finish()
	if next.over == nil || &next.arena[0] != &z.arena[0] {
		t.Fatal("the arena is not shared")
	}
	if own := next.over.size(); own > size/50 {
		t.Errorf("one change takes %d octets of %d", own, size)
	}
	for i := 30_001; !next.Fragmented(); i++ {
		if i > 40_000 {
			t.Fatal("10,000 changes, and nothing to compact")
		}
		e := next.Edit()
		changeHost(e, i, false, true)
		next, _ = e.Finish()
	}
	compact := next.Compact()
	if compact.over != nil || compact.Fragmented() || compact.names != next.names {
		t.Error("not compact")
	}
}

// BenchmarkEdit makes one change to a signed zone of 1,000,000 records, as an update
// does: a host with its signatures, and the SOA record.
func BenchmarkEdit(b *testing.B) {
	for _, nsec3 := range []bool{false, true} {
		b.Run(fmt.Sprintf("nsec3=%v", nsec3), func(b *testing.B) {
			z, _ := Build(dnsname.MustParse("example."), signedHosts(250_000, nsec3))
			b.ReportAllocs()
			b.ResetTimer()
			now, i := z, 300_000
			for b.Loop() {
				if now.Fragmented() {
					now = z
				}
				e := now.Edit()
				changeHost(e, i, nsec3, true)
				soa := rdata.Record{Name: z.origin, Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: 60, Data: rdataFor(rdata.TypeSOA, dnsname.MustParse("ns.other."))}
				e.Delete(soa)
				e.Add(soa)
				now, _ = e.Finish()
				i++
			}
		})
	}
}
