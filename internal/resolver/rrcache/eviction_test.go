package rrcache

import (
	"container/list"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// lru is the plain cache to compare with: so many names, the least recently used
// makes room.
type lru struct {
	most  int
	order list.List
	at    map[int]*list.Element
}

func (l *lru) ask(n int) (hit bool) {
	if e := l.at[n]; e != nil {
		l.order.MoveToFront(e)
		return true
	}
	l.at[n] = l.order.PushFront(n)
	if len(l.at) > l.most {
		delete(l.at, l.order.Remove(l.order.Back()).(int))
	}
	return false
}

// zipf returns how often names are asked for, as sums, for picking one by chance.
func zipf(names int, exponent float64) []float64 {
	sums := make([]float64, names)
	sum := 0.0
	for i := range sums {
		sum += 1 / math.Pow(float64(i+1), exponent)
		sums[i] = sum
	}
	return sums
}

func pick(sums []float64, random *rand.Rand) int {
	wanted, low, high := random.Float64()*sums[len(sums)-1], 0, len(sums)-1
	for low < high {
		if middle := (low + high) / 2; sums[middle] < wanted {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// asker asks a cache level for a name and puts it there if it is missing.
type asker func(now time.Time, owner dnsname.Name) (hit bool)

func askRecords(c *Cache) asker {
	return func(now time.Time, owner dnsname.Name) bool {
		if c.Get(now, owner, rdata.TypeA) != nil {
			return true
		}
		c.Put(now, rdata.RRset{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 86400, Data: [][]byte{{192, 0, 2, 1}}}, TrustAnswer)
		c.Get(now, owner, rdata.TypeA) // as the question that brought it does
		return false
	}
}

func askAnswers(t *testing.T, c *Cache) asker {
	client := newClient(t, "a.test.", rdata.TypeA, false)
	return func(now time.Time, owner dnsname.Name) bool {
		client.query.Name = owner
		client.out.Reset(&client.query, client.buf, 512)
		if c.Answer(now, &client.query, &client.out, 0) {
			return true
		}
		c.PutAnswer(now, Ready{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 86400,
			Answer: []rdata.Record{{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 86400, Data: []byte{192, 0, 2, 1}}}})
		return false
	}
}

// Honest clients ask 2,000 questions a second for 40,000 names by Zipf's law, then a
// flood of 20,000 random names a second sets in for half a minute. A tenth of the
// names fits. The hot set survives in both levels; an LRU queue of as many entries
// loses it.
func TestFloodKeepsHotSet(t *testing.T) {
	const names, honest, flood, warmup, flooded = 40000, 2000, 20000, 20, 30
	owners := make([]dnsname.Name, names)
	for i := range owners {
		owners[i] = name(fmt.Sprintf("host%d.example.com.", i))
	}
	sums := zipf(names, 1)
	for _, level := range []string{"records", "answers"} {
		c := New(begin, Limits{RecordOctets: 512 << 10, AnswerOctets: 1 << 20})
		ask := askRecords(c)
		if level == "answers" {
			ask = askAnswers(t, c)
		}
		var plain *lru
		random := rand.New(rand.NewPCG(5, 6))
		rate := map[string][2]float64{} // before and during the flood
		for phase, seconds := range []int{warmup, flooded} {
			hits, plainHits, asked := 0, 0, 0
			for tick := range seconds * honest {
				now := begin.Add(time.Duration(phase*warmup)*time.Second + time.Duration(tick)*time.Second/honest)
				if plain == nil && tick == warmup*honest/2 {
					plain = &lru{most: entriesOf(c, level), at: map[int]*list.Element{}}
				}
				n := pick(sums, random)
				hit := ask(now, owners[n])
				plainHit := plain != nil && plain.ask(n)
				if phase == 1 {
					for i := range flood / honest {
						stranger := fmt.Sprintf("r%d.example.net.", tick*flood/honest+i)
						ask(now, name(stranger))
						plain.ask(-1 - tick*flood/honest - i)
					}
				}
				if tick < seconds*honest*3/4 { // the end of a phase is what counts
					continue
				}
				asked++
				if hit {
					hits++
				}
				if plainHit {
					plainHits++
				}
			}
			rate["s3"] = set(rate["s3"], phase, float64(hits)/float64(asked))
			rate["lru"] = set(rate["lru"], phase, float64(plainHits)/float64(asked))
		}
		t.Logf("%s, %d entries: hit rate %.3f, in the flood %.3f; LRU %.3f and %.3f",
			level, plain.most, rate["s3"][0], rate["s3"][1], rate["lru"][0], rate["lru"][1])
		if rate["s3"][1] < rate["s3"][0]*0.9 {
			t.Errorf("%s: the flood has brought the hit rate from %.3f to %.3f", level, rate["s3"][0], rate["s3"][1])
		}
		if rate["s3"][1] < rate["lru"][1]+0.1 || rate["s3"][0] < rate["lru"][0] {
			t.Errorf("%s: %v, no better than LRU %v", level, rate["s3"], rate["lru"])
		}
		c.check()
	}
}

func set(pair [2]float64, i int, x float64) [2]float64 {
	pair[i] = x
	return pair
}

func entriesOf(c *Cache, level string) int {
	if level == "answers" {
		return c.Stats().Answers
	}
	return c.Stats().Records
}
