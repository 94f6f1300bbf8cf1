package node

import (
	"runtime"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/masterfile"
	"pharos/internal/dns/dnsname"
)

// This file is how master files are read: on all processors, and while zones are served
// without Node.mu, so that no change waits for it.

// reading is what was read of the master files of a configuration: of each view, for each
// zone by its index in the list of zones; nil for one that is as it was.
type reading map[string][]*masterfile.Loaded

func (r reading) of(view string, index int) *masterfile.Loaded {
	if list := r[view]; index < len(list) {
		return list[index]
	}
	return nil
}

// readZones reads the files of zones that are not as they were when prev, which may be
// nil, was made. While something is served, half of the processors are left to that.
func readZones(cfg *config.Config, prev *Snapshot, images *masterfile.Images, tell func(done, of int)) reading {
	workers := runtime.NumCPU()
	if prev != nil {
		workers = max(1, workers/2)
	}
	list := func(zones []config.Zone, prev *Snapshot) []*masterfile.Loaded {
		want := func(i int) (masterfile.Wanted, bool) {
			c := &zones[i]
			w := masterfile.Wanted{Origin: c.Name, File: c.File, Limits: settings.Reading(c)}
			if prev != nil {
				if a := prev.apexes.Get(c.Name); a != nil && a.served.Kind == c.Kind && a.served.File == c.File {
					w.Known = a.served.stamps
				}
			}
			return w, c.Kind == "file"
		}
		return images.LoadAll(len(zones), workers, want, func(done int) { tell(done, len(zones)) })
	}
	all := reading{"": list(cfg.Zones, prev)}
	for i := range cfg.Views {
		all[cfg.Views[i].Name] = list(cfg.Views[i].Zones, prev.viewOf(cfg.Views[i].Name))
	}
	return all
}

func (n *Node) tellReading(done, of int) {
	n.log.Info("reading zone files", "looked_at", done, "of", of)
}

// readConfig reads the configuration, if it or a list of zones has changed since it was
// read. One that says the same comes back as what is in force, so that all that was made
// of it can be taken over.
func (n *Node) readConfig() (*config.Config, error) {
	n.mu.Lock()
	text := n.asRead && !n.file.Changed()
	same := text && !n.configChanged()
	n.looked(n.path)
	file := n.listed.file
	n.mu.Unlock()
	if same {
		return file, nil
	}
	cfg, err := n.load(n.path)
	if err == nil && text && file.HasZonesOf(cfg) { // a file has come into a folder and gone again, as editors do it
		return file, nil
	}
	return cfg, err
}

// takeOver makes the zones of s those of the snapshot before, which has the same list,
// and then looks at those that have steered names or were read again. It reports whether
// that is less than making all of them.
func (s *Snapshot) takeOver(from before) bool {
	prev, zones := from.prev, s.Config.Zones
	if prev == nil || !config.IsOneList(zones, prev.Config.Zones) {
		return false
	}
	again := map[dnsname.Name]*masterfile.Loaded{}
	for _, names := range []map[dnsname.Name][]marking{s.steering, prev.steering} {
		for name := range names {
			again[name] = nil
		}
	}
	for i, read := range from.reading[from.view] {
		if read != nil {
			again[zones[i].Name] = read
		}
	}
	if len(again) > len(zones)/takenOver {
		return false
	}
	s.apexes, s.zones, s.lives, s.broken = prev.apexes, prev.zones, prev.lives, prev.broken
	s.takesOver, s.revised = true, nil
	for name, read := range again {
		from.read = read
		s.revise(name, from)
	}
	return true
}

// takenOver: with more than one of so many zones to be made, making all costs less than
// to copy what they are found in for each.
const takenOver = 256
