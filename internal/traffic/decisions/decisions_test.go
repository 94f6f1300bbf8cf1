package decisions

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/steer"
)

var (
	noon   = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	client = netip.MustParseAddr("203.0.113.7")
)

// world is a steered name over a pool of some members, the first so many of which are down.
type world struct {
	pool *pool.Pool
	rule *steer.Rule
}

func newWorld(members int, filters ...steer.Filter) *world {
	w := &world{pool: pool.New("web")}
	w.set(members, 0)
	w.rule = steer.NewRule(steer.Spec{Name: dnsname.MustParse("www.example.com"), Pool: w.pool, Filters: filters})
	return w
}

func (w *world) set(members, down int) {
	spec := pool.Spec{Name: "web", Policy: pool.WeightedRoundRobin}
	for i := range members {
		spec.Members = append(spec.Members, pool.MemberSpec{Name: fmt.Sprint("m", i), Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 80), Weight: i + 1})
	}
	w.pool.Publish(pool.Compile(spec, func(t health.Target) health.Status {
		if int(t.Address.Addr().As4()[3]) < down {
			return health.Status{State: health.Down, Since: noon, Cause: "connection refused"}
		}
		return health.Status{State: health.Up, Since: noon}
	}, w.pool.View()))
}

// answer gives an answer, and returns its id and its octets.
func (w *world) answer(r *Ring, client netip.Addr, turn uint64, asked bool) (ID, string) {
	p, _ := w.rule.Prepare(rdata.TypeA, client, turn, noon)
	return r.Note(p, client, turn, noon, asked), octetsOf(p, turn, client)
}

func octetsOf(p *steer.Prepared, turn uint64, client netip.Addr) (all string) {
	for _, i := range p.Pick(turn, client, nil) {
		all += string(p.Wire(int(i)))
	}
	return all
}

// TestReplay: an answer that was kept is decided again in every octet, whatever has happened
// to the pool since; by whatever the answer goes: a turn, or a client's network.
func TestReplay(t *testing.T) {
	for name, filters := range map[string][]steer.Filter{
		"weighted": nil, "sticky": {{Kind: steer.Up}, {Kind: steer.Sticky, Bits4: 24, Bits6: 56}, {Kind: steer.Limit, Count: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(5, filters...), New(DefaultLimits, [16]byte{1})
			given := map[ID]string{}
			for turn := range uint64(200) {
				if turn%20 == 0 {
					w.set(5, 1+int(turn/20)%5)
				}
				from := netip.AddrFrom4([4]byte{203, 0, byte(turn), 7})
				id, octets := w.answer(r, from, turn, false)
				if id == 0 {
					t.Fatalf("turn %d was not kept, though a member is down", turn)
				}
				given[id] = octets
			}
			w.set(1, 0)
			if len(given) != 200 {
				t.Errorf("%d ids of 200 answers", len(given))
			}
			for id, want := range given {
				again, err := ParseID(id.String())
				p, ok := r.Find(again, noon.Add(time.Hour))
				if err != nil || !ok || p.Input == nil || p.Default {
					t.Fatalf("%s: %v, %v, %+v", id, err, ok, p)
				}
				decided := steer.Decide(*p.Input, nil)
				if got := octetsOf(decided, p.Turn, p.Client); got != want || decided.Sum() != p.Sum || !p.At.Equal(noon) {
					t.Errorf("%s: decided again %x, was %x", id, got, want)
				}
			}
		})
	}
}

// TestDefault: what a name is always answered with is sampled; what it is not, because a
// member is down or drained, is kept each time, and so is what somebody asks for.
func TestDefault(t *testing.T) {
	w, r := newWorld(3), New(Limits{Octets: 1 << 20, Age: time.Hour, Sample: 10}, [16]byte{2})
	count := func(asked bool) (kept int) {
		for turn := range uint64(100) {
			if id, _ := w.answer(r, client, turn, asked); id != 0 {
				kept++
			}
		}
		return kept
	}
	if got := count(false); got != 10 {
		t.Errorf("%d default answers of 100 kept, want 10", got)
	}
	if got := count(true); got != 100 {
		t.Errorf("%d of 100 that were asked for kept", got)
	}
	w.set(3, 1)
	if got := count(false); got != 100 {
		t.Errorf("%d of 100 without a member that is down kept", got)
	}
	spec := w.pool.View().Whole()
	spec.Members[1].Override = pool.Override{State: pool.Drain}
	w.pool.Publish(pool.Compile(spec, func(health.Target) health.Status { return health.Status{State: health.Up} }, w.pool.View()))
	if got := count(false); got != 100 {
		t.Errorf("%d of 100 without a member that is drained kept", got)
	}
	st := r.Stats()
	left := map[string]bool{}
	for _, l := range st.LeftOut {
		left[l.Member+" "+l.Filter] = true
	}
	if !left["m0 up"] || !left["m1 up"] || len(left) != 2 || st.Answers != 310 || st.Lost != 0 || !st.Oldest.Equal(noon) {
		t.Errorf("%+v", st)
	}
}

