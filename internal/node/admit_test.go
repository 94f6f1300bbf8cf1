package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/config"
	"pharos/internal/dns/dnsname"
	"pharos/internal/serve/dnsserver"
)

// exchange sends m over network, and returns the answer, or nil if there is none
// before the answer to an innocent query that is sent after it.
func exchange(t *testing.T, network string, server netip.AddrPort, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: 10 * time.Second, TsigSecret: map[string]string{"peer.": testKeySecret}}
	answer, _, err := c.Exchange(m, server.String())
	if err != nil {
		t.Fatalf("%v: %v", m.Question, err)
	}
	return answer
}

const testKeySecret = "K2tf3TRjvQkVCmJF3/Z9vA=="

const testKey = "keys: [{name: peer, secret: " + testKeySecret + "}]\n"

// edeOf returns the extended error of an answer.
func edeOf(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return fmt.Sprintf(" (%d)", e.InfoCode)
			}
		}
	}
	return ""
}

func question(name string, qtype uint16, change func(m *dns.Msg)) *dns.Msg {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	if change != nil {
		change(m)
	}
	return m
}

func signed(m *dns.Msg) { m.SetTsig("peer.", dns.HmacSHA256, 300, time.Now().Unix()) }

// TestQueryRules: the rules of a zone, beside those of dns.access, which come first.
func TestQueryRules(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.config(testKey+`zones:
- {name: example.com, file: example.zone}
- {name: secret.test, file: example.zone, query: [{key: peer}]}
- {name: near.test, file: example.zone, query: [{network: 127.0.0.0/8}], transfer: [{key: peer}]}
- {name: far.test, file: example.zone, query: [{network: 192.0.2.0/24}], transfer: [{network: 127.0.0.0/8}]}
`))
	for _, tt := range []struct {
		name   string
		qtype  uint16
		change func(m *dns.Msg)
		want   string
	}{
		{"www.example.com", dns.TypeA, nil, "NOERROR"},
		{"www.secret.test", dns.TypeA, nil, "REFUSED (18)"},
		{"www.secret.test", dns.TypeA, signed, "NOERROR"},
		{"nothing.secret.test", dns.TypeA, nil, "REFUSED (18)"}, // a name that is not there is not told either
		{"www.near.test", dns.TypeA, nil, "NOERROR"},
		{"www.far.test", dns.TypeA, nil, "REFUSED (18)"},
		{"www.nowhere.test", dns.TypeA, nil, "REFUSED (20)"},
		// Each list has its own matter.
		{"near.test", dns.TypeAXFR, nil, "REFUSED (18)"},
		{"far.test", dns.TypeIXFR, func(m *dns.Msg) {
			m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "far.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: 1}}
		}, "NOERROR"},
	} {
		m := exchange(t, "tcp", n.DNS()[0], question(tt.name, tt.qtype, tt.change))
		if got := dns.RcodeToString[m.Rcode] + edeOf(m); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.name, dns.TypeToString[tt.qtype], got, tt.want)
		}
	}
}

