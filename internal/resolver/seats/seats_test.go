package seats

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// A Table does what a map does, also with numbers that stay while many others come and go.
func TestAgainstMap(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		var table Table[int]
		oracle, last := map[uint64]int{}, uint64(0)
		for step := range 5000 {
			switch random.IntN(7) {
			case 0, 1, 2:
				last++
				table.Put(last, step)
				oracle[last] = step
			case 3: // any, also one that is far away
				n := random.Uint64N(4*last+8) + 1
				table.Put(n, -step)
				oracle[n] = -step
			default:
				n := last - min(last, random.Uint64N(40))
				for other := range oracle {
					n = other
					break
				}
				table.Delete(n)
				delete(oracle, n)
			}
			n := random.Uint64N(last+8) + 1
			value, has := oracle[n]
			if table.Get(n) != value || table.Has(n) != has || table.Len() != len(oracle) {
				t.Fatalf("seed %d, step %d: %d has %d (%v), want %d (%v); %d in all, want %d", seed, step, n, table.Get(n), table.Has(n), value, has, table.Len(), len(oracle))
			}
		}
		if got := maps.Collect(table.All()); !maps.Equal(got, oracle) {
			t.Fatalf("seed %d: %v, want %v", seed, got, oracle)
		}
		if 4*(table.count-1) > len(table.seats) || len(table.over) > table.count {
			t.Errorf("%d numbers, %d of them beside the %d seats", table.count, len(table.over), len(table.seats))
		}
		for number := range oracle {
			table.Delete(number)
		}
		if table.Len() != 0 || len(table.over) != 0 || table.Get(0) != 0 || table.Has(0) {
			t.Errorf("%d left, %d beside", table.Len(), len(table.over))
		}
	}
}

func TestNoAllocs(t *testing.T) {
	var table Table[*int]
	value, n := new(int), uint64(0)
	if got := testing.AllocsPerRun(1000, func() {
		n++
		table.Put(n, value)
		if n > 16 {
			table.Delete(n - 16)
		}
	}); got > 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
