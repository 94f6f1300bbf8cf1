// Package fleet makes and ends members of pools as package scale decides: it runs
// programs on this machine, or asks an HTTP server to see to it. It owns the processes,
// their ports and logs, the messages to the server, and the order of a member's end:
// first it gets nothing new, then it finishes, then it is stopped.
//
//	each second:  Look --> Reading --Scaler.Decide--> start, or take out of use
//	                          |                               |
//	              health and loads of members       Know --> pool (OnChange)
//
//	a member:  starting --up--> serving --removed--> leaving --idle--> stopping --> gone
//
// A member that is starting is in its pool, so that it is probed, but is not used before
// a probe that began after its start was good.
//
// Processes outlive a node that is killed: the next one takes them over, if they are what
// the configuration still says, and ends the others (orphans.go). A node that is stopped
// ends them.
//
// Entry points: New, Set, Start, Know, Status, Wake, Close.
//
// Concurrency: every method may be called from any goroutine. Each pool has one goroutine,
// which Set and Close end; each process one that waits for its end. OnChange is called
// from them, one call at a time.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/diskfile"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/scale"
)

// Config is what a Driver needs.
type Config struct {
	// Look returns the members of a pool as they are now, and how many requests wait.
	Look func(pool string) (members []Seen, waiting int)
	// OnChange is called when members or troubles of a pool have changed. It may call Know
	// and Status, and must not call Set or Close.
	OnChange func(pool string)
	// Folder is where logs and the record of processes are.
	Folder string
	Log    *slog.Logger
}

// Seen is a member of a pool as it is now.
type Seen struct {
	Name    string
	Address netip.AddrPort
	Status  health.Status // of its target, whether or not it is used
	Drained bool          // by an operator, its agent or the configuration
	Listed  bool          // it is named in the configuration or by a list
	Sample  scale.Sample
}

// Status is what there is to know of a pool that scales.
type Status struct {
	Driver    string           `json:"driver"`
	Rules     string           `json:"rules"`   // in words
	Trouble   string           `json:"trouble"` // why members cannot be made; empty: they can
	Members   []MemberStatus   `json:"members"`
	Decisions []scale.Decision `json:"decisions"` // the newest first
	Started   uint64           `json:"started"`   // members, since the start of the node
	Ended     uint64           `json:"ended"`     // members, as was decided
	Failed    uint64           `json:"failed"`    // members that ended by themselves or did not get up, and messages
}

// MemberStatus is a member that was made.
type MemberStatus struct {
	Name    string         `json:"name"`
	Address netip.AddrPort `json:"address"`
	Phase   string         `json:"phase"` // "starting", "serving", "leaving", "stopping"
	Since   time.Time      `json:"since"` // of the phase
	PID     int            `json:"pid,omitempty"`
	Log     string         `json:"log,omitempty"` // its file
}

// every is how often is decided: as often as probes usually are.
const every = time.Second

// Driver makes the members of all pools that scale. Make it with New.
type Driver struct {
	// Constant after New.
	c      Config
	ctx    context.Context // done when Close is called
	cancel context.CancelFunc

	running sync.WaitGroup
	telling sync.Mutex // held during a call of OnChange
	saving  sync.Mutex // held while the record is saved

	mu      sync.Mutex // guards all below; not held during a call
	groups  map[string]*group
	kept    kept // of the run before, until the groups take it over
	started bool
	lock    *os.File // of the record; nil before Start, or if another node has it
	locked  string   // why it cannot be had
}

// New returns a Driver that makes nothing before Start. Close it when done.
func New(c Config) *Driver {
	if absolute, err := filepath.Abs(c.Folder); err == nil {
		c.Folder = absolute // it marks processes, whose folder is another one
	}
	d := &Driver{c: c, groups: make(map[string]*group)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if err := diskfile.LoadJSON(d.recordFile(), &d.kept); err != nil {
		c.Log.Warn("record of running members not read; they are ended", "error", err)
	}
	d.kept.Processes = slices.DeleteFunc(d.kept.Processes, func(r record) bool { return !r.isAlive() })
	return d
}

func (d *Driver) recordFile() string { return filepath.Join(d.c.Folder, "running.json") }

// Set makes specs what scales. Groups that stay keep their members.
func (d *Driver) Set(specs []Spec) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return
	}
	old := maps.Clone(d.groups)
	for _, s := range specs {
		if g := old[s.Pool]; g != nil && g.spec.Driver() == s.Driver() {
			g.spec = s
			g.poke()
			delete(old, s.Pool)
			continue
		}
		d.groups[s.Pool] = d.newGroup(s)
	}
	for name, g := range old {
		if d.groups[name] == g {
			delete(d.groups, name)
		}
		g.cancel()
	}
	if d.started {
		d.begin()
	}
}

