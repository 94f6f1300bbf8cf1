// Package balance picks a member of a pool. It owns the policies at the moment of
// a pick; what can be decided before (who is eligible, the order of a cycle, tables)
// is in the view, compiled by package pool.
//
//	Pick: level by level (failover tier, then distance)
//	        by the policy, from the level's tables and the loads of its members
//	        passed over: who has no capacity left, who was tried
//
// Entry points: Pick, PickExcept for a retry on another member, Peek to explain.
//
// What a policy goes by, and how exact it is:
//
//	roundRobin, weightedRoundRobin  a cycle; exact in each lane (pool.Lanes)
//	random, twoChoices              draws that go by the turn, so that they can be told again; two
//	                                go by the level's board (pool.Board)
//	leastConnections, leastResponseTime, leastBandwidth
//	                                the least one on the level's board (pool.Board), which
//	                                races and time make wrong for a few picks
//	hash                            the key, then the load if there is a bound
//	first                           the first with capacity left
//
// Concurrency: picks run at once on any number of goroutines over one immutable
// view; what they write is the counter of their lane, and bounds on the board, which are hints.
// They take no lock and allocate nothing. No clock: Ask says what time it is. What a pick of the Least policies
// mostly is, the least of sixteen words, is in assembly where it can be (decision 0057).
package balance

import (
	"time"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/pool"
)

// Load is the counters of a pool that picks turn on; Pool.Load gives them.
type Load = pool.Load

// Ask is what a pick goes by, beside the view and the loads.
type Ask struct {
	// Key is what the policy hash hashes; others do not look at it.
	Key uint64
	// Lane spreads those who ask over cursors: the number of a connection.
	Lane uint32
	// Now is the time on the clock that MemberLoad was told of.
	Now time.Duration
}

// pick is one pick under way.
type pick struct {
	Ask
	view   *pool.View
	load   *Load
	turn   uint64
	tried  []int
	within *pool.Level
}

// Pick returns the member of v to use, as an index of v.Members, or -1 if there is
// none: a pool without members, or with all of them draining.
func Pick(v *pool.View, l *Load, a Ask) int {
	if len(v.Levels) == 0 {
		return -1
	}
	within := &v.Levels[0]
	if within.Bounded {
		return pickBounded(v, l, a, l.Turn(a.Lane), false)
	}
	if v.Policy == pool.Hash {
		return keyed(within, l, a.Key)
	}
	if takesTurns(v.Policy) {
		return choose(v, l, within, a, l.Turn(a.Lane))
	}
	if b := within.Board; b != nil && !b.IsFresh(a.Now) {
		within.Freshen(a.Now)
	}
	return choose(v, l, within, a, l.Begun(a.Lane))
}

// Peek returns what Pick would return now, and leaves the turn where it is: for
// explain.
func Peek(v *pool.View, l *Load, a Ask) int {
	if len(v.Levels) == 0 {
		return -1
	}
	within := &v.Levels[0]
	if within.Bounded {
		return pickBounded(v, l, a, l.PeekTurn(a.Lane), true)
	}
	turn := l.Begun(a.Lane)
	if takesTurns(v.Policy) {
		turn = l.PeekTurn(a.Lane)
	}
	return choose(v, l, within, a, turn)
}

// takesTurns reports whether a pick moves a turn on: to count is what costs most of a pick. Policies that go
// by loads turn among equals, for which the requests that Begin has counted do: who was picked is heavier
// then. Those that go by a key do not turn.
func takesTurns(p pool.Policy) bool {
	return p == pool.RoundRobin || p == pool.WeightedRoundRobin || p == pool.Random
}

// pickBounded is Pick where members have capacities.
func pickBounded(v *pool.View, l *Load, a Ask, turn uint64, peek bool) int {
	p := pick{Ask: a, view: v, load: l, turn: turn, within: &v.Levels[0]}
	if b := p.within.Board; b != nil && b.Blocks != nil && !peek {
		p.within.Freshen(a.Now)
	}
	m := p.choose()
	if v.Members[m].HasRoom(a.Now) {
		return m
	}
	return p.spill(m)
}

// PickExcept is Pick for a retry: it passes over the members in tried. When every
// eligible one was tried it takes a spare (not probed yet), so that a request is
// given up only when there is nobody left to ask; then it returns -1.
func PickExcept(v *pool.View, l *Load, a Ask, tried []int) int {
	if len(tried) == 0 {
		return Pick(v, l, a)
	}
	if len(v.Levels) == 0 {
		return -1
	}
	p := pick{Ask: a, view: v, load: l, turn: l.Turn(a.Lane), tried: tried}
	if m := p.anyLevel(); m >= 0 {
		return m
	}
	return firstNot(tried, v.Spare, p.turn)
}

// spill returns a member with capacity left, of this level or the ones after it. If
// nobody has any it is first, whom the policy chose: the gateway does not refuse what
// a member might still take.
func (p *pick) spill(first int) int {
	if m := p.anyLevel(); m >= 0 && p.view.Members[m].HasRoom(p.Now) {
		return m
	}
	return first
}

