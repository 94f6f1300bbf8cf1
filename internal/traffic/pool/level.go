package pool

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/health"
)

// Level is members of a view that are picked from together: those of one failover
// tier, and with Spec.Local of one distance. The next level is used when the one
// before has nobody left, or no capacity.
//
// Its tables are compiled for the policy, in the order of Members.
type Level struct {
	Members []int32 // indexes of View.Members; rising, never none
	Order   []int32 // one cycle of picks, as Choice.Order
	Starts  []int32 // Least policies: where in Members each of Order stands
	Tier    int
	Extent  Extent // what all of its members have in common with this node

	Bounded bool          // some member has a capacity or a bandwidth
	Loads   []*MemberLoad // of Members
	Inverse []float32     // one over the weight, where the mean weight is 1
	Draw    []Draw        // for draws by weight; nil: all weights are equal
	Fair    []Fair        // Hash with a bound: by indexes of View.Members

	Maglev     *consistent.Maglev     // of indexes of View.Members
	Ring       *consistent.Ring       // the same
	Limits     []int32                // Ring: how many points of each of View.Members count; 0: not in this level
	Rendezvous *consistent.Rendezvous // the same

	Board *Board // Least policies, TwoChoices; First with capacities; Hash with a bound

	cycle uint64 // of Order: see InTurn
}

// InTurn returns who of Order is picked at a turn. The remainder of a division by a number
// that is always the same takes two multiplications (Lemire, Kaser and Kurz 2019), of 32
// bits: at the end of these, after billions of turns, a cycle is cut short.
func (l *Level) InTurn(turn uint64) int32 { return l.Order[l.place(turn)] }

// StartAt is InTurn as a position in Members; of Least policies.
func (l *Level) StartAt(turn uint64) int { return int(l.Starts[l.place(turn)]) }

func (l *Level) place(turn uint64) uint64 {
	at, _ := bits.Mul64(l.cycle*uint64(uint32(turn)), uint64(len(l.Order)))
	return at
}

// Fair is the part of all requests in flight that a member may have, and how many it has: side by side, since the
// loads of a thousand members are far from each other.
type Fair struct {
	Part   float32
	active atomic.Uint32 // as the board's scores: written by whoever changes it
}

// Over returns how many requests a member would be over its part of all in flight with one more of them; at most 0
// is within. The bound is rounded up, so that there is always room for one more somewhere: with n under way,
// n+1 is at most x rounded up exactly when n is below x.
func (f *Fair) Over(all int64) float32 {
	n, bound := float32(int32(f.active.Load())), float32(all+1)*f.Part
	if n < bound {
		return 0
	}
	return n + 1 - bound
}

// IsWithin reports whether a member may have one more of all requests that are in flight.
func (f *Fair) IsWithin(all int64) bool {
	return float32(int32(f.active.Load())) < float32(all+1)*f.Part
}

// Draw is an entry of an alias table: a draw by weight is an even draw of an entry,
// and of a number below 1<<32; from Cut on it is the other one.
type Draw struct {
	Cut  uint32
	Flip uint32 // the bits in which the other one differs from this one
}

// untried is what a latency is taken for that is not known while the first request is
// under way: a new member gets one, and more when it has answered. Before that one it is
// the best choice.
const untried = float32(time.Second)

// rank is what the members of a level have in common.
type rank struct {
	tier   int
	extent Extent
}

// levels compiles the levels of v over the members of its Choice.
func (v *View) levels(spec *Spec, tables *tables) []Level {
	at := map[rank]int{}
	var levels []Level
	for _, i := range v.Eligible {
		m := &v.Members[i]
		r := rank{m.Tier, spec.extentOf(m.Place)}
		n, seen := at[r]
		if !seen {
			n = len(levels)
			at[r] = n
			levels = append(levels, Level{Tier: r.tier, Extent: r.extent})
		}
		levels[n].Members = append(levels[n].Members, i)
	}
	slices.SortStableFunc(levels, func(a, b Level) int {
		if a.Tier != b.Tier {
			return a.Tier - b.Tier
		}
		return int(b.Extent) - int(a.Extent)
	})
	for i := range levels {
		levels[i].compile(v, spec, tables)
	}
	return levels
}

