package node

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/telemetry"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

const policyHead = "$TTL 60\n@ SOA localhost. host. %d 3600 900 86400 30\n@ NS localhost.\n"

// policyText is a policy zone with some rules.
func policyText(serial int, rules string) string { return fmt.Sprintf(policyHead, serial) + rules }

// internetNode serves the names that are to be resolved, and returns the route to it.
func internetNode(t *testing.T) string {
	f := newFolder(t)
	f.write("inet.zone", `$TTL 1h
@     SOA ns host 1 1h 15m 1w 1h
@     NS  ns
ns    A   127.0.0.1
www   A   192.0.2.77
other A   192.0.2.78
bad   A   192.0.2.66
inside A  10.1.2.3
alias CNAME www
tobad CNAME bad
`)
	f.write("rev.zone", "$TTL 1h\n@ SOA ns.inet.example. host 1 1h 15m 1w 1h\n@ NS ns.inet.example.\n77 PTR www.inet.example.\n")
	owner, _ := start(t, f.config("resolver: {allow: []}\nzones: [{name: inet.example, file: inet.zone}, {name: 2.0.192.in-addr.arpa, file: rev.zone}]\n"))
	server := owner.DNS()[0]
	return fmt.Sprintf("routes: [{zone: inet.example, kind: stub, servers: [\"%s\"], validate: false}, {zone: 2.0.192.in-addr.arpa, kind: stub, servers: [\"%s\"], validate: false}, {zone: ., servers: [\"127.0.0.1:1\"], validate: false}]", server, server)
}

// brief is summary with the extended error.
func brief(m *dnswire.Message) string {
	s := m.Rcode.String()
	if m.TC {
		s += " TC"
	}
	for _, r := range m.Answer {
		s += " " + r.Type.String() + " " + strings.Join(strings.Fields(r.String())[4:], " ")
	}
	for _, e := range m.EDE {
		s += fmt.Sprintf(" EDE%d", e.Code)
	}
	return s
}

// asked is a dialogue: "name type" and what is answered.
type asked struct{ question, want string }

func dialogue(t *testing.T, server netip.AddrPort, lines []asked) {
	t.Helper()
	for _, l := range lines {
		name, word, _ := strings.Cut(l.question, " ")
		qtype, ok := rdata.ParseType(word)
		if !ok {
			t.Fatal(l.question)
		}
		for _, when := range []string{"at first", "again"} { // again, from what lies ready
			if got := brief(ask(t, server, name, qtype, true)); got != l.want {
				t.Errorf("%s, %s: got %s, want %s", l.question, when, got, l.want)
			}
		}
	}
}

