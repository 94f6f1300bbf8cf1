package steer

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// ruleOf returns the rule of a chain over a pool with v as its view.
func ruleOf(t testing.TB, chain string, v *pool.View, s Spec) *Rule {
	s.Name, s.Pool = dnsname.MustParse("www.example.com"), pool.New("web")
	s.Pool.Publish(v)
	if chain != "" {
		s.Filters = chainOf(t, chain)
	}
	return NewRule(s)
}

// served returns the members that a rule answers with.
func (r *Rule) served(t rdata.Type, addr netip.Addr, turn uint64, now time.Time) (string, int) {
	p, scope := r.Prepare(t, addr, turn, now)
	return pick(p, turn, Client{Addr: addr}), scope
}

// TestMemory: the same decision is remembered, and made anew when anything it depends on is
// another: the view, the map, load, the class of the client, and calm.
func TestMemory(t *testing.T) {
	atlas := NewAtlas()
	publish := func(lines ...Network) {
		e, err := NewEdition(lines, nil)
		if err != nil {
			t.Fatal(err)
		}
		atlas.Publish(e)
	}
	publish(Network{netip.MustParsePrefix("192.0.2.0/25"), berlin}, Network{netip.MustParsePrefix("2001:db8::/32"), chicago})
	v := world()
	r := ruleOf(t, "up near:country", v, Spec{Atlas: atlas, TTL: 60, ShortTTL: 5, Calm: time.Minute})
	german, american, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("192.0.2.200")
	for _, c := range []struct {
		addr  netip.Addr
		want  string
		scope int
	}{{german, "ab", 25}, {american, "d", 32}, {other, "e", 25}, {netip.MustParseAddr("203.0.113.1"), "e", 5}} {
		first, _ := r.Prepare(rdata.TypeA, c.addr, 0, noon)
		if got, scope := r.served(rdata.TypeA, c.addr, 0, noon); got != c.want || scope != c.scope {
			t.Errorf("%v: got %s for %d bits, want %s for %d", c.addr, got, scope, c.want, c.scope)
		}
		if again, _ := r.Prepare(rdata.TypeA, c.addr, 4, noon); again != first {
			t.Errorf("%v: decided again", c.addr)
		}
		if other, _ := r.Prepare(rdata.TypeAAAA, c.addr, 4, noon); other == first {
			t.Errorf("%v: AAAA is answered as A", c.addr)
		}
	}
	publish(Network{netip.MustParsePrefix("192.0.2.0/24"), amsterdam})
	if got, scope := r.served(rdata.TypeA, german, 0, noon); got != "c" || scope != 24 {
		t.Errorf("another map: got %s for %d bits", got, scope)
	}
	dead := v.Supposing(v.Members[2].Target, health.Down)
	r.Pool.Publish(dead)
	if got, _ := r.served(rdata.TypeA, german, 0, noon); got != "ab" {
		t.Errorf("Amsterdam down: got %s, want ab: the continent", got)
	}
}

// TestTTL: it is short from a change until the pool has been calm for long enough, to the
// moment, and long again then.
func TestTTL(t *testing.T) {
	v := viewOf(pool.RoundRobin, member{"10.0.0.1:80", 1, health.Up}) // since an hour ago
	changed := noon.Add(-time.Hour)
	r := ruleOf(t, "", v, Spec{TTL: 60, ShortTTL: 5, Calm: time.Minute})
	for _, c := range []struct {
		after time.Duration
		want  rdata.TTL
	}{{0, 5}, {59 * time.Second, 5}, {time.Minute - 1, 5}, {time.Minute, 60}, {time.Hour, 60}, {10 * time.Second, 60}} {
		// Last: the clock has gone back; calm is not taken back.
		if p, _ := r.Prepare(rdata.TypeA, client.Addr, 0, changed.Add(c.after)); p.TTL != c.want {
			t.Errorf("%v after the change: TTL %d, want %d", c.after, p.TTL, c.want)
		}
	}
	same := ruleOf(t, "", v, Spec{TTL: 4, ShortTTL: 5, Calm: time.Minute})
	if p, _ := same.Prepare(rdata.TypeA, client.Addr, 0, changed); p.TTL != 4 {
		t.Errorf("a TTL below the short one became %d", p.TTL)
	}
}

