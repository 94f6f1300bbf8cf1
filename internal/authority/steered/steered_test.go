package steered

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/authority/answer"
	"pharos/internal/authority/live"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/decisions"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/steer"
)

var (
	origin = dnsname.MustParse("example.com")
	noon   = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
)

// world is a zone with the steered name app and the plain name www, which have the same
// addresses, and an alias of app.
type world struct {
	zone  *zone.Zone
	table *steer.Table
	past  *decisions.Ring
}

func newWorld(t testing.TB, how zone.Steering, spec steer.Spec) world {
	b := zone.NewBuilder(origin)
	add := func(owner string, rt rdata.Type, text string) {
		data, err := rdata.ParseText(rt, origin, text)
		if err != nil {
			t.Fatal(err)
		}
		b.Add(rdata.Record{Name: dnsname.MustParse(owner), Type: rt, Class: rdata.ClassIN, TTL: 5, Data: data})
	}
	add("example.com.", rdata.TypeSOA, "ns host 1 2 3 4 5")
	add("example.com.", rdata.TypeNS, "ns.example.net.")
	add("alias.example.com.", rdata.TypeCNAME, "app")
	add("target.example.com.", rdata.TypeA, "192.0.2.77")
	members := pool.Spec{Name: "web", Check: health.Check{Kind: health.None}}
	for i := range 4 {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		add("www.example.com.", rdata.TypeA, addr.String())
		members.Members = append(members.Members, pool.MemberSpec{Name: fmt.Sprint(i), Address: netip.AddrPortFrom(addr, 443), Host: "target.example.com."})
	}
	b.Steer(dnsname.MustParse("app.example.com"), how)
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	spec.Name, spec.Pool = dnsname.MustParse("app.example.com"), pool.New("web")
	spec.Pool.Publish(pool.Compile(members, func(health.Target) health.Status { return health.Status{State: health.Up} }, nil))
	return world{zone: z, table: steer.NewTable([]steer.Spec{spec})}
}

// asking is what answers one question again and again.
type asking struct {
	q   dnswire.Query
	out dnswire.Builder
	buf [dnswire.MaxMessage + dnswire.BufferSlack]byte
}

func (w world) ask(a *asking, o answer.Options) answer.Outcome {
	a.out.Reset(&a.q, a.buf[:], 1232)
	outcome := answer.With(o, &a.q, w.zone, 0, &a.out)
	if outcome.Kind == answer.Steered {
		outcome, _ = Add(Question{Options: o, Query: &a.q, Zone: w.zone, Rules: w.table, Client: netip.MustParseAddr("192.0.2.200"), Now: noon, Past: w.past}, outcome, &a.out)
	}
	return outcome
}

func newAsking(name string, t rdata.Type, do bool) *asking {
	a := new(asking)
	a.q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse(name), Type: t, Class: rdata.ClassIN, EDNS: true, DO: do}))
	return a
}

func signerFor(t testing.TB) *live.Signer {
	k, err := sign.Generate(sign.KSK, dnssec.ECDSAP256, 0)
	if err != nil {
		t.Fatal(err)
	}
	return live.NewSigner(origin, []*sign.Key{k}, live.NewCache())
}

// TestAdd: what each question at or through a steered name gets, by kind.
func TestAdd(t *testing.T) {
	service, err := rdata.ParseText(rdata.TypeHTTPS, origin, "1 . alpn=h2")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		how     zone.Steering
		kind    steer.Kind
		name    string
		qtype   rdata.Type
		want    answer.Kind
		answers int
	}{
		{zone.SteersAddresses, steer.Addresses, "app.example.com", rdata.TypeA, answer.Positive, 4},
		{zone.SteersAddresses, steer.Addresses, "app.example.com", rdata.TypeAAAA, answer.NoData, 0},
		{zone.SteersAddresses, steer.Addresses, "app.example.com", rdata.TypeANY, answer.Positive, 4},
		{zone.SteersAddresses, steer.Addresses, "app.example.com", rdata.TypeHTTPS, answer.NoData, 0},
		{zone.SteersAddresses, steer.Addresses, "alias.example.com", rdata.TypeA, answer.Positive, 5},
		{zone.SteersHTTPS, steer.HTTPS, "app.example.com", rdata.TypeHTTPS, answer.Positive, 1},
		{zone.SteersHTTPS, steer.HTTPS, "app.example.com", rdata.TypeA, answer.Positive, 4},
		{zone.SteersSVCB, steer.SVCB, "app.example.com", rdata.TypeSVCB, answer.Positive, 1},
		{zone.SteersSVCB, steer.SVCB, "app.example.com", rdata.TypeA, answer.NoData, 0},
		{zone.SteersMX, steer.MX, "app.example.com", rdata.TypeMX, answer.Positive, 1}, // all have one host
		{zone.SteersSRV, steer.SRV, "app.example.com", rdata.TypeSRV, answer.Positive, 1},
		{zone.SteersAlias, steer.CNAME, "app.example.com", rdata.TypeA, answer.Positive, 2},
		{zone.SteersAlias, steer.CNAME, "app.example.com", rdata.TypeCNAME, answer.Positive, 1},
		{zone.SteersAlias, steer.CNAME, "alias.example.com", rdata.TypeA, answer.Positive, 3},
		{zone.SteersAlias, steer.CNAME, "app.example.com", rdata.TypeMX, answer.NoData, 1},
	} {
		w := newWorld(t, c.how, steer.Spec{Kind: c.kind, Service: service})
		for _, signer := range []*live.Signer{nil, signerFor(t)} {
			a := newAsking(c.name, c.qtype, signer != nil)
			outcome := w.ask(a, answer.Options{Live: signer, Work: live.Work{Now: noon}})
			m, err := dnswire.ParseMessage(a.out.Finish())
			if err != nil {
				t.Fatal(err)
			}
			answers := 0
			for _, r := range m.Answer {
				if r.Type != rdata.TypeRRSIG {
					answers++
				}
			}
			if outcome.Kind != c.want || answers != c.answers || outcome.Unsigned != live.Signed || signer != nil && len(m.Answer)+len(m.Authority) == answers {
				t.Errorf("%s: %s %s signed %v: %v with %d records, %v; want %v with %d\n%v", c.kind, c.name, c.qtype, signer != nil, outcome.Kind, answers, outcome.Unsigned, c.want, c.answers, m)
			}
		}
	}
}

