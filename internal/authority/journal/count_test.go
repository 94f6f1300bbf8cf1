package journal

import (
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
)

// TestChanges: every record that differs, in canonical order, the SOA record first.
func TestChanges(t *testing.T) {
	old := parse(t, 1, "ns A 192.0.2.1", "b A 192.0.2.2", "b A 192.0.2.3", "c TXT x")
	now := parse(t, 2, "ns A 192.0.2.1", "a A 192.0.2.9", "b A 192.0.2.3", "c 600 TXT x")
	var got []string
	for r, isAdded := range Changes(old, now) {
		sign := "-"
		if isAdded {
			sign = "+"
		}
		got = append(got, sign+r.Name.Label()+" "+r.Type.String())
	}
	if got, want := strings.Join(got, ", "), "-example SOA, +example SOA, +a A, -b A, -c TXT, +c TXT"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for range Changes(now, now) {
		t.Error("a version differs from itself")
	}
	deleted, added := Count(old, now, func(r rdata.Record) bool { return r.Type == rdata.TypeA })
	if deleted != 1 || added != 1 {
		t.Errorf("A records: %d deleted, %d added, want 1 and 1", deleted, added)
	}
}
