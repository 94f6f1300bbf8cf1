package zone

import (
	"encoding/binary"
	"fmt"
	"iter"
	"runtime"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// mixed returns about n records: a half of hosts with A and AAAA, the other of
// delegations with two name servers each, as a TLD or a hosting zone has them.
func mixed(origin string, n int) iter.Seq[rdata.Record] {
	apex := dnsname.MustParse(origin)
	ns := func(text string) []byte { return []byte(dnsname.MustParse(text).Wire()) }
	return func(yield func(rdata.Record) bool) {
		soa := append(ns("ns1."+origin), ns("hostmaster."+origin)...)
		soa = append(soa, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 60)
		add := func(name dnsname.Name, t rdata.Type, data []byte) bool {
			return yield(rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: 3600, Data: data})
		}
		if !add(apex, rdata.TypeSOA, soa) || !add(apex, rdata.TypeNS, ns("ns1."+origin)) ||
			!add(dnsname.MustParse("ns1."+origin), rdata.TypeA, []byte{192, 0, 2, 1}) {
			return
		}
		for i := range n / 4 {
			host, _ := apex.Child(fmt.Sprintf("host%d", i))
			cut, _ := apex.Child(fmt.Sprintf("child%d", i))
			v4 := binary.BigEndian.AppendUint32(nil, uint32(10<<24+i))
			v6 := binary.BigEndian.AppendUint64([]byte{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0}, uint64(i))
			if !add(host, rdata.TypeA, v4) || !add(host, rdata.TypeAAAA, v6) ||
				!add(cut, rdata.TypeNS, ns(fmt.Sprintf("ns1.child%d.%s", i%1000, origin))) ||
				!add(cut, rdata.TypeNS, ns(fmt.Sprintf("ns%d.provider.net.", i%100))) {
				return
			}
		}
	}
}

// collect holds the records of seq, so that making them is not measured.
func collect(seq iter.Seq[rdata.Record]) []rdata.Record {
	var list []rdata.Record
	for r := range seq {
		list = append(list, r)
	}
	return list
}

// each is the records of list as a sequence.
func each(list []rdata.Record) iter.Seq[rdata.Record] {
	return func(yield func(rdata.Record) bool) {
		for _, r := range list {
			if !yield(r) {
				return
			}
		}
	}
}

// TestMemory: a zone of half a million records takes at most 90 octets for each,
// by its own account and by the collector's.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a zone of 500,000 records")
	}
	list := collect(mixed("example.", 500_000))
	before := heapBytes()
	z, _ := Build(dnsname.MustParse("example."), each(list))
	held := heapBytes() - before
	names, records, size := z.Stats()
	runtime.KeepAlive(list)
	if records != len(list) {
		t.Errorf("%d records, want %d", records, len(list))
	}
	t.Logf("%d names, %d records: %.1f octets a record, heap %.1f", names, records,
		float64(size)/float64(records), float64(held)/float64(records))
	if got := held / uint64(records); got > 90 {
		t.Errorf("%d octets of heap for each record, want at most 90", got)
	}
}

// heapBytes returns what is in use of the heap after a collection.
func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkBuild builds a zone of 500,000 records out of memory.
func BenchmarkBuild(b *testing.B) {
	list := collect(mixed("example.", 500_000))
	for b.Loop() {
		Build(dnsname.MustParse("example."), each(list))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/record")
}
