package pool

// minSlots bounds the length of one cycle of picks, with slotsPerMember for large
// pools: 64 KiB for a pool of up to 1,024 members. Weights whose sum, divided by
// what they have in common, is larger are scaled down: each share is then off by
// at most one slot, but no member is left out.
const (
	minSlots       = 1 << 14
	slotsPerMember = 16
)

// Cycle returns one cycle of turns over members by their weights, given in the same order
// and all 1 or more, evenly spread; of some slots at the most, or as many as there are
// members.
func Cycle(members []int32, weights []int, slots int) []int32 {
	if len(members) < 2 || isAll(weights, weights[0]) {
		return members
	}
	return smooth(members, reduce(weights, max(slots, len(members))))
}

// order returns one cycle of picks over the members, whose weights (weightOf) are
// given in the same order. Of equal weights it is the members themselves.
func (p Policy) order(members []int32, weights []int) []int32 {
	if p == First || len(members) < 2 {
		return members
	}
	weights = reduce(weights, max(minSlots, slotsPerMember*len(weights)))
	if isAll(weights, weights[0]) {
		return members
	}
	return smooth(members, weights)
}

// reduce divides weights by their greatest common divisor, and scales them down
// if their sum is still over limit.
func reduce(weights []int, limit int) []int {
	divisor, sum := 0, 0
	for _, w := range weights {
		divisor, sum = gcd(w, divisor), sum+w
	}
	sum /= divisor
	out := make([]int, len(weights))
	for i, w := range weights {
		out[i] = w / divisor
		if sum > limit {
			out[i] = max(1, (out[i]*limit+sum/2)/sum)
		}
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func isAll(weights []int, w int) bool {
	for _, other := range weights {
		if other != w {
			return false
		}
	}
	return true
}

// smooth returns a whole cycle of nginx's smooth weighted round robin: at each
// step every member gains its weight, the one with most is picked and pays the
// sum of all weights.
//
// After t steps and k picks a member holds t*weight - k*sum, so of members of one
// weight the one with fewest picks leads, and the first of those: they take turns.
// Only the leader of each weight needs to be looked at, which makes a cycle cost
// its length times the number of different weights.
func smooth(members []int32, weights []int) []int32 {
	sum := 0
	turnOf := make(map[int]int) // weight -> index in turns
	var turns []turn
	for i, w := range weights {
		sum += w
		at, seen := turnOf[w]
		if !seen {
			at = len(turns)
			turnOf[w] = at
			turns = append(turns, turn{weight: w})
		}
		turns[at].members = append(turns[at].members, i)
	}
	order := make([]int32, 0, sum)
	for step := 1; step <= sum; step++ {
		best := 0
		for i := 1; i < len(turns); i++ {
			if turns[i].leads(&turns[best], step, sum) {
				best = i
			}
		}
		order = append(order, members[turns[best].take()])
	}
	return order
}

// turn is the members of one weight, who are picked in turn.
type turn struct {
	weight  int
	members []int // positions, rising
	picked  int   // picks so far, of all of them
}

func (t *turn) leader() int { return t.members[t.picked%len(t.members)] }

func (t *turn) take() int {
	leader := t.leader()
	t.picked++
	return leader
}

// leads reports whether t's leader is picked before o's: by what it holds, and if
// they hold the same, by its place.
func (t *turn) leads(o *turn, step, sum int) bool {
	mine := step*t.weight - t.picked/len(t.members)*sum
	theirs := step*o.weight - o.picked/len(o.members)*sum
	if mine != theirs {
		return mine > theirs
	}
	return t.leader() < o.leader()
}
