package node

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
)

// TestRecursion: a resolver finds names from a root of our own; its own zones are
// answered by itself, and an alias that leaves them is followed.
func TestRecursion(t *testing.T) {
	f := newFolder(t)
	f.write("root.zone", `$TTL 1d
.        SOA a.root. host.root. 1 1h 15m 1w 1h
.        NS  a.root.
a.root.  A   127.0.0.1
test.    NS  ns.test.
ns.test. A   127.0.0.2
`)
	root, _ := start(t, f.config(`zones: [{name: ., file: root.zone}]`))
	port := root.DNS()[0].Port()

	g := newFolder(t)
	g.write("test.zone", `$TTL 1h
@         SOA ns host 1 1h 15m 1w 1h
@         NS  ns
ns        A   127.0.0.2
www.other A   192.0.2.200
`)
	start(t, g.write("pharos.yaml", fmt.Sprintf(`data: data
listen: {dns: ["127.0.0.2:%d"], admin: "127.0.0.1:0"}
resolver: {allow: []}
zones: [{name: test, file: test.zone}]
`, port)))

	k := newFolder(t)
	k.write("sub.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.3\nwww A 192.0.2.222\n")
	start(t, k.write("pharos.yaml", fmt.Sprintf(`data: data
listen: {dns: ["127.0.0.3:%d"], admin: "127.0.0.1:0"}
resolver: {allow: []}
zones: [{name: sub.example.com, file: sub.zone}]
`, port)))

	h := newFolder(t)
	h.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	h.write("example.zone", strings.ReplaceAll(exampleZone, "192.0.2.53", "127.0.0.3")+"deep CNAME www.sub\n")
	n, _ := start(t, h.config(fmt.Sprintf("resolver: {allow: [\"127.0.0.0/8\"], rootHints: hints, port: %d, validate: false}\nzones: [{name: example.com, file: example.zone}]\n", port)))
	server := n.DNS()[0]

	if got := summary(ask(t, server, "www.other.test.", rdata.TypeA, false)); got != "REFUSED" {
		t.Errorf("RD=0, nothing known: %s", got)
	}
	const want = "NOERROR www.other.test. 3600 IN A 192.0.2.200"
	if got := summary(ask(t, server, "www.other.test.", rdata.TypeA, true)); got != want {
		t.Errorf("recursive: got %s, want %s", got, want)
	}
	for range 2 { // the second time it is ready on the loop
		if got := summary(ask(t, server, "www.other.test.", rdata.TypeA, true)); !strings.HasSuffix(got, "192.0.2.200") {
			t.Errorf("cached: %s", got)
		}
	}
	if got := summary(ask(t, server, "www.other.test.", rdata.TypeA, false)); !strings.HasSuffix(got, "192.0.2.200") {
		t.Errorf("RD=0, in the cache: %s", got)
	}
	if m := ask(t, server, "other.name.test.", rdata.TypeA, false); len(m.Authority) == 0 || m.Authority[0].Type != rdata.TypeNS {
		t.Errorf("RD=0, below a known zone cut: %s with %v, want a referral", summary(m), m.Authority)
	}
	if got := summary(ask(t, server, "nx.test.", rdata.TypeA, true)); got != "NXDOMAIN" {
		t.Errorf("negative: %s", got)
	}
	got := summary(ask(t, server, "away.example.com.", rdata.TypeA, true))
	if !strings.Contains(got, "CNAME www.other.test.") || !strings.HasSuffix(got, "192.0.2.200") {
		t.Errorf("alias out of our zone: %s", got)
	}
	// What our zone delegates is found from our zone, though the root knows nothing of it.
	if got := summary(ask(t, server, "www.sub.example.com.", rdata.TypeA, true)); !strings.HasSuffix(got, "192.0.2.222") {
		t.Errorf("below our delegation: %s", got)
	}
	if got := summary(ask(t, server, "deep.example.com.", rdata.TypeA, true)); !strings.Contains(got, "CNAME www.sub") || !strings.HasSuffix(got, "192.0.2.222") {
		t.Errorf("alias below our delegation: %s", got)
	}
	if got := summary(ask(t, server, "www.example.com.", rdata.TypeA, true)); !strings.HasSuffix(got, "192.0.2.1") {
		t.Errorf("own zone: %s", got)
	}
	stranger := n.current.Load().recursion.Allows(netip.MustParseAddr("192.0.2.9"))
	if stranger {
		t.Error("a stranger may use the resolver")
	}
}

