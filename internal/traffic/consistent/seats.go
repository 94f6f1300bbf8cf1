package consistent

import (
	"math"
	"math/bits"
)

// seating is how more members draw than could all be asked. Who has the highest draw for a key is who comes
// first when each comes by chance, as often as it has weight (a Poisson process). All of these together
// come as one process of which each time is somebody's, and that can be gone through from its beginning: a key
// leads from seat to seat, a member has seats by its weight, and who sits on the first seat that is taken
// has the key. A seat that holds less than a whole one is left empty by as many keys.
//
// So a look-up takes as many steps as there are seats for each that is taken, two to six, and a member that
// leaves leaves its seats to nobody: its keys go on, each to the next one on its way.
type seating struct {
	seats   []seat
	shift   uint    // of a draw, to a seat
	places  []place // of members, one after the other
	members []Member
	present []Member // with the weights of now
	numbers []int32  // of present
}

// seat is who sits there, and which part of 2^32 keys find it taken.
type seat struct {
	cut    uint32
	member int32
}

// place is a seat that a member has, and which part of it.
type place struct {
	seat   uint32
	member int32
	part   float32
}

// maxLed bounds how long a key is led on: with nine of ten members gone, one of a hundred keys has not
// come to anybody by then. For these all of those present draw.
const maxLed = 64

// newSeating seats members.
func newSeating(members []Member) *seating {
	sum := 0
	for _, m := range members {
		sum += m.Weight
	}
	// A whole seat is some more than the mean weight: of the powers of two by the root of two, so that few
	// weights that people choose are near a border, at which keys move.
	unit := math.Exp2(math.Ceil(math.Log2(float64(sum)/float64(len(members))*math.Sqrt2))) / math.Sqrt2
	s := &seating{members: members}
	for i, m := range members {
		for w := float64(m.Weight) / unit; w > 0; w-- {
			s.places = append(s.places, place{member: int32(i), part: float32(min(w, 1))})
		}
	}
	size := bits.Len(uint(len(s.places) + len(s.places)/2)) // of three seats at most two are taken
	s.shift = uint(64 - size)
	s.seats = make([]seat, 1<<size)
	s.sit()
	return s
}

// sit finds a seat for everybody. Each goes from one to the next in an order of its own, and of two at one
// seat he stays who has the better claim to it (Gale and Shapley 1962): who sits where does not go by the
// order of members, and when one is configured or not any more few others sit elsewhere.
func (s *seating) sit() {
	taken := make([]int32, len(s.seats)) // by which place, and one
	tries := make([]uint64, len(s.places))
	which := uint64(0) // of the seats of a member
	claims := make([]uint64, len(s.places))
	for i, p := range s.places {
		if i > 0 && p.member != s.places[i-1].member {
			which = 0
		}
		claims[i] = Mix(s.members[p.member].ID + which*k1)
		which++
	}
	for i := range s.places {
		for now := int32(i); ; {
			at := (claims[now] + tries[now]*(claims[now]>>32|1)) >> 7 & uint64(len(s.seats)-1)
			tries[now]++
			there := taken[at] - 1
			if there >= 0 && fold(claims[there]^at, k2) < fold(claims[now]^at, k2) {
				continue
			}
			taken[at], s.places[now].seat = now+1, uint32(at)
			if there < 0 {
				break
			}
			now = there
		}
	}
}

// keep returns s with other weights.
func (s *seating) keep(weights []int) *seating {
	k := *s
	k.seats = make([]seat, len(s.seats))
	for _, p := range s.places {
		part := float64(p.part) * min(1, float64(weights[p.member])/float64(s.members[p.member].Weight))
		k.seats[p.seat] = seat{uint32(min(part*(1<<32), math.MaxUint32)), p.member}
	}
	k.present, k.numbers = nil, nil
	for i, w := range weights {
		if w > 0 {
			k.present, k.numbers = append(k.present, Member{s.members[i].ID | 1, w}), append(k.numbers, int32(i))
		}
	}
	return &k
}

// find returns the place in members of who has a key that was mixed, or -1 if nobody is there.
func (s *seating) find(key uint64) int {
	for range maxLed {
		key = key*(k2|1) + k1
		if at := &s.seats[key>>s.shift]; uint32(key>>16) < at.cut {
			return int(at.member)
		}
	}
	best, least := -1, math.Inf(1)
	for i, m := range s.present {
		if e := float64(exponential(key*m.ID)) / float64(m.Weight); e < least {
			best, least = int(s.numbers[i]), e
		}
	}
	return best
}