// TestAccess: dns.access decides before everything else, for each listener.
func TestAccess(t *testing.T) {
	prefix := netip.MustParsePrefix
	one, two := netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("0.0.0.0:5353")
	all, err := compileAccess([]config.Access{
		{Listeners: []netip.AddrPort{one}, Allow: []netip.Prefix{prefix("10.0.0.0/8"), prefix("10.9.9.0/24")}, Deny: []netip.Prefix{prefix("10.9.0.0/16"), prefix("10.9.9.0/24")}},
		{Listeners: []netip.AddrPort{two}, Deny: []netip.Prefix{prefix("10.0.0.0/8")}, Drop: true},
		{Allow: []netip.Prefix{prefix("2001:db8::/32")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Snapshot{access: all}
	for _, tt := range []struct{ client, local, want string }{
		{"10.1.1.1", "192.0.2.1:53", "may"},
		{"10.9.1.1", "192.0.2.1:53", "refused"}, // the longest prefix
		{"10.9.9.1", "192.0.2.1:53", "refused"}, // of equal ones, deny
		{"192.0.2.9", "192.0.2.1:53", "refused"},
		{"10.1.1.1", "192.0.2.7:5353", "dropped"}, // by any address of the machine
		{"192.0.2.9", "192.0.2.7:5353", "may"},
		{"2001:db8::1", "[2001:db8::53]:53", "may"}, // an entry without listeners is for the rest
		{"10.1.1.1", "192.0.2.1:853", "refused"},
		{"2001:db8::1", "[2001:db8::53]:5353", "may"}, // 0.0.0.0 does not stand for IPv6
	} {
		got := "may"
		if a := s.refuses(netip.MustParseAddr(tt.client), netip.MustParseAddrPort(tt.local)); a != nil {
			if got = "refused"; a.drop {
				got = "dropped"
			}
		}
		if got != tt.want {
			t.Errorf("%s at %s: %s, want %s", tt.client, tt.local, got, tt.want)
		}
	}
}

// TestAccessOverSockets: who may not ask gets REFUSED, whatever it asks, or nothing.
func TestAccessOverSockets(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	zones := testKey + "zones: [{name: example.com, file: example.zone, transfer: [{network: 127.0.0.0/8}]}]\n"
	n, _ := start(t, f.config(zones+"dns: {access: [{deny: [127.0.0.0/8]}]}"))
	for _, m := range []*dns.Msg{
		question("www.example.com", dns.TypeA, nil), question("example.com", dns.TypeAXFR, nil), question("example.com", dns.TypeSOA, signed),
		question("example.com", dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
	} {
		got := exchange(t, "tcp", n.DNS()[0], m)
		if got.Rcode != dns.RcodeRefused || edeOf(got) != " (18)" {
			t.Errorf("%v: %v", m.Question, got)
		}
	}
	n, _ = start(t, newFolderWith(t, exampleZone).config(zones+"dns: {udpWorkers: 1, access: [{deny: [127.0.0.2/32], drop: true}]}"))
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, net.UDPAddrFromAddrPort(n.DNS()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wire, _ := question("www.example.com", dns.TypeA, nil).Pack()
	conn.Write(wire)
	eventually(t, func() string {
		counts := n.dns.Counts(dnsserver.UDP)
		if counts.Of(dnsserver.Dropped) == 1 && counts.Of(dnsserver.Answers) == 0 {
			return ""
		}
		return "the query is not counted as dropped"
	})
}

// newFolderWith is newFolder with example.zone.
func newFolderWith(t *testing.T, zone string) folder {
	f := newFolder(t)
	f.write("example.zone", zone)
	return f
}

// TestIdentity: nothing is told in class CH unless the configuration says so.
func TestIdentity(t *testing.T) {
	zones := "zones: [{name: example.com, file: example.zone}]\n"
	quiet, _ := start(t, newFolderWith(t, exampleZone).config(zones))
	open, _ := start(t, newFolderWith(t, exampleZone).config(zones+"dns: {identity: {name: ns1.fra, version: Pharos}}"))
	chaos := func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }
	for _, tt := range []struct {
		server      *Node
		name        string
		qtype       uint16
		want, value string
	}{
		{quiet, "version.bind", dns.TypeTXT, "REFUSED (21)", ""},
		{quiet, "id.server", dns.TypeTXT, "REFUSED (21)", ""},
		{open, "version.bind", dns.TypeTXT, "NOERROR", "Pharos"},
		{open, "VERSION.server", dns.TypeTXT, "NOERROR", "Pharos"},
		{open, "hostname.bind", dns.TypeTXT, "NOERROR", "ns1.fra"},
		{open, "id.server", dns.TypeANY, "NOERROR", "ns1.fra"},
		{open, "id.server", dns.TypeA, "NOERROR", ""},
		{open, "authors.bind", dns.TypeTXT, "REFUSED (21)", ""},
		{open, "www.example.com", dns.TypeA, "REFUSED (21)", ""},
	} {
		m := exchange(t, "udp", tt.server.DNS()[0], question(tt.name, tt.qtype, chaos))
		value := ""
		if len(m.Answer) == 1 {
			value = strings.Join(m.Answer[0].(*dns.TXT).Txt, "")
		}
		if got := dns.RcodeToString[m.Rcode] + edeOf(m); got != tt.want || value != tt.value || m.Authoritative != (tt.want == "NOERROR") {
			t.Errorf("%s: %s %q, want %s %q", tt.name, got, value, tt.want, tt.value)
		}
	}
}

// TestZoneOptionsInAnswers: RFC 9660 with every answer from a zone, RFC 7314 with SOA
// and transfers.
func TestZoneOptionsInAnswers(t *testing.T) {
	n, _ := start(t, newFolderWith(t, exampleZone).config("zones: [{name: example.com, file: example.zone, transfer: [{network: 127.0.0.0/8}]}]\n"))
	both := func(m *dns.Msg) {
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true}, &dns.EDNS0_LOCAL{Code: 19})
	}
	for _, tt := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"www.example.com", dns.TypeA, "version 2/0/00000001"},
		{"nothing.example.com", dns.TypeA, "version 2/0/00000001"},
		{"example.com", dns.TypeSOA, "version 2/0/00000001 expire 604800"},
		{"example.com", dns.TypeAXFR, "expire 604800"},
		{"elsewhere.test", dns.TypeA, ""},
	} {
		m := exchange(t, "tcp", n.DNS()[0], question(tt.name, tt.qtype, both))
		var got []string
		for _, o := range m.IsEdns0().Option {
			switch o := o.(type) {
			case *dns.EDNS0_EXPIRE:
				got = append(got, fmt.Sprintf("expire %d", o.Expire))
			case *dns.EDNS0_ZONEVERSION:
				got = append(got, fmt.Sprintf("version %d/%d/%x", o.LabelCount, o.Type, o.Version))
			}
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.name, dns.TypeToString[tt.qtype], text, tt.want)
		}
	}
}

