package sim

import (
	"math"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// abroad is two servers, in Europe and in America, and clients in Europe whose resolvers are in America.
const abroad = `
length: 1h
pools:
  - name: web
    check: {type: tcp}
    members:
      - {name: eu, address: "192.0.2.1:80", place: {continent: EU, country: DE, location: "50,8"}}
      - {name: us, address: "192.0.2.2:80", place: {continent: NA, country: US, location: "40,-74"}}
steer: [{name: www.example.com, pool: web, ttl: 30s, filters: [{type: up}, {type: near, by: country}, {type: weighted}]}]
`

// A public resolver in America hides that its clients are in Europe, unless it says of which network they are
// (RFC 7871).
func TestResolversAbroad(t *testing.T) {
	const there = "resolvers: 4, place: {continent: EU, country: DE, location: \"52,13\"}, resolverPlace: {continent: NA, country: US, location: \"41,-73\"}"
	hidden := play(t, abroad+"clients: [{rate: 20, "+there+"}]", Variant{By: DNS})
	told := play(t, abroad+"clients: [{rate: 20, ecs: true, "+there+"}]", Variant{By: DNS})
	if hidden.Servers[0].Sent > 0 || told.Servers[1].Sent > 0 || told.P50 > hidden.P50/2 {
		t.Errorf("Europe was sent %d without, America %d with the network of the client; half within %.1f and %.1f ms", hidden.Servers[0].Sent, told.Servers[1].Sent, hidden.P50, told.P50)
	}
}

// With the network of clients a resolver keeps an answer for each network for which it holds: clients of a
// hundred networks ask up to a hundred times as often, and where answers do not go by the client (scope 0)
// no more than before.
func TestAnswersAreKeptForNetworks(t *testing.T) {
	const wide = "resolvers: 2, clients: 25600, network: 100.64.0.0/16"
	// Filters by network have answers that hold for a network each.
	const sticky = "filters: [{type: up}, {type: sticky}]}]"
	byNetwork := abroad[:len(abroad)-len("filters: [{type: up}, {type: near, by: country}, {type: weighted}]}]\n")] + sticky + "\n"
	for _, c := range []struct {
		text        string
		least, most float64 // questions beside those without
	}{
		{byNetwork, 20, 300}, {abroad[:len(abroad)-len(", filters: [{type: up}, {type: near, by: country}, {type: weighted}]}]\n")] + "}]\n", 1, 1},
	} {
		before := play(t, c.text+"clients: [{rate: 40, "+wide+"}]", Variant{By: DNS})
		after := play(t, c.text+"clients: [{rate: 40, ecs: true, "+wide+"}]", Variant{By: DNS})
		if more := float64(after.Questions) / float64(before.Questions); more < c.least || more > c.most {
			t.Errorf("%d questions with the network of clients, %d without; want %v to %v times as many", after.Questions, before.Questions, c.least, c.most)
		}
	}
}

// Some resolvers keep answers beyond their TTL whether they say who asks or not.
func TestECSKeepsBeyondTTL(t *testing.T) {
	const text = three + "steer: [{name: www.example.com, pool: web, ttl: 5s}]\nevents: [{member: b, does: crash, at: 10m, for: 40m}]\n"
	quick := play(t, text+"clients: [{rate: 40, ecs: true}]", Variant{By: DNS}).Events[0]
	late := play(t, text+"clients: [{rate: 40, ecs: true, minTTL: 10m}]", Variant{By: DNS}).Events[0]
	if quick.Gone > 12_000 || late.Gone < 8*60_000 || late.Gone > 10.2*60_000 {
		t.Errorf("traffic had left after %.0f s by the TTL and %.1f minutes with at least ten", quick.Gone/1e3, late.Gone/60_000)
	}
}

// Clients have addresses of their network alone, each its own as far as these reach.
func TestClientAddresses(t *testing.T) {
	for _, c := range []struct {
		network      string
		client       int
		want, subnet string
	}{
		{"198.18.3.0/24", 0, "198.18.3.0", "198.18.3.0/24"}, {"198.18.3.0/24", 255, "198.18.3.255", "198.18.3.0/24"}, {"198.18.3.0/24", 256, "198.18.3.0", "198.18.3.0/24"},
		{"100.64.0.0/10", 70_000, "100.65.17.112", "100.65.17.0/24"}, {"203.0.113.64/30", 7, "203.0.113.67", "203.0.113.0/24"},
		{"2001:db8::/32", 1, "2001:db8:0:100::", "2001:db8:0:100::/56"}, {"2001:db8::/32", 65_536, "2001:db8:100::", "2001:db8:100::/56"}, {"2001:db8::/64", 9, "2001:db8::", "2001:db8::/56"},
	} {
		var cr crowd
		cr.first, cr.addresses = clientsIn(netip.MustParsePrefix(c.network))
		bits := ecsBits4
		if cr.first.Is6() {
			bits = ecsBits6
		}
		got := cr.address(c.client)
		if subnet, _ := got.Prefix(bits); got.String() != c.want || subnet.String() != c.subnet || !netip.MustParsePrefix(c.network).Contains(got) {
			t.Errorf("client %d of %s: %s of %s, want %s of %s", c.client, c.network, got, subnet, c.want, c.subnet)
		}
	}
}

// Members are compared by the traffic that they carry: one that fails half of the requests, which no check
// sees, is put out, and its share of errors reaches no client that can be served by another one; by DNS
// nobody sees the traffic, and a third of requests goes on to fail by half.
func TestJury(t *testing.T) {
	const text = three + "clients: [{rate: 60, writes: 0}]\nevents: [{member: b, does: errors, share: 50, at: 10m, for: 40m}]\n"
	gateway, dns := play(t, text, Variant{Policy: "roundRobin"}), play(t, text, Variant{By: DNS})
	if gateway.Failed > gateway.Requests/1000 || gateway.Events[0].Seen < 0 || gateway.Servers[1].Sent > gateway.Servers[0].Sent*3/4 {
		t.Errorf("gateway: %v; seen after %.0f ms, the one with errors was sent %d, another one %d", gateway, gateway.Events[0].Seen, gateway.Servers[1].Sent, gateway.Servers[0].Sent)
	}
	if want := float64(dns.Requests) * 40 / 60 / 3 / 2; math.Abs(float64(dns.Failed)-want) > want/5 || dns.Events[0].Seen >= 0 {
		t.Errorf("dns: %v; want about %.0f failed and nothing seen (%.0f ms)", dns, want, dns.Events[0].Seen)
	}
	// At most half of the pool is out at once: when all fail alike nobody is left without.
	all := play(t, three+"clients: [{rate: 60}]\nevents: [{member: \"*\", does: errors, share: 50, at: 10m, for: 40m}]\n", Variant{Policy: "roundRobin"})
	for i, s := range all.Servers {
		if s.Sent < all.Requests/10 {
			t.Errorf("server %d was sent %d of %d requests, while all fail alike", i, s.Sent, all.Requests)
		}
	}
}

// Probes of many members, which begin together, are spread over the interval by their jitter, after a hundred
// of them: no second has much more than its share.
func TestProbesAreSpread(t *testing.T) {
	text := "length: 20m\npools:\n  - name: web\n    check: {type: tcp, interval: 10s}\n    members:\n"
	const members = 400
	for i := range members {
		text += "      - {name: m" + strconv.Itoa(i) + ", address: \"192.0.2." + strconv.Itoa(i%200) + ":" + strconv.Itoa(1000+i) + "\"}\n"
	}
	w := newWorld(parse(t, text+"clients: [{rate: 1}]"), Variant{By: ByGateway})
	perSecond := map[time.Duration]int{}
	for w.events.len() > 0 {
		e := w.events.pop()
		if w.now = time.Duration(e.at); w.now > w.plan.Length.Std() {
			break
		}
		before := w.probes
		w.step(e)
		perSecond[w.now/time.Second] += int(w.probes - before)
	}
	most, late := 0, 0
	for second, n := range perSecond {
		if second >= 1000 {
			most, late = max(most, n), late+n
		}
	}
	if mean := float64(late) / 200; mean < members/10 || float64(most) > 2*mean {
		t.Errorf("%.1f probes a second and %d in the busiest one; want %d or some more, and at most twice of it", mean, most, members/10)
	}
}