// GroupOf returns the number of the level that m is of, or would be if it served: who
// has one number is as near, and as preferred.
func (v *View) GroupOf(m *Member) int {
	return m.Tier<<8 | int(v.spec.extentOf(m.Place))
}

// compile makes the tables that the policy needs.
func (l *Level) compile(v *View, spec *Spec, tables *tables) {
	weights := make([]int, len(l.Members))
	l.Loads = make([]*MemberLoad, len(l.Members))
	for i, m := range l.Members {
		member := &v.Members[m]
		weights[i], l.Loads[i] = v.Policy.weightOf(member), member.Load
		l.Bounded = l.Bounded || member.Capacity > 0 || member.Bandwidth > 0 || member.Notes.Report.Loaded
	}
	if l.Order = v.Order; len(l.Members) < len(v.Eligible) {
		l.Order = v.Policy.order(l.Members, weights)
	}
	l.cycle = math.MaxUint64/uint64(len(l.Order)) + 1 // 0 of one: the place is 0, too
	switch v.Policy {
	case LeastConnections, LeastResponseTime, LeastBandwidth:
		l.Inverse, l.Starts = inverseOf(weights), l.starts()
	case TwoChoices:
		l.Inverse, l.Draw = inverseOf(weights), drawsOf(weights)
	case Random:
		l.Draw = drawsOf(weights)
	case Hash:
		l.hash(v, spec, tables, weights)
	}
	l.Board = newBoard(v.Policy, l)
}

// starts returns Order as positions in Members.
func (l *Level) starts() []int32 {
	if n := len(l.Members); int(l.Members[n-1]) == n-1 {
		return l.Order // nobody is left out: an index is a position
	}
	starts := make([]int32, len(l.Order))
	for i, m := range l.Order {
		starts[i] = int32(l.Position(m))
	}
	return starts
}

func (l *Level) hash(v *View, spec *Spec, tables *tables, weights []int) {
	if spec.Hash.Bound > 0 {
		sum := 0
		for _, w := range weights {
			sum += w
		}
		l.Fair = make([]Fair, len(v.Members))
		for i, w := range weights {
			l.Fair[l.Members[i]].Part = float32(w) / float32(sum) * float32(spec.Hash.Bound) / 100
		}
	}
	if spec.Hash.By == Ring {
		// More than the whole weight, as an agent may ask for, a ring has no points for.
		l.Ring, l.Limits = tables.ring, make([]int32, len(v.Members))
		for _, m := range l.Members {
			l.Limits[m] = int32(max(1, l.Ring.Points(int(m))*v.Members[m].Share/1000))
		}
		return
	}
	group := tables.groups[rank{l.Tier, l.Extent}]
	if spec.Hash.By == Rendezvous {
		l.Rendezvous = group.keepRendezvous(l.Members, weights)
		return
	}
	shares := make([]float64, len(v.Members))
	for i, m := range l.Members {
		shares[m] = float64(weights[i]) / float64(v.Members[m].Configured.Weight)
	}
	l.Maglev = group.keepMaglev(shares)
}

// weightOf returns the weight of m under p, times 1000. Members that are not to
// have their whole share count less under every policy.
func (p Policy) weightOf(m *Member) int {
	if p == RoundRobin || p == First {
		return m.Share
	}
	return m.Weight * m.Share
}

// Position returns where member i stands in Members. It does.
func (l *Level) Position(i int32) int {
	if n := len(l.Members); int(l.Members[n-1]) == n-1 {
		return int(i) // nobody is left out before it
	}
	at, _ := slices.BinarySearch(l.Members, i)
	return at
}

func inverseOf(weights []int) []float32 {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	inverse := make([]float32, len(weights))
	for i, w := range weights {
		inverse[i] = float32(sum) / float32(len(weights)) / float32(w)
	}
	return inverse
}

