package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
)

// level starts a node with a zone at an address of its own, so that each is found by the
// delegations above it.
func level(t *testing.T, address string, port uint16, zones, rest string) *Node {
	t.Helper()
	f := newFolder(t)
	files := map[string]string{}
	for _, part := range strings.Split(zones, "\n---\n") {
		name, text, _ := strings.Cut(part, "\n")
		files[name] = text
		f.write(name+"zone", text)
	}
	text := fmt.Sprintf("data: data\nlisten: {dns: [\"%s:%d\"], http: [\"127.0.0.1:0\"], admin: \"127.0.0.1:0\"}\n", address, port)
	f.write("hints", ". 60 NS root.test.\nroot.test. 60 A 127.0.0.11\n")
	n, _ := start(t, f.write("pharos.yaml", text+rest))
	return n
}

// TestServersFound: by way of its own resolver a node finds the servers of the parent, and
// asks them for DS; and those that its NS records name, inside the zone and elsewhere. A
// rollover does not go on before the one that stands behind shows the step.
func TestServersFound(t *testing.T) {
	at, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	port, off := at.Port(), "resolver: {allow: []}\n"
	level(t, "127.0.0.11", port, ".\n$TTL 60\n@ SOA root.test. h. 1 1h 15m 1w 60\n@ NS root.test.\ncom NS ns.com.\nns.com. A 127.0.0.12\ntest NS ns.test.\nns.test. A 127.0.0.12\n", off+"zones: [{name: ., file: .zone}]\n")
	ds := "example DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000\n"
	level(t, "127.0.0.12", port, "com.\n$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 127.0.0.12\nexample NS ns1.example\nns1.example A 127.0.0.13\n"+ds+
		"\n---\ntest.\n$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 127.0.0.12\nfar A 127.0.0.15\n", off+"zones: [{name: com, file: com.zone}, {name: test, file: test.zone}]\n")
	const zone13 = "example.com.\n$TTL 1\n@ SOA ns1 h 1 1h 15m 1w 1\n@ NS ns1\n@ NS ns2\n@ NS far.test.\nns1 A 127.0.0.13\nns2 A 127.0.0.14\n"
	resolving := fmt.Sprintf("resolver: {allow: [127.0.0.0/8], rootHints: hints, port: %d, validate: false, timeout: 20s}\n", port)
	child := level(t, "127.0.0.13", port, zone13,
		resolving+
			"dnssec: {policies: [{name: test, watch: all, parentInterval: 1s, parentTTL: 0s, parentPropagation: 0s, propagation: 0s, safety: 0s, keyTTL: 1s}]}\n"+
			"zones: [{name: example.com, file: example.com.zone, dnssec: test, transfer: [{network: 127.0.0.0/8}]}]\n")
	name := dnsname.MustParse("example.com.")
	eventually(t, func() string {
		if st, _ := child.signers.State(name); !st.Parent.Others {
			return fmt.Sprintf("the parent is not seen to show a foreign DS: %+v, %s", st.Parent, st.ParentProblem)
		}
		return ""
	})
	watched := func(n *Node) string {
		var asked []string
		for _, s := range n.keeping.serversOf(context.Background(), name) {
			asked = append(asked, s.Address)
		}
		slices.Sort(asked[1:])
		return fmt.Sprint(asked)
	}
	if got, want := watched(child), fmt.Sprintf("[this node 127.0.0.14:%d 127.0.0.15:%[1]d]", port); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	for rules, want := range map[string]string{ // without watch: those of the NS records that may have the zone
		`[{network: 127.0.0.14/32}]`: fmt.Sprintf("[this node 127.0.0.14:%d]", port),
		`[{network: 192.0.2.0/24}]`:  "[this node]",
		`[{key: transfer-key}]`:      fmt.Sprintf("[this node 127.0.0.14:%d 127.0.0.15:%[1]d]", port),
		`[]`:                         "[this node]",
	} {
		n := level(t, "127.0.0.13", 0, zone13, fmt.Sprintf("keys: [{name: transfer-key, secret: \"%s\"}]\n", peerKey.Secret)+resolving+
			"dnssec: {policies: [{name: test, parent: [\"127.0.0.1:1\"]}]}\n"+
			"zones: [{name: example.com, file: example.com.zone, dnssec: test, transfer: "+rules+"}]\n")
		if got := watched(n); got != want {
			t.Errorf("with transfer %s: asked %s, want %s", rules, got, want)
		}
	}
	eventually(t, func() string { return child.hasProblem(problems.ServersBehind) })
	secondary := func(address string) {
		level(t, address, port, "", off+fmt.Sprintf("zones: [{name: example.com, kind: secondary, primaries: [{address: \"127.0.0.13:%d\"}]}]\n", port))
	}
	secondary("127.0.0.14")
	if st, _ := child.signers.State(name); st.Waiting == 0 {
		t.Error("no step waits for the server that stands behind")
	}
	secondary("127.0.0.15")
	patiently(t, func() string {
		if st, _ := child.signers.State(name); st.Waiting != 0 {
			return fmt.Sprintf("generation %d waits: %+v", st.Waiting, st.Servers)
		}
		return ""
	})
	if got := ask(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.15"), port), "example.com.", rdata.TypeDNSKEY, false); len(got.Answer) == 0 {
		t.Errorf("the secondary has no keys: %s", summary(got))
	}
}