// anyLevel returns the first usable member, level by level: one with capacity left,
// or else one that was not tried; -1 if all were.
func (p *pick) anyLevel() int {
	otherwise := -1
	for i := range p.view.Levels {
		p.within = &p.view.Levels[i]
		m := p.choose()
		if !p.isUsable(m) {
			m = p.walk()
		}
		if m >= 0 && p.isUsable(m) {
			return m
		}
		if otherwise < 0 {
			if otherwise = firstNot(p.tried, p.within.Order, p.turn); otherwise < 0 {
				otherwise = firstNot(p.tried, p.within.Members, p.turn)
			}
		}
	}
	return otherwise
}

func (p *pick) isUsable(m int) bool {
	return !contains(p.tried, m) && (!p.within.Bounded || p.view.Members[m].HasRoom(p.Now))
}

// walk returns the next usable member in the order of the level, or -1.
func (p *pick) walk() int {
	for _, members := range [2][]int32{p.within.Order[:min(maxWalk, len(p.within.Order))], p.within.Members} {
		n := uint64(len(members))
		for i := range n {
			if m := int(members[(p.turn+i)%n]); p.isUsable(m) {
				return m
			}
		}
	}
	return -1
}

// choose returns the member of p.within that the policy chooses, of those that were not
// tried where it can tell.
func (p *pick) choose() int {
	switch l := p.within; {
	case len(p.tried) > 0 && p.view.Policy == pool.Hash:
		return hashed(p.within, p.load, p.Key, p.tried)
	case len(p.tried) > 0 && len(l.Starts) > 0:
		return leastUntried(l, l.StartAt(p.turn), p.tried)
	case p.view.Policy == pool.First && len(l.Members) > 1:
		return p.first()
	}
	return choose(p.view, p.load, p.within, p.Ask, p.turn)
}

// choose returns the member of a level that the policy chooses, whatever its capacity.
func choose(v *pool.View, load *Load, l *pool.Level, a Ask, turn uint64) int {
	if len(l.Members) == 1 {
		return int(l.Members[0])
	}
	switch v.Policy {
	case pool.LeastConnections, pool.LeastResponseTime, pool.LeastBandwidth:
		return int(l.Members[least(l, turn)])
	case pool.Hash:
		return keyed(l, load, a.Key)
	case pool.TwoChoices:
		return int(l.Members[twoChoices(l, draws(turn, a.Lane))])
	case pool.Random:
		return int(l.Members[l.DrawOne(consistent.Spread(seed(turn, a.Lane)))])
	case pool.First:
		return int(l.Members[0])
	}
	return int(l.InTurn(turn))
}

// draws returns 64 bits of chance that differ from pick to pick and lane to lane.
func draws(turn uint64, lane uint32) uint64 { return consistent.Mix(seed(turn, lane)) }

func seed(turn uint64, lane uint32) uint64 { return turn*pool.Lanes + uint64(lane%pool.Lanes) }

// twoChoices draws two members by weight and returns the position of the one that promises
// the earlier answer (Mitzenmacher 2001). Weights count in the draw; in the comparison
// only what is in flight is by weight, or they would count twice.
func twoChoices(l *pool.Level, random uint64) int {
	a := l.DrawOne(uint32(random >> 32))
	b := l.DrawOther(uint32(random), a)
	d := int64(l.Board.Scores[b].Load()) - int64(l.Board.Scores[a].Load())
	return a + (b-a)&int(d>>63) // b if it promises less
}

// first returns the first member that can take more, or the first one.
func (p *pick) first() int {
	l := p.within
	if !l.Bounded {
		return p.firstOf(l.Members)
	}
	from := 0
	if l.Board != nil && p.turn%firstAnew != 0 {
		from = min(int(l.Board.Top[0].Load()), len(l.Members)-1) // all before are full
	}
	for i, m := range l.Members[from:] {
		if p.isUsable(int(m)) {
			if l.Board != nil && len(p.tried) == 0 {
				l.Board.Top[0].Store(uint32(from + i))
			}
			return int(m)
		}
	}
	return p.firstOf(l.Members)
}

// firstAnew: one pick of so many looks at all members from the first one, since one
// that was over its bandwidth is not by time alone.
const firstAnew = 64

func (p *pick) firstOf(members []int32) int {
	for _, m := range members {
		if !contains(p.tried, int(m)) {
			return int(m)
		}
	}
	return int(members[0])
}

// maxWalk bounds the search through a cycle: with weights of 60,000 to 1 the heavy
// member would be passed over 60,000 times. Past it the share of a retry does not
// follow the weights.
const maxWalk = 256

// firstNot returns the first of members, from turn on and around, that is not in
// tried, or -1.
func firstNot(tried []int, members []int32, turn uint64) int {
	n := len(members)
	if n == 0 {
		return -1
	}
	at := int(turn % uint64(n))
	for range min(n, max(maxWalk, len(tried)+1)) {
		if m := int(members[at]); !contains(tried, m) {
			return m
		}
		if at++; at == n {
			at = 0
		}
	}
	return -1
}

func contains(tried []int, m int) bool {
	for _, t := range tried {
		if t == m {
			return true
		}
	}
	return false
}
