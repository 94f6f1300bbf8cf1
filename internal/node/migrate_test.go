package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/migrate"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// movedZones are the master files of the servers that are moved from.
var movedZones = map[string]string{
	"db.example.com": `$TTL 1h
@       IN SOA ns1 hostmaster 2026010101 1h 15m 1w 5m
        IN NS  ns1
        IN NS  ns2.other.test.
        IN MX  10 mail
ns1     IN A   192.0.2.1
mail    IN A   192.0.2.2
mail    IN AAAA 2001:db8::2
www     IN CNAME mail
*.dyn   IN TXT "anything"
old     IN DNAME other.test.
child   IN NS  ns.child
ns.child IN A  192.0.2.3
_sip._tcp IN SRV 0 5 5060 mail
$INCLUDE more.inc
`,
	"more.inc":      "inc IN A 192.0.2.9\n$GENERATE 1-3 host$ A 192.0.2.1$\n",
	"db.192.0.2":    "$TTL 1h\n@ IN SOA ns1.example.com. hostmaster.example.com. 7 1h 15m 1w 5m\n@ IN NS ns1.example.com.\n2 IN PTR mail.example.com.\n",
	"db.empty.zone": "$TTL 1h\n@ IN SOA ns1.example.com. hostmaster.example.com. 1 1h 15m 1w 5m\n@ IN NS ns1.example.com.\n",
}

// movedQuestions are asked before and after the move.
func movedQuestions() []*dns.Msg {
	var all []*dns.Msg
	for _, name := range []string{
		"example.com.", "ns1.example.com.", "mail.example.com.", "www.example.com.", "x.dyn.example.com.", "dyn.example.com.", "a.old.example.com.",
		"host.child.example.com.", "child.example.com.", "_sip._tcp.example.com.", "_tcp.example.com.", "inc.example.com.", "host2.example.com.",
		"nowhere.example.com.", "2.2.0.192.in-addr.arpa.", "9.2.0.192.in-addr.arpa.", "empty.zone.", "x.empty.zone.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeMX, dns.TypeSOA, dns.TypeTXT, dns.TypeSRV, dns.TypePTR, dns.TypeCNAME, dns.TypeDS} {
			m := new(dns.Msg).SetQuestion(name, qtype)
			m.RecursionDesired = false
			all = append(all, m)
		}
	}
	return all
}

