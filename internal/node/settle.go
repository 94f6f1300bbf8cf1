package node

import (
	"runtime"
	"runtime/debug"

	"pharos/internal/hugepages"
)

// settle puts the memory of the process in order after much was read. At the start what
// reading took is given back at once, and zones go into huge pages. Later they come in them,
// out of the image that another process has made, as no new version should wait for that and
// answers neither; and the runtime gives back memory bit by bit, as at once would hold up
// every answer for some 40 ms for 100 MB.
func settle(s *Snapshot, start bool) {
	if !start {
		runtime.GC()
		return
	}
	debug.FreeOSMemory()
	for z := range s.served() {
		hugepages.Spread(z.Zone)
	}
}
