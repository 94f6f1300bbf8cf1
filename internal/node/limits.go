package node

import (
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/masterfile"
	"pharos/internal/resolver/iterate"
)

// questionLimits are the limits of the resolver's machine.
func questionLimits(r config.Resolver) iterate.Limits {
	l := r.Limits
	return iterate.Limits{
		Time: time.Duration(r.Timeout), Sends: l.Queries, Octets: int(l.Received), Signatures: l.Signatures, Hashes: l.Hashes,
		Targets: l.ServerLookups, TargetsPerZone: l.DelegationLookups, Aliases: l.Aliases,
		ZoneRate: l.ZoneRate, ZoneWaiting: l.ZoneWaiting, ServerWaiting: l.ServerWaiting, Memory: int(r.CacheSize / besideCache),
	}
}

// discardAfter is outbound.Config.Discard, where 0 would be the standard.
func discardAfter(r config.Resolver) time.Duration {
	if r.Limits.Discard == 0 {
		return -1
	}
	return time.Duration(r.Limits.Discard)
}

// readLimits bound what is read of a zone before the gate can look at it.
func readLimits(c *config.Zone) masterfile.Limits {
	return masterfile.Limits{Records: int(c.Gate.MaxRecords)}
}
