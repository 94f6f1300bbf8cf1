package migrate

import (
	"net/netip"
	"testing"
)

// pin is the SHA-256 of something, in base64.
const pin = "H7jQkUhFTQSaAWlMNuJFq1TaZHgPVF1JJAZmmHbfx/c="

const bindTLS = `
options {
	directory "/etc/bind"; recursion no; transfers-per-ns 3;
	max-records 5000; max-records-per-type 200;
	listen-on { 192.0.2.1; };
	listen-on tls local { 192.0.2.1; };
	listen-on port 8443 tls local http doh { 192.0.2.1; };
	listen-on-v6 tls ephemeral { ::1; };
	listen-on tls none http default { 127.0.0.1; };
	catalog-zones {
		zone "cat.example" default-primaries port 5300 { 198.51.100.9 key k; } in-memory yes;
		zone "lost.example";
	};
};
key k { algorithm hmac-sha256; secret "aaaa"; };
http doh { endpoints { "/ask"; "/other"; }; listener-clients 10; };
tls local { cert-file "ns1.crt"; key-file "/etc/ssl/ns1.key"; protocols { TLSv1.3; }; };
tls up { ca-file "ca.crt"; remote-hostname "ns.up.example"; cert-file "me.crt"; key-file "me.key"; };
tls blind { };
zone "example.com" { type primary; file "db.example.com"; max-types-per-name 0; allow-transfer port 853 transport tls { 192.0.2.53; key k; }; also-notify { 192.0.2.53; 192.0.2.54 tls up; }; };
zone "up.example" { type secondary; primaries { 198.51.100.1 key k tls up; 198.51.100.2 port 8853 tls up; 198.51.100.3 tls blind; 198.51.100.4 tls ephemeral; 198.51.100.5 tls gone; 198.51.100.6 tls none; }; };
zone "tcp.example" { type primary; file "db.tcp"; allow-transfer transport tcp { any; }; };
zone "cat.example" { type secondary; primaries { 198.51.100.1; }; allow-transfer { 192.0.2.53; }; };
`

const nsdTLS = `
server:
	ip-address: 192.0.2.1
	ip-address: 192.0.2.1@8853
	tls-port: 8853
	tls-service-key: "/etc/nsd/ns.key"
	tls-service-pem: "ns.pem"
	tls-cert-bundle: "/etc/ssl/ca.pem"
	tcp-query-count: 100
tls-auth:
	name: up
	auth-domain-name: "ns.up.example"
	client-cert: "me.pem"
	client-key: "me.key"
tls-auth:
	name: down
	auth-domain-name: "ns2.example"
tls-auth:
	name: blind
key:
	name: k
	algorithm: hmac-sha256
	secret: aaaa
pattern:
	name: made
	zonefile: "%s.zone"
	catalog-producer-zone: "made.example"
	provide-xfr: 192.0.2.53 k down
pattern:
	name: members
	request-xfr: 198.51.100.1 k up
	provide-xfr: 10.0.0.0/30 NOKEY
	provide-xfr: 10.0.0.1 BLOCKED
zone:
	name: made.example
	catalog: producer
	provide-xfr: 192.0.2.53 k
zone:
	name: a.example
	include-pattern: made
zone:
	name: taken.example
	catalog: consumer
	catalog-member-pattern: members
	request-xfr: 198.51.100.1@853 k up
zone:
	name: up.example
	request-xfr: AXFR 198.51.100.1 k up
	request-xfr: 198.51.100.2 k blind
	request-xfr: 198.51.100.3 k gone
	allow-query: 10.0.0.0/8 NOKEY
	allow-query: 10.128.0.0/9 BLOCKED
zone:
	name: all.example
	zonefile: "f"
	allow-query: 127.0.0.0/1 BLOCKED
	allow-query: 0.0.0.0/1 BLOCKED
`

