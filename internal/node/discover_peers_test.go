package node

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pharos/internal/resolver/iterate"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// TestDiscoverPeers: Unbound, BIND, Knot Resolver and dnsdist designate themselves, as their
// operators would have them do; a node finds out, and asks them so, in its views as well.
func TestDiscoverPeers(t *testing.T) {
	for _, c := range []struct {
		kind peers.Kind
		over iterate.Transport
	}{{peers.Unbound, iterate.DoT}, {peers.Unbound, iterate.DoH}, {peers.Named, iterate.DoT}, {peers.Named, iterate.DoH}, {peers.Kresd, iterate.DoT}, {peers.Dnsdist, iterate.DoT}, {peers.Dnsdist, iterate.DoH}} {
		t.Run(fmt.Sprintf("%s-%v", c.kind, c.over), func(t *testing.T) {
			tools.Need(t, "kdig", string(c.kind))
			f := newFolder(t)
			crt, key := makeCertificate(t, f, "peer", "recursor.test,IP:127.0.0.1")
			r := peers.Recursor{Certificate: crt, Key: key, Folder: f.path, Address: freePort(t)}
			at, keys := freePort(t), "alpn=dot"
			if r.DoT = at; c.over == iterate.DoH {
				r.DoT, r.DoH, keys = netip.AddrPort{}, at, "alpn=h2 dohpath=/dns-query{?dns}"
			}
			f.write("peer.zone", "$TTL 60\n@ SOA ns host 1 1h 1h 1w 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\n")
			f.write("ddr.zone", fmt.Sprintf("$TTL 60\n@ SOA ns.peer.example. host 1 1h 1h 1w 60\n@ NS ns.peer.example.\n_dns SVCB 1 recursor.peer.example. %s port=%d ipv4hint=127.0.0.1\n", keys, at.Port()))
			from, _ := start(t, f.write("authority.yaml", `data: authority
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"]}
resolver: {allow: []}
zones: [{name: peer.example, file: peer.zone}, {name: resolver.arpa, file: ddr.zone}]
`))
			r.From = from.DNS()[0]
			startRecursor(t, c.kind, r)
			n, _ := start(t, f.write("forwarder.yaml", fmt.Sprintf(`data: forwarder
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"]}
resolver: {timeout: 3s, allow: ["127.0.0.0/8"], routes: [{zone: ., validate: false, servers: ["%s"], discover: strict, discoverCA: %s}]}
views: [{name: inside, clients: [127.0.0.2/32], recursion: on}]
`, r.Address, crt)))
			eventually(t, func() string {
				if all := n.upstreams(); len(all) != 1 || all[0].Transport != c.over.String() || !all[0].Verified || all[0].Problem != "" {
					return fmt.Sprintf("got %+v", all)
				}
				return ""
			})
			for _, client := range []string{"127.0.0.1", "127.0.0.2"} { // the second is in the view
				resolver := n.resolver
				if client == "127.0.0.2" {
					resolver = n.current.Load().views[0].view.own.resolver
				}
				before, _, _ := resolver.Counters()
				out := run(t, "kdig", append(at127(n), "-b", client, "+retry=0", "+time=8", "www.peer.example", "A")...)
				after, _, _ := resolver.Counters()
				sent, encrypted := after.Sent-before.Sent, after.SentEncrypted[c.over]-before.SentEncrypted[c.over]
				if !strings.Contains(out, "192.0.2.1") || sent == 0 || encrypted != sent {
					t.Errorf("from %s: %d of %d queries encrypted: %s", client, encrypted, sent, out)
				}
			}
		})
	}
}

// at127 is how kdig asks a node.
func at127(n *Node) []string {
	return []string{"@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port())}
}