// TestRoutes: a node forwards to another one, which knows a private zone by a stub.
func TestRoutes(t *testing.T) {
	f := newFolder(t)
	f.write("corp.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.77\nalias CNAME www\n")
	owner, _ := start(t, f.config("resolver: {allow: []}\nzones: [{name: corp.test, file: corp.zone}]\n"))

	g := newFolder(t)
	middle, _ := start(t, g.config(fmt.Sprintf("resolver: {specialNames: false, routes: [{zone: \".\", kind: stub, servers: [\"127.0.0.1:1\"], validate: false}, {zone: corp.test, kind: stub, servers: [\"%s\"], validate: false}]}\n", owner.DNS()[0])))

	h := newFolder(t)
	n, _ := start(t, h.config(fmt.Sprintf("resolver: {specialNames: false, routes: [{zone: \".\", servers: [\"%s\"], validate: false}]}\n", middle.DNS()[0])))
	server := n.DNS()[0]
	if got := summary(ask(t, server, "www.corp.test.", rdata.TypeA, true)); !strings.HasSuffix(got, "192.0.2.77") {
		t.Errorf("by forwarder and stub: %s", got)
	}
	if got := summary(ask(t, server, "alias.corp.test.", rdata.TypeA, true)); !strings.Contains(got, "CNAME www") || !strings.HasSuffix(got, "192.0.2.77") {
		t.Errorf("alias by forwarder and stub: %s", got)
	}
	if got := summary(ask(t, server, "none.corp.test.", rdata.TypeA, true)); got != "NXDOMAIN" {
		t.Errorf("no such name: %s", got)
	}
	if got := summary(ask(t, server, "elsewhere.test.", rdata.TypeA, true)); got != "SERVFAIL" {
		t.Errorf("a route to a server that is not there: %s", got)
	}
}

// TestSpecialNames: nobody is asked about names of special use (RFC 6761), unless a
// zone or a route says otherwise; strangers are refused as for any other name.
func TestSpecialNames(t *testing.T) {
	f := newFolder(t)
	f.write("ten.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\n1.0.0 PTR www.example.com.\n")
	// A route for all names to a server that is not there: who asks it fails.
	const config = "resolver: {allow: [\"127.0.0.0/8\"], routes: [{zone: ., servers: [\"127.0.0.1:1\"]}, {zone: corp.test, servers: [\"127.0.0.1:1\"]}]}\nzones: [{name: 10.in-addr.arpa, file: ten.zone}]\n"
	n, _ := start(t, f.config(config))
	server := n.DNS()[0]
	for _, test := range []struct {
		name  string
		qtype rdata.Type
		want  string
	}{
		{"localhost.", rdata.TypeA, "NOERROR localhost. 10800 IN A 127.0.0.1"},
		{"some.name.localhost.", rdata.TypeAAAA, "NOERROR some.name.localhost. 10800 IN AAAA ::1"},
		{"localhost.", rdata.TypeMX, "NOERROR"},
		{"www.test.", rdata.TypeA, "NXDOMAIN"},
		{"abc.onion.", rdata.TypeA, "NXDOMAIN"},
		{"1.2.20.172.in-addr.arpa.", rdata.TypePTR, "NXDOMAIN"},
		{"1.2.15.172.in-addr.arpa.", rdata.TypePTR, "SERVFAIL"}, // a public address
		{"4.3.127.100.in-addr.arpa.", rdata.TypePTR, "NXDOMAIN"},
		{"1.0.0.10.in-addr.arpa.", rdata.TypePTR, "NOERROR 1.0.0.10.in-addr.arpa. 3600 IN PTR www.example.com."},
		{"www.corp.test.", rdata.TypeA, "SERVFAIL"}, // its route
	} {
		m := ask(t, server, test.name, test.qtype, true)
		if got := summary(m); got != test.want {
			t.Errorf("%s %s: got %s, want %s", test.name, test.qtype, got, test.want)
		}
		if test.want == "NXDOMAIN" && (len(m.Authority) != 1 || m.Authority[0].Type != rdata.TypeSOA) {
			t.Errorf("%s: authority %v, want the SOA record that lets it be cached", test.name, m.Authority)
		}
	}
	g := newFolder(t)
	closed, _ := start(t, g.config("resolver: {allow: []}\n"))
	if got := summary(ask(t, closed.DNS()[0], "localhost.", rdata.TypeA, true)); got != "REFUSED" {
		t.Errorf("a stranger asks for localhost: %s", got)
	}
}
