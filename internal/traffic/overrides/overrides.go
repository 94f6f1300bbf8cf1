// Package overrides carries what operators say of members at run time: into the store or,
// while that cannot take it, into a file of this node; into the pools at the times when it
// begins and ends; and to the gateway when the time of connections is over. What holds when
// is package override's to decide.
//
//	Say --> store, or file --> Take --> Changed: pools are made anew with Apply
//	                            ^  wait: until the next of From, Until, Deadline
//	                            +-- disabled: Evict until nobody is there
//
// What the store could not take is in force on this node at once, and is put into the store
// when that is back. What was said of a member that is in no pool is forgotten after
// OrphanAge: a member that was discovered may come back until then.
//
// Entry points: New, Driver.Run, Take, Apply, Say, Progress, Events.
//
// Concurrency: every method may be called from any goroutine. Run is called once and ends
// with its context. The functions of Config are called without a lock held.
package overrides

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/diskfile"
	"pharos/internal/traffic/override"
	"pharos/internal/traffic/pool"
)

// Times of a Driver.
const (
	// OrphanAge is for how long at least something is kept of a member that is in no pool:
	// a server that is replaced over night is back by then.
	OrphanAge = 24 * time.Hour

	evictAgain = 200 * time.Millisecond // after which a member that still has connections is looked at again
	tidyEvery  = time.Minute            // how often what is over is taken away
	retryEvery = time.Second            // how often what waits for the store is put there again
)

// Limits of a Driver.
const (
	maxLocal  = 10_000 // that wait for the store; arbitrary
	maxEvents = 1_000  // kept for history; arbitrary
)

// Config is what a Driver needs.
type Config struct {
	// Commit puts overrides into the store; one that says nothing is deleted there. It
	// returns when this node goes by them. retry: the store cannot take them now.
	Commit func(ctx context.Context, said []state.Override) (retry bool, err error)
	// Changed makes a pool anew, with Apply.
	Changed func(pool string)
	// Member returns a member as it is in the present view.
	Member func(pool, member string) (pool.Member, bool)
	// Evict ends what is under way on a member; CloseKept closes what is kept open to it.
	Evict     func(*pool.MemberLoad) int
	CloseKept func(netip.AddrPort)
	// TTL is for how long answers of DNS may be kept that name members of a pool.
	TTL func(pool string) time.Duration
	// Keep is the file for what the store could not take; empty: it is not kept.
	Keep string
	Log  *slog.Logger
}

// Event is a change that somebody has made.
type Event struct {
	At       time.Time
	Pool     string
	Member   string
	Address  netip.AddrPort
	From, To string
	Cause    string
}

// Driver holds what operators have said. Make it with New.
type Driver struct {
	c    Config
	wake chan struct{} // has one: something has changed for Run; never closed

	mu      sync.Mutex // guards all below
	stored  []state.Override
	local   map[string]state.Override // later than what the store has
	set     *override.Set
	holds   map[string]pool.Override // what was last put in force, by key
	orphans map[string]time.Time     // since when there is no such member
	events  []Event                  // the newest last
}

// New returns a Driver that knows what its file has.
func New(c Config) *Driver {
	d := &Driver{c: c, wake: make(chan struct{}, 1), local: map[string]state.Override{}, set: override.NewSet(), holds: map[string]pool.Override{}, orphans: map[string]time.Time{}}
	if c.Keep == "" {
		return d
	}
	var kept []state.Override
	if err := diskfile.LoadJSON(c.Keep, &kept); err != nil {
		c.Log.Warn("overrides that the store could not take were not read; they are not in force", "error", err)
	}
	for _, o := range kept[:min(len(kept), maxLocal)] {
		if err := state.CheckOverride(&o); err != nil && override.IsSaid(o) {
			c.Log.Warn("an override that the store could not take is not used", "about", o.Key(), "error", err)
			continue
		}
		d.local[o.Key()] = o
	}
	d.join()
	return d
}

// Take takes over what the store has. It is called before the pools are made that go by it.
func (d *Driver) Take(stored []state.Override) {
	d.mu.Lock()
	d.stored = stored
	changed := false
	for _, o := range stored {
		if l, waits := d.local[o.Key()]; waits && !l.Said.After(o.Said) {
			delete(d.local, o.Key())
			changed = true
		}
	}
	d.join()
	d.mu.Unlock()
	if changed {
		d.save()
	}
	d.poke()
}

// join makes the set of what is in the store and what waits for it. mu is held, or nobody
// else has d.
func (d *Driver) join() {
	waiting := make([]state.Override, 0, len(d.local))
	for _, o := range d.local {
		waiting = append(waiting, o)
	}
	d.set = override.NewSet(d.stored, waiting)
}

func (d *Driver) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// current returns the set in force.
func (d *Driver) current() *override.Set {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.set
}

// Apply returns spec with what holds now of its members.
func (d *Driver) Apply(spec pool.Spec) pool.Spec { return d.current().Apply(spec, clock.Now()) }

// Find returns what was said of a member, and whether that still waits for the store.
func (d *Driver) Find(pool, member string) (o state.Override, waits, there bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, there = d.set.Find(pool, member)
	_, waits = d.local[o.Key()]
	return o, waits && there, there
}

// All returns everything that was said, by pool and member.
func (d *Driver) All() []state.Override { return d.current().All() }

// Say takes what an operator says of members: all of it, or nothing. One that says nothing
// takes back. It returns when this node goes by it; local: the store cannot take it now, so
// that this node alone does until it can.
func (d *Driver) Say(ctx context.Context, said []state.Override) (local bool, err error) {
	retry, err := d.c.Commit(ctx, said)
	if err == nil || !retry {
		return false, err
	}
	d.mu.Lock()
	touched := map[string]bool{}
	for _, o := range said {
		if len(d.local) >= maxLocal {
			d.mu.Unlock()
			return false, err
		}
		d.local[o.Key()] = o
		touched[o.Pool] = true
	}
	d.join()
	d.mu.Unlock()
	d.save()
	for name := range touched {
		d.c.Changed(name)
	}
	d.poke()
	return true, nil
}

// save writes what waits for the store.
func (d *Driver) save() {
	if d.c.Keep == "" {
		return
	}
	d.mu.Lock()
	waiting := []state.Override{}
	for _, o := range d.local {
		waiting = append(waiting, o)
	}
	d.mu.Unlock()
	slices.SortFunc(waiting, func(a, b state.Override) int { return a.Said.Compare(b.Said) })
	if err := diskfile.SaveJSON(d.c.Keep, waiting); err != nil {
		d.c.Log.Warn("overrides not saved; after a start they would not be in force", "error", err)
	}
}

// Progress returns how far a member is on its way out.
func (d *Driver) Progress(name, member string) override.Progress {
	o, _, _ := d.Find(name, member)
	connections := int64(0)
	if m, there := d.c.Member(name, member); there {
		connections = m.Load.Active.Load()
	}
	return override.ProgressOf(o, clock.Now(), d.c.TTL(name), connections)
}

// Events returns the last changes that match, the newest first, at most limit of them.
func (d *Driver) Events(limit int, matches func(Event) bool) (last []Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range slices.Backward(d.events) {
		if len(last) < limit && matches(e) {
			last = append(last, e)
		}
	}
	return last
}
