// Package probe asks targets how they are. It owns the probes: when each begins,
// the connections they make, what their outcome is called, and the machines that
// turn outcomes and passive results into states. What a state follows from is
// decided in package health; what follows from a state is decided by whoever is
// told (OnChange).
//
//	Set(targets) --> timing wheel --> probe --> health.Machine --+--> OnChange
//	                                               ^             |     (one goroutine, in order)
//	gateway -- Report(target, passive result) -----+             +--> Status, Snapshot, History
//
// Entry points: New, Set, Report, Status, Snapshot and Restore, Close.
//
// How the node joins it to pools:
//
//	prober := probe.New(probe.Config{OnChange: func(changes []probe.Change) {
//		registry.Load().Apply(...) // publishes new views of the pools that hold the targets
//	}})
//	prober.Restore(lastKnown) // before the first Set
//
// and pool.Registry says how a reload goes.
//
// Concurrency: every method may be called from any goroutine. There is one
// goroutine that waits for due times and makes the connections of TCP checks, one that
// waits for those that take their time, one that calls OnChange, and one for each
// other probe under way; of probes there are at most Config.Concurrency. Close ends
// them all.
package probe

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/wheel"
)

// Config is what a Prober needs. The zero value works.
type Config struct {
	// Dial makes the connections of probes; nil: a net.Dialer. It must return when
	// ctx is done.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// OnChange is called with what has changed since the last call, in order, from one
	// goroutine. It must not wait for long, for changes queue up behind it, and must not
	// call Close. When many targets change at once it is called with many, so that
	// whoever draws conclusions does so once.
	OnChange func([]Change)
	// Concurrency bounds the probes under way; 0: DefaultConcurrency. Past it a probe
	// that is due waits for one to end (Counters.Behind shows how long).
	Concurrency int
	// Rand spreads the probes; nil: seeded by chance.
	Rand *rand.Rand
}

// DefaultConcurrency is room for 2,000 silent targets at an interval of one second
// and the default timeout of half of it, and leaves most of the usual 4,096 or more
// file descriptors to the traffic.
const DefaultConcurrency = 1024

// firstSpread parts the first probes of new targets from each other, up to their
// interval: ten thousand begin within one second, three at once.
const firstSpread = 100 * time.Microsecond

// jitterPart is the part of a waiting time by which it is at most shortened, so that
// targets set at one moment do not stay in step. It is never lengthened: that would
// break the promise of health.Params.DetectWithin.
const jitterPart = 10

// crowdJitterPart is the same in a crowd, which lies apart already: with a tenth there are 5 % more probes than
// intervals ask for, with this 1 %.
const crowdJitterPart = 40

// Prober probes targets and holds their states. Make it with New.
type Prober struct {
	// Constant after New.
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	onChange  func([]Change)
	limit     int
	ctx       context.Context // done when Close is called
	cancel    context.CancelFunc
	wake      chan struct{} // to run: the schedule changed; never closed
	told      chan struct{} // to tell: there are events; never closed
	connector *connector    // nil: package net makes all connections

	running sync.WaitGroup // run, tell and the probes

	counters counters // atomic

	// Guarded by mu, which is never held during a call of OnChange or Dial.
	mu       sync.Mutex
	rand     *rand.Rand
	targets  map[health.Target]*target
	listed   []health.Target // of the last Set; Invariant: those of targets, each as often as its listed
	wheel    *wheel.Wheel[*target]
	waiting  []*target // due, but for the limit; oldest first
	inFlight int       // Invariant: <= limit
	waking   time.Time // when run looks again by itself
	looked   time.Time // when run looked last
	changes  []Change  // to be told
	ties     ties
	history  health.History
	restored map[health.Target]health.Status // until the first Set

	// Owned by run: memory that it uses again.
	ready []*wheel.Item[*target]
	quick []connecting
}

// target is one thing to probe.
type target struct {
	// Constant, made from key.
	key      health.Target
	address  string      // where probes go
	match    *matcher    // of the content of a response; nil: it is not read
	question *question   // of a DNS check
	tls      *handshaker // nil: in clear text
	broken   error       // why the check cannot be made

	// Guarded by Prober.mu.
	state  health.Resting      // of its machine; see with
	item   wheel.Item[*target] // when it is asked next; while connector connects: when that takes too long
	asked  bool                // a probe is under way
	gone   bool                // no longer set: a probe under way is not listened to
	listed int                 // how often it is in the list

	began  time.Time // of a connection that connector makes
	socket int       // of it; guarded by connector.mu
}

