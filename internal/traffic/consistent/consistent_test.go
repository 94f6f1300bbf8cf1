package consistent

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func members(n int, weight func(i int) int) []Member {
	out := make([]Member, n)
	for i := range out {
		out[i] = Member{ID(fmt.Sprint("member", i)), weight(i)}
	}
	return out
}

func one(int) int { return 1 }

// numbers returns those of n members.
func numbers(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// plainMaglev is the algorithm as its authors tell it (NSDI 2016, listing 1), for
// members of one weight.
func plainMaglev(members []Member, size int) []uint16 {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if members[a].ID < members[b].ID {
			return -1
		}
		return 1
	})
	permutation := make([][]int, len(members))
	for i, m := range members {
		offset, skip := Mix(m.ID)%uint64(size), Mix(Mix(m.ID)^k1)%uint64(size-1)+1
		for j := range uint64(size) {
			permutation[i] = append(permutation[i], int((offset+j*skip)%uint64(size)))
		}
	}
	entry := make([]int, size)
	for i := range entry {
		entry[i] = -1
	}
	next := make([]int, len(members))
	for n := 0; ; {
		for _, i := range order {
			c := permutation[i][next[i]]
			for entry[c] >= 0 {
				next[i]++
				c = permutation[i][next[i]]
			}
			entry[c] = i
			next[i]++
			if n++; n == size {
				out := make([]uint16, size)
				for i, e := range entry {
					out[i] = uint16(e)
				}
				return out
			}
		}
	}
}

func TestMaglevIsThatOfThePaper(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 16} {
		all := members(n, one)
		got, want := NewMaglev(all, n).slots, plainMaglev(all, maglevSize(n))
		if !slices.Equal(got, want) {
			t.Errorf("%d members: the tables differ", n)
		}
	}
}

// Slots are in proportion to weights, and nobody is without.
func TestMaglevWeights(t *testing.T) {
	all := members(10, func(i int) int { return 1 + i*i })
	m, sum := NewMaglev(all, len(all)), 0
	for _, a := range all {
		sum += a.Weight
	}
	count := make([]int, len(all))
	for _, slot := range m.slots {
		count[slot]++
	}
	for i, a := range all {
		want := float64(a.Weight) / float64(sum) * float64(m.Size())
		if math.Abs(float64(count[i])-want) > 2 {
			t.Errorf("member %d of weight %d: %d slots, want %.1f", i, a.Weight, count[i], want)
		}
	}
	tiny := NewMaglev([]Member{{1, 1}, {2, 65_536_000}}, 2)
	if !slices.Contains(tiny.slots, 0) {
		t.Error("a member of a tiny weight has no slot")
	}
}

// However the members are ordered, a key has the same one.
func TestOrderOfMembersDoesNotMatter(t *testing.T) {
	for _, n := range []int{5, 300} {
		a := members(n, func(i int) int { return 1 + i%3 })
		b := slices.Clone(a)
		rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { b[i], b[j] = b[j], b[i] })
		ra, rb := NewRing(a), NewRing(b)
		finders := map[string][2]func(uint64) int{
			"maglev":     {NewMaglev(a, n).Find, NewMaglev(b, n).Find},
			"rendezvous": {NewRendezvous(a, nil).Find, NewRendezvous(b, nil).Find},
			"ring": {
				func(k uint64) int { _, m, _ := ra.Find(k); return m },
				func(k uint64) int { _, m, _ := rb.Find(k); return m },
			},
		}
		for name, f := range finders {
			for key := range uint64(2000) {
				if x, y := a[f[0](key)].ID, b[f[1](key)].ID; x != y {
					t.Fatalf("%s of %d: key %d is with %x in one order and %x in another", name, n, key, x, y)
				}
			}
		}
	}
}

// The point of a key is the first one at or after its place, found the plain way.
func TestRingFind(t *testing.T) {
	r := NewRing(members(20, one))
	for key := range uint64(5000) {
		place := uint32(Mix(key) >> 32)
		want, _ := slices.BinarySearchFunc(r.points, place, byPlace)
		if want == len(r.points) {
			want = 0
		}
		got, m, rank := r.Find(key)
		if got != want {
			t.Fatalf("key %d at %x: point %d, want %d", key, place, got, want)
		}
		if member, its := r.Owner(want); m != member || rank != its {
			t.Fatalf("point %d: point %d of member %d, want %d of %d", got, rank, m, its, member)
		}
	}
	if !slices.IsSortedFunc(r.points, func(a, b point) int { return byPlace(a, b.place) }) {
		t.Error("points do not rise")
	}
}

func byPlace(p point, place uint32) int { return cmp.Compare(p.place, place) }

