package outlier

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pharos/internal/traffic/health"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// crowd is a pool under traffic in fake time.
type crowd struct {
	t     *testing.T
	jury  Jury
	rules Rules
	now   time.Time
	peers []Peer
	rand  *rand.Rand
	last  []Sentence
}

// member is how a member of a crowd does: requests in a beat, their usual time, and the
// part of them that fails.
type member struct {
	requests int
	took     time.Duration
	failing  float64
}

func newCrowd(t *testing.T, members int) *crowd {
	c := &crowd{t: t, now: epoch, rand: rand.New(rand.NewPCG(1, 2))}
	for range members {
		c.peers = append(c.peers, Peer{Gauge: new(Gauge), State: health.Up})
	}
	return c
}

// beats lets time pass, with the same traffic in each beat, and does with sentences what
// machines would.
func (c *crowd) beats(n int, members ...member) {
	for range n {
		c.now = c.now.Add(500 * ms)
		for i, m := range members {
			for range m.requests {
				o := health.Answered
				if c.rand.Float64() < m.failing {
					o = health.Doubtful
				}
				c.peers[i].Gauge.Note(o, time.Duration(float64(m.took)*(0.5+c.rand.Float64())))
			}
		}
		c.last = c.jury.Judge(c.now, c.rules, c.peers)
		for i := range c.peers {
			if p := &c.peers[i]; p.State == health.Poor {
				p.State, p.Notes = health.Up, health.Notes{}
			}
		}
		for _, s := range c.last {
			p := &c.peers[s.Peer]
			if s.Eject != "" {
				p.State, p.Cause = health.Down, s.Eject
			} else if p.State.IsServing() {
				p.State, p.Notes.Share, p.Cause = health.Poor, s.Grade.Share, s.Grade.Cause
			}
		}
	}
}

// want checks states, and of Poor members their shares to a quarter: "up poor:100".
func (c *crowd) want(text string) {
	c.t.Helper()
	for i, word := range strings.Fields(text) {
		p := c.peers[i]
		state, share, _ := strings.Cut(word, ":")
		if p.State.String() != state {
			c.t.Errorf("at %v: member %d is %v (%s), want %s", c.now.Sub(epoch), i, p.State, p.Cause, word)
			continue
		}
		want := 0
		if fmt.Sscan(share, &want); want > 0 && math.Abs(float64(p.Notes.Share-want)) > float64(want)/4 {
			c.t.Errorf("at %v: member %d has %d permille, want about %d", c.now.Sub(epoch), i, p.Notes.Share, want)
		}
	}
}

// A member that becomes ten times slower keeps about a tenth, within a window and two
// looks; when it is well again it is trusted after five.
func TestSlowMember(t *testing.T) {
	c := newCrowd(t, 3)
	well := member{100, 20 * ms, 0}
	c.beats(20, well, well, well)
	c.want("up up up")
	c.beats(12, well, well, member{100, 200 * ms, 0})
	c.want("up up poor:100")
	if want := "performs poorly: median response "; !strings.HasPrefix(c.peers[2].Cause, want) {
		t.Errorf("cause %q, want it to begin with %q", c.peers[2].Cause, want)
	}
	c.beats(60, well, well, member{5, 200 * ms, 0}) // it has few requests now, and stays poor
	c.want("up up poor:100")
	c.beats(60, well, well, member{20, 60 * ms, 0})
	c.want("up up poor:333") // better, and not well
	c.beats(40, well, well, member{10, 20 * ms, 0})
	c.want("up up up")
	if got := c.jury.Evidence(c.peers[2].Gauge); !strings.Contains(got, "median response") {
		t.Errorf("evidence %q", got)
	}
}

