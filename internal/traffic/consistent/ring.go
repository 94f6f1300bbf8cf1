package consistent

import (
	"math"
	"math/bits"
	"slices"
)

// Ring is points of members on a circle; a key belongs to the first point at or
// after it. It is over all members, and who is up is said at each look-up: so a ring
// is made at a reload only, and not when a member goes down.
type Ring struct {
	points []point // by place; behind them there are some more at the end of the circle
	count  []int   // points of each member
	first  []int32 // of each part of the circle: the first point in it or after
	shift  uint    // of a place on the circle, to its part
}

// point is a place on the circle, with whose it is, and the how manyth of its points: a
// member that has half of its weight now keeps the first half of them.
type point struct {
	place uint32
	owner
}

type owner struct{ member, rank uint16 }

// pointsPerMember is how many points a member of mean weight has. Its share of the
// circle is then right to about a twelfth; more would cost memory, and a table of
// Maglev is better where that matters.
const pointsPerMember = 160

// maxPoints of one member: a rank has 16 bits.
const maxPoints = 1<<16 - 1

// NewRing returns the ring of members.
func NewRing(members []Member) *Ring {
	r := &Ring{count: make([]int, len(members))}
	sum := 0
	for _, m := range members {
		sum += m.Weight
	}
	var all []uint64 // place, and the number of a point below it
	var owners []owner
	for i, m := range members {
		r.count[i] = min(max(1, (m.Weight*pointsPerMember*len(members)+sum/2)/sum), maxPoints)
		for rank := range r.count[i] {
			place := Mix(m.ID + uint64(rank)*k0)
			all = append(all, place>>32<<32|uint64(len(owners)))
			owners = append(owners, owner{uint16(i), uint16(rank)})
		}
	}
	slices.Sort(all)
	points := make([]point, len(all)+window)
	for i, p := range all {
		points[i] = point{uint32(p >> 32), owners[uint32(p)]}
	}
	for i := range window {
		points[len(all)+i].place = math.MaxUint32
	}
	r.points = points[:len(all)]
	r.index()
	return r
}

// index makes the parts of the circle: as many as points, so that a look-up begins one point
// before its end; of a large ring one for two to four points, so that they fit into a near cache.
func (r *Ring) index() {
	partBits := bits.Len(uint(max(len(r.points), 1)))
	if len(r.points) > largeRing {
		partBits -= 2
	}
	r.shift = uint(32 - partBits)
	r.first = make([]int32, 1<<partBits+1)
	at := 0
	for part := range r.first {
		for at < len(r.points) && uint64(r.points[at].place)>>r.shift < uint64(part) {
			at++
		}
		r.first[part] = int32(at)
	}
}

// largeRing is from how many points on parts have some: 16 KiB of them fit into the nearest cache
// beside other things.
const largeRing = 1 << 12

// Points returns how many points the member of that number has.
func (r *Ring) Points(member int) int { return r.count[member] }

// Len returns the number of points.
func (r *Ring) Len() int { return len(r.points) }

// Find returns the number of the point that key belongs to, and what Owner says of it. There must be one.
func (r *Ring) Find(key uint64) (at, member, rank int) {
	place := uint32(Mix(key) >> 32)
	at = int(r.first[place>>r.shift])
	for {
		next := (*[window]point)(r.points[at : at+window])
		// How many are before the place, without a branch that nobody could foresee.
		before := 0
		for i := range next {
			before -= int(int64(uint64(next[i].place)-uint64(place)) >> 63)
		}
		at += before
		if before < window {
			break
		}
	}
	if at >= len(r.points) {
		at = 0
	}
	o := r.points[at].owner
	return at, int(o.member), int(o.rank)
}

// window is how many points are looked at together: of a hundred parts three have more.
const window = 4

// Owner returns whose a point is, and the how manyth of its points.
func (r *Ring) Owner(point int) (member, rank int) {
	o := r.points[point].owner
	return int(o.member), int(o.rank)
}