const knotTLS = `
server:
    listen: 192.0.2.1@53
    listen-tls: [ 192.0.2.1@853, "::1" ]
    listen-quic: 192.0.2.1
    cert-file: ns.pem
    key-file: /etc/knot/ns.key
    ca-file: ca.pem
key:
  - id: k
    algorithm: hmac-sha256
    secret: aaaa
  - id: host1.dyn.example.
    algorithm: hmac-sha256
    secret: aaaa
remote:
  - id: pinned
    address: 198.51.100.1
    key: k
    tls: on
    cert-key: ` + pin + `
  - id: named
    address: 198.51.100.2@8853
    tls: on
    cert-hostname: ns.up.example
  - id: blind
    address: 198.51.100.3
    tls: on
  - id: quic
    address: 198.51.100.4
    quic: on
acl:
  - id: xfr
    address: 192.0.2.53
    action: transfer
    protocol: [ tls, quic ]
    cert-hostname: ns2.example
  - id: tcponly
    address: 192.0.2.54
    action: transfer
    protocol: tcp
  - id: acme
    key: k
    action: update
    update-type: [ TXT, CAA ]
    update-owner: name
    update-owner-match: equal
    update-owner-name: [ _acme-challenge, b.dyn.example., other.test. ]
  - id: own
    key: [ host1.dyn.example., k ]
    action: update
    update-owner: key
  - id: apex
    key: k
    action: update
    update-owner: zone
    update-owner-match: equal
  - id: patterns
    key: k
    action: update
    update-owner: name
    update-owner-match: pattern
    update-owner-name: "*.dyn.example."
template:
  - id: default
    storage: /z
  - id: members
    master: pinned
    acl: xfr
  - id: files
    storage: /m
zone:
  - domain: made.example
    catalog-role: generate
    acl: xfr
  - domain: a.example
    catalog-role: member
    catalog-zone: made.example
    catalog-group: files
  - domain: alone.example
    catalog-role: member
    catalog-zone: nowhere.example
  - domain: taken.example
    master: named
    catalog-role: interpret
    catalog-template: [ members, files ]
  - domain: dyn.example
    acl: [ acme, own, apex, patterns ]
  - domain: up.example
    master: [ pinned, named, blind, quic ]
    notify: named
    acl: tcponly
`

