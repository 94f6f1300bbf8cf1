package balance

import (
	"math"
	"sync/atomic"

	"pharos/internal/traffic/pool"
)

// maxLooks bounds how often a pick goes on to another block because a bound was too
// low. What is left over is looked at by the picks that follow.
const maxLooks = 4

// least returns the position of the member with the lowest score. Among equals it is the
// next one in the weighted cycle: members that have nothing to do take turns by their weights.
func least(b *pool.Board, start int) int {
	if len(b.Scores) <= pool.BlockSize {
		at, _ := lowest(b.Scores, start)
		return at
	}
	return leastByBounds(b, start)
}

// leastByBounds goes to the block with the lowest bound, and on while that was wrong.
func leastByBounds(b *pool.Board, start int) int {
	block := start / pool.BlockSize
	top, leastTop, otherTop := lowestTwo(b.Top, block/pool.BlockSize)
	if b.Scores[start].Load() <= leastTop {
		return start // nobody is lighter than bounds say
	}
	for look := 1; ; look++ {
		blocks, from := part(b.Blocks, top)
		at, bound, otherBlock := lowestTwo(blocks, block-from)
		block = from + at
		scores, low := part(b.Scores, block)
		at, score := lowest(scores, start-low)
		if score <= min(otherTop, otherBlock) || look == maxLooks {
			// Who is picked is about to be heavier, and says so only to its score.
			if score != bound {
				b.Blocks[block].Store(score)
			}
			return low + at
		}
		b.Blocks[block].Store(score)
		b.Top[top].Store(min(score, otherBlock))
		top, _, otherTop = lowestTwo(b.Top, block/pool.BlockSize)
	}
}

// part returns the bounds or scores below one bound, and where they begin.
func part(all []atomic.Uint32, above int) ([]atomic.Uint32, int) {
	from := above * pool.BlockSize
	return all[from:min(from+pool.BlockSize, len(all))], from
}

// ranked returns a score with its place behind it, as a number above 0: of two that are
// equal the lower one is that which comes first from start on and around.
func ranked(score uint32, i, start int) int64 {
	return int64(score)<<rankBits | int64(uint32(i-start)&(1<<rankBits-1))
}

const rankBits = 31

func scoreIn(ranked int64) uint32 { return uint32(ranked >> rankBits) }

// placeIn returns where the one with this rank stands.
func placeIn(ranked int64, start int) int {
	return start + int(int32(uint32(ranked)<<1)>>1) // of 31 bits, with their sign
}

// lesser returns the lesser of two numbers above 0, without a branch, of which nobody could
// foresee where it goes.
func lesser(a, b int64) int64 {
	d := b - a
	return a + d&(d>>63)
}

// lowest returns the lowest of bounds and where it is: the first one from start on and
// around. A start outside of them is as good as 0. Two are looked at beside each other, as a
// processor can.
func lowest(bounds []atomic.Uint32, start int) (at int, least uint32) {
	if uint(start) >= uint(len(bounds)) {
		start = 0
	}
	a, b := int64(math.MaxInt64), int64(math.MaxInt64)
	i := 0
	for ; i+1 < len(bounds); i += 2 {
		a = lesser(a, ranked(bounds[i].Load(), i, start))
		b = lesser(b, ranked(bounds[i+1].Load(), i+1, start))
	}
	if i < len(bounds) {
		a = lesser(a, ranked(bounds[i].Load(), i, start))
	}
	a = lesser(a, b)
	return placeIn(a, start), scoreIn(a)
}

// lowestTwo is lowest with the lowest of the others; the highest there is if there are none.
func lowestTwo(bounds []atomic.Uint32, start int) (at int, least, second uint32) {
	if uint(start) >= uint(len(bounds)) {
		start = 0
	}
	a, b := int64(math.MaxInt64), int64(math.MaxInt64)
	nextA, nextB := a, b
	i := 0
	for ; i+1 < len(bounds); i += 2 {
		a, nextA = with(a, nextA, ranked(bounds[i].Load(), i, start))
		b, nextB = with(b, nextB, ranked(bounds[i+1].Load(), i+1, start))
	}
	if i < len(bounds) {
		a, nextA = with(a, nextA, ranked(bounds[i].Load(), i, start))
	}
	a, nextA = with(a, nextA, b)
	return placeIn(a, start), scoreIn(a), scoreIn(lesser(nextA, nextB))
}

// with returns the least and the next one of what they were and one more.
func with(least, next, more int64) (int64, int64) {
	d := more - least
	d &= d >> 63
	return least + d, lesser(next, more-d)
}

// leastUntried returns the member with the lowest score of those that were not tried, without
// bounds.
func leastUntried(l *pool.Level, start int, tried []int) int {
	at, least := start, uint32(math.MaxUint32)
	for i := range l.Members {
		i = (start + i) % len(l.Members)
		if score := l.Board.Scores[i].Load(); score < least && !contains(tried, int(l.Members[i])) {
			at, least = i, score
		}
	}
	return int(l.Members[at])
}
