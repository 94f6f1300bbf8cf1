package designated

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

func addrs(list ...string) (all []netip.AddrPort) {
	for _, a := range list {
		all = append(all, netip.MustParseAddrPort(a))
	}
	return all
}

// records returns the data of the records of a type at a name, as text.
func records(z *zone.Zone, name string, t rdata.Type) []string {
	var all []string
	for r := range z.Records() {
		if r.Name == dnsname.MustParse(name) && r.Type == t {
			all = append(all, string(rdata.AppendText(nil, t, r.Data)))
		}
	}
	slices.Sort(all)
	return all
}

// RFC 9462 §4: clients are told of the transports there are, with ports, addresses
// and, of DoH, the path (RFC 9461 §5).
func TestServices(t *testing.T) {
	name := dnsname.MustParse("dns.example")
	full := Config{Name: name, Path: "/dns-query", DoT: addrs("192.0.2.1:853", "[2001:db8::1]:853"), DoH: addrs("192.0.2.1:443"),
		DoH3: addrs("192.0.2.1:443"), DoQ: addrs("192.0.2.1:853", "192.0.2.1:8853")}
	public := Config{Name: name, Path: "/q", DoH: addrs("0.0.0.0:443"), DoT: addrs("[::]:853"), Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.7")}}
	anywhere := public
	anywhere.Addresses = nil
	for _, test := range []struct {
		what string
		c    Config
		want string
	}{
		{"all transports", full, `1 dns.example. alpn=h2,h3 port=443 ipv4hint=192.0.2.1 key7=/dns-query{?dns}
3 dns.example. alpn=dot port=853 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1
4 dns.example. alpn=doq port=853 ipv4hint=192.0.2.1
4 dns.example. alpn=doq port=8853 ipv4hint=192.0.2.1`},
		{"behind another address", public, `1 dns.example. alpn=h2 port=443 ipv4hint=198.51.100.7 key7=/q{?dns}
3 dns.example. alpn=dot port=853 ipv4hint=198.51.100.7`},
		{"on all addresses", anywhere, `1 dns.example. alpn=h2 port=443 key7=/q{?dns}
3 dns.example. alpn=dot port=853`},
		{"without a name", Config{DoT: addrs("192.0.2.1:853")}, ""},
		{"without listeners", Config{Name: name}, ""},
	} {
		z := New(test.c)
		for _, at := range []string{"_dns.resolver.arpa", "_dns.dns.example"} {
			found := z.Find(dnsname.MustParse(at), rdata.TypeSVCB)
			if found == nil {
				if test.c.Name.IsZero() && at != "_dns.resolver.arpa" {
					continue
				}
				t.Fatalf("%s: nobody answers %s", test.what, at)
			}
			if got := strings.Join(records(found, at, rdata.TypeSVCB), "\n"); got != test.want {
				t.Errorf("%s, %s: got\n%s\nwant\n%s", test.what, at, got, test.want)
			}
		}
	}
}

// RFC 9606 §3: one record, with what the resolver does.
func TestInformation(t *testing.T) {
	z := New(Config{Name: dnsname.MustParse("dns.example"), Minimise: true, InfoURL: "https://dns.example/about"})
	for _, at := range []string{"resolver.arpa", "dns.example"} {
		want := []string{`"exterr=` + codes + `" "qnamemin" "infourl=https://dns.example/about"`}
		if got := records(z.Find(dnsname.MustParse(at), rdata.TypeRESINFO), at, rdata.TypeRESINFO); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", at, got, want)
		}
	}
	if got := records(New(Config{}).arpa, "resolver.arpa", rdata.TypeRESINFO); len(got) != 1 || strings.Contains(got[0], "qnamemin") {
		t.Errorf("got %q, want no qnamemin", got)
	}
}

// RFC 9462 §6.4: all of resolver.arpa is answered here; of the resolver's own name
// nothing but what it says of itself.
func TestFind(t *testing.T) {
	z := New(Config{Name: dnsname.MustParse("dns.example")})
	for _, test := range []struct {
		name string
		t    rdata.Type
		want bool
	}{
		{"resolver.arpa", rdata.TypeSOA, true}, {"x.resolver.arpa", rdata.TypeA, true}, {"resolver.arpa", rdata.TypeDS, false}, {"arpa", rdata.TypeSOA, false},
		{"dns.example", rdata.TypeA, false}, {"_dns.dns.example", rdata.TypeSVCB, true}, {"_dns.dns.example", rdata.TypeTXT, false},
		{"_x.dns.example", rdata.TypeSVCB, false}, {"a._dns.dns.example", rdata.TypeSVCB, false}, {"DNS.Example", rdata.TypeRESINFO, true}, {"example", rdata.TypeRESINFO, false},
	} {
		if got := z.Find(dnsname.MustParse(test.name), test.t) != nil; got != test.want {
			t.Errorf("%s %s: answered %v, want %v", test.name, test.t, got, test.want)
		}
	}
	var none *Zones
	if none.Find(resolverARPA, rdata.TypeSOA) != nil {
		t.Error("no zones answer")
	}
}