// TestPolicyZone: rules of a policy zone from a file, at once when it changes; of a bad
// version the last good one stays, and all else is resolved.
func TestPolicyZone(t *testing.T) {
	route := internetNode(t)
	f := newFolder(t)
	f.write("rpz.zone", policyText(1, `
bad.inet.example CNAME .
walled.example   CNAME page.garden.example.
local.example    A 192.0.2.99
tcp.example      CNAME rpz-tcp-only.
drop.example     CNAME rpz-drop.
32.78.2.0.192.rpz-ip CNAME *.
99.1.2.3.4.rpz-ip CNAME .
`))
	f.write("garden.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.1\npage A 192.0.2.80\n")
	n, _ := start(t, f.config(fmt.Sprintf("resolver: {%s, policies: [{zone: rpz.example}]}\nzones: [{name: rpz.example, file: rpz.zone}, {name: garden.example, file: garden.zone}]\n", route)))
	server := n.DNS()[0]
	dialogue(t, server, []asked{
		{"www.inet.example. A", "NOERROR A 192.0.2.77"},
		{"alias.inet.example. A", "NOERROR CNAME www.inet.example. A 192.0.2.77"},
		{"bad.inet.example. A", "NXDOMAIN EDE15"},
		{"tobad.inet.example. A", "NXDOMAIN CNAME bad.inet.example. EDE15"},
		{"other.inet.example. A", "NOERROR EDE15"},
		{"local.example. A", "NOERROR A 192.0.2.99 EDE4"},
		{"walled.example. A", "NOERROR CNAME page.garden.example. A 192.0.2.80 EDE4"},
		{"tcp.example. A", "NOERROR TC"},
		{"bad.inet.example.rpz.example. A", "REFUSED EDE18"},
		{"rpz.example. SOA", "REFUSED EDE18"},
	})
	if got := brief(ask(t, server, "other.inet.example.", rdata.TypeA, false)); got != "NOERROR EDE15" {
		t.Errorf("from the cache, RD=0: %s", got)
	}
	isDropped(t, server, "drop.example.")
	if !hasProblem(n, problems.PolicyWarning, "99.1.2.3.4.rpz-ip") {
		t.Errorf("an owner name that is no trigger is not told of: %v", n.problems.All())
	}

	var report strings.Builder
	if err := Check(filepath.Join(f.path, "pharos.yaml"), &report); err != nil || !strings.Contains(report.String(), "99.1.2.3.4.rpz-ip") {
		t.Errorf("check: %v, %s", err, &report)
	}

	f.write("rpz.zone", policyText(2, "www.inet.example CNAME .\n32.66.2.0.192.rpz-ip A 192.0.2.67\n"))
	mustReload(t, n)
	dialogue(t, server, []asked{
		{"www.inet.example. A", "NXDOMAIN EDE15"},
		{"alias.inet.example. A", "NXDOMAIN CNAME www.inet.example. EDE15"},
		{"other.inet.example. A", "NOERROR A 192.0.2.78"},
		{"bad.inet.example. A", "NOERROR A 192.0.2.67 EDE4"},
	})
	if hasProblem(n, problems.PolicyWarning, "") {
		t.Error("what is mended is still told of")
	}

	f.write("rpz.zone", policyText(3, "www.inet.example CNAME\n"))
	n.reload()
	dialogue(t, server, []asked{
		{"www.inet.example. A", "NXDOMAIN EDE15"},
		{"other.inet.example. A", "NOERROR A 192.0.2.78"},
	})
	if !hasProblem(n, problems.ZoneRefused, "rpz.example") {
		t.Errorf("a bad policy zone is not told of: %v", n.problems.All())
	}
	if got := policyHits(n, "nxdomain"); got < 10 {
		t.Errorf("%v answers NXDOMAIN were counted, want at least 10", got)
	}
}

// isDropped asks for name and then for something else, which must be answered first.
func isDropped(t *testing.T, server netip.AddrPort, name string) {
	t.Helper()
	conn, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	id := uint16(rand.Uint32())
	for i, question := range []string{name, "localhost."} {
		spec := dnswire.QuerySpec{ID: id + uint16(i), Name: dnsname.MustParse(question), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true}
		if _, err := conn.Write(dnswire.AppendQuery(nil, spec)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 4096)
	size, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := dnswire.ParseMessage(buf[:size]); err != nil || m.ID != id+1 {
		t.Errorf("%s is answered: %v %v", name, m, err)
	}
}

func mustReload(t *testing.T, n *Node) {
	t.Helper()
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
}

func hasProblem(n *Node, c problems.Code, text string) bool {
	return slices.ContainsFunc(n.problems.All(), func(p api.Problem) bool { return p.Code == string(c) && strings.Contains(p.Text, text) })
}

func policyHits(n *Node, action string) (sum float64) {
	n.sampleRules(func(s telemetry.Sample) {
		if slices.Contains(s.Labels, action) {
			sum += s.Value
		}
	})
	return sum
}

// TestPolicyTransferred: a policy zone comes from another server by AXFR and IXFR, signed
// with TSIG, and holds from the moment it is there.
func TestPolicyTransferred(t *testing.T) {
	route := internetNode(t)
	const key = "keys: [{name: feed, algorithm: hmac-sha256, secret: \"c2VjcmV0IG9mIHRoZSBmZWVkLCBsb25nIGVub3VnaA==\"}]\n"
	g := newFolder(t)
	g.write("rpz.zone", policyText(1, "www.inet.example CNAME .\n"))
	port := freePort(t)
	feed, _ := start(t, g.config(key+fmt.Sprintf("resolver: {allow: []}\nzones: [{name: rpz.example, file: rpz.zone, transfer: [{key: feed}], notify: [{address: \"%s\", key: feed}]}]\n", port)))

	f := newFolder(t)
	n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf("data: data\nlisten: {dns: [\"%s\"], admin: \"127.0.0.1:0\"}\n%sresolver: {%s, policies: [{zone: rpz.example, extendedError: filtered}]}\nzones: [{name: rpz.example, kind: secondary, primaries: [{address: \"%s\", key: feed}]}]\n", port, key, route, feed.DNS()[0])))
	server := n.DNS()[0]
	answers := func(want string) func() string {
		return func() string {
			if got := brief(ask(t, server, "www.inet.example.", rdata.TypeA, true)); got != want {
				return "got " + got + ", want " + want
			}
			return ""
		}
	}
	eventually(t, answers("NXDOMAIN EDE17"))
	if hasProblem(n, problems.PolicyAbsent, "") {
		t.Error("the zone is there, and said to be absent")
	}
	g.write("rpz.zone", policyText(2, "other.inet.example CNAME .\n"))
	mustReload(t, feed)
	eventually(t, answers("NOERROR A 192.0.2.77"))
	if got := brief(ask(t, server, "other.inet.example.", rdata.TypeA, true)); got != "NXDOMAIN EDE17" {
		t.Errorf("after IXFR: %s", got)
	}
}

