package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/admin/config"
	"pharos/internal/dns/rdata"
	"pharos/lab/zonetest"
)

// footingWorld is a signed root with www.zz, and the folder of a resolver that begins there
// with the files hints and anchors.
func footingWorld(t *testing.T, names ...string) (servers *Node, ds string, f folder) {
	t.Helper()
	g := newFolder(t)
	text := "$TTL 1d\n. SOA a.root. host.root. 1 1h 15m 1w 1h\n. NS a.root.\na.root. A 127.0.0.1\n"
	for _, name := range names {
		text += name + " A 192.0.2.1\n"
	}
	root := zonetest.Sign(t, ".", text, zonetest.Signing{})
	g.write("root", root.Text)
	servers, _ = start(t, g.config("zones: [{name: ., file: root}]"))
	f = newFolder(t)
	f.write("own.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.1\n")
	return servers, root.DS, f
}

func footingConfig(f folder, servers *Node, more string) string {
	return f.config(fmt.Sprintf("resolver: {allow: [\"127.0.0.0/8\"], rootHints: hints, port: %d%s}\nzones: [{name: own.zz, file: own.zone}]\n", servers.DNS()[0].Port(), more))
}

// rcode asks whether a name resolves, and how.
func rcode(t *testing.T, at netip.AddrPort, name string) string {
	t.Helper()
	return ask(t, at, name, rdata.TypeA, true).Rcode.String()
}

// A file of hints that cannot be read is a problem and no reason not to start: zones of
// ours and of routes resolve, and the Internet's root is not asked in place of another.
// When it is mended that is noticed; damaged later, it takes nothing away.
func TestDamagedHints(t *testing.T) {
	servers, ds, f := footingWorld(t, "www.zz.")
	f.write("anchors", ds+"\n")
	route := fmt.Sprintf(", trust: {file: anchors}, routes: [{zone: routed, servers: [\"%s\"], validate: false}]", servers.DNS()[0])
	configPath := footingConfig(f, servers, route)
	good := ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n"
	n, stop := start(t, configPath)
	check := func(what, want, problem string) {
		t.Helper()
		for name, want := range map[string]string{"ns.own.zz": "NOERROR", "x.routed": "NXDOMAIN", "www.zz": want} {
			if got := rcode(t, n.DNS()[0], name); got != want {
				t.Errorf("%s: %s is %s, want %s", what, name, got, want)
			}
		}
		if got := problemsOf(n); (problem != "") != strings.Contains(got, "root-hints-damaged") || !strings.Contains(got, problem) {
			t.Errorf("%s: problems %s, want %q", what, got, problem)
		}
	}
	reload := func() {
		t.Helper()
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
	}
	check("missing", "SERVFAIL", "only zones of ours")
	f.write("hints", "garbage\n")
	if !n.hints.HasChanged() {
		t.Error("that the file is there is not noticed")
	}
	reload()
	check("damaged", "SERVFAIL", "only zones of ours")
	f.write("hints", good)
	reload()
	check("mended", "NOERROR", "")
	f.write("hints", "; nobody\n")
	reload()
	check("damaged later", "NOERROR", "those that counted before")
	stop()
	n, _ = start(t, configPath)
	check("damaged, and started again", "NOERROR", "those that counted before")
}

// Another root's servers in the file are asked from then on, and nothing is left of what
// those before have said.
func TestHintsByReload(t *testing.T) {
	one, ds, f := footingWorld(t, "www.zz.")
	f.write("anchors", ds+"\n")
	f.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.2\n") // where nobody is
	path := footingConfig(f, one, ", trust: {file: anchors}, timeout: 1s")
	n, _ := start(t, path)
	if got := rcode(t, n.DNS()[0], "www.zz"); got != "SERVFAIL" {
		t.Errorf("%s from nobody", got)
	}
	f.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if got := rcode(t, n.DNS()[0], "www.zz"); got != "NOERROR" {
		t.Errorf("%s from the other root", got)
	}
}

// Trust anchors are taken from their file when it changes, and from the configuration: what
// was proven by those before is not believed any more. A damaged file takes nothing away.
func TestAnchorsByReload(t *testing.T) {
	servers, ds, f := footingWorld(t, "www.zz.", "ftp.zz.")
	f.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	other := strings.Replace(ds, " DS ", " DS ", 1)
	at := len(other) - 2
	other = other[:at] + map[bool]string{true: "00", false: "11"}[other[at:] != "00"] // of no key
	f.write("anchors", other+"\n")
	path := footingConfig(f, servers, ", trust: {file: anchors}")
	n, _ := start(t, path)
	for _, step := range []struct{ what, anchors, config, rcode, problem string }{
		{"of no key", other, "", "SERVFAIL", ""},
		{"the right one", ds, "", "NOERROR", ""},
		{"damaged", ds + "\ngarbage", "", "NOERROR", "those that counted before do so"},
		{"wrong again", other, "", "SERVFAIL", ""},
		{"in the configuration", other, fmt.Sprintf(", trustAnchors: [%q]", ds), "NOERROR", ""},
		{"wrong there", other, fmt.Sprintf(", trustAnchors: [%q]", other), "SERVFAIL", ""},
	} {
		f.write("anchors", step.anchors+"\n")
		if step.config != "" {
			footingConfig(f, servers, step.config)
		} else if !n.anchors.HasChanged() && step.what != "of no key" {
			t.Errorf("%s: that the file has changed is not noticed", step.what)
		}
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
		if got := rcode(t, n.DNS()[0], "www.zz"); got != step.rcode {
			t.Errorf("%s: %s, want %s", step.what, got, step.rcode)
		}
		if got := problemsOf(n); (step.problem != "") != strings.Contains(got, "trust-damaged") || !strings.Contains(got, step.problem) {
			t.Errorf("%s: problems %s, want %q", step.what, got, step.problem)
		}
	}
	if _, err := os.Stat(filepath.Join(f.path, "data", "trust", "trust-anchors.json")); err != nil {
		t.Error(err)
	}
	if _, err := config.Load(path); err != nil {
		t.Error(err)
	}
}
