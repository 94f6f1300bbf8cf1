package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pharos/internal/cluster/document"
	"pharos/internal/cluster/state"
)

var noFile = state.New(&state.Resources{})

// deadline is how long a test waits for what should take milliseconds, and takes seconds
// where others keep disk and processors busy.
const deadline = 3 * time.Minute

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func pool(name string, weight int) *state.Pool {
	p := &state.Pool{}
	document.SetDefaults(p)
	p.Name = name
	p.Members = []state.Member{{Name: "a", Address: netip.MustParseAddrPort("192.0.2.1:80"), Weight: weight}}
	return p
}

func route(host, pool string) *state.Route { return &state.Route{Host: host, Path: "/", Pool: pool} }

// commit commits and fails the test on an error.
func commit(t *testing.T, s *Store, writes ...Write) int64 {
	t.Helper()
	revision, _, err := s.Commit(testContext(t), noFile, writes...)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func poolRef(name string) state.Ref { return state.Ref{Kind: state.KindPool, Name: name} }

func TestCommitGetList(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	first := commit(t, s, PutWrite(route("*", "web"), Any), PutWrite(pool("web", 1), Any))
	got, there, err := s.Get(testContext(t), poolRef("web"))
	if err != nil || !there || got.Revision != first || string(got.Body) != string(state.Body(pool("web", 1))) {
		t.Errorf("Get = %+v, %v, %v", got, there, err)
	}
	list, err := s.List(testContext(t))
	if err != nil || len(list.Changes) != 2 || !list.Reset || list.Revision != first {
		t.Errorf("List = %+v, %v", list, err)
	}

	// The same content again is no change and no revision.
	if again := commit(t, s, PutWrite(pool("web", 1), Any)); again != first {
		t.Errorf("the same content moved the revision from %d to %d", first, again)
	}
	second := commit(t, s, PutWrite(pool("web", 2), first))
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	commit(t, s, DeleteWrite(poolRef("web"), second), DeleteWrite(state.Ref{Kind: state.KindRoute, Name: "*/"}, Any))
	if _, there, err := s.Get(testContext(t), poolRef("web")); there || err != nil {
		t.Errorf("after delete: there %v, %v", there, err)
	}
}

func TestCompareAndSwap(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	first := commit(t, s, PutWrite(pool("web", 1), Absent))
	commit(t, s, PutWrite(pool("web", 2), first))
	for name, w := range map[string]Write{
		"stale revision":     PutWrite(pool("web", 3), first),
		"is there":           PutWrite(pool("web", 3), Absent),
		"is gone":            PutWrite(pool("api", 3), first),
		"delete what is old": DeleteWrite(poolRef("web"), first),
	} {
		if _, _, err := s.Commit(testContext(t), noFile, w); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}

	// Of many that want to be first exactly one is, and nobody's pool is lost.
	var won, others sync.Map
	var wait sync.WaitGroup
	for i := range 24 {
		wait.Go(func() {
			_, _, err := s.Commit(testContext(t), noFile, PutWrite(pool("shared", i+1), Absent))
			if err == nil {
				won.Store(i, true)
			} else if !errors.Is(err, ErrConflict) {
				t.Errorf("writer %d: %v", i, err)
			}
			if _, _, err := s.Commit(testContext(t), noFile, PutWrite(pool(fmt.Sprintf("own%d", i), 1), Absent)); err == nil {
				others.Store(i, true)
			}
		})
	}
	wait.Wait()
	if got := size(&won); got != 1 {
		t.Errorf("%d writers were first, want 1", got)
	}
	if got := size(&others); got != 24 {
		t.Errorf("%d of 24 independent writes were made", got)
	}
}

func size(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// What would break the whole is refused, and nothing of the commit is made.
func TestRefused(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	base := state.New(&state.Resources{Pools: []state.Pool{*pool("base", 1)}})
	_, _, err := s.Commit(testContext(t), base, PutWrite(pool("web", 1), Any), PutWrite(route("*", "bsae"), Any))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), `did you mean "base"?`) {
		t.Errorf("error = %v, want ErrRefused with the nearest pool", err)
	}
	if list, _ := s.List(testContext(t)); len(list.Changes) != 0 {
		t.Errorf("half of a refused commit was made: %+v", list.Changes)
	}
}

