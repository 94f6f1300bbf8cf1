package pool

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pharos/internal/traffic/health"
)

func TestShared(t *testing.T) {
	here := Place{Continent: "EU", Country: "DE", Region: "BE", Zone: "ber-1"}
	for _, c := range []struct {
		place Place
		want  Extent
	}{
		{here, SameZone},
		{Place{Continent: "EU", Country: "DE", Region: "BE", Zone: "ber-2"}, SameRegion},
		{Place{Continent: "EU", Country: "DE", Region: "BY", Zone: "ber-1"}, SameCountry},
		{Place{Continent: "EU", Country: "FR", Region: "BE"}, SameContinent},
		{Place{Continent: "AF", Country: "DE"}, Anywhere},
		{Place{Zone: "ber-1"}, SameZone}, // says nothing else
		{Place{Country: "DE"}, SameCountry},
		{Place{}, Anywhere},
	} {
		if got := here.Shared(c.place); got != c.want {
			t.Errorf("%+v: %v, want %v", c.place, got, c.want)
		}
	}
	if got := (Place{}).Shared(Place{}); got != Anywhere {
		t.Errorf("two places of which nothing is known: %v", got)
	}
}

func levelNames(v *View) []string {
	var out []string
	for i := range v.Levels {
		out = append(out, names(v, v.Levels[i].Members))
	}
	return out
}

// Levels go by tier, then by distance as far as it counts.
func TestLevels(t *testing.T) {
	spec := specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80", "10.0.0.5:80")
	spec.Here = Place{Country: "DE", Zone: "x"}
	spec.Members[0].Place = Place{Country: "FR"}
	spec.Members[1].Place = Place{Country: "DE"}
	spec.Members[2].Place = Place{Country: "DE", Zone: "x"}
	spec.Members[3].Tier, spec.Members[3].Place = 1, spec.Here
	for _, c := range []struct {
		local  Extent
		states string
		want   []string
	}{
		{Anywhere, "uuuuu", []string{"abce", "d"}},
		{SameZone, "uuuuu", []string{"c", "b", "ae", "d"}},
		{SameCountry, "uuuuu", []string{"bc", "ae", "d"}},
		{SameZone, "udduu", []string{"ae", "d"}},
		{SameZone, "ddddd", []string{"c", "b", "ae", "d"}},
		{Anywhere, "dddud", []string{"d"}},
	} {
		spec.Local = c.local
		v := Compile(spec, statesOf(spec, c.states), nil)
		v.check()
		if got := levelNames(v); !slices.Equal(got, c.want) {
			t.Errorf("%v %s: %v, want %v", c.local, c.states, got, c.want)
		}
	}
}

// A member that comes up has a tenth of its share at first, and all of it at the end of
// slow start; the others keep theirs.
func TestSlowStart(t *testing.T) {
	spec := specOf("web", WeightedRoundRobin, "10.0.0.1:80 *2", "10.0.0.2:80 *2")
	spec.SlowStart = 20 * time.Second
	begin := time.Unix(1000, 0)
	prober := states{}
	r, err := NewRegistry([]Spec{spec}, prober.status, nil)
	if err != nil {
		t.Fatal(err)
	}
	up := func(i int, at time.Time) {
		r.Apply(r.Targets()[i], health.Status{State: health.Up, Since: at, Changes: 1})
	}
	up(0, begin)
	r.Warm(begin.Add(30 * time.Second))
	up(1, begin.Add(60*time.Second))
	shares := func() [2]int {
		v := r.Pool("web").View()
		v.check()
		return [2]int{v.Members[0].Share, v.Members[1].Share}
	}
	for _, c := range []struct {
		after time.Duration
		want  [2]int
		left  int
	}{{0, [2]int{1000, 100}, 1}, {999 * time.Millisecond, [2]int{1000, 100}, 1}, {time.Second, [2]int{1000, 145}, 1},
		{10 * time.Second, [2]int{1000, 550}, 1}, {20 * time.Second, [2]int{1000, 1000}, 0}, {time.Hour, [2]int{1000, 1000}, 0}} {
		left := r.Warm(begin.Add(60*time.Second + c.after))
		if got := shares(); got != c.want || left != c.left {
			t.Errorf("after %v: shares %v, %d pools warming; want %v, %d", c.after, got, left, c.want, c.left)
		}
	}
	revision := r.Pool("web").View().Revision
	if r.Warm(begin.Add(2 * time.Hour)); r.Pool("web").View().Revision != revision {
		t.Error("a view was made with nothing to change")
	}
}

// What an agent says counts: the share it asks for, and the connections it takes.
func TestAgent(t *testing.T) {
	spec := specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.2:80")
	spec.Members[0].Capacity = 100
	status := func(target health.Target) health.Status {
		s := health.Status{State: health.Up}
		if target.Address == netip.MustParseAddrPort("10.0.0.1:80") {
			s.Report = health.Report{Weight: 500, Weighted: true, Capacity: 7}
		}
		return s
	}
	v := Compile(spec, status, nil)
	v.check()
	if got := names(v, v.Order); got != "bab" && got != "abb" && got != "bba" {
		t.Errorf("order %q, want b twice as often as a", got)
	}
	if got := v.Members[0].Capacity; got != 7 {
		t.Errorf("capacity %d, want 7", got)
	}
	spec.Members[0].Capacity = 3
	if got := Compile(spec, status, nil).Members[0].Capacity; got != 3 {
		t.Errorf("capacity %d, want the 3 that are configured", got)
	}
}

