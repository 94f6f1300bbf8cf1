package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

const head = "$TTL 60\n@ SOA ns.example. host.example. 1 3600 900 86400 30\n@ NS ns.example.\n"

// load makes a policy zone of the lines of a master file.
func load(t testing.TB, name, text string, o Options) *Zone {
	t.Helper()
	origin := dnsname.MustParse(name)
	b := zone.NewBuilder(origin)
	for r, err := range zonefile.Read(strings.NewReader(head+text), zonefile.Options{Origin: origin}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return Compile(z, o)
}

// show writes a Hit as "zone trigger action rule".
func show(h Hit) string {
	if h.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%v %v %v %v", h.Zone.Name(), h.Trigger, h.Action, h.Rule())
}

var nobody netip.Addr

// TestNames: draft §4.2 and §5.4: an exact name over a wildcard; wildcards as in RFC
// 4592, so that what exists keeps those above away; a wildcard is not for its own parent.
func TestNames(t *testing.T) {
	s := NewSet(load(t, "rpz.example", `
bad.com           CNAME .
*.bad.com         CNAME *.
good.bad.com      CNAME rpz-passthru.
old.bad.com       CNAME old.bad.com.
UPPER.com         CNAME RPZ-Drop.
a.deep.wild.com   CNAME .
*.wild.com        CNAME rpz-tcp-only.
walled.com        CNAME garden.example.
*.walled.com      CNAME *.garden.example.
local.com         A 192.0.2.1
local.com         TXT "x"
32.1.2.0.192.rpz-ip CNAME .
`, Options{}))
	for name, want := range map[string]string{
		"bad.com":             "qname nxdomain bad.com",
		"www.bad.com":         "qname nodata *.bad.com",
		"a.b.c.bad.com":       "qname nodata *.bad.com",
		"good.bad.com":        "qname passthru good.bad.com",
		"below.good.bad.com":  "none",
		"old.bad.com":         "qname passthru old.bad.com",
		"upper.com":           "qname drop upper.com",
		"wild.com":            "none",
		"x.wild.com":          "qname tcp-only *.wild.com",
		"deep.wild.com":       "none", // an empty non-terminal (RFC 4592 §2.2.2)
		"b.deep.wild.com":     "none",
		"a.deep.wild.com":     "qname nxdomain a.deep.wild.com",
		"walled.com":          "qname cname walled.com",
		"x.walled.com":        "qname cname *.walled.com",
		"local.com":           "qname local-data local.com",
		"com":                 "none",
		".":                   "none",
		"32.1.2.0.192.rpz-ip": "none",
		"example":             "none",
		"rpz.example":         "none",
		"bad.com.rpz.example": "none",
		strings.Repeat("a123456789.", 21) + "bad.com": "qname nodata *.bad.com", // too long to be an owner
	} {
		if want != "none" {
			want = "rpz.example. " + want + ".rpz.example."
		}
		h, wait := s.Before(nobody, dnsname.MustParse(name), nil)
		if got := show(h); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if h.IsZero() != wait {
			t.Errorf("%s: wait %v", name, wait)
		}
	}
}

// TestNetworks: draft §4.1.1 and §5.5: networks of both families, the longest counts.
func TestNetworks(t *testing.T) {
	s := NewSet(load(t, "rpz", `
8.0.0.0.10.rpz-ip              CNAME .
16.0.0.1.10.rpz-ip             CNAME *.
32.7.0.1.10.rpz-ip             CNAME rpz-passthru.
32.zz.db8.2001.rpz-ip          CNAME .
48.zz.1.db8.2001.rpz-ip        CNAME rpz-drop.
128.57.zz.1.db8.2001.rpz-ip    CNAME *.
128.8.7.6.5.4.3.2.1.rpz-ip     CNAME *.
120.zz.102.ffff.0.0.0.0.0.rpz-ip CNAME .
33.1.2.3.4.rpz-ip              CNAME .
24.1.2.3.4.rpz-ip              CNAME .
24.0.2.3.rpz-ip                CNAME .
x.rpz-ip                       CNAME .
24.0.2.0.300.rpz-ip            CNAME .
24.0.02.0.192.rpz-ip           CNAME .
64.zz.zz.1.rpz-ip              CNAME .
`, Options{}))
	for addr, want := range map[string]string{
		"10.2.0.0":        "nxdomain",
		"10.1.2.3":        "nodata",
		"10.1.0.7":        "passthru",
		"::ffff:10.1.0.7": "passthru",
		"11.0.0.0":        "none",
		"2001:db8:ffff::": "nxdomain",
		"2001:db8:1:2::":  "drop",
		"2001:db8:1::57":  "nodata",
		"1:2:3:4:5:6:7:8": "nodata",
		"2001:db9::":      "none",
		"192.0.2.1":       "none",
	} {
		h := s.Response(nobody, dnsname.MustParse("x.example"), []netip.Addr{netip.MustParseAddr(addr)}, nil, nil)
		got := "none"
		if !h.IsZero() {
			got = h.Action.String()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
	if got := len(s.zones[0].Skipped()); got != 7 {
		t.Errorf("%d owner names passed over, want 7: %q", got, s.zones[0].Skipped())
	}
}

type servers map[string][]netip.Addr

func (s servers) Each(yield func(dnsname.Name, []netip.Addr) bool) {
	for name, addrs := range s {
		if !yield(dnsname.MustParse(name), addrs) {
			return
		}
	}
}

// TestPrecedence: draft §5: zone over zone, and in one zone the address of who asks over
// the name, the answer, the names of servers and their addresses.
func TestPrecedence(t *testing.T) {
	one := load(t, "one", `
32.1.2.0.192.rpz-client-ip CNAME .
name.com                   CNAME *.
32.5.2.0.192.rpz-ip        CNAME rpz-drop.
ns.evil.com.rpz-nsdname    CNAME rpz-tcp-only.
*.any.com.rpz-nsdname      CNAME rpz-passthru.
32.9.2.0.192.rpz-nsip      A 198.51.100.1
`, Options{})
	two := load(t, "two", "name.com CNAME .\nother.com CNAME .\n24.0.2.0.192.rpz-ip CNAME .\n", Options{})
	s := NewSet(one, two)
	client, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.77")
	in := []netip.Addr{netip.MustParseAddr("192.0.2.5")}
	evil := servers{"ns.evil.com": nil, "z.any.com": {netip.MustParseAddr("192.0.2.9")}}
	byAddress := servers{"ns.fine.com": {netip.MustParseAddr("192.0.2.9")}}
	for _, test := range []struct {
		what    string
		client  netip.Addr
		name    string
		addrs   []netip.Addr
		servers Servers
		want    string
	}{
		{"all of one zone", client, "name.com", in, evil, "one. client-ip nxdomain"},
		{"without the client", other, "name.com", in, evil, "one. qname nodata"},
		{"a zone behind has the name", other, "other.com", in, evil, "one. response-ip drop"},
		{"longest over zones does not count", other, "none.com", in, nil, "one. response-ip drop"},
		{"names of servers in canonical order", other, "none.com", nil, evil, "one. nsdname passthru"},
		{"addresses of servers", other, "none.com", nil, byAddress, "one. nsip local-data"},
		{"zone behind", other, "other.com", nil, nil, "two. qname nxdomain"},
		{"nothing", other, "none.com", nil, servers{"ns.fine.com": nil}, "none"},
	} {
		got := show(s.Response(test.client, dnsname.MustParse(test.name), test.addrs, test.servers, nil))
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %s, want %s", test.what, got, test.want)
		}
	}
	if h, wait := s.Before(other, dnsname.MustParse("other.com"), nil); show(h)[:3] != "two" || !wait {
		t.Errorf("a name in the second zone: %s, wait %v: the first may have something to say of the answer", show(h), wait)
	}
	if h, wait := s.Before(other, dnsname.MustParse("name.com"), nil); show(h)[:3] != "one" || wait {
		t.Errorf("a name in the first zone: %s, wait %v", show(h), wait)
	}
	if !s.LooksAtResponse() || !s.LooksAtServers() || NewSet(two).LooksAtServers() {
		t.Error("what the zones look at")
	}
}

// TestOverride: what the operator chooses for a zone: one action for all rules of a zone; a disabled
// zone is only told of, and the next one counts.
func TestOverride(t *testing.T) {
	const rules = "bad.com CNAME .\nlocal.com A 192.0.2.1\n"
	name := dnsname.MustParse("bad.com")
	var counts Counts
	for _, test := range []struct {
		o    Options
		want Action
	}{
		{Options{}, NXDomain},
		{Options{Override: NoData}, NoData},
		{Options{Override: Passthru, Counts: &counts}, Passthru},
		{Options{Override: Alias, CNAME: dnsname.MustParse("*.garden.example")}, Alias},
	} {
		h, _ := NewSet(load(t, "rpz", rules, test.o)).Before(nobody, name, nil)
		if h.Action != test.want {
			t.Errorf("%v: got %v", test.want, h.Action)
		}
		if h.Zone.Count(h.Action); h.Action == Alias {
			target, err := h.Target(name)
			if got := target.String(); err != nil || got != "bad.com.garden.example." {
				t.Errorf("cname override: %s, %v", got, err)
			}
			if _, err := h.Target(dnsname.MustParse(strings.Repeat("a123456789.", 22) + "a")); err == nil {
				t.Error("a name that becomes too long has a target")
			}
		}
	}
	if counts[Passthru].Load() != 1 {
		t.Error("the action was not counted")
	}
	var skipped []string
	s := NewSet(load(t, "off", rules, Options{Override: Disabled}), load(t, "on", rules, Options{}))
	h, wait := s.Before(nobody, name, func(h Hit) { skipped = append(skipped, show(h)) })
	if got := show(h); wait || got != "on. qname nxdomain bad.com.on." || len(skipped) != 1 || skipped[0] != "off. qname disabled bad.com.off." {
		t.Errorf("disabled: got %s, skipped %q", got, skipped)
	}
}

// TestLocalData: draft §3.6: the records of a rule, by type; a CNAME leads on.
func TestLocalData(t *testing.T) {
	s := NewSet(load(t, "rpz", `
local.com   A 192.0.2.1
local.com   A 192.0.2.2
local.com   MX 10 mail.example.
walled.com  120 CNAME Garden.example.
*.walled.com CNAME *.garden.example.
`, Options{}))
	find := func(name string) Hit { h, _ := s.Before(nobody, dnsname.MustParse(name), nil); return h }
	for qtype, want := range map[rdata.Type]int{rdata.TypeA: 2, rdata.TypeMX: 1, rdata.TypeAAAA: 0, rdata.TypeANY: 3} {
		got := 0
		find("local.com").Each(qtype, func(rt rdata.Type, ttl rdata.TTL, data []byte) bool {
			if got++; ttl != 60 || len(data) < 4 {
				t.Errorf("%v: TTL %d, %x", rt, ttl, data)
			}
			return true
		})
		if got != want {
			t.Errorf("%v: %d records, want %d", qtype, got, want)
		}
	}
	for name, want := range map[string]string{"walled.com": "garden.example.", "x.walled.com": "x.walled.com.garden.example."} {
		target, err := find(name).Target(dnsname.MustParse(name))
		if err != nil || target.String() != want {
			t.Errorf("%s leads to %v, %v; want %s", name, target, err, want)
		}
	}
	if ttl := find("walled.com").TTL(); ttl != 120 {
		t.Errorf("TTL %d, want 120", ttl)
	}
	if soa, ok := s.zones[0].SOA(); !ok || soa.TTL != 30 || soa.Name.String() != "rpz." {
		t.Errorf("SOA %v %v", soa, ok)
	}
}

func TestNoAllocs(t *testing.T) {
	s := NewSet(load(t, "rpz.example", "bad.com CNAME .\n*.com CNAME .\n32.1.2.0.192.rpz-client-ip CNAME .\n24.0.2.0.192.rpz-ip CNAME *.\n48.zz.1.db8.2001.rpz-ip CNAME .\n", Options{}))
	client, name := netip.MustParseAddr("198.51.100.1"), dnsname.MustParse("www.example.net")
	bad := dnsname.MustParse("bad.com")
	addrs := []netip.Addr{netip.MustParseAddr("192.0.3.2"), netip.MustParseAddr("2001:db8:2::")}
	got := testing.AllocsPerRun(100, func() {
		if h, _ := s.Before(client, name, nil); !h.IsZero() {
			t.Fatal(show(h))
		}
		if h, _ := s.Before(client, bad, nil); h.IsZero() {
			t.Fatal("no hit")
		}
		if h := s.Response(client, name, addrs, nil, nil); !h.IsZero() {
			t.Fatal(show(h))
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// FuzzNetwork: whatever the labels of an owner name, they are a network or a mistake.
func FuzzNetwork(f *testing.F) {
	for _, seed := range []string{"24.0.2.0.192", "48.zz.1.db8.2001", "128.8.7.6.5.4.3.2.1", "0.0.0.0.0", "zz", "1.zz", "\\000.zz.1"} {
		f.Add(seed)
	}
	top := dnsname.MustParse("rpz-ip.rpz")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := dnsname.ParseIn(text, top)
		if err != nil || !name.IsSubdomainOf(top) || name == top {
			return
		}
		p, err := parseNetwork(name, top)
		if err != nil {
			return
		}
		var x networks
		x.add(p, 7)
		x.finish()
		if n, bits := x.find(p.Addr()); n != 7 || bits == 0 {
			t.Errorf("%v does not hold its own first address", p)
		}
	})
}

// BenchmarkMillion is what a policy zone of a million names and networks costs beside the
// zone that it is made of, and a lookup in it.
func BenchmarkMillion(b *testing.B) {
	origin := dnsname.MustParse("rpz.example")
	z, problems := zone.Build(origin, func(yield func(rdata.Record) bool) {
		r := rdata.Record{Name: origin, Class: rdata.ClassIN, TTL: 60}
		r.Type, r.Data = rdata.TypeNS, dnsname.MustParse("ns.example").AppendWire(nil)
		yield(r)
		r.Type = rdata.TypeSOA
		r.Data, _ = rdata.ParseText(r.Type, origin, "ns.example. host.example. 1 3600 900 86400 30")
		yield(r)
		r.Type, r.Data = rdata.TypeCNAME, dnsname.Root.AppendWire(nil)
		for i := range 1_000_000 {
			text := fmt.Sprintf("host%d.bad%d.com", i, i%50_000)
			if i%4 == 0 {
				text = fmt.Sprintf("32.%d.%d.%d.10.rpz-ip", i&255, i>>8&255, i>>16&255)
			}
			if r.Name, _ = dnsname.ParseIn(text, origin); !yield(r) {
				return
			}
		}
	})
	if z == nil {
		b.Fatal(problems)
	}
	_, records, octets := z.Stats()
	b.Run("compile", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Compile(z, Options{})
		}
		b.ReportMetric(float64(octets)/float64(records), "zone-octets/rule")
	})
	s := NewSet(Compile(z, Options{}))
	client := netip.MustParseAddr("198.51.100.1")
	for _, name := range []string{"www.example.com", "host77.bad77.com"} {
		b.Run(name, func(b *testing.B) {
			n := dnsname.MustParse(name)
			b.ReportAllocs()
			for b.Loop() {
				s.Before(client, n, nil)
			}
		})
	}
	b.Run("response", func(b *testing.B) {
		addrs := []netip.Addr{netip.MustParseAddr("10.3.2.1"), netip.MustParseAddr("192.0.2.1")}
		b.ReportAllocs()
		for b.Loop() {
			s.zones[0].response(addrs)
		}
	})
}

func BenchmarkBefore(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "host%d.bad%d.com CNAME .\n", i, i%5000)
	}
	s := NewSet(load(b, "rpz.example", text.String(), Options{}))
	client, name := netip.MustParseAddr("198.51.100.1"), dnsname.MustParse("www.example.com")
	b.ReportAllocs()
	for b.Loop() {
		s.Before(client, name, nil)
	}
}
