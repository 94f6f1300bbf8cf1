package journal

import (
	"iter"

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

// Changes yields each record that only one of the versions has, and whether it is the
// new one: the SOA record first if it differs, the others in canonical order of their
// names. A record whose TTL has changed is in both.
func Changes(old, now *zone.Zone) iter.Seq2[rdata.Record, bool] {
	return func(yield func(rdata.Record, bool) bool) {
		if x, y := soaOf(old), soaOf(now); !same(x, y) && (!yield(x, false) || !yield(y, true)) {
			return
		}
		compare(old, now, yield)
	}
}