// Follow has the pools of a configuration scale, and no others, and returns which these
// are. It is Set and Start.
func (d *Driver) Follow(r *state.Resources) (pools []string) {
	specs := Specs(r)
	for i := range specs {
		pools = append(pools, specs[i].Pool)
	}
	d.Set(specs)
	d.Start()
	return pools
}

// Trouble says why a pool cannot get the members that it should have; empty: it can, or it
// does not scale.
func (d *Driver) Trouble(pool string) string {
	if s := d.Status(pool, 0); s != nil && s.Trouble != "" {
		return "pool " + pool + ": " + s.Trouble
	}
	return ""
}

// Start has the groups do their work, now that the node serves: it takes over processes of
// a run that was killed, and ends those that nobody wants any more.
func (d *Driver) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.started && d.ctx.Err() == nil {
		d.started = true
		d.begin()
	}
}

// begin starts the goroutines of groups that have none. mu is held.
func (d *Driver) begin() {
	if d.lock == nil && d.locked == "" && len(d.groups)+len(d.kept.Processes) > 0 {
		d.takeLock()
		if d.locked == "" {
			d.endOrphans()
		}
	}
	for _, g := range d.groups {
		if !g.begun {
			g.begun = true
			d.running.Go(g.run)
		}
	}
}

// takeLock makes sure that two nodes with one data folder do not end each other's
// processes. mu is held.
func (d *Driver) takeLock() {
	err := os.MkdirAll(d.c.Folder, 0o750)
	if err == nil {
		d.lock, err = os.OpenFile(filepath.Join(d.c.Folder, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	}
	if err == nil {
		err = syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		d.locked = "another node uses the folder " + d.c.Folder + ", so no members are made here; give each node a data folder of its own"
	case err != nil:
		d.locked = "no members can be made: " + err.Error()
	}
}

// Close ends all members and all goroutines.
func (d *Driver) Close() {
	d.cancel()
	d.running.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock != nil {
		d.lock.Close() // and with it the lock
		d.lock = nil
	}
}

// Know returns the members that were made for a pool; also, before Start, those of the
// run before: a first snapshot is compiled before anything can be done.
func (d *Driver) Know(name string) []pool.MemberSpec {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.groups[name]
	if g != nil && g.begun {
		return slices.Clone(g.known)
	}
	var specs []pool.MemberSpec
	for _, r := range d.kept.Processes {
		if r.Pool == name {
			specs = append(specs, r.spec())
		}
	}
	for _, r := range d.kept.Hooks {
		if r.Pool == name {
			specs = append(specs, r.Members...)
		}
	}
	return specs
}

// Status returns what there is to know of a pool; nil if it does not scale. It has at most
// so many decisions.
func (d *Driver) Status(name string, decisions int) *Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.groups[name]
	if g == nil {
		return nil
	}
	s := g.shown
	s.Driver, s.Rules, s.Trouble = g.spec.Driver(), g.spec.String(), cmp.Or(d.locked, s.Trouble)
	s.Members = slices.Clone(s.Members)
	s.Decisions = slices.Clone(s.Decisions[:min(decisions, len(s.Decisions))])
	return &s
}

// Wake has a pool decided about at once: requests wait for it.
func (d *Driver) Wake(name string) {
	d.mu.Lock()
	g := d.groups[name]
	d.mu.Unlock()
	if g != nil {
		g.poke()
	}
}

// tell says that something about a pool has changed.
func (d *Driver) tell(name string) {
	d.telling.Lock()
	defer d.telling.Unlock()
	if d.ctx.Err() == nil {
		d.c.OnChange(name)
	}
}

// save writes the record of all processes, before one of them is used.
func (d *Driver) save() {
	d.saving.Lock()
	defer d.saving.Unlock()
	d.mu.Lock()
	all := kept{slices.Clone(d.kept.Processes), slices.Clone(d.kept.Hooks)}
	for _, g := range d.groups {
		all.Processes = append(all.Processes, g.kept.Processes...)
		all.Hooks = append(all.Hooks, g.kept.Hooks...)
	}
	locked := d.locked
	d.mu.Unlock()
	if locked != "" {
		return // it is another node's
	}
	slices.SortFunc(all.Processes, func(a, b record) int { return cmp.Or(cmp.Compare(a.Pool, b.Pool), a.Address.Compare(b.Address)) })
	slices.SortFunc(all.Hooks, func(a, b hookRecord) int { return cmp.Compare(a.Pool, b.Pool) })
	if err := diskfile.SaveJSON(d.recordFile(), all); err != nil {
		d.c.Log.Warn("record of running members not saved; after a crash they would be ended", "error", err)
	}
}

func now() time.Time { return clock.Now() }
