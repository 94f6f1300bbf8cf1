package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pharos/internal/admin/problems"
	"pharos/internal/admin/versions"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// signedConfig is a zone that is signed by a policy; more are lines of it.
func signedConfig(policy string) string {
	return fmt.Sprintf("dnssec: {policies: [{name: test, parentTTL: 0s, parentPropagation: 0s, propagation: 0s, safety: 0s, keyTTL: 1s, %s}]}\nzones: [{name: example.com, file: example.com.zone, dnssec: test}]\n", policy)
}

var signedZone = "$TTL 1s\n" + strings.SplitN(signableZone, "\n", 2)[1]

func theZone(n *Node) *versions.Zone {
	return n.current.Load().apexes.Get(dnsname.MustParse("example.com.")).served
}

// isSigned returns "" when the zone example.com of n has signatures.
func isSigned(n *Node) string {
	z := theZone(n)
	if z.Zone == nil {
		return fmt.Sprintf("nothing is served: %v", z.Err)
	}
	if z.Zone.DenialType() == 0 {
		return fmt.Sprintf("serial %d is not signed; problems %v", z.Zone.Serial(), n.problems.All())
	}
	return ""
}

// TestPolicySigns: a zone with a policy is signed in the background, delv believes it
// by its key, and the validators of others find nothing wrong with a transfer.
func TestPolicySigns(t *testing.T) {
	for _, policy := range []string{"keys: csk", "keys: ksk-zsk, algorithm: ed25519, denial: nsec3", "denial: nsec3, nsec3: {optOut: true, iterations: 2, salt: aabb}, algorithm: rsasha256"} {
		t.Run(policy, func(t *testing.T) {
			f := newFolder(t)
			f.write("example.com.zone", signedZone)
			n, _ := start(t, f.config(signedConfig(policy)))
			eventually(t, func() string { return isSigned(n) })
			keys := ask(t, n.DNS()[0], "example.com.", rdata.TypeDNSKEY, false)
			anchor := ""
			for _, r := range keys.Answer {
				if r.Type == rdata.TypeDNSKEY && r.Data[1] == 1 {
					text := strings.Fields(r.String())
					anchor = fmt.Sprintf("trust-anchors { example.com. static-key %s %s %s \"%s\"; };\n", text[4], text[5], text[6], strings.Join(text[7:], ""))
				}
			}
			f.write("anchor", anchor)
			for _, q := range []struct{ name, qtype, want string }{
				{"www.example.com", "A", "; fully validated"}, {"none.example.com", "A", "; negative response, fully validated"},
				{"x.wild.example.com", "A", "; fully validated"}, {"b.deep.example.com", "A", "; negative response, fully validated"},
				{"x.old.example.com", "A", "; fully validated"}, {"example.com", "SOA", "; fully validated"},
			} {
				if strings.Contains(policy, "optOut") && strings.HasPrefix(q.name, "x.wild") {
					q.want = "; unsigned answer" // RFC 5155 §9.2: a name may have been left out
				}
				out := runTool(t, f.path, "delv", "@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port()), "-a", "anchor", "+root=example.com", q.name, q.qtype)
				if !strings.Contains(out, q.want) {
					t.Errorf("%s %s: want %q, got\n%s", q.name, q.qtype, q.want, out)
				}
			}
			verifyZone(t, f, n, !strings.Contains(policy, "ksk-zsk"))
		})
	}
}

// verifyZone has the tools of others look at the whole zone.
func verifyZone(t *testing.T, f folder, n *Node, single bool) {
	t.Helper()
	bind := []string{"dnssec-verify", "-q", "-o", "example.com", "signed.zone"}
	if single {
		bind = slices.Insert(bind, 1, "-z")
	}
	z := theZone(n).Zone
	var text strings.Builder
	for r := range z.Records() {
		text.WriteString(r.String() + "\n")
	}
	f.write("signed.zone", text.String())
	for _, tool := range [][]string{
		{"ldns-verify-zone", "signed.zone"}, {"kzonecheck", "-o", "example.com", "signed.zone"}, bind,
	} {
		path, err := exec.LookPath(tool[0])
		if err != nil {
			t.Logf("%s is not installed", tool[0])
			continue
		}
		cmd := exec.Command(path, tool[1:]...)
		cmd.Dir = f.path
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", tool, err, out)
		}
	}
}

