//go:build linux

package parking

import "testing"

// TestLot: each who has parked is woken once when its descriptor can be read, also when
// it could before; who was taken, or is there when the Lot closes, is not.
func TestLot(t *testing.T) {
	woken := make(chan int, 10)
	l, err := NewLot(func(who int) { woken <- who })
	if err != nil {
		t.Fatal(err)
	}
	still := func() bool { return true }
	type guest struct {
		fd         int
		ring, hear func()
	}
	var guests [4]guest
	for i := range guests {
		guests[i].fd, guests[i].ring, guests[i].hear = bell(t)
	}
	for round := range 50 {
		if round%2 == 0 {
			guests[0].ring()
		}
		for i := range guests {
			if !l.Park(guests[i].fd, i, still) && (i > 0 || l.Park(guests[0].fd, 0, still)) {
				t.Fatalf("round %d: %d is not parked", round, i)
			}
		}
		if round%2 == 1 {
			guests[0].ring()
		}
		if got := <-woken; got != 0 {
			t.Fatalf("round %d: %d is woken, want 0", round, got)
		}
		guests[0].hear()
		if l.Take(guests[0].fd, 0) || l.Take(guests[1].fd, 2) || !l.Take(guests[1].fd, 1) || !l.Take(guests[2].fd, 2) || !l.Take(guests[3].fd, 3) {
			t.Fatalf("round %d: who was woken was there, or others were not", round)
		}
		guests[1].ring()
		guests[1].hear()
	}
	if l.Park(guests[2].fd, 2, func() bool { return false }) {
		t.Error("one that does not want to is parked")
	}
	l.Park(guests[3].fd, 3, still)
	if got := l.Len(); got != 1 {
		t.Errorf("got %d parked, want 1", got)
	}
	l.Close()
	l.Close()
	guests[3].ring()
	if l.Park(guests[2].fd, 2, still) {
		t.Error("a closed Lot takes one more")
	}
	select {
	case who := <-woken:
		t.Errorf("%d is woken without a reason", who)
	default:
	}
}
