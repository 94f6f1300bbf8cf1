package pool

import (
	"slices"

	"pharos/internal/traffic/consistent"
)

// tables are what the policy Hash goes by, over all members of a pool as they are
// configured. They are made when members or weights change; who is there is said later, at
// each look-up (ring) or for each view (maglevs), so that a transition does not pay for them.
type tables struct {
	ring    *consistent.Ring
	maglevs map[rank]*maglev // by what the members of a level have in common
}

// maglev is the table of some members, by their indexes in View.Members.
type maglev struct {
	full    *consistent.Maglev
	members []int32
}

// tablesAfter returns the tables of v's members: those of the view before, if they are
// the same ones with the same weights at the same places.
func (v *View) tablesAfter(prev *View) *tables {
	if v.Policy != Hash || v.spec.Hash.By == Rendezvous {
		return nil
	}
	same := func(a, b Member) bool {
		return a.id == b.id && a.Configured.Weight == b.Configured.Weight && a.Weight == b.Weight && a.Tier == b.Tier && v.spec.extentOf(a.Place) == prev.spec.extentOf(b.Place)
	}
	if prev != nil && prev.tables != nil && prev.spec.Hash.By == v.spec.Hash.By && slices.EqualFunc(v.Members, prev.Members, same) {
		return prev.tables
	}
	if v.spec.Hash.By == Ring {
		members := make([]consistent.Member, len(v.Members))
		for i := range v.Members {
			members[i] = consistent.Member{ID: v.Members[i].id, Weight: v.Members[i].Weight}
		}
		return &tables{ring: consistent.NewRing(members)}
	}
	t := &tables{maglevs: map[rank]*maglev{}}
	of := map[rank][]consistent.Member{}
	for i := range v.Members {
		m := &v.Members[i]
		r := rank{m.Tier, v.spec.extentOf(m.Place)}
		if t.maglevs[r] == nil {
			t.maglevs[r] = new(maglev)
		}
		t.maglevs[r].members = append(t.maglevs[r].members, int32(i))
		of[r] = append(of[r], consistent.Member{ID: m.id, Weight: m.Configured.Weight})
	}
	for r, group := range t.maglevs {
		group.full = consistent.NewMaglev(of[r], len(of[r])).Renumber(group.members)
	}
	return t
}

// keep returns the table of those who have a share, by their indexes in View.Members.
func (m *maglev) keep(shares []float64) *consistent.Maglev {
	return m.full.Keep(shares, m.members)
}