// TestShedFollowsLoad: load is looked at once a second, and shed from then on.
func TestShedFollowsLoad(t *testing.T) {
	v := viewOfSpecs(pool.RoundRobin, nil, pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.1:80"), Capacity: 10},
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.2:80")})
	r := ruleOf(t, "up shed", v, Spec{})
	has := func(now time.Time) (count int) {
		for turn := range uint64(400) {
			if got, _ := r.served(rdata.TypeA, client.Addr, turn, now); strings.Contains(got, "a") {
				count++
			}
		}
		return count
	}
	if got := has(noon); got != 400 {
		t.Errorf("without load: in %d of 400", got)
	}
	v.Members[0].Load.Active.Store(9)
	if got := has(noon.Add(time.Second / 2)); got != 400 {
		t.Errorf("within the second: in %d of 400", got)
	}
	if got := has(noon.Add(time.Second)); got < 120 || got > 230 { // 7 of 16
		t.Errorf("at nine tenths: in %d of 400, want about 175", got)
	}
	v.Members[0].Load.Active.Store(1)
	if got := has(noon.Add(2 * time.Second)); got != 400 {
		t.Errorf("afterwards: in %d of 400", got)
	}
}

// TestWeightedQuality: over many answers the first places are shared as the weights say, to a
// thousandth, in a class of clients as for everybody.
func TestWeightedQuality(t *testing.T) {
	var specs []pool.MemberSpec
	sum := 0
	for i := range 10 {
		specs = append(specs, pool.MemberSpec{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80), Weight: 1 + i*i, Place: []pool.Place{berlin, amsterdam}[i%2]})
		if i%2 == 0 {
			sum += 1 + i*i
		}
	}
	v := viewOfSpecs(pool.WeightedRoundRobin, nil, specs...)
	p := Decide(inputOf(Spec{Filters: chainOf(t, "up near:country weighted limit=1")}, v, rdata.TypeA, at(berlin)), nil)
	const turns = 100_000
	first := map[string]int{}
	for turn := range uint64(turns) {
		first[pick(p, turn, client)]++
	}
	for i := 0; i < 10; i += 2 {
		want := float64(1+i*i) / float64(sum)
		if got := float64(first[string(rune('a'+i))]) / turns; math.Abs(got-want) > 0.001 {
			t.Errorf("member %d: %.4f of the answers, want %.4f", i, got, want)
		}
	}
}

// TestStickyQuality: all clients of a network get the same; networks are shared as the
// weights say; and when one of N leaves, only its networks move.
func TestStickyQuality(t *testing.T) {
	const members, networks = 10, 20_000
	var specs []pool.MemberSpec
	for i := range members {
		specs = append(specs, pool.MemberSpec{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80), Weight: 1 + i%2})
	}
	v := viewOfSpecs(pool.WeightedRoundRobin, nil, specs...)
	spec := Spec{Filters: chainOf(t, "up sticky limit=1")}
	all := Decide(inputOf(spec, v, rdata.TypeA, client), nil)
	less := Decide(inputOf(spec, v.Supposing(v.Members[3].Target, health.Down), rdata.TypeA, client), nil)
	first := map[string]int{}
	moved := 0
	for n := range networks {
		addr := netip.AddrFrom4([4]byte{100, byte(n >> 8), byte(n), byte(n * 7)})
		was := pick(all, uint64(n), Client{Addr: addr})
		first[was]++
		neighbour := netip.AddrFrom4([4]byte{100, byte(n >> 8), byte(n), 255})
		if got := pick(all, 77, Client{Addr: neighbour}); got != was {
			t.Fatalf("%v gets %s, %v gets %s", addr, was, neighbour, got)
		}
		if is := pick(less, uint64(n), Client{Addr: addr}); is != was {
			moved++
			if was != "d" {
				t.Fatalf("%v moved from %s to %s when d left", addr, was, is)
			}
		}
	}
	for i := range members {
		want := float64(1+i%2) / 15
		if got := float64(first[string(rune('a'+i))]) / networks; math.Abs(got-want) > 0.1*want {
			t.Errorf("member %d: %.4f of the networks, want %.4f", i, got, want)
		}
	}
	if share := float64(moved) / networks; share > 2.0/15+0.01 {
		t.Errorf("%.4f of the networks moved, want the share of d, %.4f", share, 2.0/15)
	}
	two := Decide(inputOf(Spec{Filters: chainOf(t, "up sticky limit=3")}, v, rdata.TypeA, client), nil)
	got := pick(two, 0, client)
	if len(got) != 3 || got[:1] != pick(all, 0, client) || len(slices.Compact(slices.Sorted(strings.SplitSeq(got, "")))) != 3 {
		t.Errorf("three of them: %s, of which the first is %s", got, pick(all, 0, client))
	}
}

