package node

import (
	"errors"
	"fmt"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/steered"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
)

// This file is the way of a version of a zone, from where it comes to what is
// served:
//
//	source   a master file, or a keeper: a driver whose versions come and go by
//	         themselves, and that calls zoneChanged when they do
//	steer    the steered names of the zone are marked in it, and if other servers
//	         may get it, it has their present answers
//	stages   each may put another version in its place, or refuse it
//	gate     may this go live beside what is served now? See gate.go
//	served   in the next snapshot; with what led to it, for IXFR
//
// All of it runs under Node.mu and is quick. What takes long (signing, asking
// others) is given to a driver: its stage goes on with what the driver has now,
// and the driver calls zoneChanged when it has more.

// keepers are where versions come from, by the kind of zone. Kind file has none.
type keepers map[string]func(dnsname.Name) journal.Version

// stage is one step of the way. For one version it returns the same result again
// until something has changed. With an error, what was served before is served on.
type stage func(c *config.Zone, old *servedZone, v journal.Version) (journal.Version, error)

// beside returns what a snapshot after prev is compiled beside.
func (n *Node) beside(prev *Snapshot) before {
	return before{
		prev: prev, status: n.prober.Status, found: n.found, fleet: n.fleet, said: n.overrides.Apply, vouch: n.vouch.Means(),
		kept: keepers{
			"secondary": func(name dnsname.Name) journal.Version { return journal.Version{Zone: n.secondaries.Version(name)} },
			"store":     n.version,
			"catalog":   n.catalogVersions(""),
		},
		stages: n.stages(aliasStage(n.aliases)), aliased: n.aliases, keys: n.signers.Keys,
		accepted: n.accepted, gateRules: new(sameRules), remarks: new(remarks), images: n.images, signatures: n.signatures, parts: n.partsOf,
		journals: n.journals, serials: n.serials, raise: n.raise, cache: n.cache, guide: n.guide, exports: n.exports,
		secret: n.secret, journaled: n.journaled,
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

// serve returns the zone of c as it is to be served now, which is old if nothing
// has changed.
func (from before) serve(cfg *config.Config, c *config.Zone, marks []steered.Mark, old *servedZone) *servedZone {
	if old != nil && old.Kind != c.Kind {
		old = nil
	}
	s := from.source(c, old)
	s.View = from.view
	s.Err, s.Warnings = s.sourceErr, slices.Clone(s.sourceWarnings)
	s.Zone, s.journal, s.Steered = nil, nil, steered.Joined(marks)
	if s.source.Zone != nil {
		from.advance(c, s, marks, old)
	}
	if s.sourceErr != nil && s.Err != s.sourceErr { // what is served on was refused, too, when it came
		s.Err = errors.Join(s.sourceErr, s.Err)
	}
	if isSame(s, old) {
		return old
	}
	defer s.slim()
	if len(c.Transfer) > 0 || len(c.Notify) > 0 {
		s.keepJournal(old, int(cfg.Transfers.Journal))
		from.keepOnDisk(s, old)
	}
	if s.journal != nil || old != nil && old.journal != nil {
		from.journaled.Hold(s.id(), s.journal, int(cfg.Transfers.Journals))
	}
	return s
}

// isSame reports whether nothing that anybody sees is different in s.
func isSame(s, old *servedZone) bool {
	return old != nil && s.Zone == old.Zone && s.source == old.source && s.Steered == old.Steered &&
		slices.Equal(s.stamps, old.stamps) && fmt.Sprint(s.Err) == fmt.Sprint(old.Err)
}

// source returns the zone with its source's version, not yet served.
func (from before) source(c *config.Zone, old *servedZone) *servedZone {
	if c.Kind != "file" {
		s := &servedZone{Name: c.Name, Kind: c.Kind, loaded: clock.Now().UnixNano(), remarks: from.remarks}
		*s.remarks = remarks{}
		if keeper := from.kept[c.Kind]; keeper != nil {
			s.source = keeper(c.Name)
		}
		if old != nil && old.source.Zone == s.source.Zone {
			s.loaded = old.loaded
		}
		return s
	}
	if old != nil && old.File == c.File && from.read == nil {
		return old.again(from.remarks)
	}
	read := from.read
	if read == nil {
		read = from.images.Load(masterfile.Wanted{Origin: c.Name, File: c.File, Limits: settings.Reading(c)})
	}
	s := fromFile(c, read.Source, from.remarks)
	if read.Err != nil {
		s.sourceErr = fmt.Errorf("zone %s: %w", c.Name, read.Err)
	}
	if s.sourceErr != nil && old != nil {
		s.source, s.sourceWarnings, s.loaded = old.source, old.sourceWarnings, old.loaded
	}
	return s
}

// advance takes the source's version of s to what is served. If a stage refuses
// it, what was served before is served on.
func (from before) advance(c *config.Zone, s *servedZone, marks []steered.Mark, old *servedZone) {
	v := s.source
	if old != nil {
		s.steered = old.steered
	}
	v.Zone = s.steered.Apply(v.Zone, s.Steered, marks)
	v, err := from.export(c, v, marks)
	if err != nil {
		s.refuse(old, err)
		return
	}
	for _, run := range from.stages {
		if v, err = run(c, old, v); err != nil {
			s.refuse(old, err)
			return
		}
	}
	if err := from.pass(c, s, old, v); err != nil {
		s.refuse(old, err)
		return
	}
	s.Zone, s.journal = v.Zone, v.Journal
}

// refuse leaves what was served before.
func (s *servedZone) refuse(old *servedZone, err error) {
	s.Err = fmt.Errorf("zone %s: %w", s.Name, err)
	if old != nil {
		s.Zone, s.loaded, s.journal = old.Zone, old.loaded, old.journal
	}
}
