package steer

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// member is one line of a pool in a test.
type member struct {
	address string
	weight  int
	state   health.State
}

func viewOf(policy pool.Policy, members ...member) *pool.View {
	spec := pool.Spec{Name: "web", Policy: policy, Check: health.Check{Kind: health.TCP}}
	states := map[netip.AddrPort]health.Status{}
	for i, m := range members {
		addr := netip.MustParseAddrPort(m.address)
		spec.Members = append(spec.Members, pool.MemberSpec{
			Name: string(rune('a' + i)), Address: addr, Weight: m.weight, Drain: m.state == health.Draining,
		})
		cause := map[health.State]string{health.Up: "status 200", health.Down: "connection refused"}[m.state]
		states[addr] = health.Status{State: m.state, Cause: cause}
	}
	return pool.Compile(spec, func(t health.Target) health.Status { return states[t.Address] }, nil)
}

var client = Client{Addr: netip.MustParseAddr("192.0.2.1")}

// ask returns the members of the answer by letter, in order.
func ask(v *pool.View, t rdata.Type, turn uint64, limit int) string {
	var b strings.Builder
	for _, a := range Steer(nil, Question{Type: t, TTL: 5, Turn: turn, Limit: limit}, client, v, nil) {
		b.WriteString(v.Members[a.Member].Name)
	}
	return b.String()
}

// The answer turns: the first is the next in turn, all others follow it.
func TestRotation(t *testing.T) {
	v := viewOf(pool.RoundRobin,
		member{"10.0.0.1:80", 1, health.Up}, member{"10.0.0.2:80", 1, health.Up}, member{"10.0.0.3:80", 1, health.Up})
	for turn, want := range []string{"abc", "bca", "cab", "abc"} {
		if got := ask(v, rdata.TypeA, uint64(turn), 0); got != want {
			t.Errorf("turn %d: got %s, want %s", turn, got, want)
		}
	}
	if got := ask(v, rdata.TypeA, 2, 2); got != "ca" {
		t.Errorf("at most two: got %s, want ca", got)
	}
}

// By weight, over a cycle each member is first as often as its weight.
func TestWeightedFirst(t *testing.T) {
	v := viewOf(pool.WeightedRoundRobin,
		member{"10.0.0.1:80", 3, health.Up}, member{"10.0.0.2:80", 1, health.Up}, member{"10.0.0.3:80", 9, health.Down})
	first := map[string]int{}
	for turn := range uint64(40) {
		first[ask(v, rdata.TypeA, turn, 1)]++
	}
	if first["a"] != 30 || first["b"] != 10 || len(first) != 2 {
		t.Errorf("first answers %v, want a 30 times and b 10 times", first)
	}
}

// "Healthy members only, all down = serve all, marked"; by family and type.
func TestWhoIsAnswered(t *testing.T) {
	mixed := []member{
		{"10.0.0.1:80", 1, health.Up}, {"10.0.0.2:80", 1, health.Down}, {"[2001:db8::1]:80", 1, health.Unknown},
		{"[2001:db8::2]:80", 1, health.Draining}, {"10.0.0.1:81", 1, health.Up},
	}
	down := []member{{"10.0.0.1:80", 1, health.Down}, {"10.0.0.2:80", 1, health.Draining}, {"10.0.0.3:80", 1, health.Down}}
	for _, c := range []struct {
		what    string
		members []member
		qtype   rdata.Type
		want    string
		allDown bool
	}{
		{"A: the Up one, its address once", mixed, rdata.TypeA, "a", false},
		{"AAAA: Unknown, since none of them is Up", mixed, rdata.TypeAAAA, "c", false},
		{"ANY: one RRset of those there are (RFC 8482)", mixed, rdata.TypeANY, "a", false},
		{"ANY without IPv4 (c is now the first, a)", mixed[2:4], rdata.TypeANY, "a", false},
		{"MX: NODATA", mixed, rdata.TypeMX, "", false},
		{"all down: all but the draining one", down, rdata.TypeA, "ac", true},
		{"A: all of the family are down, though IPv6 is well", []member{{"10.0.0.1:80", 1, health.Down}, {"[2001:db8::1]:80", 1, health.Up}}, rdata.TypeA, "a", true},
		{"AAAA: well, though IPv4 is down", []member{{"10.0.0.1:80", 1, health.Down}, {"[2001:db8::1]:80", 1, health.Up}}, rdata.TypeAAAA, "b", false},
		{"AAAA of a pool of IPv4: NODATA", down, rdata.TypeAAAA, "", false},
		{"an empty pool: NODATA", nil, rdata.TypeA, "", false},
	} {
		v := viewOf(pool.RoundRobin, c.members...)
		if got := ask(v, c.qtype, 0, 0); got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
		for _, a := range Steer(nil, Question{Type: c.qtype}, client, v, nil) {
			if a.AllDown != c.allDown {
				t.Errorf("%s: marked all down: %v, want %v", c.what, a.AllDown, c.allDown)
			}
		}
	}
}

// No more than the limit, by default eight, so that the answer fits in 512 octets.
func TestLimit(t *testing.T) {
	var members []member
	for i := range 12 {
		members = append(members, member{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80).String(), 1, health.Up})
	}
	v := viewOf(pool.RoundRobin, members...)
	for turn := range uint64(12) {
		got := ask(v, rdata.TypeA, turn, 0)
		if len(got) != DefaultLimit || len(slices.Compact(slices.Sorted(strings.SplitSeq(got, "")))) != DefaultLimit {
			t.Errorf("turn %d: got %s, want %d different members", turn, got, DefaultLimit)
		}
	}
}

