package l4proxy

import (
	"sync/atomic"

	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/pool"
)

// memory is who was carried where, of one pool. It outlives reloads, and is one for all
// streams that lead to the pool.
type memory struct {
	spec atomic.Pointer[affinity.Spec]
	at   atomic.Pointer[affinity.Affinity] // nil: nobody is remembered
}

// remember makes what a pool remembers of clients go by t. Proxy.mu is held.
func (p *Proxy) remember(t *Target) {
	name := t.Pool.Name()
	m := p.known[name]
	if m == nil {
		m = new(memory)
		p.known[name] = m
	}
	t.memory = m
	if old := m.spec.Load(); old != nil && sameSpec(old, &t.Affinity) {
		return
	}
	spec := t.Affinity
	m.spec.Store(&spec)
	m.at.Store(nil)
}

// sameSpec compares what counts for addresses.
func sameSpec(a, b *affinity.Spec) bool {
	return a.Kind == b.Kind && a.Key == b.Key && a.TTL == b.TTL && a.Drain == b.Drain && a.Most == b.Most
}

// keepMemories forgets pools that no stream leads to. Proxy.mu is held.
func (p *Proxy) keepMemories() {
	led := map[string]bool{}
	for _, r := range p.streams {
		for _, t := range r.stream.Load().Pools {
			led[t.Pool.Name()] = true
		}
	}
	for name := range p.known {
		if !led[name] {
			delete(p.known, name)
		}
	}
}

// of returns the affinity for the members of a view, which come and go; nil: there is none.
// Two that make it anew at once make the same; what is remembered they share.
func (m *memory) of(v *pool.View) *affinity.Affinity {
	if m == nil {
		return nil
	}
	a, spec := m.at.Load(), m.spec.Load()
	if spec.Kind != affinity.Key {
		return nil
	}
	if a == nil || !a.Fits(v) {
		a = affinity.For(v, *spec, a)
		m.at.Store(a)
	}
	return a
}
