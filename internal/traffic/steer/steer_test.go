package steer

import (
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

// noon is when the tests decide; members have been as they are for long.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// member is one line of a pool in a test.
type member struct {
	address string
	weight  int
	state   health.State
}

func viewOf(policy pool.Policy, members ...member) *pool.View {
	specs := make([]pool.MemberSpec, len(members))
	states := make([]health.State, len(members))
	for i, m := range members {
		specs[i] = pool.MemberSpec{Address: netip.MustParseAddrPort(m.address), Weight: m.weight}
		states[i] = m.state
	}
	return viewOfSpecs(policy, states, specs...)
}

// viewOfSpecs returns the view of members called a, b, c, ..., in the given states; without
// any, all are up.
func viewOfSpecs(policy pool.Policy, states []health.State, specs ...pool.MemberSpec) *pool.View {
	spec := pool.Spec{Name: "web", Policy: policy, Check: health.Check{Kind: health.TCP}}
	known := map[netip.AddrPort]health.Status{}
	for i, m := range specs {
		state := health.Up
		if i < len(states) {
			state = states[i]
		}
		m.Name, m.Drain = string(rune('a'+i)), state == health.Draining
		cause := map[health.State]string{health.Up: "status 200", health.Down: "connection refused"}[state]
		known[m.Address] = health.Status{State: state, Cause: cause, Since: noon.Add(-time.Hour)}
		spec.Members = append(spec.Members, m)
	}
	return pool.Compile(spec, func(t health.Target) health.Status { return known[t.Address] }, nil)
}

var client = Client{Addr: netip.MustParseAddr("192.0.2.1")}

// inputOf returns the input of a question of type t for a spec, with its defaults.
func inputOf(s Spec, v *pool.View, t rdata.Type, c Client) Input {
	return Input{Spec: &NewRule(s).Spec, Type: t, View: v, Client: c}
}

// pick returns the members of an answer by letter, in order.
func pick(p *Prepared, turn uint64, c Client) string {
	var b strings.Builder
	for _, i := range p.Pick(turn, c.Addr, nil) {
		if m := p.Members[i]; m < 0 {
			addr, _ := netip.AddrFromSlice(p.RDATA(int(i)))
			b.WriteString(addr.String())
		} else {
			b.WriteString(p.View.Members[m].Name)
		}
	}
	return b.String()
}

// ask answers a plain question.
func ask(v *pool.View, t rdata.Type, turn uint64, limit int) string {
	return pick(Decide(inputOf(Spec{Filters: []Filter{{Kind: Up}, {Kind: Tiers}, {Kind: Weighted}}, Limit: limit}, v, t, client), nil), turn, client)
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

// A member that performs poorly has its share of answers and no more, by every policy; beside
// one that is down, too.
func TestPoorHasItsShare(t *testing.T) {
	for _, policy := range []pool.Policy{pool.WeightedRoundRobin, pool.RoundRobin, pool.LeastResponseTime, pool.Hash} {
		spec := pool.Spec{Name: "web", Policy: policy, Check: health.Check{Kind: health.TCP}}
		for _, name := range []string{"a", "b", "c"} {
			spec.Members = append(spec.Members, pool.MemberSpec{Name: name, Address: netip.MustParseAddrPort("10.0.0." + string(name[0]-'a'+'1') + ":80")})
		}
		v := pool.Compile(spec, func(target health.Target) health.Status {
			switch target.Address {
			case spec.Members[1].Address:
				return health.Status{State: health.Poor, Notes: health.Notes{Share: 250}}
			case spec.Members[2].Address:
				return health.Status{State: health.Down}
			}
			return health.Status{State: health.Up}
		}, nil)
		first := map[string]int{}
		for turn := range uint64(100) {
			first[ask(v, rdata.TypeA, turn, 1)]++
		}
		if first["a"] != 80 || first["b"] != 20 || len(first) != 2 {
			t.Errorf("%v: first answers %v, want a 80 times and b 20 times", policy, first)
		}
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
		{"all down: all but the draining one", down, rdata.TypeA, "ac", true},
		{"A: all of the family are down, though IPv6 is well", []member{{"10.0.0.1:80", 1, health.Down}, {"[2001:db8::1]:80", 1, health.Up}}, rdata.TypeA, "a", true},
		{"AAAA: well, though IPv4 is down", []member{{"10.0.0.1:80", 1, health.Down}, {"[2001:db8::1]:80", 1, health.Up}}, rdata.TypeAAAA, "b", false},
		{"AAAA of a pool of IPv4: NODATA", down, rdata.TypeAAAA, "", false},
		{"an empty pool: NODATA", nil, rdata.TypeA, "", false},
		{"MX: nobody has a name", mixed, rdata.TypeMX, "", false},
	} {
		v := viewOf(pool.RoundRobin, c.members...)
		p := Decide(inputOf(Spec{}, v, c.qtype, client), nil)
		if got := pick(p, 0, client); got != c.want || p.AllDown != c.allDown {
			t.Errorf("%s: got %q, all down %v; want %q, %v", c.what, got, p.AllDown, c.want, c.allDown)
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

func TestTable(t *testing.T) {
	name := dnsname.MustParse("www.example.com")
	p := pool.New("web")
	table := NewTable([]Spec{{Name: name, Pool: p}})
	r := table.Find(name)
	if r == nil || r.TTL != DefaultTTL || r.limit() != DefaultLimit || table.Len() != 1 {
		t.Fatalf("got %+v", r)
	}
	if table.Find(dnsname.MustParse("example.com")) != nil || (*Table)(nil).Find(name) != nil {
		t.Error("a rule was found for a name without one")
	}
	for _, turn := range []uint64{0, 1} {
		if peeked := r.Peek(); peeked != turn {
			t.Errorf("peeked %d, want %d", peeked, turn)
		}
		if peeked, turned := r.Peek(), r.Turn(); peeked != turn || turned != turn {
			t.Errorf("peeked %d again and turned %d, want %d", peeked, turned, turn)
		}
	}
}

// An answer in one piece is the records that Pick gives, in wire form.
func TestWire(t *testing.T) {
	v := viewOf(pool.WeightedRoundRobin,
		member{"10.0.0.1:80", 3, health.Up}, member{"10.0.0.2:80", 1, health.Up}, member{"10.0.0.3:80", 2, health.Up}, member{"[2001:db8::1]:80", 1, health.Up})
	for _, qtype := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
		p := Decide(inputOf(Spec{TTL: 7, Limit: 2}, v, qtype, client), nil)
		for turn := range uint64(12) {
			var want []byte
			picks := p.Pick(turn, client.Addr, nil)
			for _, i := range picks {
				want = append(want, p.Wire(int(i))...)
			}
			count, got, ok := p.Run(turn)
			if !ok || count != len(picks) || string(got) != string(want) {
				t.Fatalf("%v turn %d: %d records % x, want %d % x", qtype, turn, count, got, len(picks), want)
			}
		}
	}
	p := Decide(inputOf(Spec{TTL: 7}, v, rdata.TypeAAAA, client), nil)
	if _, got, _ := p.Run(0); string(got) != "\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x07\x00\x10\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" {
		t.Errorf("% x", got)
	}
}