// terms and params are those of the check, which are kept once for all targets that have it.
func (t *target) terms() health.Terms { return t.key.Check.Terms.Get() }

func (t *target) params() health.Params { return t.key.Check.Params.Normal() }

// Change is a change of what is known of a target.
type Change struct {
	Target     health.Target
	Transition health.Transition // zero: only the Notes of the Status have changed
	Status     health.Status     // right after it
}

// New returns a Prober without targets. Close it when done.
func New(cfg Config) *Prober {
	p := newStopped(cfg)
	if cfg.Dial == nil {
		p.dial = (&net.Dialer{KeepAlive: -1}).DialContext
		p.connector = newConnector(p.waited)
	}
	if p.connector != nil {
		p.running.Go(p.connector.poll)
	}
	p.running.Go(p.run)
	p.running.Go(p.tell)
	return p
}

// newStopped returns a Prober that does nothing by itself.
func newStopped(cfg Config) *Prober {
	p := &Prober{
		dial: cfg.Dial, onChange: cfg.OnChange, limit: cmp.Or(cfg.Concurrency, DefaultConcurrency),
		wake: make(chan struct{}, 1), told: make(chan struct{}, 1),
		rand: cfg.Rand, targets: make(map[health.Target]*target),
		wheel: wheel.New[*target](clock.Now()),
	}
	if p.rand == nil {
		p.rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close stops all probes and waits until no goroutine of p is left. Changes not yet
// told are not told any more. The states can still be read.
func (p *Prober) Close() {
	p.cancel()
	if p.connector != nil {
		p.connector.close()
	}
	p.running.Wait()
}

// Set makes targets what is probed. Those that were there keep their state, and so
// do those that are only asked at other times now. New ones are probed at once, a
// little apart. Those no longer in it are forgotten. It keeps the slice, which is not to be written to: of a
// long list, what is as it was before and behind what has changed is compared alone.
func (p *Prober) Set(targets []health.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := clock.Now()
	gone, come := difference(p.listed, targets)
	p.listed = targets
	var fresh []*target
	for _, key := range come {
		t := p.targets[key]
		if t == nil {
			t = newTarget(key)
			p.targets[key] = t
			fresh = append(fresh, t)
		}
		t.listed++
	}
	known := p.forget(gone)
	for _, t := range fresh {
		m := p.firstMachine(t.key, known, now)
		spread := min(t.params().Interval, time.Duration(len(fresh))*firstSpread)
		m.Postpone(now.Add(time.Duration(p.rand.Int64N(int64(spread)))))
		t.state = m.Rest(nil)
		p.plan(t, now)
	}
	p.restored = nil
	signal(p.wake)
}

// difference returns what two lists have between the part with which both begin and the one with which both
// end.
func difference(before, after []health.Target) (gone, come []health.Target) {
	if len(before) > 0 && len(after) > 0 && &before[0] == &after[0] { // one list, that got longer or shorter
		both := min(len(before), len(after))
		return before[both:], after[both:]
	}
	for len(before) > 0 && len(after) > 0 && before[0] == after[0] {
		before, after = before[1:], after[1:]
	}
	for len(before) > 0 && len(after) > 0 && before[len(before)-1] == after[len(after)-1] {
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	return before, after
}

// forget takes keys from the list, drops the targets that are no longer in it, and returns them by the question
// they ask.
func (p *Prober) forget(keys []health.Target) map[health.Target]*target {
	byQuestion := make(map[health.Target]*target)
	for _, key := range keys {
		t := p.targets[key]
		if t.listed--; t.listed > 0 {
			continue
		}
		delete(p.targets, key)
		t.gone = true
		if !t.asked {
			p.wheel.Remove(&t.item)
		}
		byQuestion[key.Question()] = t
	}
	return byQuestion
}

// firstMachine returns the machine of a new target: with the state of the one it
// takes the place of, or the restored one, or none.
func (p *Prober) firstMachine(key health.Target, known map[health.Target]*target, now time.Time) health.Machine {
	if t := known[key.Question()]; t != nil {
		m := t.state.Wake()
		return m.Retimed(key.Check, now)
	}
	if s, ok := p.restored[key]; ok {
		return health.Restore(key.Check, s, now)
	}
	return health.New(key.Check, now)
}

// Report takes in a result of real traffic. It sets Passive itself, and At if it is
// zero; results for targets that are not set are ignored.
func (p *Prober) Report(key health.Target, r health.Result) {
	r.Passive = true
	p.counters.passive.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.targets[key]; t != nil {
		now := clock.Now()
		if r.At.IsZero() {
			r.At = now
		}
		p.observe(t, now, r)
		p.replan(t, now)
	}
}

// Drain takes a target out of use, or gives it back, in every pool that holds it.
// It reports whether the target is set.
func (p *Prober) Drain(key health.Target, on bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[key]
	if t == nil {
		return false
	}
	p.with(t, func(m *health.Machine) (health.Transition, bool) { return m.Drain(clock.Now(), on) })
	return true
}

// Grade takes in how a target does beside its peers; one that is not set is ignored.
func (p *Prober) Grade(key health.Target, g health.Grade) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.targets[key]; t != nil {
		p.with(t, func(m *health.Machine) (health.Transition, bool) { return m.Grade(clock.Now(), g) })
	}
}

// Eject takes a target out for a time, of which traffic has shown that it fails too often.
func (p *Prober) Eject(key health.Target, cause string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.targets[key]; t != nil {
		now := clock.Now()
		p.with(t, func(m *health.Machine) (health.Transition, bool) { return m.Eject(now, cause) })
		p.replan(t, now)
	}
}

// with has the machine of t take in evidence. What has changed by it, if something has, is noted and
// queued to be told.
func (p *Prober) with(t *target, do func(m *health.Machine) (health.Transition, bool)) {
	m := t.state.Wake()
	before := m.Notes()
	change, changed := do(&m)
	t.state = m.Rest(&t.state)
	if !changed && m.Notes() == before {
		return
	}
	if changed {
		p.counters.transitions.Add(1)
		p.history.Add(health.Event{Target: t.key, Transition: change})
	} else {
		change = health.Transition{}
	}
	p.changes = append(p.changes, Change{t.key, change, m.Status()})
	signal(p.told)
	if changed {
		p.depend(t.key)
	}
}

// observe gives evidence to the machine of t.
func (p *Prober) observe(t *target, now time.Time, r health.Result) {
	p.with(t, func(m *health.Machine) (health.Transition, bool) { return m.Observe(now, r) })
}

// tell calls OnChange until p is closed.
func (p *Prober) tell() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.told:
		}
		p.mu.Lock()
		changes := p.changes
		p.changes = nil
		p.mu.Unlock()
		if p.onChange != nil && len(changes) > 0 && p.ctx.Err() == nil {
			p.onChange(changes)
		}
	}
}

