package ledger

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
)

// versionText is a version of a zone.
func versionText(serial int) string {
	return strings.Replace(exampleText, "hostmaster 1 ", fmt.Sprintf("hostmaster %d ", serial), 1) + fmt.Sprintf("n%d TXT %d\n", serial, serial)
}

// TestJournals: what led to a version is there after a restart, appended to or written
// anew; it counts for this very version alone.
func TestJournals(t *testing.T) {
	d := newMemDisk(rand.New(rand.NewPCG(9, 9)))
	folder, log := t.TempDir(), slog.New(slog.DiscardHandler)
	const limit = 3000
	var led *journal.Journal
	var now *zone.Zone
	grow := func(from, to int) {
		j := openJournals(folder, limit, log, d)
		if now == nil {
			now = parse(t, origin, versionText(from-1))
		} else if led = j.Load(now); led == nil {
			t.Fatalf("no journal of serial %d", now.Serial())
		}
		for serial := from; serial <= to; serial++ {
			next := parse(t, origin, versionText(serial))
			diff, ok := journal.Between(now, next, 1<<20)
			if !ok {
				t.Fatal("no difference")
			}
			led, now = led.With(diff, limit), next
			j.Save(now, led)
		}
		j.Close()
	}
	check := func(z *zone.Zone, want bool) {
		t.Helper()
		j := openJournals(folder, limit, log, d.killed())
		defer j.Close()
		got := j.Load(z)
		if (got != nil) != want {
			t.Fatalf("a journal: %v, want %v", got != nil, want)
		}
		if got == nil {
			return
		}
		edit := z.Edit()
		list := got.All()
		for i := len(list) - 1; i >= 0; i-- {
			if err := list[i].Revert(edit); err != nil {
				t.Fatal(err)
			}
		}
		old, _ := edit.Finish()
		if want := text(parse(t, origin, versionText(int(list[0].From)))); text(old) != want {
			t.Errorf("back to serial %d:\n%s\nwant\n%s", list[0].From, text(old), want)
		}
	}
	grow(2, 4)
	check(now, true)
	grow(5, 30)
	check(now, true)
	grow(31, 31)
	check(now, true)
	if n := d.used(); n > 3*limit {
		t.Errorf("%d octets on disk", n)
	}
	check(parse(t, origin, versionText(30)), false)
	check(parse(t, origin, versionText(31)+"other TXT x\n"), false)
	for _, at := range []int{3, 60, 300} {
		damaged := d.killed()
		damaged.damage(".journal", func(int) int { return at })
		j := openJournals(folder, limit, log, damaged)
		if j.Load(now) != nil {
			t.Errorf("octet %d changed: the journal counts", at)
		}
		j.Close()
		if damaged.used() != 0 {
			t.Errorf("octet %d changed: the file is there still", at)
		}
	}
}
