package offheap_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/offheap"
	"pharos/internal/resolver/rrcache"
)

func TestTakeAndGive(t *testing.T) {
	a := offheap.New()
	const size = 64 << 10
	var all [][]byte
	for i := range 200 { // three slabs
		b := a.Take(size)
		for at := range b {
			b[at] = byte(i)
		}
		all = append(all, b)
	}
	for i, b := range all {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, size)) {
			t.Fatalf("piece %d was written over", i)
		}
	}
	if got, want := a.Taken(), 200*size; got != want {
		t.Errorf("Taken() = %d, want %d", got, want)
	}
	a.Give(all[7])
	if got, want := a.Taken(), 199*size; got != want {
		t.Errorf("Taken() = %d after one was given back, want %d", got, want)
	}
	again := a.Take(size)
	if &again[0] != &all[7][0] {
		t.Error("what was given back is not used again")
	}
	if large := a.Take(5 << 20); len(large) != 5<<20 {
		t.Errorf("%d octets of more than a slab", len(large))
	}
	runtime.KeepAlive(a)
}

func heap() int {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The record level of a cache lies in the Arena, not on the heap; with many times more
// than fits all stays within 5 % of the limits, and a flush gives all of it back.
func TestCacheOutsideOfTheHeap(t *testing.T) {
	const limit = 8 << 20
	begin := time.Unix(1_700_000_000, 0)
	a, before := offheap.New(), heap()
	c := rrcache.New(begin, rrcache.Limits{RecordOctets: limit, AnswerOctets: limit, Memory: a})
	for i := range 250_000 {
		owner := dnsname.MustParse(fmt.Sprintf("host%d.example.com.", i))
		set := rdata.RRset{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 3600, Data: [][]byte{{192, 0, 2, 1}}}
		c.Put(begin, set, rrcache.TrustAnswer)
		c.PutAnswer(begin, rrcache.Ready{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: rdata.MaxTTL,
			Answer: []rdata.Record{{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 3600, Data: set.Data[0]}}})
	}
	grown, taken := heap()-before, a.Taken()
	t.Logf("heap %d, outside %d, limit %d each, %+v", grown, taken, limit, c.Stats())
	if sum := grown + taken; sum > 2*limit*105/100 || sum < 2*limit*80/100 {
		t.Errorf("%d octets are used, want within 5 %% of %d", sum, 2*limit)
	}
	if taken > limit || taken < limit*75/100 {
		t.Errorf("%d octets outside of the heap, want most of the records' %d", taken, limit)
	}
	if e := c.Get(begin, dnsname.MustParse("host249999.example.com."), rdata.TypeA); e == nil || e.Set.Data[0][0] != 192 {
		t.Errorf("the newest record is not there: %v", e)
	}
	c.Flush(rrcache.Selection{Name: dnsname.Root, Tree: true})
	if got := a.Taken(); got != 0 {
		t.Errorf("%d octets are still taken after everything was flushed", got)
	}
}
