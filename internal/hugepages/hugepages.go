// Package hugepages puts the memory of large zones into huge pages, where random reads (in a
// zone's table, in its arena) wait less for the processor's table of pages. It owns from which
// size on, and how; when is for whoever makes zones.
//
// Entry points: Expect, for memory that is about to be filled, which costs nothing; Spread,
// for a zone that was built piece by piece, which is for the start of a node.
//
// Concurrency: functions without shared state; the memory may be read meanwhile.
package hugepages

import "pharos/internal/authority/zone"

// least is from which size on a zone is put into huge pages.
const least = 8 << 20

// Spread puts a large zone into huge pages, as far as the system has time for it. Nobody
// should wait for it, and it is not for a node that has been asked for long: see slow.
// z may be nil.
func Spread(z *zone.Zone) {
	if z == nil {
		return
	}
	if _, _, size := z.Stats(); size < least {
		return
	}
	for _, memory := range z.Memory() {
		collapse(memory)
	}
}

// Expect has memory that is new to the process come as huge pages when it is first written
// to. Whoever has filled it calls filled, after which the system makes no more of them there:
// it would do so behind the back of the runtime, with memory that has been given back.
func Expect(memory []byte) (filled func()) {
	if len(memory) < least {
		return func() {}
	}
	return expect(memory)
}
