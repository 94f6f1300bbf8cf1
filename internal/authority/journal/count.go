package journal

import (
	"pharos/internal/authority/zone"
	"pharos/internal/dns/rdata"
)

// Count returns how many records that counts is true for only old has, and how many
// only now has. The zone's SOA record is not among them.
func Count(old, now *zone.Zone, counts func(rdata.Record) bool) (deleted, added int) {
	compare(old, now, func(r rdata.Record, isAdded bool) bool {
		switch {
		case !counts(r):
		case isAdded:
			added++
		default:
			deleted++
		}
		return true
	})
	return deleted, added
}
