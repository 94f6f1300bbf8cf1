package node

import (
	"path/filepath"

	"pharos/internal/diskfile"
	"pharos/internal/traffic/probe"
)

// What is known of the health of members outlives the process, so that a start
// sends nobody to a server that was dead a second ago. It is kept as JSON, at
// most a second behind; a file that cannot be read only means that every member
// is Unknown until its first probe.

func verdictsFile(data string) string { return filepath.Join(data, "health.json") }

// restoreVerdicts gives the prober what the process before knew.
func (n *Node) restoreVerdicts(data string) {
	var known []probe.Known
	if err := diskfile.LoadJSON(verdictsFile(data), &known); err != nil {
		n.log.Warn("last known health not read; members are unknown until probed", "error", err)
		return
	}
	n.prober.Restore(known)
}

// saveVerdicts writes what is known now, if it has changed.
func (n *Node) saveVerdicts(data string) {
	if !n.verdictsChanged.Swap(false) {
		return
	}
	if err := diskfile.SaveJSON(verdictsFile(data), n.prober.Snapshot()); err != nil {
		n.log.Warn("last known health not saved; a start would begin with unknown members", "error", err)
	}
}
