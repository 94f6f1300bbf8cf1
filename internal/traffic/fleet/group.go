package fleet

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/scale"
)

// phase is how far a member has come.
type phase uint8

const (
	starting phase = iota // not up yet
	serving
	leaving  // takes nothing new, finishes what it has
	stopping // is told to end
)

var phaseNames = [...]string{"starting", "serving", "leaving", "stopping"}

func (p phase) String() string { return phaseNames[p] }

// member is one that was made, or that is taken out of use.
type member struct {
	name    string
	spec    pool.MemberSpec
	phase   phase
	since   time.Time // of the phase
	started time.Time
	ready   time.Time // when it was up first; zero: it has not been
	cause   string    // why it leaves
	process *process  // nil: it is not ours to stop
}

// enter moves m to a phase.
func (m *member) enter(p phase, now time.Time) { m.phase, m.since = p, now }

// why says why m is not used; empty: it is.
func (m *member) why() string {
	switch m.phase {
	case starting:
		return "it is starting: no probe has been good yet"
	case leaving:
		return "it is removed, and finishes what it has: " + m.cause
	case stopping:
		return "it is removed, and stops: " + m.cause
	}
	return ""
}

// maker makes members and ends them. Its methods are called by the group's goroutine.
type maker interface {
	// follow takes over what is configured now.
	follow(spec *Spec)
	// grow makes n more members.
	grow(g *group, n int, now time.Time)
	// stop ends a member that has finished.
	stop(g *group, m *member, now time.Time)
	// look takes in who is there, before a decision; step does what is due after it.
	look(g *group, seen []Seen, now time.Time)
	step(g *group, d *scale.Decision, seen []Seen, now time.Time)
	// promised returns how many members have been asked for and are not there yet.
	promised(g *group) int
	// trouble says what is the matter; blocks: no members can be made now.
	trouble(now time.Time) (text string, blocks bool)
	// record returns what is to be remembered of the maker itself; nil: nothing.
	record(g *group) *hookRecord
	// close ends all members.
	close(g *group)
}

// group is a pool that scales.
type group struct {
	// Constant after newGroup.
	d      *Driver
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}        // has room for one
	events chan func(time.Time) // what others bring about; run by the goroutine

	// Guarded by Driver.mu.
	spec  Spec
	begun bool
	known []pool.MemberSpec
	kept  kept
	shown Status

	// Owned by the goroutine.
	now     Spec // that is followed
	scaler  *scale.Scaler
	meter   *scale.Meter
	maker   maker
	members []*member
	dirty   bool // members have changed since they were told
	counts  struct{ started, ended, failed uint64 }
	closing bool
}

// newGroup returns a group without members. Driver.mu is held.
func (d *Driver) newGroup(s Spec) *group {
	g := &group{d: d, name: s.Pool, spec: s, wake: make(chan struct{}, 1), events: make(chan func(time.Time))}
	g.ctx, g.cancel = context.WithCancel(d.ctx)
	return g
}

// poke has g look again at once.
func (g *group) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// post has a function run by g's goroutine; what is posted to a group that has ended is
// dropped.
func (g *group) post(done <-chan struct{}, f func(now time.Time)) {
	select {
	case g.events <- f:
	case <-done:
	}
}

// run decides until g is cancelled, and then ends the members.
func (g *group) run() {
	g.begin()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for g.ctx.Err() == nil {
		g.step(now())
		select {
		case <-g.ctx.Done():
		case <-tick.C:
		case <-g.wake:
		case f := <-g.events:
			f(now())
		}
	}
	g.closing = true
	g.maker.close(g)
	g.publish(now())
	g.d.save()
}

