package node

import (
	"fmt"
	"strings"
	"testing"

	"pharos/lab/tools"
)

// TestSubnetToServers: a server with an answer for each network is told of them
// (RFC 7871), each client gets that of its network, with its scope, and one that does
// not want to be told of gets that for all.
func TestSubnetToServers(t *testing.T) {
	tools.Need(t, "dig")
	f := newFolder(t)
	zone := "$TTL 60\n@ SOA ns host 1 1h 1h 1w 60\n@ NS ns\nns A 192.0.2.53\nwww A %s\n"
	f.write("near.zone", fmt.Sprintf(zone, "192.0.2.1"))
	f.write("far.zone", fmt.Sprintf(zone, "192.0.2.2"))
	authority, _ := start(t, f.write("authority.yaml", `data: authority
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
dns: {clientSubnet: {trusted: [127.0.0.0/8]}}
views: [{name: near, clients: [198.51.100.0/24], zones: [{name: cdn.example, file: near.zone}], recursion: off}]
zones: [{name: cdn.example, file: far.zone}]
`))
	n, _ := start(t, f.write("resolver.yaml", fmt.Sprintf(`data: resolver
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
dns: {clientSubnet: {trusted: [127.0.0.0/8]}}
resolver:
  validate: false
  routes: [{zone: cdn.example, kind: stub, servers: ["%s"]}, {zone: ., servers: ["127.0.0.1:1"]}]
  clientSubnet: {zones: [cdn.example]}
`, authority.dns.Addrs()[0])))
	client := at(n.dns.Addrs()[0])
	for _, test := range []struct{ subnet, address, scope string }{
		{"198.51.100.7/32", "192.0.2.1", "198.51.100.7/32/24"},
		{"203.0.113.0/24", "192.0.2.2", "203.0.113.0/24/"},
		{"198.51.100.0/24", "192.0.2.1", "198.51.100.0/24/24"}, // from memory
		{"0.0.0.0/0", "192.0.2.2", "0.0.0.0/0/0"},
	} {
		out := run(t, "dig", append(client, "+subnet="+test.subnet, "www.cdn.example", "A")...)
		if !strings.Contains(out, test.address) || !strings.Contains(out, "CLIENT-SUBNET: "+test.scope) {
			t.Errorf("%s: want %s and %s; got\n%s", test.subnet, test.address, test.scope, out)
		}
	}
	if c, _, _ := n.resolver.Counters(); c.Sent > 8 {
		t.Errorf("%d queries for three networks", c.Sent)
	}
}
