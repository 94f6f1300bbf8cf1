package routedesk

import (
	"fmt"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/cluster/state"
	"pharos/internal/proxy/route"
)

// Remark is something in a configuration that is of no use to anybody, so that somebody should
// look: most likely another thing is missing or misspelt.
type Remark struct {
	Code        problems.Code
	About, Text string
}

// mostRemarks bounds how many are told of one kind.
const mostRemarks = 20

// Remarks returns the routes that no request takes, and the pools that nothing leads to. r is
// what is in force, and table compiled of it.
func Remarks(cfg *config.Config, r *state.Resources, table *route.Table) (all []Remark) {
	hidden, count := table.Hidden(mostRemarks)
	for _, h := range hidden {
		all = append(all, Remark{problems.RouteHidden, h.Route.Title(), fmt.Sprintf("route %s: no request takes it: %s", h.Route.Title(), h.Why)})
	}
	if more := count - len(hidden); more > 0 {
		all = append(all, Remark{problems.RouteHidden, "", fmt.Sprintf("%d more routes are taken by no request", more)})
	}
	all = append(all, schemes(cfg, r)...)
	return append(all, unused(cfg, r)...)
}

// schemes returns the routes for a scheme that no listener has.
func schemes(cfg *config.Config, r *state.Resources) (all []Remark) {
	listens := map[string]bool{"http": len(cfg.Listen.HTTP) > 0, "https": len(cfg.Listen.HTTPS) > 0, "": true}
	if !listens["http"] && !listens["https"] || len(cfg.Gateway.TrustedProxies) > 0 {
		return nil // no gateway yet; or proxies say what came over TLS
	}
	for _, t := range r.EveryRoute() {
		if s := t.When.Scheme; !listens[s] && len(all) < mostRemarks {
			all = append(all, Remark{problems.RouteHidden, t.Key(), fmt.Sprintf("route %s: no request takes it: it is for %s, and listen.%s is empty; add a listener, or leave out when.scheme", t.Key(), s, s)})
		}
	}
	return all
}

// unused returns the pools that nothing leads to.
func unused(cfg *config.Config, r *state.Resources) (all []Remark) {
	used := map[string]bool{}
	for _, t := range r.EveryRoute() {
		used[t.Pool], used[t.Fallback], used[t.Mirror.Pool] = true, true, true
		for _, s := range t.Split {
			used[s.Pool] = true
		}
	}
	for i := range r.Steer {
		used[r.Steer[i].Pool], used[r.Steer[i].Fallback.Pool] = true, true
	}
	for i := range r.Pools {
		for _, name := range r.Pools[i].DependsOn {
			used[name] = true
		}
	}
	for i := range cfg.Streams {
		used[cfg.Streams[i].Pool] = true
		for j := range cfg.Streams[i].Routes {
			used[cfg.Streams[i].Routes[j].Pool] = true
		}
	}
	more := 0
	for i := range r.Pools {
		switch name := r.Pools[i].Name; {
		case used[name]:
		case len(all) == mostRemarks:
			more++
		default:
			all = append(all, Remark{problems.PoolUnused, name, fmt.Sprintf("pool %s: nothing leads to it: no route, stream, steered name or other pool; refer to it, or remove it", name)})
		}
	}
	if more > 0 {
		all = append(all, Remark{problems.PoolUnused, "", fmt.Sprintf("nothing leads to %d more pools", more)})
	}
	return all
}

// Tell sets the problems that remarks are, and ends the others.
func Tell(remarks []Remark, set func(c problems.Code, about, text string), keep func(c problems.Code, about []string)) {
	about := map[problems.Code][]string{}
	for _, r := range remarks {
		set(r.Code, r.About, r.Text)
		about[r.Code] = append(about[r.Code], r.About)
	}
	for _, c := range []problems.Code{problems.RouteHidden, problems.PoolUnused} {
		keep(c, about[c])
	}
}
