// Package owncut joins delegations in zones of this server to the resolver's cache: what
// is below them is found by them, whoever else knows of the zone or not.
//
// It owns how a zone's delegation becomes one of the cache, and whether it still is the
// same. It does not own when that is looked at.
//
// Entry points: Learn, IsSame.
//
// Concurrency: the functions may be called from any goroutine.
package owncut

import (
	"net/netip"
	"slices"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// Learn tells the resolver's cache of a delegation in a zone of ours, so that
// it goes on from there. Nobody else needs to know of the zone: it may be a
// private one, or the root.
func Learn(cache *rrcache.Cache, now time.Time, z *zone.Zone, cut zone.Node) {
	if cut == 0 {
		return
	}
	servers, ttl := serversAt(z, cut)
	cache.PutLocalDelegation(now, z.Name(cut).Clone(), servers, ttl, time.Time{})
}

// serversAt returns the name servers of a delegation in a zone, with their addresses there.
func serversAt(z *zone.Zone, cut zone.Node) ([]rrcache.Server, rdata.TTL) {
	set, _ := z.RRset(cut, rdata.TypeNS)
	servers := make([]rrcache.Server, 0, set.Count)
	at := set.Start(0)
	for range set.Count {
		data, target, next := set.Record(at)
		at = next
		if name, ok := rdata.NameAt(data, 0); ok {
			servers = append(servers, rrcache.Server{Name: name, Addrs: addressesOf(z, target)})
		}
	}
	return servers, set.TTL
}

// addressesOf returns the addresses that a zone has at a node, which may be none.
func addressesOf(z *zone.Zone, at zone.Node) []netip.Addr {
	if at == 0 {
		return nil
	}
	var addrs []netip.Addr
	for _, t := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
		set, ok := z.RRset(at, t)
		if !ok {
			continue
		}
		place := set.Start(0)
		for range set.Count {
			data, _, next := set.Record(place)
			place = next
			if addr, ok := netip.AddrFromSlice(data); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// IsSame reports whether a zone of ours, which may be nil, says of a delegation what
// a cache has learnt from it.
func IsSame(z *zone.Zone, d *rrcache.Delegation) bool {
	if z == nil {
		return false
	}
	cut := z.Lookup(d.Zone).Cut
	if cut == 0 || z.Name(cut) != d.Zone {
		return false
	}
	servers, _ := serversAt(z, cut)
	return slices.EqualFunc(servers, d.Servers, func(a, b rrcache.Server) bool {
		return a.Name == b.Name && slices.Equal(a.Addrs, b.Addrs)
	})
}
