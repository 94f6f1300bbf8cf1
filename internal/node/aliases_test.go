package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/rdata"
)

// provider is a root server that has the names that others point to.
type provider struct {
	*Node
	folder folder
	stop   func()
}

const providerZone = `$TTL 1
.            SOA a.root. host.root. %d 1h 15m 1w 1
.            NS  a.root.
a.root.      A   127.0.0.1
web.test.    A   %s
web.test.    AAAA 2001:db8::1
local.test.  A   127.0.0.53
nothing.test. TXT none
way.test.    CNAME web.test.
`

func startProvider(t *testing.T) *provider {
	p := &provider{folder: newFolder(t)}
	p.folder.write("root.zone", fmt.Sprintf(providerZone, 1, "192.0.2.1"))
	p.Node, p.stop = start(t, p.folder.config("zones: [{name: ., file: root.zone}]"))
	return p
}

// say changes the address of web.test.
func (p *provider) say(t *testing.T, serial int, address string) {
	t.Helper()
	p.folder.write("root.zone", fmt.Sprintf(providerZone, serial, address))
	if _, err := p.reload(); err != nil {
		t.Fatal(err)
	}
}

// aliasConfig is a configuration that resolves with p.
func (p *provider) aliasConfig(f folder, rest string) string {
	f.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	return f.config(fmt.Sprintf("resolver: {allow: [], rootHints: hints, port: %d, validate: false, timeout: 1s}\nalias: {minRefresh: 1s, maxRefresh: 1s}\n%s", p.DNS()[0].Port(), rest))
}

const aliasZoneText = `$TTL 1h
@     SOA   ns1 hostmaster 10 1h 15m 1w 5m
@     NS    ns1
ns1   A     127.0.0.1
@     300 ALIAS way.test.
@     MX    10 mail
mail  60  ALIAS web.test.
`

const aliasZones = "zones: [{name: example.com, file: example.zone, transfer: [{network: 127.0.0.0/8}]}]\n"

// lines returns the answers of a message but for SOA, a line each without TTL.
func lines(m *dns.Msg) string {
	var all []string
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != dns.TypeSOA {
			all = append(all, strings.Join(strings.Fields(strings.TrimPrefix(rr.String(), rr.Header().Name)), " "))
		}
	}
	return dns.RcodeToString[m.Rcode] + edeOf(m) + " " + strings.Join(all, "; ")
}

func waitAnswer(t *testing.T, n *Node, name string, qtype uint16, want string) {
	t.Helper()
	eventually(t, func() string {
		if got := lines(exchange(t, "tcp", n.DNS()[0], question(name, qtype, nil))); got != want {
			return fmt.Sprintf("%s %s: %s, want %s", name, dns.TypeToString[qtype], got, want)
		}
		return ""
	})
}

func serialOf(t *testing.T, n *Node, name string) uint32 {
	t.Helper()
	m := exchange(t, "tcp", n.DNS()[0], question(name, dns.TypeSOA, nil))
	if len(m.Answer) != 1 {
		t.Fatal(m)
	}
	return m.Answer[0].(*dns.SOA).Serial
}

// TestAlias: a name has the addresses of its target, which change by themselves: each
// change is a version with a serial of its own, and transferred. A target that fails,
// and a restart, leave what was good.
func TestAlias(t *testing.T) {
	p := startProvider(t)
	f := newFolder(t)
	f.write("example.zone", aliasZoneText)
	config := p.aliasConfig(f, aliasZones)
	n, stop := start(t, config)
	waitAnswer(t, n, "example.com", dns.TypeA, "NOERROR 300 IN A 192.0.2.1")
	waitAnswer(t, n, "example.com", dns.TypeAAAA, "NOERROR 300 IN AAAA 2001:db8::1")
	waitAnswer(t, n, "mail.example.com", dns.TypeA, "NOERROR 60 IN A 192.0.2.1")
	waitAnswer(t, n, "example.com", 65401, "NOERROR ") // it is not there any more
	before := serialOf(t, n, "example.com")
	if before < 10 {
		t.Errorf("serial %d is before the file's", before)
	}
	p.say(t, 2, "192.0.2.2")
	waitAnswer(t, n, "example.com", dns.TypeA, "NOERROR 300 IN A 192.0.2.2")
	waitAnswer(t, n, "mail.example.com", dns.TypeA, "NOERROR 60 IN A 192.0.2.2")
	after := serialOf(t, n, "example.com")
	if after <= before {
		t.Errorf("serial %d after %d", after, before)
	}
	whole := lines(exchange(t, "tcp", n.DNS()[0], question("example.com", dns.TypeAXFR, nil)))
	if !strings.Contains(whole, "300 IN A 192.0.2.2") || strings.Contains(whole, "65401") {
		t.Errorf("transferred: %s", whole)
	}
	have := func(m *dns.Msg) {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: before}}
	}
	if got := lines(exchange(t, "tcp", n.DNS()[0], question("example.com", dns.TypeIXFR, have))); !strings.Contains(got, "192.0.2.1") || !strings.Contains(got, "192.0.2.2") || strings.Contains(got, "NS") {
		t.Errorf("differences: %s", got)
	}

	p.stop()
	eventually(t, func() string {
		if text := problemText(n, "alias-failed", "example.com."); !strings.Contains(text, "last good addresses are served on") {
			return "the target is gone: problem " + text
		}
		return ""
	})
	waitAnswer(t, n, "example.com", dns.TypeA, "NOERROR 300 IN A 192.0.2.2")
	stop()
	again, _ := start(t, config)
	if got := lines(exchange(t, "tcp", again.DNS()[0], question("example.com", dns.TypeA, nil))); got != "NOERROR 300 IN A 192.0.2.2" {
		t.Errorf("after a restart without the target: %s", got)
	}
	if got := serialOf(t, again, "example.com"); got != after {
		t.Errorf("serial %d after a restart, want %d", got, after)
	}
}

