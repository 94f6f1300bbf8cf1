package xfr

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/authority/compact"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/transfer"
	"pharos/internal/dns/rdata"
)

// TestCompact: differences go on while a zone is built anew beside them; the one that
// takes its place is equal, and no version waits.
func TestCompact(t *testing.T) {
	s := &Secondaries{compacts: make(chan struct{}, 1)}
	q := inquiry{twin: new(compact.Twin)}
	q.old, _ = step(t, 1) // some 80 KiB
	var deleted []rdata.Record
	for i := uint32(2); s.counts.Compacted < 2; i++ {
		if i > 5000 {
			t.Fatal("the zone is never built anew")
		}
		next := parse(t, i)
		added := []rdata.Record{record(t, fmt.Sprintf("v%d TXT %q", i%50, strings.Repeat("y", 200)+fmt.Sprint(i)))}
		changes := []transfer.Change{{From: q.old.Serial(), To: rdata.Serial(i), SOA: transfer.SOA(next), Deleted: deleted, Added: added}}
		edit, err := transfer.Apply(q.old, changes)
		if err != nil {
			t.Fatal(err)
		}
		z, problems := edit.Finish()
		if z == nil || z.Edits() == 0 {
			t.Fatalf("version %d: built anew while somebody waits, or %v", i, problems)
		}
		r := s.compact(q, Result{Zone: z, Form: transfer.Incremental, changes: changes})
		if r.Zone != z && (r.Zone.Edits() >= z.Edits() || !journal.Same(r.Zone, z)) {
			t.Fatalf("version %d: the zone that took the place is another, or no smaller", i)
		}
		q.old, deleted = r.Zone, added
		if i%10 == 0 {
			s.work.Wait() // so that a few versions come while the zone is built
		}
	}
}
