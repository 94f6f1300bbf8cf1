package alias

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

const head = "@ 3600 SOA ns1 hostmaster 10 3600 900 604800 300\n@ 3600 NS ns1\nns1 60 A 192.0.2.1\n"

func parse(t *testing.T, text string) *zone.Zone {
	t.Helper()
	origin := dnsname.MustParse("example.")
	b := zone.NewBuilder(origin)
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: origin}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// told returns the records of z but those of head, a line each.
func told(z *zone.Zone) string {
	var lines []string
	for r := range z.Records() {
		if r.Type != rdata.TypeSOA && r.Type != rdata.TypeNS && r.Name != dnsname.MustParse("ns1.example.") {
			lines = append(lines, strings.Join(strings.Fields(r.String()), " "))
		}
	}
	return strings.Join(lines, "\n")
}

func addresses(list ...string) (a Addresses) {
	var all []netip.Addr
	for _, text := range list {
		all = append(all, netip.MustParseAddr(text))
	}
	return MakeAddresses(all, nil)
}

func known(name dnsname.Name) (Addresses, bool) {
	switch name.String() {
	case "web.test.":
		return addresses("198.51.100.2", "198.51.100.1", "2001:db8::1", "198.51.100.2"), true
	case "v4.test.":
		return addresses("198.51.100.4"), true
	}
	return Addresses{}, false
}

// TestFill: names get the addresses of their targets, in the TTL of the record.
func TestFill(t *testing.T) {
	for _, tt := range []struct {
		rule, text string
		keep       bool
		want       string
	}{
		{"at the apex", "@ 300 ALIAS Web.TEST.\n", false,
			"example. 300 IN A 198.51.100.1\nexample. 300 IN A 198.51.100.2\nexample. 300 IN AAAA 2001:db8::1"},
		{"and kept, if that is wanted", "www 300 ALIAS v4.test.\n", true,
			"www.example. 300 IN A 198.51.100.4\nwww.example. 300 IN ALIAS v4.test."},
		{"addresses of the zone's own stand", "www 60 A 192.0.2.9\nwww 300 ALIAS web.test.\n", false,
			"www.example. 60 IN A 192.0.2.9\nwww.example. 300 IN AAAA 2001:db8::1"},
		{"the first of two counts, the other goes", "www 300 ALIAS v4.test.\nwww 300 ALIAS web.test.\n", false,
			"www.example. 300 IN A 198.51.100.4"},
		{"what was never known stays", "www 300 ALIAS unknown.test.\n", false, "www.example. 300 IN ALIAS unknown.test."},
		{"a wildcard", "*.any 300 ALIAS v4.test.\n", false, "*.any.example. 300 IN A 198.51.100.4"},
		{"RFC 3597", "www 300 TYPE65401 \\# 9 0276340474657374 00\n", false, "www.example. 300 IN A 198.51.100.4"},
	} {
		z := parse(t, head+tt.text)
		filled, err := Fill(z, Find(z), Terms{Known: known, Keep: tt.keep, Serial: 11})
		if err != nil {
			t.Errorf("%s: %v", tt.rule, err)
			continue
		}
		if got := told(filled); got != tt.want || filled.Serial() != 11 {
			t.Errorf("%s: serial %d\n%s\nwant\n%s", tt.rule, filled.Serial(), got, tt.want)
		}
	}
}

