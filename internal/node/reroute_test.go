package node

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// A reload takes routes as they are then, encrypted ones too: whom they lead to and how,
// and whether there are any. Nothing needs a restart.
func TestRoutesByReload(t *testing.T) {
	f := newFolder(t)
	crt, key := makeCertificate(t, f, "recursor", "recursor.test")
	from := authorityOf(t, f)
	recursor, _ := start(t, f.write("recursor.yaml", fmt.Sprintf(`data: recursor
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"], dot: ["127.0.0.1:0"], doq: ["127.0.0.1:0"]}
tls: {certificates: [{certificate: %s, key: %s}]}
resolver: {routes: [{zone: ., validate: false, servers: ["%s"]}]}
`, crt, key, from)))
	configure := func(route string) string {
		return f.write("forwarder.yaml", `data: forwarder
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"]}
resolver: {timeout: 3s, allow: ["127.0.0.0/8"], routes: [`+route+`]}
`)
	}
	encrypted := func(over string) string {
		return fmt.Sprintf(`{zone: ., validate: false, encrypted: [{address: "%s", transport: %s, tls: {name: recursor.test, ca: "%s"}}]}`, recursor.Encrypted(over)[0], over, crt)
	}
	n, _ := start(t, configure(fmt.Sprintf(`{zone: ., validate: false, servers: ["%s"]}`, recursor.dns.Addrs()[0])))
	client := n.dns.Addrs()[0]
	for i, step := range []struct {
		route string
		over  iterate.Transport
	}{
		{"", iterate.Do53}, {encrypted("dot"), iterate.DoT}, {encrypted("doq"), iterate.DoQ},
		{fmt.Sprintf(`{zone: ., validate: false, servers: ["%s"]}`, recursor.dns.Addrs()[0]), iterate.Do53},
		{fmt.Sprintf(`{zone: peer.example, kind: stub, validate: false, servers: ["%s"]}`, from), iterate.Do53},
	} {
		if step.route != "" {
			configure(step.route)
			if _, err := n.reload(); err != nil {
				t.Fatal(err)
			}
		}
		before, _, _ := n.resolver.Counters()
		if got := summary(ask(t, client, "www.peer.example", rdata.TypeA, true)); !strings.HasSuffix(got, " IN A 192.0.2.1") {
			t.Errorf("route %d: got %s, want an address", i, got)
		}
		after, _, _ := n.resolver.Counters()
		sent := after.SentEncrypted[step.over] - before.SentEncrypted[step.over]
		if step.over == iterate.Do53 {
			sent = after.Sent - before.Sent
		}
		if sent == 0 {
			t.Errorf("route %d: nothing was asked over %v, though what was learnt before is forgotten", i, step.over)
		}
		if list := n.Status().Problems; len(list) > 0 {
			t.Errorf("route %d: problems %+v, want none", i, list)
		}
	}
}
