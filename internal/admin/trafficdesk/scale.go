package trafficdesk

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/explain"
	"pharos/internal/admin/metrics"
	"pharos/internal/admin/telemetry"
	"pharos/internal/cluster/state"
	"pharos/internal/proxy/holding"
	"pharos/internal/traffic/discover"
	"pharos/internal/traffic/fleet"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/scale"
)

// Look returns the members of a pool as scaling goes by them, and how many requests and
// connections wait for one. elapsed is by the clock of loads.
func (d *Desk) Look(name string, elapsed time.Duration) ([]fleet.Seen, int) {
	return d.seen(name, elapsed), d.Table().Waiting(name)
}

func (d *Desk) seen(name string, elapsed time.Duration) []fleet.Seen {
	p := d.Registry().Pool(name)
	if p == nil {
		return nil
	}
	v := p.View()
	listed := d.listed(name)
	seen := make([]fleet.Seen, len(v.Members))
	for i := range v.Members {
		m := &v.Members[i]
		served, spent := m.Load.Work()
		report := m.Notes.Report
		seen[i] = fleet.Seen{
			Name: m.Name, Address: m.Address, Status: d.Prober.Status(m.Target),
			Drained: m.State == health.Draining && m.Configured.Why == "", Listed: listed[m.Address],
			Sample: scale.Sample{
				Active: m.Load.Active.Load(), Served: served, Spent: spent, Bits: 8 * m.Load.Bandwidth(elapsed),
				Load: float64(report.Load) / 10, Reported: report.Loaded,
			},
		}
	}
	return seen
}

// listed returns the addresses that are configured for a pool, or named by a list.
func (d *Desk) listed(name string) map[netip.AddrPort]bool {
	all := map[netip.AddrPort]bool{}
	pools := d.Resources().Pools
	i := slices.IndexFunc(pools, func(p state.Pool) bool { return p.Name == name })
	if i < 0 {
		return all
	}
	for _, m := range pools[i].Members {
		all[m.Address] = true
	}
	for _, m := range d.Discovery.Know(discover.SourcesOf(&pools[i])) {
		all[m.Address] = true
	}
	return all
}

// Scale shows how a pool scales, with at most so many of its last decisions.
func (d *Desk) Scale(name string, limit int) (*api.Scale, error) {
	p := d.Registry().Pool(name)
	if p == nil {
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("there is no pool %q; \"pharos pools\" shows those there are", name)}
	}
	s := d.Fleet.Status(name, cmp.Or(limit, defaultDecisions))
	if s == nil {
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("pool %q does not scale; its configuration has no scale", name)}
	}
	out := &api.Scale{
		Pool: name, Driver: s.Driver, Rules: s.Rules, Trouble: s.Trouble, Decisions: s.Decisions,
		Started: s.Started, Ended: s.Ended, Failed: s.Failed, Waiting: d.Table().Waiting(name), Members: []api.ScaleMember{},
	}
	view := p.View()
	for _, m := range s.Members {
		shown := api.ScaleMember{Name: m.Name, Address: m.Address.String(), Phase: m.Phase, Since: m.Since, PID: m.PID, Log: m.Log}
		for i := range view.Members {
			if view.Members[i].Address == m.Address {
				shown.State, shown.Active = d.Prober.Status(view.Members[i].Target).State.String(), view.Members[i].Load.Active.Load()
			}
		}
		out.Members = append(out.Members, shown)
	}
	return out, nil
}

// defaultDecisions is how many decisions are shown when nobody says how many.
const defaultDecisions = 10

// ExplainScale tells how the members of a pool came to be so many, if it scales.
func (d *Desk) ExplainScale(e *explain.Explanation, name string) {
	s := d.Fleet.Status(name, 1)
	if s == nil {
		return
	}
	var lines []string
	if s.Trouble != "" {
		lines = append(lines, "trouble: "+s.Trouble)
	}
	for i := range s.Decisions {
		lines = append(lines, s.Decisions[i].Lines()...)
	}
	if waiting := d.Table().Waiting(name); waiting > 0 {
		lines = append(lines, fmt.Sprintf("%d requests and connections wait for the first member", waiting))
	}
	e.Add(explain.Scale, fmt.Sprintf("the pool scales (%s): %s", s.Driver, s.Rules), lines...)
}

// SampleScale gives how pools scale, and what became of requests that waited.
func (d *Desk) SampleScale(emit func(telemetry.Sample)) {
	for _, spec := range fleet.Specs(d.Resources()) {
		if s := d.Fleet.Status(spec.Pool, 1); s != nil {
			metrics.Scale(spec.Pool, s, emit)
		}
	}
	metrics.Holds(d.Table().Holds(), emit)
}

// Holding returns how requests and connections wait for pools that scale, by their names.
func Holding(pools []state.Pool, f *fleet.Driver) map[string]holding.Spec {
	all := map[string]holding.Spec{}
	for i := range pools {
		p := &pools[i]
		if h := p.Scale.Hold; p.Scale.On() && h.Requests > 0 {
			all[p.Name] = holding.Spec{
				Requests: h.Requests, Octets: int64(h.Content), Time: h.Time.Std(), Wake: func() { f.Wake(p.Name) },
			}
		}
	}
	return all
}