// TestLatencyTable: what was measured of a network is known there and, for want of better,
// around it; it ages, is smoothed, and is bounded whoever comes.
func TestLatencyTable(t *testing.T) {
	l := NewLatency()
	v := viewOf(pool.RoundRobin, member{"10.0.0.1:80", 1, health.Up}, member{"10.0.0.2:80", 1, health.Up})
	server := netip.MustParseAddr("10.0.0.1")
	at := noon
	trips := func(addr string) string { return fmt.Sprint(l.Trips(netip.MustParseAddr(addr), v, at)) }
	l.Observe(netip.MustParseAddr("192.0.2.7"), server, 20*time.Millisecond, noon)
	l.Observe(netip.MustParseAddr("::ffff:192.0.9.9"), server, 60*time.Millisecond, noon)
	for addr, want := range map[string]string{
		"192.0.2.200": "[20ms 0s]", "192.0.9.1": "[60ms 0s]",
		"192.0.77.1": "[25ms 0s]", // of the /16: 20, and an eighth of the way to 60
		"192.1.2.7":  "[]", "2001:db8::1": "[]",
	} {
		if got := trips(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	at = noon.Add(latencyAge + time.Minute)
	if got := trips("192.0.2.200"); got != "[]" {
		t.Errorf("an hour later: %s", got)
	}
	// A clock that was a day ahead for one observation: what it has brought, of the network
	// and of the one around, counts only there; the next one counts at once.
	at = noon
	tomorrow := noon.Add(24 * time.Hour)
	l.Observe(netip.MustParseAddr("192.0.9.1"), server, 90*time.Millisecond, tomorrow)
	if got := trips("192.0.9.1"); got != "[]" {
		t.Errorf("what the clock of tomorrow has brought is believed: %s", got)
	}
	l.Observe(netip.MustParseAddr("192.0.9.1"), server, 70*time.Millisecond, noon)
	if got := trips("192.0.9.1"); got != "[70ms 0s]" {
		t.Errorf("measured again after the clock was put back: %s", got)
	}
	for _, bad := range []time.Duration{0, -1, maxTrip + 1} {
		l.Observe(netip.MustParseAddr("198.51.100.1"), server, bad, noon)
	}
	l.Observe(netip.Addr{}, server, 1, noon)
	if got := trips("198.51.100.1"); got != "[]" {
		t.Errorf("impossible round trips were kept: %s", got)
	}
	for i := range 300_000 {
		l.Observe(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}), server, time.Millisecond, noon.Add(time.Duration(i)))
	}
	if _, networks := l.Stats(); networks > latencyShards*maxNetworks {
		t.Errorf("%d networks are kept", networks)
	}
}

// TestAtlas: the operator's networks go before the database, and the scope covers both.
func TestAtlas(t *testing.T) {
	e, err := NewEdition([]Network{
		{netip.MustParsePrefix("10.0.0.0/8"), berlin}, {netip.MustParsePrefix("10.1.0.0/16"), chicago},
		{netip.MustParsePrefix("::ffff:10.2.0.0/112"), amsterdam},
	}, fixed{Locate(frankfurt, "database"), 12})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]struct {
		country string
		bits    int
	}{
		"10.1.2.3": {"US", 16}, "10.2.0.1": {"NL", 16}, "10.9.0.1": {"DE", 13}, "::ffff:10.1.2.3": {"US", 16},
		"11.0.0.1": {"DE", 12}, "172.16.0.1": {"DE", 12}, "2001:db8::1": {"DE", 12},
	} {
		place, bits := e.Find(netip.MustParseAddr(addr))
		if place == nil || place.Country != want.country || bits != want.bits {
			t.Errorf("%s: %+v for %d bits, want %s for %d", addr, place, bits, want.country, want.bits)
		}
	}
	if _, err := NewEdition([]Network{{netip.PrefixFrom(netip.MustParseAddr("10.1.2.3"), 8), berlin}}, nil); err == nil {
		t.Error("a prefix with bits behind its length was taken")
	}
}

// fixed is a database that knows one place for everybody.
type fixed struct {
	place *Located
	bits  int
}

func (f fixed) Find(netip.Addr) (*Located, int) { return f.place, f.bits }

