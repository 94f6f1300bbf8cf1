package trafficdesk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/traffic/discover"
	"pharos/internal/traffic/fleet"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/overrides"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
	"pharos/internal/traffic/probe"
)

// world is a desk over pools whose members are in the states that a test says.
type world struct {
	*Desk
	t        *testing.T
	states   map[string]health.State // by address; Up unless it says otherwise
	registry *pool.Registry
	stored   []state.Override
	away     bool // the store is
}

func member(name, address string) state.Member {
	return state.Member{Name: name, Address: netip.MustParseAddrPort(address), Weight: 1}
}

func newWorld(t *testing.T, pools []state.Pool, steered ...state.Steer) *world {
	w := &world{t: t, states: map[string]health.State{}}
	resources := &state.Resources{Pools: pools, Steer: steered}
	quiet := slog.New(slog.DiscardHandler)
	w.Desk = &Desk{
		Registry: func() *pool.Registry { return w.registry }, Resources: func() *state.Resources { return resources },
		Prober:    probe.New(probe.Config{}),
		Discovery: discover.New(discover.Config{Log: quiet}),
		Overrides: overrides.New(overrides.Config{
			Commit: w.commit, Changed: func(string) { w.remake() },
			Member: func(name, member string) (pool.Member, bool) { return w.registry.Member(name, member) },
			Evict:  func(*pool.MemberLoad) int { return 0 }, CloseKept: func(netip.AddrPort) {},
			TTL: func(string) time.Duration { return 0 }, Log: quiet,
		}),
		Fleet:    fleet.New(fleet.Config{Folder: filepath.Join(t.TempDir(), "members"), Log: quiet}),
		Revision: func() uint64 { return 7 },
	}
	t.Cleanup(w.Prober.Close)
	w.remake()
	return w
}

func (w *world) commit(_ context.Context, said []state.Override) (retry bool, err error) {
	if w.away {
		return true, errors.New("the store is away")
	}
	w.stored = append(w.stored, said...)
	w.Overrides.Take(w.stored)
	w.remake()
	return false, nil
}

func (w *world) remake() {
	specs := poolspec.Of(w.Resources().Pools, state.Place{})
	for i := range specs {
		specs[i] = w.Overrides.Apply(specs[i])
	}
	r, err := pool.NewRegistry(specs, func(target health.Target) health.Status {
		s := w.states[target.Address.String()]
		if s == health.Unknown {
			s = health.Up
		}
		return health.Status{State: s, Cause: "as the test says"}
	}, w.registry)
	if err != nil {
		w.t.Fatal(err)
	}
	w.registry = r
}

var web = []state.Pool{
	{Name: "web", Members: []state.Member{member("a", "192.0.2.1:80"), member("b", "192.0.2.2:80"), {Name: "spare", Address: netip.MustParseAddrPort("192.0.2.3:80"), Weight: 1, Tier: 1, Capacity: 50}}},
	{Name: "api", Members: []state.Member{member("one", "192.0.2.1:80"), member("two", "192.0.2.9:80")}},
}

// TestRefusals: what makes no sense is refused with what was meant, or what there is.
func TestRefusals(t *testing.T) {
	w := newWorld(t, web)
	for _, c := range []struct {
		r      api.OverrideRequest
		status int
		want   string
	}{
		{api.OverrideRequest{Pool: "wbe", Members: []string{"a"}, Do: "drain"}, http.StatusNotFound, `there is no pool "wbe"; did you mean "web"?`},
		{api.OverrideRequest{Pool: "nothing", Members: []string{"a"}, Do: "drain"}, http.StatusNotFound, `there are: api, web`},
		{api.OverrideRequest{Pool: "web", Do: "drain"}, http.StatusBadRequest, "name the members"},
		{api.OverrideRequest{Pool: "web", Members: []string{"zulu"}, Do: "drain"}, http.StatusNotFound, "there are: a, b, spare"},
		{api.OverrideRequest{Pool: "web", Members: []string{"a"}, Do: "stop"}, http.StatusBadRequest, "want drain, disable, resume or weight"},
		{api.OverrideRequest{Pool: "web", Members: []string{"a"}, Do: "drain", Deadline: "soon"}, http.StatusBadRequest, `deadline: "soon" is neither a duration`},
		{api.OverrideRequest{Pool: "web", Members: []string{"a"}, Do: "drain", Until: "2020-01-01T00:00:00Z"}, http.StatusBadRequest, "is over already"},
		{api.OverrideRequest{Pool: "web", Members: []string{"a"}, Do: "weight", Weight: -1}, http.StatusUnprocessableEntity, "web/a: "},
	} {
		_, err := w.Override(t.Context(), c.r)
		refused := (*api.Refused)(nil)
		if !errors.As(err, &refused) || refused.Status != c.status || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %d %q", c.r, err, c.status, c.want)
		}
	}
	if len(w.stored) != 0 {
		t.Errorf("what was refused is stored: %+v", w.stored)
	}
}

