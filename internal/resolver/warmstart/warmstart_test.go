package warmstart

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/cachefile"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// process is one life of a resolver's cache.
type process struct {
	cache  *rrcache.Cache
	keeper *Keeper
	trust  cachefile.Trust

	mu      sync.Mutex
	servers []iterate.KnownServer // guarded by mu
}

// start begins a life on file; it must be called in a bubble.
func start(file string, trust byte) *process {
	p := &process{cache: rrcache.New(time.Now(), rrcache.Limits{}), trust: cachefile.Trust{trust}}
	p.keeper = New(Config{
		File: file, Cache: p.cache, Interval: time.Minute, Trust: func() cachefile.Trust { return p.trust },
		Servers: func() []iterate.KnownServer {
			p.mu.Lock()
			defer p.mu.Unlock()
			return slices.Clone(p.servers)
		},
		RestoreServers: func(all []iterate.KnownServer) int {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.servers = all
			return len(all)
		},
	})
	p.keeper.Start()
	synctest.Wait() // until it is restored
	return p
}

// kill ends the life without a last save.
func (p *process) kill() {
	p.keeper.mu.Lock()
	p.keeper.restored = false
	p.keeper.mu.Unlock()
	p.keeper.Close()
}

func (p *process) put(names ...string) {
	for _, n := range names {
		p.cache.Put(time.Now(), rdata.RRset{Name: dnsname.MustParse(n), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 3600, Data: [][]byte{{192, 0, 2, 1}}}, rrcache.TrustAnswer)
	}
}

func (p *process) has(name string) bool {
	return p.cache.Get(time.Now(), dnsname.MustParse(name), rdata.TypeA) != nil
}

// What a process had learnt its successor knows, whether it ended in good order or was
// killed a while after a save.
func TestRestart(t *testing.T) {
	for _, killed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cache")
			first := start(file, 1)
			first.put("early.test.")
			first.mu.Lock()
			first.servers = []iterate.KnownServer{{RTT: time.Millisecond}}
			first.mu.Unlock()
			time.Sleep(90 * time.Second) // a save; the next would begin at two minutes
			first.put("late.test.")
			if killed {
				first.kill()
			} else {
				first.keeper.Close()
			}
			second := start(file, 1)
			defer second.keeper.Close()
			if !second.has("early.test.") || second.has("late.test.") == killed || len(second.servers) != 1 {
				t.Errorf("killed %v: early %v, late %v, servers %v", killed, second.has("early.test."), second.has("late.test."), second.servers)
			}
			if st := second.keeper.Status(); st.Problem != "" || st.Restored == 0 || st.Servers != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A file of another trust configuration is left alone, and said.
func TestOtherTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cache")
		first := start(file, 1)
		first.put("a.test.")
		first.keeper.Close()
		second := start(file, 2)
		defer second.keeper.Close()
		if st := second.keeper.Status(); second.has("a.test.") || !strings.Contains(st.Problem, "trust anchors") {
			t.Errorf("restored %v, %+v", second.has("a.test."), st)
		}
	})
}

// Anchors that change while a file is written: it would be a mixture.
func TestTrustChangesWhileSaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cache")
		first := start(file, 1)
		first.put("a.test.")
		reads := 0
		first.keeper.cfg.Trust = func() cachefile.Trust {
			reads++
			return cachefile.Trust{byte(reads)}
		}
		first.keeper.Close()
		if _, err := os.Stat(file); err == nil || first.keeper.Status().SaveError == "" {
			t.Errorf("%v, %+v", err, first.keeper.Status())
		}
	})
}

// A damaged file gives what is whole, and is said.
func TestDamagedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cache")
		first := start(file, 1)
		for i := range 20000 {
			first.put(fmt.Sprintf("n%d.test.", i))
		}
		first.keeper.Close()
		octets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		octets[len(octets)/2] ^= 1
		if err := os.WriteFile(file, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		second := start(file, 1)
		defer second.keeper.Close()
		if st := second.keeper.Status(); st.Restored < 5000 || st.Restored > 19000 || !strings.Contains(st.Problem, "damaged") {
			t.Errorf("%+v", st)
		}
	})
}

// What was flushed does not come back, not even after a kill; the note of it ends with
// the next save.
func TestFlushOutlivesKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cache")
		first := start(file, 1)
		first.put("a.test.", "b.a.test.", "c.test.")
		time.Sleep(2 * time.Minute)
		first.cache.Flush(rrcache.Selection{Name: dnsname.MustParse("a.test."), Tree: true})
		first.kill()
		second := start(file, 1)
		if second.has("a.test.") || second.has("b.a.test.") || !second.has("c.test.") {
			t.Errorf("a %v, b.a %v, c %v", second.has("a.test."), second.has("b.a.test."), second.has("c.test."))
		}
		time.Sleep(time.Second)
		second.put("a.test.") // learnt anew
		time.Sleep(2 * time.Minute)
		second.kill()
		if text, err := os.ReadFile(file + ".forgotten"); len(text) > 0 || err != nil {
			t.Errorf("noted still: %q, %v", text, err)
		}
		third := start(file, 1)
		defer third.keeper.Close()
		if !third.has("a.test.") {
			t.Error("a name that was flushed and learnt anew is lost")
		}
	})
}

// Writing takes at most half a percent of a processor, however large the cache.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(filepath.Join(t.TempDir(), "cache"), 1)
		defer p.keeper.Close()
		for i := range 20000 {
			p.put(fmt.Sprintf("n%d.test.", i))
		}
		var worked, rested time.Duration
		begun := time.Now()
		segments := 0
		p.keeper.save(func(took time.Duration) error {
			segments++
			worked += 10 * time.Millisecond // the clock of the bubble stands still meanwhile
			return p.keeper.rest(10 * time.Millisecond)
		})
		rested = time.Since(begun)
		if segments < 4 || worked*200 > rested+worked {
			t.Errorf("%d segments: worked %v in %v", segments, worked, rested)
		}
	})
}
