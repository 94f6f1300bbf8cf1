package node

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/cachefile"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/owncut"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/resolver/warmstart"
)

// This file joins the cache of a resolver with what it has to know of: the disk, where
// it outlives the process, and the zones of ours, whose changes it follows.

// recursor is what answers about the zones of others, in a view or outside of views.
type recursor struct {
	cache    *rrcache.Cache
	resolver *outbound.Driver
	keeper   *warmstart.Keeper // nil: the cache ends with the process
}

// newKeeper returns what keeps a resolver's cache in a folder; nil if it is not to be
// kept.
func (n *Node) newKeeper(r config.Resolver, folder string, cache *rrcache.Cache, resolver *outbound.Driver) *warmstart.Keeper {
	if r.SaveCache == 0 || len(r.Allow) == 0 {
		return nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		n.log.Warn("cache not kept on disk; a restart will begin with an empty one", "error", err)
		return nil
	}
	return warmstart.New(warmstart.Config{
		File: filepath.Join(folder, "resolver.cache"), Cache: cache, Interval: time.Duration(r.SaveCache), Log: n.log,
		Trust:   func() cachefile.Trust { return cachefile.Trust(resolver.TrustSum()) },
		Servers: resolver.Servers, RestoreServers: resolver.RestoreServers,
	})
}

// knowOwn has a cache know which names are ours, in a view or outside.
func (n *Node) knowOwn(cache *rrcache.Cache, view string) {
	cache.Own(func(name dnsname.Name) (dnsname.Name, bool) {
		s := n.current.Load()
		if view != "" {
			s = s.viewOf(view)
		}
		return s.ownZoneOf(name)
	})
	cache.OwnOpen(func(name dnsname.Name) (dnsname.Name, bool) {
		if z, _ := n.ownZone(view, name, rdata.TypeA); z != nil {
			return z.Origin(), true
		}
		return dnsname.Name{}, false
	})
}

// ownZoneOf returns the apex of the zone of ours that a name is in; ok is false if there
// is none, or if a delegation of it is above the name.
func (s *Snapshot) ownZoneOf(name dnsname.Name) (apex dnsname.Name, ok bool) {
	for ; s != nil; s = s.under {
		z := s.zones.Find(name, rdata.TypeA)
		if z == nil {
			continue
		}
		cut := z.Lookup(name).Cut
		if cut != 0 && z.Name(cut) != name {
			return dnsname.Name{}, false
		}
		return z.Origin(), true
	}
	return dnsname.Name{}, false
}

// caches returns those that see the zones of a snapshot.
func (n *Node) caches(of *Snapshot) (all []*rrcache.Cache) {
	if of.view != nil {
		return slices.DeleteFunc([]*rrcache.Cache{of.view.own.cache}, func(c *rrcache.Cache) bool { return c == nil })
	}
	if n.cache != nil {
		all = append(all, n.cache)
	}
	for _, p := range n.views {
		if p.cache != nil {
			all = append(all, p.cache)
		}
	}
	return all
}

// forgetVersion drops what caches have of a zone of next, if its version is another than
// in prev. n.mu is held.
func (n *Node) forgetVersion(prev, next *Snapshot, name dnsname.Name) {
	if prev == nil {
		return
	}
	before, now := prev.apexes.Get(name), next.apexes.Get(name)
	if before == nil || before.served.Zone == now.served.Zone {
		return
	}
	for _, c := range n.caches(next) {
		c.ZoneChanged(name, func(d *rrcache.Delegation) bool { return owncut.IsSame(now.served.Zone, d) })
	}
}

// forgetZones drops what caches have of the zones that came with next, and of those of
// prev that are gone. n.mu is held.
func (n *Node) forgetZones(next *Snapshot, came map[dnsname.Name]bool, gone []dnsname.Name) {
	for _, c := range n.caches(next) {
		for _, name := range gone {
			c.ZoneChanged(name, func(*rrcache.Delegation) bool { return false })
		}
		if len(came) > 0 {
			c.ZoneCame(func(name dnsname.Name) bool { return isWithin(name, came) })
		}
	}
}

// isWithin reports whether a name is at or below one of some apexes.
func isWithin(name dnsname.Name, apexes map[dnsname.Name]bool) bool {
	for ; !name.IsZero(); name = name.Parent() {
		if apexes[name] {
			return true
		}
	}
	return false
}

// startKeepers has the caches read from disk, in the background. n.mu is held.
func (n *Node) startKeepers() {
	if n.keeper != nil {
		n.keeper.Start()
	}
	for _, p := range n.views {
		if p.keeper != nil {
			p.keeper.Start()
		}
	}
}
