package node

import (
	"runtime"
	"runtime/debug"

	"pharos/internal/authority/zone"
)

// hugeZone is from which size on a zone is put into huge pages.
const hugeZone = 8 << 20

// settle puts the memory of the process in order after much was read. At the start what
// reading took is given back at once, and zones go into huge pages. Later they have before
// they are served, or answers would wait for each page that is about to be one; and the
// runtime gives back memory bit by bit, as at once would hold up every answer for some 40 ms
// for 100 MB.
func settle(s *Snapshot, start bool) {
	if !start {
		runtime.GC()
		return
	}
	debug.FreeOSMemory()
	for z := range s.served() {
		spread(z.Zone)
	}
}

// spread puts a large zone into huge pages, where a query waits less for memory.
func spread(z *zone.Zone) {
	if z == nil {
		return
	}
	if _, _, size := z.Stats(); size < hugeZone {
		return
	}
	for _, memory := range z.Memory() {
		makeHuge(memory)
	}
}
