package node

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
	"pharos/lab/peers"
	"pharos/lab/tools"
	"pharos/lab/zonetest"
)

// realRoot returns the root zone of August 2026 without its signatures.
func realRoot(t *testing.T) string {
	t.Helper()
	shared := os.Getenv("PHAROS_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	f, err := os.Open(filepath.Join(shared, "data", "root-2026-08-22-unsigned.zone.gz"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the shared root zone is not there")
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _, err := bufio.NewReader(z).WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// rootResolver starts a node that resolves with a copy of the root zone from primary,
// and without any server of the root that answers.
func rootResolver(t *testing.T, f folder, anchor string, primary netip.AddrPort) (*Node, func()) {
	t.Helper()
	f.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.99\n") // nobody is there
	return start(t, f.config(fmt.Sprintf("resolver: {allow: [\"127.0.0.0/8\"], specialNames: false, rootHints: hints, port: %d, timeout: 2s, trustAnchors: [%q], localRoot: {primaries: [{address: %q}]}}\n",
		primary.Port(), anchor, primary)))
}

func rootAnswer(t *testing.T, n *Node, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, true), n.DNS()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLocalRoot: the whole root zone of 2026, signed anew, from NSD: DS records and denials
// come from the copy, validated, without a packet to anybody; over a restart too, with
// NSD gone.
func TestLocalRoot(t *testing.T) {
	tools.Need(t, "nsd")
	signed := zonetest.Sign(t, ".", realRoot(t), zonetest.Signing{ZONEMD: []uint8{zonemd.SHA384}})
	text, anchor := signed.Text, signed.DS
	address, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	nsd, err := peers.Start(t.Context(), peers.NSD, peers.Options{Address: address, Folder: t.TempDir(), Zones: []peers.Zone{{Name: ".", Text: text}}})
	if err != nil {
		t.Fatal(err)
	}
	defer nsd.Stop()
	f := newFolder(t)
	n, stop := rootResolver(t, f, anchor, address)
	used := func(n *Node) func() string {
		return func() string {
			if r := n.newResolverDesk().TrustAnchors().LocalRoot; r == nil || !r.Used {
				return fmt.Sprintf("no copy: %+v\n%s", r, nsd.Log())
			}
			return ""
		}
	}
	eventually(t, used(n))
	check := func(n *Node, when string) {
		t.Helper()
		for _, name := range []string{"com.", "de.", "arpa.", "xn--p1ai."} {
			if m := rootAnswer(t, n, name, dns.TypeDS); m.Rcode != dns.RcodeSuccess || !m.AuthenticatedData || len(m.Answer) < 2 {
				t.Errorf("%s: DS of %s: %v", when, name, m)
			}
		}
		if m := rootAnswer(t, n, "no-such-tld.", dns.TypeA); m.Rcode != dns.RcodeNameError || !m.AuthenticatedData {
			t.Errorf("%s: %v", when, m)
		}
		if c, _, _ := n.resolver.Counters(); c.Timeouts > 0 {
			t.Errorf("%s: somebody was waited for: %+v", when, c)
		}
	}
	eventually(t, func() string { // that the keys could not be had before there was a copy is remembered for seconds
		if m := rootAnswer(t, n, "com.", dns.TypeDS); !m.AuthenticatedData {
			return m.String()
		}
		return ""
	})
	check(n, "from NSD")
	stop()
	nsd.Stop()
	n, _ = rootResolver(t, f, anchor, address)
	if problem := used(n)(); problem != "" {
		t.Fatal(problem)
	}
	check(n, "after a restart, without NSD")
}

// TestLocalRootRefused: a zone that is not the one that was signed is not used; the root's
// servers are, and an operator is told.
func TestLocalRootRefused(t *testing.T) {
	signed := zonetest.Sign(t, ".", ". 1d SOA a.root. host.root. 1 1h 15m 1w 1h\n. NS a.root.\na.root. A 127.0.0.1\nzz. NS ns.zz.\nns.zz. A 127.0.0.1\n", zonetest.Signing{ZONEMD: []uint8{zonemd.SHA384}})
	good, anchor := signed.Text, signed.DS
	f := newFolder(t)
	f.write("root", strings.Replace(good, "ns.zz.\t300\tIN\tA\t127.0.0.1", "ns.zz.\t300\tIN\tA\t127.0.0.2", 1))
	if text, _ := os.ReadFile(filepath.Join(f.path, "root")); string(text) == good {
		t.Fatal("nothing was changed")
	}
	bad, _ := start(t, f.config(`zones: [{name: ., file: root, transfer: [{network: 127.0.0.0/8}], gate: {zonemd: "off"}}]`))
	g := newFolder(t)
	g.write("root", good)
	g.write("root.yaml", fmt.Sprintf("data: data\nlisten: {dns: [\"127.0.0.3:%d\"], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\nzones: [{name: ., file: root}]\n", bad.DNS()[0].Port()))
	start(t, filepath.Join(g.path, "root.yaml"))
	h := newFolder(t)
	h.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.3\n")
	n, _ := start(t, h.config(fmt.Sprintf("resolver: {allow: [\"127.0.0.0/8\"], specialNames: false, rootHints: hints, port: %d, trustAnchors: [%q], localRoot: {primaries: [{address: %q}]}}\n",
		bad.DNS()[0].Port(), anchor, bad.DNS()[0])))
	eventually(t, func() string {
		for _, p := range n.Status().Problems {
			if p.Code == string(problems.LocalRootFailed) && strings.Contains(p.Text, "digest") {
				return ""
			}
		}
		return fmt.Sprintf("nobody is told: %+v", n.Status().Problems)
	})
	if m := rootAnswer(t, n, "zz.", dns.TypeDS); m.Rcode != dns.RcodeSuccess || !m.AuthenticatedData {
		t.Errorf("from the root's servers: %v", m)
	}
	if a, err := n.Resolve(context.Background(), dnsname.MustParse("nothing."), rdata.TypeA); err != nil || a.Sent == 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestLocalRootFromFile: a copy from a file is used if it is signed and its digest fits,
// and read again when it changes; one that is not whole leaves the version before.
func TestLocalRootFromFile(t *testing.T) {
	signed := zonetest.Sign(t, ".", ". 1d SOA a.root. host.root. 1 1h 15m 1w 1h\n. NS a.root.\na.root. A 127.0.0.1\nzz. NS ns.zz.\nns.zz. A 127.0.0.1\n", zonetest.Signing{ZONEMD: []uint8{zonemd.SHA384}})
	good, anchor := signed.Text, signed.DS
	f := newFolder(t)
	f.write("root.zone", good)
	f.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.99\n") // nobody is there
	n, _ := start(t, f.config(fmt.Sprintf("resolver: {specialNames: false, rootHints: hints, port: 53, timeout: 2s, trustAnchors: [%q], localRoot: {file: root.zone}}\n", anchor)))
	if r := n.newResolverDesk().TrustAnchors().LocalRoot; r == nil || !r.Used || r.Serial != 1 || r.Problem != "" {
		t.Fatalf("the copy is %+v", r)
	}
	for _, name := range []string{"zz.", "nothing."} {
		if m := rootAnswer(t, n, name, dns.TypeDS); !m.AuthenticatedData {
			t.Errorf("DS of %s: %v", name, m)
		}
	}
	f.write("root.zone", strings.Replace(good, "ns.zz.\t300\tIN\tA\t127.0.0.1", "ns.zz.\t300\tIN\tA\t127.0.0.2", 1))
	eventually(t, func() string {
		if r := n.newResolverDesk().TrustAnchors().LocalRoot; !r.Used || !strings.Contains(r.Problem, "digest") {
			return fmt.Sprintf("a changed file: %+v", r)
		}
		return ""
	})
	f.write("root.zone", good)
	eventually(t, func() string {
		if r := n.newResolverDesk().TrustAnchors().LocalRoot; !r.Used || r.Problem != "" {
			return fmt.Sprintf("mended: %+v", r)
		}
		return ""
	})
}