// TestPolicyAbsent: a policy zone that has never come does not keep names from being
// resolved, and is told of.
func TestPolicyAbsent(t *testing.T) {
	route := internetNode(t)
	f := newFolder(t)
	n, _ := start(t, f.config(fmt.Sprintf("resolver: {%s, policies: [{zone: rpz.example}]}\nzones: [{name: rpz.example, kind: secondary, primaries: [{address: \"127.0.0.1:1\"}]}]\n", route)))
	dialogue(t, n.DNS()[0], []asked{{"www.inet.example. A", "NOERROR A 192.0.2.77"}})
	if !hasProblem(n, problems.PolicyAbsent, "rpz.example") {
		t.Errorf("not told of: %v", n.problems.All())
	}
}

// TestRewritingOfViews: each view has its own rules, or those outside of views.
func TestRewritingOfViews(t *testing.T) {
	route := internetNode(t)
	f := newFolder(t)
	f.write("rpz.zone", policyText(1, "www.inet.example CNAME .\n"))
	f.write("kids.zone", policyText(1, "other.inet.example CNAME .\n"))
	n, _ := start(t, f.config(fmt.Sprintf(`resolver: {%s, policies: [{zone: rpz.example}]}
dns: {clientSubnet: {trusted: ["127.0.0.1/32"]}}
zones: [{name: rpz.example, file: rpz.zone}]
views:
- {name: kids, clients: ["192.0.2.0/24"], recursion: "on", resolver: {policies: [{zone: kids.example}, {zone: rpz.example}], hideTypes: [AAAA]}, zones: [{name: kids.example, file: kids.zone}]}
- {name: free, clients: ["198.51.100.0/24"], recursion: "on", resolver: {inherit: false}}
`, route)))
	server := n.DNS()[0]
	for _, test := range []struct{ subnet, name, want string }{
		{"192.0.2.1/32", "other.inet.example", "NXDOMAIN"},
		{"192.0.2.1/32", "www.inet.example", "NXDOMAIN"},
		{"198.51.100.1/32", "www.inet.example", "NOERROR"},
		{"198.51.100.1/32", "other.inet.example", "NOERROR"},
		{"203.0.113.1/32", "www.inet.example", "NXDOMAIN"},
		{"203.0.113.1/32", "other.inet.example", "NOERROR"},
	} {
		if got := askFor(t, server, test.name, netip.MustParsePrefix(test.subnet)); got != test.want {
			t.Errorf("%s for %s: got %s, want %s", test.name, test.subnet, got, test.want)
		}
	}
	f.write("kids.zone", policyText(2, "nothing.example CNAME .\n"))
	mustReload(t, n)
	if got := askFor(t, server, "other.inet.example", netip.MustParsePrefix("192.0.2.1/32")); got != "NOERROR" {
		t.Errorf("after a change of the view's own policy zone: %s", got)
	}
}

