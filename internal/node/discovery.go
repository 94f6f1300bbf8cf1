package node

import (
	"context"

	"pharos/internal/admin/problems"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/discover"
	"pharos/internal/traffic/pool"
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

// found returns the members of a pool that were made or discovered. What is known of one
// that was made goes before a list that has it, too.
func (n *Node) found(p *state.Pool) []pool.MemberSpec {
	return append(n.fleet.Know(p.Name), n.discovery.Know(discover.SourcesOf(p))...)
}

// followLists has the lists of a snapshot followed, and no others.
func (n *Node) followLists(s *Snapshot) {
	sources, abouts := discover.Every(s.State.Resources().Pools)
	n.discovery.Set(sources)
	n.problems.Keep(problems.DiscoveryFailed, abouts)
}

// onDiscovered takes over what a list says: into the views of its pool, and into what is
// probed.
func (n *Node) onDiscovered(source discover.Source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.current.Load()
	if s.pools.Pool(source.Pool) == nil {
		return // it was removed just now
	}
	n.problem(problems.DiscoveryFailed, source.About(), n.discovery.Trouble(source))
	if added, removed, changed := n.remake(s, source.Pool); changed {
		n.log.Info("members discovered", "pool", source.Pool, "list", source.String(), "added", added, "removed", removed)
	}
}
