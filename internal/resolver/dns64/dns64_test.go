package dns64

import (
	"net/netip"
	"testing"

	"pharos/internal/dns/dnsname"
)

// TestEmbedding: the table of RFC 6052 §2.4, there and back.
func TestEmbedding(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.33")
	for prefix, want := range map[string]string{
		"2001:db8::/32":         "2001:db8:c000:221::",
		"2001:db8:100::/40":     "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":     "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
		"64:ff9b::/96":          "64:ff9b::192.0.2.33",
	} {
		tr, err := New(Config{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}})
		if err != nil {
			t.Fatal(err)
		}
		got := tr.Addresses(nil, v4)
		if len(got) != 1 || got[0] != netip.MustParseAddr(want) {
			t.Errorf("%s: got %v, want %s", prefix, got, want)
			continue
		}
		if back, ok := tr.Extract(got[0]); !ok || back != v4 {
			t.Errorf("%s: back %v, %v", prefix, back, ok)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, text := range []string{"64:ff9b::/95", "2001:db8::1/96", "192.0.2.0/24", "2001:db8:0:0:ff00::/96", "::ffff:0:0/96"} {
		if _, err := New(Config{Prefixes: []netip.Prefix{netip.MustParsePrefix(text)}}); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no prefix is taken")
	}
}

// TestWhich: RFC 6052 §3.1, RFC 6147 §5.1.4: which addresses take part.
func TestWhich(t *testing.T) {
	cfg := Config{
		Prefixes: []netip.Prefix{WellKnown, netip.MustParsePrefix("2001:db8::/96")},
		Exclude:  []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/96"), netip.MustParsePrefix("2001:db8:bad::/48")},
		Ignore:   []dnsname.Name{dnsname.MustParse("old.example")},
	}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"198.51.100.1": 2, "10.0.0.1": 1, "127.0.0.1": 1, "224.0.0.1": 1} {
		if got := tr.Addresses(nil, netip.MustParseAddr(text)); len(got) != want {
			t.Errorf("%s: %v, want %d", text, got, want)
		}
	}
	cfg.Private = true
	if tr, _ := New(cfg); len(tr.Addresses(nil, netip.MustParseAddr("10.0.0.1"))) != 2 {
		t.Error("private: the well-known prefix does not translate 10.0.0.1")
	}
	for text, want := range map[string]bool{"::ffff:192.0.2.1": true, "2001:db8:bad::1": true, "2001:db8::1": false} {
		if got := tr.IsExcluded(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s excluded: %v", text, got)
		}
	}
	if !tr.Ignores(dnsname.MustParse("www.old.example")) || tr.Ignores(dnsname.MustParse("example")) {
		t.Error("names whose AAAA records are passed over")
	}
	for _, text := range []string{"2001:db9::1", "64:ff9b:1::1"} {
		if v4, ok := tr.Extract(netip.MustParseAddr(text)); ok {
			t.Errorf("%s stands for %v", text, v4)
		}
	}
}

// FuzzExtract: what comes out goes in again.
func FuzzExtract(f *testing.F) {
	f.Add([]byte("0123456789abcdef"))
	tr, _ := New(Config{Private: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3000::/64"), WellKnown}})
	f.Fuzz(func(t *testing.T, octets []byte) {
		v6, ok := netip.AddrFromSlice(octets)
		if !ok || !v6.Is6() {
			return
		}
		v4, ok := tr.Extract(v6)
		if !ok {
			return
		}
		for _, back := range tr.Addresses(nil, v4) {
			if back == v6 {
				return
			}
		}
		t.Errorf("%v stands for %v, which does not become it", v6, v4)
	})
}