// specs are of each sort: nothing of the client looked at, its place, its network.
var specs = map[string]steer.Spec{
	"plain":  {},
	"near":   {Filters: []steer.Filter{{Kind: steer.Up}, {Kind: steer.Near, By: steer.ByCountry}, {Kind: steer.Weighted}}},
	"sticky": {Filters: []steer.Filter{{Kind: steer.Up}, {Kind: steer.Sticky, Bits4: 24, Bits6: 56}}},
}

// TestNoAllocs: an answer allocates nothing, be it kept for explain or not.
func TestNoAllocs(t *testing.T) {
	signer := signerFor(t)
	for name, spec := range specs {
		w := newWorld(t, zone.SteersAddresses, spec)
		w.past = decisions.New(decisions.Limits{Octets: 1 << 20, Age: time.Hour, Sample: 1}, [16]byte{1})
		for _, o := range []answer.Options{{}, {Live: signer, Work: live.Work{Now: noon}}} {
			a := newAsking("app.example.com", rdata.TypeA, o.Live != nil)
			for range 8 {
				w.ask(a, o)
			}
			if n := testing.AllocsPerRun(1000, func() { w.ask(a, o) }); n != 0 {
				t.Errorf("%s, signed %v: %v allocations", name, o.Live != nil, n)
			}
		}
	}
}

// BenchmarkAdd is the cost of an answer from a steered name beside that of a plain one with the
// same records.
func BenchmarkAdd(b *testing.B) {
	run := func(name string, w world, question string) {
		b.Run(name, func(b *testing.B) {
			a := newAsking(question, rdata.TypeA, false)
			b.ReportAllocs()
			for b.Loop() {
				w.ask(a, answer.Options{})
			}
		})
	}
	run("static", newWorld(b, zone.SteersAddresses, steer.Spec{}), "www.example.com")
	for name, spec := range specs {
		run(name, newWorld(b, zone.SteersAddresses, spec), "app.example.com")
	}
}

// TestKept: what is told to a client that asks is what can be found and decided again.
func TestKept(t *testing.T) {
	w := newWorld(t, zone.SteersAddresses, steer.Spec{})
	past := decisions.New(decisions.DefaultLimits, [16]byte{1})
	for turn := range 20 {
		a := newAsking("app.example.com", rdata.TypeA, false)
		a.out.Reset(&a.q, a.buf[:], 1232)
		var told []decisions.ID
		q := Question{Query: &a.q, Zone: w.zone, Rules: w.table, Client: netip.MustParseAddr("192.0.2.200"), Now: noon, Past: past, Told: func(id decisions.ID) { told = append(told, id) }}
		Add(q, answer.With(answer.Options{}, &a.q, w.zone, 0, &a.out), &a.out)
		m, err := dnswire.ParseMessage(a.out.Finish())
		if err != nil || len(told) != 1 {
			t.Fatalf("%v, told %v", err, told)
		}
		p, ok := past.Find(told[0], noon)
		if !ok || p.Turn != uint64(turn) {
			t.Fatalf("%s: %v %+v", told[0], ok, p)
		}
		again := steer.Decide(*p.Input, nil)
		for n, i := range again.Pick(p.Turn, p.Client, nil) {
			if string(again.RDATA(int(i))) != string(m.Answer[n].Data) {
				t.Errorf("turn %d, record %d: decided again %x, answered %x", turn, n, again.RDATA(int(i)), m.Answer[n].Data)
			}
		}
	}
	if counts := w.table.Find(dnsname.MustParse("app.example.com")).Pool.Load().AnswersBy(); counts[pool.Some] != 20 {
		t.Errorf("counted %v", counts)
	}
}

// BenchmarkKept is what it costs to keep each answer for explain: answers that are kept and
// such that are not take turns, so that what else the machine does meets both.
func BenchmarkKept(b *testing.B) {
	without := newWorld(b, zone.SteersAddresses, steer.Spec{})
	with := without
	with.past = decisions.New(decisions.Limits{Octets: 32 << 20, Age: 24 * time.Hour, Sample: 1}, [16]byte{1})
	a := newAsking("app.example.com", rdata.TypeA, false)
	const batch = 1000
	var took [2]time.Duration
	n := 0
	for b.Loop() {
		for i, w := range []world{without, with} {
			began := time.Now()
			for range batch {
				w.ask(a, answer.Options{})
			}
			took[i] += time.Since(began)
		}
		n += batch
	}
	b.ReportMetric(float64(took[0].Nanoseconds())/float64(n), "ns/answer")
	b.ReportMetric(float64((took[1]-took[0]).Nanoseconds())/float64(n), "ns-more/kept")
}
