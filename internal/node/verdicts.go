package node

import "path/filepath"

func verdictsFile(data string) string { return filepath.Join(data, "health.json") }

// restoreVerdicts gives the prober what the process before knew.
func (n *Node) restoreVerdicts(data string) {
	if err := n.prober.Load(verdictsFile(data)); err != nil {
		n.log.Warn("last known health not read; members are unknown until probed", "error", err)
	}
}

// saveVerdicts writes what is known now, if it has changed. It is at most a second behind.
func (n *Node) saveVerdicts(data string) {
	if !n.verdictsChanged.Swap(false) {
		return
	}
	if err := n.prober.Save(verdictsFile(data)); err != nil {
		n.log.Warn("last known health not saved; a start would begin with unknown members", "error", err)
	}
}
