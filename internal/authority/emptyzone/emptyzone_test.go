package emptyzone

import (
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

func TestZones(t *testing.T) {
	for name, want := range map[string]string{
		"localhost":                "localhost.",
		"a.b.localhost":            "localhost.",
		"www.test":                 "test.",
		"x.onion":                  "onion.",
		"1.0.16.172.in-addr.arpa":  "16.172.in-addr.arpa.",
		"1.0.31.172.in-addr.arpa":  "31.172.in-addr.arpa.",
		"1.0.127.100.in-addr.arpa": "127.100.in-addr.arpa.",
		"e.d.f.ip6.arpa":           "d.f.ip6.arpa.",
		// Beside them is the Internet.
		"1.0.15.172.in-addr.arpa":  "",
		"1.0.32.172.in-addr.arpa":  "",
		"1.0.63.100.in-addr.arpa":  "",
		"1.0.128.100.in-addr.arpa": "",
		"e.c.f.ip6.arpa":           "",
		"example.com":              "",
		"arpa":                     "",
		"ipv4only.arpa":            "", // RFC 8880: it is there to be asked for
	} {
		got := ""
		if z := All().Find(dnsname.MustParse(name), rdata.TypeA); z != nil {
			got = z.Origin().String()
		}
		if got != want {
			t.Errorf("%s is in %q, want %q", name, got, want)
		}
	}
	if z := Always().Find(dnsname.MustParse("www.test"), rdata.TypeA); z != nil {
		t.Errorf("a private root may not know test., which is in %s", z.Origin())
	}
	for z := range All().All() {
		if soa, ok := z.RRset(z.Apex(), rdata.TypeSOA); !ok || soa.TTL == 0 {
			t.Errorf("%s has no SOA record", z.Origin())
		}
	}
}