// A member's points are numbered from 0, each once: a part of its weight is a part of
// these.
func TestRingRanks(t *testing.T) {
	all := members(6, func(i int) int { return 1 + i })
	r := NewRing(all)
	seen := map[owner]bool{}
	for i := range r.Len() {
		m, rank := r.Owner(i)
		if o := (owner{uint16(m), uint16(rank)}); seen[o] || rank >= r.Points(m) {
			t.Fatalf("point %d: %+v is there twice, or is over %d", i, o, r.Points(m))
		} else {
			seen[o] = true
		}
	}
	if got := float64(r.Points(5)) / float64(r.Points(0)); math.Abs(got-6) > 0.1 {
		t.Errorf("a member of six times the weight has %.2f times the points", got)
	}
}

// Draws by weight, against exact exponential ones.
func TestRendezvousWeights(t *testing.T) {
	all := members(8, func(i int) int { return 1 + 3*i })
	r := NewRendezvous(all, nil)
	const keys = 200_000
	count, differ, sum := make([]int, len(all)), 0, 0
	for key := range uint64(keys) {
		m := r.Find(Mix(key))
		count[m]++
		best, least := -1, math.Inf(1)
		for i, a := range all {
			u := (float64(fold(Mix(key)^k0, k2)*(a.ID|1)) + 0.5) / (1 << 64)
			if d := -math.Log1p(-u) / float64(a.Weight); d < least {
				best, least = i, d
			}
		}
		if m != best {
			differ++
		}
	}
	for _, a := range all {
		sum += a.Weight
	}
	for i, a := range all {
		share, want := float64(count[i])/keys, float64(a.Weight)/float64(sum)
		if math.Abs(share-want) > 0.01*want+3*math.Sqrt(want/keys) {
			t.Errorf("member %d: share %.4f, want %.4f", i, share, want)
		}
	}
	if differ > keys/1000 {
		t.Errorf("%d of %d keys have another member than by exact logarithms", differ, keys)
	}
}

// Of many members, who have seats, shares are by weight, also when nearly all of them are gone; nobody who is
// gone has a key, and no key of who is left moves.
func TestSeats(t *testing.T) {
	for _, kinds := range []int{1, 3, 40} {
		all := members(400, func(i int) int { return 1 + i%kinds })
		full := NewRendezvous(all, nil)
		for _, left := range []int{400, 399, 200, 6, 1, 0} {
			weights, sum := make([]int, len(all)), 0
			for i := range left {
				weights[i] = all[i].Weight
				sum += all[i].Weight
			}
			kept := full.Keep(weights)
			const keys = 200_000
			count := make([]int, len(all))
			for key := range uint64(keys) {
				m, before := kept.Find(Mix(key)), full.Find(Mix(key))
				if left == 0 {
					if m != -1 {
						t.Fatalf("member %d has a key, and nobody is there", m)
					}
					continue
				}
				if m < 0 || m >= left {
					t.Fatalf("%d kinds, %d left: a key is with %d", kinds, left, m)
				}
				if before < left && m != before {
					t.Fatalf("%d kinds, %d left: a key went from %d, who is there, to %d", kinds, left, before, m)
				}
				count[m]++
			}
			for i := range left {
				want := keys * float64(weights[i]) / float64(sum)
				if math.Abs(float64(count[i])-want) > 5*math.Sqrt(want)+0.01*want {
					t.Errorf("%d kinds, %d left: member %d of weight %d has %d keys, want %.0f", kinds, left, i, weights[i], count[i], want)
				}
			}
		}
	}
}

// When one of many is not configured any more, few keys move but its own, and so when one of them is new.
func TestSeatsOfOthers(t *testing.T) {
	for _, n := range []int{66, 100, 130, 500, 1000} {
		all := members(n, one)
		some := slices.Delete(slices.Clone(all), 7, 8)
		a, b := NewRendezvous(all, nil), NewRendezvous(some, nil)
		const keys = 50_000
		moved := 0
		for key := range uint64(keys) {
			if all[a.Find(Mix(key))].ID != some[b.Find(Mix(key))].ID {
				moved++
			}
		}
		t.Logf("%d members: %.2f %% of keys move", n, 100*float64(moved)/keys)
		if share := float64(moved) / keys; share > 1/float64(n)+0.01 {
			t.Errorf("%d members: %.4f of keys move, want <= 1/N + 0.01", n, share)
		}
	}
}