// "A pool where all are slow: nobody is an outlier", nor where half of them are, or
// where the difference is too small to notice, or there is nobody beside.
func TestNobodyIsAnOutlier(t *testing.T) {
	for name, members := range map[string][]member{
		"all slow":           {{50, 9 * time.Second, 0}, {50, 9 * time.Second, 0}, {50, 9 * time.Second, 0}},
		"all failing":        {{50, 20 * ms, 0.9}, {50, 20 * ms, 0.9}, {50, 20 * ms, 0.9}},
		"most slow":          {{50, 10 * ms, 0}, {50, 500 * ms, 0}, {50, 500 * ms, 0}},
		"hardly different":   {{50, 100 * time.Microsecond, 0}, {50, time.Millisecond, 0}, {50, 100 * time.Microsecond, 0}},
		"twice as slow":      {{50, 100 * ms, 0}, {50, 200 * ms, 0}, {50, 100 * ms, 0}},
		"one alone":          {{50, 9 * time.Second, 1}},
		"too few requests":   {{50, 10 * ms, 0}, {1, time.Second, 0}, {50, 10 * ms, 0}},
		"giant, all of them": {{50, math.MaxInt64 / 2, 0}, {50, math.MaxInt64 / 2, 0}},
		"a few failures":     {{50, 20 * ms, 0}, {50, 20 * ms, 0.05}, {50, 20 * ms, 0}},
	} {
		c := newCrowd(t, len(members))
		if name == "too few requests" {
			c.rules.MinRequests = 100
		}
		c.beats(40, members...)
		for i, p := range c.peers {
			if p.State != health.Up {
				t.Errorf("%s: member %d is %v: %s", name, i, p.State, p.Cause)
			}
		}
	}
}

// In a pool of two the slow one is found beside the other.
func TestPoolOfTwo(t *testing.T) {
	c := newCrowd(t, 2)
	c.beats(20, member{50, 10 * ms, 0}, member{50, math.MaxInt64 / 2, 0})
	c.want("up poor:50") // the floor
	c.rules.Floor = 1
	c.beats(20, member{50, 10 * ms, 0}, member{50, 10 * time.Minute, 0})
	c.want("up poor:10")
}

// Errors make poor, many of them eject; in both cases only beside peers that do better.
func TestFailingMember(t *testing.T) {
	well := member{100, 20 * ms, 0}
	c := newCrowd(t, 3)
	c.beats(20, well, well, member{100, 20 * ms, 0.2})
	c.want("up up poor:91") // (0 + 2 %) / (20 % + 2 %)
	if !strings.Contains(c.peers[2].Cause, "requests failed, of its peers 0.0 %") {
		t.Errorf("cause %q", c.peers[2].Cause)
	}
	c.beats(12, well, well, member{100, 20 * ms, 0.8})
	c.want("up up down")
	c = newCrowd(t, 3)
	c.beats(20, member{100, 20 * ms, 0.6}, member{100, 20 * ms, 0.6}, member{100, 20 * ms, 0.8})
	if c.peers[2].State == health.Down {
		t.Errorf("a member was ejected although the others fail more than half as often: %s", c.peers[2].Cause)
	}
}

// It takes longer to trust each time it was in vain: a member that is well for a while
// whenever it has little to do does not take the whole pool into a swing.
func TestTrustIsLostByReturning(t *testing.T) {
	well, slow := member{100, 20 * ms, 0}, member{100, 200 * ms, 0}
	c := newCrowd(t, 3)
	changes, was := 0, health.Up
	for range 2400 { // 20 minutes
		third := slow
		if c.peers[2].State == health.Poor {
			third = member{20, 20 * ms, 0}
		}
		c.beats(1, well, well, third)
		if c.peers[2].State != was {
			was = c.peers[2].State
			changes++
		}
	}
	if changes < 4 || changes > 120 {
		t.Errorf("%d changes in 20 minutes, want some, and fewer with time", changes)
	}
}

// What is removed is forgotten; what is Poor at a start stays so until there is enough
// to tell, and not for ever.
func TestComingAndGoing(t *testing.T) {
	well := member{100, 20 * ms, 0}
	c := newCrowd(t, 3)
	c.beats(12, well, well, member{100, 200 * ms, 0})
	c.peers = c.peers[:2]
	c.beats(1, well, well)
	if len(c.jury.records) != 2 {
		t.Errorf("%d records of 2 members", len(c.jury.records))
	}
	restored := newCrowd(t, 2)
	restored.peers[0].State, restored.peers[0].Notes.Share, restored.peers[0].Cause = health.Poor, 200, "performs poorly: as it was"
	restored.beats(100)
	restored.want("poor:200 up")
	restored.beats(40)
	restored.want("up up") // a minute has told nothing
	if len(newCrowd(t, 3).last) != 0 {
		t.Error("sentences without traffic")
	}
}

// Clocks that jump, in either direction, neither judge nor free anybody by themselves.
func TestClockJumps(t *testing.T) {
	well, slow := member{100, 20 * ms, 0}, member{100, 200 * ms, 0}
	for _, jump := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		c := newCrowd(t, 3)
		c.beats(12, well, well, slow)
		c.now = c.now.Add(jump)
		c.beats(6, well, well, slow)
		c.want("up up poor:100")
		c.beats(60, well, well, well)
		c.want("up up up")
	}
}

