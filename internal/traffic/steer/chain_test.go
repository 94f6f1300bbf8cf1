package steer

import (
	"fmt"
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

// chainOf reads a chain as tests write it: "up near:country shed limit=2".
func chainOf(t testing.TB, text string) []Filter {
	t.Helper()
	var chain []Filter
	var kinds []string
	for _, word := range strings.Fields(text) {
		word, number, has := strings.Cut(word, "=")
		kind, by, _ := strings.Cut(word, ":")
		f, err := ParseFilter(kind, by)
		if err != nil {
			t.Fatal(err)
		}
		if has {
			var n int
			fmt.Sscan(number, &n)
			f.Count, f.Within, f.From = n, n, n
		}
		chain, kinds = append(chain, f), append(kinds, kind)
	}
	if at, why := CheckChain(kinds); why != "" {
		t.Fatalf("filter %d of %q: %s", at, text, why)
	}
	return chain
}

var (
	berlin    = pool.Place{Continent: "EU", Country: "DE", Region: "BE", Zone: "ber-1", Latitude: 52.5, Longitude: 13.5}
	frankfurt = pool.Place{Continent: "EU", Country: "DE", Region: "HE", Latitude: 50.1, Longitude: 8.7}
	amsterdam = pool.Place{Continent: "EU", Country: "NL", Latitude: 52.4, Longitude: 4.9}
	chicago   = pool.Place{Continent: "NA", Country: "US", Region: "IL", Latitude: 41.9, Longitude: -87.6}
)

func at(p pool.Place) Client {
	return Client{Addr: netip.MustParseAddr("192.0.2.1"), Place: Locate(p, "the test")}
}

// world is members a: Berlin, b: Frankfurt, c: Amsterdam, d: Chicago, e: nowhere.
func world(states ...health.State) *pool.View {
	var specs []pool.MemberSpec
	for i, p := range []pool.Place{berlin, frankfurt, amsterdam, chicago, {}} {
		specs = append(specs, pool.MemberSpec{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80), Place: p})
	}
	return viewOfSpecs(pool.RoundRobin, states, specs...)
}

// TestNear: the nearest by each measure, falling back to the next one where nobody is of
// the same; who is nowhere is for everybody else.
func TestNear(t *testing.T) {
	up, down := health.Up, health.Down
	for _, c := range []struct {
		chain  string
		client Client
		states []health.State
		want   string
	}{
		{"up near:zone", at(berlin), nil, "a"},
		{"up near:region", at(berlin), nil, "a"},
		{"up near:country", at(berlin), nil, "ab"},
		{"up near:continent", at(berlin), nil, "abc"},
		{"up near:country", at(pool.Place{Continent: "EU", Country: "FR"}), nil, "abc"},
		{"up near:country", at(pool.Place{Continent: "AS", Country: "JP"}), nil, "e"},
		{"up near:country", client, nil, "e"}, // the client is nowhere
		{"up near:zone", at(pool.Place{Country: "DE", Region: "BE", Zone: "other"}), nil, "a"},
		{"up near:zone", at(pool.Place{Country: "NL", Zone: "ber-1"}), nil, "c"}, // a zone of that name elsewhere
		{"up near:country", at(berlin), []health.State{down, up, up, up, up}, "b"},
		{"up near:country", at(berlin), []health.State{down, down, up, up, up}, "c"},
		{"up near:country", at(berlin), []health.State{down, down, down, up, down}, "d"}, // all stay
		{"up near:distance", at(amsterdam), nil, "c"},
		{"up near:distance=600", at(amsterdam), nil, "abc"},
		{"up near:distance", at(pool.Place{Continent: "EU", Country: "DE"}), nil, "ab"}, // by country without coordinates
		{"up near:distance", at(pool.Place{Latitude: 40.7, Longitude: -74}), nil, "d"},
		{"up near:continent near:country", at(amsterdam), nil, "c"},
	} {
		v := world(c.states...)
		if got := pick(Decide(inputOf(Spec{Filters: chainOf(t, c.chain)}, v, rdata.TypeA, c.client), nil), 0, c.client); got != c.want {
			t.Errorf("%s, client %+v, %v: got %s, want %s", c.chain, c.client.Place, c.states, got, c.want)
		}
	}
}

// TestDistance: by the haversine formula; around the pole and the date line too.
func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b pool.Place
		want float64
	}{
		{amsterdam, berlin, 583}, {amsterdam, chicago, 6613}, {berlin, berlin, 0},
		{pool.Place{Latitude: 0, Longitude: 179}, pool.Place{Latitude: 0, Longitude: -179}, 222},
		{pool.Place{Latitude: 90}, pool.Place{Latitude: -90}, 20015},
	} {
		if got := distance(&c.a, &c.b); got < c.want*0.99-1 || got > c.want*1.01+1 {
			t.Errorf("%v to %v: %.0f km, want %.0f", c.a, c.b, got, c.want)
		}
	}
}

