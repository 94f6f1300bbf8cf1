package owncut

import (
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/resolver/rrcache"
	"pharos/lab/zonetest"
)

// A delegation is learnt with the addresses that the zone has for its servers, and is the
// same until the zone says otherwise.
func TestLearn(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	text := "@ 3600 SOA ns host 1 1 1 1 1\n@ 3600 NS ns\nns 3600 A 192.0.2.1\nsub 600 NS ns.sub\nsub 600 NS far.test.\nns.sub 600 A 192.0.2.2\nns.sub 600 AAAA 2001:db8::2\n"
	z := zonetest.Zone(t, "example.", text)
	name := dnsname.MustParse("www.sub.example.")
	cache := rrcache.New(now, rrcache.Limits{})
	Learn(cache, now, z, z.Lookup(name).Cut)
	Learn(cache, now, z, 0) // nothing
	d := cache.Delegation(now, name)
	if d == nil || !d.Local || d.Zone != dnsname.MustParse("sub.example.") || len(d.Servers) != 2 || !d.Expires.Equal(now.Add(10*time.Minute)) {
		t.Fatalf("learnt %+v", d)
	}
	addrs := map[dnsname.Name][]netip.Addr{}
	for _, s := range d.Servers {
		addrs[s.Name] = s.Addrs
	}
	if got := addrs[dnsname.MustParse("ns.sub.example.")]; len(got) != 2 || got[0] != netip.MustParseAddr("192.0.2.2") {
		t.Errorf("addresses %v", addrs)
	}
	if !IsSame(z, d) {
		t.Error("it is another one than the zone's")
	}
	if IsSame(nil, d) || IsSame(zonetest.Zone(t, "example.", text+"sub 600 NS more.test.\n"), d) {
		t.Error("it is the same though the zone has changed, or is gone")
	}
}