// Nobody who is near is compared with who is far.
func TestGroups(t *testing.T) {
	c := newCrowd(t, 4)
	c.peers[2].Group, c.peers[3].Group = 1, 1
	near, far := member{100, 10 * ms, 0}, member{100, 200 * ms, 0}
	c.beats(20, near, near, far, far)
	c.want("up up up up")
	c.beats(20, near, near, far, member{100, 2 * time.Second, 0})
	c.want("up up up poor:100")
}

// Whatever members do: a share is between the floor and the whole, at least half of a
// group with traffic is neither poor nor ejected, and nobody that is not there is judged.
func TestPropertiesOfSentences(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		c := newCrowd(t, 1+r.IntN(9))
		c.rules = Rules{MinRequests: 1 + r.IntN(40), Floor: 1 + r.IntN(30), Slow: 1 + 4*r.Float64(), ErrorRate: 1 + r.IntN(100)}
		for range 80 {
			members := make([]member, len(c.peers))
			for i := range members {
				members[i] = member{r.IntN(60), time.Duration(r.Int64N(int64(10) << r.IntN(34))), r.Float64() * r.Float64()}
			}
			c.now = c.now.Add(time.Duration(r.IntN(5000)-500) * ms)
			c.beats(1, members...)
			seen := map[int]bool{}
			for _, s := range c.last {
				if s.Peer >= len(c.peers) || seen[s.Peer] {
					t.Fatalf("seed %d: sentences %+v", seed, c.last)
				}
				seen[s.Peer] = true
				if g := s.Grade.Share; s.Eject == "" && (g < c.rules.Floor*10 || g > 999) {
					t.Fatalf("seed %d: a share of %d", seed, g)
				}
			}
			for i := range c.peers {
				if c.peers[i].State == health.Down && r.IntN(4) == 0 {
					c.peers[i].State = health.Up
				}
			}
			if r.IntN(10) == 0 && len(c.peers) > 1 {
				c.peers = c.peers[1:]
			}
		}
		c.beats(1)
		if len(c.jury.records) > len(c.peers) {
			t.Errorf("seed %d: %d records of %d members", seed, len(c.jury.records), len(c.peers))
		}
	}
}

// Medians are right to a few percent, over all times there are.
func TestMedian(t *testing.T) {
	for _, want := range []time.Duration{100 * time.Microsecond, ms, 7 * ms, 250 * ms, 3 * time.Second, 40 * time.Second} {
		var g Gauge
		for i := range 1000 {
			g.Note(health.Answered, time.Duration(float64(want)*(0.8+0.4*float64(i)/1000)))
		}
		c := g.read()
		if got := c.median(); math.Abs(float64(got-want)) > 0.15*float64(want) {
			t.Errorf("median %v, want %v", got, want)
		}
	}
	for b := 1; b < Buckets; b++ {
		start := time.Duration(startOf(b))
		if bucketOf(start) != b || bucketOf(start-1) != b-1 {
			t.Errorf("bucket %d begins at %v: %d and %d", b, start, bucketOf(start), bucketOf(start-1))
		}
	}
	if bucketOf(-1) != 0 || bucketOf(math.MaxInt64) != Buckets-1 {
		t.Error("times out of all bounds")
	}
}

func TestNoAllocs(t *testing.T) {
	var g Gauge
	if n := testing.AllocsPerRun(1000, func() { g.Note(health.Answered, 3*ms) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNote(b *testing.B) {
	var g Gauge
	b.RunParallel(func(pb *testing.PB) {
		for took := time.Duration(0); pb.Next(); took += 7 * time.Microsecond {
			g.Note(health.Answered, took%(100*ms))
		}
	})
}

// 100,000 members of whom 1,000 have traffic.
func BenchmarkJudge(b *testing.B) {
	juries, peers := make([]Jury, 10_000), make([][]Peer, 10_000)
	for i := range peers {
		for range 10 {
			peers[i] = append(peers[i], Peer{Gauge: new(Gauge), State: health.Up})
		}
	}
	now := epoch
	for b.Loop() {
		now = now.Add(500 * ms)
		for i := range peers {
			if i < 100 {
				for _, p := range peers[i] {
					for range 50 {
						p.Gauge.Note(health.Answered, 20*ms)
					}
				}
			}
			juries[i].Judge(now, Rules{}, peers[i])
		}
	}
}
