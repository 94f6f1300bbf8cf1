package node

import (
	"context"
	"slices"

	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/discover"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
)

// This file joins the lists that others keep of servers to the pools that they name
// members for.

// newDiscovery returns the driver of all lists. It follows none before Set.
func (n *Node) newDiscovery(keep string) *discover.Driver {
	return discover.New(discover.Config{
		Lookup: func(ctx context.Context, name dnsname.Name, t rdata.Type) ([]rdata.Record, error) {
			return aliasNames{n, n.current.Load()}.Resolve(ctx, name, t)
		},
		OnChange: n.onDiscovered, Keep: keep, Log: n.log,
	})
}

// found returns the members of a pool that were discovered.
func (n *Node) found(p *state.Pool) []pool.MemberSpec { return n.discovery.Know(discover.SourcesOf(p)) }

// followLists has the lists of a snapshot followed, and no others.
func (n *Node) followLists(s *Snapshot) {
	sources, abouts := discover.Every(s.State.Resources().Pools)
	n.discovery.Set(sources)
	n.problems.keep(discoveryFailed, abouts)
}

// onDiscovered takes over what a list says: into the views of its pool, and into what is
// probed.
func (n *Node) onDiscovered(source discover.Source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.current.Load()
	pools := s.State.Resources().Pools
	i := slices.IndexFunc(pools, func(p state.Pool) bool { return p.Name == source.Pool })
	if i < 0 {
		return // it was removed just now
	}
	n.problem(discoveryFailed, source.About(), n.discovery.Trouble(source))
	spec := poolspec.Of(pools[i:i+1], s.Config.Place)[0].With(n.found(&pools[i]))
	added, removed, changed := s.pools.SetMembers(spec, n.prober.Status)
	if !changed {
		return
	}
	n.log.Info("members discovered", "pool", source.Pool, "list", source.String(), "added", len(added), "removed", len(removed))
	n.probeTargets(s.pools)
	s.pools.Refresh(n.prober.Status)
	v := s.pools.Pool(source.Pool).View()
	n.reportPool(v.Name, v.AllDown)
	n.reportEveryMember(s)
	n.exportAnswers(s, v.Name)
}
