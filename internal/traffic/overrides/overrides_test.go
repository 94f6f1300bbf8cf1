package overrides

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// world is what a Driver drives: one pool, and a store that may be away.
type world struct {
	t      *testing.T
	driver *Driver
	config Config
	pool   *pool.Pool

	mu      sync.Mutex
	away    bool // the store is
	stored  map[string]state.Override
	evicted int
	closed  int
	absent  bool // the member is in no pool
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, pool: pool.New("web"), stored: map[string]state.Override{}}
	w.config = Config{
		Commit: w.commit, Changed: func(string) { w.remake() }, Member: w.member,
		Evict: func(m *pool.MemberLoad) int {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.evicted++; w.evicted == 2 { // the second time finds who was let in meanwhile
				m.Active.Store(0)
			}
			return 1
		},
		CloseKept: func(netip.AddrPort) { w.mu.Lock(); w.closed++; w.mu.Unlock() },
		TTL:       func(string) time.Duration { return 5 * time.Second },
		Keep:      filepath.Join(t.TempDir(), "overrides.json"), Log: slog.New(slog.DiscardHandler),
	}
	w.driver = New(w.config)
	w.remake()
	return w
}

func (w *world) remake() {
	spec := pool.Spec{Name: "web", Members: []pool.MemberSpec{{Name: "a", Address: netip.MustParseAddrPort("192.0.2.1:80")}}}
	up := func(health.Target) health.Status { return health.Status{State: health.Up} }
	w.pool.Publish(pool.Compile(w.driver.Apply(spec), up, w.pool.View()))
}

func (w *world) member(name, member string) (pool.Member, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.absent || name != "web" || member != "a" {
		return pool.Member{}, false
	}
	return w.pool.View().Members[0], true
}

func (w *world) commit(_ context.Context, said []state.Override) (bool, error) {
	w.mu.Lock()
	if w.away {
		w.mu.Unlock()
		return true, errors.New("the store is away")
	}
	for _, o := range said {
		if w.stored[o.Key()] = o; o.State == "" && o.Weight == 0 {
			delete(w.stored, o.Key())
		}
	}
	w.mu.Unlock()
	w.take()
	return false, nil
}

func (w *world) take() {
	w.mu.Lock()
	var all []state.Override
	for _, o := range w.stored {
		all = append(all, o)
	}
	w.mu.Unlock()
	w.driver.Take(all)
	w.remake()
}

func (w *world) say(o state.Override) (local bool) {
	w.t.Helper()
	o.Pool, o.Member, o.Said = "web", "a", clock.Now()
	local, err := w.driver.Say(context.Background(), []state.Override{o})
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return local
}

func (w *world) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.pool.View().Members[0]
	return fmt.Sprint(m.State, " ", m.Override.State)
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.driver.Run(ctx) })
	w.t.Cleanup(func() { cancel(); running.Wait() })
}

// TestTimes: a planned drain begins, closes what is left and ends at its times, by itself,
// and history tells of it.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		begin := clock.Now().Add(time.Hour)
		w.say(state.Override{State: "drain", From: begin, Deadline: begin.Add(time.Minute), Until: begin.Add(time.Hour), Reason: "new kernel"})
		load := w.pool.View().Members[0].Load
		load.Active.Store(3)
		for _, c := range []struct {
			wait  time.Duration
			want  string
			stage string
		}{
			{time.Hour - time.Second, "up ", "planned"}, {2 * time.Second, "draining drain", "draining"}, {57 * time.Second, "draining drain", "draining"},
			{3 * time.Second, "draining disabled", "free"}, {time.Hour - 3*time.Minute, "draining disabled", "free"}, {2*time.Minute + 2*time.Second, "up ", "used"},
		} {
			time.Sleep(c.wait)
			synctest.Wait()
			if got, p := w.state(), w.driver.Progress("web", "a"); got != c.want || string(p.Stage) != c.stage {
				t.Errorf("after %v: %s, %s; want %s, %s", clock.Now().Sub(begin), got, p.Stage, c.want, c.stage)
			}
		}
		if w.evicted != 2 || w.closed == 0 {
			t.Errorf("evicted %d times, want 2: until nobody is there; closed %d", w.evicted, w.closed)
		}
		time.Sleep(tidyEvery)
		synctest.Wait()
		if len(w.stored) != 0 {
			t.Errorf("what is over is still kept: %v", w.stored)
		}
		var told []string
		for _, e := range w.driver.Events(10, func(Event) bool { return true }) {
			told = append(told, e.From+">"+e.To)
		}
		slices.Reverse(told)
		if got, want := strings.Join(told, " "), "as its health says>draining draining>disabled disabled>as its health says"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// TestStoreAway: what the store cannot take is in force at once, outlives a restart, and is
// in the store when that is back; a word in the store that is later goes over it.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.away = true
		if !w.say(state.Override{State: "drain"}) || w.state() != "draining drain" {
			t.Fatal(w.state())
		}
		w.driver = New(w.config) // another process
		w.remake()
		if w.state() != "draining drain" {
			t.Errorf("after a restart: %s", w.state())
		}
		w.run()
		time.Sleep(time.Minute)
		w.mu.Lock()
		w.away = false
		w.mu.Unlock()
		w.take() // the store is there, and has nothing
		time.Sleep(2 * retryEvery)
		synctest.Wait()
		if _, waits, there := w.driver.Find("web", "a"); waits || !there || w.stored["web/a"].State != "drain" {
			t.Errorf("waits %v, there %v, stored %v", waits, there, w.stored)
		}
		w.mu.Lock()
		w.away = true
		w.mu.Unlock()
		if !w.say(state.Override{}) || w.state() != "up " {
			t.Errorf("taken back without the store: %s", w.state())
		}
		w.mu.Lock()
		later := state.Override{Pool: "web", Member: "a", State: "disabled", Said: clock.Now().Add(time.Second)}
		w.stored["web/a"] = later // another node has said so
		w.mu.Unlock()
		w.take()
		if w.state() != "draining disabled" {
			t.Errorf("the later word: %s", w.state())
		}
	})
}

// TestOrphans: what was said of a member that is gone is kept for a day, and no longer.
func TestOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.say(state.Override{State: "drain"})
		set := func(absent bool) { w.mu.Lock(); w.absent = absent; w.mu.Unlock() }
		set(true)
		time.Sleep(OrphanAge - 2*tidyEvery)
		set(false) // back in time
		time.Sleep(2 * tidyEvery)
		set(true)
		kept := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.stored) }
		time.Sleep(OrphanAge - 2*tidyEvery)
		synctest.Wait()
		if kept() != 1 {
			t.Error("forgotten too early")
		}
		time.Sleep(4 * tidyEvery)
		synctest.Wait()
		if kept() != 0 {
			t.Error("not forgotten")
		}
	})
}