// TestNoAllocsRules: looking at rules does not allocate.
func TestNoAllocsRules(t *testing.T) {
	network := config.TransferRule{Network: netip.MustParsePrefix("192.0.2.0/24")}
	rules := []config.TransferRule{{Key: dnsname.MustParse("peer")}, network}
	all, err := compileAccess([]config.Access{{Deny: []netip.Prefix{network.Network}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &Snapshot{access: all, Config: new(config.Config)}
	client, local := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddrPort("192.0.2.1:53")
	if got := testing.AllocsPerRun(100, func() { s.refuses(client, local); anyRule(rules, client, dnsname.Name{}) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// TestExpireOfSecondary: RFC 7314 §3.2: a secondary tells for how long it may serve the
// zone yet, which its copy on disk remembers.
func TestExpireOfSecondary(t *testing.T) {
	primary, stop := start(t, newFolderWith(t, exampleZone).config("zones: [{name: example.com, file: example.zone, transfer: [{network: 127.0.0.0/8}]}]\n"))
	f := newFolder(t)
	config := f.config(fmt.Sprintf("zones: [{name: example.com, kind: secondary, primaries: [{address: %q}]}]\n", primary.DNS()[0]))
	expire := func(n *Node) (seconds uint32) {
		eventually(t, func() string {
			m := exchange(t, "tcp", n.DNS()[0], question("example.com", dns.TypeSOA, func(m *dns.Msg) {
				m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true})
			}))
			for _, o := range m.IsEdns0().Option {
				if e, ok := o.(*dns.EDNS0_EXPIRE); ok {
					seconds = e.Expire
					return ""
				}
			}
			return "no EXPIRE: " + m.String()
		})
		return seconds
	}
	n, stopSecondary := start(t, config)
	if got := expire(n); got > 604800 || got < 604800-60 {
		t.Errorf("just transferred: %d s, want what the SOA record says, 604800", got)
	}
	stopSecondary()
	stop()
	copies, err := filepath.Glob(filepath.Join(f.path, "data", "zones", "*"))
	if err != nil || len(copies) == 0 {
		t.Fatal("no copy", err)
	}
	for _, path := range copies {
		before := time.Now().Add(-24 * time.Hour)
		if err := os.Chtimes(path, before, before); err != nil {
			t.Fatal(err)
		}
	}
	n, _ = start(t, config)
	if got := expire(n); got > 604800-86400 || got < 604800-86400-60 {
		t.Errorf("confirmed a day ago: %d s, want %d", got, 604800-86400)
	}
}

// TestEveryRefusalSaysWhy: RFC 8914: whoever is not answered learns the reason.
func TestEveryRefusalSaysWhy(t *testing.T) {
	n, _ := start(t, newFolderWith(t, exampleZone).config(testKey+`zones:
- {name: example.com, file: example.zone}
- {name: secret.test, file: example.zone, query: [{key: peer}]}
- {name: gone.test, file: missing.zone}
- {name: kept.test, kind: store}
`))
	class := func(c uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.Question[0].Qclass = c } }
	opcode := func(o int) func(*dns.Msg) { return func(m *dns.Msg) { m.Opcode = o } }
	badCookie := func(m *dns.Msg) {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: 10, Data: []byte{1}})
	}
	badKey := func(m *dns.Msg) { m.SetTsig("peer.", dns.HmacSHA256, 300, time.Now().Add(-time.Hour).Unix()) }
	for _, tt := range []struct {
		what, name string
		qtype      uint16
		change     func(m *dns.Msg)
		want       string
	}{
		{"no zone of ours", "www.nowhere.test", dns.TypeA, nil, "REFUSED (20)"},
		{"not for this client", "www.secret.test", dns.TypeA, nil, "REFUSED (18)"},
		{"not loaded", "www.gone.test", dns.TypeA, nil, "SERVFAIL (14)"},
		{"another class", "www.example.com", dns.TypeA, class(dns.ClassHESIOD), "REFUSED (21)"},
		{"class CH", "version.bind", dns.TypeTXT, class(dns.ClassCHAOS), "REFUSED (21)"},
		{"a meta type", "www.example.com", dns.TypeTKEY, nil, "FORMERR (21)"},
		{"an opcode of nobody, without EDNS", "www.example.com", dns.TypeA, opcode(15), "NOTIMP"},
		{"transfer", "example.com", dns.TypeAXFR, nil, "REFUSED (18)"},
		{"transfer of what is not ours", "nowhere.test", dns.TypeAXFR, nil, "NOTAUTH (20)"},
		{"NOTIFY of a stranger", "example.com", dns.TypeSOA, opcode(dns.OpcodeNotify), "REFUSED (18)"},
		{"NOTIFY of what is not ours", "nowhere.test", dns.TypeSOA, opcode(dns.OpcodeNotify), "NOTAUTH (20)"},
		{"NOTIFY of something else", "example.com", dns.TypeA, opcode(dns.OpcodeNotify), "FORMERR (0)"},
		{"update of a file", "example.com", dns.TypeSOA, opcode(dns.OpcodeUpdate), "REFUSED (21)"},
		{"update of what is not ours", "nowhere.test", dns.TypeSOA, opcode(dns.OpcodeUpdate), "NOTAUTH (20)"},
		{"update without a right", "kept.test", dns.TypeSOA, opcode(dns.OpcodeUpdate), "REFUSED (18)"},
		{"an old signature", "example.com", dns.TypeSOA, badKey, "NOTAUTH (18)"},
		{"a malformed option", "example.com", dns.TypeSOA, badCookie, "FORMERR (0)"},
	} {
		c := &dns.Client{Net: "tcp", Timeout: 10 * time.Second, TsigSecret: map[string]string{"peer.": testKeySecret}}
		m, _, err := c.Exchange(question(tt.name, tt.qtype, tt.change), n.DNS()[0].String())
		if m == nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		if got := dns.RcodeToString[m.Rcode] + edeOf(m); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
}
