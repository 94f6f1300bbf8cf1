package pool

import (
	"math"
	"sync/atomic"
	"time"
)

// BlockSize is how many scores or bounds are looked at one by one: a cache line of
// them.
const BlockSize = 16

// Block is so many of them.
type Block = [BlockSize]atomic.Uint32

// PlaceMask is what of a word of a board is a place. Under the Least policies a word is a score, or a bound,
// whose order as a float32 above 0 is that of its bits, and in the lowest four of them where in its block it
// stands, which tells apart what differs by less than two millionths. So the least of a block is the least of
// its words, found without a branch, and says who it is.
const PlaceMask = BlockSize - 1

// word returns the word of a score >= 0, without a place.
func word(score float32) uint32 { return min(math.Float32bits(score), highest) &^ PlaceMask }

// highest is of a score above all others: a word is a number as a float32 as well, whatever its place.
const highest = 0x7f7fffff

// Board is the scores of the members of a level under one of the Least policies, side
// by side, so that to look for the least one touches one cache line for 16 members. Of
// more than 16, blocks have bounds: a tree of three levels.
//
//	Top    | bound of 16 blocks | ...
//	Blocks | bound of 16 members | ...
//	Scores | of a member | ...
//
// A score is written by whoever changes what it is made of (MemberLoad.tell). Who makes
// a member lighter lowers the bounds above it; who makes it heavier does not raise
// them: a pick that finds nobody in a block as light as its bound says corrects the
// bound and looks on. So bounds are right or low. Two things make a score wrong for a
// while: two changes at once that write it in the other order, and time, by which
// latencies and rates fall with nobody there to tell. So picks work out the scores of
// one block after the other anew, some for each tick that passes (Level.Freshen).
//
// TwoChoices has a board of what each member promises, so that a pick reads two words. First has one, too,
// of members with capacities: Top[0] is the position of the first member that may have room. That of Hash with
// a bound is Level.Fair: members tell how many requests they have.
type Board struct {
	Top    []atomic.Uint32 // words; behind each of the three there is room up to a whole block
	Blocks []atomic.Uint32
	Scores []atomic.Uint32 // of TwoChoices: bits of a float32 >= 0
	homes  []home

	fresh atomic.Uint32 // the tick at which scores were worked out anew last
	next  atomic.Uint32 // the block that is next
}

// home is where a member stands on a Board.
type home struct {
	policy            Policy
	inverse           float32
	position          int
	score, block, top *atomic.Uint32
}

func newBoard(p Policy, l *Level) *Board {
	switch p {
	case Hash:
		return newFairBoard(l)
	case LeastConnections, LeastResponseTime, LeastBandwidth, TwoChoices:
	case First:
		if !l.Bounded {
			return nil
		}
	default:
		return nil
	}
	blocks := (len(l.Members) + BlockSize - 1) / BlockSize
	b := &Board{
		Top: words(p, (blocks+BlockSize-1)/BlockSize), Blocks: words(p, blocks), Scores: words(p, len(l.Members)), homes: make([]home, len(l.Members)),
	}
	for i := range b.homes {
		h := home{policy: p, position: i, score: &b.Scores[i], block: &b.Blocks[i/BlockSize], top: &b.Top[i/BlockSize/BlockSize]}
		if l.Inverse != nil {
			h.inverse = l.Inverse[i]
		}
		b.homes[i] = h
	}
	return b
}

func newFairBoard(l *Level) *Board {
	if l.Fair == nil {
		return nil
	}
	b := &Board{homes: make([]home, len(l.Members))}
	for i, m := range l.Members {
		b.homes[i] = home{policy: Hash, position: i, score: &l.Fair[m].active}
	}
	return b
}

// words returns n words of 0, and behind them room up to a whole block, with words above all others.
func words(p Policy, n int) []atomic.Uint32 {
	all := make([]atomic.Uint32, (n+BlockSize-1)/BlockSize*BlockSize)
	if p == First {
		return all[:n]
	}
	for i := range all {
		at := uint32(i % BlockSize)
		if i >= n {
			at |= highest &^ PlaceMask
		}
		all[i].Store(at)
	}
	return all[:n]
}

