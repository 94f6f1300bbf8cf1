package balance

import (
	"math"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/pool"
)

// maxHops bounds how far a key goes on from a member that is down or over its bound.
// Past it the key is given to somebody by its hash alone.
const maxHops = 512

// keyed is hashed when nobody was tried: most keys are with the member that their table names, and this finds no
// more than that.
func keyed(l *pool.Level, load *Load, key uint64) int {
	switch {
	case l.Ring != nil:
		all, point, member, rank := int64(0), 0, 0, 0
		if point, member, rank = l.Ring.Find(key); rank < int(l.Limits[member]) {
			if l.Fair == nil {
				return member
			}
			if all = load.Active(); l.Fair[member].IsWithin(all) {
				return member
			}
		}
		return onwards(l, point, key, all, nil)
	case l.Fair != nil:
	case l.Maglev != nil:
		return l.Maglev.Find(key)
	default:
		return l.Rendezvous.Find(key)
	}
	return hashed(l, load, key, nil)
}

// hashed returns the member that has the key: the same one each time, unless it was
// tried, or has more in flight than the bound allows.
func hashed(l *pool.Level, load *Load, key uint64, tried []int) int {
	all := int64(0)
	if l.Fair != nil {
		all = load.Active() // bounds are parts of what is in flight
	}
	if l.Ring != nil {
		point, _, _ := l.Ring.Find(key)
		return onwards(l, point, key, all, tried)
	}
	m := inTable(l, key)
	if l.Fair == nil && len(tried) == 0 {
		return m
	}
	best, least := m, float32(math.Inf(1))
	for range min(maxHops, 8*len(l.Members)) {
		if !contains(tried, m) {
			over := overload(l, m, all)
			if over <= 0 {
				return m
			}
			if over < least {
				best, least = m, over
			}
		}
		key = consistent.Mix(key + 1) // the next choice of this key
		m = inTable(l, key)
	}
	return best
}

func inTable(l *pool.Level, key uint64) int {
	if l.Maglev != nil {
		return l.Maglev.Find(key)
	}
	return l.Rendezvous.Find(key)
}

// onwards goes on from the point of a key to the first one whose member is up, has not been tried and is within
// its bound.
func onwards(l *pool.Level, point int, key uint64, all int64, tried []int) int {
	best, least := -1, float32(math.Inf(1))
	for range min(maxHops, l.Ring.Len()) {
		member, rank := l.Ring.Owner(point)
		if rank < int(l.Limits[member]) && !contains(tried, member) {
			if l.Fair == nil {
				return member
			}
			over := overload(l, member, all)
			if over <= 0 {
				return member
			}
			if over < least {
				best, least = member, over
			}
		}
		if point++; point == l.Ring.Len() {
			point = 0
		}
	}
	if best < 0 {
		best = int(l.Members[consistent.Mix(key)%uint64(len(l.Members))])
	}
	return best
}

// overload returns how many requests member m would be over its bound with one more of all; at most 0 is within.
func overload(l *pool.Level, m int, all int64) float32 {
	if l.Fair == nil {
		return 0
	}
	return l.Fair[m].Over(all)
}
