package sim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/config"
)

// parse reads a plan that is right.
func parse(t testing.TB, text string) *Plan {
	t.Helper()
	p, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(text string) (*Plan, error) {
	p := new(Plan)
	return p, config.ParseDocument("plan.yaml", []byte(text), p, p.Check)
}

// three is an hour with three servers; what more there is to say follows.
const three = `
length: 1h
pools:
  - {name: web, check: {type: http}, members: [{name: a, address: "192.0.2.1:80"}, {name: b, address: "192.0.2.2:80"}, {name: c, address: "192.0.2.3:80"}]}
servers: [{workers: 8, queue: 50, takes: 20ms}]
`

func play(t testing.TB, text string, v Variant) *Result {
	t.Helper()
	p := parse(t, text)
	if v.By == "" {
		v.By = ByGateway
	}
	return Run(p, v)
}

// What happens to a server costs what its kind costs, and each way of doing it is seen to be
// what it is: plain DNS never notices, steered DNS as soon as resolvers ask again, and the
// gateway at once.
func TestWaysOfLosingAServer(t *testing.T) {
	const crowd = "clients: [{rate: 40, resolvers: 5, clients: 400}]\nsteer: [{name: www.example.com, pool: web, ttl: 30s, shortTTL: 5s}]\n"
	for _, does := range []string{"crash", "vanish"} {
		text := three + crowd + "events: [{member: b, does: " + does + ", at: 10m, for: 20m}]\n"
		plain, steered, gateway := play(t, text, Variant{By: PlainDNS}), play(t, text, Variant{By: DNS}), play(t, text, Variant{})
		t.Logf("%s:\n%v\n%v\n%v", does, plain, steered, gateway)
		third := float64(plain.Requests) / 9 // of 20 minutes of 60
		if e := plain.Events[0]; math.Abs(float64(plain.Failed)-third) > third/10 || e.Seen >= 0 || e.Ends {
			t.Errorf("%s: plain DNS failed %d, want about %.0f of %d; %+v", does, plain.Failed, third, plain.Requests, e)
		}
		// A resolver asks again within the TTL of 30 s, and a verdict takes two probes.
		if e := steered.Events[0]; e.Seen < 0 || e.Seen > 3000 || e.Gone > 34_000 || !e.Ends || steered.Failed == 0 {
			t.Errorf("%s: steered DNS: %d failed, %+v", does, steered.Failed, e)
		}
		// What must not be sent twice, and was under way, is lost.
		if e := gateway.Events[0]; gateway.Failed > 3 || e.Gone > 3000 || e.Seen < 0 || gateway.Retried == 0 {
			t.Errorf("%s: gateway: %d failed, %d tried again, %+v", does, gateway.Failed, gateway.Retried, e)
		}
	}
}

// Resolvers that keep answers beyond their TTL, and programs that keep addresses, hold on to
// a server that is gone for as long as they do.
func TestCachesPinClients(t *testing.T) {
	const steer = "steer: [{name: www.example.com, pool: web, ttl: 5s}]\nevents: [{member: b, does: crash, at: 10m, for: 40m}]\n"
	for _, c := range []struct {
		clients string
		gone    float64 // minutes, at most and at least
		least   float64
	}{
		{"clients: [{rate: 40}]", 0.2, 0},
		{"clients: [{rate: 40, minTTL: 10m}]", 10.2, 8},
		{"clients: [{rate: 40, pinned: 20, pinFor: 20m}]", 20.2, 18},
	} {
		e := play(t, three+steer+c.clients, Variant{By: DNS}).Events[0]
		if gone := e.Gone / 60_000; gone > c.gone || gone < c.least {
			t.Errorf("%s: traffic had left after %.1f minutes, want %.1f to %.1f", c.clients, gone, c.least, c.gone)
		}
	}
}

// Clients that try the next address get there, when they are told at once that nobody is at
// the first.
func TestClientsTryTheNextAddress(t *testing.T) {
	const text = three + "clients: [{rate: 40, tries: 2, writes: 0}]\nevents: [{member: b, does: crash, at: 10m, for: 20m}]\n"
	if r := play(t, text, Variant{By: PlainDNS}); r.Failed > 0 || r.Retried == 0 {
		t.Errorf("%v, %d tried again", r, r.Retried)
	}
}

// Of one server that is slow, policies that go by response times notice.
func TestSlowServer(t *testing.T) {
	const text = three + "clients: [{rate: 60}]\nevents: [{member: b, does: slow, by: 10, at: 10m, for: 40m}]\n"
	turns, least := play(t, text, Variant{Policy: "roundRobin"}), play(t, text, Variant{Policy: "leastResponseTime"})
	// In turn it is found to be poor, and keeps a part of its share; by response time it is left alone at once.
	if turns.P99 < 2*least.P99 || least.Servers[1].Sent >= turns.Servers[1].Sent || turns.Events[0].Sent > turns.Servers[0].Sent/3 {
		t.Errorf("p99 %.1f ms in turn and %.1f by response time; the slow one was sent %d and %d", turns.P99, least.P99, turns.Servers[1].Sent, least.Servers[1].Sent)
	}
	if turns.WorstImbalance < 1.5 {
		t.Errorf("worst imbalance %.2f in turn, want the slow one to be seen busy", turns.WorstImbalance)
	}
}

// A server with a queue answers as Erlang's formula C has it, when arrivals and service are
// as it takes them: half of a service time is fixed here, so that waiting is a little
// shorter than of one all by chance, and longer than of a fixed one.
func TestQueueing(t *testing.T) {
	const text = "length: 2h\npools: [{name: web, check: {type: none}, members: [{name: a, address: \"192.0.2.1:80\"}]}]\n" +
		"servers: [{workers: 1, queue: 1000, takes: 10ms}]\nclients: [{rate: 70, patience: 1m}]\n"
	p := parse(t, text)
	w := newWorld(p, Variant{By: ByGateway})
	r := Run(p, Variant{By: ByGateway})
	// Pollaczek and Khinchine: mean wait = load * mean service * (1 + variance) / 2 / (1 - load),
	// with a variance of a quarter, the service being half of it by chance.
	load, service := 0.7, 10.0
	want := service + load*service*(1+0.25)/2/(1-load)
	var sum, n float64
	for i, c := range Spread(p) {
		sum += float64(c) * (float64(upTo(i)) + float64(upTo(max(i-1, 0)))) / 2e6
		n += float64(c)
	}
	network := millis(w.crowds[0].gateway + w.servers[0].trip)
	if got := sum/n - network; math.Abs(got-want) > want*0.05 {
		t.Errorf("mean response time %.2f ms, want %.2f", got, want)
	}
	if busy := r.Servers[0].Busy; math.Abs(busy-70) > 2 {
		t.Errorf("busy %.1f %%, want 70 %%", busy)
	}
}

// Spread returns how often an answer took how long, in a run by the gateway.
func Spread(p *Plan) []uint32 {
	w := newWorld(p, Variant{By: ByGateway})
	w.play()
	return w.took.counts[:]
}

// A queue that is full refuses, and what was refused has failed.
func TestOverload(t *testing.T) {
	const text = three + "clients: [{rate: 2400}]\n" // three times eight workers do 1,200
	r := play(t, strings.NewReplacer("length: 1h", "length: 2m", "type: http", "type: tcp").Replace(text), Variant{})
	if got := r.FailedPercent(); got < 40 || got > 80 { // more than half: errors are tried on another member first
		t.Errorf("%.1f %% failed at twice of what the servers can do", got)
	}
}

// With one plan everything comes out the same, and who comes and what happens is the same
// under each variant.
func TestDeterministic(t *testing.T) {
	const text = three + "clients: [{rate: 30, pinned: 3}]\nevents: [{member: \"*\", does: crash, every: 20m, for: 2m}]\n"
	asText := func(r *Result) string {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, by := range []string{PlainDNS, DNS, ByGateway} {
		if one, two := asText(play(t, text, Variant{By: by})), asText(play(t, text, Variant{By: by})); one != two {
			t.Errorf("%s: two runs differ", by)
		}
	}
	a, b := play(t, text, Variant{By: DNS}), play(t, text, Variant{Policy: "random"})
	if a.Requests != b.Requests || len(a.Events) == 0 || !slices.EqualFunc(a.Events, b.Events, func(x, y EventResult) bool { return x.At == y.At && x.For == y.For && x.Member == y.Member }) {
		t.Errorf("%d and %d requests; events %v and %v", a.Requests, b.Requests, a.Events, b.Events)
	}
	if c := play(t, "seed: 2\n"+text, Variant{By: DNS}); c.Requests == a.Requests {
		t.Error("another seed plays the same day")
	}
}

// Steering by place, slow start, tiers, drain and overrides of the check are those of the
// node's own code.
func TestOwnCode(t *testing.T) {
	const text = `
length: 1h
pools:
  - name: web
    check: {type: tcp}
    members:
      - {name: eu, address: "192.0.2.1:80", place: {continent: EU, country: DE, location: "50,8"}}
      - {name: us, address: "192.0.2.2:80", place: {continent: NA, country: US, location: "40,-74"}}
      - {name: spare, address: "192.0.2.3:80", tier: 1}
clients:
  - {name: de, rate: 20, place: {continent: EU, country: DE, location: "52,13"}}
  - {name: us, rate: 20, place: {continent: NA, country: US, location: "41,-73"}}
events: [{member: eu, does: crash, at: 20m, for: 10m}]
`
	near := play(t, text, Variant{By: DNS, Filters: parse(t, text+"compare: [{filters: [{type: up}, {type: tiers}, {type: near, by: country}, {type: weighted}]}]").Compare[0].Filters})
	all := play(t, text, Variant{By: DNS})
	if near.P50 > all.P50/2 || near.Servers[2].Sent > 0 {
		t.Errorf("half of the answers within %.1f ms with the nearest and %.1f with all; the spare one was sent %d", near.P50, all.P50, near.Servers[2].Sent)
	}
	slow, quick := play(t, text, Variant{Interval: 60e9, Fall: 3, Policy: "roundRobin"}), play(t, text, Variant{Policy: "roundRobin"})
	if slow.Probes > quick.Probes/20 {
		t.Errorf("%d probes at one a minute, %d at one a second", slow.Probes, quick.Probes)
	}
	warm := play(t, text, Variant{SlowStart: 10 * 60e9})
	// Of 10 minutes of slow start the member has about half of its share.
	if lost := float64(quick.Servers[0].Sent - warm.Servers[0].Sent); lost < 0.3*600*20 || lost > 0.7*600*20 {
		t.Errorf("slow start kept %.0f requests from the member, of 12,000", lost)
	}
}

// A day's rate follows its points, and goes from the last to the first over midnight.
func TestRateAt(t *testing.T) {
	c := parse(t, three+"clients: [{rate: 100, day: [{at: 6h, percent: 50}, {at: 18h, percent: 150}]}]").Clients[0]
	for at, want := range map[time.Duration]float64{6 * time.Hour: 50, 12 * time.Hour: 100, 18 * time.Hour: 150, 0: 100, 21 * time.Hour: 125, 30 * time.Hour: 50} {
		if got := c.rateAt(at); math.Abs(got-want) > 1e-9 {
			t.Errorf("at %v: %.1f a second, want %.1f", at, got, want)
		}
	}
	if c.most() != 150 {
		t.Errorf("at most %.1f, want 150", c.most())
	}
	s := parse(t, strings.Replace(three, "takes: 20ms", "takes: 20ms, curve: [{requests: 5, takes: 60ms}, {requests: 8, takes: 90ms}]", 1)+"clients: [{}]").Servers[0]
	for busy, want := range map[int]time.Duration{1: 20e6, 3: 40e6, 5: 60e6, 6: 70e6, 20: 90e6} {
		if got := s.takesAt(busy); got != want {
			t.Errorf("with %d at once it takes %v, want %v", busy, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	var s spread
	for i := range 10_000 {
		s.add(time.Duration(i+1) * 37 * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.99, 1} {
		want := time.Duration(q*9999+1) * 37 * time.Microsecond
		if got := s.quantile(q); math.Abs(float64(got-want)) > 0.04*float64(want) {
			t.Errorf("quantile %v is %v, want %v to 4 %%", q, got, want)
		}
	}
	s.add(1000 * time.Hour) // beyond the last bucket
	if (&spread{}).quantile(0.5) != 0 {
		t.Error("of nothing a quantile is 0")
	}
}

// The plot is well-formed whatever names there are in it, and has a line for each variant.
func TestSVG(t *testing.T) {
	p := parse(t, `title: "<a> & \"b\" \u0007"`+"\n"+three+"clients: [{rate: 20}]\nevents: [{member: a, does: crash, at: 10m, for: 5m}]\n")
	var results []*Result
	for _, v := range p.Variants() {
		results = append(results, Run(p, v))
	}
	var b bytes.Buffer
	if err := WriteSVG(&b, p, results); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Error("a place in the plot is no number")
	}
	count := map[string]int{}
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
	if count["polyline"] != 3*len(results) || count["polygon"] != 3*len(results) || count["svg"] != 1 {
		t.Errorf("elements %v, want 3 lines and 3 areas for each of %d variants", count, len(results))
	}
}

// What is wrong with a file is told with its line and the remedy.
func TestBadPlans(t *testing.T) {
	for text, want := range map[string]string{
		"length: 1h":                       "plan.yaml:1:1: pools: there is no pool; write one as in pharos.yaml",
		three:                              "clients: there are no clients; add some",
		three + "clients: [{rate: fast}]":  `plan.yaml:6:18: clients[0].rate: "fast" is not a whole number; want 1 to 100000`,
		three + "clients: [{}]\npool: api": `plan.yaml:7:7: pool: there is no pool "api"; name one of pools`,
		three + "clients: [{}]\nevents: [{member: aa, does: crash}]":                                                              `plan.yaml:7:19: events[0].member: no member is called "aa"; did you mean "a"?`,
		three + "clients: [{}]\nevents: [{member: a, does: crash, at: 2h}]":                                                       "events[0].at: 2h is after the end, at 1h; have it happen earlier",
		three + "clients: [{}]\nevents: [{member: a, does: burn}]":                                                                `unknown value "burn"; want one of crash, vanish, slow, errors, drain`,
		three + "clients: [{rate: 100000}]\nseed: -1":                                                                             "seed: -1 is less than the smallest value allowed, 0",
		three + "clients: [{rate: 100000}]":                                                                                       "these are 360 million requests, and at most 200 million are played; lower rate",
		three + "clients: [{day: [{at: 2h, percent: 1}, {at: 1h, percent: 1}]}]":                                                  "clients[0].day[1].at: it is not later than the point before",
		three + "clients: [{network: 192.0.2.0/30}]":                                                                              "192.0.2.0/30 has not enough addresses for 10 resolvers; widen it",
		three + "clients: [{network: 192.0.2.0/24}, {network: 192.0.0.0/16}]":                                                     "clients[1].network: 192.0.0.0/16 is, in part, that of clients[0]",
		three + "clients: [{resolverNetwork: 192.0.2.0/30}]":                                                                      "192.0.2.0/30 has not enough addresses for 10 resolvers; widen it",
		three + "clients: [{resolverNetwork: 198.18.0.0/16}]":                                                                     "clients[0].resolverNetwork: 198.18.0.0/16 is, in part, that of the clients; give the resolvers their own",
		three + "clients: [{network: 192.0.2.0/24}, {resolverNetwork: 192.0.0.0/16}]":                                             "clients[1].resolverNetwork: 192.0.0.0/16 is, in part, that of clients[0]; give each its own",
		three + "clients: [{resolverPlace: {location: north}}]":                                                                   "clients[0].resolverPlace",
		three + "clients: [{}]\ncompare: [{policy: hash, hash: {bound: 101}}]":                                                    "plan.yaml:7:40: compare[0].hash.bound: the bound 101 sends most keys elsewhere",
		three + "clients: [{}]\ncompare: [{filters: [{type: limit}, {type: up}]}]":                                                "compare[0].filters[1]: up comes first",
		three + "clients: [{}]\nsteer: [{name: x.example, pool: web, answer: mx}]":                                                "clients that go by mx records cannot be played",
		three + "clients: [{}]\nlenght: 1h":                                                                                       `lenght: unknown key; did you mean "length"?`,
		strings.Replace(three, "takes: 20ms", "curve: [{requests: 5, takes: 1s}, {requests: 5, takes: 1s}]", 1) + "clients: [{}]": "servers[0].curve[1].requests: it is not more than that of the point before",
	} {
		_, err := read(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
}

// FuzzPlan: whatever a file says, it is refused or can be played, for a moment of it.
func FuzzPlan(f *testing.F) {
	f.Add(Example)
	f.Add(three + "clients: [{rate: 3, pinned: 50}]\nevents: [{member: a, does: errors, for: 5m, probes: true}]\ncompare: [{by: dns, ttl: 1s}]\n")
	f.Add(three + "clients: [{network: \"2001:db8::/64\", day: [{at: 24h, percent: 0}]}]\nkeys: 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := read(text)
		if err != nil {
			return
		}
		p.Length = min(p.Length, 60e9)
		all := 0.0
		for i := range p.Clients {
			all += p.Clients[i].most() * p.Length.Std().Seconds()
		}
		if all > 2000 || len(p.Pools) > 4 {
			return
		}
		for _, v := range p.Variants()[:1] {
			if r := Run(p, v); r.Failed > r.Requests {
				t.Errorf("%v", r)
			}
		}
	})
}
