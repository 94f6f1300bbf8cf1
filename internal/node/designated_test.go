package node

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// TestDesignated: RFC 9462 §4.1: clients find the encrypted listeners, and reach them
// where they are told; who may not recurse is told nothing. Of the resolver's name,
// only what it says of itself is answered here.
func TestDesignated(t *testing.T) {
	f := newFolder(t)
	dot := freePort(t)
	n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], dot: ["%s"], admin: "127.0.0.1:0"}
tls: {selfSigned: true}
resolver:
  routes: [{zone: ., servers: ["127.0.0.1:1"]}]
  designated: {name: dns.example, infoURL: "https://dns.example/about"}
`, dot)))
	client := n.dns.Addrs()[0]
	m := ask(t, client, "_dns.resolver.arpa", rdata.TypeSVCB, true)
	if len(m.Answer) != 1 || !m.AA {
		t.Fatalf("got %s", summary(m))
	}
	got := summary(m)
	if want := fmt.Sprintf(`_dns.resolver.arpa. 300 IN SVCB 3 dns.example. alpn=dot port=%d ipv4hint=127.0.0.1`, dot.Port()); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if m := ask(t, client, "dns.example", rdata.TypeRESINFO, true); !strings.Contains(summary(m), "infourl=https://dns.example/about") {
		t.Errorf("got %s", summary(m))
	}
	if m := ask(t, client, "resolver.arpa", rdata.TypeA, true); len(m.Answer) != 0 || m.Rcode != 0 || !m.AA {
		t.Errorf("got %s, want no data", summary(m))
	}
	tools.Need(t, "kdig")
	if out := run(t, "kdig", append(at(dot), "+tls", "_dns.resolver.arpa", "SVCB")...); !strings.Contains(out, "dns.example.") {
		t.Errorf("over TLS:\n%s", out)
	}
	closed, _ := start(t, f.write("closed.yaml", "data: closed\nstore: {enabled: false}\nlisten: {dns: [\"127.0.0.1:0\"], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\n"))
	if m := ask(t, closed.dns.Addrs()[0], "_dns.resolver.arpa", rdata.TypeSVCB, true); summary(m) != "REFUSED" {
		t.Errorf("without recursion: got %s", summary(m))
	}
}