// TestTiers: the next tier only when nobody of the one before can serve; with shed before
// tiers, when nobody has room.
func TestTiers(t *testing.T) {
	specs := []pool.MemberSpec{
		{Address: netip.MustParseAddrPort("10.0.0.1:80"), Capacity: 10},
		{Address: netip.MustParseAddrPort("10.0.0.2:80"), Tier: 1},
		{Address: netip.MustParseAddrPort("10.0.0.3:80"), Tier: 2},
	}
	for _, c := range []struct {
		states []health.State
		active int64
		want   string
	}{
		{nil, 0, "a"}, {nil, 10, "b"}, {nil, 7, "a"}, // 80 % is where shedding begins
		{[]health.State{health.Down}, 0, "b"},
		{[]health.State{health.Down, health.Down}, 0, "c"},
		{[]health.State{health.Down, health.Down, health.Down}, 0, "a"},
	} {
		v := viewOfSpecs(pool.RoundRobin, c.states, specs...)
		v.Members[0].Load.Active.Store(c.active)
		in := inputOf(Spec{Filters: chainOf(t, "up shed tiers")}, v, rdata.TypeA, client)
		in.Shed = ShedLevels(v, in.Spec.Filters, 0)
		if got := pick(Decide(in, nil), 0, client); got != c.want {
			t.Errorf("%v with %d active: got %s, want %s", c.states, c.active, got, c.want)
		}
	}
}

// TestShed: between From and all of its capacity, a member is left out of a share of
// answers that grows with its load; never are all.
func TestShed(t *testing.T) {
	v := viewOfSpecs(pool.RoundRobin, nil,
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.1:80"), Capacity: 100},
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.2:80"), Capacity: 100},
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.3:80")})
	count := func(active ...int64) (in [3]int) {
		for i, n := range active {
			v.Members[i].Load.Active.Store(n)
		}
		one := Input{Spec: &NewRule(Spec{Filters: chainOf(t, "up shed")}).Spec, Type: rdata.TypeA, View: v}
		one.Shed = ShedLevels(v, one.Spec.Filters, 0)
		for one.Variant = range uint8(Shares) {
			answer := pick(Decide(one, nil), 0, client)
			if answer == "" {
				t.Errorf("%v: nobody in answer %d", active, one.Variant)
			}
			for i := range in {
				if strings.Contains(answer, string(rune('a'+i))) {
					in[i]++
				}
			}
		}
		return in
	}
	for _, c := range []struct {
		active []int64
		want   [3]int
	}{
		{[]int64{0, 0}, [3]int{16, 16, 16}},
		{[]int64{79, 0}, [3]int{16, 16, 16}},
		{[]int64{80, 0}, [3]int{15, 16, 16}},
		{[]int64{90, 0}, [3]int{7, 16, 16}},
		{[]int64{99, 100}, [3]int{0, 0, 16}},
		{[]int64{250, 90}, [3]int{0, 7, 16}},
	} {
		if got := count(c.active...); got != c.want {
			t.Errorf("load %v: in %v of 16 answers, want %v", c.active, got, c.want)
		}
	}
	// By what it carries, and by what its agent says.
	busy := viewOfSpecs(pool.RoundRobin, nil, pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.1:80"), Bandwidth: 8_000_000},
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.2:80"), Bandwidth: 8_000_000}, pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.3:80")})
	const now = time.Minute
	for range 100 {
		busy.Members[0].Load.Carried(now, 10_000_000)
	}
	busy.Members[2].Notes.Report.Load = 1000
	if got := ShedLevels(busy, chainOf(t, "up shed:bandwidth"), now); !slices.Equal(got, []uint8{Shares, 0, 0}) {
		t.Errorf("by bandwidth: %v", got)
	}
	if got := ShedLevels(busy, chainOf(t, "up shed:bandwidth"), now+time.Minute); got != nil {
		t.Errorf("by bandwidth, a minute later: %v", got)
	}
	if got := ShedLevels(busy, chainOf(t, "up shed:load shed:bandwidth"), now); !slices.Equal(got, []uint8{Shares, 0, Shares}) {
		t.Errorf("by load too: %v", got)
	}
	// Without anybody who has room, those with the least load stay.
	full := viewOfSpecs(pool.RoundRobin, nil, pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.1:80"), Capacity: 1})
	full.Members[0].Load.Active.Store(9)
	in := inputOf(Spec{Filters: chainOf(t, "up shed")}, full, rdata.TypeA, client)
	in.Shed = ShedLevels(full, in.Spec.Filters, 0)
	if got := pick(Decide(in, nil), 0, client); got != "a" {
		t.Errorf("all full: got %q, want a", got)
	}
}

