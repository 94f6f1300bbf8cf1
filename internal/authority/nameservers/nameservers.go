// Package nameservers finds the servers of a zone by its NS records: at which addresses
// they are to be asked what they show.
//
//	NS records -> names -> zones of ours, else the resolver -> addresses, at most Max
//
// It owns how such a name becomes addresses. It does not own what the servers are asked,
// nor which of them matter.
//
// Entry points: Finder.OfZone, Finder.Addresses, Own.
//
// Concurrency: a Finder is read only; its functions must be for many goroutines.
package nameservers

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Max bounds the addresses of a zone's NS records: the largest domains have 13 names, each
// with two.
const Max = 32

// Finder is where names are looked up.
type Finder struct {
	// Zone returns the zone of ours that answers for a name; nil if there is none.
	Zone func(dnsname.Name, rdata.Type) *zone.Zone
	// Resolve asks others; nil if that is not to be done.
	Resolve func(context.Context, dnsname.Name, rdata.Type) ([]rdata.Record, error)
}

// OfZone returns the addresses of the NS records at the apex of a zone. The error says
// which name has none that could be found; addresses of others come with it.
func (f Finder) OfZone(ctx context.Context, z *zone.Zone) (all []netip.Addr, err error) {
	set, _ := z.RRset(z.Apex(), rdata.TypeNS)
	for at, i := 0, 0; i < set.Count && len(all) < Max; i++ {
		var data []byte
		data, _, at = set.Record(at)
		host, ok := rdata.Target(rdata.TypeNS, data)
		if !ok {
			continue
		}
		found := f.Addresses(ctx, host)
		if len(found) == 0 && err == nil {
			err = fmt.Errorf("the NS record %s has no address that could be found", host)
		}
		all = append(all, found...)
	}
	return all[:min(len(all), Max)], err
}

// Addresses returns those of a host, of both families.
func (f Finder) Addresses(ctx context.Context, host dnsname.Name) (all []netip.Addr) {
	for _, t := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
		if z := f.Zone(host, t); z != nil {
			all = append(all, inZone(z, host, t)...)
			continue
		}
		if f.Resolve == nil {
			continue
		}
		found, err := f.Resolve(ctx, host, t)
		if err != nil {
			continue // the other family may do
		}
		for _, r := range found {
			if addr, ok := netip.AddrFromSlice(r.Data); ok && r.Type == t {
				all = append(all, addr)
			}
		}
	}
	return all
}

func inZone(z *zone.Zone, host dnsname.Name, t rdata.Type) (all []netip.Addr) {
	node := z.Lookup(host).Exact
	if node == 0 {
		return nil
	}
	set, _ := z.RRset(node, t)
	for at, i := 0, 0; i < set.Count; i++ {
		var data []byte
		if data, _, at = set.Record(at); len(data) > 0 {
			addr, _ := netip.AddrFromSlice(data)
			all = append(all, addr)
		}
	}
	return all
}

// Own returns what reports whether an address is one that the sockets at some addresses
// are reached at; for those of all addresses, these are the machine's.
func Own(sockets []netip.AddrPort) func(netip.Addr) bool {
	own := map[netip.Addr]bool{}
	for _, at := range sockets {
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
