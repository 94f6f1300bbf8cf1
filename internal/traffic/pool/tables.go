package pool

import (
	"slices"

	"pharos/internal/traffic/consistent"
)

// tables are what the policy Hash goes by, over all members of a pool as they are
// configured. They are made when members or weights change; who is there is said later, at
// each look-up (ring) or for each view (groups), so that a transition does not pay for them.
type tables struct {
	ring   *consistent.Ring
	groups map[rank]*group // by what the members of a level have in common
}

// group is the table of some members, by their indexes in View.Members.
type group struct {
	members    []int32
	maglev     *consistent.Maglev
	rendezvous *consistent.Rendezvous
}

// tablesAfter returns the tables of v's members: those of the view before, if they are
// the same ones with the same weights at the same places.
func (v *View) tablesAfter(prev *View) *tables {
	if v.Policy != Hash {
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
	t := &tables{groups: map[rank]*group{}}
	of := map[rank][]consistent.Member{}
	for i := range v.Members {
		m := &v.Members[i]
		r := rank{m.Tier, v.spec.extentOf(m.Place)}
		if t.groups[r] == nil {
			t.groups[r] = new(group)
		}
		t.groups[r].members = append(t.groups[r].members, int32(i))
		weight := m.Configured.Weight
		if v.spec.Hash.By == Rendezvous {
			weight = m.Weight * whole
		}
		of[r] = append(of[r], consistent.Member{ID: m.id, Weight: weight})
	}
	for r, g := range t.groups {
		if v.spec.Hash.By == Rendezvous {
			g.rendezvous = consistent.NewRendezvous(of[r], g.members)
		} else {
			g.maglev = consistent.NewMaglev(of[r], len(of[r])).Renumber(g.members)
		}
	}
	return t
}

// whole is a share that is all of a weight.
const whole = 1000

// keepMaglev returns the table of those who have a share, by their indexes in View.Members.
func (g *group) keepMaglev(shares []float64) *consistent.Maglev {
	return g.maglev.Keep(shares, g.members)
}

// keepRendezvous returns the table of those of a level who have weights, given in the order of its members.
func (g *group) keepRendezvous(members []int32, weights []int) *consistent.Rendezvous {
	all, next := make([]int, len(g.members)), 0
	for i, m := range g.members {
		if next < len(members) && members[next] == m {
			all[i] = weights[next]
			next++
		}
	}
	return g.rendezvous.Keep(all)
}
