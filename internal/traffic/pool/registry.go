package pool

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/traffic/health"
)

// Registry is all pools of one configuration. Which pools there are never changes; their
// views follow the states, and what is discovered (SetMembers). A reload makes a new
// Registry:
//
//	next, err := pool.NewRegistry(specs, prober.Status, current) // bad: current serves on
//	prober.Set(next.Targets())                                   // targets that stay keep their state
//	next.Refresh(prober.Status)                                  // new targets may have a known state
//	swap current for next                                        // with the tables that point into it
//	next.Refresh(prober.Status)                                  // what changed in between
//
// and the prober's OnChange calls current.ApplyAll.
type Registry struct {
	// Constant after NewRegistry.
	pools  []*Pool // by name
	byName map[string]*Pool

	// mu makes views follow each other: one Apply or Refresh at a time. It is held
	// while Refresh asks for statuses, so whoever answers must not call Apply with a
	// lock that the answer needs.
	mu      sync.Mutex
	changes map[health.Target]uint64 // Status.Changes last applied
	warming map[*Pool]bool           // that have members in slow start

	// Guarded by mu; slices are replaced, not changed.
	byTarget map[health.Target][]*Pool
	targets  []health.Target // each once, in the order of the configuration

	// resolvers are the pools with members that are checked as DNS servers, by address. The
	// map is replaced, not changed.
	resolvers atomic.Pointer[map[netip.AddrPort][]*Pool]
}

// NewRegistry compiles the views of all pools. prev, if not nil, is the Registry
// it follows: pools and members that stay keep their loads and count their
// revisions on. prev itself is left as it is. The error names every bad spec's
// first fault.
func NewRegistry(specs []Spec, status func(health.Target) health.Status, prev *Registry) (*Registry, error) {
	r := &Registry{
		byName: make(map[string]*Pool, len(specs)), byTarget: make(map[health.Target][]*Pool),
		changes: make(map[health.Target]uint64), warming: make(map[*Pool]bool),
	}
	for _, spec := range specs {
		if err := spec.Validate(); err != nil {
			return nil, err
		}
		if r.byName[spec.Name] != nil {
			return nil, fmt.Errorf("pool %q is there twice: give each pool its own name", spec.Name)
		}
		p := &Pool{name: spec.Name, load: new(Load)}
		var before *View
		if old := prev.Pool(spec.Name); old != nil {
			before, p.load = old.View(), old.load
		}
		r.publish(p, Compile(spec, r.noting(status), before))
		r.add(p)
	}
	slices.SortFunc(r.pools, func(a, b *Pool) int { return cmp.Compare(a.name, b.name) })
	r.listResolvers()
	return r, nil
}

// listResolvers makes the list of members that are checked as DNS servers.
func (r *Registry) listResolvers() {
	all := map[netip.AddrPort][]*Pool{}
	for target, holders := range r.byTarget {
		if target.Check.Kind == health.DNS {
			all[target.Address] = append(all[target.Address], holders...)
		}
	}
	r.resolvers.Store(&all)
}

// DNSServer returns the pools with a member at an address that is checked as a DNS server:
// queries to it are evidence of it. It takes no lock.
func (r *Registry) DNSServer(address netip.AddrPort) []*Pool { return (*r.resolvers.Load())[address] }

// noting returns status, with what it returns noted as applied.
func (r *Registry) noting(status func(health.Target) health.Status) func(health.Target) health.Status {
	if status == nil {
		return nil
	}
	return func(t health.Target) health.Status {
		s := status(t)
		r.noted(t, &s)
		return s
	}
}

// noted notes what was applied of a target. Most have never changed: they have no entry.
func (r *Registry) noted(t health.Target, s *health.Status) {
	if s.Changes > 0 {
		r.changes[t] = s.Changes
	} else {
		delete(r.changes, t)
	}
}

func (r *Registry) add(p *Pool) {
	r.pools = append(r.pools, p)
	r.byName[p.name] = p
	for target := range targetsOf(p.View().Members) {
		holders := r.byTarget[target]
		if len(holders) == 0 {
			r.targets = append(r.targets, target)
		}
		if !slices.Contains(holders, p) {
			r.byTarget[target] = append(holders, p)
		}
	}
}

// targetsOf yields what is asked of members: of each its check, and its agent if it has one.
func targetsOf(members []Member) iter.Seq[health.Target] {
	return func(yield func(health.Target) bool) {
		for i := range members {
			m := &members[i]
			if !yield(m.Target) || m.hasAgent() && !yield(m.Agent) {
				return
			}
		}
	}
}

// Pool returns the pool of that name, or nil. It is nil-safe: no Registry has no
// pools.
func (r *Registry) Pool(name string) *Pool {
	if r == nil {
		return nil
	}
	return r.byName[name]
}

// Member returns a member of a pool, by their names, as it is now.
func (r *Registry) Member(name, member string) (Member, bool) {
	p := r.Pool(name)
	if p == nil {
		return Member{}, false
	}
	members := p.View().Members
	i := slices.IndexFunc(members, func(m Member) bool { return m.Name == member })
	if i < 0 {
		return Member{}, false
	}
	return members[i], true
}

// Pools returns all pools, by name. Not to be written to.
func (r *Registry) Pools() []*Pool { return r.pools }

// Targets returns what is to be probed, each target once however many pools hold
// it. Not to be written to.
func (r *Registry) Targets() []health.Target {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.targets
}

// Apply publishes new views of the pools that hold target, and returns them. A
// status older than one already applied changes nothing.
func (r *Registry) Apply(target health.Target, s health.Status) []*Pool {
	return r.ApplyAll(map[health.Target]health.Status{target: s})
}

