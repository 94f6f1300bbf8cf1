package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/traffic/health"
)

// states is a prober for tests: it holds what the test sets.
type states map[health.Target]health.Status

func (s states) status(t health.Target) health.Status { return s[t] }

// set moves a target to a state and returns its status.
func (s states) set(t health.Target, to health.State) health.Status {
	s[t] = health.Status{State: to, Cause: "set", Changes: s[t].Changes + 1}
	return s[t]
}

// One target in two pools is probed once, and its transition makes new views of
// just the pools that hold it.
func TestApplyTouchesItsPoolsOnly(t *testing.T) {
	specs := []Spec{
		specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.2:80"),
		specOf("api", RoundRobin, "10.0.0.2:80", "10.0.0.3:80"),
		specOf("mail", RoundRobin, "10.0.0.9:25"),
	}
	prober := states{}
	r, err := NewRegistry(specs, prober.status, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.Targets()); got != 4 {
		t.Errorf("%d targets, want 4: one is shared", got)
	}
	for _, target := range r.Targets() {
		r.Apply(target, prober.set(target, health.Up))
	}
	mail := r.Pool("mail").View()
	shared := r.Targets()[1]
	changed := r.Apply(shared, prober.set(shared, health.Down))
	if len(changed) != 2 || r.Pool("mail").View() != mail {
		t.Errorf("%d pools changed, mail's view new: %v; want 2, false", len(changed), r.Pool("mail").View() != mail)
	}
	web, api := r.Pool("web").View(), r.Pool("api").View()
	web.check()
	if names(web, web.Eligible) != "a" || names(api, api.Eligible) != "b" || web.Members[1].Cause != "set" {
		t.Errorf("web %q, api %q; want a, b", names(web, web.Eligible), names(api, api.Eligible))
	}
	if got := []string{r.Pools()[0].Name(), r.Pools()[1].Name(), r.Pools()[2].Name()}; !slices.IsSorted(got) {
		t.Errorf("pools in the order %v", got)
	}
}

// Two members of one pool at one address are one target, and one new view.
func TestTwoMembersOfOneTarget(t *testing.T) {
	r, err := NewRegistry([]Spec{specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.1:80")}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.Targets()); got != 1 {
		t.Errorf("%d targets, want 1", got)
	}
	before := r.Pool("web").View().Revision
	if changed := r.Apply(r.Targets()[0], health.Status{State: health.Up}); len(changed) != 1 {
		t.Errorf("%d pools changed, want 1", len(changed))
	}
	v := r.Pool("web").View()
	v.check()
	if v.Revision != before+1 || names(v, v.Eligible) != "ab" {
		t.Errorf("revision %d after %d, eligible %q; want one more, ab", v.Revision, before, names(v, v.Eligible))
	}
}

// An older status that comes late does not undo a newer one.
func TestApplyIgnoresWhatIsOld(t *testing.T) {
	spec := specOf("web", RoundRobin, "10.0.0.1:80")
	prober := states{}
	r, _ := NewRegistry([]Spec{spec}, prober.status, nil)
	target := r.Targets()[0]
	up, down := prober.set(target, health.Up), prober.set(target, health.Down)
	r.Refresh(prober.status)
	if changed := r.Apply(target, up); len(changed) != 0 {
		t.Error("an old status was applied")
	}
	r.Apply(target, down)
	if got := r.Pool("web").View().Members[0].State; got != health.Down {
		t.Errorf("got %v, want down", got)
	}
}

// A reload keeps states, loads, cursors and revisions of what stays, leaves the old
// registry as it is, and a bad one changes nothing.
func TestReload(t *testing.T) {
	prober := states{}
	old, _ := NewRegistry([]Spec{specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.2:80")}, prober.status, nil)
	for _, target := range old.Targets() {
		old.Apply(target, prober.set(target, health.Up))
	}
	before := old.Pool("web").View()
	old.Pool("web").Load().Turn(5)
	before.Members[1].Load.Active.Store(3)

	spec := specOf("web", RoundRobin, "10.0.0.2:80", "10.0.0.4:80", "10.0.0.1:80 drain")
	spec.Members[0].Name, spec.Members[2].Name = "b", "a"
	spec.Members[1].Name = "new"
	next, err := NewRegistry([]Spec{spec}, prober.status, old)
	if err != nil {
		t.Fatal(err)
	}
	v := next.Pool("web").View()
	v.check()
	if v.Members[0].State != health.Up || v.Members[0].Load != before.Members[1].Load || v.Members[0].Load.Active.Load() != 3 {
		t.Errorf("member b lost what was known of it: %+v", v.Members[0])
	}
	if v.Members[1].State != health.Unknown || v.Members[2].State != health.Draining || names(v, v.Eligible) != "b" {
		t.Errorf("after the reload: %+v", v)
	}
	if v.Revision != before.Revision+1 || next.Pool("web").Load() != old.Pool("web").Load() {
		t.Errorf("revision %d after %d", v.Revision, before.Revision)
	}
	if old.Pool("web").View() != before {
		t.Error("the old registry changed")
	}
	// What happens between compiling and swapping is caught up.
	prober.set(v.Members[1].Target, health.Up)
	if got := next.Refresh(prober.status); got != 1 {
		t.Errorf("Refresh applied %d, want 1", got)
	}
	if got := next.Refresh(prober.status); got != 0 {
		t.Errorf("second Refresh applied %d, want 0", got)
	}
	// A drained member stays drained whatever its target does.
	drained := v.Members[2].Target
	next.Apply(drained, prober.set(drained, health.Down))
	if got := next.Pool("web").View().Members[2]; got.State != health.Draining {
		t.Errorf("drained member became %v", got.State)
	}
	for want, specs := range map[string][]Spec{
		"is there twice": {spec, spec},
		"weight":         {specOf("web", RoundRobin, "10.0.0.1:80 *-3")},
	} {
		if _, err := NewRegistry(specs, prober.status, next); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// Readers see whole views while transitions and refreshes go on.
func TestRegistryConcurrency(t *testing.T) {
	var specs []Spec
	for i := range 4 {
		specs = append(specs, specOf(fmt.Sprint("pool", i), WeightedRoundRobin, "10.0.0.1:80 *3", "10.0.0.2:80", "[2001:db8::1]:80"))
	}
	r, _ := NewRegistry(specs, nil, nil)
	current := health.Status{State: health.Up}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		defer close(stop)
		for i := range uint64(300) {
			r.Apply(r.Targets()[i%3], health.Status{State: health.State(i / 3 % 3), Changes: i})
			r.Refresh(func(health.Target) health.Status { return current })
		}
	})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.Pool("pool1").View().check()
				}
			}
		})
	}
	wg.Wait()
}

