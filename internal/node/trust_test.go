package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/api"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/lab/zonetest"
)

// A damaged file of trust anchors is a problem, and no reason not to start: names are
// resolved by the anchors that counted before, or by the built-in ones.
func TestDamagedAnchors(t *testing.T) {
	f := newFolder(t)
	root := zonetest.Sign(t, ".", "$TTL 1d\n. SOA a.root. host.root. 1 1h 15m 1w 1h\n. NS a.root.\na.root. A 127.0.0.1\nwww.zz. A 192.0.2.1\n", zonetest.Signing{})
	f.write("root", root.Text)
	servers, _ := start(t, f.config("zones: [{name: ., file: root}]"))
	g := newFolder(t)
	g.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	g.write("own.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.1\n")
	config := g.config(fmt.Sprintf("resolver: {allow: [\"127.0.0.0/8\"], rootHints: hints, port: %d, trust: {file: anchors}}\nzones: [{name: own.zz, file: own.zone}]\n", servers.DNS()[0].Port()))
	for _, step := range []struct{ what, text, rcode, problem string }{
		{"damaged from the beginning", "garbage", "SERVFAIL", "the built-in trust anchors count"},
		{"mended", root.DS + "\n", "NOERROR", ""},
		{"damaged later", root.DS + "\ngarbage\n", "NOERROR", "those that counted before do so"},
	} {
		g.write("anchors", step.text)
		n, stop := start(t, config)
		ask(t, n.DNS()[0], "ns.own.zz", rdata.TypeA, true)
		if m := ask(t, n.DNS()[0], "www.zz", rdata.TypeA, true); m.Rcode.String() != step.rcode {
			t.Errorf("%s: %v %v, want %s", step.what, m.Rcode, m.EDE, step.rcode)
		}
		if got := problemsOf(n); (step.problem != "") != strings.Contains(got, "trust-damaged") || !strings.Contains(got, step.problem) {
			t.Errorf("%s: problems %s, want %q", step.what, got, step.problem)
		}
		eventually(t, func() string { // kept, for the next start
			if _, err := os.Stat(filepath.Join(g.path, "data", "trust", "trust-anchors.json")); err != nil {
				return err.Error()
			}
			return ""
		})
		stop()
	}
}

// TestTrust: anchors come from a file and are followed; a broken domain is let through
// for a while by a command, over a restart too, until the command takes it back.
func TestTrust(t *testing.T) {
	f := newFolder(t)
	child := "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.1\n"
	broken := zonetest.Sign(t, "broken.", child, zonetest.Signing{At: time.Now().AddDate(0, -3, 0)})
	f.write("broken", broken.Text)
	root := zonetest.Sign(t, ".", "$TTL 1d\n. SOA a.root. host.root. 1 1h 15m 1w 1h\n. NS a.root.\na.root. A 127.0.0.1\nbroken. NS ns.broken.\nns.broken. A 127.0.0.1\n"+broken.DS+"\n", zonetest.Signing{})
	f.write("root", root.Text)
	servers, _ := start(t, f.config("zones: [{name: ., file: root}, {name: broken, file: broken}]"))

	g := newFolder(t)
	g.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	g.write("anchors", "; the root's\n"+root.DS+"\n")
	config := g.config(fmt.Sprintf("resolver: {allow: [\"127.0.0.0/8\"], rootHints: hints, port: %d, trust: {file: anchors}}\n", servers.DNS()[0].Port()))
	n, stop := start(t, config)
	query := func(n *Node) *dns.Msg {
		t.Helper()
		m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion("www.broken.", dns.TypeA).SetEdns0(1232, true), n.DNS()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := query(n); m.Rcode != dns.RcodeServerFailure || !hasEDE(m, dnswire.EDESignatureExpired) {
		t.Errorf("at first: %v", m)
	}
	eventually(t, func() string {
		points := n.newResolverDesk().TrustAnchors().Points
		if len(points) == 1 && len(points[0].Keys) == 1 && points[0].Keys[0].State == "valid" && !points[0].Checked.IsZero() {
			return ""
		}
		return fmt.Sprintf("the root's key has not been seen: %+v", points)
	})
	if _, err := n.newResolverDesk().AddNegative(context.Background(), api.NegativeChange{Name: "broken", For: "200h"}); err == nil {
		t.Error("a negative trust anchor of 200 hours is taken")
	}
	if _, err := n.newResolverDesk().AddNegative(context.Background(), api.NegativeChange{Name: "broken", For: "2h", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	if m := query(n); m.Rcode != dns.RcodeSuccess || m.AuthenticatedData || !hasEDE(m, dnswire.EDENegativeTrustAnchor) {
		t.Errorf("let through: %v", m)
	}
	stop()
	n, stop = start(t, config)
	if m := query(n); m.Rcode != dns.RcodeSuccess {
		t.Errorf("after a restart: %v", m)
	}
	if list := n.newResolverDesk().TrustAnchors().Negative; len(list) != 1 || list[0].Reason != "a test" || list[0].Until.IsZero() {
		t.Errorf("%+v", list)
	}
	if _, err := n.newResolverDesk().RemoveNegative(context.Background(), "broken"); err != nil {
		t.Fatal(err)
	}
	if m := query(n); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("taken back: %v", m)
	}
	stop()
	if err := os.WriteFile(filepath.Join(g.path, "data", "trust", "trust-anchors.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, config)
	if m := query(n); m.Rcode != dns.RcodeServerFailure || !hasEDE(m, dnswire.EDESignatureExpired) {
		t.Errorf("with the states damaged: %v", m)
	}
}