// askFor asks as a trusted resolver for one of its clients, and returns the RCODE.
func askFor(t *testing.T, server netip.AddrPort, name string, subnet netip.Prefix) string {
	t.Helper()
	option := []byte{0, 8, 0, 8, 0, 1, byte(subnet.Bits()), 0}
	option = append(option, subnet.Addr().AsSlice()...)
	m := dnswire.Message{ID: uint16(rand.Uint32()), RD: true, HasQuestion: true, Question: dnswire.Question{Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN}}
	m.EDNS.Present, m.EDNS.UDPSize, m.EDNS.Options = true, 1232, option
	conn, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(m.Append(nil)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	size, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := dnswire.ParseMessage(buf[:size])
	if err != nil {
		t.Fatal(err)
	}
	return answer.Rcode.String()
}

// TestLocalRewriting: local data, DNS64, hidden types and protection against rebinding,
// together in one node.
func TestLocalRewriting(t *testing.T) {
	route := internetNode(t)
	f := newFolder(t)
	hosts := f.write("hosts", "192.0.2.50 printer.lan printer.home.arpa\n0.0.0.0 ads.inet.example\n")
	n, _ := start(t, f.config(fmt.Sprintf(`resolver:
  %s
  localData: {records: ["nas.lan 60 A 192.0.2.51", "nick.lan CNAME www.inet.example."], hosts: [hosts], zones: [{name: lan}, {name: closed.example, kind: refuse}]}
  rebinding: {protect: true, private: ["10.0.0.0/8"]}
  dns64: {prefixes: ["64:ff9b::/96"]}
  hideTypes: [HTTPS]
`, strings.Replace(route, "routes:", "routes:", 1))))
	server := n.DNS()[0]
	dialogue(t, server, []asked{
		{"printer.lan. A", "NOERROR A 192.0.2.50"},
		{"printer.home.arpa. A", "NOERROR A 192.0.2.50"},
		{"50.2.0.192.in-addr.arpa. PTR", "NOERROR PTR printer.lan."},
		{"nas.lan. A", "NOERROR A 192.0.2.51"},
		{"nick.lan. A", "NOERROR CNAME www.inet.example. A 192.0.2.77"},
		{"none.lan. A", "NXDOMAIN"},
		{"x.closed.example. A", "REFUSED"},
		{"ads.inet.example. A", "NOERROR A 0.0.0.0"},
		{"www.inet.example. HTTPS", "NOERROR EDE17"},
		{"www.inet.example. AAAA", "NOERROR AAAA 64:ff9b::c000:24d"},
		{"alias.inet.example. AAAA", "NOERROR CNAME www.inet.example. AAAA 64:ff9b::c000:24d"},
		{"ipv4only.arpa. AAAA", "NOERROR AAAA 64:ff9b::c000:aa AAAA 64:ff9b::c000:ab"},
		{"d.4.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa. PTR", "NOERROR PTR www.inet.example."},
		{"inside.inet.example. A", "NOERROR A 10.1.2.3"}, // its route leads inside
	})
	f.write("hosts", "192.0.2.60 printer.lan\nnonsense\n")
	if !n.current.Load().hostsChanged() {
		t.Error("a changed hosts file is not seen")
	}
	mustReload(t, n)
	dialogue(t, server, []asked{
		{"printer.lan. A", "NOERROR A 192.0.2.60"},
		{"ads.inet.example. A", "NXDOMAIN"},
	})
	if !hasProblem(n, problems.LocalDataWarning, "line 2") {
		t.Errorf("a line that cannot be read: %v in %s", n.problems.All(), hosts)
	}
}
