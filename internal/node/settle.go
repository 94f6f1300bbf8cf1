package node

import "runtime/debug"

// hugeZone is from which size on a zone is put into huge pages.
const hugeZone = 8 << 20

// settle puts the memory of the process in order after much was read: what reading
// took is given back, and large zones go into huge pages, where a query waits less
// for memory.
func settle(s *Snapshot) {
	debug.FreeOSMemory()
	for z := range s.served() {
		if z.Zone == nil {
			continue
		}
		if _, _, size := z.Zone.Stats(); size < hugeZone {
			continue
		}
		for _, memory := range z.Zone.Memory() {
			makeHuge(memory)
		}
	}
}
