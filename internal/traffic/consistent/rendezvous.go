package consistent

import (
	"math"
	"math/bits"
)

// Rendezvous gives a key to the member that draws the most for it; what a member
// draws goes by its identity, its weight and the key alone.
//
// Of more than maxDirect members not all draw: they stand in leaves of a binary tree
// by their identities, the key goes down by the weights of the halves, and the
// members of one leaf draw. When a member leaves, the weights above it change, which
// moves about half a share more at each of 8 levels.
type Rendezvous struct {
	ids     []uint64  // by leaf
	numbers []uint16  // of the members
	inverse []float32 // of the weights; nil: all are equal
	most    float32   // the highest weight
	tree    []uint64  // of each node, 1 being the root: the part of its weight that is on the left; nil: there is one leaf
	leaves  []int32   // where each begins, and the end
}

// maxDirect is up to how many members draw for each key: 128 take some 200 ns.
const maxDirect = 128

// membersPerLeaf: 4 draws take as long as two more levels of the way down to them.
const membersPerLeaf = 4

// membersPerLevel is how many members there are to be for each level of the tree. At
// each level a member that leaves moves keys worth half of its share in vain: with 50,
// that is a hundredth of all keys in the end.
const membersPerLevel = 50

// leavesOf returns how many leaves there are for at most n members: a power of 4,
// so that few numbers of members are a border at which keys move.
func leavesOf(n int) int {
	leaves := 1
	for levels := 2; n > maxDirect && leaves*membersPerLeaf < n && levels*membersPerLevel <= n; levels += 2 {
		leaves *= 4
	}
	return leaves
}

// NewRendezvous returns the table of members, of whom there may at other times be
// up to most.
func NewRendezvous(members []Member, most int) *Rendezvous {
	leaves := leavesOf(max(most, len(members)))
	r := &Rendezvous{leaves: make([]int32, leaves+1)}
	sums := make([]uint64, 2*leaves)
	equal := true
	for _, m := range members {
		at := leafOf(m.ID, leaves)
		r.leaves[at+1]++
		sums[leaves+at] += uint64(m.Weight)
		equal = equal && m.Weight == members[0].Weight
	}
	for i := range leaves {
		r.leaves[i+1] += r.leaves[i]
	}
	for i := leaves - 1; i > 0; i-- {
		sums[i] = sums[2*i] + sums[2*i+1]
	}
	if leaves > 1 {
		r.tree = make([]uint64, leaves)
		for i := 1; i < leaves; i++ {
			r.tree[i] = partOf(sums[2*i], sums[i])
		}
	}
	r.fill(members, leaves, equal)
	return r
}

func (r *Rendezvous) fill(members []Member, leaves int, equal bool) {
	r.ids, r.numbers = make([]uint64, len(members)), make([]uint16, len(members))
	if !equal {
		r.inverse = make([]float32, len(members))
	}
	next := append([]int32(nil), r.leaves...)
	for i, m := range members {
		at := &next[leafOf(m.ID, leaves)]
		r.ids[*at], r.numbers[*at] = m.ID, uint16(i)
		if !equal {
			r.inverse[*at] = 1 / float32(m.Weight)
			r.most = max(r.most, float32(m.Weight))
		}
		*at++
	}
}

func leafOf(id uint64, leaves int) int { return int(Mix(id^k1) % uint64(leaves)) }

// Find returns the number of the member that has key, or -1 if there is none.
func (r *Rendezvous) Find(key uint64) int {
	if len(r.ids) == 0 {
		return -1
	}
	key = fold(key^k0, k2)
	leaf := 0
	if r.tree != nil {
		leaf = r.descend(key)
	}
	from, to := r.leaves[leaf], r.leaves[leaf+1]
	if r.inverse == nil {
		return int(r.numbers[int(from)+lowest(r.ids[from:to], key)])
	}
	return int(r.numbers[int(from)+r.earliest(r.ids[from:to], r.inverse[from:to], key)])
}

// descend returns the leaf that key leads to; its weight is not 0.
func (r *Rendezvous) descend(key uint64) int {
	leaves := uint64(len(r.tree))
	node := uint64(1)
	for node < leaves {
		key *= k2 | 1 // a draw for each level
		_, left := bits.Sub64(key, r.tree[node], 0)
		node = 2*node + 1 - left
	}
	return int(node - leaves)
}

// partOf returns what part is of all, as a part of 2^64; of nothing, nothing.
func partOf(part, all uint64) uint64 {
	if part == all {
		return math.MaxUint64
	}
	quotient, _ := bits.Div64(part, 0, all)
	return quotient
}

// draw returns what a member draws for a key that was mixed.
func draw(key, id uint64) uint64 { return fold(key^id, k1) }

// lowest returns the position of the identity that draws the least, which is the earliest
// one when all weights are equal.
func lowest(ids []uint64, key uint64) int {
	best, least := 0, uint64(math.MaxUint64)
	for i, id := range ids {
		if d := draw(key, id); d < least {
			best, least = i, d
		}
	}
	return best
}

// earliest returns the position of the identity whose exponential draw, of rate
// weight, comes first: each does with a probability in proportion to its weight.
//
// -ln(1-x) is at least x, and little more where x is small, as that of the earliest mostly
// is. So the least x by weight is it, unless another one is so close that logarithms
// have to tell; this way is without branches that nobody can foresee.
func (r *Rendezvous) earliest(ids []uint64, inverse []float32, key uint64) int {
	inverse = inverse[:len(ids)]
	best, second := int64(math.MaxInt64), int64(math.MaxInt64)
	for i, id := range ids {
		atLeast := float32(int64(draw(key, id)>>40)) * (1.0 / (1 << 24)) * inverse[i]
		now := int64(math.Float32bits(atLeast))<<32 | int64(i) // floats above 0 are ordered as their bits
		less := (now - best) & ((now - best) >> 63)
		other := now - less // the greater of the two
		best += less
		second += (other - second) & ((other - second) >> 63)
	}
	i := int(uint32(best))
	// -ln(1-x) is at most x+x*x for x below 0.6, and x at most what it is for the highest weight.
	atLeast, other := math.Float32frombits(uint32(best>>32)), math.Float32frombits(uint32(second>>32))
	if x := atLeast * r.most; x < 0.6 && atLeast+atLeast*x <= other {
		return i
	}
	if exponential(draw(key, ids[i]))*inverse[i] <= other {
		return i
	}
	return earliestByLogarithm(ids, inverse, key)
}

func earliestByLogarithm(ids []uint64, inverse []float32, key uint64) int {
	best, least := 0, float32(math.Inf(1))
	for i, id := range ids {
		d := draw(key, id)
		if float32(int64(d>>40))*(1.0/(1<<24))*inverse[i] >= least {
			continue
		}
		if e := exponential(d) * inverse[i]; e < least {
			best, least = i, e
		}
	}
	return best
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
