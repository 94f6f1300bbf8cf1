package node

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pharos/lab/tools"
	"pharos/lab/zonetest"
)

// fakeInternet serves a root, a TLD and a child, all signed, each from servers of its
// own, and returns the folder with root.hints and root.key.
func fakeInternet(t *testing.T) folder {
	f := newFolder(t)
	soa := func(mname string) string {
		return "@ 86400 SOA " + mname + " hostmaster.example.xa. 2026010101 14400 3600 1209600 3600\n"
	}
	level := func(file, origin, text string) zonetest.Signed {
		z := zonetest.Sign(t, origin, text, zonetest.Signing{Split: true})
		f.write(file, z.Text)
		return z
	}
	child := level("child.zone", "example.xa.", "$TTL 86400\n"+soa("ns1.example.xa.")+`
@ NS ns1
@ NS ns2
@ MX 10 mail
@ TXT "v=spf1 mx -all"
@ A 185.12.1.80
ns1 A 185.12.1.53
ns1 AAAA 2a10:1::53
ns2 A 91.199.2.53
ns2 AAAA 2a11:2::53
mail A 185.12.1.25
www CNAME @
*.wild A 185.12.1.81
`)
	tld := level("tld.zone", "xa.", "$TTL 86400\n"+soa("a.nic.xa.")+`
@ NS a.nic
@ NS b.nic
a.nic A 194.1.1.53
b.nic A 194.1.2.53
a.root-servers A 193.1.1.53
example NS ns1.example
example NS ns2.example
ns1.example A 185.12.1.53
ns1.example AAAA 2a10:1::53
ns2.example A 91.199.2.53
ns2.example AAAA 2a11:2::53
`+child.DS+"\n")
	root := level("root.zone", ".", "$TTL 86400\n"+soa("a.root-servers.xa.")+`
@ NS a.root-servers.xa.
a.root-servers.xa. A 193.1.1.53
xa. NS a.nic.xa.
xa. NS b.nic.xa.
a.nic.xa. A 194.1.1.53
b.nic.xa. A 194.1.2.53
`+tld.DS+"\n")
	f.write("root.hints", ". 3600000 IN NS a.root-servers.xa.\na.root-servers.xa. 3600000 IN A 193.1.1.53\n")
	f.write("root.key", root.DNSKEY+"\n")
	for _, level := range []struct{ file, name, listen string }{
		{"root.zone", ".", `"193.1.1.53:53"`},
		{"tld.zone", "xa.", `"194.1.1.53:53", "194.1.2.53:53"`},
		{"child.zone", "example.xa.", `"185.12.1.53:53", "91.199.2.53:53", "[2a10:1::53]:53", "[2a11:2::53]:53"`},
	} {
		config := f.write(level.file+".yaml", fmt.Sprintf("data: data-%s\nlisten: {dns: [%s], admin: \"127.0.0.1:0\"}\nstore: {enabled: false}\nresolver: {allow: []}\nzones: [{name: %q, file: %s}]\n",
			level.file, level.listen, level.name, level.file))
		start(t, config)
	}
	return f
}

// checkerNetwork has the addresses of the fake internet, and what looks like a way out:
// checkers ask whether there is one.
var checkerNetwork = []string{
	"route add default dev lo", "-6 route add default dev lo",
	"addr add 193.1.1.53/32 dev lo", "addr add 194.1.1.53/32 dev lo", "addr add 194.1.2.53/32 dev lo", "addr add 185.12.1.53/32 dev lo",
	"addr add 91.199.2.53/32 dev lo", "addr add 2a10:1::53/128 nodad dev lo", "addr add 2a11:2::53/128 nodad dev lo",
}

// TestZonemaster: zonemaster finds no error in a signed zone that is delegated from a
// root and a TLD of ours.
func TestZonemaster(t *testing.T) {
	tools.Need(t, "zonemaster-cli", "ip")
	if !tools.InOwnNetwork(t, checkerNetwork...) {
		return
	}
	f := fakeInternet(t)
	cmd := exec.CommandContext(t.Context(), "zonemaster-cli", "--json", "--level=INFO", "--no-progress", "--hints", filepath.Join(f.path, "root.hints"), "example.xa")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("zonemaster-cli: %v\n%s", err, out)
	}
	var results []struct {
		Level, Module, Testcase, Tag string
		Args                         map[string]any
	}
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	counts := map[string]int{}
	for _, r := range results {
		counts[r.Level]++
		switch r.Level {
		case "ERROR", "CRITICAL":
			t.Errorf("%s %s %s: %v", r.Level, r.Testcase, r.Tag, r.Args)
		case "WARNING":
			t.Logf("checked: warning %s %s: %v", r.Testcase, r.Tag, r.Args)
		}
	}
	if counts["INFO"] < 20 {
		t.Errorf("zonemaster has looked at next to nothing: %v\n%s", counts, out)
	}
	t.Logf("checked: zonemaster says %v", counts)
}

// TestDNSViz: dnsviz finds the chain of trust from the root to the zone whole.
func TestDNSViz(t *testing.T) {
	tools.Need(t, "dnsviz", "ip")
	if !tools.InOwnNetwork(t, checkerNetwork...) {
		return
	}
	f := fakeInternet(t)
	// Debian 12 has pygraphviz without the module that dnsviz asks for its version.
	f.write("sitecustomize.py", "import sys, types\nr = types.ModuleType('pygraphviz.release')\nr.version = '1.7'\nimport pygraphviz\nsys.modules['pygraphviz.release'] = pygraphviz.release = r\n")
	run := func(args string) []byte {
		cmd := exec.CommandContext(t.Context(), "dnsviz", strings.Fields(args)...)
		cmd.Dir, cmd.Stderr = f.path, os.Stderr
		cmd.Env = append(os.Environ(), "PYTHONPATH="+f.path)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("dnsviz %s: %v\n%s", args, err, out)
		}
		return out
	}
	run("probe -A -4 -a . -x .+:a.root-servers.xa=193.1.1.53 -R SOA,A,MX,NS -o probe.json example.xa")
	if wrong := run("grok -r probe.json -t root.key -l warning"); len(strings.TrimSpace(string(wrong))) > 0 {
		t.Errorf("dnsviz finds something wrong:\n%s", wrong)
	}
	whole := run("grok -r probe.json -t root.key -l info")
	text := string(whole)
	for _, name := range []string{`"xa."`, `"example.xa."`} {
		if !strings.Contains(text, name) {
			t.Errorf("dnsviz has not looked at %s:\n%s", name, text)
		}
	}
	if n := strings.Count(text, `"status": "SECURE"`); n < 2 {
		t.Errorf("dnsviz calls %d delegations secure, want those of the TLD and of the child:\n%s", n, text)
	}
	t.Logf("checked: dnsviz calls %d delegations and answers secure", strings.Count(text, `"status": "SECURE"`))
}
