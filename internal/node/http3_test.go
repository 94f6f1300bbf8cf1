package node

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// TestGatewayRecords: a steered name whose HTTPS record leads to the gateway says what that
// speaks and where, with hints of who is healthy, in a signed zone as others believe it; a
// record that somebody has written goes as it was written.
func TestGatewayRecords(t *testing.T) {
	tools.Need(t, "delv", "dig")
	for _, tt := range []struct{ http3, alpn string }{{"{enabled: true}", `alpn="h2,h3"`}, {"{}", `alpn="h2"`}} {
		t.Run(tt.alpn, func(t *testing.T) {
			at, err := peers.FreePort()
			if err != nil {
				t.Fatal(err)
			}
			f := newFolder(t)
			f.write("example.com.zone", signedZone+"own IN HTTPS 1 . alpn=h2 port=8443\n")
			n, _ := start(t, f.write("pharos.yaml", signedConfig("denial: nsec")+fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], https: ["127.0.0.1:%d"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {selfSigned: true}
gateway: {http3: %s}
pools: [{name: edges, check: {type: none}, members: [{name: a, address: "192.0.2.80:443"}, {name: b, address: "[2001:db8::80]:443"}]}]
steer: [{name: app.example.com, pool: edges, answer: https, service: gateway}]
`, at.Port(), tt.http3)))
			eventually(t, func() string {
				if s := n.current.Load(); s.lives == 0 || len(ask(t, n.DNS()[0], "example.com.", rdata.TypeDNSKEY, false).Answer) == 0 || isSigned(n) != "" {
					return "no keys yet"
				}
				return ""
			})
			anchorOf(t, f, n)
			port := fmt.Sprint(n.DNS()[0].Port())
			for name, want := range map[string]string{
				"app.example.com": fmt.Sprintf("1 . %s port=%d ipv4hint=192.0.2.80 ipv6hint=2001:db8::80", tt.alpn, at.Port()),
				"own.example.com": `1 . alpn="h2" port=8443`,
			} {
				if out := runTool(t, f.path, "delv", "@127.0.0.1", "-p", port, "-a", "anchor", "+root=example.com", name, "HTTPS"); !strings.Contains(out, "; fully validated") || !strings.Contains(out, want) {
					t.Errorf("%s: want %s, got\n%s", name, want, out)
				}
				if out := runTool(t, f.path, "dig", "@127.0.0.1", "-p", port, "+short", name, "HTTPS"); strings.TrimSpace(out) != want {
					t.Errorf("%s: want %s, got %s", name, want, out)
				}
			}
		})
	}
}
