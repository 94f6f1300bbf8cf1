package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/api"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/probe"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// geoFile returns a database of the shared test data.
func geoFile(t *testing.T, name string) string {
	t.Helper()
	shared := os.Getenv("PHAROS_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	file := filepath.Join(shared, "data/geoip", name)
	if _, err := os.Stat(file); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("shared test data is absent: %v", err)
	}
	return file
}

const steeredZone = "$TTL 60\n@ SOA ns host 1 1h 1h 1w 60\n@ NS ns\nns A 192.0.2.53\nalias CNAME www\n"

// TestSteeringByPlace: clients of trusted resolvers get members near them, with the scope for
// which that is good (RFC 7871 §7.2.1): by the operator's map first, then by the database.
// Others are taken for where they are themselves. A damaged database is a problem, and the one
// before goes on.
func TestSteeringByPlace(t *testing.T) {
	tools.Need(t, "dig", "kdig")
	octets, err := os.ReadFile(geoFile(t, "GeoIP2-City-Test.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFolder(t)
	f.write("example.com.zone", steeredZone)
	f.write("city.mmdb", string(octets))
	n, _ := start(t, f.config(`dns: {clientSubnet: {trusted: [127.0.0.1/32]}}
steering: {database: city.mmdb, networks: [{prefix: 10.0.0.0/8, place: {zone: ams-1, country: NL, continent: EU}}]}
zones: [{name: example.com, file: example.com.zone}]
pools:
- name: web
  check: {type: none}
  members:
  - {name: ams, address: "192.0.2.1:80", place: {zone: ams-1, country: NL, continent: EU, location: "52.4,4.9"}}
  - {name: lon, address: "192.0.2.2:80", place: {country: GB, continent: EU, location: "51.5,-0.1"}}
  - {name: nyc, address: "192.0.2.3:80", place: {country: US, continent: NA, location: "40.7,-74"}}
  - {name: any, address: "192.0.2.4:80"}
steer:
- {name: www.example.com, pool: web, ttl: 30s, shortTTL: 30s, filters: [{type: up}, {type: near, by: country}, {type: weighted}, {type: limit, count: 2}]}
- {name: far.example.com, pool: web, filters: [{type: up}, {type: near, by: distance}, {type: sticky}, {type: limit, count: 1}]}
- {name: plain.example.com, pool: web}
`))
	client := at(n.dns.Addrs()[0])
	short := func(name, subnet string) (addresses []string, scope string) {
		out := run(t, "dig", append(client, "+subnet="+subnet, name, "A")...)
		for line := range strings.Lines(out) {
			fields := strings.Fields(line)
			if len(fields) == 5 && fields[3] == "A" {
				addresses = append(addresses, fields[4])
			}
			if _, rest, ok := strings.Cut(line, "CLIENT-SUBNET: "); ok {
				scope = strings.TrimSpace(rest)
			}
		}
		slices.Sort(addresses)
		return addresses, scope
	}
	for _, c := range []struct{ name, subnet, want, scope string }{
		{"www.example.com", "10.1.2.0/24", "[192.0.2.1]", "10.1.2.0/24/8"},
		{"www.example.com", "81.2.69.160/27", "[192.0.2.2]", "81.2.69.160/27/27"},               // London
		{"alias.example.com", "81.2.69.160/27", "[192.0.2.2]", "81.2.69.160/27/27"},             // at the end of an alias
		{"www.example.com", "216.160.83.56/29", "[192.0.2.3]", "216.160.83.56/29/29"},           // Milton, US
		{"www.example.com", "89.160.20.112/28", "[192.0.2.1 192.0.2.2]", "89.160.20.112/28/28"}, // Sweden: the continent
		{"www.example.com", "2001:218::/32", "[192.0.2.4]", "2001:218::/32/32"},                 // Japan: for everybody
		{"far.example.com", "89.160.20.112/28", "[192.0.2.1]", "89.160.20.112/28/28"},
		{"plain.example.com", "81.2.69.160/27", "[192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4]", "81.2.69.160/27/0"},
		{"www.example.com", "0.0.0.0/0", "[192.0.2.4]", "0.0.0.0/0/0"}, // it keeps to itself whom it asks for
		{"www.example.com", "10.1.2.3/32", "[192.0.2.1]", "10.1.2.3/32/8"},
	} {
		if got, scope := short(c.name, c.subnet); fmt.Sprint(got) != c.want || scope != c.scope {
			t.Errorf("%s for %s: %v %s, want %s %s", c.name, c.subnet, got, scope, c.want, c.scope)
		}
	}
	// The option must be well formed from anybody (RFC 7871 §7.1.2): lengths are absurd here.
	for option, want := range map[string]string{"0008:0001fe0001": "FORMERR", "0008:000118000a0102": "NOERROR", "0008:0001210001020304": "FORMERR", "0008:00": "FORMERR"} {
		code, data, _ := strings.Cut(option, ":")
		if out := run(t, "dig", append(client, "+ednsopt="+strings.TrimLeft(code, "0")+":"+data, "www.example.com", "A")...); !strings.Contains(out, "status: "+want) {
			t.Errorf("option %s: want %s, got\n%s", option, want, out)
		}
	}
	if out := run(t, "kdig", "@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port()), "+subnet=81.2.69.160/27", "www.example.com", "A"); !strings.Contains(out, "192.0.2.2") || !strings.Contains(out, "/27/27") {
		t.Errorf("kdig:\n%s", out)
	}

	e, err := n.Explain(context.Background(), api.ExplainRequest{Name: "www.example.com", From: netip.MustParseAddr("127.0.0.1"), Subnet: netip.MustParsePrefix("81.2.69.160/27")})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	e.WriteText(&text)
	for _, want := range []string{
		"good for the first 27 bits", "near by country: 4 in, 1 out", "says GeoIP2-City of", "ams 192.0.2.1:80 up", "at ams-1, NL, EU (52.4 4.9), not of the same country",
		"lon down instead of up: ams", "a client at US, NA (40.7 -74.0): nyc",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("explain lacks %q:\n%s", want, text.String())
		}
	}
	if out, err := json.Marshal(e); err != nil || !strings.Contains(string(out), `"filters":["up","near by country","weighted","limit"]`) {
		t.Errorf("%v\n%s", err, out)
	}

	f.write("city.mmdb", "no database")
	n.guide.geo.Look()
	eventually(t, func() string {
		if text := problemsOf(n); !strings.Contains(text, "database-refused") || !strings.Contains(text, "the one read before is used on") {
			return "no problem: " + text
		}
		return ""
	})
	if got, _ := short("www.example.com", "81.2.69.160/27"); fmt.Sprint(got) != "[192.0.2.2]" {
		t.Errorf("with a damaged file: %v", got)
	}
	f.write("city.mmdb", string(octets))
	eventually(t, func() string {
		n.guide.geo.Look()
		if text := problemsOf(n); strings.Contains(text, "database-refused") {
			return text
		}
		return ""
	})
}

// problemsOf returns the problems of n as text.
func problemsOf(n *Node) string { return fmt.Sprint(n.problems.All()) }

const namedPools = `pools:
- name: sip
  check: {type: none}
  members:
  - {name: one, address: "192.0.2.1:5060", host: one.example.net, weight: 3}
  - {name: two, address: "192.0.2.2:5061", host: two.example.net, tier: 1}
  policy: weightedRoundRobin
- name: web
  check: {type: none}
  members: [{name: a, address: "192.0.2.80:443", host: www.example.com}, {name: b, address: "[2001:db8::80]:443", host: www.example.com}]
steer:
- {name: _sip._tcp.example.com, pool: sip, answer: srv}
- {name: mail.example.com, pool: sip, answer: mx}
- {name: shop.example.com, pool: sip, answer: cname}
- {name: here.example.com, pool: web, answer: cname}
- {name: app.example.com, pool: web, answer: https, service: "1 . alpn=h2"}
- {name: _dns.example.com, pool: web, answer: svcb, service: "1 app.example.com. alpn=dot"}
`

// TestSteeredKinds: each kind of answer, with the proofs that delv wants of a signed zone: of
// what there is, of types that are not there, and of names that an alias leads to.
func TestSteeredKinds(t *testing.T) {
	tools.Need(t, "delv", "dig", "drill")
	for _, policy := range []string{"denial: nsec", "denial: nsec3", "denial: compact"} {
		t.Run(policy, func(t *testing.T) {
			f := newFolder(t)
			f.write("example.com.zone", signedZone)
			n, _ := start(t, f.config(signedConfig(policy)+namedPools))
			eventually(t, func() string {
				if s := n.current.Load(); s.lives == 0 || len(ask(t, n.DNS()[0], "example.com.", rdata.TypeDNSKEY, false).Answer) == 0 || policy != "denial: compact" && isSigned(n) != "" {
					return "no keys yet"
				}
				return ""
			})
			anchorOf(t, f, n)
			for _, q := range []struct{ name, qtype, want, data string }{
				{"_sip._tcp.example.com", "SRV", "; fully validated", "10 3 5060 one.example.net."},
				{"_sip._tcp.example.com", "SRV", "; fully validated", "20 1 5061 two.example.net."},
				{"_sip._tcp.example.com", "A", "; negative response, fully validated", ""},
				{"mail.example.com", "MX", "; fully validated", "10 one.example.net."},
				{"mail.example.com", "TXT", "; negative response, fully validated", ""},
				{"shop.example.com", "CNAME", "; fully validated", "one.example.net."},
				{"here.example.com", "A", "; fully validated", "www.example.com."},
				{"here.example.com", "MX", "; fully validated", "www.example.com."},
				{"app.example.com", "HTTPS", "; fully validated", "1 . alpn=\"h2\" ipv4hint=192.0.2.80 ipv6hint=2001:db8::80"},
				{"app.example.com", "AAAA", "; fully validated", "2001:db8::80"},
				{"app.example.com", "SRV", "; negative response, fully validated", ""},
				{"_dns.example.com", "SVCB", "; fully validated", "alpn=\"dot\" ipv4hint=192.0.2.80"},
				{"_dns.example.com", "AAAA", "; negative response, fully validated", ""},
			} {
				out := runTool(t, f.path, "delv", "@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port()), "-a", "anchor", "+root=example.com", q.name, q.qtype)
				if !strings.Contains(out, q.want) || !strings.Contains(out, q.data) {
					t.Errorf("%s %s: want %q and %q, got\n%s", q.name, q.qtype, q.want, q.data, out)
				}
			}
			if out := run(t, "drill", "-p", fmt.Sprint(n.DNS()[0].Port()), "-D", "@127.0.0.1", "mail.example.com", "MX"); !strings.Contains(out, "RRSIG\tMX") {
				t.Errorf("drill:\n%s", out)
			}
		})
	}
}

// target is a server that a probe can connect to, until it is closed.
func target(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("no second address on loopback: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestExportedAnswers: a server that knows nothing of pools gets a steered name with its
// present answer, and is told by NOTIFY when a member dies; what the operator keeps at the
// name stays his, and is back when the name is steered no more.
func TestExportedAnswers(t *testing.T) {
	for _, kind := range peers.All() {
		for _, signed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s signed %v", kind, signed), func(t *testing.T) {
				tools.Need(t, string(kind), "dig", "delv")
				one, two := target(t, "127.0.0.11:0"), target(t, "127.0.0.12:0")
				here, theirs, f := freePort(t), freePort(t), newFolder(t)
				f.write("example.com.zone", strings.Replace(signedZone, "\nwww", "\napp 60 A 192.0.2.99\napp 60 TXT \"mine\"\nwww", 1))
				config := func(steer string) string {
					base, dnssec := fmt.Sprintf("data: data\nstore: {enabled: false}\nlisten: {dns: [\"%s\"], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\n", here), ""
					if signed {
						base += "dnssec: {policies: [{name: test, denial: nsec}]}\n"
						dnssec = ", dnssec: test"
					}
					return base + fmt.Sprintf("zones: [{name: example.com, file: example.com.zone, transfer: [{network: 127.0.0.1/32}], notify: [{address: \"%s\"}]%s}]\n"+
						"steering: {exportInterval: 100ms}\n"+
						"pools: [{name: web, check: {interval: 50ms, timeout: 40ms, fall: 2}, members: [{name: a, address: \"%s\"}, {name: b, address: \"%s\"}]}]\n%s",
						theirs, dnssec, one.Addr(), two.Addr(), steer)
				}
				const steered = "steer: [{name: app.example.com, pool: web}]\n"
				path := f.write("pharos.yaml", config(steered))
				n, _ := start(t, path)
				if signed {
					eventually(t, func() string { return isSigned(n) })
				}
				s := startPeer(t, kind, peers.Options{Address: theirs, Zones: []peers.Zone{{Name: "example.com.", Primary: here}}})
				answers := func(want ...string) {
					t.Helper()
					eventually(t, func() string {
						m, _, err := (&dns.Client{Timeout: time.Second}).Exchange(new(dns.Msg).SetQuestion("app.example.com.", dns.TypeA), theirs.String())
						if err != nil {
							return err.Error()
						}
						var got []string
						for _, r := range m.Answer {
							got = append(got, r.(*dns.A).A.String())
						}
						if slices.Sort(got); slices.Equal(got, want) {
							return ""
						}
						return fmt.Sprintf("%s answers %v, want %v\n%s", kind, got, want, s.Log())
					})
				}
				answers("127.0.0.11", "127.0.0.12")
				before := n.outgoing.Counts().Incremental
				two.Close()
				answers("127.0.0.11")
				if kind != peers.Named && n.outgoing.Counts().Incremental == before {
					t.Errorf("not by IXFR: %+v", n.outgoing.Counts())
				}
				if signed {
					anchorOf(t, f, n)
					for _, q := range []struct{ qtype, want string }{{"A", "; fully validated"}, {"AAAA", "; negative response, fully validated"}, {"TXT", "; fully validated"}} {
						for _, server := range []netip.AddrPort{theirs, here} {
							out := runTool(t, f.path, "delv", "@127.0.0.1", "-p", fmt.Sprint(server.Port()), "-a", "anchor", "+root=example.com", "app.example.com", q.qtype)
							if !strings.Contains(out, q.want) {
								t.Errorf("%s at %v: want %q, got\n%s", q.qtype, server, q.want, out)
							}
						}
					}
				}
				serial := n.current.Load().apexes.Get(dnsname.MustParse("example.com.")).served.Zone.Serial()
				f.write("pharos.yaml", config(""))
				if _, err := n.reload(); err != nil {
					t.Fatal(err)
				}
				answers("192.0.2.99")
				if now := n.current.Load().apexes.Get(dnsname.MustParse("example.com.")).served.Zone.Serial(); !serial.Less(now) {
					t.Errorf("serial %d after %d", now, serial)
				}
			})
		}
	}
}

// TestSteeredUpdates: dynamic updates change what the operator keeps at a steered name
// (RFC 2136), which is neither answered nor lost: other servers get the present answer, and when
// the name is steered no more, his records are what was last written.
func TestSteeredUpdates(t *testing.T) {
	f := newFolder(t)
	f.write("peer.zone", peerZone(1))
	config := func(steer string) string {
		return f.config(fmt.Sprintf("store: {enabled: false}\nkeys: [{name: transfer-key, secret: \"%s\"}, {name: all-key, secret: \"%s\"}]\n"+
			"zones:\n  - name: peer.test\n    kind: store\n    file: peer.zone\n    transfer: [{network: 127.0.0.1/32}]\n    %s\n      - {key: all-key, types: [ANY]}\n"+
			"pools: [{name: web, check: {type: none}, members: [{name: a, address: \"192.0.2.80:80\"}]}]\n%s", peerKey.Secret, peerKey.Secret, updateRules, steer))
	}
	n, _ := start(t, config("steer: [{name: lb.peer.test, pool: web}]\n"))
	set := new(dns.Msg).SetUpdate("peer.test.")
	for _, text := range []string{"lb.peer.test. 60 IN A 192.0.2.7", "lb.peer.test. 60 IN TXT mine"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		set.Insert([]dns.RR{rr})
	}
	set.SetTsig("all-key.", dns.HmacSHA256, 300, clock.Now().Unix())
	c := &dns.Client{Net: "tcp", TsigSecret: map[string]string{"all-key.": peerKey.Secret}}
	if r, _, err := c.Exchange(set, n.DNS()[0].String()); err != nil || r.Rcode != 0 {
		t.Fatalf("update: %v, %v", r, err)
	}
	at := func(qtype rdata.Type) string { return summary(ask(t, n.DNS()[0], "lb.peer.test.", qtype, false)) }
	if a, txt := at(rdata.TypeA), at(rdata.TypeTXT); !strings.HasSuffix(a, " 192.0.2.80") || !strings.HasSuffix(txt, `"mine"`) {
		t.Errorf("steered: %s; %s", a, txt)
	}
	var transferred []string
	for _, r := range recordsAt(t, n.DNS()[0], nil) {
		if strings.HasPrefix(r, "lb.") {
			transferred = append(transferred, strings.Join(strings.Fields(r), " "))
		}
	}
	if got := strings.Join(transferred, "; "); got != `lb.peer.test. 5 in a 192.0.2.80; lb.peer.test. 60 in txt "mine"` {
		t.Errorf("transferred: %s", got)
	}
	config("")
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if a := at(rdata.TypeA); !strings.HasSuffix(a, " 192.0.2.7") {
		t.Errorf("steered no more: %s", a)
	}
}

// TestTransitionIsAnswered: the first answer after a transition is another; nobody waits for a
// TTL, a timer or a compilation. Before and after, the TTL says so.
func TestTransitionIsAnswered(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", steeredZone)
	n, _ := start(t, f.config(`zones: [{name: example.com, file: example.com.zone}]
pools: [{name: web, check: {interval: 1h, type: none}, members: [{name: a, address: "192.0.2.1:80"}, {name: b, address: "192.0.2.2:80"}]}]
steer: [{name: www.example.com, pool: web, ttl: 1h, shortTTL: 2s, calm: 1m}]
`))
	s := n.current.Load()
	v := s.pools.Pool("web").View()
	if m := ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false); len(m.Answer) != 2 {
		t.Fatalf("before: %s", summary(m))
	}
	n.onHealth([]probe.Change{{
		Target: v.Members[1].Target, Transition: health.Transition{From: health.Up, To: health.Down},
		Status: health.Status{State: health.Down, Since: clock.Now(), Changes: 1 << 40},
	}})
	if m := ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false); len(m.Answer) != 1 || m.Answer[0].TTL != 2 || !strings.HasSuffix(summary(m), "192.0.2.1") {
		t.Errorf("after: %s", summary(m))
	}
}