// answerText writes what is compared of an answer: all but what may be useful but
// need not be there (RFC 9471 §3).
func answerText(t *testing.T, server netip.AddrPort, q *dns.Msg) string {
	t.Helper()
	r, _, err := (&dns.Client{Net: "tcp"}).Exchange(q, server.String())
	if err != nil {
		t.Fatalf("%s: %v", server, err)
	}
	lines := []string{fmt.Sprint(dns.RcodeToString[r.Rcode], " ", r.Authoritative)}
	if r.Authoritative {
		r.Extra = nil
	}
	for section, rrs := range map[string][]dns.RR{"answer": r.Answer, "authority": r.Ns, "additional": r.Extra} {
		for _, rr := range rrs {
			lines = append(lines, section+" "+strings.ToLower(rr.String()))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestMoveFrom: the configuration and zones of a real server are imported, and our
// node answers as that server does, and gives the zone to whom it gave it.
func TestMoveFrom(t *testing.T) {
	for _, tt := range []struct {
		kind   peers.Kind
		read   func(string, migrate.Source) (*migrate.Result, error)
		config string // with FOLDER, ADDRESS and PORT
	}{
		{peers.Named, migrate.BIND, `
options {
	directory "FOLDER"; pid-file none; session-keyfile none; lock-file none;
	listen-on port PORT { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; notify no; minimal-responses no-auth; zero-no-soa-ttl no; dnssec-validation no; empty-zones-enable no;
	allow-transfer { none; };
};
controls { };
key "mover" { algorithm hmac-sha256; secret "K2tf3TRjvQkVCmJF3/Z9vA=="; };
acl friends { 192.0.2.0/24; key mover; };
zone "example.com" { type master; file "db.example.com"; allow-transfer { friends; }; }; // the main one
zone "2.0.192.in-addr.arpa" { type primary; file "db.192.0.2"; };
zone "empty.zone" IN { type primary; file "db.empty.zone"; };
`},
		{peers.NSD, migrate.NSD, `
server:
	ip-address: 127.0.0.1@PORT
	username: ""
	chroot: ""
	zonesdir: "FOLDER"
	database: ""
	pidfile: ""
	zonelistfile: "FOLDER/zone.list"
	xfrdfile: "FOLDER/xfrd.state"
	xfrdir: "FOLDER"
	minimal-responses: yes
remote-control:
	control-enable: no
key:
	name: mover
	algorithm: hmac-sha256
	secret: "K2tf3TRjvQkVCmJF3/Z9vA=="
pattern:
	name: all
	zonefile: "db.%s"
	provide-xfr: 127.0.0.0/8 mover
zone:
	name: example.com
	include-pattern: all
zone:
	name: 2.0.192.in-addr.arpa
	zonefile: db.192.0.2
zone:
	name: empty.zone
	include-pattern: all
`},
		{peers.Knot, migrate.Knot, `
server:
    rundir: "FOLDER"
    listen: 127.0.0.1@PORT
    udp-workers: 1
    tcp-workers: 1
database:
    storage: "FOLDER"
key:
  - id: mover
    algorithm: hmac-sha256
    secret: K2tf3TRjvQkVCmJF3/Z9vA==
acl:
  - id: friends
    key: mover
    action: transfer
template:
  - id: default
    storage: FOLDER
    file: "db.%s"
    acl: friends
    semantic-checks: off
zone:
  - domain: example.com
  - domain: empty.zone
    file: "db.%l[1].%l[0]"
  - domain: 2.0.192.in-addr.arpa
    file: db.192.0.2
`},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			tools.Need(t, string(tt.kind))
			folder := t.TempDir()
			for name, text := range movedZones {
				if tt.kind != peers.Named {
					text = strings.ReplaceAll(text, "$GENERATE 1-3 host$ A 192.0.2.1$\n", "") // BIND's own
				}
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			address, err := peers.FreePort()
			if err != nil {
				t.Fatal(err)
			}
			text := strings.NewReplacer("FOLDER", folder, "PORT", fmt.Sprint(address.Port())).Replace(tt.config)
			peer, err := peers.StartWith(t.Context(), tt.kind, address, folder, text)
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Stop()
			moveFrom(t, peer, tt.read, filepath.Join(folder, "server.conf"))
		})
	}
}

func moveFrom(t *testing.T, peer *peers.Server, read func(string, migrate.Source) (*migrate.Result, error), file string) {
	result, err := read(file, migrate.Source{Read: os.ReadFile, Glob: filepath.Glob})
	if err != nil {
		t.Fatal(err)
	}
	result.Plan.Listen = nil // the peer has its address still
	n, _ := start(t, newFolder(t).config(string(result.YAML())))
	soa := new(dns.Msg).SetQuestion("empty.zone.", dns.TypeSOA)
	eventually(t, func() string {
		if peer.Ended() {
			t.Fatalf("the peer ended:\n%s", peer.Log())
		}
		r, _, err := (&dns.Client{Net: "tcp"}).Exchange(soa, peer.Address.String())
		if err != nil || len(r.Answer) != 1 {
			return "the peer does not answer: " + peer.Log()
		}
		return ""
	})
	differ := 0
	for _, q := range movedQuestions() {
		got, want := answerText(t, n.DNS()[0], q), answerText(t, peer.Address, q)
		if got != want {
			if differ++; differ <= 5 {
				t.Errorf("%s %s: got\n%s\nbefore the move\n%s", q.Question[0].Name, dns.TypeToString[q.Question[0].Qtype], got, want)
			}
		}
	}
	// Who had the zone has it, and nobody else.
	for _, key := range []string{"mover.", ""} {
		var counts [2]int
		for i, server := range []netip.AddrPort{peer.Address, n.DNS()[0]} {
			m := new(dns.Msg).SetAxfr("example.com.")
			transfer := &dns.Transfer{TsigSecret: map[string]string{"mover.": "K2tf3TRjvQkVCmJF3/Z9vA=="}}
			if key != "" {
				m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
			}
			envelopes, err := transfer.In(m, server.String())
			if err != nil {
				t.Fatal(err)
			}
			for e := range envelopes {
				counts[i] += len(e.RR)
			}
		}
		if counts[0] != counts[1] || (counts[1] > 0) != (key != "") {
			t.Errorf("transfer with key %q: %d records here, %d before the move", key, counts[1], counts[0])
		}
	}
}
