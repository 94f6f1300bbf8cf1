package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

func memberZone(name, address string) string {
	return fmt.Sprintf("$ORIGIN %s\n$TTL 300\n@ SOA ns1 admin 1 3600 600 86400 60\n@ NS ns1\nns1 A %s\n", name, address)
}

// eventuallyAnswers waits until a server gives an answer: an address, or a code.
func eventuallyAnswers(t *testing.T, at netip.AddrPort, name, want string, log func() string) {
	t.Helper()
	eventually(t, func() string {
		m, _, err := (&dns.Client{Timeout: time.Second}).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), at.String())
		if err == nil && (dns.RcodeToString[m.Rcode] == want || strings.Contains(fmt.Sprint(m.Answer), want)) {
			return ""
		}
		return fmt.Sprintf("%s at %v: %v, %v, want %s\n%s", name, at, m, err, want, log())
	})
}

// producer is a node that makes a catalog of its zones.
type producer struct {
	folder
	at   netip.AddrPort
	tell netip.AddrPort
	n    *Node
	stop func()
}

func startProducer(t *testing.T, tell netip.AddrPort, zones string) *producer {
	t.Helper()
	p := &producer{folder: newFolder(t), at: freePort(t), tell: tell}
	for i, name := range []string{"a.test.", "b.test.", "c.test."} {
		p.write(name[:1]+".zone", memberZone(name, fmt.Sprintf("192.0.2.%d", i+1)))
	}
	p.n, p.stop = start(t, p.configure(zones))
	return p
}

// configure writes zones, of which each has its file and transfers, and the catalog.
func (p *producer) configure(zones string) string {
	text := fmt.Sprintf("zones:\n  - {name: cat.test, kind: catalog, transfer: [{network: 127.0.0.0/8}], notify: [{address: \"%s\"}]}\n", p.tell)
	for line := range strings.Lines(zones) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		text += fmt.Sprintf("  - {name: %s.test, file: %s.zone, transfer: [{network: 127.0.0.0/8}]%s}\n", name, name, rest)
	}
	return peerConfig(p.folder, p.at, nil, text)
}

func (p *producer) change(t *testing.T, zones string) {
	t.Helper()
	p.configure(zones)
	if _, err := p.n.reload(); err != nil {
		t.Fatal(err)
	}
}

const listed = ", catalogMember: cat.test"

func consumerConfig(f folder, at, from netip.AddrPort, more string) string {
	return peerConfig(f, at, nil, fmt.Sprintf(`zones:
  - {name: cat.test, kind: secondary, primaries: [{address: "%s"}], catalog: {templates: [{}, {group: open, transfer: [{network: 127.0.0.0/8}]}], maxMembers: 3}}
%s`, from, more))
}

func none() string { return "" }