// TestBounds: the oldest answers and facts go first, it is said which are gone, and memory is
// what was asked for. What is too old is not told, and other ids than those given are none.
func TestBounds(t *testing.T) {
	r := New(Limits{Octets: 64 << 10, Age: time.Hour, Sample: 1}, [16]byte{3})
	w := newWorld(40)
	first, _ := w.answer(r, client, 0, false)
	for i := range 30 { // of another view each
		w.set(40, 1+i%2)
		w.answer(r, client, 1, false)
	}
	p, ok := r.Find(first, noon)
	if !ok || p.Input != nil || p.Client != client {
		t.Errorf("facts that are gone: %+v, %v", p, ok)
	}
	st := r.Stats()
	if st.FactOctets > 16<<10+41*memberOctets || st.FactsGone == 0 || st.Facts != len(r.facts.views) {
		t.Errorf("%+v, %d views", st, len(r.facts.views))
	}
	for turn := range 2 * st.Room {
		w.answer(r, client, turn, false)
	}
	if _, ok := r.Find(first, noon); ok {
		t.Error("the first answer is still there")
	}
	last, _ := w.answer(r, client, 5, false)
	if _, ok := r.Find(last, noon.Add(59*time.Minute)); !ok {
		t.Error("the last answer is gone")
	}
	if _, ok := r.Find(last, noon.Add(61*time.Minute)); ok {
		t.Error("it is told after its time")
	}
	for other := range ID(1000) {
		if _, ok := r.Find(other*977, noon); ok {
			t.Errorf("id %d was not given, and is known", other*977)
		}
	}
	var none *Ring = New(Limits{}, [16]byte{})
	if id, _ := w.answer(none, client, 1, true); id != 0 || none.Stats().Room != 0 {
		t.Error("a ring of no memory keeps something")
	}
}

// TestCipher: each number has an id of its own, which leads back to it.
func TestCipher(t *testing.T) {
	c := newCipher([16]byte{4, 5})
	seen := map[uint64]bool{}
	for x := range uint64(10_000) {
		y := c.encrypt(x)
		if seen[y] || y >= 1<<40 || c.decrypt(y) != x {
			t.Fatalf("%d became %d became %d", x, y, c.decrypt(y))
		}
		seen[y] = true
	}
}

// TestConcurrent: answers are kept and looked for by many at once.
func TestConcurrent(t *testing.T) {
	w, r := newWorld(4), New(Limits{Octets: 1 << 20, Age: time.Hour, Sample: 1}, [16]byte{6})
	var all sync.WaitGroup
	for g := range uint64(4) {
		all.Go(func() {
			for turn := range uint64(2000) {
				if turn%200 == 0 && g == 0 {
					w.set(4, int(turn/200)%4)
				}
				id, _ := w.answer(r, client, turn*4+g, false)
				if turn%50 == 0 && id != 0 {
					if p, ok := r.Find(id, noon); ok && p.Turn != turn*4+g {
						t.Errorf("%s is of turn %d, want %d", id, p.Turn, turn*4+g)
					}
				}
			}
		})
	}
	all.Wait()
	if st := r.Stats(); st.Answers+st.Lost != 8000 {
		t.Errorf("%+v", st)
	}
}

// TestNoAllocs: keeping an answer allocates nothing.
func TestNoAllocs(t *testing.T) {
	w, r := newWorld(4), New(DefaultLimits, [16]byte{7})
	w.set(4, 1)
	p, _ := w.rule.Prepare(rdata.TypeA, client, 0, noon)
	turn := uint64(0)
	if n := testing.AllocsPerRun(1000, func() { turn++; r.Note(p, client, turn, noon, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkNote is what it costs to keep an answer, of those that are all kept and of those
// that are sampled.
func BenchmarkNote(b *testing.B) {
	for _, down := range []int{0, 1} {
		b.Run([]string{"default", "differs"}[down], func(b *testing.B) {
			w, r := newWorld(4), New(DefaultLimits, [16]byte{8})
			w.set(4, down)
			p, _ := w.rule.Prepare(rdata.TypeA, client, 0, noon)
			b.RunParallel(func(pb *testing.PB) {
				for turn := uint64(0); pb.Next(); turn++ {
					r.Note(p, client, turn, noon, false)
				}
			})
		})
	}
}
