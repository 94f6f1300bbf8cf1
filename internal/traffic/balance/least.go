package balance

import (
	"math"
	"sync/atomic"

	"pharos/internal/traffic/pool"
)

// refreshEach: one pick of so many has the scores of one block worked out anew, for
// latencies and rates fall by time alone.
const refreshEach = 16

// maxLooks bounds how often a pick goes on to another block because a bound was too
// low. What is left over is looked at by the picks that follow.
const maxLooks = 4

// least returns the member with the lowest score. Among equals it is the next one in
// the weighted cycle: members that have nothing to do take turns by their weights.
func (p *pick) least() int {
	l, b := p.within, p.within.Board
	if p.turn%refreshEach == 0 && !p.peek {
		l.Refresh(int(p.turn/refreshEach%uint64(len(b.Blocks))), p.Now)
	}
	start := l.Position(l.Order[p.turn%uint64(len(l.Order))])
	switch {
	case len(p.tried) > 0:
		return int(l.Members[p.leastUntried(start)])
	case len(b.Scores) <= pool.BlockSize:
		return int(l.Members[first(b.Scores, start)])
	}
	return int(l.Members[leastByBounds(b, start)])
}

// leastByBounds goes to the block with the lowest bound, and on while that was wrong.
func leastByBounds(b *pool.Board, start int) int {
	block := start / pool.BlockSize
	for look := 1; ; look++ {
		top, _, otherTop := lowest(b.Top, block/pool.BlockSize)
		blocks, from := part(b.Blocks, top)
		block, _, otherBlock := lowest(blocks, within(block-from, len(blocks)))
		block += from
		scores, low := part(b.Scores, block)
		at, score, second := lowest(scores, within(start-low, len(scores)))
		if score <= min(otherTop, otherBlock) || look == maxLooks {
			// Who is picked is about to be heavier, and says so only to its score.
			if score < second {
				b.Blocks[block].Store(score)
			}
			return low + at
		}
		b.Blocks[block].Store(score)
		b.Top[top].Store(min(score, otherBlock))
	}
}

// part returns the bounds or scores below one bound, and where they begin.
func part(all []atomic.Uint32, above int) ([]atomic.Uint32, int) {
	from := above * pool.BlockSize
	return all[from:min(from+pool.BlockSize, len(all))], from
}

// within returns at, or 0 if it lies outside of [0, end).
func within(at, end int) int {
	if at < 0 || at >= end {
		return 0
	}
	return at
}

// first returns where the lowest of scores is, the first one from start on and around.
func first(scores []atomic.Uint32, start int) int {
	at, least := start, uint32(math.MaxUint32)
	for i := start; i < len(scores); i++ {
		if s := scores[i].Load(); s < least {
			at, least = i, s
		}
	}
	for i := range scores[:start] {
		if s := scores[i].Load(); s < least {
			at, least = i, s
		}
	}
	return at
}

// lowest returns the lowest of bounds, the first one from start on and around, and
// the lowest of the others.
func lowest(bounds []atomic.Uint32, start int) (at int, least, second uint32) {
	at, least, second = start, math.MaxUint32, math.MaxUint32
	for i := start; i < len(bounds); i++ {
		b := bounds[i].Load()
		if b < least {
			at, least, second = i, b, least
		} else {
			second = min(second, b)
		}
	}
	for i := range bounds[:start] {
		b := bounds[i].Load()
		if b < least {
			at, least, second = i, b, least
		} else {
			second = min(second, b)
		}
	}
	return at, least, second
}

// leastUntried is least without bounds, among those that were not tried.
func (p *pick) leastUntried(start int) int {
	l := p.within
	at, least := start, uint32(math.MaxUint32)
	for i := range l.Members {
		i = (start + i) % len(l.Members)
		if score := l.Board.Scores[i].Load(); score < least && !contains(p.tried, int(l.Members[i])) {
			at, least = i, score
		}
	}
	return at
}
