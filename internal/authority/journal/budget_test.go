package journal

import (
	"fmt"
	"testing"

	"pharos/internal/dns/rdata"
)

// TestBudget: what all journals take is bounded; the zones that have not changed for
// longest lose theirs, which then are empty for whoever has them, and begin anew with the
// next change.
func TestBudget(t *testing.T) {
	between := func(from, to uint32) *Difference {
		d, ok := Between(parse(t, from, fmt.Sprintf("n%d A 192.0.2.1", from)), parse(t, to, fmt.Sprintf("n%d A 192.0.2.1", to)), 1<<20)
		if !ok {
			t.Fatal("no difference")
		}
		return d
	}
	var none *Journal
	one := between(1, 2).Size()
	b := NewBudget()
	journals := map[string]*Journal{}
	hold := func(zone string, from, to uint32) {
		journals[zone] = journals[zone].With(between(from, to), 1<<20)
		b.Hold(zone, journals[zone], 3*one)
	}
	hold("a", 1, 2)
	hold("b", 1, 2)
	hold("c", 1, 2)
	hold("a", 2, 3) // now b is the one that has not changed for longest
	for zone, want := range map[string]int{"a": 2, "b": 0, "c": 1} {
		if got, size := journals[zone].Stats(); got != want || size != want*one || len(journals[zone].All()) != want {
			t.Errorf("%s has %d differences of %d octets, want %d", zone, got, size, want)
		}
	}
	if _, ok := journals["b"].Since(1); ok {
		t.Error("a journal that was dropped leads from version 1")
	}
	if size, dropped := b.Stats(); size != 3*one || dropped != 1 {
		t.Errorf("all take %d octets, %d were dropped; want %d and 1", size, dropped, 3*one)
	}
	hold("b", 2, 3) // takes the place of c
	if list, ok := journals["b"].Since(2); !ok || len(list) != 1 {
		t.Errorf("after a journal was dropped the next change gives %v", list)
	}
	if got, _ := journals["c"].Stats(); got != 0 {
		t.Errorf("c has %d differences still", got)
	}
	b.Keep(func(zone string) bool { return zone == "b" })
	if size, _ := b.Stats(); size != one {
		t.Errorf("one zone is left, and takes %d octets, want %d", size, one)
	}
	b.Hold("b", none, 3*one)
	if size, _ := b.Stats(); size != 0 {
		t.Errorf("no zone has a journal, and all take %d octets", size)
	}
	big := none.With(between(1, 2), 1<<20).With(between(2, 3), 1<<20)
	b.Hold("big", big, one)
	if got, _ := big.Stats(); got != 0 {
		t.Error("a journal larger than all may be is kept")
	}
	if next := big.Extend(1<<20, between(3, 4)); next.All()[0].From != rdata.Serial(3) {
		t.Error("an empty journal is not gone on with")
	}
}
