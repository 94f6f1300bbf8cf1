package rrcache

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// patron asks a cache for one name, and fetches what it lacks.
type patron struct {
	c    *Cache
	name dnsname.Name
	ttl  rdata.TTL
	now  time.Time

	waits, fetches int
	told           []time.Duration // when it was to be fetched anew, since its last fetch
	born           time.Time
	fails          bool // fetching ahead comes to nothing
}

func newPatron(limits Limits, ttl rdata.TTL) *patron {
	a := &patron{c: New(begin, limits), name: dnsname.MustParse("www.example."), ttl: ttl, now: begin}
	a.c.OnDue(func(Question) {
		a.told = append(a.told, a.now.Sub(a.born))
		if !a.fails {
			a.fetch()
		}
	})
	return a
}

func (a *patron) fetch() {
	a.fetches, a.born = a.fetches+1, a.now
	a.c.PutAnswer(a.now, Ready{Name: a.name, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: a.ttl,
		Answer: []rdata.Record{{Name: a.name, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: a.ttl, Data: []byte{192, 0, 2, 1}}}})
}

// ask asks at a time since the beginning.
func (a *patron) ask(at time.Duration) {
	var q dnswire.Query
	if q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: a.name, Type: rdata.TypeA, Class: rdata.ClassIN})) != dnswire.Accept {
		panic("bad query")
	}
	var out dnswire.Builder
	out.Reset(&q, make([]byte, 0, 512), 512)
	a.now = begin.Add(at)
	if !a.c.Answer(a.now, &q, &out, 0) {
		a.waits++
		a.fetch()
	}
}

// Only who is asked for often enough in its time is fetched ahead, once, and the earlier
// the more seldom that is, within a tenth and a quarter of its time.
func TestPopularity(t *testing.T) {
	for _, test := range []struct {
		name  string
		asks  []time.Duration // of a time of 100 s that begins with the first
		asked int             // Limits.PrefetchAsks
		want  time.Duration   // when it is fetched; 0: never
	}{
		{"once, at the end", []time.Duration{0, 99}, 3, 0},
		{"twice, at the end", []time.Duration{0, 98, 99}, 3, 0},
		{"once, all are popular", []time.Duration{0, 74, 99}, 1, 99},
		{"thrice", []time.Duration{0, 1, 2, 74, 75, 99}, 3, 75},
		{"every 10 s", []time.Duration{0, 10, 20, 30, 40, 50, 60, 70, 80, 90}, 3, 80},
		{"every 2 s", every(2, 99), 3, 90},
		{"not enough for this one", every(2, 99), 60, 0},
	} {
		a := newPatron(Limits{PrefetchAsks: test.asked}, 100)
		a.fails = true
		for _, at := range test.asks {
			a.ask(at * time.Second)
		}
		switch {
		case test.want == 0 && len(a.told) != 0:
			t.Errorf("%s: fetched after %v, want never", test.name, a.told)
		case test.want != 0 && (len(a.told) != 1 || a.told[0] != test.want*time.Second):
			t.Errorf("%s: fetched after %v, want once after %v", test.name, a.told, test.want*time.Second)
		}
	}
}

func every(step, until int) (at []time.Duration) {
	for i := 0; i < until; i += step {
		at = append(at, time.Duration(i))
	}
	return at
}

// Popularity is inherited by half, for each time that goes by: who is asked for every
// 40 s of its 60 is popular in its third time; after a long silence it is forgotten.
func TestPopularityFades(t *testing.T) {
	for _, test := range []struct {
		silence time.Duration
		want    bool
	}{{time.Minute, true}, {10 * time.Minute, false}} {
		a := newPatron(Limits{}, 60)
		for i := range 20 {
			a.ask(time.Duration(i) * time.Second)
		}
		a.ask(60*time.Second + test.silence)
		a.ask(60*time.Second + test.silence + 59*time.Second)
		if got := len(a.told) > 0; got != test.want {
			t.Errorf("after %v of silence: fetched ahead %v, want %v", test.silence, got, test.want)
		}
	}
}

// Over ten hours: who asks for popular names seldom waits, for an eighth more of fetching or
// so; for what is asked for less than once in its time nothing is fetched that nobody
// asked for.
func TestPrefetchByPopularity(t *testing.T) {
	const ttl = 60
	for _, test := range []struct {
		perTTL              float64 // how often it is asked for
		mostWaits, mostMore float64 // of what they are without fetching ahead
	}{
		{30, 0.1, 1.15},
		{10, 0.25, 1.35},
		{5, 0.6, 1.35},
		{0.5, 1, 1.01},
	} {
		t.Run(fmt.Sprint(test.perTTL), func(t *testing.T) {
			without, with := newPatron(Limits{}, ttl), newPatron(Limits{}, ttl)
			without.c.OnDue(nil)
			rng := rand.New(rand.NewPCG(1, 2))
			for at := time.Duration(0); at < 10*time.Hour; at += time.Duration(rng.ExpFloat64() / test.perTTL * ttl * float64(time.Second)) {
				without.ask(at)
				with.ask(at)
			}
			waits, more := float64(with.waits)/float64(without.waits), float64(with.fetches)/float64(without.fetches)
			t.Logf("waits %d of %d, fetches %d instead of %d", with.waits, without.waits, with.fetches, without.fetches)
			if waits > test.mostWaits || more > test.mostMore {
				t.Errorf("%.2f of the waits and %.2f times the fetches, want at most %.2f and %.2f", waits, more, test.mostWaits, test.mostMore)
			}
		})
	}
}
