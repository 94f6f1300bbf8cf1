package steer

import (
	"time"

	"pharos/internal/traffic/pool"
)

// ShedLevels returns of how many answers in Shares each member of v is to be left out by
// the filters of kind Shed: of none below From percent of its capacity, of all at it, and
// in proportion between. nil: nobody of any. now is by the clock of loads.
//
// That is a share and not a verdict, because an answer is kept by resolvers: who is left
// out of all of them loses every client at once, and gets every one back a TTL later.
func ShedLevels(v *pool.View, filters []Filter, now time.Duration) []uint8 {
	var levels []uint8
	for f := range filters {
		if filters[f].Kind != Shed {
			continue
		}
		for i := range v.Members {
			level := shedLevel(&v.Members[i], &filters[f], now)
			if level == 0 {
				continue
			}
			if levels == nil {
				levels = make([]uint8, len(v.Members))
			}
			levels[i] = max(levels[i], level)
		}
	}
	return levels
}

func shedLevel(m *pool.Member, f *Filter, now time.Duration) uint8 {
	have, room := float64(m.Load.Active.Load()), float64(m.Capacity)
	switch f.By {
	case ByBandwidth:
		have, room = 8*m.Load.Bandwidth(now), float64(m.Bandwidth)
	case ByLoad:
		have, room = float64(m.Notes.Report.Load), 1000
	}
	percent, from := 100*have/max(room, 1), float64(f.From)
	switch {
	case room == 0 || percent < from: // no bound, or room
		return 0
	case percent >= 100:
		return Shares
	}
	return uint8(min(1+(percent-from)/(100-from)*Shares, Shares))
}
