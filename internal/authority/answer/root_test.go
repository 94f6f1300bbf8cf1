package answer

import (
	"compress/gzip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// loadRoot builds the root zone of one of the shared files.
func loadRoot(t testing.TB, file string) *zone.Zone {
	t.Helper()
	zr, err := gzip.NewReader(openShared(t, "data/"+file))
	if err != nil {
		t.Fatal(err)
	}
	b := zone.NewBuilder(dnsname.Root)
	for r, err := range zonefile.Read(zr, zonefile.Options{Origin: dnsname.Root}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// TestRootServer asks the real root zone what resolvers ask it.
func TestRootServer(t *testing.T) {
	z := loadRoot(t, "root-2026-08-22-unsigned.zone.gz")
	m := ask(t, z, "www.example.com.", dns.TypeA, 0, dnswire.MaxUDP512)
	if m.Rcode != dns.RcodeSuccess || m.Authoritative || len(m.Answer) != 0 || len(m.Ns) != 13 {
		t.Errorf("referral to com: %v", m)
	}
	// RFC 9471: the servers of com are not in com: their addresses are optional, so
	// they fill the message, and no TC.
	if m.Truncated || len(m.Extra) < 10 {
		t.Errorf("referral to com: TC %v, %d addresses", m.Truncated, len(m.Extra))
	}
	for _, rr := range append(m.Ns, m.Extra...) {
		if owner := rr.Header().Name; owner != "com." && !strings.HasSuffix(owner, ".gtld-servers.net.") {
			t.Errorf("in the referral to com: %v", rr)
		}
	}
	if m = ask(t, z, "www.example.com.", dns.TypeA, 0, dnswire.MaxUDP); len(m.Extra) != 26 {
		t.Errorf("with 1232 octets: %d addresses, want 26", len(m.Extra))
	}
	if m = ask(t, z, "com.", dns.TypeDS, 0, dnswire.MaxUDP512); !m.Authoritative || len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeDS {
		t.Errorf("DS of com: %v", m)
	}
	if m = ask(t, z, ".", dns.TypeNS, 0, dnswire.MaxUDP512); !m.Authoritative || len(m.Answer) != 13 || len(m.Extra) < 10 || m.Truncated {
		t.Errorf("priming: %v", m)
	}
	if m = ask(t, z, "no.such.tld-here.", dns.TypeA, 0, dnswire.MaxUDP512); m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 || m.Ns[0].Header().Name != "." {
		t.Errorf("NXDOMAIN: %v", m)
	}
}

// TestSignedRoot: signatures are served as the data that they are.
func TestSignedRoot(t *testing.T) {
	z := loadRoot(t, "root-2020-10-19-signed.zone.gz")
	m := ask(t, z, ".", dns.TypeRRSIG, 0, dnswire.MaxMessage)
	covered := map[uint16]bool{}
	for _, rr := range m.Answer {
		covered[rr.(*dns.RRSIG).TypeCovered] = true
	}
	for _, t1 := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeDNSKEY, dns.TypeNSEC} {
		if !covered[t1] {
			t.Errorf("no RRSIG that covers %s", dns.TypeToString[t1])
		}
	}
	if m := ask(t, z, "com.", dns.TypeNSEC, 0, dnswire.MaxMessage); m.Authoritative || len(m.Ns) == 0 {
		t.Errorf("NSEC at a cut: %v", m)
	}
}

// TestParentAndChild: one server with a parent zone and its child answers each
// question from the right one.
func TestParentAndChild(t *testing.T) {
	const apex = "@ 60 SOA ns.other. h.other. 1 2 3 4 5\n@ 60 NS ns.other.\n"
	parent := buildZone(t, "example.", apex+"child 60 NS ns.child\nchild 60 DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000\nns.child 60 A 192.0.2.1\n")
	child := buildZone(t, "child.example.", apex+"ns 60 A 192.0.2.1\n")
	set := zone.NewSet(parent, child)
	for _, tt := range []struct{ name, qtype, want string }{
		{"ns.child.example.", "A", "NOERROR AA\nA ns.child.example. 60 IN A 192.0.2.1"},
		{"child.example.", "NS", "NOERROR AA\nA child.example. 60 IN NS ns.other."},
		{"child.example.", "DS", "NOERROR AA\nA child.example. 60 IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000"},
		{"example.", "DS", "NOERROR AA\nU example. 5 IN SOA ns.other. h.other. 1 2 3 4 5"},
	} {
		qtype := dns.StringToType[tt.qtype]
		z := set.Find(dnsname.MustParse(tt.name), rdata.Type(qtype))
		if got := show(ask(t, z, tt.name, qtype, 0, dnswire.MaxUDP512)); got != tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.name, tt.qtype, got, tt.want)
		}
	}
}

// TestReverse: PTR in both reverse trees, and a classless delegation by CNAME
// (RFC 2317).
func TestReverse(t *testing.T) {
	const apex = "@ 60 SOA ns.other. h.other. 1 2 3 4 5\n@ 60 NS ns.other.\n"
	v4 := buildZone(t, "2.0.192.in-addr.arpa.", apex+"1 60 PTR www.example.\n0/25 60 NS ns.other.\n7 60 CNAME 7.0/25\n")
	v6 := buildZone(t, "8.b.d.0.1.0.0.2.ip6.arpa.", apex+"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 60 PTR www.example.\n")
	const host = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
	for _, tt := range []struct {
		z          *zone.Zone
		name, want string
	}{
		{v4, "1.2.0.192.in-addr.arpa.", "NOERROR AA\nA 1.2.0.192.in-addr.arpa. 60 IN PTR www.example."},
		{v4, "7.2.0.192.in-addr.arpa.", "NOERROR AA\nA 7.2.0.192.in-addr.arpa. 60 IN CNAME 7.0/25.2.0.192.in-addr.arpa.\nU 0/25.2.0.192.in-addr.arpa. 60 IN NS ns.other."},
		{v4, "9.2.0.192.in-addr.arpa.", "NXDOMAIN AA\nU 2.0.192.in-addr.arpa. 5 IN SOA ns.other. h.other. 1 2 3 4 5"},
		{v6, host, "NOERROR AA\nA " + host + " 60 IN PTR www.example."},
		{v6, host[2:], "NOERROR AA\nU 8.b.d.0.1.0.0.2.ip6.arpa. 5 IN SOA ns.other. h.other. 1 2 3 4 5"},
		{v6, "2" + host[1:], "NXDOMAIN AA\nU 8.b.d.0.1.0.0.2.ip6.arpa. 5 IN SOA ns.other. h.other. 1 2 3 4 5"},
	} {
		if got := show(ask(t, tt.z, tt.name, dns.TypePTR, 0, dnswire.MaxUDP512)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