// TestTrace: it tells what came in, who was left out at which step and why, and what came
// out; and asking for it does not change the answer.
func TestTrace(t *testing.T) {
	v := viewOf(pool.WeightedRoundRobin,
		member{"10.0.0.1:80", 2, health.Up}, member{"10.0.0.2:80", 1, health.Down}, member{"[2001:db8::1]:80", 1, health.Up},
		member{"10.0.0.3:80", 1, health.Draining}, member{"10.0.0.1:81", 1, health.Up}, member{"10.0.0.4:80", 1, health.Unknown},
		member{"10.0.0.5:80", 1, health.Up})
	in := inputOf(Spec{Name: dnsname.MustParse("www.example.com")}, v, rdata.TypeA, client)
	var trace Trace
	traced := Decide(in, &trace)
	trace.Picked(traced, 1, client.Addr)
	if plain := Decide(in, nil); pick(traced, 1, client) != pick(plain, 1, client) {
		t.Errorf("traced %s, plain %s", pick(traced, 1, client), pick(plain, 1, client))
	}
	got := map[string]string{}
	var filters []string
	for _, s := range trace.Steps {
		filters = append(filters, s.Filter)
		for _, m := range s.Members {
			if m.Excluded != "" {
				got[m.Member] = s.Filter + ": " + m.Excluded
			}
		}
	}
	want := map[string]string{
		"b": "up: down", "c": "family: address of the other family", "d": "up: draining",
		"e": "same: same record as a, which stands for both", "f": "up: not probed yet, and others are up",
	}
	for m, why := range want {
		if got[m] != why {
			t.Errorf("%s: excluded %q, want %q", m, got[m], why)
		}
	}
	if len(got) != len(want) || !slices.Equal(filters, []string{"family", "up", "tiers", "same", "weighted", "limit"}) {
		t.Errorf("filters %v exclude %v", filters, got)
	}
	for i, want := range []string{"a 10.0.0.1:80 up (status 200): in, weight 2", "b 10.0.0.2:80 down (connection refused): out, down"} {
		if got := trace.Steps[1].Members[i].String(); got != want {
			t.Errorf("line %q, want %q", got, want)
		}
	}
	for i, s := range trace.Steps[1:] {
		if s.In != trace.Steps[i].Out {
			t.Errorf("step %s takes in %d, the one before gave %d", s.Filter, s.In, trace.Steps[i].Out)
		}
	}
	if trace.Result != "2 of 2, a first" || trace.Client != client.Addr || trace.Name != "www.example.com." {
		t.Errorf("trace %+v", trace)
	}
	text, err := json.Marshal(trace)
	if err != nil || !strings.Contains(string(text), `"policy":"weightedRoundRobin"`) || !strings.Contains(string(text), `"cause":"connection refused"`) {
		t.Errorf("%v\n%s", err, text)
	}
	var none Trace
	if Decide(inputOf(Spec{}, v, rdata.TypeMX, client), &none); !strings.HasPrefix(none.Result, "NODATA") || len(none.Steps) == 0 {
		t.Errorf("%+v", none)
	}
}

// TestWhatIf: who would come in another's place, and what others get.
func TestWhatIf(t *testing.T) {
	v := world(health.Up, health.Down)
	in := inputOf(Spec{Filters: chainOf(t, "up near:country limit=1")}, v, rdata.TypeA, at(berlin))
	want := []string{
		"a down instead of up: c",
		"a client at NL, EU (52.4 4.9): c",
		"a client at IL, US, NA (41.9 -87.6): d",
	}
	if got := WhatIf(in, 0); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func bigView(n int) *pool.View {
	var members []member
	for i := range n {
		members = append(members, member{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80).String(), 1 + i%7, health.Up})
	}
	return viewOf(pool.WeightedRoundRobin, members...)
}

// chains are of each sort: nothing of the client looked at, its place, its network, all.
var chains = []string{"", "up near:country weighted limit", "up tiers sticky limit=2", "up shed near:distance latency sticky limit"}

func TestNoAllocs(t *testing.T) {
	atlas := NewAtlas()
	e, err := NewEdition([]Network{{netip.MustParsePrefix("192.0.2.0/24"), berlin}}, fixed{Locate(chicago, "database"), 20})
	if err != nil {
		t.Fatal(err)
	}
	atlas.Publish(e)
	for _, chain := range chains {
		r := ruleOf(t, chain, bigView(100), Spec{Atlas: atlas, Latency: NewLatency()})
		table := &Table{rules: map[dnsname.Name]*Rule{r.Name: r}}
		wire := []byte("\x03www\x07example\x03com\x00")
		turn := uint64(0)
		answer := func() {
			rule := table.Find(dnsname.View(wire))
			turn = rule.Turn() % Shares
			p, _ := rule.Prepare(rdata.TypeA, client.Addr, turn, noon)
			if _, _, ok := p.Run(turn); !ok {
				var room [MaxLimit]uint16
				p.Pick(turn, client.Addr, room[:0])
			}
		}
		for range 2 * Shares {
			answer()
		}
		if n := testing.AllocsPerRun(1000, answer); n != 0 {
			t.Errorf("%q: %v allocations", chain, n)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, chain := range chains {
		for _, members := range []int{3, 1000} {
			b.Run(fmt.Sprintf("%s/%d", chain, members), func(b *testing.B) {
				r := ruleOf(b, chain, bigView(members), Spec{})
				b.ReportAllocs()
				for b.Loop() {
					turn := r.Turn()
					p, _ := r.Prepare(rdata.TypeA, client.Addr, turn, noon)
					if _, _, ok := p.Run(turn); !ok {
						var room [MaxLimit]uint16
						p.Pick(turn, client.Addr, room[:0])
					}
				}
			})
		}
	}
}