// TestCarried: TLS, catalog zones, limits and what updates may change go over, and what
// cannot is listed with its place and the reason.
func TestCarried(t *testing.T) {
	for _, tt := range []struct {
		language, text string
		want           []string
		without        []string
	}{
		{"bind", bindTLS, []string{
			"listen:\n  dns: [\"192.0.2.1:53\"]\n  dot: [\"192.0.2.1:853\", \"[::1]:853\"]\n  doh: [\"192.0.2.1:8443\"]\ntls:\n  selfSigned: true\n  certificates:\n    - {certificate: \"/etc/bind/ns1.crt\", key: \"/etc/ssl/ns1.key\"}\n",
			`  encrypted: {path: "/ask"}`, "  incomingPerPrimary: 3\n",
			"HTTP without TLS", "c:16: http doh: endpoint /other: there is one path", "http doh: listener-clients 10", "tls local: protocols",
			"    transfer:\n      - {network: \"192.0.2.53/32\", tls: {required: true}}\n      - {key: \"k.\", tls: {required: true}}\n    notify:\n      - {address: \"192.0.2.53:53\"}\n    gate: {maxRecords: 5000, maxRRset: 200, maxTypes: 65535}\n",
			"NOTIFY goes over UDP and TCP, not over TLS",
			`{address: "198.51.100.1:853", key: "k.", tls: {name: "ns.up.example", ca: "/etc/bind/ca.crt", certificate: "/etc/bind/me.crt", key: "/etc/bind/me.key"}}`,
			`{address: "198.51.100.2:8853", tls: {name: "ns.up.example",`, `{address: "198.51.100.6:53"}`,
			"198.51.100.3 tls blind: nothing says how the server is known", "198.51.100.4 tls ephemeral: nothing says", "there is no tls statement gone",
			"tcp.example.: allow-transfer transport tcp {...}: a rule for one port or transport only",
			"    catalog:\n      templates:\n        - {primaries: [{address: \"198.51.100.9:5300\", key: \"k.\"}], transfer: [{network: \"192.0.2.53/32\"}]}\n",
			"zone lost.example. was not carried over",
		}, []string{`"198.51.100.3`, `"198.51.100.4`, `"198.51.100.5`}},
		{"nsd", nsdTLS, []string{
			"  dns: [\"192.0.2.1:53\"]\n  dot: [\"192.0.2.1:8853\"]\n", `{certificate: "ns.pem", key: "/etc/nsd/ns.key"}`, "  tcpQueries: 100\n",
			"  - name: \"made.example.\"\n    kind: catalog\n    transfer:\n      - {network: \"192.0.2.53/32\", key: \"k.\"}\n",
			"  - name: \"a.example.\"\n    file: \"a.example.zone\"\n    transfer:\n      - {network: \"192.0.2.53/32\", key: \"k.\", tls: {ca: \"/etc/ssl/ca.pem\", name: \"ns2.example\"}}\n    catalogMember: \"made.example.\"\n    catalogGroup: \"made\"\n",
			`{address: "198.51.100.1:853", key: "k.", tls: {name: "ns.up.example", ca: "/etc/ssl/ca.pem", certificate: "me.pem", key: "me.key"}}`,
			"        - {primaries: [{address: \"198.51.100.1:853\", key: \"k.\", tls:", `transfer: [{network: "10.0.0.0/32"}, {network: "10.0.0.2/31"}]}`, `- {group: "members", primaries:`,
			"    query:\n      - {network: \"10.0.0.0/9\"}\n", "up.example.: request-xfr: 198.51.100.2 k blind: nothing says", "there is no tls-auth gone",
			`- {network: "128.0.0.0/1"}`, `- {network: "::/0"}`,
		}, []string{`"198.51.100.2`, `"198.51.100.3`}},
		{"knot", knotTLS, []string{
			"  dot: [\"192.0.2.1:853\", \"[::1]:853\"]\n  doq: [\"192.0.2.1:853\"]\n", `{certificate: "ns.pem", key: "/etc/knot/ns.key"}`,
			"  - name: \"made.example.\"\n    kind: catalog\n    transfer:\n      - {network: \"192.0.2.53/32\", tls: {ca: \"ca.pem\", name: \"ns2.example\"}}\n",
			"    catalogMember: \"made.example.\"\n    catalogGroup: \"files\"\n", "member of catalog nowhere.example.: this catalog was not carried over",
			"    catalog:\n      templates:\n        - {primaries: [{address: \"198.51.100.1:853\", key: \"k.\", tls: {pin: \"" + pin + "\"}}], transfer: [{network: \"192.0.2.53/32\", tls: {ca: \"ca.pem\", name: \"ns2.example\"}}]}\n        - {group: \"members\", primaries:",
			`{address: "198.51.100.2:8853", tls: {name: "ns.up.example", ca: "ca.pem"}}`, "master: blind: nothing says how the server is known", "master: quic: zones are asked for over TLS",
			"notify: named: NOTIFY goes over UDP and TCP", "acl: tcponly: protocol: tcp: a rule for one transport in clear text only",
			"    updates:\n      - {key: \"k.\", names: [\"_acme-challenge.dyn.example.\"], types: [\"TXT\", \"CAA\"]}\n      - {key: \"k.\", names: [\"b.dyn.example.\"], types: [\"TXT\", \"CAA\"]}\n      - {key: \"host1.dyn.example.\", subtrees: [\"host1.dyn.example.\"]}\n      - {key: \"k.\", names: [\"dyn.example.\"]}\n",
			"acl: acme: other.test.: no name of the zone", "acl: own: k.: no name of the zone", "update-owner-match: pattern: a rule is about a name",
			"taken.example.: catalog-template: files: it names no master",
		}, []string{`group: "files"`, `"198.51.100.3`, `"198.51.100.4`}},
	} {
		t.Run(tt.language, func(t *testing.T) {
			result := carried(t, tt.language, tt.text, tt.want, tt.without)
			for _, n := range result.Notes {
				if n.File == "" || n.Why == "" {
					t.Errorf("a note without a place or a reason: %+v", n)
				}
			}
		})
	}
}

// TestWithout: what is left of a network when others are taken out has each of its
// addresses, and none of theirs.
func TestWithout(t *testing.T) {
	all := netip.MustParsePrefix("192.0.2.0/24")
	left := []netip.Prefix{all}
	taken := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("192.0.2.64/26"), netip.MustParsePrefix("192.0.2.96/27"), netip.MustParsePrefix("198.51.100.0/24")}
	for _, x := range taken {
		left = without(left, x)
	}
	for addr := all.Addr(); all.Contains(addr); addr = addr.Next() {
		in := func(list []netip.Prefix) (n int) {
			for _, p := range list {
				if p.Contains(addr) {
					n++
				}
			}
			return n
		}
		if got, want := in(left), map[bool]int{true: 0, false: 1}[in(taken) > 0]; got != want {
			t.Errorf("%s is in %d of %v, want %d", addr, got, left, want)
		}
	}
	if left := without([]netip.Prefix{netip.MustParsePrefix("::/0")}, netip.MustParsePrefix("::/0")); left != nil {
		t.Errorf("nothing should be left, but %v is", left)
	}
}

func FuzzMoreBIND(f *testing.F) { fuzzText(f, "bind", bindTLS) }
func FuzzMoreNSD(f *testing.F)  { fuzzText(f, "nsd", nsdTLS) }
func FuzzMoreKnot(f *testing.F) { fuzzText(f, "knot", knotTLS) }