// History returns the last transitions that match, at most limit of them, the newest
// first.
func (p *Prober) History(limit int, matches func(health.Event) bool) []health.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.history.Last(limit, matches)
}

// Status returns the status of a target. One that is not set is Unknown.
func (p *Prober) Status(key health.Target) health.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.targets[key]; t != nil {
		return t.state.Status()
	}
	return health.Status{Cause: "not probed yet"}
}

// Known is a target with its status.
type Known struct {
	Target health.Target `json:"target"`
	Status health.Status `json:"status"`
}

// Snapshot returns the status of every target, by address: to be shown, and to be
// kept for Restore.
func (p *Prober) Snapshot() []Known {
	p.mu.Lock()
	known := make([]Known, 0, len(p.targets))
	for key, t := range p.targets {
		known = append(known, Known{key, t.state.Status()})
	}
	p.mu.Unlock()
	slices.SortFunc(known, func(a, b Known) int {
		return cmp.Or(a.Target.Address.Compare(b.Target.Address), strings.Compare(a.Target.Check.String(), b.Target.Check.String()))
	})
	return known
}

// Restore gives the next Set states to begin with, mostly those of the last run:
// a restart then changes no answer until probes say otherwise.
func (p *Prober) Restore(known []Known) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restored = make(map[health.Target]health.Status, len(known))
	for _, k := range known {
		p.restored[k.Target] = k.Status
	}
}

// signal makes sure the other side of ch looks, without waiting for it.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
