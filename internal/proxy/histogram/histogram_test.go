package histogram

import (
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for i := range Buckets - 1 {
		if got := Bucket(Bound(i)); got != i {
			t.Errorf("%v: got bucket %d, want %d", Bound(i), got, i)
		}
		if got := Bucket(Bound(i) + time.Microsecond); got != i+1 {
			t.Errorf("just over %v: got bucket %d, want %d", Bound(i), got, i+1)
		}
	}
	if got := Bucket(time.Hour * 1000); got != Buckets-1 {
		t.Errorf("got %d", got)
	}
}

// TestRead: what connections count apart is read together.
func TestRead(t *testing.T) {
	var h Histogram
	if _, ok := h.Read(); ok {
		t.Error("nothing was counted: want ok false")
	}
	for lane := range uint32(20) {
		p := h.Part(lane)
		p.Observe(time.Millisecond)
		p.Classes[2].Add(1)
	}
	r, ok := h.Read()
	if !ok || r.Sum != 20*time.Millisecond || r.Classes[2] != 20 || r.Buckets[Bucket(time.Millisecond)] != 20 {
		t.Errorf("got %+v, %t, want 20 of 1 ms", r, ok)
	}
}
