package node

import (
	"pharos/internal/authority/emptyzone"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// special returns the zone of special-use names that answers q, nil if none does. A
// route of the resolver knows better.
func (s *Snapshot) special(q *dnswire.Query) *zone.Zone {
	if z := s.designated.Find(q.Name, q.Type); z != nil {
		return z
	}
	r := &s.Config.Resolver
	if !r.SpecialNames {
		return nil
	}
	zones := emptyzone.All
	if r.RootHints != "" {
		zones = emptyzone.Always
	}
	z := zones().Find(q.Name, q.Type)
	if z == nil {
		return nil
	}
	if s.rulebook.HasLocal(q.Name, q.Type) {
		return nil
	}
	for _, route := range r.Routes {
		if !route.Zone.IsRoot() && q.Name.IsSubdomainOf(route.Zone) {
			return nil
		}
	}
	return z
}

// isSpecial reports whether z is a zone of special-use names.
func isSpecial(z *zone.Zone) bool {
	for _, zones := range [...]*zone.Set{emptyzone.All(), emptyzone.Always()} {
		if zones.Find(z.Origin(), rdata.TypeSOA) == z {
			return true
		}
	}
	return false
}
