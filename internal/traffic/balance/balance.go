// Package balance picks a member of a pool. It owns the policies at the moment of
// a pick; what can be decided before (who is eligible, the order of a cycle) is in
// the view, compiled by package pool.
//
// Entry points: Pick, PickExcept for a retry on another member, Peek to explain.
//
// Concurrency: picks run at once on any number of goroutines over one immutable
// view; the only thing they write is one atomic counter of Load. They take no lock
// and allocate nothing.
package balance

import (
	"pharos/internal/traffic/pool"
)

// Load is the counters of a pool that picks turn on; Pool.Load gives them.
type Load = pool.Load

// Pick returns the member of v to use, as an index of v.Members, or -1 if there is
// none: a pool without members, or with all of them draining. key is what hashing
// policies hash; round robin does not look at it.
func Pick(v *pool.View, key uint64, l *Load) int {
	order := v.Order
	if len(order) == 0 {
		return -1
	}
	return int(order[(l.Picks.Add(1)-1)%uint64(len(order))])
}

// Peek returns what Pick would return now, and leaves the turn where it is: for
// explain.
func Peek(v *pool.View, key uint64, l *Load) int {
	if len(v.Order) == 0 {
		return -1
	}
	return int(v.Order[l.Picks.Load()%uint64(len(v.Order))])
}

// PickExcept is Pick for a retry: it passes over the members in tried. When every
// eligible one was tried it takes a spare (not probed yet), so that a request is
// given up only when there is nobody left to ask; then it returns -1.
func PickExcept(v *pool.View, key uint64, l *Load, tried []int) int {
	if len(tried) == 0 {
		return Pick(v, key, l)
	}
	if len(v.Order) == 0 {
		return -1
	}
	turn := l.Picks.Add(1) - 1
	if m := firstNot(tried, v.Order, turn); m >= 0 {
		return m
	}
	// The order of a cycle may be one member for long; the eligible are few.
	if m := firstNot(tried, v.Eligible, turn); m >= 0 {
		return m
	}
	return firstNot(tried, v.Spare, turn)
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
