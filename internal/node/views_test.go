package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/byname"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
)

// zoneWith is a zone whose name www has the address given.
func zoneWith(address string) string {
	return "$TTL 1h\n@ SOA ns1 hostmaster 1 1h 15m 1w 5m\n@ NS ns1\nns1 A 127.0.0.1\nwww A " + address + "\n"
}

// viewsConfig has a zone in two views and outside, and others here and there.
const viewsConfig = `keys:
- {name: peer, secret: K2tf3TRjvQkVCmJF3/Z9vA==}
- {name: second, secret: bTJ3TRjvQkVCmJF3/Z9vAA==}
zones:
- {name: example.com, file: outside.zone}
- {name: public.test, file: outside.zone}
- {name: com, file: outside.zone}
views:
- name: inside
  clients: [127.0.0.2/32, 198.51.100.0/24]
  keys: [peer]
  zones:
  - {name: example.com, file: inside.zone, transfer: [{key: peer}]}
  - {name: private.test, file: inside.zone}
  - {name: broken.public.test, file: missing.zone}
- name: alone
  clients: [127.0.0.3/32]
  isolated: true
  zones: [{name: example.com, file: alone.zone}]
`

func startViews(t *testing.T, more string) (*Node, folder) {
	f := newFolder(t)
	for name, address := range map[string]string{"outside": "192.0.2.1", "inside": "10.0.0.1", "alone": "10.9.9.9"} {
		f.write(name+".zone", zoneWith(address))
	}
	n, _ := start(t, f.config(viewsConfig+more))
	return n, f
}

// askFrom asks from a local address.
func askFrom(t *testing.T, from string, n *Node, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := &dns.Client{
		Net: "tcp", Timeout: 10 * time.Second, TsigSecret: map[string]string{"peer.": testKeySecret, "second.": "bTJ3TRjvQkVCmJF3/Z9vAA=="},
		Dialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}},
	}
	answer, _, err := c.Exchange(m, n.DNS()[0].String())
	if err != nil {
		t.Fatalf("%v from %s: %v", m.Question, from, err)
	}
	return answer
}

// told returns what an answer says, in a word.
func told(m *dns.Msg) string {
	text := dns.RcodeToString[m.Rcode] + edeOf(m)
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			return a.A.String()
		}
	}
	return text
}

// TestViews: each client sees the zones of its view, and what is outside of views.
func TestViews(t *testing.T) {
	n, _ := startViews(t, "")
	for _, tt := range []struct{ from, name, want string }{
		{"127.0.0.1", "www.example.com", "192.0.2.1"},
		{"127.0.0.2", "www.example.com", "10.0.0.1"},
		{"127.0.0.3", "www.example.com", "10.9.9.9"},
		{"127.0.0.1", "www.private.test", "REFUSED (20)"},
		{"127.0.0.2", "www.private.test", "10.0.0.1"},
		{"127.0.0.3", "www.private.test", "REFUSED (20)"},
		{"127.0.0.2", "www.public.test", "192.0.2.1"}, // the overlay
		{"127.0.0.3", "www.public.test", "REFUSED (20)"},
		{"127.0.0.2", "nothing.example.com", "NXDOMAIN"}, // the view's zone is the whole zone
		// What the view has but cannot serve is not answered from outside.
		{"127.0.0.2", "www.broken.public.test", "SERVFAIL (14)"},
		{"127.0.0.1", "www.broken.public.test", "NXDOMAIN"},
	} {
		if got := told(askFrom(t, tt.from, n, question(tt.name, dns.TypeA, nil))); got != tt.want {
			t.Errorf("%s from %s: %s, want %s", tt.name, tt.from, got, tt.want)
		}
	}
	var shown []string
	for _, z := range n.Zones() {
		shown = append(shown, z.Name+z.View)
	}
	if got, want := strings.Join(shown, " "), "example.com. public.test. com. example.com.inside private.test.inside broken.public.test.inside example.com.alone"; got != want {
		t.Errorf("zones %s, want %s", got, want)
	}
	if text := problemText(n, "zone-refused", "broken.public.test.@inside"); !strings.Contains(text, "missing.zone") {
		t.Errorf("the broken zone: problem %q", text)
	}
}

