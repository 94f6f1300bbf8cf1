package nameservers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/lab/zonetest"
)

// TestOfZone: names in zones of ours are looked up there alone, others by the resolver; a
// name without an address is said, and does not hide the others.
func TestOfZone(t *testing.T) {
	z := zonetest.Zone(t, "example.", "@ 60 SOA ns h 1 1h 15m 1w 1h\n@ 60 NS ns\n@ 60 NS far.test.\n@ 60 NS lost.test.\nns 60 A 192.0.2.1\nns 60 AAAA 2001:db8::1\n")
	f := Finder{
		Zone: func(n dnsname.Name, _ rdata.Type) *zone.Zone {
			if n.IsSubdomainOf(z.Origin()) {
				return z
			}
			return nil
		},
		Resolve: func(_ context.Context, n dnsname.Name, at rdata.Type) ([]rdata.Record, error) {
			if n.String() != "far.test." || at != rdata.TypeA {
				return nil, errors.New("nobody answers")
			}
			alias := rdata.Record{Name: n, Type: rdata.TypeCNAME, Data: []byte{192, 0, 2, 9}}
			return []rdata.Record{alias, {Name: n, Type: at, Data: []byte{192, 0, 2, 2}}}, nil
		},
	}
	got, err := f.OfZone(context.Background(), z)
	if want := "[192.0.2.1 2001:db8::1 192.0.2.2]"; fmt.Sprint(got) != want {
		t.Errorf("found %v, want %v", got, want)
	}
	if err == nil {
		t.Error("nothing is said of lost.test")
	}
	f.Resolve = nil
	if got, _ := f.OfZone(context.Background(), z); len(got) != 2 {
		t.Errorf("without a resolver: found %v, want the two of the zone", got)
	}
}

// TestOwn: a socket of all addresses makes those of the machine ours.
func TestOwn(t *testing.T) {
	loopback, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	if own := Own([]netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53")}); !own(loopback) || own(other) {
		t.Error("a socket of all addresses: want 127.0.0.1 ours, 192.0.2.1 not")
	}
	if own := Own([]netip.AddrPort{netip.AddrPortFrom(other, 53)}); own(loopback) || !own(netip.MustParseAddr("::ffff:192.0.2.1")) {
		t.Error("a socket of one address: want that one ours, mapped to IPv6 as well")
	}
}
