package settings

import (
	"crypto/tls"
	"fmt"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/designated"
	"pharos/internal/dns/rdata"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/offheap"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rrcache"
)

// besideCache is which part of resolver.cacheSize is for what a resolver remembers
// beside its cache, of servers and zones: an eighth.
const besideCache = 8

// Cache returns the limits of a resolver's cache, whose memory is outside of the heap.
func Cache(r config.Resolver) rrcache.Limits {
	seconds := func(d config.Duration) rdata.TTL { return rdata.TTL(time.Duration(d) / time.Second) }
	half := int((r.CacheSize - r.CacheSize/besideCache) / 2)
	return rrcache.Limits{
		RecordOctets: half, AnswerOctets: half, Stale: time.Duration(r.ServeStale),
		MinTTL: seconds(r.MinTTL), MaxTTL: seconds(r.MaxTTL), MaxNegativeTTL: seconds(r.MaxNegativeTTL),
		PrefetchAsks: r.PrefetchAsks, Memory: offheap.New(),
	}
}

// Resolver returns a resolver with its routes, without what is believed (trust, hints).
func Resolver(r config.Resolver, cache *rrcache.Cache) outbound.Config {
	c := outbound.Config{Port: r.Port, Cache: cache, Limits: questions(r),
		Clients: r.Limits.Questions, PerNetwork: r.Limits.PerNetwork, Exchanges: r.Limits.Sockets, Discard: discard(r),
		Prefetch: r.Prefetch, Minimise: r.Minimise, MixCase: r.MixCase, Reports: r.ErrorReports, Subnets: subnets(r.ClientSubnet), Aggressive: r.Aggressive, Validate: r.Validate}
	AddRoutes(&c, r.Routes)
	return c
}

// questions are the limits of the resolver's machine.
func questions(r config.Resolver) iterate.Limits {
	l := r.Limits
	return iterate.Limits{
		Time: time.Duration(r.Timeout), Sends: l.Queries, Octets: int(l.Received), Signatures: l.Signatures, Hashes: l.Hashes,
		Targets: l.ServerLookups, TargetsPerZone: l.DelegationLookups, Aliases: l.Aliases,
		ZoneRate: l.ZoneRate, ZoneWaiting: l.ZoneWaiting, ServerWaiting: l.ServerWaiting, Memory: int(r.CacheSize / besideCache),
	}
}

// discard is outbound.Config.Discard, where 0 would be the standard.
func discard(r config.Resolver) time.Duration {
	if r.Limits.Discard == 0 {
		return -1
	}
	return time.Duration(r.Limits.Discard)
}

// Transports are the names of iterate's transports in the configuration.
var Transports = map[string]iterate.Transport{"dot": iterate.DoT, "doh": iterate.DoH, "doq": iterate.DoQ}

// AddRoutes adds the routes of the configuration to that of a resolver.
func AddRoutes(c *outbound.Config, routes []config.ResolverRoute) {
	for _, r := range routes {
		route := iterate.Route{Zone: r.Zone, Servers: r.Servers, Forward: r.Kind == "forward", First: r.First}
		for _, s := range r.Encrypted {
			t := tlscert.Peer(s.TLS).Config()
			t.MinVersion = tls.VersionTLS12
			route.Encrypted = append(route.Encrypted, iterate.Server{AddrPort: s.Address, Over: Transports[s.Transport], Peer: len(c.Peers)})
			c.Peers = append(c.Peers, outbound.Peer{ID: fmt.Sprintf("%+v", s), TLS: t, Name: s.TLS.Name, Path: s.Path})
		}
		c.Routes = append(c.Routes, route)
		if !r.Validate {
			c.Private = append(c.Private, r.Zone)
		}
	}
}

// subnets returns whose servers are told of clients' networks.
func subnets(c config.ResolverSubnet) iterate.Subnets {
	return iterate.Subnets{Zones: c.Zones, Bits4: c.IPv4, Bits6: c.IPv6, Encrypted: c.Encrypted}
}

// Designated returns what clients of the resolver are told of it.
func Designated(cfg *config.Config) *designated.Zones {
	d := cfg.Resolver.Designated
	return designated.New(designated.Config{
		Name: d.Name, Addresses: d.Addresses, InfoURL: d.InfoURL, Path: cfg.DNS.Encrypted.Path, Minimise: cfg.Resolver.Minimise,
		DoT: cfg.Listen.DoT, DoH: cfg.Listen.DoH, DoH3: cfg.Listen.DoH3, DoQ: cfg.Listen.DoQ,
	})
}
