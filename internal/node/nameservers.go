package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"pharos/internal/admin/config"
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

// maxNameServers bounds the addresses of a zone's NS records that are asked: the largest
// domains have 13 names, each with two.
const maxNameServers = 32

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
	own := k.n.ownAddresses()
	hosts, err := k.nameServers(ctx, s, a.served.Zone)
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

// nameServers returns the addresses of the NS records of a zone: from our zones where they
// are in one, else by the resolver, if it is on.
func (k *keeping) nameServers(ctx context.Context, s *Snapshot, z *zone.Zone) (all []netip.Addr, err error) {
	set, _ := z.RRset(z.Apex(), rdata.TypeNS)
	for at, i := 0, 0; i < set.Count && len(all) < maxNameServers; i++ {
		var data []byte
		data, _, at = set.Record(at)
		host, ok := rdata.Target(rdata.TypeNS, data)
		if !ok {
			continue
		}
		found := k.addressesOf(ctx, s, host)
		if len(found) == 0 && err == nil {
			err = fmt.Errorf("the NS record %s has no address that could be found", host)
		}
		all = append(all, found...)
	}
	return all[:min(len(all), maxNameServers)], err
}

func (k *keeping) addressesOf(ctx context.Context, s *Snapshot, host dnsname.Name) (all []netip.Addr) {
	for _, t := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
		if z, _ := s.find(host, t); z != nil {
			if node := z.Lookup(host).Exact; node != 0 {
				set, _ := z.RRset(node, t)
				for at, i := 0, 0; i < set.Count; i++ {
					var data []byte
					if data, _, at = set.Record(at); len(data) > 0 {
						addr, _ := netip.AddrFromSlice(data)
						all = append(all, addr)
					}
				}
			}
			continue
		}
		if !k.canResolve(s) {
			continue
		}
		found, err := k.n.resolver.Resolve(ctx, host, t, outbound.Options{})
		if err != nil {
			continue // the other family may do
		}
		for _, r := range found.Answer {
			if addr, ok := netip.AddrFromSlice(r.Data); ok && r.Type == t {
				all = append(all, addr)
			}
		}
	}
	return all
}

// ownAddresses returns what reports whether an address is one that this node answers at.
func (n *Node) ownAddresses() func(netip.Addr) bool {
	own := map[netip.Addr]bool{}
	for _, at := range n.DNS() {
		own[at.Addr().Unmap()] = true
		if !at.Addr().IsUnspecified() {
			continue
		}
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			continue // then it is asked like any other, and answers
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				own[p.Addr().Unmap()] = true
			}
		}
	}
	return func(a netip.Addr) bool { return own[a.Unmap()] }
}
