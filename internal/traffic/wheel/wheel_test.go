package wheel

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1_000_000, 0)

// Against a plain list: whatever is put, moved and taken out, each is due at its time,
// and Next is exact.
func TestAgainstList(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		w := New[int](start)
		now := start
		due := map[*Item[int]]time.Time{}
		var items []*Item[int]
		for i := range 200 {
			items = append(items, &Item[int]{Value: i})
		}
		horizon := []time.Duration{50 * time.Millisecond, 10 * time.Second, time.Hour}[seed%3]
		for range 400 {
			i := items[r.IntN(len(items))]
			switch r.IntN(4) {
			case 0, 1:
				if !i.IsIn() {
					due[i] = now.Add(time.Duration(r.Int64N(int64(horizon))) - horizon/20)
					w.Put(i, due[i])
				}
			case 2:
				if w.Remove(i); i.IsIn() {
					t.Fatal("an item is in after it was taken out")
				}
				delete(due, i)
			case 3:
				now = now.Add(time.Duration(r.Int64N(int64(horizon / 4))))
				for _, i := range w.Due(now, nil) {
					if at, there := due[i]; !there || at.After(now) {
						t.Fatalf("seed %d: an item due at %v came at %v", seed, at.Sub(start), now.Sub(start))
					}
					delete(due, i)
				}
			}
			w.check()
			var earliest time.Time
			for i, at := range due {
				if earliest.IsZero() || at.Before(earliest) {
					earliest = at
				}
				if !w.DueAt(i).Equal(at) {
					t.Fatalf("DueAt %v, want %v", w.DueAt(i), at)
				}
			}
			if got, any := w.Next(); any != (len(due) > 0) || any && !got.Equal(earliest) {
				t.Fatalf("seed %d: next at %v, want %v of %d", seed, got.Sub(start), earliest.Sub(start), len(due))
			}
			if w.Len() != len(due) {
				t.Fatalf("%d items, want %d", w.Len(), len(due))
			}
		}
	}
}

// All that is due comes, however long nobody has looked.
func TestLongPause(t *testing.T) {
	w := New[int](start)
	for i := range 1000 {
		w.Put(&Item[int]{Value: i}, start.Add(time.Duration(i)*97*time.Millisecond))
	}
	got := w.Due(start.Add(24*time.Hour), nil)
	if len(got) != 1000 || w.Len() != 0 {
		t.Errorf("%d came, %d are left", len(got), w.Len())
	}
	w.check()
	w.Put(got[0], start) // late from the start
	if got := w.Due(start.Add(24*time.Hour), nil); len(got) != 1 {
		t.Error("what was late when it was put did not come")
	}
}

// A clock that was put back by an hour does not make anybody wait an hour longer.
func TestShift(t *testing.T) {
	w := New[string](start)
	now := start.Add(10 * time.Second)
	w.Due(now, nil)
	w.Put(&Item[string]{Value: "a"}, now.Add(time.Second))
	w.Put(&Item[string]{Value: "b"}, now.Add(20*time.Second))
	now = now.Add(-time.Hour)
	w.Shift(-time.Hour)
	if at, _ := w.Next(); !at.Equal(now.Add(time.Second)) {
		t.Errorf("next in %v, want 1s", at.Sub(now))
	}
	var came []string
	for s := range 30 {
		for _, i := range w.Due(now.Add(time.Duration(s)*time.Second), nil) {
			came = append(came, i.Value)
		}
		if s == 1 && !slices.Equal(came, []string{"a"}) {
			t.Errorf("after a second came %v", came)
		}
	}
	if !slices.Equal(came, []string{"a", "b"}) {
		t.Errorf("came %v", came)
	}
}

func TestNoAllocs(t *testing.T) {
	w := New[int](start)
	items := make([]Item[int], 100)
	ready := make([]*Item[int], 0, 100)
	now := start
	if n := testing.AllocsPerRun(100, func() {
		for i := range items {
			w.Put(&items[i], now.Add(time.Duration(i)*time.Millisecond))
		}
		w.Next()
		now = now.Add(time.Second)
		ready = w.Due(now, ready[:0])
	}); n != 0 || len(ready) != 100 {
		t.Errorf("%v allocations, %d due", n, len(ready))
	}
}

// One of 100,000 items, due every 5 s, comes and goes back.
func BenchmarkWheel(b *testing.B) {
	const n = 100_000
	w := New[int](start)
	items := make([]Item[int], n)
	for i := range items {
		w.Put(&items[i], start.Add(time.Duration(i)*5*time.Second/n))
	}
	var ready []*Item[int]
	now := start
	b.ResetTimer()
	for done := 0; done < b.N; {
		now = now.Add(time.Millisecond)
		ready = w.Due(now, ready[:0])
		for _, i := range ready {
			w.Put(i, now.Add(5*time.Second))
		}
		done += len(ready)
		w.Next()
	}
}