// ApplyAll is Apply for many targets at once: each pool that holds some of them gets one
// new view. It returns those pools, by name, and may take entries out of now.
func (r *Registry) ApplyAll(now map[health.Target]health.Status) []*Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applyAll(now)
}

// applyAll is ApplyAll with mu held.
func (r *Registry) applyAll(now map[health.Target]health.Status) []*Pool {
	touched := make(map[*Pool]bool)
	for target, s := range now {
		if s.Changes < r.changes[target] {
			delete(now, target)
			continue
		}
		r.noted(target, &s)
		for _, p := range r.byTarget[target] {
			touched[p] = true
		}
	}
	pools := slices.SortedFunc(maps.Keys(touched), func(a, b *Pool) int { return cmp.Compare(a.name, b.name) })
	for _, p := range pools {
		r.publish(p, p.View().with(now))
	}
	return pools
}

// Refresh asks for the status of every target and applies those that are not shown so
// in the views. It returns how many.
func (r *Registry) Refresh(status func(health.Target) health.Status) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[health.Target]health.Status, len(r.targets))
	for _, target := range r.targets {
		all[target] = status(target)
	}
	stale := make(map[health.Target]health.Status)
	for _, p := range r.pools {
		members := p.View().Members
		for i := range members {
			m := &members[i]
			if s := all[m.Target]; m.known.target.isStale(&s) {
				stale[m.Target] = s
			}
			if !m.hasAgent() {
				continue
			}
			if s := all[m.Agent]; m.known.agent == nil || m.known.agent.isStale(&s) {
				stale[m.Agent] = s
			}
		}
	}
	changed := len(stale)
	r.applyAll(stale)
	return changed
}

// Learn asks for the status of some targets and applies what it is.
func (r *Registry) Learn(targets []health.Target, status func(health.Target) health.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := make(map[health.Target]health.Status, len(targets))
	for _, target := range targets {
		now[target] = status(target)
	}
	r.applyAll(now)
}

// publish makes v the view of p, with mu held or before anybody has r.
func (r *Registry) publish(p *Pool, v *View) {
	p.Publish(v)
	if v.isWarming() {
		r.warming[p] = true
	} else {
		delete(r.warming, p)
	}
}

// Warm gives members in slow start the share that they have now, and returns how
// many pools have such members. It is to be called some times a second; where nobody
// is in slow start it does nothing.
func (r *Registry) Warm(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.warming {
		if v := p.View().warmed(now); v != nil {
			r.publish(p, v)
		}
	}
	return len(r.warming)
}

// SetMembers gives a pool other members: it publishes a view of them, in which those that
// stay keep their states and loads. It returns whose targets are new, whose are no longer
// any pool's, and whether anything has changed. The spec must be valid, and of a pool that is there.
func (r *Registry) SetMembers(spec Spec, status func(health.Target) health.Status) (added, removed []health.Target, changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.byName[spec.Name]
	before := p.View()
	next := Compile(spec, r.noting(status), before)
	if isLike(before.Members, next.Members) {
		return nil, nil, false
	}
	r.publish(p, next)
	left, joined := differ(before.Members, next.Members)
	for _, target := range left {
		holders := slices.DeleteFunc(slices.Clone(r.byTarget[target]), func(other *Pool) bool { return other == p })
		if r.byTarget[target] = holders; len(holders) == 0 {
			removed = append(removed, target)
			delete(r.byTarget, target)
			delete(r.changes, target)
		}
	}
	for _, target := range joined {
		holders := r.byTarget[target]
		if len(holders) == 0 {
			added = append(added, target)
		}
		r.byTarget[target] = append(slices.Clip(holders), p)
	}
	if len(added)+len(removed) > 0 {
		r.targets = append(without(r.targets, removed), added...) // behind the end of what others have
	}
	if spec.Check.Kind == health.DNS {
		r.listResolvers()
	}
	return added, removed, true
}

// fewGone is how many targets are looked for one after the other, which takes some 0.2 ms for each in a list of
// 100,000; a set of more costs 5 ms.
const fewGone = 16

// without returns a list of targets without some of them; the list itself if there are none.
func without(list, gone []health.Target) []health.Target {
	if len(gone) > fewGone {
		set := make(map[health.Target]bool, len(gone))
		for _, t := range gone {
			set[t] = true
		}
		return slices.DeleteFunc(slices.Clone(list), func(t health.Target) bool { return set[t] })
	}
	for i, t := range gone {
		if at := slices.Index(list, t); i == 0 {
			list = slices.Concat(list[:at], list[at+1:])
		} else {
			list = slices.Delete(list, at, at+1)
		}
	}
	return list
}

// differ returns the targets of only the one, and of only the other list of members, in the order of these and each
// once.
func differ(before, next []Member) (left, joined []health.Target) {
	const had, dealt = 1, 2
	seen := make(map[health.Target]uint8, len(before))
	for target := range targetsOf(before) {
		seen[target] = had
	}
	for target := range targetsOf(next) {
		switch seen[target] {
		case 0:
			joined = append(joined, target)
			seen[target] = dealt
		case had:
			seen[target] = dealt
		}
	}
	for target := range targetsOf(before) {
		if seen[target] == had {
			left = append(left, target)
			seen[target] = dealt
		}
	}
	return left, joined
}

// isLike reports whether two lists of members are configured alike.
func isLike(a, b []Member) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].isLike(&b[i]) {
			return false
		}
	}
	return true
}

// isLike reports whether two members are configured alike.
func (m *Member) isLike(o *Member) bool {
	l := *m
	l.State, l.Since, l.Cause, l.Notes, l.Load, l.Share, l.Capacity = o.State, o.Since, o.Cause, o.Notes, o.Load, o.Share, o.Capacity
	l.known = o.known
	return l == *o
}
