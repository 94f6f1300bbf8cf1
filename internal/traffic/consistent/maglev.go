package consistent

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// Maglev is a table with a slot for each remainder of a hash.
type Maglev struct {
	slots []uint16 // numbers of members
}

// maglevSizes are the sizes of tables, and for how many members each is: primes, so
// that every member visits every slot. With 400 slots for each of few members, or 250 of
// many, keys that move in vain are less than a hundredth (TestHashChurn), and a share is
// right to about as much. There are few sizes, because with another size all keys move.
var maglevSizes = []struct{ members, slots int }{
	{10, 4093}, {32, 16381}, {262, 65521}, {1048, 262139}, {4194, 1048573}, {16777, 4194301}, {1 << 16, 8388593},
}

// maglevSize returns the size of a table for at most n members.
func maglevSize(n int) int {
	for _, size := range maglevSizes {
		if size.members >= n {
			return size.slots
		}
	}
	panic("BUG: consistent: more members than a table has numbers for")
}

// NewMaglev returns the table of members, of whom there may at other times be up to
// most: the size goes by that, so that it stays when some of them are down.
func NewMaglev(members []Member, most int) *Maglev {
	if len(members) == 0 {
		return &Maglev{}
	}
	size := maglevSize(max(most, len(members)))
	m := &Maglev{slots: make([]uint16, size)}
	turns := newTurns(members, size)
	taken := make([]uint64, (size+63)/64)
	for round, filled := 1.0, 0; ; round++ {
		for i := range turns {
			t := &turns[i]
			// A member of half the weight has a slot every second round.
			if t.due > round*t.weight {
				continue
			}
			t.due++
			at := t.at
			for taken[at/64]&(1<<(at%64)) != 0 {
				if at += t.skip; at >= uint32(size) {
					at -= uint32(size)
				}
			}
			taken[at/64] |= 1 << (at % 64)
			m.slots[at] = t.member
			if t.at = at + t.skip; t.at >= uint32(size) {
				t.at -= uint32(size)
			}
			if filled++; filled == size {
				return m
			}
		}
	}
}

// Renumber returns m with other numbers for its members. Numbers are by position, below 1<<16.
func (m *Maglev) Renumber(numbers []int32) *Maglev {
	next := &Maglev{slots: make([]uint16, len(m.slots))}
	for i, slot := range m.slots {
		next.slots[i] = uint16(numbers[slot])
	}
	return next
}

// maxSteps is how many slots are looked at for one that has lost its member: when only a
// tenth of the members is left, one in a thousand is left over and goes by its hash alone.
const maxSteps = 64

// Keep returns the table of those members who are left, made of that of all. shares are by
// number: what each of members, who are those of the table, has now of its weight; 0 for who has gone. Nobody's slots but those of
// members who lose weight go to others, each where its hash leads; and the same ones come
// back. It costs a look at each slot, and some steps for those that move, where a
// new table costs some for each.
func (m *Maglev) Keep(shares []float64, members []int32) *Maglev {
	most, even := 0.0, true
	var left []uint16
	for _, i := range members {
		share := shares[i]
		if share > 0 {
			left = append(left, uint16(i))
		}
		most, even = max(most, share), even && share == shares[members[0]]
	}
	if even || most == 0 || len(m.slots) == 0 {
		return m
	}
	k := keeping{slots: m.slots, limits: make([]uint32, len(shares)), left: left}
	for _, i := range members {
		share := shares[i]
		k.limits[i] = uint32(share / most * math.MaxUint32)
	}
	next := &Maglev{slots: slices.Clone(m.slots)}
	for i, member := range m.slots {
		if k.limits[member] < math.MaxUint32 && !k.keeps(uint64(i)) {
			next.slots[i] = k.heir(uint64(i))
		}
	}
	return next
}

// keeping is a table of which some slots are kept.
type keeping struct {
	slots  []uint16
	limits []uint32 // by member: below which hash it keeps a slot
	left   []uint16 // members with some
}

func (k *keeping) keeps(slot uint64) bool {
	limit := k.limits[k.slots[slot]]
	return limit == math.MaxUint32 || limit > 0 && uint32(Mix(slot+k2)) < limit
}

// heir returns whose a slot becomes that is not kept.
func (k *keeping) heir(slot uint64) uint16 {
	hash := slot
	for range maxSteps {
		hash = Mix(hash + k1)
		if to, _ := bits.Mul64(hash, uint64(len(k.slots))); k.keeps(to) {
			return k.slots[to]
		}
	}
	at, _ := bits.Mul64(hash, uint64(len(k.left)))
	return k.left[at]
}

// maglevTurn is where a member stands in its permutation of the slots.
type maglevTurn struct {
	id       uint64
	member   uint16
	weight   float64 // of the heaviest: 1
	due      float64 // rounds times weight at which it takes the next slot; everybody has a first one
	at, skip uint32
}

// newTurns returns the members in the order of their identities, so that the table
// does not go by the order of the configuration.
func newTurns(members []Member, size int) []maglevTurn {
	heaviest := 1
	for _, m := range members {
		heaviest = max(heaviest, m.Weight)
	}
	turns := make([]maglevTurn, len(members))
	for i, m := range members {
		h := Mix(m.ID)
		turns[i] = maglevTurn{
			id: m.ID, member: uint16(i), weight: float64(m.Weight) / float64(heaviest),
			at: uint32(h % uint64(size)), skip: uint32(Mix(h^k1)%uint64(size-1)) + 1,
		}
	}
	slices.SortFunc(turns, func(a, b maglevTurn) int { return cmp.Compare(a.id, b.id) })
	return turns
}

// Find returns the number of the member that has key, or -1 if there is none.
func (m *Maglev) Find(key uint64) int {
	if len(m.slots) == 0 {
		return -1
	}
	slot, _ := bits.Mul64(Mix(key), uint64(len(m.slots)))
	return int(m.slots[slot])
}

// Size returns the number of slots.
func (m *Maglev) Size() int { return len(m.slots) }
