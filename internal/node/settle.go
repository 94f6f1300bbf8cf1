package node

import (
	"runtime"
	"runtime/debug"
)

// hugeZone is from which size on a zone is put into huge pages.
const hugeZone = 8 << 20

// settle puts the memory of the process in order after much was read: what reading
// took is given back, and large zones go into huge pages, where a query waits less
// for memory. At the start all is given back at once. Later the runtime does it bit by
// bit: at once would hold up every answer for some 40 ms for 100 MB.
func settle(s *Snapshot, start bool) {
	if start {
		debug.FreeOSMemory()
	} else {
		runtime.GC()
	}
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
