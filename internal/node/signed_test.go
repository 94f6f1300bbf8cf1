package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pharos/lab/tools"
)

// signableZone has one of everything that a validator has to be convinced of.
const signableZone = `$TTL 1h
@        SOA   ns1 hostmaster 1 1h 15m 1w 5m
@        NS    ns1
ns1      A     127.0.0.1
www      A     192.0.2.1
alias    CNAME www
a.b.deep TXT   "below an empty non-terminal"
*.wild   A     192.0.2.2
*.alias2 CNAME x.wild
old      DNAME wild
secure   NS    ns.secure
secure   DS    1 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.secure A    127.0.0.1
insecure NS    ns.insecure
ns.insecure A  127.0.0.1
`

// runTool runs a program of another DNS server's tools in a folder.
func runTool(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tools.Path(t, name), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestValidators: delv, with the zone's key as trust anchor, finds every answer from
// a signed master file proved.
func TestValidators(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"NSEC", nil},
		{"NSEC3", []string{"-3", "-", "-H", "0"}},
		{"NSEC3 with opt-out", []string{"-3", "aabb", "-H", "3", "-A"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			file := f.write("example.zone", signableZone)
			key := strings.TrimSpace(runTool(t, f.path, "dnssec-keygen", "-q", "-a", "13", "-f", "KSK", "example.com"))
			runTool(t, f.path, "dnssec-signzone", append(append([]string{"-S", "-z", "-q"}, tt.args...), "-o", "example.com", "-f", file+".signed", file)...)
			n, _ := start(t, f.config(`zones: [{name: example.com, file: example.zone.signed}]`))
			v := validators{t: t, dir: f.path, port: fmt.Sprint(n.DNS()[0].Port()), key: key + ".key"}
			v.writeAnchor()
			optOut := strings.HasSuffix(tt.name, "opt-out")
			for question, want := range map[string]string{
				"example.com SOA": "fully validated", "www.example.com A": "fully validated", "alias.example.com A": "fully validated",
				"x.wild.example.com A": "fully validated", "a.b.wild.example.com A": "fully validated", "x.alias2.example.com A": "fully validated",
				"x.old.example.com A": "fully validated", "secure.example.com DS": "fully validated", "*.wild.example.com A": "fully validated",
				"www.example.com MX": "negative response, fully validated", "b.deep.example.com TXT": "negative response, fully validated",
				"x.wild.example.com MX": "negative response, fully validated", "insecure.example.com DS": "negative response, fully validated",
				"nothing.example.com A": "negative response, fully validated", "x.y.nothing.example.com A": "negative response, fully validated",
				"x.www.example.com A": "negative response, fully validated",
			} {
				if optOut && strings.HasSuffix(question, " A") && (strings.HasPrefix(question, "x.alias2") || strings.Contains(question, ".wild") && question[0] != '*') {
					want = "unsigned answer" // RFC 5155 §9.2: where a name may have been left out, an expansion is insecure
				}
				v.delv(question, want)
			}
		})
	}
}

// validators runs a validating tool against a node.
type validators struct {
	t              *testing.T
	dir, port, key string
}

// writeAnchor writes the zone's key as delv wants it.
func (v validators) writeAnchor() {
	v.t.Helper()
	text, err := os.ReadFile(filepath.Join(v.dir, v.key))
	if err != nil {
		v.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 6 && fields[2] == "DNSKEY" {
			anchor := fmt.Sprintf("trust-anchors { %s static-key %s %s %s %q; };\n", fields[0], fields[3], fields[4], fields[5], strings.Join(fields[6:], ""))
			if err := os.WriteFile(filepath.Join(v.dir, "anchor"), []byte(anchor), 0o600); err != nil {
				v.t.Fatal(err)
			}
			return
		}
	}
	v.t.Fatalf("no key in\n%s", text)
}

func (v validators) delv(question, want string) {
	v.t.Helper()
	name, qtype, _ := strings.Cut(question, " ")
	out := runTool(v.t, v.dir, "delv", "@127.0.0.1", "-p", v.port, "-a", "anchor", "+root=example.com", name, qtype)
	if !strings.Contains(out, "; "+want+"\n") {
		v.t.Errorf("delv %s: want %q, got\n%s", question, want, out)
	}
}
