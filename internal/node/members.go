package node

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"pharos/internal/admin/api"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file shows pools and their members as they are, and as they were.

// reportMembers sets or clears the problems of the members of a view that have changed.
func (n *Node) reportMembers(v *pool.View, changed map[health.Target]health.Status) {
	for _, m := range v.Members {
		if _, has := changed[m.Target]; has {
			n.problem(memberWarning, v.Name+"/"+m.Name, warningOf(v, m))
		}
	}
}

func warningOf(v *pool.View, m pool.Member) string {
	if m.Notes.Warning == "" {
		return ""
	}
	return fmt.Sprintf("pool %s, member %s (%s): %s", v.Name, m.Name, m.Target.ProbeAddress(), m.Notes.Warning)
}

// reportEveryMember sets the problems of all members of a snapshot, and takes away
// those of others.
func (n *Node) reportEveryMember(s *Snapshot) {
	var warned []string
	for _, p := range s.pools.Pools() {
		v := p.View()
		for _, m := range v.Members {
			if text := warningOf(v, m); text != "" {
				warned = append(warned, v.Name+"/"+m.Name)
				n.problem(memberWarning, v.Name+"/"+m.Name, text)
			}
		}
	}
	n.problems.keep(memberWarning, warned)
}

// Pools returns the pools as they are now.
func (n *Node) Pools() []api.Pool {
	all := []api.Pool{}
	for _, p := range n.current.Load().pools.Pools() {
		v := p.View()
		out := api.Pool{Name: v.Name, Policy: v.Policy.String(), AllDown: v.AllDown, Revision: v.Revision, Members: []api.Member{}}
		for i, m := range v.Members {
			status := n.prober.Status(m.Target)
			out.Check = m.Target.Check.String()
			out.Members = append(out.Members, api.Member{
				Name: m.Name, Address: m.Address.String(), Weight: m.Weight, State: m.State.String(),
				Since: m.Since, Cause: m.Cause, Eligible: slices.Contains(v.Eligible, int32(i)),
				LastProbe: status.LastProbe, LastLatency: status.LastLatency, LastCause: status.LastCause,
				Agent: m.Notes.Report.String(), Certificate: m.Notes.Certificate, Warning: m.Notes.Warning,
			})
		}
		all = append(all, out)
	}
	return all
}

func (n *Node) healthCalls() api.HealthCalls { return api.HealthCalls{History: n.healthHistory} }

// healthHistory returns the last changes of state: of all members, of those of a pool,
// of one member of it (POOL/MEMBER), or of an address.
func (n *Node) healthHistory(about string, limit int) ([]api.HealthEvent, error) {
	members := map[health.Target][]string{}
	known := about == ""
	for _, p := range n.current.Load().pools.Pools() {
		for _, m := range p.View().Members {
			members[m.Target] = append(members[m.Target], p.Name()+"/"+m.Name)
			known = known || slices.Contains([]string{p.Name(), p.Name() + "/" + m.Name}, about)
		}
	}
	matches := func(e health.Event) bool {
		return about == "" || slices.Contains([]string{e.Target.Address.String(), e.Target.Address.Addr().String(), e.Target.ProbeAddress().String()}, about) ||
			slices.ContainsFunc(members[e.Target], func(m string) bool { return m == about || strings.HasPrefix(m, about+"/") })
	}
	events := []api.HealthEvent{}
	for _, e := range n.prober.History(cmp.Or(limit, defaultHistory), matches) {
		events = append(events, api.HealthEvent{
			At: e.At, Members: members[e.Target], Address: e.Target.Address.String(), Check: e.Target.Check.String(),
			From: e.From.String(), To: e.To.String(), Cause: e.Cause,
		})
	}
	if len(events) == 0 && !known {
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("nothing is known of %q; name a pool, POOL/MEMBER or an address", about)}
	}
	return events, nil
}

// defaultHistory is how many events are shown when nobody says how many.
const defaultHistory = 50
