package state

import (
	"fmt"
	"slices"
	"testing"
)

// TestDifferences: who reads a configuration again is told what of it is different.
func TestDifferences(t *testing.T) {
	before := &Resources{
		Pools:  []Pool{{Name: "web"}, {Name: "old"}},
		Routes: []Route{{Host: "a.test", Path: "/", Pool: "web"}, {Name: "b", Host: "b.test", Pool: "old"}},
	}
	now := &Resources{
		Pools:  []Pool{{Name: "web"}, {Name: "new"}},
		Routes: []Route{{Host: "a.test", Path: "/", Pool: "web", Fallback: "new"}, {Name: "b", Host: "b.test", Pool: "old"}},
	}
	want := []string{`pool "new" added`, `route "a.test/" replaced`, `pool "old" removed`}
	if got := Differences(before, now); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Differences(now, now); len(got) > 0 {
		t.Errorf("differs from itself in %q", got)
	}
	many := &Resources{}
	for i := range mostDifferences + 3 {
		many.Pools = append(many.Pools, Pool{Name: fmt.Sprint("p", i)})
	}
	if got := Differences(&Resources{}, many); len(got) != mostDifferences+1 || got[mostDifferences] != "and 3 more" {
		t.Errorf("of many it says %q", got)
	}
}
