package signer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// ParentLook finds out what the servers of a zone's parent show of it.
type ParentLook struct {
	Ask  func(ctx context.Context, server netip.AddrPort, name dnsname.Name, t rdata.Type) (*dnswire.Message, error)
	Find func(ctx context.Context, name dnsname.Name, t rdata.Type) ([]rdata.Record, error) // by the resolver; nil: it is off
	Port uint16                                                                             // of servers that are found
}

// Parent asks servers for the DS records that they show; if there are none, those that the
// resolver finds. ok is false if nobody knows whom to ask.
func (l ParentLook) Parent(ctx context.Context, name dnsname.Name, servers []netip.AddrPort) (p kasp.Parent, ok bool, err error) {
	if len(servers) == 0 {
		servers, err = l.servers(ctx, name)
	}
	if err != nil || len(servers) == 0 {
		return p, err != nil, err
	}
	sets, ttls, errs := make([][][]byte, len(servers)), make([]rdata.TTL, len(servers)), make([]error, len(servers))
	var asking sync.WaitGroup
	for i, server := range servers {
		asking.Go(func() { // ends with the answer, or by the time limits of a query
			m, err := l.Ask(ctx, server, name, rdata.TypeDS)
			if err != nil {
				errs[i] = fmt.Errorf("server %s of the parent: %w", server, err)
				return
			}
			for _, r := range m.Answer {
				if r.Name == name && r.Type == rdata.TypeDS {
					sets[i], ttls[i] = append(sets[i], r.Data), max(ttls[i], r.TTL)
				}
			}
			if m.Rcode != dnswire.RcodeNoError {
				errs[i] = fmt.Errorf("server %s of the parent says that there is no %s", server, name)
			}
		})
	}
	asking.Wait()
	// All of them have to be seen: the one that is not may show anything.
	if err := errors.Join(errs...); err != nil {
		return p, true, err
	}
	return kasp.Parent{Sets: sets, TTL: time.Duration(slices.Max(ttls)) * time.Second}, true, nil
}

// maxParents bounds the addresses of a parent's servers that are asked: the largest
// domains have 13 names, each with two.
const maxParents = 32

// servers returns the servers of the parent that the resolver finds; none if it is off.
func (l ParentLook) servers(ctx context.Context, name dnsname.Name) ([]netip.AddrPort, error) {
	if l.Find == nil || name.IsRoot() {
		return nil, nil
	}
	hosts, err := l.hosts(ctx, name.Parent())
	if err != nil {
		return nil, fmt.Errorf("the servers of the parent of %s: %w; name them with dnssec.policies[].parent", name, err)
	}
	var all []netip.AddrPort
	for _, host := range hosts {
		for _, t := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
			found, err := l.Find(ctx, host, t)
			if err != nil {
				continue // another name or family may do
			}
			for _, r := range found {
				if addr, ok := netip.AddrFromSlice(r.Data); ok && r.Type == t && len(all) < maxParents {
					all = append(all, netip.AddrPortFrom(addr, l.Port))
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no server of the parent of %s has an address; name them with dnssec.policies[].parent", name)
	}
	return all, nil
}

// hosts returns the names of the servers of the zone that name is in.
func (l ParentLook) hosts(ctx context.Context, name dnsname.Name) ([]dnsname.Name, error) {
	for ; !name.IsZero(); name = name.Parent() {
		found, err := l.Find(ctx, name, rdata.TypeNS)
		if err != nil {
			return nil, err
		}
		var hosts []dnsname.Name
		for _, r := range found {
			if host, ok := rdata.Target(r.Type, r.Data); ok && r.Type == rdata.TypeNS && r.Name == name {
				hosts = append(hosts, host)
			}
		}
		if len(hosts) > 0 {
			return hosts, nil
		}
	}
	return nil, errors.New("no zone above it has name servers")
}
