package consistent

import "math"

// Rendezvous gives a key to the member that draws the least for it; what a member
// draws goes by its identity, its weight and the key alone. So when a member leaves or
// has less weight its keys move and no others.
//
// Up to maxDirect members all draw. Of more the draws of a key are gone through from the highest one on: see
// seats. Both kinds are made of members as they are configured, and Keep says who of them is there.
type Rendezvous struct {
	all     []Member // as configured
	numbers []int32  // their numbers; nil: they are their places in all

	kinds   []kind   // of those who draw directly
	seating *seating // of more
}

// kind is those who draw directly with one weight.
type kind struct {
	ids     []uint64 // odd
	owners  []int32  // their numbers
	inverse float32  // of the weight
}

// maxDirect is up to how many members draw for each key: 64 take some 50 ns.
const maxDirect = 64

// NewRendezvous returns the table of members, of whom Find returns numbers[i] for the ith; nil: i.
func NewRendezvous(members []Member, numbers []int32) *Rendezvous {
	r := &Rendezvous{all: members, numbers: numbers}
	if len(members) > maxDirect {
		r.seating = newSeating(members)
	}
	weights := make([]int, len(members))
	for i, m := range members {
		weights[i] = m.Weight
	}
	return r.Keep(weights)
}

// Keep returns the table when members have other weights, in the order in which they were given, and none
// above what they began with; those of weight 0 are not there.
func (r *Rendezvous) Keep(weights []int) *Rendezvous {
	k := &Rendezvous{all: r.all, numbers: r.numbers}
	if r.seating != nil {
		k.seating = r.seating.keep(weights)
		return k
	}
	for done := 0; ; {
		next := math.MaxInt // of the weights that are left, the least
		for _, w := range weights {
			if w > done && w < next {
				next = w
			}
		}
		if next == math.MaxInt {
			return k
		}
		these := kind{inverse: 1 / float32(next)}
		for i, w := range weights {
			if w == next {
				these.ids, these.owners = append(these.ids, r.all[i].ID|1), append(these.owners, r.number(i))
			}
		}
		k.kinds = append(k.kinds, these)
		done = next
	}
}

func (r *Rendezvous) number(i int) int32 {
	if r.numbers == nil {
		return int32(i)
	}
	return r.numbers[i]
}

// Find returns the number of the member that has key, or -1 if there is none.
func (r *Rendezvous) Find(key uint64) int {
	key = fold(key^k0, k2)
	if r.seating != nil {
		if i := r.seating.find(key); i >= 0 {
			return int(r.number(i))
		}
		return -1
	}
	switch len(r.kinds) {
	case 0:
		return -1
	case 1:
		return int(r.kinds[0].owners[lowest(r.kinds[0].ids, key)&places])
	}
	return r.earliest(key)
}

// earliest returns the number of who comes first by an exponential draw, of rate weight: each does with a
// probability in proportion to its weight. Of those with one weight it is who draws the least.
func (r *Rendezvous) earliest(key uint64) int {
	best := int64(math.MaxInt64)
	for i := range r.kinds {
		k := &r.kinds[i]
		draw := lowest(k.ids, key)
		// Floats above 0 are ordered as their bits. The lesser of two without a branch.
		now := int64(math.Float32bits(exponential(draw)*k.inverse))<<32 | int64(k.owners[draw&places])
		less := now - best
		best += less & (less >> 63)
	}
	return int(int32(best))
}

// places are the bits of a draw that give way to the place of who draws.
const places = maxDirect - 1

// lowest returns the lowest draw of identities of one weight, with the place of whose it is in its lowest bits,
// so that there is no branch, which nobody could foresee. Inlined, the compiler makes one of it again.
//
//go:noinline
func lowest(ids []uint64, key uint64) uint64 {
	least := uint64(math.MaxUint64)
	for i, id := range ids {
		least = min(least, key*id&^places|uint64(i))
	}
	return least
}

// steps of the table of exponential: between them it is a line. The first draws
// decide, and there the curve is all but straight.
const steps = 1024

var logarithms = func() (table [steps + 1]float32) {
	for i := range steps {
		table[i] = float32(-math.Log1p(-float64(i) / steps))
	}
	table[steps] = 2 * table[steps-1] // of infinity
	return table
}()

// exponential makes an exponential draw of an even one of 64 bits.
func exponential(draw uint64) float32 {
	i := draw >> 54
	within := float32(int64(draw>>30&(1<<24-1))) * (1.0 / (1 << 24))
	return logarithms[i] + within*(logarithms[i+1]-logarithms[i])
}