// settle makes l's board the one that members tell of their changes.
func (l *Level) settle() {
	tick := uint32(0) // the latest that is known
	for _, m := range l.Loads {
		tick = max(tick, uint32(m.latency.Load()), uint32(m.rate.Load()))
		if l.Board == nil && m.home.Load() != nil {
			m.home.Store(nil)
		}
	}
	if l.Board == nil {
		return
	}
	for i, m := range l.Loads {
		h := &l.Board.homes[i]
		m.home.Store(h) // first, so that no change is told to the old one afterwards alone
		h.score.Store(h.scoreOf(m, tick))
	}
}

// tell writes the score of m, after a change.
func (m *MemberLoad) tell(now time.Duration) {
	h := m.home.Load()
	if h == nil {
		return
	}
	if h.policy == First {
		lower(h.top, uint32(h.position), 0) // the first with room may be here now
		return
	}
	score := h.scoreOf(m, tickOf(now))
	h.score.Store(score)
	if h.block != nil && h.policy != TwoChoices && lower(h.block, score, PlaceMask) {
		lower(h.top, score, PlaceMask)
	}
}

// scoreOf returns what h's member has on the board.
func (h *home) scoreOf(m *MemberLoad, tick uint32) uint32 {
	switch h.policy {
	case TwoChoices:
		return math.Float32bits(m.promised(tick, h.inverse))
	case Hash:
		return uint32(m.Active.Load())
	}
	return word(m.score(h.policy, tick)*h.inverse) | uint32(h.position%BlockSize)
}

// Freshen works out scores anew if that has not been done at this tick: some blocks of them, so that all of
// 1,000 are within 70 ms, in which a rate falls by 4 %.
func (l *Level) Freshen(now time.Duration) {
	b, tick := l.Board, tickOf(now)
	if last := b.fresh.Load(); last != tick && b.fresh.CompareAndSwap(last, tick) {
		for range min(b.blocks(), freshened) {
			l.refresh(int(b.next.Add(1)%b.blocks()), tick)
		}
	}
}

// freshened blocks take the pick that does it one or two microseconds, 60 times a second.
const freshened = 16

// blocks returns how many blocks of scores there are.
func (b *Board) blocks() uint32 { return uint32(len(b.Scores)+BlockSize-1) / BlockSize }

// IsFresh reports whether there is nothing for Freshen to do.
func (b *Board) IsFresh(now time.Duration) bool { return b.fresh.Load() == tickOf(now) }

// Prepare works out all scores of a view that nobody has published, such as one that is
// supposed, so that it can be picked from.
func (v *View) Prepare(now time.Duration) {
	for i := range v.Levels {
		l := &v.Levels[i]
		if l.Board == nil || v.Policy == First {
			continue // First's board is right when it is new
		}
		if v.Policy == Hash {
			for j, m := range l.Loads {
				h := &l.Board.homes[j]
				h.score.Store(h.scoreOf(m, 0))
			}
			continue
		}
		for block := range l.Board.blocks() {
			l.refresh(int(block), tickOf(now))
		}
	}
}

// refresh works out the scores of a block anew, and makes its bound the least of them.
func (l *Level) refresh(block int, tick uint32) {
	from := block * BlockSize
	least := uint32(math.MaxUint32)
	for i := from; i < min(from+BlockSize, len(l.Loads)); i++ {
		score := l.Board.homes[i].scoreOf(l.Loads[i], tick)
		l.Board.Scores[i].Store(score)
		least = min(least, score)
	}
	if v := l.Board; v.homes[from].policy != TwoChoices {
		v.Blocks[block].Store(least&^PlaceMask | uint32(block%BlockSize))
		lower(&v.Top[block/BlockSize], least, PlaceMask)
	}
}

// lower has a bound be at most as high as a word, and reports whether it was higher. What keep masks is of
// the bound and not of its height.
func lower(bound *atomic.Uint32, to, keep uint32) bool {
	to &^= keep
	for {
		old := bound.Load()
		if to >= old&^keep {
			return false
		}
		if bound.CompareAndSwap(old, to|old&keep) {
			return true
		}
	}
}

// Raise has a bound that was found to be too low be higher, unless it has changed meanwhile. Both are words
// without a place.
func Raise(bound *atomic.Uint32, from, to uint32) {
	if old := bound.Load(); old&^PlaceMask == from {
		bound.CompareAndSwap(old, to|old&PlaceMask)
	}
}
