package balance

import (
	"math"

	"pharos/internal/traffic/consistent"
)

// maxHops bounds how far a key goes on from a member that is down or over its bound.
// Past it the key is given to somebody by its hash alone.
const maxHops = 512

// hashed returns the member that has the key: the same one each time, unless it was
// tried, or has more in flight than the bound allows.
func (p *pick) hashed() int {
	l := p.within
	if l.Ring != nil {
		return p.onRing()
	}
	key := p.Key
	at := p.inTable(key)
	if l.Fair == nil && len(p.tried) == 0 {
		return int(l.Members[at])
	}
	fair := p.fair()
	best, least := at, float32(math.Inf(1))
	for range min(maxHops, 8*len(l.Members)) {
		if m := int(l.Members[at]); !contains(p.tried, m) {
			over := p.overload(at, fair)
			if over <= 0 {
				return m
			}
			if over < least {
				best, least = at, over
			}
		}
		key = consistent.Mix(key + 1) // the next choice of this key
		at = p.inTable(key)
	}
	return int(l.Members[best])
}

func (p *pick) inTable(key uint64) int {
	if p.within.Maglev != nil {
		return p.within.Maglev.Find(key)
	}
	return p.within.Rendezvous.Find(key)
}

// onRing goes from the point of the key to the first one whose member is up, has not
// been tried and is within its bound.
func (p *pick) onRing() int {
	l := p.within
	point, fair := l.Ring.Find(p.Key), p.fair()
	best, least := -1, float32(math.Inf(1))
	for range min(maxHops, l.Ring.Len()) {
		member, rank := l.Ring.Owner(point)
		if rank < int(l.Limits[member]) && !contains(p.tried, member) {
			if l.Fair == nil {
				return member
			}
			over := p.overload(l.Position(int32(member)), fair)
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
		best = int(l.Members[consistent.Mix(p.Key)%uint64(len(l.Members))])
	}
	return best
}

// fair returns the number of requests in flight, with this one, that bounds are parts
// of; 0 without a bound.
func (p *pick) fair() float32 {
	if p.within.Fair == nil {
		return 0
	}
	return float32(p.load.Active() + 1)
}

// overload returns how many requests the member at a position would be over its bound
// with this one; at most 0 is within. The bound is rounded up, so that there is always
// room for one more somewhere.
func (p *pick) overload(at int, all float32) float32 {
	l := p.within
	if l.Fair == nil {
		return 0
	}
	bound := float32(math.Ceil(float64(all * l.Fair[at])))
	return float32(l.Loads[at].Active.Load()+1) - bound
}
