package override

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/cluster/state"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// TestOf: what holds when, and what a member's state is then: over its health, over the
// configuration, and beneath what its own agent says.
func TestOf(t *testing.T) {
	drain := state.Override{Pool: "web", Member: "a", State: "drain", Said: noon, From: at(10), Until: at(60), Deadline: at(20), Reason: "new kernel"}
	for _, c := range []struct {
		name   string
		said   state.Override
		now    time.Time
		state  pool.Said
		weight int
		cause  string
	}{
		{"before it begins", drain, at(9), pool.Nothing, 0, ""},
		{"from its beginning", drain, at(10), pool.Drain, 0, "drained by the operator until 2026-07-01 13:00:00 UTC: new kernel"},
		{"from its deadline", drain, at(20), pool.Disabled, 0, "drained by the operator until 2026-07-01 13:00:00 UTC: new kernel; the time for its connections is over"},
		{"at its end", drain, at(60), pool.Nothing, 0, ""},
		{"without times", state.Override{State: "disabled", Said: noon}, at(9999), pool.Disabled, 0, "disabled by the operator"},
		{"ready", state.Override{State: "ready", Said: noon}, noon, pool.Ready, 0, "made ready by the operator"},
		{"a weight has no times", state.Override{Weight: 7, Said: noon, From: at(10)}, noon, pool.Nothing, 7, ""},
	} {
		got := Of(c.said, c.now)
		if got.State != c.state || got.Weight != c.weight || got.Cause != c.cause {
			t.Errorf("%s: got %+v, want %v, weight %d, %q", c.name, got, c.state, c.weight, c.cause)
		}
	}
}

// TestApply: the view of a pool shows what holds beside what is configured, and takes it
// into the choice.
func TestApply(t *testing.T) {
	member := func(name string, i byte, drain bool) pool.MemberSpec {
		return pool.MemberSpec{Name: name, Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, i}), 80), Weight: 2, Drain: drain}
	}
	spec := pool.Spec{Name: "web", Policy: pool.WeightedRoundRobin, Members: []pool.MemberSpec{member("a", 1, false), member("b", 2, true), member("c", 3, false), member("", 4, false)}}
	set := NewSet([]state.Override{
		{Pool: "web", Member: "a", State: "drain", Said: noon}, {Pool: "web", Member: "b", State: "ready", Said: noon},
		{Pool: "web", Member: "c", Weight: 5, Said: noon}, {Pool: "web", Member: "192.0.2.4:80", State: "disabled", Said: noon}, {Pool: "api", Member: "c", State: "drain", Said: noon},
	})
	up := func(health.Target) health.Status {
		return health.Status{State: health.Up, Since: at(-1), Cause: "connected"}
	}
	v := pool.Compile(set.Apply(spec, at(1)), up, nil)
	var got []string
	for _, m := range v.Members {
		got = append(got, m.Name+" "+m.State.String()+" "+m.Cause)
	}
	if want := "a draining drained by the operator; b up connected; c up connected; 192.0.2.4:80 draining disabled by the operator"; strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
	if c := v.Members[2]; c.Weight != 5 || c.Configured.Weight != 2 || !v.Members[1].Configured.Drain {
		t.Errorf("weights and what is configured: %+v", v.Members)
	}
	if spec.Members[0].Override != (pool.Override{}) {
		t.Error("the spec that was given has changed")
	}
	draining := func(health.Target) health.Status {
		return health.Status{State: health.Draining, Cause: "drained by its agent"}
	}
	if m := pool.Compile(set.Apply(spec, at(1)), draining, nil).Members[1]; m.State != health.Draining || m.Cause != "drained by its agent" {
		t.Errorf("ready goes over the member's own will: %+v", m)
	}
}

// TestNewSet: of two words about one member the later holds, and one that says nothing takes
// back.
func TestNewSet(t *testing.T) {
	first := []state.Override{{Pool: "web", Member: "a", State: "drain", Said: noon}, {Pool: "web", Member: "b", Weight: 3, Said: noon}}
	second := []state.Override{{Pool: "web", Member: "a", Said: at(1)}, {Pool: "web", Member: "b", Weight: 4, Said: at(-1)}}
	for _, order := range [][2][]state.Override{{first, second}, {second, first}} {
		s := NewSet(order[0], order[1])
		if _, there := s.Find("web", "a"); there || s.Len() != 1 {
			t.Errorf("%v", s.All())
		}
		if b, _ := s.Find("web", "b"); b.Weight != 3 {
			t.Errorf("%v", s.All())
		}
	}
}

// TestNext: each beginning, deadline and end is a moment, and nothing else is.
func TestNext(t *testing.T) {
	s := NewSet([]state.Override{
		{Pool: "web", Member: "a", State: "drain", Said: noon, From: at(10), Deadline: at(20), Until: at(60)},
		{Pool: "api", Member: "a", State: "drain", Said: noon, From: at(10)}, {Pool: "x", Member: "a", Weight: 2, Said: noon},
	})
	var got []string
	for now := noon; ; {
		next, pools := s.Next(now)
		if next.IsZero() {
			break
		}
		got = append(got, next.Format("15:04 ")+strings.Join(pools, "+"))
		now = next
	}
	if want := "12:10 api+web, 12:20 web, 13:00 web"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestProgressOf: a member is free when no resolver can hold an answer that names it and
// nobody is there, or when its time is over.
func TestProgressOf(t *testing.T) {
	o := state.Override{Pool: "web", Member: "a", State: "drain", Said: noon, From: at(10), Deadline: at(20), Until: at(60)}
	disabled := o
	disabled.State = "disabled"
	for _, c := range []struct {
		said        state.Override
		now         time.Time
		connections int64
		want        string
	}{
		{o, at(9), 5, "planned: drains from 2026-07-01 12:10:00 UTC"},
		{o, at(10), 1, "draining: 1 connection is still there; resolvers may name it until 2026-07-01 12:15:00 UTC; what is left is closed at 2026-07-01 12:20:00 UTC"},
		{o, at(14), 0, "draining: 0 connections are still there; resolvers may name it until 2026-07-01 12:15:00 UTC; what is left is closed at 2026-07-01 12:20:00 UTC"},
		{o, at(15), 0, "free: nobody is there"},
		{o, at(16), 2, "draining: 2 connections are still there; what is left is closed at 2026-07-01 12:20:00 UTC"},
		{o, at(20), 2, "draining: 2 connections are still there"},
		{o, at(20), 0, "free: nobody is there"},
		{o, at(60), 2, "in use"},
		{disabled, at(10), 0, "free: nobody is there"},
		{state.Override{State: "ready", Said: noon}, at(10), 0, "in use"},
		{state.Override{Weight: 4, Said: noon}, at(10), 0, "in use"},
	} {
		if got := ProgressOf(c.said, c.now, 5*time.Minute, c.connections).Text(c.now); got != c.want {
			t.Errorf("%s at %s: got %q, want %q", c.said.State, c.now.Format("15:04"), got, c.want)
		}
	}
}
