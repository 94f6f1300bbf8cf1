package passive

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/outlier"
	"pharos/internal/traffic/pool"
)

const ms = time.Millisecond

// told is what a Driver has told.
type told struct{ lines []string }

func (t *told) grade(target health.Target, g health.Grade) {
	t.lines = append(t.lines, fmt.Sprintf("%v %d", target.Address, g.Share))
}

func (t *told) eject(target health.Target, _ string) {
	t.lines = append(t.lines, fmt.Sprintf("%v ejected", target.Address))
}

func specOf(name string, p pool.Passive, last ...byte) pool.Spec {
	s := pool.Spec{Name: name, Passive: p, Check: health.Check{Kind: health.TCP}}
	for _, b := range last {
		s.Members = append(s.Members, pool.MemberSpec{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, b}), 80)})
	}
	return s
}

// carry notes n requests on a member of a pool.
func carry(r *pool.Registry, name string, member, n int, o health.Outcome, took time.Duration) {
	for range n {
		r.Pool(name).View().Members[member].Load.Note(o, time.Second, took)
	}
}

// A server of two pools is one server: the worst grade counts, is told once, and is taken
// back when neither pool has anything against it, or neither is there any more.
func TestWorstOfTwoPools(t *testing.T) {
	up := func(health.Target) health.Status { return health.Status{State: health.Up} }
	floor := pool.Passive{Rules: outlier.Rules{Floor: 10}}
	r, err := pool.NewRegistry([]pool.Spec{
		specOf("a", floor, 1, 2), specOf("b", floor, 1, 3), specOf("off", pool.Passive{Off: true}, 4, 5),
	}, up, nil)
	if err != nil {
		t.Fatal(err)
	}
	pools := r.Pools()
	var got told
	d := New(Config{Pools: func() []*pool.Pool { return pools }, Grade: got.grade, Eject: got.eject})
	now := time.Now()
	beat := func(n int, inA, inB time.Duration) {
		for range n {
			now = now.Add(Beat)
			carry(r, "a", 0, 50, health.Answered, inA)
			carry(r, "a", 1, 50, health.Answered, 20*ms)
			carry(r, "b", 0, 50, health.Answered, inB)
			carry(r, "b", 1, 50, health.Answered, 20*ms)
			carry(r, "off", 0, 50, health.Answered, time.Second)
			carry(r, "off", 1, 50, health.Answered, 20*ms)
			d.Look(now)
		}
	}
	beat(5, 20*ms, 20*ms)
	if len(got.lines) != 0 || d.Evidence("a", &r.Pool("a").View().Members[0]) == "" {
		t.Errorf("told %q; evidence %q", got.lines, d.Evidence("a", &r.Pool("a").View().Members[0]))
	}
	beat(12, 200*ms, 400*ms)
	if len(got.lines) == 0 || len(got.lines) > 3 || got.lines[len(got.lines)-1] != "10.0.0.1:80 100" {
		t.Errorf("told %q, want once or a few times, at last the share in the worse pool", got.lines)
	}
	got.lines = nil
	beat(40, 20*ms, 20*ms)
	if want := []string{"10.0.0.1:80 0"}; len(got.lines) == 0 || !slices.Equal(got.lines[len(got.lines)-1:], want) {
		t.Errorf("told %q, want at last %q", got.lines, want)
	}
	beat(12, 400*ms, 20*ms)
	got.lines, pools = nil, nil
	beat(1, 0, 0)
	if want := []string{"10.0.0.1:80 0"}; !slices.Equal(got.lines, want) || len(d.juries) != 0 {
		t.Errorf("without pools: told %q and %d juries, want %q and none", got.lines, len(d.juries), want)
	}
}

// Run looks at each beat, and ends with its context. A member that fails too often, though
// not each time, is ejected within a window.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := func(health.Target) health.Status { return health.Status{State: health.Up} }
		r, err := pool.NewRegistry([]pool.Spec{specOf("a", pool.Passive{Rules: outlier.Rules{ErrorRate: 30}}, 1, 2)}, up, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got told
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			New(Config{Pools: r.Pools, Grade: got.grade, Eject: got.eject}).Run(ctx)
			close(done)
		}()
		for range 10 {
			carry(r, "a", 0, 20, health.Doubtful, 10*ms)
			carry(r, "a", 0, 20, health.Answered, 10*ms)
			carry(r, "a", 1, 40, health.Answered, 10*ms)
			time.Sleep(Beat)
			synctest.Wait()
		}
		cancel()
		<-done
		if len(got.lines) == 0 || got.lines[0] != "10.0.0.1:80 ejected" {
			t.Errorf("told %q", got.lines)
		}
	})
}

// Members that have carried nothing are not judged: nothing is kept of their pool.
func TestQuietPools(t *testing.T) {
	up := func(health.Target) health.Status { return health.Status{State: health.Up} }
	r, err := pool.NewRegistry([]pool.Spec{specOf("a", pool.Passive{}, 1, 2), specOf("b", pool.Passive{}, 3, 4)}, up, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := New(Config{Pools: r.Pools, Grade: func(health.Target, health.Grade) {}, Eject: func(health.Target, string) {}})
	now := time.Now()
	look := func() int {
		now = now.Add(Beat)
		d.Look(now)
		return len(d.juries)
	}
	if n := look(); n != 0 {
		t.Errorf("%d pools without traffic are judged", n)
	}
	carry(r, "b", 1, 50, health.Answered, ms)
	if n := look(); n != 1 || d.juries["b"] == nil {
		t.Errorf("%d pools are judged, want the one that carries", n)
	}
	if got := r.Pool("b").View().Members[1].Load.Gauge.Total()[health.Answered]; got != 50 {
		t.Errorf("%d requests are counted, want 50", got)
	}
}

// BenchmarkQuiet is a look at 100k members that nobody asks.
func BenchmarkQuiet(b *testing.B) {
	var specs []pool.Spec
	for p := range 1000 {
		s := pool.Spec{Name: fmt.Sprint("p", p)}
		for m := range 100 {
			s.Members = append(s.Members, pool.MemberSpec{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(p >> 8), byte(p), byte(m)}), 80)})
		}
		specs = append(specs, s)
	}
	r, err := pool.NewRegistry(specs, func(health.Target) health.Status { return health.Status{State: health.Up} }, nil)
	if err != nil {
		b.Fatal(err)
	}
	d := New(Config{Pools: r.Pools})
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(Beat)
		d.Look(now)
	}
}