// TestLeavesNobody: who takes the last member out is told what will come of it, by name and
// whenDown, and has to say that he means it. One that is not the last goes without a word.
func TestLeavesNobody(t *testing.T) {
	steer := func(name, down string) state.Steer {
		return state.Steer{Name: dnsname.MustParse(name), Pool: "web", WhenDown: down}
	}
	w := newWorld(t, web, steer("all.example.", "all"), steer("sorry.example.", "fallback"), steer("none.example.", "nodata"))
	drain := func(force bool, members ...string) (api.Overridden, error) {
		return w.Override(t.Context(), api.OverrideRequest{Pool: "web", Members: members, Do: "drain", Force: force})
	}
	if _, err := drain(false, "a"); err != nil {
		t.Errorf("one of three: %v", err)
	}
	_, err := drain(false, "b", "spare")
	const want = "pool web: nobody else is up. all.example would be answered with nobody (NODATA), sorry.example would be answered from the fallback, " +
		"none.example would be answered with nobody (NODATA), the gateway would answer 503; --force does it nevertheless"
	if refused := (*api.Refused)(nil); !errors.As(err, &refused) || refused.Status != http.StatusConflict || err.Error() != want {
		t.Errorf("the last two: got %v\nwant %s", err, want)
	}
	w.states["192.0.2.3:80"] = health.Down // one that is down stays: answers are made of it
	w.remake()
	if _, err = drain(false, "b"); err == nil || !strings.Contains(err.Error(), "all.example would be answered with those that are down") || !strings.Contains(err.Error(), "the gateway would go to those that are down") {
		t.Errorf("the last that is up: %v", err)
	}
	out, err := drain(true, "b")
	if err != nil || len(out.Warnings) == 0 || !strings.Contains(out.Warnings[0], "nobody else is up") || out.Revision != 7 {
		t.Errorf("with force: %+v, %v", out, err)
	}
}

// TestEverywhere: a server is in two pools. Who takes it out of one is told of the other, or
// means both; an address will do as a name.
func TestEverywhere(t *testing.T) {
	w := newWorld(t, web)
	out, err := w.Override(t.Context(), api.OverrideRequest{Pool: "web", Members: []string{"192.0.2.1"}, Do: "drain", Reason: "new kernel"})
	if err != nil || len(out.Members) != 1 || out.Members[0].Member != "a" ||
		!slices.Contains(out.Warnings, "the same server (192.0.2.1:80) is in use as api/one; --everywhere means it there, too") {
		t.Errorf("in one pool: %+v, %v", out, err)
	}
	out, err = w.Override(t.Context(), api.OverrideRequest{Pool: "web", Members: []string{"192.0.2.1:80"}, Do: "drain", Everywhere: true})
	if err != nil || fmt.Sprint(out.Changed) != `[member "a" of pool "web" member "one" of pool "api"]` || len(out.Warnings) != 0 {
		t.Errorf("everywhere: %+v, %v", out, err)
	}
	w.away = true
	out, err = w.Override(t.Context(), api.OverrideRequest{Pool: "web", Members: []string{"a"}, Do: "resume"})
	if err != nil || len(out.Warnings) == 0 || !strings.Contains(out.Warnings[0], "the store cannot take it now") {
		t.Errorf("without a store: %+v, %v", out, err)
	}
}

// TestShow: a member is shown with what it is by itself, and what an operator has made of it.
func TestShow(t *testing.T) {
	w := newWorld(t, web)
	if _, err := w.Override(t.Context(), api.OverrideRequest{Pool: "web", Members: []string{"spare"}, Do: "weight", Weight: 9}); err != nil {
		t.Fatal(err)
	}
	p, err := w.Pool("web")
	if err != nil || len(p.Members) != 3 || p.AllDown {
		t.Fatalf("%+v, %v", p, err)
	}
	m := p.Members[2]
	if m.Weight != 9 || m.Configured == nil || m.Configured.Weight != 1 || m.Tier != 1 || m.Capacity != 50 || m.State != "up" || m.Cause != "as the test says" || m.Share != 1000 {
		t.Errorf("spare: %+v, configured %+v", m, m.Configured)
	}
	if p.Members[0].Configured != nil || p.Members[0].Override != nil {
		t.Errorf("nothing was said of a: %+v", p.Members[0])
	}
	if _, err := w.Pool("nothing"); err == nil {
		t.Error("a pool that is not there is shown")
	}
	if _, err := w.History("web/nobody", 0); err == nil || !strings.Contains(err.Error(), `nothing is known of "web/nobody"`) {
		t.Errorf("history of nobody: %v", err)
	}
}

// TestMoments: times are durations from then on, or moments in UTC.
func TestMoments(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"90s": "2026-07-01T12:01:30Z", "1d": "2026-07-02T12:00:00Z", "2026-07-01T22:00:00Z": "2026-07-01T22:00:00Z",
		"2026-07-01T22:00:00+02:00": "2026-07-01T20:00:00Z", "2026-07-01 22:00": "2026-07-01T22:00:00Z", "2026-07-01 22:00:01": "2026-07-01T22:00:01Z",
		"": "", "soon": "", "22:00": "", "-1h": "", "2026-13-01 22:00": "",
	} {
		at, err := parseMoment(text, noon)
		if got := at.Format(time.RFC3339); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: got %s, %v; want %q", text, got, err, want)
		}
	}
}

// TestMerge: two histories become one, the newest first, and no longer than asked for.
func TestMerge(t *testing.T) {
	at := func(second int, cause string) api.HealthEvent {
		return api.HealthEvent{At: time.Unix(int64(second), 0), Cause: cause}
	}
	probed := []api.HealthEvent{at(9, "p9"), at(5, "p5"), at(1, "p1")}
	said := []api.HealthEvent{at(7, "s7"), at(5, "s5")}
	for limit, want := range map[int]string{0: "p9 s7 p5 s5 p1", 2: "p9 s7", 100: "p9 s7 p5 s5 p1"} {
		var got []string
		for _, e := range merge(probed, said, limit) {
			got = append(got, e.Cause)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("limit %d: got %v, want %s", limit, got, want)
		}
	}
}
