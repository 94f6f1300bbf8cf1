package tracecontext

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestRing: what is kept is found for a day, in bounded memory; a flood of one kind leaves the
// other.
func TestRing(t *testing.T) {
	r := NewRing(20 * RequestOctets)
	r.Keep(&Request{ID: "failed", Began: noon}, true)
	for i := range 100 {
		r.Keep(&Request{ID: fmt.Sprint(i), Began: noon.Add(time.Duration(i))}, false)
	}
	if q := r.Find("failed", noon.Add(PastAge)); q == nil {
		t.Error("one that failed was driven out by others")
	}
	if q := r.Find("failed", noon.Add(PastAge+1)); q != nil {
		t.Error("told after its time")
	}
	kept := 0
	for i := range 100 {
		if r.Find(fmt.Sprint(i), noon.Add(time.Hour)) != nil {
			kept++
		}
	}
	if kept != 10 || r.Find("99", noon) == nil || r.Find("0", noon) != nil {
		t.Errorf("%d are kept, want the last 10", kept)
	}
	r.Keep(&Request{ID: "99", Began: noon.Add(time.Minute)}, true)
	if q := r.Find("99", noon.Add(time.Hour)); !q.Began.Equal(noon.Add(time.Minute)) {
		t.Errorf("of two with one id that of %v was found", q.Began)
	}
	if got := r.Text(noon.Add(time.Hour)); got != "12 requests are kept since 2026-11-22 12:00:00, of at most 20" {
		t.Error(got)
	}
	var none *Ring
	if none.Find("a", noon) != nil || NewRing(0) != nil || !strings.HasPrefix(none.Text(noon), "no requests") {
		t.Error("a ring of no memory keeps something")
	}
	if got := Cut([]byte(strings.Repeat("a", 600))); len(got) != mostText+3 || Cut([]byte("a")) != "a" {
		t.Errorf("cut to %d", len(got))
	}
}

// TestRingConcurrent: many keep and find at once.
func TestRingConcurrent(t *testing.T) {
	r := NewRing(8 * RequestOctets)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 1000 {
				r.Keep(&Request{ID: fmt.Sprint(g), Began: noon}, i%2 == 0)
				if q := r.Find(fmt.Sprint(g), noon); q != nil && q.ID != fmt.Sprint(g) {
					t.Errorf("found %s, want %d", q.ID, g)
				}
			}
		})
	}
	all.Wait()
}
