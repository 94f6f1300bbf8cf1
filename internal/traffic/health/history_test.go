package health

import (
	"net/netip"
	"testing"
	"time"
)

// The newest events come first, the oldest are forgotten first.
func TestHistory(t *testing.T) {
	var h History
	everything := func(Event) bool { return true }
	if got := h.Last(10, everything); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
	at := func(i int) time.Time { return time.Unix(int64(i), 0) }
	for i := range MaxHistory + 500 {
		h.Add(Event{Target{Address: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i%7))}, Transition{At: at(i)}})
		if i == 2 {
			if got := h.Last(10, everything); len(got) != 3 || !got[0].At.Equal(at(2)) || !got[2].At.Equal(at(0)) {
				t.Errorf("of three: %v", got)
			}
		}
	}
	got := h.Last(MaxHistory+1, everything)
	if len(got) != MaxHistory {
		t.Fatalf("%d events, want %d", len(got), MaxHistory)
	}
	for i, e := range got {
		if want := at(MaxHistory + 499 - i); !e.At.Equal(want) {
			t.Fatalf("event %d is of %v, want %v", i, e.At.Unix(), want.Unix())
		}
	}
	some := h.Last(3, func(e Event) bool { return e.Target.Address.Port() == 3 })
	if len(some) != 3 || some[0].Target.Address.Port() != 3 || !some[0].At.After(some[1].At) {
		t.Errorf("of one target: %v", some)
	}
}
