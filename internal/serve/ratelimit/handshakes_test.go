package ratelimit

import (
	"net/netip"
	"testing"
	"time"
)

// A network that floods gets its share, others theirs, and all together no more than
// the total; a second later there is as much again.
func TestHandshakes(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	h := NewHandshakes(50, 10, begin)
	allowed := func(now time.Time, addr string, proven bool, tries int) (n int) {
		for range tries {
			if h.Allow(now, netip.MustParseAddr(addr), proven) {
				n++
			}
		}
		return n
	}
	for _, test := range []struct {
		addr   string
		proven bool
		want   int
	}{
		{"192.0.2.1", true, 10}, {"192.0.2.200", true, 0}, {"::ffff:192.0.2.3", true, 0}, // one network
		{"192.0.2.1", false, 10}, {"192.0.2.9", false, 0}, // forged ones have an account of their own
		{"2001:db8::1", true, 10}, {"2001:db8:0:ff::1", true, 0}, {"2001:db8:0:100::1", true, 10},
		{"198.51.100.1", true, 10}, {"203.0.113.1", true, 0}, // the total
	} {
		if got := allowed(begin, test.addr, test.proven, 100); got != test.want {
			t.Errorf("%s (proven: %v): %d handshakes, want %d", test.addr, test.proven, got, test.want)
		}
	}
	if got := h.Refused(); got != 10*100-50 {
		t.Errorf("%d refused, want %d", got, 10*100-50)
	}
	if got := allowed(begin.Add(time.Second), "203.0.113.1", true, 100); got != 10 {
		t.Errorf("%d handshakes a second later, want 10", got)
	}
	open := NewHandshakes(0, 0, begin)
	for range 10000 {
		if !open.Allow(begin, netip.MustParseAddr("192.0.2.1"), true) {
			t.Fatal("refused without a limit")
		}
	}
}