func TestAnswerRDATA(t *testing.T) {
	for addr, want := range map[string]struct {
		t    rdata.Type
		data string
	}{
		"10.0.0.1":    {rdata.TypeA, "\x0a\x00\x00\x01"},
		"2001:db8::1": {rdata.TypeAAAA, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"},
	} {
		a := Answer{Addr: netip.MustParseAddr(addr)}
		if got := string(a.AppendRDATA(nil)); got != want.data || a.Type() != want.t {
			t.Errorf("%s: %v %q, want %v %q", addr, a.Type(), got, want.t, want.data)
		}
	}
}

func TestTable(t *testing.T) {
	name := dnsname.MustParse("www.example.com")
	p := pool.New("web")
	table := NewTable([]Rule{{Name: name, Pool: p}})
	r := table.Find(name)
	if r == nil || r.TTL != DefaultTTL || r.Limit != DefaultLimit || table.Len() != 1 {
		t.Fatalf("got %+v", r)
	}
	if table.Find(dnsname.MustParse("example.com")) != nil || (*Table)(nil).Find(name) != nil {
		t.Error("a rule was found for a name without one")
	}
	if next, again := r.Peek(rdata.TypeA), r.Peek(rdata.TypeA); next != again || next.Turn != 0 {
		t.Errorf("peeked at %+v, then %+v", next, again)
	}
	if a, b := r.Question(rdata.TypeA), r.Question(rdata.TypeA); a.Turn != 0 || b.Turn != 1 || a.TTL != DefaultTTL || a.Name != name {
		t.Errorf("questions %+v and %+v", a, b)
	}
}

// The trace tells what came in, who was left out at which step and why, and what came
// out; and asking for it does not change the answer.
func TestTrace(t *testing.T) {
	v := viewOf(pool.WeightedRoundRobin,
		member{"10.0.0.1:80", 2, health.Up}, member{"10.0.0.2:80", 1, health.Down}, member{"[2001:db8::1]:80", 1, health.Up},
		member{"10.0.0.3:80", 1, health.Draining}, member{"10.0.0.1:81", 1, health.Up}, member{"10.0.0.4:80", 1, health.Unknown},
		member{"10.0.0.5:80", 1, health.Up})
	q := Question{Name: dnsname.MustParse("www.example.com"), Type: rdata.TypeA, TTL: 5, Turn: 1}
	var trace Trace
	traced := Steer(nil, q, client, v, &trace)
	if plain := Steer(nil, q, client, v, nil); !slices.Equal(traced, plain) {
		t.Errorf("traced %v, plain %v", traced, plain)
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
		"b": "state: down", "c": "family: address of the other family", "d": "state: draining",
		"e": "address: same address as a, which stands for both", "f": "state: not probed yet, and others are up",
	}
	for m, why := range want {
		if got[m] != why {
			t.Errorf("%s: excluded %q, want %q", m, got[m], why)
		}
	}
	if len(got) != len(want) || !slices.Equal(filters, []string{"family", "state", "address", "order", "limit"}) {
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
	if trace.Result != "2 of 7 members, a first" || trace.Client != client.Addr || trace.Name != "www.example.com." {
		t.Errorf("trace %+v", trace)
	}
	text, err := json.Marshal(trace)
	if err != nil || !strings.Contains(string(text), `"policy":"weightedRoundRobin"`) || !strings.Contains(string(text), `"state":"down","cause":"connection refused"`) {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestTraceOfNothing(t *testing.T) {
	for _, qtype := range []rdata.Type{rdata.TypeAAAA, rdata.TypeMX} {
		var trace Trace
		Steer(nil, Question{Type: qtype}, client, viewOf(pool.RoundRobin, member{"10.0.0.1:80", 1, health.Up}), &trace)
		if len(trace.Answers) != 0 || !strings.HasPrefix(trace.Result, "NODATA") || len(trace.Steps) == 0 {
			t.Errorf("%v: %+v", qtype, trace)
		}
	}
	var trace Trace
	Steer(nil, Question{Type: rdata.TypeA}, client, viewOf(pool.RoundRobin, member{"10.0.0.1:80", 1, health.Down}), &trace)
	if !trace.AllDown || !strings.Contains(trace.Result, "all are down, so all are served") {
		t.Errorf("%+v", trace)
	}
}

func bigView(n int) *pool.View {
	var members []member
	for i := range n {
		members = append(members, member{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80).String(), 1 + i%7, health.Up})
	}
	return viewOf(pool.WeightedRoundRobin, members...)
}

func TestNoAllocs(t *testing.T) {
	v, out, turn := bigView(1000), make([]Answer, 0, DefaultLimit), uint64(0)
	steer := func() {
		turn++
		out = Steer(out[:0], Question{Type: rdata.TypeA, TTL: 5, Turn: turn}, client, v, nil)
	}
	if n := testing.AllocsPerRun(1000, steer); n != 0 {
		t.Errorf("Steer: %v allocations", n)
	}
	table := NewTable([]Rule{{Name: dnsname.MustParse("www.example.com"), Pool: pool.New("web")}})
	wire := []byte("\x03www\x07example\x03com\x00")
	find := func() { table.Find(dnsname.View(wire)).Question(rdata.TypeA) }
	if n := testing.AllocsPerRun(1000, find); n != 0 {
		t.Errorf("Find and Question: %v allocations", n)
	}
}

func BenchmarkSteer(b *testing.B) {
	for name, v := range map[string]*pool.View{"3": bigView(3), "1000": bigView(1000)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			out := make([]Answer, 0, DefaultLimit)
			for i := range b.N {
				out = Steer(out[:0], Question{Type: rdata.TypeA, TTL: 5, Turn: uint64(i)}, client, v, nil)
			}
		})
	}
}