// When a member has less of its weight, keys leave it, and none goes to it or between
// others: as it is when the table of all weights is equal, so it is when they are not.
func TestLessWeightMovesItsKeysAlone(t *testing.T) {
	for _, n := range []int{3, 10, 100} {
		all := members(n, func(int) int { return 1000 })
		weights := slices.Repeat([]int{1000}, n)
		weights[1] = 400
		shares := slices.Repeat([]float64{1}, n)
		shares[1] = 0.4
		full := NewMaglev(all, n)
		for name, f := range map[string][2]func(uint64) int{
			"maglev":     {full.Find, full.Keep(shares, numbers(n)).Find},
			"rendezvous": {NewRendezvous(all, nil).Find, NewRendezvous(all, nil).Keep(weights).Find},
		} {
			const keys = 50_000
			left, had := 0, 0
			for key := range uint64(keys) {
				before, after := f[0](Mix(key)), f[1](Mix(key))
				if before == 1 {
					had++
				}
				if before != after {
					left++
				}
				if before != after && before != 1 {
					t.Fatalf("%s of %d: a key goes from %d to %d, and it is 1 that has less", name, n, before, after)
				}
			}
			want := 1 - 0.4*float64(n)/(float64(n)-0.6)
			if part := float64(left) / float64(had); math.Abs(part-want) > 0.08 {
				t.Errorf("%s of %d: %.2f of its keys have left it, want %.2f", name, n, part, want)
			}
		}
	}
}

// What is kept of a table is shared by weight among those who are left, however few they are.
func TestKeep(t *testing.T) {
	all := members(20, func(i int) int { return 1 + i%2 })
	full := NewMaglev(all, 20)
	for _, gone := range []int{1, 10, 17} {
		shares, sum := make([]float64, 20), 0
		for i := gone; i < 20; i++ {
			shares[i] = 1
			sum += all[i].Weight
		}
		kept, count := full.Keep(shares, numbers(20)), make([]int, 20)
		for i, slot := range kept.slots {
			count[slot]++
			if before := full.slots[i]; shares[before] > 0 && slot != before {
				t.Fatalf("%d gone: slot %d went from %d, which is there, to %d", gone, i, before, slot)
			}
		}
		for i, c := range count {
			want := 0.0
			if shares[i] > 0 {
				want = float64(kept.Size()) * float64(all[i].Weight) / float64(sum)
			}
			if math.Abs(float64(c)-want) > 0.06*want {
				t.Errorf("%d gone: member %d has %d slots, want %.0f", gone, i, c, want)
			}
		}
	}
	if full.Keep(slices.Repeat([]float64{1.5}, 20), numbers(20)) != full || full.Keep(make([]float64, 20), numbers(20)) != full {
		t.Error("with the same share for all the table is another one")
	}
	one := make([]float64, 20)
	one[7] = 1
	for _, slot := range full.Keep(one, numbers(20)).slots {
		if slot != 7 {
			t.Fatalf("a slot is with %d, and only 7 is left", slot)
		}
	}
}

func TestOfNobody(t *testing.T) {
	if NewMaglev(nil, 0).Find(1) != -1 || NewRendezvous(nil, nil).Find(1) != -1 {
		t.Error("found somebody")
	}
}

// One bit of a key changes about half the bits of its sum.
// Spread is half of Mix.
func TestSpread(t *testing.T) {
	for x := range uint64(10_000) {
		x *= 429_497
		if got, want := Spread(x), uint32(Mix(x)>>32); got != want {
			t.Fatalf("Spread(%d) = %#x, want %#x", x, got, want)
		}
	}
}

func TestSumSpreads(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for length := 1; length <= 40; length++ {
		key := make([]byte, length)
		flips := 0
		for range 200 {
			for i := range key {
				key[i] = byte(r.Uint32())
			}
			before := Sum(key)
			key[r.IntN(length)] ^= 1 << r.IntN(8)
			for x := before ^ Sum(key); x != 0; x &= x - 1 {
				flips++
			}
		}
		if mean := float64(flips) / 200; mean < 29 || mean > 35 {
			t.Errorf("%d octets: %.1f bits of 64 change", length, mean)
		}
	}
	if Sum(nil) == Sum([]byte{0}) || Sum([]byte{1}) == Sum([]byte{1, 0}) {
		t.Error("keys that differ in length have one sum")
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{10, 1000} {
		all := members(n, one)
		b.Run(fmt.Sprint("maglev/", n), func(b *testing.B) {
			for range b.N {
				NewMaglev(all, n)
			}
		})
		b.Run(fmt.Sprint("maglev, one gone/", n), func(b *testing.B) {
			full, shares := NewMaglev(all, n), slices.Repeat([]float64{1}, n)
			shares[1] = 0
			for range b.N {
				full.Keep(shares, numbers(n))
			}
		})
		b.Run(fmt.Sprint("ring/", n), func(b *testing.B) {
			for range b.N {
				NewRing(all)
			}
		})
		b.Run(fmt.Sprint("rendezvous/", n), func(b *testing.B) {
			for range b.N {
				NewRendezvous(all, nil)
			}
		})
		b.Run(fmt.Sprint("rendezvous, one gone/", n), func(b *testing.B) {
			full, weights := NewRendezvous(all, nil), slices.Repeat([]int{1}, n)
			weights[1] = 0
			for range b.N {
				full.Keep(weights)
			}
		})
	}
}
