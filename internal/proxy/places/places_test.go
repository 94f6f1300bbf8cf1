package places

import (
	"net/netip"
	"testing"
)

// TestTakeClient: clients are told apart by so many bits, each has its own places, and what is
// given back can be taken again.
func TestTakeClient(t *testing.T) {
	var p Places
	for _, tt := range []struct {
		address string
		want    bool
	}{
		{"192.0.2.1", true}, {"192.0.2.1", true}, {"192.0.2.1", false}, {"192.0.2.2", true},
		{"2001:db8::1", true}, {"2001:db8::ffff:1", true}, {"2001:db8::2", false}, {"2001:db8:0:1::1", true},
	} {
		if got := p.TakeClient(netip.MustParseAddr(tt.address), Proven, 2); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.address, got, tt.want)
		}
	}
	p.GiveClient(netip.MustParseAddr("2001:db8::9"), Proven)
	if !p.TakeClient(netip.MustParseAddr("2001:db8::2"), Proven, 2) {
		t.Error("the place that was given back cannot be taken")
	}
}

// TestTake: there are no more places than there are.
func TestTake(t *testing.T) {
	var p Places
	if !p.Take(1) || p.Take(1) {
		t.Error("want one place of one")
	}
	if p.Give(); !p.Take(1) {
		t.Error("the place that was given back cannot be taken")
	}
}
