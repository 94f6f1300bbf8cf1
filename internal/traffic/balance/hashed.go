package balance

import (
	"math"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/pool"
)

// maxHops bounds how far a key goes on from a member that is down or over its bound.
// Past it the key is given to somebody by its hash alone.
const maxHops = 512

// hashed returns the member that has the key: the same one each time, unless it was
// tried, or has more in flight than the bound allows.
func hashed(l *pool.Level, load *Load, key uint64, tried []int) int {
	fair := float32(0)
	if l.Fair != nil {
		fair = float32(load.Active() + 1) // bounds are parts of what is in flight, with this one
	}
	if l.Ring != nil {
		return onRing(l, key, fair, tried)
	}
	m := inTable(l, key)
	if l.Fair == nil && len(tried) == 0 {
		return m
	}
	best, least := m, float32(math.Inf(1))
	for range min(maxHops, 8*len(l.Members)) {
		if !contains(tried, m) {
			over := overload(l, m, fair)
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

// onRing goes from the point of the key to the first one whose member is up, has not
// been tried and is within its bound.
func onRing(l *pool.Level, key uint64, fair float32, tried []int) int {
	point := l.Ring.Find(key)
	if member, rank := l.Ring.Owner(point); len(tried) == 0 && rank < int(l.Limits[member]) && (l.Fair == nil || isWithin(&l.Fair[member], fair)) {
		return member
	}
	return onwards(l, point, key, fair, tried)
}

// onwards goes on from a point.
func onwards(l *pool.Level, point int, key uint64, fair float32, tried []int) int {
	best, least := -1, float32(math.Inf(1))
	for range min(maxHops, l.Ring.Len()) {
		member, rank := l.Ring.Owner(point)
		if rank < int(l.Limits[member]) && !contains(tried, member) {
			if l.Fair == nil {
				return member
			}
			over := overload(l, member, fair)
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

// isWithin reports whether a member that has f may have one more of all requests, with that one. The bound is
// rounded up, so that there is always room for one more somewhere: n+1 is at most x rounded up exactly when n
// is below x.
func isWithin(f *pool.Fair, all float32) bool {
	return float32(f.Load.Active.Load()) < all*f.Part
}

// overload returns how many requests member m would be over its bound with this one; at most
// 0 is within.
func overload(l *pool.Level, m int, all float32) float32 {
	if l.Fair == nil || isWithin(&l.Fair[m], all) {
		return 0
	}
	return float32(l.Fair[m].Load.Active.Load()) + 1 - all*l.Fair[m].Part
}