// TestAliasFailures: what cannot be resolved is answered SERVFAIL, not that there are
// no addresses; and said.
func TestAliasFailures(t *testing.T) {
	p := startProvider(t)
	f := newFolder(t)
	f.write("example.zone", strings.Split(aliasZoneText, "@     300")[0]+`
nx       60 ALIAS nx.test.
empty    60 ALIAS nothing.test.
local    60 ALIAS local.test.
loop1    60 ALIAS loop2
loop2    60 ALIAS loop1
self     60 ALIAS self
text     60 ALIAS nx.test.
text     60 TXT   "here"
`)
	n, _ := start(t, p.aliasConfig(f, aliasZones))
	for _, name := range []string{"nx", "empty", "local", "loop1", "loop2", "self"} {
		waitAnswer(t, n, name+".example.com", dns.TypeA, "SERVFAIL (14) ")
		waitAnswer(t, n, name+".example.com", dns.TypeAAAA, "SERVFAIL (14) ")
	}
	waitAnswer(t, n, "text.example.com", dns.TypeTXT, `NOERROR 60 IN TXT "here"`)
	eventually(t, func() string { // one after the other comes to nothing
		if text := problemText(n, "alias-failed", "example.com."); !strings.Contains(text, "SERVFAIL until there are addresses; and ") {
			return fmt.Sprintf("problem %q", text)
		}
		return ""
	})
}

// TestAliasOwnZones: a target in a zone of ours is found there, through CNAME and ALIAS
// records; one that is steered has the alias answered from the pool.
func TestAliasOwnZones(t *testing.T) {
	p := startProvider(t)
	f := newFolder(t)
	f.write("example.zone", aliasZoneText+`
own      60 ALIAS www.other.test.
chain    60 ALIAS own
out      60 ALIAS out.other.test.
pool     60 ALIAS www.steered.test.
pool     60 TXT   "beside"
`)
	f.write("other.zone", "$TTL 1h\n@ SOA ns1 host 1 1h 15m 1w 5m\n@ NS ns1\nns1 A 127.0.0.1\nwww CNAME real\nreal A 192.0.2.7\nout CNAME web.test.\n")
	f.write("steered.zone", "$TTL 1h\n@ SOA ns1 host 1 1h 15m 1w 5m\n@ NS ns1\nns1 A 127.0.0.1\n")
	n, _ := start(t, p.aliasConfig(f, `zones:
- {name: example.com, file: example.zone}
- {name: other.test, file: other.zone}
- {name: steered.test, file: steered.zone}
pools: [{name: web, members: [{name: a, address: "198.51.100.9:80"}]}]
steer: [{name: www.steered.test, pool: web}]
`))
	waitAnswer(t, n, "own.example.com", dns.TypeA, "NOERROR 60 IN A 192.0.2.7")
	waitAnswer(t, n, "own.example.com", dns.TypeAAAA, "NOERROR ")
	waitAnswer(t, n, "chain.example.com", dns.TypeA, "NOERROR 60 IN A 192.0.2.7")
	waitAnswer(t, n, "out.example.com", dns.TypeA, "NOERROR 60 IN A 192.0.2.1")
	waitAnswer(t, n, "pool.example.com", dns.TypeA, "NOERROR 5 IN A 198.51.100.9")
	waitAnswer(t, n, "pool.example.com", dns.TypeAAAA, "NOERROR ")
	waitAnswer(t, n, "pool.example.com", dns.TypeTXT, `NOERROR 60 IN TXT "beside"`)
	if got := summary(ask(t, n.DNS()[0], "www.steered.test.", rdata.TypeA, false)); !strings.HasSuffix(got, "198.51.100.9") {
		t.Errorf("the steered name itself: %s", got)
	}
}

// TestAliasInView: the alias of a zone in a view has the addresses that the view sees.
func TestAliasInView(t *testing.T) {
	p := startProvider(t)
	f := newFolder(t)
	alias := "$TTL 1h\n@ SOA ns1 host 1 1h 15m 1w 5m\n@ NS ns1\nns1 A 127.0.0.1\n@ 60 ALIAS www.data.test.\n"
	f.write("alias.zone", alias)
	f.write("data.zone", zoneWith("192.0.2.7"))
	f.write("secret.zone", zoneWith("10.0.0.7"))
	n, _ := start(t, p.aliasConfig(f, `zones: [{name: example.com, file: alias.zone}, {name: data.test, file: data.zone}]
views:
- name: inside
  clients: [127.0.0.2/32]
  zones: [{name: example.com, file: alias.zone}, {name: data.test, file: secret.zone}]
`))
	for from, want := range map[string]string{"127.0.0.1": "192.0.2.7", "127.0.0.2": "10.0.0.7"} {
		eventually(t, func() string {
			if got := told(askFrom(t, from, n, question("example.com", dns.TypeA, nil))); got != want {
				return fmt.Sprintf("from %s: %s, want %s", from, got, want)
			}
			return ""
		})
	}
}
