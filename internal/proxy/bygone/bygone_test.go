package bygone

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

type thing struct {
	id    string
	began time.Time
}

var things = Kind[thing]{Name: "things", Octets: 100, Told: func(t *thing) (string, time.Time) { return t.id, t.began }}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestRing: what is kept is found for a day, in bounded memory; a flood of one kind leaves the
// other.
func TestRing(t *testing.T) {
	r := New(20*100, things)
	r.Keep(&thing{"failed", noon}, true)
	for i := range 100 {
		r.Keep(&thing{fmt.Sprint(i), noon.Add(time.Duration(i))}, false)
	}
	if r.Find("failed", noon.Add(Age)) == nil {
		t.Error("one that failed was driven out by others")
	}
	if r.Find("failed", noon.Add(Age+1)) != nil {
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
	r.Keep(&thing{"99", noon.Add(time.Minute)}, true)
	if q := r.Find("99", noon.Add(time.Hour)); !q.began.Equal(noon.Add(time.Minute)) {
		t.Errorf("of two with one id that of %v was found", q.began)
	}
	if got := r.Text(noon.Add(time.Hour)); got != "12 things are kept since 2026-11-22 12:00:00, of at most 20" {
		t.Error(got)
	}
	if got := New(1000, things).Text(noon); got != "no things are kept" {
		t.Error(got)
	}
	var none *Ring[thing]
	if none.Find("a", noon) != nil || New(0, things) != nil || none.Text(noon) != "nothing is kept" {
		t.Error("a ring of no memory keeps something")
	}
}

// TestAdmits: an attack does not cost more than maxUnusual in a second.
func TestAdmits(t *testing.T) {
	r := New(1000, things)
	for i := range maxUnusual {
		if !r.Admits(time.Second + time.Duration(i)) {
			t.Fatalf("number %d was not admitted", i)
		}
	}
	if r.Admits(2*time.Second - 1) {
		t.Error("more are kept in a second than may be")
	}
	if !r.Admits(2 * time.Second) {
		t.Error("nothing is kept in the next second")
	}
}

// TestRingConcurrent: many keep and find at once.
func TestRingConcurrent(t *testing.T) {
	r := New(800, things)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 1000 {
				r.Admits(time.Duration(i) * time.Second)
				r.Keep(&thing{fmt.Sprint(g), noon}, i%2 == 0)
				if q := r.Find(fmt.Sprint(g), noon); q != nil && q.id != fmt.Sprint(g) {
					t.Errorf("found %s, want %d", q.id, g)
				}
			}
		})
	}
	all.Wait()
}
