package node

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// TestDiscover: RFC 9462: a node asks a forwarder how it can be asked encrypted, believes it
// once its certificate names the forwarder's address, and asks it so; one whose certificate
// says otherwise it asks in the clear, by the key that it has shown, or, strictly, not at all.
func TestDiscover(t *testing.T) {
	f := newFolder(t)
	crt, key := makeCertificate(t, f, "good", "recursor.test,IP:127.0.0.1")
	other, otherKey := makeCertificate(t, f, "other", "recursor.test")
	from := authorityOf(t, f)
	recursor := func(name, over, crt, key, designated string) *Node {
		n, _ := start(t, f.write(name+".yaml", fmt.Sprintf(`data: %s
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"], %s: ["%s"]}
tls: {certificates: [{certificate: %s, key: %s}]}
resolver: {routes: [{zone: ., validate: false, servers: ["%s"]}]%s}
`, name, over, freePort(t), crt, key, from, designated)))
		return n
	}
	designated := ", designated: {name: recursor.test}"
	for _, c := range []struct {
		name, over, mode, crt, key, designated string
		asked                                  string // as upstreams has it
		verified                               bool
		problem                                string
	}{
		{"verified", "dot", "strict", crt, key, designated, "DoT", true, ""},
		{"verified-doh", "doh", "strict", crt, key, designated, "DoH", true, ""},
		{"verified-doq", "doq", "strict", crt, key, designated, "DoQ", true, ""},
		{"by-key", "dot", "opportunistic", other, otherKey, designated, "DoT", false, ""},
		{"refused", "dot", "strict", other, otherKey, designated, "", false, "the designated resolver at"},
		{"none", "dot", "opportunistic", crt, key, "", "", false, ""},
		{"none-strict", "dot", "strict", crt, key, "", "", false, "designates no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := recursor(c.name, c.over, c.crt, c.key, c.designated)
			n, _ := start(t, f.write(c.name+"-forwarder.yaml", fmt.Sprintf(`data: %s-forwarder
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"]}
resolver: {timeout: 3s, allow: ["127.0.0.0/8"], routes: [{zone: ., validate: false, servers: ["%s"], discover: %s, discoverCA: %s}]}
`, c.name, r.dns.Addrs()[0], c.mode, crt)))
			eventually(t, func() string {
				if all := n.upstreams(); len(all) != 1 || all[0].Checked.IsZero() || all[0].Transport != c.asked || all[0].Verified != c.verified || !strings.Contains(all[0].Problem, c.problem) {
					return fmt.Sprintf("got %+v", all)
				}
				for _, p := range n.Status().Problems {
					if p.Code == "route-not-encrypted" && c.problem != "" {
						return ""
					}
				}
				if c.problem != "" || len(n.Status().Problems) > 0 {
					return fmt.Sprintf("problems %+v", n.Status().Problems)
				}
				return ""
			})
			before, _, _ := n.resolver.Counters()
			got := summary(ask(t, n.dns.Addrs()[0], "www.peer.example", rdata.TypeA, true))
			after, _, _ := n.resolver.Counters()
			over := map[string]iterate.Transport{"dot": iterate.DoT, "doh": iterate.DoH, "doq": iterate.DoQ}[c.over]
			encrypted := after.SentEncrypted[over] - before.SentEncrypted[over]
			plain := after.Sent - before.Sent - encrypted
			switch {
			case c.asked == "" && c.mode == "strict":
				if got != "SERVFAIL" || after.Sent != before.Sent {
					t.Errorf("got %s with %d queries, want SERVFAIL with none", got, after.Sent-before.Sent)
				}
			case !strings.HasSuffix(got, " IN A 192.0.2.1"):
				t.Errorf("got %s, want an address", got)
			case c.asked != "" && (encrypted == 0 || plain > 0), c.asked == "" && encrypted > 0:
				t.Errorf("%d queries encrypted, %d in the clear", encrypted, plain)
			}
		})
	}
}