// TestFollow: the ALIAS records of a version are found from those before it and what
// has changed.
func TestFollow(t *testing.T) {
	old := parse(t, head+"a 1 ALIAS x.test.\nb 1 ALIAS y.test.\nc 1 ALIAS z.test.\n")
	now := parse(t, strings.Replace(head, " 10 ", " 11 ", 1)+"a 1 ALIAS x.test.\nb 2 ALIAS other.test.\nd 1 ALIAS w.test.\nd 1 TXT x\n")
	d, ok := journal.Between(old, now, 1<<20)
	if !ok {
		t.Fatal("no difference")
	}
	got, want := Follow(Find(old), []*journal.Difference{d}), Find(now)
	if !slices.EqualFunc(got, want, func(a, b Record) bool { return a.Owner == b.Owner && a.Target == b.Target && a.TTL == b.TTL }) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestNextSerial(t *testing.T) {
	for _, tt := range []struct {
		source, served rdata.Serial
		was            bool
		want           rdata.Serial
	}{
		{10, 0, false, 10}, {10, 10, true, 11}, {10, 15, true, 16}, {20, 15, true, 20}, {1, 1<<32 - 1, true, 1}, {5, 1<<32 - 1, true, 5}, {1<<32 - 1, 1<<32 - 1, true, 0},
	} {
		if got := NextSerial(tt.source, tt.served, tt.was); got != tt.want {
			t.Errorf("source %d after %d (%v): %d, want %d", tt.source, tt.served, tt.was, got, tt.want)
		}
	}
}

func TestMakeAddresses(t *testing.T) {
	var many []netip.Addr
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), netip.AddrFrom4([4]byte{127, 0, 0, byte(i)}))
	}
	a := MakeAddresses(many, netip.Addr.IsLoopback)
	if len(a.V4) != MaxAddresses || len(a.V6) != 0 || a.V4[0].IsLoopback() {
		t.Errorf("%v", a)
	}
}

// TestBook: a target is asked for at once, then by TTL within limits; a failure keeps
// what is known and is tried again soon.
func TestBook(t *testing.T) {
	now, name := time.Unix(1_800_000_000, 0), dnsname.MustParse("web.test.")
	b := NewBook(Limits{Least: 30 * time.Second, Most: time.Hour})
	b.Want(now, name)
	b.Want(now, name)
	due := func(after time.Duration) int {
		names := b.Due(now.Add(after), 10)
		return len(names)
	}
	if due(0) != 1 || due(0) != 0 {
		t.Fatal("a new target is due once")
	}
	if _, ok := b.Known(name); ok {
		t.Error("known before it was answered")
	}
	if !b.Answered(now, name, Outcome{Addresses: addresses("192.0.2.1"), TTL: 5}) {
		t.Error("the first answer changes nothing")
	}
	if due(29*time.Second) != 0 || due(30*time.Second) != 1 {
		t.Error("not due after the least time")
	}
	if b.Answered(now.Add(30*time.Second), name, Outcome{Addresses: addresses("192.0.2.1"), TTL: 1 << 20}) {
		t.Error("the same answer changes something")
	}
	if got := b.Next(); got != now.Add(30*time.Second+time.Hour) {
		t.Errorf("next at %v: the most is not kept", got)
	}
	at := b.Next()
	b.Due(at, 10)
	for i, wait := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
		if b.Answered(at, name, Outcome{Problem: "SERVFAIL"}) || b.Next() != at.Add(wait*time.Second) {
			t.Errorf("failure %d: next after %v, want %d s", i, b.Next().Sub(at), wait)
		}
		at = b.Next()
		b.Due(at, 10)
	}
	if a, ok := b.Known(name); !ok || a.V4[0] != netip.MustParseAddr("192.0.2.1") || b.Problem(name) != "SERVFAIL" {
		t.Errorf("after failures: %v %v %q", a, ok, b.Problem(name))
	}
	if b.Answered(at, name, Outcome{}); b.Problem(name) != "it has no addresses" {
		t.Errorf("no addresses: %q", b.Problem(name))
	}
	b.Due(b.Next(), 10)
	if !b.Answered(at, name, Outcome{Steered: dnsname.MustParse("pool.example.")}) || b.Problem(name) != "" {
		t.Error("a steered name changes nothing")
	}
	if b.Release(name); b.Len() != 1 {
		t.Error("a target that another record has is forgotten")
	}
	if b.Release(name); b.Len() != 0 || b.Answered(at, name, Outcome{Addresses: addresses("192.0.2.1")}) {
		t.Error("a target that is not wanted is kept")
	}
}
