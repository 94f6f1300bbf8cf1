package balance

import (
	"math"
	"sync/atomic"

	"pharos/internal/traffic/pool"
)

// maxLooks bounds how often a pick looks again because a bound was too low. What is left
// over is looked at by the picks that follow.
const maxLooks = 16

// least returns the position of the member with the lowest score. Among equals it is the
// one in the weighted cycle at a turn, if that is one of them: members that have nothing to do take turns by
// their weights. Else the turn is their chance.
func least(l *pool.Level, turn uint64) int {
	b, start, chance := l.Board, l.StartAt(turn), uint32(turn*manyBits>>32)
	if len(b.Scores) > pool.BlockSize {
		return leastByBounds(b, start, chance)
	}
	score, at := lowest(b.Scores, 0, chance)
	if b.Scores[start].Load()&^pool.PlaceMask == score {
		at = start
	}
	return at
}

// manyBits spreads numbers that follow each other.
const manyBits = 0x9E3779B97F4A7C15

// leastByBounds goes to the block with the lowest bound. When that was too low it says so, and looks again.
func leastByBounds(b *pool.Board, start int, chance uint32) int {
	for look := 1; ; look++ {
		above, top := lowest(b.Top, 0, chance>>8)
		if look == 1 && b.Scores[start].Load()&^pool.PlaceMask <= above {
			return start // nobody is lighter than bounds say
		}
		bound, block := lowest(b.Blocks, top, chance>>4)
		if bound > above && look < maxLooks {
			pool.Raise(&b.Top[top], above, bound)
			continue
		}
		score, at := lowest(b.Scores, block, chance)
		if score > bound && look < maxLooks {
			pool.Raise(&b.Blocks[block], bound, score)
			continue
		}
		return at
	}
}

// lowest returns the lowest word of a block without its place, and where it is. Of equal ones it is by
// chance, of which four bits count: places are ordered by how they differ from it.
func lowest(all []atomic.Uint32, block int, chance uint32) (word uint32, at int) {
	from := block * pool.BlockSize
	w := (*pool.Block)(all[from : from+pool.BlockSize])
	chance &= pool.PlaceMask
	a := lowestWord(w, chance)
	return a &^ pool.PlaceMask, from + int((a^chance)&pool.PlaceMask)
}

// lowestPlain is lowestWord one word after the other: the lowest of w after each has been changed by chance, which is
// below BlockSize.
func lowestPlain(w *pool.Block, chance uint32) uint32 {
	// Two by two, as a processor can: a loop, or one after the other, takes twice the time.
	a, b := w[0].Load()^chance, w[1].Load()^chance
	a, b = min(a, w[2].Load()^chance), min(b, w[3].Load()^chance)
	a, b = min(a, w[4].Load()^chance), min(b, w[5].Load()^chance)
	a, b = min(a, w[6].Load()^chance), min(b, w[7].Load()^chance)
	a, b = min(a, w[8].Load()^chance), min(b, w[9].Load()^chance)
	a, b = min(a, w[10].Load()^chance), min(b, w[11].Load()^chance)
	a, b = min(a, w[12].Load()^chance), min(b, w[13].Load()^chance)
	a, b = min(a, w[14].Load()^chance), min(b, w[15].Load()^chance)
	return min(a, b)
}

// leastUntried returns the member with the lowest score of those that were not tried, without
// bounds.
func leastUntried(l *pool.Level, start int, tried []int) int {
	at, least := start, uint32(math.MaxUint32)
	for i := range l.Members {
		i = (start + i) % len(l.Members)
		if score := l.Board.Scores[i].Load() &^ pool.PlaceMask; score < least && !contains(tried, int(l.Members[i])) {
			at, least = i, score
		}
	}
	return int(l.Members[at])
}
