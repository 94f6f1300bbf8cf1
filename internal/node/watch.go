package node

import (
	"slices"
	"sync"

	"pharos/internal/admin/config"
	"pharos/internal/admin/versions"
	"pharos/internal/diskfile"
)

// watchedZones is how many zones' files are looked at in one watchInterval: some
// milliseconds of system calls, so that among many zones looking takes half a
// percent of one processor and no more. With 100,000 zones a change is seen within
// a minute; "pharos reload" looks at all files at once.
const watchedZones = 2000

// watch is which files are looked at; guarded by Node.mu.
type watch struct {
	reloading sync.Mutex // makes what reads all files follow each other; taken before Node.mu

	file    diskfile.Stamp   // of the configuration file last read, be it refused
	lists   []diskfile.Stamp // which zones there are, likewise
	watchAt int              // the zone whose file is looked at next
	asRead  bool             // the last reading of them is in force
	rereads bool             // constant: nothing else makes the configuration
	begun   *config.Config   // constant: what of it took effect at the start
}

// looked notes that the files that say what there is to serve are about to be read.
func (w *watch) looked(path string) {
	w.file, w.lists = diskfile.StampOf(path), slices.Clone(w.lists)
	for i, l := range w.lists {
		w.lists[i] = diskfile.StampOf(l.Path)
	}
}

// configChanged reports whether a file has changed that says what there is to serve.
func (w *watch) configChanged() bool {
	return w.file.Changed() || slices.ContainsFunc(w.lists, diskfile.Stamp.Changed)
}

// filesChanged reports whether the configuration file has changed since it was read,
// or, of the zones that it is the turn of, the file of one. n.mu is held.
func (n *Node) filesChanged() bool {
	if n.configChanged() || n.root.HasChanged() || n.anchors.HasChanged() || n.hints.HasChanged() {
		return true
	}
	s := n.current.Load()
	if s.hostsChanged() {
		return true
	}
	all := append([]*Snapshot{s}, s.views...)
	total := 0
	for _, s := range all {
		total += len(s.Config.Zones)
	}
	for range min(total, watchedZones) {
		if n.watchAt >= total {
			n.watchAt = 0
		}
		if z := zoneAt(all, n.watchAt); z != nil && z.Kind == "file" && diskfile.Changed(z.Stamps) {
			return true
		}
		n.watchAt++
	}
	return false
}

// zoneAt returns the i-th of the zones of some snapshots.
func zoneAt(all []*Snapshot, i int) *versions.Zone {
	for _, s := range all {
		if i < len(s.Config.Zones) {
			if a := s.apexes.Get(s.Config.Zones[i].Name); a != nil {
				return a.served
			}
			return nil
		}
		i -= len(s.Config.Zones)
	}
	return nil
}