// drawsOf returns the alias table of weights (Vose 1991), or nil if all are equal.
func drawsOf(weights []int) []Draw {
	if len(weights) == 0 || isAll(weights, weights[0]) {
		return nil
	}
	n, sum := len(weights), 0
	for _, w := range weights {
		sum += w
	}
	draws := make([]Draw, n)
	left := make([]float64, n) // of each weight, where the mean is 1
	var small, large []int32
	for i, w := range weights {
		draws[i] = Draw{Cut: math.MaxUint32}
		if left[i] = float64(w) * float64(n) / float64(sum); left[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, g := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		draws[s] = Draw{uint32(left[s] * math.MaxUint32), uint32(s ^ g)}
		if left[g] -= 1 - left[s]; left[g] < 1 {
			large, small = large[:len(large)-1], append(small, g)
		}
	}
	return draws
}

// DrawOne returns the position of the member that 32 bits of chance draw.
func (l *Level) DrawOne(random uint32) int {
	drawn := uint64(random) * uint64(len(l.Members))
	at := drawn >> 32
	if l.Draw == nil {
		return int(at)
	}
	d := &l.Draw[at]
	_, below := bits.Sub64(uint64(uint32(drawn)), uint64(d.Cut), 0) // 1 or 0: half of all draws are none to foresee
	return int(at ^ uint64(d.Flip)&(below-1))
}

// DrawOther returns the position of another member than the one that was drawn, if there is
// one: 32 bits more may draw the same one again, and are then mixed some times.
func (l *Level) DrawOther(random uint32, drawn int) int {
	if l.Draw == nil {
		at := int(uint64(random) * uint64(len(l.Members)-1) >> 32)
		if at >= drawn {
			at++
		}
		return at
	}
	// The second draw is always made: of few members it is too often needed, and nobody could foresee when.
	other, again := l.DrawOne(random), l.DrawOne(random*mixer)
	_, same := bits.Sub64(uint64(other^drawn), 1, 0)
	other ^= (other ^ again) & -int(same)
	for i := uint64(1); other == drawn && i <= maxDraws; i++ {
		other = l.DrawOne(uint32(consistent.Mix(uint64(random) + i<<32)))
	}
	return other
}

// mixer spreads 32 bits.
const mixer = 0x9E3779B1

// maxDraws is how often DrawOther draws again: of two members, of which one has nearly all of
// the weight, the other one is not waited for.
const maxDraws = 4

// HasRoom reports whether a member can take more, as far as its capacity, its
// bandwidth and the load that its agent reports go.
func (m *Member) HasRoom(now time.Duration) bool {
	if m.Capacity > 0 && m.Load.Active.Load() >= int64(m.Capacity) || m.Notes.Report.Load >= 1000 {
		return false
	}
	return m.Bandwidth == 0 || m.Load.Bandwidth(now)*8 < float64(m.Bandwidth)
}

// Slow start: a member that came up has this part of its share at first, in permille,
// and it grows in so many steps.
const (
	slowFirst = 100 // what is cold can take some requests, or it never gets warm
	slowSteps = 20
)

// shareOf returns how much of its weight m has at the time at, in permille: the product of
// what its agent asks for, slow start, and how it performs (see Terms).
func (s *Spec) shareOf(m *Member, at time.Time) int {
	return max(1, m.Notes.Report.Permille()*s.warmth(m, at)/1000*m.Notes.Kept()/1000)
}

// warmth returns how far m has come in slow start at the time at, in permille.
func (s *Spec) warmth(m *Member, at time.Time) int {
	if s.SlowStart > 0 && m.State == health.Up && !m.Notes.Warm {
		if step := int(max(0, at.Sub(m.Since)) * slowSteps / s.SlowStart); step < slowSteps {
			return slowFirst + (1000-slowFirst)*step/slowSteps
		}
	}
	return 1000
}

// score returns how heavy m is under one of the Least policies, before its weight
// counts; less is better.
func (m *MemberLoad) score(p Policy, tick uint32) float32 {
	switch p {
	case LeastBandwidth:
		return decayed(m.rate.Load(), tick, rateHalving)
	case LeastConnections:
		return float32(m.Active.Load())
	}
	active := m.Active.Load()
	return m.expected(active, tick) * float32(active+1)
}

// promised returns the time in which m promises an answer, its weight counting for what
// is in flight only; inverse is of its Level.
func (m *MemberLoad) promised(tick uint32, inverse float32) float32 {
	active := m.Active.Load()
	return m.expected(active, tick) * (float32(active)*inverse + 1)
}

// expected returns the latency of m with nobody waiting before.
func (m *MemberLoad) expected(active int64, tick uint32) float32 {
	latency := decayed(m.latency.Load(), tick, latencyHalving)
	if latency == 0 && active > 0 {
		return untried
	}
	return latency
}
