package rrcache

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// heap returns what is in use on the heap.
func heap() int {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// fillHosts puts n addresses into both levels, as answers to clients are.
func fillHosts(c *Cache, n int, now time.Time) {
	for i := range n {
		owner := dnsname.MustParse(fmt.Sprintf("host%d.example.com.", i))
		data := []byte{192, 0, 2, byte(i)}
		c.Put(now, rdata.RRset{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 3600, Data: [][]byte{data}}, TrustAnswer)
		c.PutAnswer(now, Ready{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: rdata.MaxTTL,
			Answer: []rdata.Record{{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 3600, Data: data}}})
	}
}

// The limits are those of the heap: with many times more than fits, of small and of
// large records, it grows by what they say and at most 5 % more.
func TestMemoryBound(t *testing.T) {
	const limit = 4 << 20
	before := heap()
	c := New(begin, Limits{RecordOctets: limit, AnswerOctets: limit})
	for round := range 3 {
		fillHosts(c, 30000, begin.Add(time.Duration(round)*time.Hour))
		for i := range 5000 {
			owner := dnsname.MustParse(fmt.Sprintf("long-owner-name-%d-%d.example.com.", round, i))
			text := make([]byte, 1+i%250)
			text[0] = byte(len(text) - 1)
			now := begin.Add(time.Duration(round) * time.Hour)
			c.PutSigned(now, Signed{rdata.RRset{Name: owner, Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: 3600, Data: [][]byte{text}}, [][]byte{make([]byte, 200)}}, nil, TrustAnswer)
			c.PutAnswer(now, Ready{Name: owner, Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: rdata.MaxTTL, DO: true,
				Answer: []rdata.Record{{Name: owner, Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: 3600, Data: text}}})
			c.PutFailure(now, owner, rdata.TypeA, Failure{})
		}
		c.check()
		grown := heap() - before
		t.Logf("round %d: %d octets of %d, %+v", round, grown, 2*limit, c.Stats())
		if grown > 2*limit*105/100 {
			t.Errorf("the heap has grown by %d octets, more than 5 %% over %d", grown, 2*limit)
		}
		if grown < 2*limit*80/100 {
			t.Errorf("only %d of %d octets are used", grown, 2*limit)
		}
	}
	runtime.KeepAlive(c)
}

// What entries are reckoned with is what they are.
func TestReadyHead(t *testing.T) {
	if got := unsafe.Sizeof(readyEntry{}); got > readyHead {
		t.Errorf("a readyEntry has %d octets, want at most %d", got, readyHead)
	}
}

// BenchmarkMemory shows the octets of heap for an RRset of one address and the answer
// made of it: compare Unbound's, "make bench".
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		const n = 200000
		before := heap()
		c := New(begin, Limits{RecordOctets: 1 << 30, AnswerOctets: 1 << 26})
		fillHosts(c, n, begin)
		st := c.Stats()
		b.ReportMetric(float64(heap()-before)/float64(st.Records), "octets/RRset")
		b.ReportMetric(float64(st.RecordOctets)/float64(st.Records), "record-octets/RRset")
		b.ReportMetric(float64(st.Answers), "answers")
		runtime.KeepAlive(c)
	}
}
