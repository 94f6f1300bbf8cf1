package problems

import (
	"testing"
	"time"
)

func TestList(t *testing.T) {
	var l List
	first, later := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range []struct {
		code Code
		name string
		text string
		now  time.Time
		news bool
	}{
		{ZoneWarning, "b.", "look", first, true},
		{ZoneRefused, "b.", "broken", first, true},
		{ZoneRefused, "a.", "broken too", first, true},
		{ZoneRefused, "a.", "broken too", later, false},
		{ZoneRefused, "a.", "worse", later, true},
		{PoolAllDown, "p", "", later, false},
	} {
		if got := l.Set(c.code, c.name, c.text, c.now); got != c.news {
			t.Errorf("Set(%s, %s, %q): got news %v, want %v", c.code, c.name, c.text, got, c.news)
		}
	}
	all := l.All()
	if len(all) != 3 || all[0].Text != "broken" || all[1].Text != "worse" || all[2].Severity != "warning" {
		t.Fatalf("got %+v, want errors first, then by text", all)
	}
	if !all[1].Since.Equal(first) {
		t.Errorf("a changed text: got since %v, want since it began", all[1].Since)
	}
	l.Keep(ZoneRefused, []string{"b."})
	if all = l.All(); len(all) != 2 || all[0].About != "b." {
		t.Errorf("after Keep: got %+v, want those about b.", all)
	}
	l.Set(ZoneRefused, "b.", "", later)
	l.Set(ZoneWarning, "b.", "", later)
	if !l.None() {
		t.Errorf("after all ended: got %+v", l.All())
	}
}
