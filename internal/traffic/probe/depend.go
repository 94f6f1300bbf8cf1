package probe

import (
	"fmt"
	"slices"

	"pharos/internal/clock"
	"pharos/internal/traffic/health"
)

// Dependency is targets that are reached through others.
type Dependency struct {
	Name    string          // of what is gone through, for people
	Through []health.Target // who is lost when all of these are
	Behind  []health.Target
}

// ties is which targets depend on which.
type ties struct {
	of      map[health.Target][]*tie // by those gone through
	through map[health.Target][]*tie // by those behind
}

// tie is one Dependency.
type tie struct {
	Dependency
	cut bool // nobody of Through answers
}

// Depend makes known which targets are reached through which, instead of what was known
// before. While all that some are reached through are down, or lost themselves, nothing
// can be known of them. Targets that are not set count as not down.
func (p *Prober) Depend(on []Dependency) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tied := len(p.ties.through) > 0
	p.ties = ties{of: make(map[health.Target][]*tie), through: make(map[health.Target][]*tie)}
	for _, d := range on {
		t := &tie{Dependency: d}
		for _, key := range d.Through {
			p.ties.of[key] = append(p.ties.of[key], t)
		}
		for _, key := range d.Behind {
			p.ties.through[key] = append(p.ties.through[key], t)
		}
	}
	for key := range p.ties.of {
		p.depend(key)
	}
	if !tied {
		return
	}
	for key := range p.targets { // of nothing any more, perhaps
		if len(p.ties.through[key]) == 0 {
			p.lose(key)
		}
	}
}

// depend takes in that the state of a target may have changed that others are reached
// through. mu is held. It ends, for pools do not depend on each other in circles.
func (p *Prober) depend(key health.Target) {
	for _, t := range p.ties.of[key] {
		if cut := p.isCut(t); cut != t.cut {
			t.cut = cut
			for _, behind := range t.Behind {
				p.lose(behind)
			}
		}
	}
}

func (p *Prober) isCut(t *tie) bool {
	for _, key := range t.Through {
		target := p.targets[key]
		if target == nil {
			return false
		}
		if m := target.state.Wake(); m.State() != health.Down && !m.IsLost() {
			return false
		}
	}
	return len(t.Through) > 0
}

// lose tells a target whether what it is reached through is there.
func (p *Prober) lose(key health.Target) {
	t, cause := p.targets[key], ""
	if t == nil {
		return
	}
	for _, through := range p.ties.through[key] {
		if through.cut && !slices.Contains(through.Through, key) { // nobody is reached through itself
			cause = fmt.Sprintf("nothing can be known: pool %s, which it is reached through, is down", through.Name)
			break
		}
	}
	now := clock.Now()
	p.with(t, func(m *health.Machine) (health.Transition, bool) { return m.Lose(now, cause) })
	p.replan(t, now)
}
