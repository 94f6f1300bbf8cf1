package rrcache

import (
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// What is asked for in the last tenth of its time is told once, and not before.
func TestOnDue(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := New(begin, Limits{})
	var told []Question
	c.OnDue(func(q Question) {
		q.Name = q.Name.Clone()
		told = append(told, q)
	})
	name := dnsname.MustParse("www.example.")
	c.PutAnswer(begin, Ready{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN, DO: true, TTL: 100,
		Answer: []rdata.Record{{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 100, Data: []byte{192, 0, 2, 1}}}})
	ask := func(at time.Duration) {
		t.Helper()
		var q dnswire.Query
		if q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN, EDNS: true, DO: true})) != dnswire.Accept {
			t.Fatal("bad query")
		}
		var out dnswire.Builder
		out.Reset(&q, make([]byte, 0, 4096), 1232)
		if !c.Answer(begin.Add(at), &q, &out, 0) {
			t.Fatalf("no answer after %v", at)
		}
	}
	ask(0)
	ask(89 * time.Second)
	if len(told) != 0 {
		t.Errorf("told of %v too early", told)
	}
	ask(90 * time.Second)
	ask(95 * time.Second)
	if want := (Question{name, rdata.TypeA, true, false}); len(told) != 1 || told[0] != want {
		t.Errorf("told of %v, want %v once", told, want)
	}
}

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
