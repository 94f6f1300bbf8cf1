package ratelimit

import (
	"testing"
	"time"
)

// TestBuckets: what is taken comes back with time, and looking takes nothing.
func TestBuckets(t *testing.T) {
	bound, err := BoundOf(2, time.Second, 4)
	if err != nil {
		t.Fatal(err)
	}
	b, now := NewBuckets(1), time.Unix(1e9, 0)
	for i, want := range []Taken{
		{true, 3, 0, 500 * time.Millisecond}, {true, 2, 0, time.Second}, {true, 1, 0, 1500 * time.Millisecond}, {true, 0, 500 * time.Millisecond, 2 * time.Second},
		{false, 0, 500 * time.Millisecond, 2 * time.Second},
	} {
		if got := b.Take(now, 7<<48, bound); got != want {
			t.Errorf("%d: %+v, want %+v", i, got, want)
		}
	}
	if got, want := b.Look(now.Add(time.Second), 7<<48, bound), (Taken{true, 2, 0, time.Second}); got != want {
		t.Errorf("after a second: %+v, want %+v", got, want)
	}
	if got := b.Look(now.Add(-time.Hour), 9<<48, bound); !got.OK || got.Left != 4 {
		t.Errorf("another account: %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { b.Take(now, 7<<48, bound) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
