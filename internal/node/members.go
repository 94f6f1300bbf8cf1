package node

import (
	"strings"

	"pharos/internal/admin/api"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/trafficdesk"
	"pharos/internal/cluster/state"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/fleet"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file tells of what is the matter with members, and joins pools that scale to what
// makes theirs. How they are shown is package trafficdesk's.

// reportMembers sets or clears the problems of the members of a view that have changed.
func (n *Node) reportMembers(v *pool.View, changed map[health.Target]health.Status) {
	for _, m := range v.Members {
		if _, has := changed[m.Target]; has {
			name, text := trafficdesk.Warning(v, m)
			n.problem(problems.MemberWarning, name, text)
		}
	}
}

// reportMembersOf is reportEveryMember for one pool.
func (n *Node) reportMembersOf(v *pool.View) {
	warned := map[string]bool{}
	for i := range v.Members {
		if v.Members[i].Notes.Warning != "" {
			name, text := trafficdesk.Warning(v, v.Members[i])
			warned[name] = true
			n.problem(problems.MemberWarning, name, text)
		}
	}
	n.problems.KeepIf(problems.MemberWarning, func(about string) bool { return warned[about] || !strings.HasPrefix(about, v.Name+"/") })
}

// reportEveryMember sets the problems of all members of a snapshot, and takes away
// those of others.
func (n *Node) reportEveryMember(s *Snapshot) {
	var warned []string
	for name, text := range trafficdesk.Warnings(s.pools) {
		warned = append(warned, name)
		n.problem(problems.MemberWarning, name, text)
	}
	n.problems.Keep(problems.MemberWarning, warned)
}

// newTrafficDesk returns what shows pools and their members.
func (n *Node) newTrafficDesk() *trafficdesk.Desk {
	return &trafficdesk.Desk{
		Registry:  func() *pool.Registry { return n.current.Load().pools },
		Resources: func() *state.Resources { return n.current.Load().State.Resources() },
		Prober:    n.prober, Discovery: n.discovery, Overrides: n.overrides, Beside: n.passive.Evidence, Fleet: n.fleet,
		Table:    func() *served.Table { return n.current.Load().gateway },
		Revision: func() uint64 { return n.current.Load().Revision },
	}
}

// Pools returns the pools as they are now.
func (n *Node) Pools() []api.Pool { return n.newTrafficDesk().Pools() }

// newFleet returns what makes members. It makes none before followScaling.
func (n *Node) newFleet(folder string) *fleet.Driver {
	look := func(pool string) ([]fleet.Seen, int) { return n.newTrafficDesk().Look(pool, n.elapsed()) }
	return fleet.New(fleet.Config{Look: look, OnChange: n.onScaled, Folder: folder, Log: n.log})
}

// followScaling has the pools of a snapshot scale, and no others.
func (n *Node) followScaling(s *Snapshot) {
	n.problems.Keep(problems.ScaleFailed, n.fleet.Follow(s.State.Resources()))
}

// onScaled takes over that members of a pool were made or have ended, or cannot be made.
func (n *Node) onScaled(pool string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.problem(problems.ScaleFailed, pool, n.fleet.Trouble(pool))
	n.remake(n.current.Load(), pool)
}
