package node

import (
	"runtime"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/masterfile"
)

// This file is how master files are read: on all processors, and while zones are served
// without Node.mu, so that no change waits for it.

// reading is what was read of the master files of a configuration, by view. A nil reading
// has nothing.
type reading struct {
	loaded map[string][]*masterfile.Loaded // by the index in the list of zones; nil for one that is as it was
	lists  map[string]*config.ListChange   // beside the list in force then
}

// of returns what was read of a zone.
func (r *reading) of(view string, index int) *masterfile.Loaded {
	if r == nil || index >= len(r.loaded[view]) {
		return nil
	}
	return r.loaded[view][index]
}

// change returns what is different between two lists of zones of one text.
func (r *reading) change(view string, from, to []config.Zone) *config.ListChange {
	if r != nil && r.lists[view].IsBetween(from, to) {
		return r.lists[view]
	}
	return config.CompareLists(from, to)
}

// readZones reads the files of zones that are not as they were when prev, which may be
// nil, was made. While something is served, half of the processors are left to that.
func readZones(cfg *config.Config, prev *Snapshot, images *masterfile.Images, tell func(done, of int)) *reading {
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
					w.Known = a.served.Stamps
				}
			}
			return w, c.Kind == "file"
		}
		return images.LoadAll(len(zones), workers, want, func(done int) { tell(done, len(zones)) })
	}
	all := &reading{map[string][]*masterfile.Loaded{}, map[string]*config.ListChange{}}
	add := func(view string, zones []config.Zone, prev *Snapshot) {
		all.loaded[view] = list(zones, prev)
		if prev != nil && cfg.IsOfOneText(prev.Config) {
			all.lists[view] = config.CompareLists(prev.Config.Zones, zones)
		}
	}
	add("", cfg.Zones, prev)
	for i := range cfg.Views {
		add(cfg.Views[i].Name, cfg.Views[i].Zones, prev.viewOf(cfg.Views[i].Name))
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
