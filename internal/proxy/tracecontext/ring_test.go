package tracecontext

import (
	"strings"
	"testing"
	"time"
)

// TestRing: a request is found by its id, and none takes more memory than one is said to take.
func TestRing(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	r := NewRing(2 * RequestOctets)
	r.Keep(&Request{ID: "a", Began: noon}, true)
	if q := r.Find("a", noon); q == nil || q.ID != "a" || NewRing(2*RequestOctets-1) != nil {
		t.Errorf("found %+v", q)
	}
	if got := r.Text(noon); got != "1 requests are kept since 2026-11-22 12:00:00, of at most 2" {
		t.Error(got)
	}
	if got := Cut([]byte(strings.Repeat("a", 600))); len(got) != mostText+3 || Cut([]byte("a")) != "a" {
		t.Errorf("cut to %d", len(got))
	}
}
