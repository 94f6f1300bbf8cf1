package node

import (
	"iter"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/steered"
	"pharos/internal/dns/dnsname"
)

// This file is how a snapshot takes over the zones of the one before, of which there may
// be a million, and makes those anew that are others.

// takenOver: with more than one of so many zones to be made, making all costs less than
// to copy what they are found in for each.
const takenOver = 256

// takeOver makes the zones of s those of the snapshot before, if both are of one text, and
// then looks at those that its list has not or otherwise, have steered names or were read
// again. It reports whether that is less than making all of them.
func (s *Snapshot) takeOver(from before) bool {
	prev, zones := from.prev, s.Config.Zones
	if prev == nil || !config.IsOneList(zones, prev.Config.Zones) && !s.Config.IsOfOneText(prev.Config) {
		return false
	}
	again := map[dnsname.Name]*masterfile.Loaded{}
	for _, names := range []map[dnsname.Name][]steered.Mark{s.steering, prev.steering} {
		for name := range names {
			again[name] = nil
		}
	}
	if from.reading != nil {
		for i, read := range from.reading.loaded[from.View] {
			if read != nil {
				again[zones[i].Name] = read
			}
		}
	}
	change := from.reading.change(from.View, prev.Config.Zones, zones)
	if len(again)+len(change.Other)+len(change.Gone) > len(zones)/takenOver {
		return false
	}
	s.apexes, s.zones, s.lives, s.broken = prev.apexes, prev.zones, prev.lives, prev.broken
	s.takesOver, s.revised, s.gone = true, nil, nil
	for _, name := range change.Gone {
		s.forget(name)
		delete(again, name)
	}
	for _, i := range change.Other {
		from.Read = again[zones[i].Name]
		c := zones[i] // or one zone would keep all of its list in memory when there is another
		s.put(&c, from)
		delete(again, c.Name)
	}
	for name, read := range again {
		from.Read = read
		s.revise(name, from)
	}
	return true
}

// revise puts the version of one zone that there is now into s, which nobody else has
// yet, and reports whether anything has changed.
func (s *Snapshot) revise(name dnsname.Name, from before) bool {
	a := s.apexes.Get(name)
	return a != nil && s.put(a.config, from)
}

// put is revise for a zone that s may not have yet, or by another entry.
func (s *Snapshot) put(c *config.Zone, from before) bool {
	var was apex
	if a := s.apexes.Get(c.Name); a != nil {
		was = *a
	}
	from.Steered = s.steered
	served := from.Serve(s.Config, c, s.steering[c.Name], was.served)
	if served == was.served && c == was.config {
		return false
	}
	now := apex{config: c, served: served, updates: was.updates, live: from.liveSigner(c.Name)}
	if c != was.config {
		now.updates = settings.Updates(c)
	}
	s.lives += livesBy(now.live) - livesBy(was.live)
	s.broken += versions.BrokenBy(served) - versions.BrokenBy(was.served)
	s.apexes = s.apexes.With(c.Name, &now)
	if served.Zone == nil {
		s.zones = s.zones.Without(c.Name)
	} else {
		s.zones = s.zones.With(served.Zone)
	}
	if served != was.served {
		s.read += served.Records()
	}
	s.revised = append(s.revised, c.Name)
	return true
}

// forget takes a zone out of s, which nobody else has yet.
func (s *Snapshot) forget(name dnsname.Name) {
	a := s.apexes.Get(name)
	if a == nil {
		return
	}
	s.lives -= livesBy(a.live)
	s.broken -= versions.BrokenBy(a.served)
	s.apexes, s.zones = s.apexes.Without(name), s.zones.Without(name)
	s.gone = append(s.gone, name)
}

// since returns the zones of s that may be others than in prev, the snapshot before, and
// those of prev that are no more. prev may be nil.
func (s *Snapshot) since(prev *Snapshot) (others iter.Seq[dnsname.Name], gone []dnsname.Name) {
	if prev != nil && s.takesOver {
		return slices.Values(s.revised), s.gone
	}
	if prev != nil {
		for name := range prev.apexes.All() {
			if s.apexes.Get(name) == nil {
				gone = append(gone, name)
			}
		}
	}
	return func(yield func(dnsname.Name) bool) {
		for name := range s.apexes.All() {
			if !yield(name) {
				return
			}
		}
	}, gone
}
