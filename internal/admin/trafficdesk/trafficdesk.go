// Package trafficdesk shows operators pools and their members: as they are now, from
// which list they come, and how they were. It decides nothing, and keeps nothing.
//
// Entry points: Desk.Pools, Desk.History; Warnings.
//
// Concurrency: a Desk may be used by many goroutines, as its parts may.
package trafficdesk

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"pharos/internal/admin/api"
	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/discover"
	"pharos/internal/traffic/fleet"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/overrides"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/probe"
)

// Desk is what pools are shown from.
type Desk struct {
	Registry  func() *pool.Registry   // the present one
	Resources func() *state.Resources // what it was made from
	Prober    *probe.Prober
	Discovery *discover.Driver
	Overrides *overrides.Driver
	Revision  func() uint64                            // of the snapshot that answers
	Beside    func(pool string, m *pool.Member) string // how a member did beside its peers; nil: nobody looks
	Fleet     *fleet.Driver
	Table     func() *served.Table // of the gateway
}

func (d *Desk) beside(pool string, m *pool.Member) string {
	if d.Beside == nil {
		return ""
	}
	return d.Beside(pool, m)
}

// agentOf returns what the last question to an agent beside the check has brought.
func (d *Desk) agentOf(m *pool.Member) string {
	if m.Agent == (health.Target{}) {
		return ""
	}
	return d.Prober.Status(m.Agent).LastCause
}

// trafficOf returns what became of the requests to a member, by outcome.
func trafficOf(m *pool.Member) map[string]uint32 {
	all := map[string]uint32{}
	for o, n := range m.Load.Gauge.Total() {
		if n > 0 {
			all[health.Outcome(o).String()] = n
		}
	}
	return all
}

// Pools returns the pools as they are now.
func (d *Desk) Pools() []api.Pool {
	all := []api.Pool{}
	for _, p := range d.Registry().Pools() {
		all = append(all, d.show(p))
	}
	return all
}

// show returns a pool as it is now.
func (d *Desk) show(p *pool.Pool) api.Pool {
	v := p.View()
	out := api.Pool{Name: v.Name, Policy: v.Policy.String(), AllDown: v.AllDown, Revision: v.Revision, Members: []api.Member{}}
	from := d.originsOf(p.Name(), &out)
	if s := d.Fleet.Status(p.Name(), 0); s != nil {
		for _, m := range s.Members {
			from[m.Address] = s.Driver
		}
	}
	for i, m := range v.Members {
		status := d.Prober.Status(m.Target)
		out.Check = m.Target.Check.String()
		shown := api.Member{
			Name: m.Name, Address: m.Address.String(), Weight: m.Weight, State: m.State.String(),
			Since: m.Since, Cause: m.Cause, Eligible: slices.Contains(v.Eligible, int32(i)),
			Tier: m.Tier, Capacity: m.Capacity, Bandwidth: m.Bandwidth, Active: m.Load.Active.Load(),
			LastProbe: status.LastProbe, LastLatency: status.LastLatency, LastCause: status.LastCause,
			From: from[m.Address], Agent: m.Notes.Report.String(), Certificate: m.Notes.Certificate, Warning: m.Notes.Warning,
			Share: m.Share, InARow: status.PassiveFailed, Held: status.Held.String(), HeldUntil: status.HeldUntil,
			Ejections: status.Ejections, Penalty: int(status.PenaltyNow(m.Target.Check, clock.Now())), Traffic: trafficOf(&m), Beside: d.beside(v.Name, &m), AgentAt: d.agentOf(&m),
		}
		if _, _, said := d.Overrides.Find(v.Name, m.Name); said {
			o := d.override(v.Name, m.Name)
			shown.Override, shown.Configured = &o, &api.Configured{Weight: m.Configured.Weight, Drain: m.Configured.Drain}
		}
		out.Members = append(out.Members, shown)
	}
	return out
}

// History returns the last changes of state: of all members, of those of a pool,
// of one member of it (POOL/MEMBER), or of an address.
func (d *Desk) History(about string, limit int) ([]api.HealthEvent, error) {
	members := map[health.Target][]string{}
	known := about == ""
	for _, p := range d.Registry().Pools() {
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
	for _, e := range d.Prober.History(cmp.Or(limit, defaultHistory), matches) {
		events = append(events, api.HealthEvent{
			At: e.At, Members: members[e.Target], Address: e.Target.Address.String(), Check: e.Target.Check.String(),
			From: e.From.String(), To: e.To.String(), Cause: e.Cause,
		})
	}
	events = merge(events, d.events(about, cmp.Or(limit, defaultHistory)), limit)
	if len(events) == 0 && !known {
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("nothing is known of %q; name a pool, POOL/MEMBER or an address", about)}
	}
	return events, nil
}

// defaultHistory is how many events are shown when nobody says how many.
const defaultHistory = 50

// Warning returns how a member is called in problems, and what somebody should look at
// of it, if anything.
func Warning(v *pool.View, m pool.Member) (name, text string) {
	name = v.Name + "/" + m.Name
	if m.Notes.Warning != "" {
		text = fmt.Sprintf("pool %s, member %s (%s): %s", v.Name, m.Name, m.Target.ProbeAddress(), m.Notes.Warning)
	}
	return name, text
}

// Warnings returns all that there are.
func Warnings(r *pool.Registry) map[string]string {
	all := map[string]string{}
	for _, p := range r.Pools() {
		v := p.View()
		for i := range v.Members {
			if m := &v.Members[i]; m.Notes.Warning != "" { // of most there is nothing to say, and a Member is wide
				name, text := Warning(v, *m)
				all[name] = text
			}
		}
	}
	return all
}

// originsOf returns which list each discovered member of a pool is from, and tells of
// the lists in out. A member that is configured is from no list.
func (d *Desk) originsOf(name string, out *api.Pool) map[netip.AddrPort]string {
	origins := map[netip.AddrPort]string{}
	pools := d.Resources().Pools
	i := slices.IndexFunc(pools, func(p state.Pool) bool { return p.Name == name })
	if i < 0 {
		return origins
	}
	for _, source := range discover.SourcesOf(&pools[i]) {
		st := d.Discovery.State(source)
		out.Lists = append(out.Lists, api.List{From: source.String(), Members: len(st.Members), Read: st.Read, Problem: st.Problem})
		for _, m := range st.Members {
			origins[m.Address] = source.String()
		}
	}
	for _, m := range pools[i].Members {
		delete(origins, m.Address)
	}
	return origins
}