// TestCatalogBetweenNodes: RFC 9432: zones that a node lists appear on another, by its
// templates, and go when they are listed no more, with their copies set aside; they
// are there after a restart without the primary; a zone that begins anew is begun anew.
func TestCatalogBetweenNodes(t *testing.T) {
	at, f := freePort(t), newFolder(t)
	p := startProducer(t, at, "a "+listed+"\nb "+listed+", catalogGroup: open\n")
	config := consumerConfig(f, at, p.at, "")
	n, stop := start(t, config)
	eventuallyAnswers(t, at, "ns1.a.test.", "192.0.2.1", none)
	eventuallyAnswers(t, at, "ns1.b.test.", "192.0.2.2", none)
	for name, want := range map[string]int{"a.test.": 0, "b.test.": 1} {
		a := n.current.Load().apexes.Get(dnsname.MustParse(name))
		if len(a.config.Transfer) != want || a.config.ListedBy.String() != "cat.test." || a.config.Primaries[0].Address != p.at {
			t.Errorf("%s is served as %+v", name, a.config)
		}
	}
	p.change(t, "b "+listed+"\nc "+listed+"\n")
	eventuallyAnswers(t, at, "ns1.c.test.", "192.0.2.3", none)
	eventuallyAnswers(t, at, "ns1.a.test.", "REFUSED", none)
	if got := len(n.current.Load().apexes.Get(dnsname.MustParse("b.test.")).config.Transfer); got != 0 {
		t.Errorf("b.test. has left its group, but keeps %d rules", got)
	}
	copies := func() (all []string) {
		entries, _ := os.ReadDir(filepath.Join(f.path, "data", "zones"))
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	if list := strings.Join(copies(), " "); !strings.Contains(list, "a.test") || !strings.Contains(list, ".removed") {
		t.Errorf("copies: %s", list)
	}
	serial := p.n.current.Load().apexes.Get(dnsname.MustParse("cat.test.")).served.Zone.Serial()
	p.stop()
	stop()
	_, stop = start(t, config)
	eventuallyAnswers(t, at, "ns1.c.test.", "192.0.2.3", none)
	stop()
	// Even without the catalog: its copy is gone.
	for _, name := range copies() {
		if strings.HasPrefix(name, "cat.test") {
			if err := os.Remove(filepath.Join(f.path, "data", "zones", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	n, _ = start(t, config)
	eventuallyAnswers(t, at, "ns1.c.test.", "192.0.2.3", none)
	eventuallyAnswers(t, at, "ns1.b.test.", "192.0.2.2", none)
	p.n, p.stop = start(t, p.configure("b "+listed+"\nc "+listed+"\n"))
	if again := p.n.current.Load().apexes.Get(dnsname.MustParse("cat.test.")).served.Zone.Serial(); again != serial {
		t.Errorf("the catalog has serial %d after a restart that changed nothing, before it %d", again, serial)
	}
	p.change(t, "b "+listed+"\n")
	eventuallyAnswers(t, at, "ns1.c.test.", "REFUSED", none)
	if n.current.Load().apexes.Len() != 2 {
		t.Errorf("%d zones", n.current.Load().apexes.Len())
	}
}

// TestCatalogTrouble: RFC 9432 §5.1 and §5.2: a broken catalog, or one with too many
// members, changes nothing and is told of; a zone that the configuration defines, and
// one that is listed by another catalog, stay what they are.
func TestCatalogTrouble(t *testing.T) {
	f := newFolder(t)
	catalogText := func(serial int, name, rest string) string {
		return fmt.Sprintf("$ORIGIN %s\n@ 0 SOA invalid. invalid. %d 3600 600 86400 0\n@ 0 NS invalid.\nversion 0 TXT \"2\"\n%s", name, serial, rest)
	}
	f.write("one.zone", catalogText(1, "one.test.", "x.zones 0 PTR x.example.\nm.zones 0 PTR mine.example.\n"))
	f.write("two.zone", catalogText(1, "two.test.", "x.zones 0 PTR x.example.\ny.zones 0 PTR y.example.\n"))
	f.write("mine.zone", memberZone("mine.example.", "192.0.2.9"))
	template := `catalog: {templates: [{primaries: [{address: "127.0.0.1:1"}]}], maxMembers: 3}`
	n, _ := start(t, f.config(fmt.Sprintf("store: {enabled: false}\nzones:\n  - {name: one.test, file: one.zone, %s}\n  - {name: two.test, file: two.zone, %s}\n  - {name: mine.example, file: mine.zone}\n", template, template)))
	served := func() string {
		var all []string
		for z := range n.current.Load().served() {
			a := n.current.Load().apexes.Get(z.Name)
			if !a.config.ListedBy.IsZero() {
				all = append(all, a.config.ListedBy.String()+z.Name.String())
			}
		}
		return strings.Join(all, " ")
	}
	has := func(c problems.Code, about, text string) {
		t.Helper()
		for _, p := range n.problems.All() {
			if p.Code == string(c) && p.About == about {
				if text == "" || !strings.Contains(p.Text, text) {
					t.Errorf("%s about %s: %s", c, about, p.Text)
				}
				return
			}
		}
		if text != "" {
			t.Errorf("no problem %s about %s", c, about)
		}
	}
	const want = "one.test.x.example. two.test.y.example."
	if got := served(); got != want {
		t.Errorf("served %s, want %s", got, want)
	}
	has(problems.MemberRefused, "one.test.", "mine.example. is not served: the configuration defines this zone itself")
	has(problems.MemberRefused, "two.test.", "x.example. is not served: it belongs to catalog one.test.")
	if got := summary(ask(t, n.DNS()[0], "ns1.mine.example.", rdata.TypeA, false)); !strings.Contains(got, "192.0.2.9") {
		t.Errorf("the zone of the configuration: %s", got)
	}
	for i, broken := range []string{
		"x.zones 0 PTR x.example.\nx.zones 0 PTR z.example.\n", "version 0 TXT \"3\"\n",
		"x.zones 0 PTR x.example.\na.zones 0 PTR a.example.\nb.zones 0 PTR b.example.\nc.zones 0 PTR c.example.\n",
	} {
		f.write("one.zone", catalogText(2+i, "one.test.", broken))
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
		if got := served(); got != want {
			t.Errorf("after %q: served %s, want %s", broken, got, want)
		}
		has(problems.CatalogBroken, "one.test.", "the catalog is broken, so the members it had before stay")
	}
	f.write("one.zone", catalogText(9, "one.test.", "x.zones 0 PTR x.example.\ncoo.x.zones 0 PTR two.test.\n"))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	has(problems.CatalogBroken, "one.test.", "")
	if got, want := served(), "two.test.x.example. two.test.y.example."; got != want {
		t.Errorf("after a change of ownership: served %s, want %s", got, want)
	}
	has(problems.MemberRefused, "two.test.", "")
	if err := n.ready(); err != nil {
		t.Errorf("members without a version make the node unready: %v", err)
	}
}

// TestCatalogByUpdate: a catalog that is changed by dynamic updates has its members
// served, and dropped, as it says.
func TestCatalogByUpdate(t *testing.T) {
	f := newFolder(t)
	f.write("cat.zone", "$ORIGIN cat.test.\n@ 0 SOA invalid. invalid. 1 3600 600 86400 0\n@ 0 NS invalid.\nversion 0 TXT \"2\"\n")
	n, _ := start(t, f.config(fmt.Sprintf(`store: {enabled: false}
keys: [{name: transfer-key, secret: "%s"}]
zones: [{name: cat.test, kind: store, file: cat.zone, updates: [{key: transfer-key}], catalog: {templates: [{primaries: [{address: "127.0.0.1:1"}]}]}}]
`, peerKey.Secret)))
	member := dnsname.MustParse("member.example.")
	for i, there := range []bool{true, false} {
		m := insert(t, "cat.test.", "m.zones.cat.test. 0 PTR member.example.")
		if !there {
			m.Ns[0].Header().Class = dns.ClassNONE
		}
		if r, err := newClient(n, "tcp", peerKey.Secret).ask(t, m, 0); err != nil || r.Rcode != 0 {
			t.Fatalf("update %d: %v, %v", i, r, err)
		}
		eventually(t, func() string {
			if (n.current.Load().apexes.Get(member) != nil) != there {
				return fmt.Sprintf("after update %d the member is not as it should be", i)
			}
			return ""
		})
	}
}

// TestCatalogForPeers: Knot and BIND serve the zones that we list, and drop those that
// we list no more.
func TestCatalogForPeers(t *testing.T) {
	for _, kind := range []peers.Kind{peers.Knot, peers.Named} {
		t.Run(string(kind), func(t *testing.T) {
			tools.Need(t, string(kind))
			theirs := freePort(t)
			p := startProducer(t, theirs, "a "+listed+"\nb "+listed+", catalogGroup: open\n")
			s := startPeer(t, kind, peers.Options{Address: theirs, Zones: []peers.Zone{{Name: "cat.test.", Primary: p.at, Consume: true}}})
			eventuallyAnswers(t, theirs, "ns1.a.test.", "192.0.2.1", s.Log)
			eventuallyAnswers(t, theirs, "ns1.b.test.", "192.0.2.2", s.Log)
			p.change(t, "b "+listed+"\nc "+listed+"\n")
			eventuallyAnswers(t, theirs, "ns1.c.test.", "192.0.2.3", s.Log)
			eventuallyAnswers(t, theirs, "ns1.a.test.", "REFUSED", s.Log)
			eventuallyAnswers(t, theirs, "ns1.b.test.", "192.0.2.2", s.Log)
		})
	}
}

// TestCatalogOfKnot: zones that Knot lists appear here, by the template of their group.
func TestCatalogOfKnot(t *testing.T) {
	tools.Need(t, string(peers.Knot))
	at, theirs, f := freePort(t), freePort(t), newFolder(t)
	s := startPeer(t, peers.Knot, peers.Options{Address: theirs, Zones: []peers.Zone{
		{Name: "cat.test.", Generate: true, Notify: at},
		{Name: "a.test.", Text: memberZone("a.test.", "192.0.2.1"), CatalogZone: "cat.test."},
		{Name: "b.test.", Text: memberZone("b.test.", "192.0.2.2"), CatalogZone: "cat.test.", Group: "open"},
	}})
	n, _ := start(t, consumerConfig(f, at, theirs, ""))
	eventuallyAnswers(t, at, "ns1.a.test.", "192.0.2.1", s.Log)
	eventuallyAnswers(t, at, "ns1.b.test.", "192.0.2.2", s.Log)
	if got := len(n.current.Load().apexes.Get(dnsname.MustParse("b.test.")).config.Transfer); got != 1 {
		t.Errorf("b.test., of group open, has %d rules", got)
	}
}
