package balance

import (
	"math"
	"math/rand/v2"
	"testing"

	"pharos/internal/traffic/pool"
)

// The lowest word of a block is the same one however it is found: of words as boards have them, which are scores
// above 0 with places, equal ones, those of nobody, and 0 with a place alone, which is a denormal number.
func TestLowestWord(t *testing.T) {
	scores := []float32{0, math.SmallestNonzeroFloat32, 1e-38, 1, 1.0000002, 4, 1e9, math.MaxFloat32}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var block pool.Block
		kinds := 1 + r.IntN(len(scores))
		for i := range block {
			block[i].Store(math.Float32bits(scores[r.IntN(kinds)])&^pool.PlaceMask | uint32(i))
		}
		for chance := range uint32(pool.BlockSize) {
			if got, want := lowestWord(&block, chance), lowestPlain(&block, chance); got != want {
				t.Fatalf("chance %d: %#x, want %#x, of %v", chance, got, want, &block)
			}
		}
	}
}
