// Package hugepages puts the memory of large zones into huge pages, where a query waits
// less for the processor's table of pages. It owns from which size on, and how; when is for
// whoever publishes zones.
//
// Entry point: Spread.
//
// Concurrency: functions without shared state; the memory may be read meanwhile.
package hugepages

import "pharos/internal/authority/zone"

// least is from which size on a zone is put into huge pages.
const least = 8 << 20

// Spread puts a large zone into huge pages; z may be nil.
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
