package node

import (
	"pharos/internal/admin/versions"
	"pharos/internal/authority/journal"
	"pharos/internal/dns/dnsname"
)

// This file joins zones with what their versions meet on their way (package versions). All
// of it runs under Node.mu.

// beside returns what a snapshot after prev is compiled beside.
func (n *Node) beside(prev *Snapshot) before {
	return before{
		prev: prev, status: n.prober.Status, found: n.found, fleet: n.fleet, said: n.overrides.Apply, vouch: n.vouch.Means(),
		aliased: n.aliases, keys: n.signers.Keys, signatures: n.signatures, parts: n.partsOf, cache: n.cache, guide: n.guide, secret: n.secret,
		Way: versions.Way{
			Kept: versions.Keepers{
				"secondary": func(name dnsname.Name) journal.Version { return journal.Version{Zone: n.secondaries.Version(name)} },
				"store":     n.version,
				"catalog":   n.catalogVersions(""),
			},
			Stages: n.stages(aliasStage(n.aliases)), Images: n.images, Journals: n.journals, Journaled: n.journaled, Accepted: n.accepted,
			Serials: n.serials, Raise: n.raise, Rules: new(versions.Rules), Remarks: new(versions.Remarks), Exports: n.exports,
		},
	}
}

// zoneChanged publishes the version of a zone that there is now. Keepers and the
// drivers behind the stages call it, without a lock of theirs held.
func (n *Node) zoneChanged(name dnsname.Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	prev := n.current.Load()
	if prev == nil {
		return // the first snapshot is about to be compiled, and will ask
	}
	next := prev.withVersion(name, n.beside(prev))
	if next == nil {
		return
	}
	n.current.Store(next)
	n.followZone(prev, next, name)
	n.reportZone(next.apexes.Get(name).served)
	n.rulesChanged(prev, next)
	n.reportTransfers(name)
	n.catalogChanged(next.apexes.Get(name).config)
}