func problemText(n *Node, code, about string) string {
	for _, p := range n.problems.All() {
		if p.Code == code && p.About == about {
			return p.Text
		}
	}
	return ""
}

// TestViewByKey: a key decides before the network does, for queries and transfers.
func TestViewByKey(t *testing.T) {
	n, _ := startViews(t, "")
	for from, want := range map[string]string{"127.0.0.1": "10.0.0.1", "127.0.0.3": "10.0.0.1"} {
		if got := told(askFrom(t, from, n, question("www.example.com", dns.TypeA, signed))); got != want {
			t.Errorf("with the key from %s: %s, want %s", from, got, want)
		}
	}
	other := func(m *dns.Msg) { m.SetTsig("second.", dns.HmacSHA256, 300, time.Now().Unix()) }
	if got := told(askFrom(t, "127.0.0.3", n, question("www.example.com", dns.TypeA, other))); got != "10.9.9.9" {
		t.Errorf("with a key of no view: %s, want the network's", got)
	}
	whole := askFrom(t, "127.0.0.1", n, question("example.com", dns.TypeAXFR, signed))
	if text := fmt.Sprint(whole.Answer); !strings.Contains(text, "10.0.0.1") || strings.Contains(text, "192.0.2.1") {
		t.Errorf("transfer with the view's key: %s", text)
	}
	if got := told(askFrom(t, "127.0.0.1", n, question("example.com", dns.TypeAXFR, nil))); got != "REFUSED (18)" {
		t.Errorf("transfer without: %s", got)
	}
}

func subnet(family uint16, bits uint8, address string) func(m *dns.Msg) {
	return func(m *dns.Msg) {
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: bits, Address: net.ParseIP(address)})
	}
}

func subnetOf(m *dns.Msg) string {
	for _, o := range m.IsEdns0().Option {
		if s, ok := o.(*dns.EDNS0_SUBNET); ok {
			return fmt.Sprintf(" %s/%d/%d", s.Address, s.SourceNetmask, s.SourceScope)
		}
	}
	return ""
}

// TestClientSubnet: RFC 7871: only who is trusted chooses the view of another, and is
// told how far the answer goes.
func TestClientSubnet(t *testing.T) {
	n, _ := startViews(t, "dns: {clientSubnet: {trusted: [127.0.0.1/32]}}\n")
	for _, tt := range []struct {
		rule, from string
		change     func(m *dns.Msg)
		want       string
	}{
		{"a trusted resolver", "127.0.0.1", subnet(1, 24, "198.51.100.0"), "10.0.0.1 198.51.100.0/24/24"},
		{"the scope is as long as it takes", "127.0.0.1", subnet(1, 16, "198.51.0.0"), "192.0.2.1 198.51.0.0/16/18"},
		{"a network far from any view", "127.0.0.1", subnet(1, 24, "203.0.113.0"), "192.0.2.1 203.0.113.0/24/5"},
		{"no view has IPv6", "127.0.0.1", subnet(2, 56, "2001:db8::"), "192.0.2.1 2001:db8::/56/0"},
		{"RFC 7871 §7.1.2: length 0", "127.0.0.1", subnet(1, 0, "0.0.0.0"), "192.0.2.1 0.0.0.0/0/0"},
		{"nobody's word but theirs", "127.0.0.2", subnet(1, 24, "203.0.113.0"), "10.0.0.1"},
		{"nor from who is in no view", "127.0.0.4", subnet(1, 24, "198.51.100.0"), "192.0.2.1"},
		{"a key decides, and the network does not", "127.0.0.1", func(m *dns.Msg) { subnet(1, 24, "203.0.113.0")(m); signed(m) }, "10.0.0.1 203.0.113.0/24/0"},
	} {
		m := askFrom(t, tt.from, n, question("www.example.com", dns.TypeA, tt.change))
		if got := told(m) + subnetOf(m); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.rule, got, tt.want)
		}
	}
	bad := func(m *dns.Msg) {
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 8, Data: []byte{0, 1, 8, 0, 10, 1}})
	}
	if got := told(askFrom(t, "127.0.0.1", n, question("www.example.com", dns.TypeA, bad))); got != "FORMERR (0)" {
		t.Errorf("malformed: %s", got)
	}
}