// begin takes over the members of the run before.
func (g *group) begin() {
	g.d.mu.Lock()
	g.now = g.spec
	mine := g.d.kept.take(g.name)
	g.d.mu.Unlock()
	g.scaler, g.meter = scale.New(g.now.Rules), scale.NewMeter(g.now.Measure)
	if g.now.Process != nil {
		g.maker = newProcesses(g, mine.Processes)
	} else if len(mine.Hooks) > 0 {
		g.maker = newHook(g, &mine.Hooks[0], now())
	} else {
		g.maker = newHook(g, nil, now())
	}
	g.maker.follow(&g.now)
}

// follow takes over another configuration.
func (g *group) follow() {
	g.d.mu.Lock()
	next := g.spec
	g.d.mu.Unlock()
	if reflect.DeepEqual(next, g.now) {
		return
	}
	if !reflect.DeepEqual(next.Rules, g.now.Rules) {
		g.scaler.Follow(next.Rules)
	}
	if next.Measure != g.now.Measure {
		g.meter = scale.NewMeter(next.Measure)
	}
	g.now = next
	g.maker.follow(&g.now)
}

// step looks, decides, and does what was decided.
func (g *group) step(now time.Time) {
	g.follow()
	seen, waiting := g.d.c.Look(g.name)
	g.advance(seen, now)
	g.maker.look(g, seen, now)
	r := g.reading(seen, waiting, now)
	d := g.scaler.Decide(&r)
	g.carryOut(&d, seen, now)
	g.maker.step(g, &d, seen, now)
	g.publish(now)
}

// find returns the member at an address, or nil.
func (g *group) find(a netip.AddrPort) *member {
	for _, m := range g.members {
		if m.spec.Address == a {
			return m
		}
	}
	return nil
}

// advance moves members on by what is seen of them.
func (g *group) advance(seen []Seen, now time.Time) {
	for _, m := range slices.Clone(g.members) {
		i := slices.IndexFunc(seen, func(s Seen) bool { return s.Address == m.spec.Address })
		switch m.phase {
		case starting:
			// A good probe that began before the start is of another one at that address.
			if i >= 0 && seen[i].Status.LastOK && seen[i].Status.LastProbe.Add(-seen[i].Status.LastLatency).After(m.started) && seen[i].Status.State != health.Down {
				m.ready = now
				m.enter(serving, now)
				g.dirty = true
				g.d.c.Log.Info("member serves", "pool", g.name, "member", m.name, "after", now.Sub(m.started).Round(time.Millisecond))
			}
		case leaving:
			age := now.Sub(m.since)
			idle := i < 0 || seen[i].Sample.Active == 0
			if age >= g.now.Linger && (idle || age >= g.now.Drain) {
				g.d.c.Log.Info("member stops", "pool", g.name, "member", m.name, "cause", m.cause, "drained_in", age.Round(time.Millisecond), "idle", idle)
				m.enter(stopping, now)
				g.maker.stop(g, m, now)
			}
		}
	}
}

// reading returns what is decided from. A member that is leaving or stopping is counted
// by its phase, others by their states.
func (g *group) reading(seen []Seen, waiting int, now time.Time) scale.Reading {
	r := scale.Reading{At: now, Waiting: waiting, Broken: g.d.lockedText()}
	if text, blocks := g.maker.trouble(now); blocks {
		r.Broken = cmp.Or(r.Broken, text)
	}
	samples := make([]scale.Sample, 0, len(seen))
	there := make(map[netip.AddrPort]bool, len(seen))
	for _, s := range seen {
		m := g.find(s.Address)
		sample := s.Sample
		sample.Name = s.Name
		there[s.Address] = true
		sm := scale.Member{Name: s.Name, State: s.Status.State, Since: s.Status.Since, Fixed: m == nil && g.now.Process != nil}
		if s.Drained {
			sm.State = health.Draining
		}
		if m != nil {
			if m.phase == stopping {
				samples = append(samples, sample)
				continue
			}
			if m.phase == starting || m.phase == leaving {
				sm.State = s.Status.State
			}
			sm.Starting, sm.Leaving, sm.Ready = m.phase == starting, m.phase == leaving, m.ready
		}
		warm := sm.Ready.IsZero() || now.Sub(sm.Ready) >= g.now.Rules.WarmUp
		sample.Counts = warm && !sm.Starting && !sm.Leaving && sm.State.IsServing()
		samples = append(samples, sample)
		r.Members = append(r.Members, sm)
	}
	for _, m := range g.members { // that the pool does not show yet
		if !there[m.spec.Address] && m.phase < leaving {
			r.Members = append(r.Members, scale.Member{Name: m.name, Starting: true})
		}
	}
	for i := range g.maker.promised(g) {
		r.Members = append(r.Members, scale.Member{Name: fmt.Sprintf("asked for %d", i+1), Starting: true})
	}
	g.meter.Add(now, samples)
	r.Values = g.meter.Values()
	return r
}

