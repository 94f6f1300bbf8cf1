package outbound

import (
	"net/netip"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/resolver/iterate"
)

// Everything that says whom a Driver believes is in the sum, and the order of a list is not.
func TestTrustSum(t *testing.T) {
	route := iterate.Route{Zone: dnsname.MustParse("corp."), Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, Forward: true}
	names := []dnsname.Name{dnsname.MustParse("a."), dnsname.MustParse("b.")}
	base := func() Config {
		return Config{Validate: true, Routes: []iterate.Route{route}, Anchors: iterate.RootAnchors(), Negative: names}
	}
	sums := map[[32]byte]string{}
	for what, change := range map[string]func(*Config){
		"nothing":      func(*Config) {},
		"validate":     func(c *Config) { c.Validate = false },
		"aggressive":   func(c *Config) { c.Aggressive = true },
		"anchors":      func(c *Config) { c.Anchors = c.Anchors[:1] },
		"negative":     func(c *Config) { c.Negative = c.Negative[:1] },
		"private":      func(c *Config) { c.Private = names },
		"routes":       func(c *Config) { c.Routes = nil },
		"kind":         func(c *Config) { c.Routes[0].Forward = false },
		"root servers": func(c *Config) { c.Hints = iterate.RootHints()[:2] },
	} {
		c := base()
		change(&c)
		d := New(c)
		sum := d.TrustSum()
		if other, ok := sums[sum]; ok {
			t.Errorf("%s and %s have one sum", what, other)
		}
		sums[sum] = what
		if what == "nothing" {
			d.Trust(iterate.RootAnchors(), []dnsname.Name{names[1], names[0]})
			if d.TrustSum() != sum {
				t.Error("the order of negative trust anchors is in the sum")
			}
			d.Trust(iterate.RootAnchors(), names[:1])
			if d.TrustSum() == sum {
				t.Error("anchors that have changed are not in the sum")
			}
			sum = d.TrustSum()
			moved := route
			moved.Servers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:53")}
			d.Reroute([]iterate.Route{moved}, nil, nil)
			if d.TrustSum() == sum {
				t.Error("servers that have changed are not in the sum")
			}
		}
		d.Close()
	}
}
