package failures

import (
	"fmt"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/resolver/iterate"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// failure has a story of some 2 KB in a zone.
func failure(id iterate.FailureID, at time.Time, zone string) Record {
	steps := make([]iterate.Step, 10)
	for i := range steps {
		steps[i].Zone = dnsname.MustParse(zone)
	}
	return Record{ID: id, At: at, Name: dnsname.MustParse("www." + zone), Steps: steps}
}

func TestStore(t *testing.T) {
	s := New(DefaultLimits)
	s.Put(failure(0, begin, "example.")) // of no use to anybody
	s.Put(failure(7, begin, "example."))
	s.Put(failure(7, begin.Add(time.Second), "example."))
	got, ok := s.Get(begin.Add(time.Minute), 7)
	if !ok || got.Told != 2 || !got.At.Equal(begin) || !got.Last.Equal(begin.Add(time.Second)) || len(got.Steps) != 10 {
		t.Errorf("got %+v, %v", got, ok)
	}
	if _, ok := s.Get(begin, 8); ok {
		t.Error("a failure that nobody was told")
	}
	if _, ok := s.Get(begin.Add(DefaultLimits.Age+1), 7); ok {
		t.Error("a failure older than is kept")
	}
	s.Put(failure(9, begin.Add(DefaultLimits.Age+time.Hour), "example."))
	if n, _ := s.Stats(); n != 1 {
		t.Errorf("%d failures, want the new one", n)
	}
}

// TestStoreIsBounded: a flood for one zone leaves the failures of others, and all of
// them together stay within the limit.
func TestStoreIsBounded(t *testing.T) {
	s := New(Limits{Octets: 1 << 20, Age: time.Hour, OfZone: 10})
	s.Put(failure(1, begin, "victim.example."))
	for i := range 5000 {
		s.Put(failure(iterate.FailureID(i+2), begin, "flooded.example."))
	}
	if _, ok := s.Get(begin, 1); !ok {
		t.Error("the failures of one zone have driven out those of another")
	}
	if _, ok := s.Get(begin, 5001); !ok {
		t.Error("the newest of a flood is not there")
	}
	if n, octets := s.Stats(); octets > 1<<20/10+1<<13 || n < 20 {
		t.Errorf("one zone has %d failures, %d octets", n, octets)
	}
	for i := range 5000 {
		s.Put(failure(iterate.FailureID(i+10000), begin, fmt.Sprintf("z%d.example.", i)))
		if _, octets := s.Stats(); octets > 1<<20 {
			t.Fatalf("%d octets", octets)
		}
	}
	if n := len(s.zones); n > 1000 {
		t.Errorf("%d zones are remembered", n)
	}
}
