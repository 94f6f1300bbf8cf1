package node

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/cluster/state"
	"pharos/internal/cluster/store"
	"pharos/internal/traffic/override"
	"pharos/internal/traffic/overrides"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
)

// This file joins what operators say of members at run time to the store, the pools and the
// gateway.

func (n *Node) newOverrides(data string) *overrides.Driver {
	return overrides.New(overrides.Config{
		Commit: n.commitOverrides, Changed: n.remakePool, Member: n.memberOf, TTL: n.answersOf,
		Evict:     func(m *pool.MemberLoad) int { return n.gateway.Evict(m) + n.streams.Evict(m) }, // which are made later
		CloseKept: func(address netip.AddrPort) { n.gateway.CloseKept(address) },
		Keep:      filepath.Join(data, "overrides.json"), Log: n.log,
	})
}

// commitOverrides puts what was said into the store; retry: that cannot take it now.
func (n *Node) commitOverrides(ctx context.Context, said []state.Override) (retry bool, err error) {
	var writes []store.Write
	for i := range said {
		if o := &said[i]; override.IsSaid(*o) {
			writes = append(writes, store.PutWrite(o, store.Any))
		} else {
			writes = append(writes, store.DeleteWrite(state.Ref{Kind: state.KindOverride, Name: o.Key()}, store.Any))
		}
	}
	_, err = n.commit(ctx, writes...)
	refused := (*api.Refused)(nil)
	return errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable, err
}

// memberOf returns a member as it is now.
func (n *Node) memberOf(name, member string) (pool.Member, bool) {
	if s := n.current.Load(); s != nil {
		return s.pools.Member(name, member)
	}
	return pool.Member{}, false
}

// answersOf returns for how long answers may be kept that name members of a pool.
func (n *Node) answersOf(name string) (longest time.Duration) {
	for _, s := range n.current.Load().State.Resources().Steer {
		if s.Pool == name || s.Fallback.Pool == name {
			longest = max(longest, s.TTL.Std())
		}
	}
	return longest
}

// remakePool gives a pool the members that it has now.
func (n *Node) remakePool(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remake(n.current.Load(), name)
}

// remake gives a pool of the current snapshot the members that are configured and
// discovered, with what operators say of them: into its view, and into what is probed. n.mu
// is held. ok: something has changed.
func (n *Node) remake(s *Snapshot, name string) (added, removed int, ok bool) {
	pools := s.State.Resources().Pools
	i := slices.IndexFunc(pools, func(p state.Pool) bool { return p.Name == name })
	if i < 0 {
		return 0, 0, false // it was removed just now
	}
	spec := n.overrides.Apply(poolspec.Of(pools[i:i+1], s.Config.Place)[0].With(n.found(&pools[i])))
	in, out, changed := s.pools.SetMembers(spec, n.prober.Status)
	if !changed {
		return 0, 0, false
	}
	if len(in)+len(out) > 0 || len(s.pools.Dependencies()) > 0 {
		n.probeTargets(s.pools)
	}
	s.pools.Learn(in, n.prober.Status) // of the others it has been asked, or they tell
	v := s.pools.Pool(name).View()
	n.reportPool(v.Name, v.AllDown)
	n.reportMembersOf(v)
	n.exportAnswers(s, v.Name)
	return len(in), len(out), true
}