// What is told at once: each failure that counts, and the first success after one. A
// request that came too late does not count if others were answered meanwhile.
func TestNote(t *testing.T) {
	var l MemberLoad
	const s = time.Second
	for i, step := range []struct {
		o         health.Outcome
		now, took time.Duration
		want      bool
	}{
		{health.Answered, 1 * s, s, false},
		{health.Unreached, 2 * s, 0, true},
		{health.Broken, 2 * s, 0, true},
		{health.Doubtful, 2 * s, 0, false},
		{health.Answered, 3 * s, 0, true},
		{health.Answered, 40 * s, 0, false},
		{health.Late, 50 * s, 30 * s, false}, // answered well after it began
		{health.Late, 75 * s, 30 * s, true},
		{health.Erred, 75 * s, 0, true},
	} {
		if got := l.Note(step.o, step.now, step.took); got != step.want {
			t.Errorf("step %d, %v: told %v, want %v", i, step.o, got, step.want)
		}
	}
	if got, want := l.Gauge.Total(), [health.Outcomes]uint32{3, 2, 1, 1, 1, 1}; got != want {
		t.Errorf("counted %v, want %v", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { l.Note(health.Answered, time.Minute, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// 10,000 pools of 10 members: one transition is applied to the pools that hold it.
func BenchmarkApply(b *testing.B) {
	var specs []Spec
	for i := range 10_000 {
		s := Spec{Name: fmt.Sprint("pool", i), Policy: WeightedRoundRobin, Check: health.Check{Kind: health.TCP}}
		for j := range 10 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j)})
			s.Members = append(s.Members, MemberSpec{Name: fmt.Sprint(j), Address: netip.AddrPortFrom(addr, 80), Weight: 1 + j})
		}
		specs = append(specs, s)
	}
	r, err := NewRegistry(specs, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r.Apply(r.Targets()[i%len(r.Targets())], health.Status{State: health.State(1 + i%2), Changes: uint64(i)})
	}
}

// SetMembers: those that stay keep their state and load, those that share a target with
// another pool stay probed, and what is alike changes nothing.
func TestSetMembers(t *testing.T) {
	web := specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.2:80")
	api := specOf("api", RoundRobin, "10.0.0.2:80")
	r, err := NewRegistry([]Spec{web, api}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	stays, shared := web.target(web.Members[0]), web.target(web.Members[1])
	r.Apply(stays, health.Status{State: health.Up, Changes: 1})
	load := r.Pool("web").View().Members[0].Load
	status := func(target health.Target) health.Status {
		if target == stays {
			return health.Status{State: health.Up, Changes: 1}
		}
		return health.Status{}
	}
	if added, removed, changed := r.SetMembers(web, status); changed || len(added)+len(removed) != 0 || r.Pool("web").View().Revision != 2 {
		t.Errorf("alike: added %v, removed %v, revision %d", added, removed, r.Pool("web").View().Revision)
	}
	other := specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.3:80", "10.0.0.4:80")
	added, removed, _ := r.SetMembers(other, status)
	v := r.Pool("web").View()
	v.check()
	if len(added) != 2 || len(removed) != 0 || len(r.Targets()) != 4 || v.Members[0].State != health.Up || v.Members[0].Load != load {
		t.Errorf("added %v, removed %v, targets %v, members %+v", added, removed, r.Targets(), v.Members)
	}
	if changed := r.Apply(shared, health.Status{State: health.Down, Changes: 1}); len(changed) != 1 || changed[0].Name() != "api" {
		t.Errorf("the target that left web changed %d pools", len(changed))
	}
	if changed := r.Apply(added[0], health.Status{State: health.Up, Changes: 1}); len(changed) != 1 || r.Pool("web").View().Members[1].State != health.Up {
		t.Error("a new member does not follow its target")
	}
	other.Members[1].Weight = 7
	if added, removed, changed := r.SetMembers(other, status); !changed || len(added)+len(removed) != 0 || r.Pool("web").View().Members[1].Weight != 7 {
		t.Errorf("another weight: added %v, removed %v, changed %v", added, removed, changed)
	}
	_, removed, _ = r.SetMembers(Spec{Name: "web", Check: web.Check}, status)
	if len(removed) != 3 || len(r.Targets()) != 1 || r.Pool("web").View().Tier != Nobody {
		t.Errorf("without members: removed %v, targets %v", removed, r.Targets())
	}
}

// With: what is configured goes before what is discovered.
func TestWith(t *testing.T) {
	s := specOf("web", RoundRobin, "10.0.0.1:80 *3")
	more := specOf("", RoundRobin, "10.0.0.2:80", "10.0.0.1:80", "10.0.0.3:80", "10.0.0.3:80").Members
	for i := range more {
		more[i].Name = ""
	}
	got := s.With(more)
	if err := got.Validate(); err != nil || len(got.Members) != 3 || got.Members[0].Weight != 3 || len(s.Members) != 1 {
		t.Errorf("%+v, %v", got.Members, err)
	}
}

// BenchmarkCrowded is one of 100k members that changes its state, and BenchmarkCrowdedMember one that a list
// adds or takes out, in pools of 100 members and of 4,000.
func BenchmarkCrowded(b *testing.B) {
	for _, size := range []int{100, 4000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			r, _ := crowded(b, size)
			target := r.Targets()[size/2]
			s := health.Status{State: health.Down}
			b.ReportAllocs()
			for b.Loop() {
				s.Changes++
				s.State = health.Down + health.Up - s.State
				r.Apply(target, s)
			}
		})
	}
}

func BenchmarkCrowdedMember(b *testing.B) {
	for _, size := range []int{100, 4000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			r, spec := crowded(b, size)
			short := spec
			short.Members = spec.Members[:size-1]
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.SetMembers([]Spec{short, spec}[i%2], allUp)
			}
		})
	}
}

func allUp(health.Target) health.Status { return health.Status{State: health.Up} }

// crowded returns 100k members in pools of a size, and what one of these is made from.
func crowded(b *testing.B, size int) (*Registry, Spec) {
	var specs []Spec
	for p := range 100_000 / size {
		s := Spec{Name: strconv.Itoa(p), Check: health.Check{Kind: health.TCP}}
		for m := range size {
			n := p*size + m
			s.Members = append(s.Members, MemberSpec{Name: strconv.Itoa(n), Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 80)})
		}
		specs = append(specs, s)
	}
	r, err := NewRegistry(specs, allUp, nil)
	if err != nil {
		b.Fatal(err)
	}
	return r, specs[1]
}