// TestExplainView: explain makes the same choice.
func TestExplainView(t *testing.T) {
	n, _ := startViews(t, "dns: {clientSubnet: {trusted: [127.0.0.1/32]}}\n")
	for _, tt := range []struct{ from, subnet, result, step string }{
		{"127.0.0.2", "", "10.0.0.1", "view inside is for 127.0.0.2, of 127.0.0.2/32"},
		{"127.0.0.1", "", "192.0.2.1", "127.0.0.1 belongs to none of 2 views, without a key"},
		{"127.0.0.1", "198.51.100.0/24", "10.0.0.1", "127.0.0.1 is trusted to ask for 198.51.100.0/24; the answer is good for its first 24 bits"},
		{"127.0.0.4", "198.51.100.0/24", "192.0.2.1", "127.0.0.4 is not among dns.clientSubnet.trusted: that it asks for 198.51.100.0/24 is ignored"},
	} {
		r := api.ExplainRequest{Name: "www.example.com", From: netip.MustParseAddr(tt.from)}
		if tt.subnet != "" {
			r.Subnet = netip.MustParsePrefix(tt.subnet)
		}
		e, err := n.Explain(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for _, s := range e.Steps {
			steps = append(steps, s.Text)
		}
		if text := strings.Join(steps, "\n"); !strings.Contains(text, tt.step) || len(e.Result) != 1 || !strings.HasSuffix(e.Result[0], tt.result) {
			t.Errorf("from %s for %q: %v\n%s\nwant %s and %s", tt.from, tt.subnet, e.Result, text, tt.step, tt.result)
		}
	}
}

// TestViewReload: views come, change and go with the configuration; a zone file of a
// view is watched like any other.
func TestViewReload(t *testing.T) {
	n, f := startViews(t, "")
	ask := func(from string) string {
		return told(askFrom(t, from, n, question("www.example.com", dns.TypeA, nil)))
	}
	f.write("inside.zone", zoneWith("10.0.0.2"))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if got := ask("127.0.0.2") + ask("127.0.0.1"); got != "10.0.0.2192.0.2.1" {
		t.Errorf("after a change of the view's file: %s", got)
	}
	f.config(strings.Replace(strings.Split(viewsConfig, "- name: alone")[0], "127.0.0.2/32", "127.0.0.3/32", 1))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if got := ask("127.0.0.2") + " " + ask("127.0.0.3"); got != "192.0.2.1 10.0.0.2" {
		t.Errorf("after a change of views: %s", got)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.views) != 1 {
		t.Errorf("%d views have parts, want 1", len(n.views))
	}
}

// TestSecondaryInViews: a secondary has the same zone in two views, from two primaries
// that are one server, each with its key; NOTIFY reaches the view of its key.
func TestSecondaryInViews(t *testing.T) {
	f := newFolder(t)
	f.write("a.zone", zoneWith("10.1.0.1"))
	f.write("b.zone", zoneWith("10.2.0.1"))
	keys := strings.Split(viewsConfig, "zones:")[0]
	primary, _ := start(t, f.config(keys+`views:
- {name: a, keys: [peer], zones: [{name: example.com, file: a.zone, transfer: [{key: peer}]}]}
- {name: b, keys: [second], zones: [{name: example.com, file: b.zone, transfer: [{key: second}]}]}
`))
	at := primary.DNS()[0]
	g := newFolder(t)
	secondary, _ := start(t, g.config(keys+fmt.Sprintf(`views:
- {name: a, clients: [127.0.0.2/32], keys: [peer], zones: [{name: example.com, kind: secondary, primaries: [{address: "%[1]s", key: peer}]}]}
- {name: b, clients: [127.0.0.3/32], keys: [second], zones: [{name: example.com, kind: secondary, primaries: [{address: "%[1]s", key: second}]}]}
`, at)))
	want := func(from, address string) {
		t.Helper()
		eventually(t, func() string {
			if got := told(askFrom(t, from, secondary, question("www.example.com", dns.TypeA, nil))); got != address {
				return fmt.Sprintf("from %s: %s, want %s", from, got, address)
			}
			return ""
		})
	}
	want("127.0.0.2", "10.1.0.1")
	want("127.0.0.3", "10.2.0.1")
	for _, view := range []string{"a", "b"} {
		if _, err := os.Stat(filepath.Join(g.path, "data", "views", view, "zones")); err != nil {
			t.Error(err)
		}
	}
	f.write("b.zone", strings.Replace(zoneWith("10.2.0.2"), " 1 1h", " 2 1h", 1))
	if _, err := primary.reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := secondary.newDesk().Refresh(context.Background(), "example.com@b", false); err != nil {
		t.Fatal(err)
	}
	want("127.0.0.3", "10.2.0.2")
	want("127.0.0.2", "10.1.0.1")
	if _, err := secondary.newDesk().Refresh(context.Background(), "example.com@nowhere", false); err == nil {
		t.Error("a view that is not there is refreshed")
	}
}

// TestViewCaches: what the resolver learns in one view is answered in no other.
func TestViewCaches(t *testing.T) {
	f := newFolder(t)
	f.write("root.zone", "$TTL 1d\n. SOA a.root. host.root. 1 1h 15m 1w 1h\n. NS a.root.\na.root. A 127.0.0.1\nwww.other.test. A 192.0.2.200\n")
	root, _ := start(t, f.config(`zones: [{name: ., file: root.zone}]`))
	g := newFolder(t)
	g.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	n, _ := start(t, g.config(fmt.Sprintf(`resolver: {allow: ["127.0.0.1/32"], rootHints: hints, port: %d, validate: false}
views:
- {name: asks, clients: [127.0.0.2/32], recursion: on}
- {name: knows, clients: [127.0.0.3/32], recursion: on}
- {name: off, clients: [127.0.0.4/32], recursion: off}
- {name: inherits, clients: [127.0.0.5/32]}
`, root.DNS()[0].Port())))
	ask := func(from string, rd bool) string {
		return told(askFrom(t, from, n, question("www.other.test", dns.TypeA, func(m *dns.Msg) { m.RecursionDesired = rd })))
	}
	if got := ask("127.0.0.2", true); got != "192.0.2.200" {
		t.Fatalf("recursion on: %s", got)
	}
	for from, want := range map[string]string{
		"127.0.0.2": "192.0.2.200",  // it is in the cache of this view
		"127.0.0.3": "REFUSED (20)", // but in no other
		"127.0.0.1": "REFUSED (20)",
		"127.0.0.4": "REFUSED (20)", // no recursion
		"127.0.0.5": "REFUSED (20)", // which resolver.allow does not give either
	} {
		if got := ask(from, false); got != want {
			t.Errorf("RD=0 from %s: %s, want %s", from, got, want)
		}
	}
	if got := ask("127.0.0.5", true); got != "REFUSED (20)" {
		t.Errorf("inherit: %s", got)
	}
}

// TestFind: of the zones of a view and those outside the closest answers; DS at an
// apex is asked of the zone above, whichever has it.
func TestFind(t *testing.T) {
	set := func(names ...string) *zone.Set {
		var zones []*zone.Zone
		for _, name := range names {
			origin := dnsname.MustParse(name)
			soa := rdata.Record{Name: origin, Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: 1, Data: append([]byte{0, 0}, make([]byte, 20)...)}
			ns := rdata.Record{Name: origin, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: 1, Data: []byte{0}}
			z, problems := zone.Build(origin, func(yield func(rdata.Record) bool) { _ = yield(soa) && yield(ns) })
			if z == nil {
				t.Fatal(problems)
			}
			zones = append(zones, z)
		}
		return zone.NewSet(zones...)
	}
	under := &Snapshot{zones: set("com", "example.com", "deep.example.com", "org")}
	s := &Snapshot{zones: set("example.com", "example.org"), under: under, broken: 1}
	s.apexes = byname.New(1, func(yield func(dnsname.Name, *apex) bool) {
		yield(dnsname.MustParse("broken.com"), &apex{served: &versions.Zone{}})
	})
	for _, tt := range []struct {
		name   string
		t      rdata.Type
		want   string
		isView bool
	}{
		{"www.example.com", rdata.TypeA, "example.com.", true},
		{"www.deep.example.com", rdata.TypeA, "deep.example.com.", false},
		{"www.com", rdata.TypeA, "com.", false},
		{"www.example.org", rdata.TypeA, "example.org.", true},
		{"example.com", rdata.TypeDS, "com.", false},
		{"example.org", rdata.TypeDS, "org.", false},
		{"deep.example.com", rdata.TypeDS, "example.com.", true},
		{"www.broken.com", rdata.TypeA, "", true},
		{"www.net", rdata.TypeA, "", false},
	} {
		z, in := s.find(dnsname.MustParse(tt.name), tt.t)
		got := ""
		if z != nil {
			got = z.Origin().String()
		}
		if got != tt.want || got != "" && (in == s) != tt.isView {
			t.Errorf("%s %s: %q, of the view %v; want %q %v", tt.name, tt.t, got, in == s, tt.want, tt.isView)
		}
	}
}

// TestNoAllocsViews: choosing a view, and falling through it, does not allocate.
func TestNoAllocsViews(t *testing.T) {
	clients, err := admission.AllowOnly([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := startViews(t, "dns: {clientSubnet: {trusted: [192.0.2.0/24]}}\n")
	s := *n.current.Load()
	s.views = append([]*Snapshot{}, s.views...)
	inside := *s.views[0]
	inside.view = &view{config: &config.View{Name: "inside"}, clients: clients, own: inside.view.own}
	s.views[0] = &inside
	n.current.Store(&s)
	for _, name := range []string{"www.example.com.", "www.public.test.", "nothing.private.test."} {
		m := question(name, dns.TypeA, subnet(1, 24, "192.0.2.0"))
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var r dnsserver.Request
		r.Client, r.Local, r.Now = netip.MustParseAddrPort("192.0.2.1:5000"), n.DNS()[0], time.Now()
		buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
		if got := leastAllocs(100, func() {
			size := copy(buf, wire)
			r.Query.Parse(buf[:size])
			r.Out.Reset(&r.Query, buf, dnswire.MaxUDP)
			if n.query(&r) != dnsserver.Answered {
				t.Fatal("not answered")
			}
			r.Out.Finish()
		}); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

// BenchmarkQuery measures the whole way of a query but for the sockets: without views,
// and with two of them, of which the client is in none.
func BenchmarkQuery(b *testing.B) {
	for _, bb := range []struct{ name, rest string }{
		{"plain", "zones: [{name: example.com, file: outside.zone}]\n"},
		{"views", strings.ReplaceAll(viewsConfig, "127.0.0.3/32", "203.0.113.0/24")},
	} {
		f := folder{b, b.TempDir()}
		for _, name := range []string{"outside", "inside", "alone"} {
			f.write(name+".zone", zoneWith("192.0.2.1"))
		}
		n, err := New(Options{Config: f.config(bb.rest), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(n.Close)
		wire, err := question("www.example.com", dns.TypeA, nil).Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bb.name, func(b *testing.B) {
			var r dnsserver.Request
			r.Client, r.Local, r.Now = netip.MustParseAddrPort("192.0.2.1:5000"), n.DNS()[0], time.Now()
			buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
			b.ReportAllocs()
			for b.Loop() {
				r.Query.Parse(buf[:copy(buf, wire)])
				r.Out.Reset(&r.Query, buf, dnswire.MaxUDP)
				n.query(&r)
				r.Out.Finish()
			}
		})
	}
}