// carryOut does what was decided.
func (g *group) carryOut(d *scale.Decision, seen []Seen, now time.Time) {
	if !d.IsChange() {
		return
	}
	g.d.c.Log.Info("pool scales", "pool", g.name, "from", d.Have, "to", d.Want, "rule", d.Rule, "why", d.Why, "members", d.Counts.String())
	for _, name := range d.Keep {
		for _, m := range g.members {
			if m.name == name && m.phase == leaving {
				m.enter(serving, now)
				g.dirty = true
			}
		}
	}
	for _, name := range d.Remove {
		g.retire(name, seen, fmt.Sprintf("%s: %s", d.Rule, d.Why), now)
	}
	if d.Start > 0 {
		g.maker.grow(g, d.Start, now)
	}
}

// retire takes a member out of use.
func (g *group) retire(name string, seen []Seen, cause string, now time.Time) {
	i := slices.IndexFunc(g.members, func(m *member) bool { return m.name == name })
	if i < 0 { // somebody else's: it is remembered until it is gone
		s := slices.IndexFunc(seen, func(s Seen) bool { return s.Name == name })
		if s < 0 {
			return
		}
		g.members = append(g.members, &member{name: name, spec: pool.MemberSpec{Name: name, Address: seen[s].Address}})
		i = len(g.members) - 1
	}
	g.members[i].cause = cause
	g.members[i].enter(leaving, now)
	g.counts.ended++
	g.dirty = true
}

// drop forgets a member.
func (g *group) drop(m *member) {
	g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == m })
	g.dirty = true
}

// publish shows the members to others, and tells of changes.
func (g *group) publish(now time.Time) {
	known := make([]pool.MemberSpec, 0, len(g.members))
	var keep kept
	shown := Status{Started: g.counts.started, Ended: g.counts.ended, Failed: g.counts.failed, Decisions: g.scaler.Log(shownDecisions)}
	shown.Trouble, _ = g.maker.trouble(now)
	if r := g.maker.record(g); r != nil {
		keep.Hooks = append(keep.Hooks, *r)
	}
	for _, m := range g.members {
		spec := m.spec
		spec.Drain = spec.Drain || m.phase != serving
		spec.Why = m.why()
		known = append(known, spec)
		status := MemberStatus{Name: m.name, Address: m.spec.Address, Phase: m.phase.String(), Since: m.since}
		if m.process != nil {
			keep.Processes = append(keep.Processes, m.record(g.name))
			status.PID, status.Log = m.process.pid, m.process.log
		}
		shown.Members = append(shown.Members, status)
	}
	g.d.mu.Lock()
	trouble := shown.Trouble != g.shown.Trouble
	saved := !keep.equal(&g.kept)
	changed := g.dirty || !slices.Equal(known, g.known)
	g.known, g.kept, g.shown = known, keep, shown
	g.d.mu.Unlock()
	g.dirty = false
	if saved {
		g.d.save()
	}
	if changed || trouble {
		g.d.tell(g.name)
	}
}

// shownDecisions is how many decisions are copied for those who ask: the last are what
// they ask for.
const shownDecisions = 50

func (d *Driver) lockedText() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.locked
}
