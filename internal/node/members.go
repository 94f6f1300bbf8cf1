package node

import (
	"pharos/internal/admin/api"
	"pharos/internal/admin/trafficdesk"
	"pharos/internal/cluster/state"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file tells of what is the matter with members.

// reportMembers sets or clears the problems of the members of a view that have changed.
func (n *Node) reportMembers(v *pool.View, changed map[health.Target]health.Status) {
	for _, m := range v.Members {
		if _, has := changed[m.Target]; has {
			name, text := trafficdesk.Warning(v, m)
			n.problem(memberWarning, name, text)
		}
	}
}

// reportEveryMember sets the problems of all members of a snapshot, and takes away
// those of others.
func (n *Node) reportEveryMember(s *Snapshot) {
	var warned []string
	for name, text := range trafficdesk.Warnings(s.pools) {
		warned = append(warned, name)
		n.problem(memberWarning, name, text)
	}
	n.problems.keep(memberWarning, warned)
}

// newTrafficDesk returns what shows pools and their members.
func (n *Node) newTrafficDesk() *trafficdesk.Desk {
	return &trafficdesk.Desk{
		Registry:  func() *pool.Registry { return n.current.Load().pools },
		Resources: func() *state.Resources { return n.current.Load().State.Resources() },
		Prober:    n.prober, Discovery: n.discovery, Overrides: n.overrides, Beside: n.passive.Evidence,
		Revision: func() uint64 { return n.current.Load().Revision },
	}
}

// Pools returns the pools as they are now.
func (n *Node) Pools() []api.Pool { return n.newTrafficDesk().Pools() }
