package rrcache

import (
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// An expired answer is given to who wants no signatures without them.
func TestStalePlain(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := New(begin, Limits{Stale: time.Hour})
	name := dnsname.MustParse("www.example.")
	record := func(t rdata.Type, data ...byte) rdata.Record {
		return rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: 100, Data: data}
	}
	c.PutAnswer(begin, Ready{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN, DO: true, TTL: 100,
		Answer: []rdata.Record{record(rdata.TypeA, 192, 0, 2, 1), record(rdata.TypeRRSIG, make([]byte, 40)...)}})
	if c.Stale(begin.Add(99*time.Second), name, rdata.TypeA, true, false) != nil {
		t.Error("an answer counts as expired before its time")
	}
	for _, want := range []struct {
		do      bool
		records int
	}{{true, 2}, {false, 1}} {
		x := c.Stale(begin.Add(101*time.Second), name, rdata.TypeA, want.do, false)
		if x == nil {
			t.Fatalf("DO %v: no answer", want.do)
		}
		if m := x.Message(); len(m.Answer) != want.records || m.Answer[0].TTL != 30 || m.Answer[0].Type != rdata.TypeA {
			t.Errorf("DO %v: %+v, want %d records with TTL 30", want.do, m.Answer, want.records)
		}
	}
	if c.Stale(begin.Add(100*time.Second+time.Hour), name, rdata.TypeA, true, false) != nil {
		t.Error("an answer is given an hour after its time")
	}
}