// A follower sees each commit whole, once, in order, and ends with the same
// state as one who only lists.
func TestFollow(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	commit(t, s, PutWrite(pool("before", 1), Any))
	ctx, cancel := context.WithCancel(testContext(t))
	const rounds = 100
	followed, updates, last := noFile, 0, int64(0)
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		for i := range rounds {
			// Not with ctx: the follower may see the last commit before Commit returns.
			if _, _, err := s.Commit(testContext(t), noFile, PutWrite(pool("p", i+1), Any), PutWrite(pool("q", i+1), Any)); err != nil {
				t.Error(err)
				cancel()
				return
			}
		}
	})
	err := s.Follow(ctx, 0, func(u Update) {
		if updates++; updates == 1 && !u.Reset {
			t.Error("the first update is no Reset")
		}
		if u.Revision <= last {
			t.Errorf("revision %d after %d", u.Revision, last)
		}
		last = u.Revision
		followed, _ = u.ApplyTo(followed)
		p, pThere := followed.Object(poolRef("p"))
		q, qThere := followed.Object(poolRef("q"))
		if pThere != qThere || pThere && p.Revision != q.Revision {
			t.Error("a commit was split")
		}
		if pThere && string(p.Body) == string(state.Body(pool("p", rounds))) {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Follow ended with %v", err)
	}
	list, err := s.List(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	listed, _ := list.ApplyTo(noFile)
	if got, want := string(followed.Encode()), string(listed.Encode()); got != want {
		t.Errorf("followed:\n%s\nlisted:\n%s", got, want)
	}
}

// follow returns the first update after a revision.
func follow(t *testing.T, s *Store, after int64) (first Update) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	seen := false
	s.Follow(ctx, after, func(u Update) {
		if !seen {
			first, seen = u, true
		}
		cancel()
	})
	if !seen {
		t.Fatalf("no update after %d", after)
	}
	return first
}

// A follower resumes where it was; if that is compacted, or of a store that is
// no more, it gets everything.
func TestFollowResumes(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	first := commit(t, s, PutWrite(pool("a", 1), Any))
	second := commit(t, s, PutWrite(pool("b", 1), Any))
	third := commit(t, s, DeleteWrite(poolRef("a"), Any))

	if u := follow(t, s, first); u.Reset || u.Changes[0].Name != "b" || u.Changes[0].Revision != second {
		t.Errorf("after %d: %+v, want pool b", first, u)
	}
	if u := follow(t, s, third+1000); !u.Reset || u.Revision != third {
		t.Errorf("after a revision that never was: %+v, want a Reset at %d", u, third)
	}
	if _, err := s.client.Compact(testContext(t), third, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if u := follow(t, s, first); !u.Reset || len(u.Changes) != 1 || u.Changes[0].Name != "b" {
		t.Errorf("after a compacted revision: %+v, want a Reset with pool b", u)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	revision := commit(t, s, PutWrite(pool("web", 1), Any))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); !errors.Is(err, ErrClosed) {
		t.Errorf("Err after Close = %v", err)
	}
	if _, _, err := s.Commit(testContext(t), noFile, PutWrite(pool("web", 2), Any)); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v, want ErrClosed", err)
	}
	s = open(t, Config{Dir: dir})
	got, there, err := s.Get(testContext(t), poolRef("web"))
	if err != nil || !there || got.Revision != revision {
		t.Errorf("after a restart: %+v, %v, %v", got, there, err)
	}
	commit(t, s, PutWrite(pool("web", 2), revision))
}

// Closing a follower's store ends it, whatever it waits for.
func TestCloseEndsFollow(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	err := s.Follow(testContext(t), 0, func(Update) { go s.Close() })
	if !errors.Is(err, ErrClosed) {
		t.Errorf("Follow ended with %v, want ErrClosed", err)
	}
}

// Nothing of the store can be reached from outside of the process.
func TestNoSockets(t *testing.T) {
	before := sockets(t)
	s := open(t, Config{Dir: t.TempDir()})
	commit(t, s, PutWrite(pool("web", 1), Any))
	if after := sockets(t); len(after) > len(before) {
		t.Errorf("sockets before: %q, with a store: %q", before, after)
	}
}

func sockets(t *testing.T) (found []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc to look into:", err)
	}
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if strings.HasPrefix(target, "socket:") {
			found = append(found, target)
		}
	}
	return found
}

// Opening does not wait for etcd, and the first commit is soon possible.
func TestStartIsShort(t *testing.T) {
	start := time.Now()
	s := open(t, Config{Dir: t.TempDir()})
	opened := time.Since(start)
	commit(t, s, PutWrite(pool("web", 1), Any))
	t.Logf("Open returned after %v; first commit after %v", opened, time.Since(start))
	select {
	case <-s.Ready():
	case <-testContext(t).Done():
		t.Error("never ready")
	}
}

func BenchmarkCommit(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := 0; b.Loop(); i++ {
		if _, _, err := s.Commit(b.Context(), noFile, PutWrite(pool("web", i%1000+1), Any)); err != nil {
			b.Fatal(err)
		}
	}
}

// A new store has nothing to complain about: an operator reads each warning.
func TestNewStoreIsQuiet(t *testing.T) {
	var log bytes.Buffer // read after Close, when nobody writes any more
	s := open(t, Config{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	commit(t, s, PutWrite(pool("web", 1), Any))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(log.String()) {
		isSlowness := false // of the machine, which is worth a warning
		for _, text := range []string{"slow fdatasync", "took too long", "heartbeat on time", "ReadIndex response took"} {
			isSlowness = isSlowness || strings.Contains(line, text)
		}
		if !isSlowness {
			t.Errorf("the log of a new store: %s", line)
		}
	}
}

// What etcd never answers ends with the context, and does not keep others from
// their turn for longer than theirs.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stuck := make(chan int)
		_, err := await(ctx, func() (int, error) { return <-stuck, nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want that of the context", err)
		}
		close(stuck)
		synctest.Wait()
		if n, err := await(t.Context(), func() (int, error) { return 7, nil }); n != 7 || err != nil {
			t.Errorf("await = %d, %v, want 7", n, err)
		}
	})
}

// A commit that waits for its turn ends with its context.
func TestCommitTurn(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	commit(t, s, PutWrite(pool("web", 1), Any))
	s.turn <- struct{}{} // of somebody who never comes back
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := s.Commit(ctx, noFile, PutWrite(pool("web", 2), Any)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want that of the context", err)
	}
	<-s.turn
	commit(t, s, PutWrite(pool("web", 3), Any))
}
