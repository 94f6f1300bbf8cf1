package node

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/settings"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// startRecursor starts a resolver that has its answers from an authority of ours,
// and waits until it answers.
func startRecursor(t *testing.T, kind peers.Kind, r peers.Recursor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	s, err := peers.StartRecursor(ctx, kind, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	eventually(t, func() string {
		if s.Ended() {
			t.Fatal(s.Log())
		}
		out := run(t, "kdig", append(at(r.Address), "+time=1", "+retry=0", "www.peer.example", "A")...)
		if !strings.Contains(out, "192.0.2.1") {
			return string(kind) + " does not answer: " + out + s.Log()
		}
		return ""
	})
}

// forwarder runs a node that forwards everything to an encrypted server.
func forwarder(t *testing.T, f folder, address netip.AddrPort, transport, how string) *Node {
	t.Helper()
	n, _ := start(t, f.write("forwarder.yaml", fmt.Sprintf(`data: forwarder
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"]}
resolver:
  timeout: 20s
  routes:
    - {zone: ., validate: false, encrypted: [{address: "%s", transport: %s, tls: {%s}}]}
`, address, transport, how)))
	return n
}

// authorityOf runs a node that has the zone peer.example.
func authorityOf(t *testing.T, f folder) netip.AddrPort {
	t.Helper()
	f.write("peer.zone", "$TTL 60\n@ SOA ns host 1 1h 1h 1w 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\nlong TXT \""+strings.Repeat("x", 250)+"\" \""+
		strings.Repeat("y", 250)+"\" \""+strings.Repeat("z", 250)+"\" \""+strings.Repeat("t", 250)+"\" \""+strings.Repeat("u", 250)+"\"\n")
	n, _ := start(t, f.write("authority.yaml", `data: authority
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"]}
resolver: {allow: []}
zones: [{name: peer.example, file: peer.zone}]
`))
	return n.dns.Addrs()[0]
}

// anyTTL is a TTL in a summary: what passes until a client asks is the machine's business.
var anyTTL = regexp.MustCompile(` [1-6]?[0-9] IN `)

// TestForwardEncrypted: Unbound, Knot Resolver, BIND and we ourselves are asked over
// each transport that they have, with reused connections, and must be who they say.
func TestForwardEncrypted(t *testing.T) {
	for _, test := range []struct {
		kind       peers.Kind
		transports []string
	}{
		{peers.Unbound, []string{"dot", "doh"}}, {peers.Kresd, []string{"dot"}}, {peers.Named, []string{"dot", "doh"}}, {"pharos", []string{"dot", "doh", "doq"}},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			f := newFolder(t)
			crt, key := makeCertificate(t, f, "recursor", "recursor.test")
			dot, doh := freePort(t), freePort(t)
			addresses := map[string]netip.AddrPort{"dot": dot, "doh": doh}
			from := authorityOf(t, f)
			if test.kind == "pharos" {
				n, _ := start(t, f.write("recursor.yaml", fmt.Sprintf(`data: recursor
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"], dot: ["%s"], doh: ["%s"], doq: ["%s"]}
tls: {certificates: [{certificate: recursor.crt, key: recursor.key}]}
resolver: {routes: [{zone: ., validate: false, servers: ["%s"]}]}
`, dot, doh, dot, from)))
				addresses["doq"] = n.Encrypted("doq")[0]
			} else {
				tools.Need(t, string(test.kind), "kdig")
				startRecursor(t, test.kind, peers.Recursor{Address: freePort(t), Folder: t.TempDir(), From: from, Certificate: crt, Key: key, DoT: dot, DoH: doh})
			}
			for _, transport := range test.transports {
				t.Run(transport, func(t *testing.T) {
					f := newFolder(t)
					n := forwarder(t, f, addresses[transport], transport, "name: recursor.test, ca: "+crt)
					client := n.dns.Addrs()[0]
					if got, want := summary(ask(t, client, "www.peer.example", rdata.TypeA, true)), "NOERROR www.peer.example. TTL IN A 192.0.2.1"; anyTTL.ReplaceAllString(got, " TTL IN ") != want {
						t.Errorf("got %s, want %s", got, want)
					}
					for i := range 5 {
						if m := ask(t, client, fmt.Sprintf("n%d.peer.example", i), rdata.TypeA, true); m.Rcode != dnswire.RcodeNXDomain {
							t.Errorf("got %v %v, want NXDOMAIN", m.Rcode, m.EDE)
						}
					}
					if m := ask(t, client, "long.peer.example", rdata.TypeTXT, true); !m.TC { // it has come whole, over TCP or better
						t.Errorf("got %v %v, want it truncated", m.Rcode, m.EDE)
					}
					most := uint64(2)       // one more for a question that was asked again, on a machine that stood still
					if transport == "doh" { // two questions at the start may each begin one
						most = 3
					}
					if c, _ := n.resolver.Links(settings.Transports[transport]); c.Opened > most || c.Reused < 5 {
						t.Errorf("%+v, want %d connections at most", c, most)
					}
					if c, _, _ := n.resolver.Counters(); c.Sent != c.SentEncrypted[settings.Transports[transport]] {
						t.Errorf("%d queries, %d of them encrypted", c.Sent, c.SentEncrypted[settings.Transports[transport]])
					}
				})
			}
			t.Run("wrong name", func(t *testing.T) {
				n := forwarder(t, newFolder(t), dot, "dot", "name: other.test, ca: "+crt)
				m := ask(t, n.dns.Addrs()[0], "www.peer.example", rdata.TypeA, true)
				if m.Rcode != dnswire.RcodeServFail || len(m.EDE) == 0 || m.EDE[0].Code != dnswire.EDENetworkError || !strings.Contains(m.EDE[0].Text, "other.test") {
					t.Errorf("got %v %v, want SERVFAIL for its name", m.Rcode, m.EDE)
				}
			})
			t.Run("pin", func(t *testing.T) {
				n := forwarder(t, newFolder(t), dot, "dot", fmt.Sprintf("pin: %q", pinOf(t, crt)))
				if m := ask(t, n.dns.Addrs()[0], "www.peer.example", rdata.TypeA, true); len(m.Answer) != 1 {
					t.Errorf("got %v %v", m.Rcode, m.EDE)
				}
				if c, _ := n.resolver.Links(iterate.DoT); c.Opened != 1 {
					t.Errorf("%+v, want one connection", c)
				}
			})
		})
	}
}
