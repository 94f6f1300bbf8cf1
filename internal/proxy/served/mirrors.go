package served

import (
	"slices"

	"pharos/internal/proxy/mirror"
	"pharos/internal/proxy/route"
	"pharos/internal/traffic/pool"
)

// Mirroring is the copies of one route.
type Mirroring struct {
	mirror.Spec
	*mirror.Counts
	Route string     // its title
	To    *pool.Pool // where copies go
	Index int        // of To
}

// Mirrors has the requests of routes copied, by the numbers of the rules that t was compiled
// of; nil: those of a route are not. It is to be called before t is used. prev, if not nil, is
// the table that t follows.
func (t *Table) Mirrors(by []*mirror.Spec, prev *Table) {
	if by == nil {
		return
	}
	kept := map[string]*mirror.Counts{}
	if prev != nil {
		for _, m := range prev.mirrors {
			if m != nil {
				kept[m.Route] = m.Counts
			}
		}
	}
	t.mirrors = make([]*Mirroring, len(by))
	for r := range t.routes.All() {
		t.mirrors[r.Number] = t.mirroringOf(r, by[r.Number], kept[r.Title()])
	}
}

// mirroringOf returns the copies of a route, which have been counted already if counts is not nil.
func (t *Table) mirroringOf(r *route.Route, spec *mirror.Spec, counts *mirror.Counts) *Mirroring {
	if spec == nil {
		return nil
	}
	at := slices.IndexFunc(t.pools, func(p *pool.Pool) bool { return p.Name() == spec.Pool })
	if at < 0 {
		return nil // what refers to it has been refused (package state)
	}
	if counts == nil {
		counts = new(mirror.Counts)
	}
	return &Mirroring{Spec: *spec, Counts: counts, Route: r.Title(), To: t.pools[at], Index: at}
}

// ReadMirrors returns what became of the copies of all routes, but not of more than most.
func (t *Table) ReadMirrors(most int) (all []mirror.Reading) {
	if t == nil {
		return nil
	}
	for _, m := range t.mirrors {
		if m != nil && len(all) < most {
			all = append(all, m.Read(m.Route, m.Pool))
		}
	}
	return all
}

// Mirror returns how requests of a route are copied; nil: they are not.
func (t *Table) Mirror(r *route.Route) *mirror.Spec {
	if m := t.MirrorOf(r); m != nil {
		return &m.Spec
	}
	return nil
}

// MirrorOf returns the copies of a route; nil: it has none.
func (t *Table) MirrorOf(r *route.Route) *Mirroring {
	if t == nil || t.mirrors == nil {
		return nil
	}
	return t.mirrors[r.Number]
}
