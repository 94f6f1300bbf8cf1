package roster

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
)

func at(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// The forms of Prometheus: file_sd in JSON and YAML.
func TestParseGroups(t *testing.T) {
	want := []Group{{Targets: []string{"10.0.0.1:80", "10.0.0.2:80"}, Labels: map[string]string{"weight": "5", "__meta_x": "y"}}, {Targets: []string{"10.0.0.3:80"}}}
	for _, text := range []string{
		`[{"targets": ["10.0.0.1:80", "10.0.0.2:80"], "labels": {"weight": "5", "__meta_x": "y"}}, {"targets": ["10.0.0.3:80"]}]`,
		"- targets: [10.0.0.1:80, '10.0.0.2:80']\n  labels:\n    weight: \"5\"\n    __meta_x: y\n- targets:\n  - 10.0.0.3:80\n",
	} {
		if got, err := ParseGroups([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	if got, err := ParseGroups([]byte(" []\n")); err != nil || len(got) != 0 {
		t.Errorf("an empty list: %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                             "empty text",
		" \n":                          "empty text",
		`[{"targets": ["10.0.0.1:80"`:  "neither JSON nor YAML",
		`[{"targets": "10.0.0.1:80"}]`: "not one of groups",
		`{"targets": []}`:              "neither JSON nor YAML",
		"<html>":                       "neither JSON nor YAML",
		"- targets: [a\n":              "neither JSON nor YAML",
		"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n": "neither JSON nor YAML",
		"[" + strings.Repeat(" ", MaxDocument) + "]":                   "longer than",
		"[" + strings.Repeat("{},", maxGroups) + "{}]":                 "10001 groups",
		`[{"targets": [` + strings.Repeat(`"",`, maxTargets) + `""]}]`: "100001 targets",
	} {
		if got, err := ParseGroups([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %d groups, %v, want %q", text, len(got), err, want)
		}
	}
}

// Labels say how a member is; what is wrong leaves itself out, and nothing else.
func TestOfGroups(t *testing.T) {
	members, faults := OfGroups([]Group{
		{Targets: []string{"10.0.0.1:80", "10.0.0.2", "[2001:db8::1]", "name:80", "10.0.0.3:0"}, Labels: map[string]string{
			"weight": "5", "tier": "1", "capacity": "100", "drain": "true", "zone": "ber-1", "country": "DE", "job": "x",
		}},
		{Targets: []string{"10.0.0.9:80"}, Labels: map[string]string{"weight": "0"}},
		{Targets: []string{"10.0.0.9:80"}, Labels: map[string]string{"zone": "a\x1b[2J"}},
	}, 8080)
	like := pool.MemberSpec{Weight: 5, Tier: 1, Capacity: 100, Drain: true, Place: pool.Place{Zone: "ber-1", Country: "DE"}}
	var want []pool.MemberSpec
	for _, a := range []string{"10.0.0.1:80", "10.0.0.2:8080", "[2001:db8::1]:8080"} {
		like.Address = at(a)
		want = append(want, like)
	}
	if !slices.Equal(members, want) {
		t.Errorf("got %+v\nwant %+v", members, want)
	}
	if text := faults.String(); faults.Count != 4 || !strings.Contains(text, `"name:80" is no address`) || !strings.Contains(text, "label weight") || !strings.HasSuffix(text, "and 1 more") {
		t.Errorf("faults %d: %s", faults.Count, text)
	}
}

func record(kind rdata.Type, ttl uint32, text string) rdata.Record {
	data, err := rdata.ParseText(kind, dnsname.Root, text)
	if err != nil {
		panic(err)
	}
	return rdata.Record{Type: kind, TTL: rdata.TTL(ttl), Data: data}
}

func TestOfAddresses(t *testing.T) {
	members, ttl := OfAddresses([]rdata.Record{
		record(rdata.TypeCNAME, 600, "b.example."), record(rdata.TypeA, 60, "192.0.2.1"), record(rdata.TypeAAAA, 30, "2001:db8::1"),
	}, 80)
	if want := []pool.MemberSpec{{Address: at("192.0.2.1:80")}, {Address: at("[2001:db8::1]:80")}}; !slices.Equal(members, want) || ttl != 30*time.Second {
		t.Errorf("got %+v, %v", members, ttl)
	}
	if members, ttl := OfAddresses(nil, 80); len(members) != 0 || ttl != 0 {
		t.Errorf("of nothing: %v, %v", members, ttl)
	}
}

// RFC 2782: priorities are an order, weights are shares, "." is nobody.
func TestOfServices(t *testing.T) {
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	members, faults := OfServices([]SRV{
		{Priority: 20, Weight: 0, Port: 80, Target: "b."}, {Priority: 10, Weight: 60, Port: 81, Target: "a."},
		{Priority: 500, Weight: 1, Port: 82, Target: "a."}, {Priority: 10, Port: 80, Target: "lost."}, {Port: 80, Target: "."},
	}, map[string][]netip.Addr{"a.": {one}, "b.": {one, two}})
	want := []pool.MemberSpec{
		{Address: at("192.0.2.1:81"), Weight: 60, Tier: 1, Host: "a."},
		{Address: at("192.0.2.1:80"), Weight: 1, Tier: 2, Host: "b."}, {Address: at("192.0.2.2:80"), Weight: 1, Tier: 2, Host: "b."},
		{Address: at("192.0.2.1:82"), Weight: 1, Tier: 3, Host: "a."},
	}
	if !slices.Equal(members, want) || faults.Count != 1 {
		t.Errorf("got  %+v, %v\nwant %+v", members, faults, want)
	}
	// A server that stands there twice does not change with the order of the records.
	twice := []SRV{{Priority: 20, Weight: 9, Port: 80, Target: "b."}, {Priority: 10, Weight: 5, Port: 80, Target: "a."}}
	for range 2 {
		members, _ := OfServices(twice, map[string][]netip.Addr{"a.": {one}, "b.": {one}})
		if got, _ := Filter(members, nil, 10); len(got) != 1 || got[0].Weight != 5 || got[0].Tier != 0 {
			t.Errorf("twice: %+v", got)
		}
		slices.Reverse(twice)
	}
	var many []SRV
	for i := range 50 {
		many = append(many, SRV{Priority: uint16(i), Port: 80, Target: "a."})
	}
	if members, _ := OfServices(many, map[string][]netip.Addr{"a.": {one}}); members[49].Tier != pool.MaxTier {
		t.Errorf("the 50th priority is tier %d", members[49].Tier)
	}
}

// Nobody's list makes this node serve itself, and none is without end.
func TestFilter(t *testing.T) {
	var members []pool.MemberSpec
	for _, a := range []string{"10.0.0.2:80", "127.0.0.1:8053", "[::1]:80", "169.254.169.254:80", "0.0.0.0:80", "224.0.0.1:80", "[fe80::1]:80", "10.0.0.1:80", "10.0.0.2:80", "[::ffff:127.0.0.1]:80"} {
		members = append(members, pool.MemberSpec{Address: at(a)})
	}
	got, faults := Filter(members, nil, 10)
	if want := []pool.MemberSpec{{Name: "10.0.0.1:80", Address: at("10.0.0.1:80")}, {Name: "10.0.0.2:80", Address: at("10.0.0.2:80")}}; !slices.Equal(got, want) || faults.Count != 7 {
		t.Errorf("got %+v, %v", got, faults)
	}
	got, _ = Filter(members, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 10)
	if len(got) != 2 || got[0].Name != "127.0.0.1:80" || got[1].Name != "127.0.0.1:8053" {
		t.Errorf("got %+v", got)
	}
	got, faults = Filter(members, nil, 1)
	if len(got) != 1 || !strings.Contains(fmt.Sprint(faults.First), "7 more") && faults.Count != 8 {
		t.Errorf("got %+v, %v", got, faults)
	}
}

// A list that flaps changes nothing for a while.
func TestLinger(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	a, b := pool.MemberSpec{Address: at("10.0.0.1:80")}, pool.MemberSpec{Address: at("10.0.0.2:80"), Weight: 1}
	heavier := b
	heavier.Weight = 9
	var seen []Seen
	for _, step := range []struct {
		at     int
		listed []pool.MemberSpec
		want   []pool.MemberSpec
	}{
		{0, []pool.MemberSpec{a, b}, []pool.MemberSpec{a, b}},
		{1, []pool.MemberSpec{b}, []pool.MemberSpec{a, b}},
		{2, []pool.MemberSpec{a, heavier}, []pool.MemberSpec{a, heavier}},
		{10, []pool.MemberSpec{a}, []pool.MemberSpec{a, heavier}},
		{12, []pool.MemberSpec{a}, []pool.MemberSpec{a}},
		{13, nil, []pool.MemberSpec{a}},
		{30, nil, []pool.MemberSpec{}},
	} {
		now := start.Add(time.Duration(step.at) * time.Second)
		seen = Linger(seen, step.listed, now, 10*time.Second)
		if got := Members(seen); !slices.Equal(got, step.want) {
			t.Errorf("after %d s: %+v, want %+v", step.at, got, step.want)
		}
	}
	seen = Linger(nil, []pool.MemberSpec{a}, start, time.Minute)
	if got := Linger(seen, nil, start.Add(-time.Hour), time.Minute); len(got) != 0 {
		t.Errorf("with a clock that was put back %+v stays for an hour", got)
	}
	if got := Forgets(Linger(seen, nil, start.Add(time.Second), time.Minute), start.Add(time.Second), time.Minute); !got.Equal(start.Add(time.Minute)) {
		t.Errorf("forgotten at %v", got)
	}
}

// Whatever a list says, reading it ends, with members that a pool takes.
func FuzzParseGroups(f *testing.F) {
	f.Add([]byte(`[{"targets": ["10.0.0.1:80"], "labels": {"weight": "5"}}]`))
	f.Add([]byte("- targets: [10.0.0.1:80]\n  labels: {tier: '1'}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		groups, err := ParseGroups(text)
		if err != nil {
			return
		}
		found, _ := OfGroups(groups, 80)
		members, _ := Filter(found, nil, 100)
		if err := (pool.Spec{Name: "x", Members: members}).Validate(); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