// TestWhenDown: all, a fallback (whose own members are chosen alike), or nothing; and what
// is drained by will has a fallback too.
func TestWhenDown(t *testing.T) {
	dead := []health.State{health.Down, health.Down, health.Draining}
	main := []pool.MemberSpec{
		{Address: netip.MustParseAddrPort("10.0.0.1:80")}, {Address: netip.MustParseAddrPort("[2001:db8::1]:80")}, {Address: netip.MustParseAddrPort("10.0.0.3:80")},
	}
	other := func(states ...health.State) *pool.View {
		v := viewOfSpecs(pool.RoundRobin, states, pool.MemberSpec{Address: netip.MustParseAddrPort("10.1.0.1:80")}, pool.MemberSpec{Address: netip.MustParseAddrPort("10.1.0.2:80"), Tier: 1})
		v.Name, v.Members[0].Name, v.Members[1].Name = "other", "x", "y"
		return v
	}
	for _, c := range []struct {
		what     string
		spec     Spec
		states   []health.State
		fallback *pool.View
		qtype    rdata.Type
		want     string
		allDown  bool
	}{
		{"all", Spec{}, dead, nil, rdata.TypeA, "a", true},
		{"nothing", Spec{WhenDown: ServeNothing}, dead, nil, rdata.TypeA, "", true},
		{"nothing, but somebody is up", Spec{WhenDown: ServeNothing}, nil, nil, rdata.TypeA, "ac", false},
		{"set addresses", Spec{WhenDown: ServeFallback, Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.9")}}, dead, nil, rdata.TypeA, "203.0.113.9", false},
		{"set addresses of the other family", Spec{WhenDown: ServeFallback, Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.9")}}, dead, nil, rdata.TypeAAAA, "", true},
		{"another pool", Spec{WhenDown: ServeFallback}, dead, other(), rdata.TypeA, "x", false},
		{"its own tiers", Spec{WhenDown: ServeFallback}, dead, other(health.Down, health.Up), rdata.TypeA, "y", false},
		{"it is down too", Spec{WhenDown: ServeFallback}, dead, other(health.Down, health.Down), rdata.TypeA, "a", true},
		{"all drained, and no fallback", Spec{}, []health.State{health.Draining, health.Draining, health.Draining}, nil, rdata.TypeA, "", false},
		{"all drained", Spec{WhenDown: ServeFallback}, []health.State{health.Draining, health.Draining, health.Draining}, other(), rdata.TypeA, "x", false},
		{"somebody is up", Spec{WhenDown: ServeFallback}, nil, other(), rdata.TypeA, "ac", false},
	} {
		in := inputOf(c.spec, viewOfSpecs(pool.RoundRobin, c.states, main...), c.qtype, client)
		in.Fallback = c.fallback
		p := Decide(in, nil)
		if got := pick(p, 0, client); got != c.want || p.AllDown != c.allDown {
			t.Errorf("%s: got %q, all down %v; want %q, %v", c.what, got, p.AllDown, c.want, c.allDown)
		}
	}
}

// A pool that scales may have no members for now: the fallback is answered, mostly the
// gateway, which holds requests until there is one.
func TestNoMembers(t *testing.T) {
	gateway := []netip.Addr{netip.MustParseAddr("203.0.113.9")}
	for _, c := range []struct {
		down Down
		want string
	}{{ServeFallback, "203.0.113.9"}, {ServeAll, ""}, {ServeNothing, ""}} {
		in := inputOf(Spec{WhenDown: c.down, Addresses: gateway}, viewOfSpecs(pool.RoundRobin, nil), rdata.TypeA, client)
		if got := pick(Decide(in, nil), 0, client); got != c.want {
			t.Errorf("%v: got %q, want %q", c.down, got, c.want)
		}
	}
}

// TestLatency: by what was measured, and else by distance; of whom nothing is known stays.
func TestLatency(t *testing.T) {
	v := world()
	for _, c := range []struct {
		client Client
		trips  []time.Duration
		want   string
	}{
		{client, nil, "abcde"},
		{client, []time.Duration{30e6, 5e6, 14e6, 100e6, 0}, "bce"},
		{at(chicago), nil, "de"}, // estimated
		{at(chicago), []time.Duration{20e6, 0, 0, 90e6, 0}, "ae"},
	} {
		in := inputOf(Spec{Filters: chainOf(t, "up latency")}, v, rdata.TypeA, c.client)
		in.Trips = c.trips
		if got := pick(Decide(in, nil), 0, c.client); got != c.want {
			t.Errorf("%v %v: got %s, want %s", c.client.Place, c.trips, got, c.want)
		}
	}
}

// TestNames: SRV, MX and CNAME answer with the hosts of members (RFC 2782, RFC 5321 §5.1):
// the tier is the priority, the weight the weight; who has no host is left out.
func TestNames(t *testing.T) {
	v := viewOfSpecs(pool.WeightedRoundRobin, nil,
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.1:5060"), Host: "one.example.net.", Weight: 3},
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.2:5061"), Host: "two.example.net.", Tier: 1},
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.3:5062")})
	for _, c := range []struct {
		kind Kind
		want []string
	}{
		{SRV, []string{"10 3 5060 one.example.net.", "20 1 5061 two.example.net."}},
		{MX, []string{"10 one.example.net.", "20 two.example.net."}},
		{CNAME, []string{"one.example.net."}},
	} {
		qtype := c.kind.Types()[0]
		p := Decide(inputOf(Spec{Kind: c.kind}, v, qtype, client), nil)
		var got []string
		for _, i := range p.Pick(0, client.Addr, nil) {
			got = append(got, string(rdata.AppendText(nil, qtype, p.RDATA(int(i)))))
		}
		if strings.Join(got, "; ") != strings.Join(c.want, "; ") {
			t.Errorf("%s: got %q, want %q", c.kind, got, c.want)
		}
		if err := rdata.Validate(qtype, p.RDATA(0)); err != nil {
			t.Error(err)
		}
	}
}

// TestService: hints stand among the parameters in the order of their keys (RFC 9460 §2.2).
func TestService(t *testing.T) {
	v := viewOfSpecs(pool.RoundRobin, nil,
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.1:443")}, pool.MemberSpec{Address: netip.MustParseAddrPort("[2001:db8::1]:443")},
		pool.MemberSpec{Address: netip.MustParseAddrPort("10.0.0.2:443")})
	for text, want := range map[string]string{
		"1 .":                              "1 . ipv4hint=10.0.0.1,10.0.0.2 ipv6hint=2001:db8::1",
		"2 svc.example. alpn=h2 port=8443": "2 svc.example. alpn=h2 port=8443 ipv4hint=10.0.0.1,10.0.0.2 ipv6hint=2001:db8::1",
		"1 . ech=AAAA key65000=x":          "1 . ipv4hint=10.0.0.1,10.0.0.2 ech=AAAA ipv6hint=2001:db8::1 key65000=x",
	} {
		service, err := rdata.ParseText(rdata.TypeHTTPS, dnsname.Root, text)
		if err != nil {
			t.Fatal(err)
		}
		if HasHints(service) {
			t.Errorf("%s: has hints", text)
		}
		s := NewRule(Spec{Kind: HTTPS, Service: service}).Spec
		v4, v6 := Decide(inputOf(s, v, rdata.TypeA, client), nil), Decide(inputOf(s, v, rdata.TypeAAAA, client), nil)
		data := s.AppendService(nil, v4, v6, v4.Pick(0, client.Addr, nil), v6.Pick(0, client.Addr, nil))
		if err := rdata.Validate(rdata.TypeHTTPS, data); err != nil || !HasHints(data) {
			t.Errorf("%s: %v", text, err)
		}
		if got := strings.ReplaceAll(string(rdata.AppendText(nil, rdata.TypeHTTPS, data)), `"`, ""); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		v6 = &Prepared{}
		if data = s.AppendService(nil, v4, v6, v4.Pick(0, client.Addr, nil), nil); rdata.Validate(rdata.TypeHTTPS, data) != nil {
			t.Errorf("%s without IPv6: %x", text, data)
		}
	}
}

// TestCheckChain: a chain that would not do what it seems to say is refused, with the reason.
func TestCheckChain(t *testing.T) {
	for text, want := range map[string]string{
		"up tiers near near shed latency sticky limit": "", "limit": "", "near": "", "up weighted": "",
		"tiers up":           "up comes first",
		"up up":              "already filters[0]",
		"up limit tiers":     "comes before those",
		"up weighted near":   "comes before those",
		"up sticky weighted": "both put the members in order",
		"up limit sticky":    "sticky comes before limit",
	} {
		if _, got := CheckChain(strings.Fields(text)); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, bad := range []string{"geo", "near:connections", "shed:country", "up:zone", "near:planet"} {
		kind, by, _ := strings.Cut(bad, ":")
		if f, err := ParseFilter(kind, by); err == nil {
			t.Errorf("%s: %+v", bad, f)
		}
	}
}
