package node

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// signWith makes keys and signs a zone with BIND's tools; it returns the DS record.
func signWith(t *testing.T, dir, origin, file, algorithm string, more ...string) string {
	t.Helper()
	run := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("dnssec-keygen", "-q", "-a", algorithm, origin)
	run("dnssec-keygen", "-q", "-f", "KSK", "-a", algorithm, origin)
	run("dnssec-signzone", append(append([]string{"-q", "-P", "-S", "-o", origin}, more...), file)...)
	ds, err := os.ReadFile(filepath.Join(dir, "dsset-"+strings.TrimSuffix(origin, ".")+"."))
	if err != nil {
		t.Fatal(err)
	}
	return string(ds)
}

// TestValidation: nodes that serve zones signed by BIND's tools, and a resolver with
// their anchor: AD for what is proven, SERVFAIL and the reason for what is not.
func TestValidation(t *testing.T) {
	tools.Need(t, "dnssec-keygen", "dnssec-signzone")
	f := newFolder(t)
	root := "$TTL 1d\n. SOA a.root. host.root. 1 1h 15m 1w 1h\n. NS a.root.\na.root. A 127.0.0.1\nplain. NS ns.plain.\nns.plain. A 127.0.0.2\n"
	kids := ""
	for zone, options := range map[string][]string{"good": nil, "nsec3": {"-3", "-"}, "expired": {"-s", "20200101000000", "-e", "20200201000000"}} {
		f.write(zone, "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.2\nwww A 192.0.2.1\n*.w A 192.0.2.2\n")
		root += fmt.Sprintf("%s. NS ns.%s.\nns.%s. A 127.0.0.2\n%s", zone, zone, zone, signWith(t, f.path, zone, zone, "ECDSAP256SHA256", options...))
		kids += fmt.Sprintf(", {name: %s, file: %s.signed}", zone, zone)
	}
	f.write("root", root)
	anchor := strings.Join(strings.Fields(signWith(t, f.path, ".", "root", "ED25519")), " ")
	f.write("plain", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.2\nwww A 192.0.2.3\n")
	top, _ := start(t, f.config("zones: [{name: ., file: root.signed}]"))
	port := top.DNS()[0].Port()
	start(t, f.write("kids.yaml", fmt.Sprintf(`data: kids
listen: {dns: ["127.0.0.2:%d"], admin: "127.0.0.1:0"}
resolver: {allow: []}
zones: [{name: plain, file: plain}%s]
`, port, kids)))

	g := newFolder(t)
	g.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	resolver := func(more string) netip.AddrPort {
		n, _ := start(t, g.config(fmt.Sprintf("resolver: {allow: [\"127.0.0.0/8\"], rootHints: hints, port: %d%s}\n", port, more)))
		return n.DNS()[0]
	}
	validating := resolver(fmt.Sprintf(", trustAnchors: [%q]", anchor))
	for _, test := range []struct {
		name  string
		t     uint16
		rcode int
		ad    bool
		ede   dnswire.EDE
	}{
		{"www.good.", dns.TypeA, dns.RcodeSuccess, true, 0}, {"no.good.", dns.TypeA, dns.RcodeNameError, true, 0}, {"x.w.good.", dns.TypeA, dns.RcodeSuccess, true, 0},
		{"www.nsec3.", dns.TypeMX, dns.RcodeSuccess, true, 0}, {"no.nsec3.", dns.TypeA, dns.RcodeNameError, true, 0}, {"x.w.nsec3.", dns.TypeA, dns.RcodeSuccess, true, 0},
		{"www.plain.", dns.TypeA, dns.RcodeSuccess, false, 0}, {"plain.", dns.TypeDS, dns.RcodeSuccess, true, 0},
		{"www.expired.", dns.TypeA, dns.RcodeServerFailure, false, dnswire.EDESignatureExpired},
	} {
		for _, from := range []string{"network", "cache"} {
			q := new(dns.Msg).SetQuestion(test.name, test.t).SetEdns0(1232, true)
			m, _, err := new(dns.Client).Exchange(q, validating.String())
			if err != nil {
				t.Fatal(err)
			}
			if m.Rcode != test.rcode || m.AuthenticatedData != test.ad || test.ede != 0 && !hasEDE(m, test.ede) {
				t.Errorf("%s, from the %s: %v", test.name, from, m)
			}
		}
	}
	// The Internet's root did not sign this one: so it is by default.
	if m := ask(t, resolver(""), "www.good.", rdata.TypeA, true); m.Rcode != dnswire.RcodeServFail {
		t.Errorf("with the built-in anchors: %s", summary(m))
	}
	if m := ask(t, resolver(", negativeTrustAnchors: [\".\"]"), "www.expired.", rdata.TypeA, true); m.Rcode != dnswire.RcodeNoError || m.AD {
		t.Errorf("with a negative trust anchor: %s", summary(m))
	}
}

func hasEDE(m *dns.Msg, code dnswire.EDE) bool {
	for _, o := range m.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok && e.InfoCode == uint16(code) {
			return true
		}
	}
	return false
}
