package overrides

import (
	"context"
	"fmt"
	"time"

	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/traffic/override"
	"pharos/internal/traffic/pool"
)

// Run puts what begins and ends in force at its time, ends what is left on members whose
// time is over, and takes away what has no meaning any more, until ctx ends.
func (d *Driver) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var tidied time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.wake:
		}
		now := clock.Now()
		wait := d.step(now)
		every := tidyEvery
		if d.isWaiting() {
			every = retryEvery
		}
		if now.Sub(tidied) >= every || now.Before(tidied) {
			tidied = now
			d.tidy(ctx, now)
		}
		timer.Reset(min(wait, every))
	}
}

// isWaiting reports whether something waits for the store.
func (d *Driver) isWaiting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.local) > 0
}

// step does what is due at now, and returns how long nothing else will be.
func (d *Driver) step(now time.Time) time.Duration {
	set := d.current()
	for _, name := range d.follow(set, now) {
		d.c.Changed(name)
	}
	wait := tidyEvery
	for _, o := range set.All() {
		if override.Of(o, now).State != pool.Disabled {
			continue
		}
		if m, there := d.c.Member(o.Pool, o.Member); there && m.Override.State == pool.Disabled {
			d.c.CloseKept(m.Address)
			if m.Load.Active.Load() > 0 {
				d.c.Evict(m.Load)
				wait = evictAgain
			}
		}
	}
	if at, _ := set.Next(now); !at.IsZero() {
		wait = min(wait, max(at.Sub(now), 0)+time.Millisecond)
	}
	return wait
}

// follow notes what holds at now, tells of what is new as events, and returns the pools
// whose members are shown otherwise.
func (d *Driver) follow(set *override.Set, now time.Time) (pools []string) {
	holds := map[string]pool.Override{}
	for _, o := range set.All() {
		h := override.Of(o, now)
		holds[o.Key()] = h
		m, there := d.c.Member(o.Pool, o.Member)
		if there && m.Override != h && (len(pools) == 0 || pools[len(pools)-1] != o.Pool) {
			pools = append(pools, o.Pool)
		}
		d.note(o.Pool, o.Member, m, h, now)
	}
	d.mu.Lock()
	gone := map[string]pool.Override{}
	for key, before := range d.holds {
		if _, there := holds[key]; !there {
			gone[key] = before
		}
	}
	d.mu.Unlock()
	for key := range gone {
		name, member := split(key)
		m, _ := d.c.Member(name, member)
		d.note(name, member, m, pool.Override{}, now)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holds = holds
	return pools
}

// split parts a key as Override.Key joined it.
func split(key string) (name, member string) {
	for i := range key {
		if key[i] == '/' {
			return key[:i], key[i+1:]
		}
	}
	return key, ""
}

// note keeps an event if another thing holds of a member than did.
func (d *Driver) note(name, member string, m pool.Member, now pool.Override, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.holds[name+"/"+member]
	add := func(from, to, cause string) {
		if len(d.events) == maxEvents {
			d.events = append(d.events[:0], d.events[1:]...)
		}
		d.events = append(d.events, Event{at, name, member, m.Address, from, to, cause})
		d.c.Log.Info("member overridden", "pool", name, "member", member, "from", from, "to", to, "cause", cause)
	}
	if before.State != now.State {
		cause := now.Cause
		if now.State == pool.Nothing {
			cause = "no longer " + before.Cause
		}
		add(wordOf(before.State), wordOf(now.State), cause)
	}
	if before.Weight != now.Weight {
		add(weightOf(before, m), weightOf(now, m), "weight set by the operator")
	}
}

func wordOf(s pool.Said) string {
	switch s {
	case pool.Drain:
		return "draining"
	case pool.Nothing:
		return "as its health says"
	}
	return s.String()
}

// tidy takes away what is over, and what was said of members that are in no pool any more,
// and puts into the store what it could not take before.
func (d *Driver) tidy(ctx context.Context, now time.Time) {
	var said []state.Override
	d.mu.Lock()
	for _, o := range d.local {
		said = append(said, o)
	}
	d.mu.Unlock()
	there := map[string]bool{}
	for _, o := range d.All() {
		over, isOver := withoutState(o, now)
		switch {
		case d.isOrphan(o, now):
			said = append(said, state.Override{Pool: o.Pool, Member: o.Member, Said: now})
		case isOver:
			said = append(said, over)
		}
		there[o.Key()] = true
	}
	d.mu.Lock()
	for key := range d.orphans {
		if !there[key] {
			delete(d.orphans, key)
		}
	}
	d.mu.Unlock()
	if len(said) == 0 {
		return
	}
	if _, err := d.c.Commit(ctx, said); err != nil {
		if ctx.Err() == nil {
			d.c.Log.Debug("overrides not put into the store yet", "count", len(said), "error", err)
		}
		return
	}
	d.forget(said)
}

// forget takes what the store has taken from what waits for it.
func (d *Driver) forget(said []state.Override) {
	d.mu.Lock()
	count := len(d.local)
	for _, o := range said {
		if l, waits := d.local[o.Key()]; waits && !l.Said.After(o.Said) {
			delete(d.local, o.Key())
		}
	}
	changed := len(d.local) != count
	d.join()
	d.mu.Unlock()
	if changed {
		d.save()
	}
}

// withoutState returns what is left of o when the time of its state is over; false if it
// is not.
func withoutState(o state.Override, now time.Time) (state.Override, bool) {
	if o.State == "" || !override.IsOver(o, now) {
		return o, false
	}
	return state.Override{Pool: o.Pool, Member: o.Member, Weight: o.Weight, Said: now}, true
}

// isOrphan reports whether there has been no such member for OrphanAge.
func (d *Driver) isOrphan(o state.Override, now time.Time) bool {
	_, there := d.c.Member(o.Pool, o.Member)
	d.mu.Lock()
	defer d.mu.Unlock()
	since, noted := d.orphans[o.Key()]
	switch {
	case there:
		delete(d.orphans, o.Key())
		return false
	case !noted:
		d.orphans[o.Key()] = now
		return false
	}
	return now.Sub(since) >= OrphanAge
}

func weightOf(o pool.Override, m pool.Member) string {
	if o.Weight == 0 {
		return fmt.Sprintf("weight %d, as configured", m.Configured.Weight)
	}
	return fmt.Sprintf("weight %d", o.Weight)
}
