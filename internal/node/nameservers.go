package node

import (
	"context"
	"net/netip"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/authority/nameservers"
	"pharos/internal/authority/xfr"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/outbound"
)

// This file finds the servers of a zone, of which a rollover has to know that they show
// each step: those that are told of changes, those that the policy lists, and, as the
// policy says, those that the NS records of the zone name: its secondaries, which are those
// that may transfer it, or all.

// watched returns the servers of the zone a, beside this node. The error says which names
// could not be found out about: then nobody knows what their servers show.
func (k *keeping) watched(ctx context.Context, s *Snapshot, a *apex) ([]xfr.Peer, error) {
	peers := s.peers(a.config.Notify)
	policy, _ := a.config.Signing()
	add := func(at netip.AddrPort) {
		if !slices.ContainsFunc(peers, func(p xfr.Peer) bool { return p.Address.Addr() == at.Addr() && (p.Address == at || p.TLS != nil) }) {
			peers = append(peers, xfr.Peer{Address: at})
		}
	}
	for _, at := range policy.Servers {
		add(at)
	}
	isAll := policy.Watch == "all"
	if policy.Watch == "notify" || !isAll && len(a.config.Transfer) == 0 {
		return peers, nil
	}
	own := nameservers.Own(k.n.DNS())
	hosts, err := k.finder(s).OfZone(ctx, a.served.Zone)
	for _, addr := range hosts {
		if !own(addr) && (isAll || mayFetch(a.config.Transfer, addr)) {
			add(netip.AddrPortFrom(addr, s.Config.Resolver.Port))
		}
	}
	if !isAll && !k.canResolve(s) {
		err = nil // names elsewhere cannot be found out about here, and need not be secondaries of ours
	}
	return peers, err
}

// mayFetch reports whether rules let a server at an address have a zone, with the key or
// the certificate that they want.
func mayFetch(rules []config.TransferRule, addr netip.Addr) bool {
	return slices.ContainsFunc(rules, func(r config.TransferRule) bool {
		return !r.Network.IsValid() || r.Network.Contains(addr.Unmap())
	})
}

// canResolve reports whether the resolver is on.
func (k *keeping) canResolve(s *Snapshot) bool {
	return len(s.Config.Resolver.Allow) > 0 && k.n.resolver != nil
}

// finder returns what finds the servers of zones: in zones of ours where their names are
// in one, else by the resolver, if it is on.
func (k *keeping) finder(s *Snapshot) nameservers.Finder {
	f := nameservers.Finder{Zone: func(n dnsname.Name, t rdata.Type) *zone.Zone {
		z, _ := s.find(n, t)
		return z
	}}
	if k.canResolve(s) {
		f.Resolve = func(ctx context.Context, n dnsname.Name, t rdata.Type) ([]rdata.Record, error) {
			found, err := k.n.resolver.Resolve(ctx, n, t, outbound.Options{})
			return found.Answer, err
		}
	}
	return f
}