// A transition leaves the tables as they are, and so does a reload that changes no member.
func TestTablesAreKept(t *testing.T) {
	for _, by := range []Table{Ring, Maglev} {
		spec := specOf("web", Hash, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
		spec.Hash.By = by
		v := Compile(spec, statesOf(spec, "uuu"), nil)
		down := v.with(map[health.Target]health.Status{v.Members[1].Target: {State: health.Down}})
		if down.tables != v.tables {
			t.Errorf("%v: a transition made other tables", by)
		}
		if l := &down.Levels[0]; by == Ring && (l.Limits[1] != 0 || l.Limits[0] == 0) {
			t.Errorf("limits %v after the transition", l.Limits)
		}
		if again := Compile(spec, statesOf(spec, "uuu"), down); again.tables != v.tables {
			t.Errorf("%v: a reload made other tables", by)
		}
		spec.Members[0].Weight = 5
		if again := Compile(spec, statesOf(spec, "uuu"), down); again.tables == v.tables {
			t.Errorf("%v: another weight left the tables as they are", by)
		}
		spec.Members[0].Tier = 2
		if again := Compile(spec, statesOf(spec, "uuu"), down); again.tables == v.tables || by == Maglev && len(again.tables.groups) != 2 {
			t.Errorf("%v: another tier left the tables as they are", by)
		}
	}
}

// Who is picked at a turn is the remainder of a division, however that is worked out.
func TestInTurn(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 10, 1000, 4095} {
		l := Level{Order: make([]int32, n)}
		for i := range l.Order {
			l.Order[i] = int32(i)
		}
		l.cycle = math.MaxUint64/uint64(n) + 1
		for _, turn := range []uint64{0, 1, 2, 9, 10, 11, 12345, 1 << 31, 1<<32 - 1} {
			if got, want := l.InTurn(turn), int32(turn%uint64(n)); got != want {
				t.Errorf("turn %d of %d: %d, want %d", turn, n, got, want)
			}
		}
	}
}

func TestDecay(t *testing.T) {
	var m MemberLoad
	m.Observe(0, 100*time.Millisecond)
	for _, c := range []struct {
		at   time.Duration
		want float64 // ms
	}{{0, 100}, {1 << (tickBits + latencyHalving), 50}, {3 << (tickBits + latencyHalving), 12.5}, {1 << (tickBits + latencyHalving - 1), 70.7}} {
		if got := m.Latency(c.at).Seconds() * 1000; math.Abs(got-c.want) > 0.1 {
			t.Errorf("latency at %v: %.2f ms, want %.2f", c.at, got, c.want)
		}
	}
	if got := m.Latency(2 * time.Hour); got != 0 {
		t.Errorf("after two hours: %v", got)
	}
	m.Observe(time.Second, 200*time.Millisecond)
	if got := m.Latency(time.Second); got != 200*time.Millisecond {
		t.Errorf("a peak: %v, want 200ms", got)
	}
	for i := range 32 { // half a second of good ones
		m.Observe(time.Second+time.Duration(i)*time.Second/60, 10*time.Millisecond)
	}
	if got := m.Latency(1500*time.Millisecond).Seconds() * 1000; got < 9.9 || got > 15 {
		t.Errorf("after the peak: %.1f ms, want it to be near 10", got)
	}
}

// A steady stream is measured as what it is.
func TestBandwidth(t *testing.T) {
	var m MemberLoad
	now := time.Duration(0)
	for ; now < 10*time.Second; now += time.Millisecond {
		m.Carried(now, 1000)
	}
	if got := m.Bandwidth(now); math.Abs(got-1e6) > 2e4 {
		t.Errorf("%.0f octets per second, want 1000000", got)
	}
	if got := m.Bandwidth(now + 1<<(tickBits+rateHalving)); math.Abs(got-5e5) > 2e4 {
		t.Errorf("%.0f a second later, want half", got)
	}
}

// One transition among 10,000 pools of 10 members.
func BenchmarkTransition(b *testing.B) {
	for _, p := range []Policy{RoundRobin, WeightedRoundRobin, LeastConnections, Hash, Random} {
		b.Run(p.String(), func(b *testing.B) {
			var specs []Spec
			for i := range 10_000 {
				s := Spec{Name: string(rune('a'+i%26)) + time.Duration(i).String(), Policy: p}
				for j := range 10 {
					s.Members = append(s.Members, MemberSpec{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j)}), 80), Weight: 1 + j%3})
				}
				specs = append(specs, s)
			}
			r, err := NewRegistry(specs, func(health.Target) health.Status { return health.Status{State: health.Up} }, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for i := range b.N {
				r.Apply(r.Targets()[i*7%len(r.Targets())], health.Status{State: health.State(1 + i%2), Changes: uint64(i)})
			}
		})
	}
}
