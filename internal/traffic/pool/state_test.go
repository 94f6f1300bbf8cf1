package pool

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/traffic/health"
)

var stateEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// poolOf compiles a pool whose members are in these states: "up", "down", "ejected",
// "damped", "unknown", "draining"; those held later in the list were held earlier.
func poolOf(most int, words ...string) *View {
	spec := Spec{Name: "p", Passive: Passive{MaxEjected: most}}
	states := map[netip.AddrPort]health.Status{}
	for i, word := range words {
		m := MemberSpec{Name: fmt.Sprint(i), Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)}
		s := health.Status{Since: stateEpoch.Add(-time.Duration(i) * time.Second), Cause: word}
		switch word {
		case "ejected":
			s.State, s.Held = health.Down, health.Ejected
		case "damped":
			s.State, s.Held = health.Down, health.Damped
		default:
			if err := s.State.UnmarshalText([]byte(word)); err != nil {
				panic(err)
			}
		}
		states[m.Address] = s
		spec.Members = append(spec.Members, m)
	}
	v := Compile(spec, func(t health.Target) health.Status { return states[t.Address] }, nil)
	v.check()
	return v
}

// The cap on ejections: the first ones stay out, the later ones keep the least share,
// one may always be out, and the last never is.
func TestEjectionCap(t *testing.T) {
	for _, c := range []struct {
		most  int
		words string
		want  string // states, spared ones as poor
	}{
		{0, "up up up ejected", "up up up down"},
		{0, "up up ejected ejected", "up up down down"},
		{0, "up ejected ejected ejected", "up poor down down"}, // the last in the list was held first
		{0, "up up ejected", "up up down"},
		{0, "up ejected ejected", "up poor down"},
		{0, "up ejected", "up down"},
		{0, "ejected ejected", "poor down"},
		{0, "ejected", "poor"},
		{0, "down ejected", "down poor"},             // what probes find down does not serve instead
		{0, "down ejected damped", "down poor down"}, // the damped one was held first
		{0, "draining ejected", "draining poor"},
		{0, "unknown ejected", "unknown poor"},
		{100, "up ejected ejected ejected", "up down down down"},
		{100, "ejected ejected ejected", "poor poor poor"},
		{1, "up up up up ejected ejected", "up up up up poor down"},
		{0, "up damped damped damped", "up poor down down"},
		{0, "poor ejected", "poor down"},
		{0, "down down", "down down"},
	} {
		v := poolOf(c.most, strings.Fields(c.words)...)
		var got []string
		for _, m := range v.Members {
			got = append(got, m.State.String())
			if m.State == health.Poor && m.Cause != "poor" && (m.Share != 50 || !strings.HasPrefix(m.Cause, "kept in use: ")) {
				t.Errorf("%s: a member is spared with share %d: %s", c.words, m.Share, m.Cause)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("at most %d %%: %s: got %v, want %s", c.most, c.words, got, c.want)
		}
	}
}

// A check and an agent of one member: the agent's word counts over what the check says,
// as to weight, drain and not being well; that it cannot be reached counts for nothing.
func TestCheckAndAgent(t *testing.T) {
	spec := Spec{
		Name: "p", Check: health.Check{Kind: health.HTTP}, Agent: health.Check{Kind: health.Agent, Port: 9},
		Members: []MemberSpec{{Name: "a", Address: netip.MustParseAddrPort("10.0.0.1:80"), Capacity: 10}},
	}
	r, err := NewRegistry([]Spec{spec}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := r.Pool("p").View().Members[0]
	if got := r.Targets(); len(got) != 2 || got[0] != m.Target || got[1] != m.Agent || got[1].ProbeAddress().Port() != 9 {
		t.Fatalf("asked: %v", got)
	}
	changes := uint64(0)
	for _, step := range []struct {
		check, agent health.Status
		state        health.State
		share, room  int
		cause        string
	}{
		{health.Status{State: health.Up, Cause: "200"}, health.Status{}, health.Up, 1000, 10, "200"},
		{health.Status{State: health.Up, Cause: "200"}, health.Status{State: health.Down, Cause: "refused"}, health.Up, 1000, 10, "200"},
		{health.Status{State: health.Up, Cause: "200"}, health.Status{State: health.Up, Notes: health.Notes{Report: health.Report{Weight: 500, Weighted: true, Capacity: 3}}}, health.Up, 500, 3, "200"},
		{health.Status{State: health.Up, Cause: "200"}, health.Status{State: health.Down, Cause: "disk", Notes: health.Notes{Report: health.Report{Down: true}}}, health.Down, 1000, 10, "disk"},
		{health.Status{State: health.Up, Cause: "200"}, health.Status{State: health.Draining, Cause: "drained by its agent", Notes: health.Notes{Report: health.Report{Drain: true}}}, health.Draining, 1000, 10, "drained by its agent"},
		{health.Status{State: health.Down, Cause: "503"}, health.Status{State: health.Up, Cause: "agent said"}, health.Down, 1000, 10, "503"},
		{health.Status{State: health.Poor, Cause: "slow", Notes: health.Notes{Share: 100}}, health.Status{State: health.Up, Notes: health.Notes{Report: health.Report{Weight: 500, Weighted: true}}}, health.Poor, 50, 10, "slow"},
	} {
		changes++
		step.check.Changes, step.agent.Changes = changes, changes
		r.ApplyAll(map[health.Target]health.Status{m.Target: step.check, m.Agent: step.agent})
		got := r.Pool("p").View().Members[0]
		if got.State != step.state || got.Share != step.share || got.Capacity != step.room || got.Cause != step.cause {
			t.Errorf("check %v, agent %v %v: got %v, share %d, capacity %d, %q; want %+v", step.check.State, step.agent.State, step.agent.Report, got.State, got.Share, got.Capacity, got.Cause, step)
		}
	}
	if n := r.Refresh(func(health.Target) health.Status { return health.Status{State: health.Up, Changes: 99} }); n != 2 {
		t.Errorf("%d statuses were stale, want 2", n)
	}
	without := spec
	without.Agent = health.Check{}
	if _, removed, changed := r.SetMembers(without, nil); !changed || len(removed) != 1 || removed[0] != m.Agent {
		t.Errorf("without an agent: removed %v", removed)
	}
}

// Who is reached through a pool depends on its targets.
func TestDependencies(t *testing.T) {
	r, err := NewRegistry([]Spec{
		{Name: "web", Behind: []string{"switch"}, Members: []MemberSpec{{Name: "a", Address: netip.MustParseAddrPort("10.0.0.1:80")}}},
		{Name: "switch", Check: health.Check{Kind: health.ICMP}, Members: []MemberSpec{{Name: "s", Address: netip.MustParseAddrPort("10.0.0.9:1")}}},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Dependencies()
	if len(got) != 1 || got[0].Pool != "switch" || len(got[0].Through) != 1 || len(got[0].Behind) != 1 || got[0].Through[0].Check.Kind != health.ICMP {
		t.Errorf("got %+v", got)
	}
}
