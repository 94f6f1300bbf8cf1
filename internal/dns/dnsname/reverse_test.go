package dnsname

import (
	"net/netip"
	"testing"
)

// TestReverse: RFC 1035 §3.5 and RFC 3596 §2.5, there and back.
func TestReverse(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.10":         "10.2.0.192.in-addr.arpa.",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
	} {
		addr := netip.MustParseAddr(text)
		n := Reverse(addr)
		if got := n.String(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		if back, ok := n.Address(); !ok || back != addr {
			t.Errorf("%s: back %v, %v", n, back, ok)
		}
	}
	if !Reverse(netip.Addr{}).IsZero() {
		t.Error("no address has a name")
	}
	for _, text := range []string{".", "in-addr.arpa", "2.0.192.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "256.0.0.1.in-addr.arpa", "01.0.0.1.in-addr.arpa", "x.0.0.1.in-addr.arpa", "8.ip6.arpa", "www.example.com"} {
		if addr, ok := MustParse(text).Address(); ok {
			t.Errorf("%s is the name of %v", text, addr)
		}
	}
}
