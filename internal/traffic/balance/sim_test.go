package balance

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// sim carries requests to the members of a pool in a time of its own: requests arrive
// by chance (Poisson), each is on its member for as long as that takes, and the loads
// are told what the gateway tells them. With one seed everything comes out the same.
type sim struct {
	members []simMember
	kind    kind
	rate    float64                 // requests per second
	keys    func(*rand.Rand) uint64 // nil: all are different
	octets  func(*rand.Rand) int    // of a response; nil: 1000
	workers int                     // of a member: who comes while all are busy waits; 0: as many as it takes
	stall   time.Duration           // all that is under way at the half of the requests ends so much later, at the earliest

	registry *pool.Registry
	pool     *pool.Pool
	rng      *rand.Rand
	now      time.Duration
	ending   endings
	free     [][]time.Duration // of each member: when its workers are

	// What came out.
	picked  []int
	carried []int
	took    []time.Duration
	worst   float64 // most that a member had in flight when it was picked, by its share of all
}

// simMember is a member: its weight and how long an answer takes, on average.
type simMember struct {
	weight int
	takes  time.Duration
}

func same(n int, takes time.Duration) []simMember { return slices.Repeat([]simMember{{1, takes}}, n) }

// ending is a request that ends.
type ending struct {
	at, began time.Duration
	member    int
	lane      uint32
	octets    int
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *sim) start() {
	spec := pool.Spec{Name: "web", Policy: s.kind.policy, Hash: s.kind.hash}
	for i, m := range s.members {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		spec.Members = append(spec.Members, pool.MemberSpec{Name: fmt.Sprint("m", i), Address: netip.AddrPortFrom(addr, 80), Weight: m.weight})
	}
	var err error
	s.registry, err = pool.NewRegistry([]pool.Spec{spec}, func(health.Target) health.Status { return health.Status{State: health.Up} }, nil)
	if err != nil {
		panic(err)
	}
	s.pool = s.registry.Pool("web")
	s.rng = rand.New(rand.NewPCG(7, 11))
	for range s.members {
		s.free = append(s.free, make([]time.Duration, s.workers))
	}
	s.picked, s.carried = make([]int, len(s.members)), make([]int, len(s.members))
}

// run carries n requests; only the second half of them is counted, when the loads
// have settled.
func (s *sim) run(n int) {
	s.start()
	for i := range n {
		s.now += time.Duration(s.rng.ExpFloat64() / s.rate * float64(time.Second))
		s.endUntil(s.now)
		if i == n/2 && s.stall > 0 {
			s.stop()
		}
		counts := i >= n/2
		a := Ask{Key: s.rng.Uint64(), Lane: uint32(s.rng.IntN(64)), Now: s.now}
		if s.keys != nil {
			a.Key = s.keys(s.rng)
		}
		v := s.pool.View()
		m := Pick(v, s.pool.Load(), a)
		s.pool.Load().Begin(a.Lane, v.Members[m].Load, s.now)
		octets := 1000
		if s.octets != nil {
			octets = s.octets(s.rng)
		}
		takes := s.takes(m)
		heap.Push(&s.ending, ending{at: s.now + takes, began: s.now, member: m, lane: a.Lane, octets: octets})
		if counts {
			s.picked[m]++
			s.carried[m] += octets
			s.took = append(s.took, takes)
			s.look(v, m)
		}
	}
}

// takes returns how long a request takes that begins on a member now. Half of it is fixed, half by chance, as with
// most servers.
func (s *sim) takes(m int) time.Duration {
	takes := time.Duration(float64(s.members[m].takes) * (0.5 + 0.5*s.rng.ExpFloat64()))
	if s.workers == 0 {
		return takes
	}
	free := s.free[m]
	next := slices.Index(free, slices.Min(free))
	free[next] = max(free[next], s.now) + takes
	return free[next] - s.now
}

// stop has everything stand still for a while, as a machine does, or a gateway: what is under way, and who comes then.
func (s *sim) stop() {
	s.now += s.stall
	for i := range s.ending {
		s.ending[i].at = max(s.ending[i].at, s.now)
	}
	heap.Init(&s.ending)
	for _, free := range s.free {
		for i := range free {
			free[i] = max(free[i], s.now)
		}
	}
	s.endUntil(s.now)
}

func (s *sim) endUntil(now time.Duration) {
	for len(s.ending) > 0 && s.ending[0].at <= now {
		e := heap.Pop(&s.ending).(ending)
		m := s.pool.View().Members[e.member].Load
		m.Observe(e.at, e.at-e.began)
		m.Carried(e.at, e.octets)
		s.pool.Load().End(e.lane, m, e.at)
	}
}

// look notes how much more than its share the member that was just picked has in
// flight.
func (s *sim) look(v *pool.View, picked int) {
	all, weights := 0.0, 0
	for i := range v.Members {
		all += float64(v.Members[i].Load.Active.Load())
		weights += s.members[i].weight
	}
	if mean := all / float64(weights); mean >= 50 {
		s.worst = max(s.worst, float64(v.Members[picked].Load.Active.Load())/float64(s.members[picked].weight)/mean)
	}
}

// deviation returns by how much of all requests the member that is farthest from its
// share by weight misses it, relative to that share.
func (s *sim) deviation(counts []int) float64 {
	all, weights, worst := 0, 0, 0.0
	for i, c := range counts {
		all += c
		weights += s.members[i].weight
	}
	for i, c := range counts {
		want := float64(all) * float64(s.members[i].weight) / float64(weights)
		worst = max(worst, math.Abs(float64(c)-want)/want)
	}
	return worst
}

func (s *sim) quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(s.took))
	return sorted[int(q*float64(len(sorted)-1))]
}

// zipf returns keys of which few are asked for often, as URLs are.
func zipf(r *rand.Rand) uint64 {
	return rand.NewZipf(r, 1.1, 1, 100_000).Uint64()
}

// heavyTailed returns lengths of which few make up much: Pareto, of 1 kB to 1 MB.
func heavyTailed(r *rand.Rand) int {
	return int(min(1000/math.Pow(1-r.Float64(), 1/1.2), 1e6))
}

// carry begins a request on m that is not counted.
func (s *sim) carry(v *pool.View, m int) {
	s.pool.Load().Begin(0, v.Members[m].Load, s.now)
	takes := time.Duration(float64(s.members[m].takes) * (0.5 + 0.5*s.rng.ExpFloat64()))
	heap.Push(&s.ending, ending{at: s.now + takes, began: s.now, member: m, octets: s.octets(s.rng)})
}

// least returns the lowest score of all members, and that of one, as the policy has
// it: worked out from what the loads say to everybody.
func (s *sim) least(v *pool.View, one int) (least, mine float64) {
	score := func(m *pool.MemberLoad) float64 {
		switch s.kind.policy {
		case pool.LeastBandwidth:
			return m.Bandwidth(s.now)
		case pool.LeastConnections:
			return float64(m.Active.Load())
		}
		return float64(m.Latency(s.now)) * float64(m.Active.Load()+1)
	}
	least = math.Inf(1)
	for i := range v.Members {
		least = min(least, score(v.Members[i].Load))
	}
	return least, score(v.Members[one].Load)
}
