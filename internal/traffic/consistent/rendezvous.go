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

	groups  []four   // of those who draw directly
	equal   bool     // these have one weight
	owners  []int32  // their numbers, four for a group
	seating *seating // of more
}

// four members of one weight, of whom the last ones may be one: so there is no loop, and all draw at once.
type four struct {
	ids     [4]uint64 // odd
	inverse float32   // of the weight
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
		k.equal = done == 0
		k.draw(weights, next)
		done = next
	}
}

// draw has those of one weight draw.
func (r *Rendezvous) draw(weights []int, weight int) {
	var these []int
	for i, w := range weights {
		if w == weight {
			these = append(these, i)
		}
	}
	for len(these) > 0 {
		g := four{inverse: 1 / float32(weight)}
		for i := range g.ids {
			at := these[min(i, len(these)-1)]
			g.ids[i], r.owners = r.all[at].ID|1, append(r.owners, r.number(at))
		}
		r.groups = append(r.groups, g)
		these = these[min(len(g.ids), len(these)):]
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
	switch {
	case len(r.groups) == 0:
		return -1
	case r.equal:
		return int(r.owners[lowest(r.groups, key)&places])
	}
	return int(r.owners[earliest(r.groups, key)])
}

// lowest returns the lowest draw, with the place of whose it is in its lowest bits. Here and below the lesser of two
// is found without a branch, which nobody could foresee.
func lowest(groups []four, key uint64) uint64 {
	least := uint64(math.MaxUint64)
	for i := range groups {
		draw := groups[i].lowest(key)
		least = min(least, draw&^places|uint64(i*len(four{}.ids))|draw&which)
	}
	return least
}

// earliest returns the place of who comes first by an exponential draw, of rate weight: each does with a
// probability in proportion to its weight. Of those with one weight it is who draws the least.
func earliest(groups []four, key uint64) uint32 {
	best := uint64(math.MaxUint64)
	for i := range groups {
		g := &groups[i]
		draw := hide(g.lowest(key))
		// Floats above 0 are ordered as their bits.
		best = min(best, uint64(math.Float32bits(exponential(draw)*g.inverse))<<32|uint64(i*len(g.ids))|draw&which)
	}
	return uint32(best)
}

// hide returns x, and hides from the compiler that it was the lesser of two: of what an address is made of it would
// find out by a branch.
func hide(x uint64) uint64 { return math.Float64bits(math.Float64frombits(x)) }

// Bits of a draw give way to the place of who draws: among all, and in his group.
const (
	places = maxDirect - 1
	which  = 3
)

// lowest returns the lowest draw of a group.
func (g *four) lowest(key uint64) uint64 {
	a := min(key*g.ids[0]&^which, key*g.ids[1]&^which|1)
	b := min(key*g.ids[2]&^which|2, key*g.ids[3]&^which|3)
	return min(a, b)
}

// steps of the table of exponential: between them it is a line. The first draws
// decide, and there the curve is all but straight.
const steps = 1024

// logarithms are where each step begins, and how it rises for each 2^-24 of a step.
var logarithms = func() (table [steps]struct{ at, rise float32 }) {
	for i := range steps {
		at, next := -math.Log1p(-float64(i)/steps), -math.Log1p(-float64(i+1)/steps)
		if i == steps-1 {
			next = 2 * at // of infinity
		}
		table[i].at, table[i].rise = float32(at), float32((next-at)/(1<<24))
	}
	return table
}()

// exponential makes an exponential draw of an even one of 64 bits.
func exponential(draw uint64) float32 {
	step := &logarithms[draw>>54]
	return step.at + float32(int32(draw>>30&(1<<24-1)))*step.rise
}