// TestRestartSignsNothing: signatures are on disk, so a start makes none, and the
// zone is served signed from the first answer on.
func TestRestartSignsNothing(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", signedZone)
	config := f.config(signedConfig("keys: ksk-zsk"))
	n, stop := start(t, config)
	eventually(t, func() string { return isSigned(n) })
	serial := theZone(n).Zone.Serial()
	stop()
	n, err := New(Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	if missing := isSigned(n); missing != "" {
		t.Error(missing)
	}
	n.Close()
	n, _ = start(t, config)
	eventually(t, func() string { // a pass has been made
		if st, _ := n.signers.State(dnsname.MustParse("example.com.")); st.Generation == 0 {
			return "the signer has not looked at it"
		}
		return ""
	})
	if made := n.signers.Counts().Made; made != 0 {
		t.Errorf("%d signatures made after a restart, want none", made)
	}
	if now := theZone(n).Zone.Serial(); now != serial {
		t.Errorf("serial %d became %d", serial, now)
	}
	// A change of the source is signed under a serial ahead of it, and little else.
	f.write("example.com.zone", strings.Replace(signedZone, "1 1h 15m 1w 5m", "100 1h 15m 1w 5m", 1)+"new A 192.0.2.9\n")
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		return missing(summary(ask(t, n.DNS()[0], "new.example.com.", rdata.TypeA, false)), "192.0.2.9")
	})
	if got := theZone(n).Zone.Serial(); got != 100 {
		t.Errorf("serial %d, want that of the source, 100", got)
	}
	if c := n.signers.Counts(); c.Made == 0 || c.Made > 10 {
		t.Errorf("%d signatures made for one new name", c.Made)
	}
}

func missing(got, want string) string {
	if strings.Contains(got, want) {
		return ""
	}
	return fmt.Sprintf("%q is not in %s", want, got)
}

// TestDamagedKey: with a damaged private key the zone is served on with the
// signatures it has, and a problem says what is wrong.
func TestDamagedKey(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", signedZone)
	config := f.config(signedConfig("keys: csk"))
	n, stop := start(t, config)
	eventually(t, func() string { return isSigned(n) })
	stop()
	files, err := filepath.Glob(filepath.Join(f.path, "data", "keys", "example.com", "*.key"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	octets, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	octets[len(octets)/2] ^= 1
	if err := os.WriteFile(files[0], octets, 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, config)
	eventually(t, func() string { return n.hasProblem(problems.SigningFailed) })
	if missing := isSigned(n); missing != "" {
		t.Error(missing)
	}
	if got := summary(ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false)); !strings.Contains(got, "192.0.2.1") {
		t.Errorf("got %s", got)
	}
}

// TestBootstrapSignals: a zone whose parent has no DS yet is vouched for in the zone of
// its name server, signed there (RFC 9615); when the parent has it, no longer.
func TestBootstrapSignals(t *testing.T) {
	f := newFolder(t)
	f.write("child.zone", "$TTL 1s\n@ SOA ns1.provider.net. host 1 1h 15m 1w 1s\n@ NS ns1.provider.net.\n@ NS ns2.elsewhere.test.\n")
	f.write("provider.zone", "$TTL 1s\n@ SOA ns1 host 1 1h 15m 1w 1s\n@ NS ns1\nns1 A 127.0.0.1\n")
	n, _ := start(t, f.config(strings.Split(signedConfig("keys: csk"), "zones:")[0]+
		"zones: [{name: example.com, file: child.zone, dnssec: test}, {name: provider.net, file: provider.zone, dnssec: test}]\n"))
	const at = "_dsboot.example.com._signal.ns1.provider.net."
	patiently(t, func() string {
		m := ask(t, n.DNS()[0], at, rdata.TypeCDS, false)
		return missing(summary(m), "NOERROR "+at)
	})
	own, signal := ask(t, n.DNS()[0], "example.com.", rdata.TypeCDS, false), ask(t, n.DNS()[0], at, rdata.TypeCDS, false)
	if len(own.Answer) != 1 || len(signal.Answer) != 1 || string(own.Answer[0].Data) != string(signal.Answer[0].Data) {
		t.Errorf("the zone asks for %s, its name server vouches for %s", summary(own), summary(signal))
	}
	z := n.current.Load().apexes.Get(dnsname.MustParse("provider.net.")).served.Zone
	node := z.Lookup(dnsname.MustParse(at)).Exact
	set, _ := z.RRset(node, rdata.TypeCDNSKEY)
	if _, ok := set.Signatures(); !ok {
		t.Error("the signal is not signed")
	}
	if _, err := n.newDesk().Submitted(t.Context(), "example.com"); err != nil {
		t.Fatal(err)
	}
	patiently(t, func() string {
		return missing(summary(ask(t, n.DNS()[0], at, rdata.TypeCDS, false)), "NXDOMAIN")
	})
}
