package byname

import (
	"fmt"
	"maps"
	"testing"

	"pharos/internal/dns/dnsname"
)

// TestByName: a map made by changes of another has them and nothing else, and the
// other has not.
func TestByName(t *testing.T) {
	name := func(i int) dnsname.Name { return dnsname.MustParse(fmt.Sprintf("n%d.test.", i)) }
	want := map[dnsname.Name]int{}
	for i := range 3000 {
		want[name(i)] = i
	}
	first := New(len(want), maps.All(want))
	now := first
	for i := range 500 {
		now = now.With(name(i*5), -i)
	}
	for i := range 3000 {
		changed := i
		if i%5 == 0 && i < 2500 {
			changed = -i / 5
		}
		if got := now.Get(name(i)); got != changed {
			t.Fatalf("%d: %d, want %d", i, got, changed)
		}
		if got := first.Get(name(i)); got != i {
			t.Fatalf("%d: the first map now has %d", i, got)
		}
	}
	if now.Len() != 3000 || now.Get(name(4000)) != 0 || len(maps.Collect(now.All())) != 3000 {
		t.Errorf("%d entries, %d in all", now.Len(), len(maps.Collect(now.All())))
	}
	for i := range 3000 {
		if i%3 > 0 {
			now = now.Without(name(i))
		}
	}
	now = now.Without(name(4000))
	for i := range 3000 {
		if got := now.Get(name(i)); i%3 > 0 && got != 0 || i%3 == 0 && i%5 > 0 && got != i {
			t.Fatalf("%d: %d after others were taken out", i, got)
		}
	}
	if now.Len() != 1000 || first.Len() != 3000 {
		t.Errorf("%d entries are left, and %d of the first", now.Len(), first.Len())
	}
	var none Map[int]
	if none.Get(name(1)) != 0 || none.Len() != 0 {
		t.Error("the zero map has something")
	}
}
