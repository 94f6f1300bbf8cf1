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

// rateOf returns which part of some questions a cache answers.
func rateOf(c *Cache, now time.Time, questions [][]byte) float64 {
	hits := 0
	var q dnswire.Query
	var out dnswire.Builder
	buf := make([]byte, 0, 4096)
	for _, msg := range questions {
		if q.Parse(msg) != dnswire.Accept {
			panic("bad query")
		}
		out.Reset(&q, buf, 1232)
		if c.Answer(now, &q, &out, 0) {
			hits++
		}
	}
	return float64(hits) / float64(len(questions))
}

// What is asked for again comes first: of 400,000 entries the first third brings the hit
// rate to within two points of what it was.
func TestHitRateComesBack(t *testing.T) {
	const hosts = 200_000
	limits := Limits{RecordOctets: 64 << 20, AnswerOctets: 64 << 20}
	old := New(begin, limits)
	fillHosts(old, hosts, begin)
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, hosts-1)
	questions := make([][]byte, 200_000)
	for i := range questions {
		owner := dnsname.MustParse(fmt.Sprintf("host%d.example.com.", zipf.Uint64()))
		questions[i] = dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, RD: true})
	}
	now := begin.Add(10 * time.Second)
	before := rateOf(old, now, questions)
	c := New(begin, limits)
	sample := questions[:20_000]
	if rate := rateOf(c, now, sample); rate > 0 {
		t.Fatalf("an empty cache answers %.3f", rate)
	}
	start, entries, back := time.Now(), 0, 0
	var at Cursor
	for more := true; more; {
		var part []byte
		part, more = old.AppendSaved(nil, now, &at)
		n, err := c.Restore(now, part, now, nil)
		if err != nil {
			t.Fatal(err)
		}
		entries += n
		if back == 0 && n > 0 && rateOf(c, now, sample) >= before-0.02 {
			back = entries
			t.Logf("hit rate %.3f, as %.3f before, after %d entries and %v, asking included", rateOf(c, now, sample), before, entries, time.Since(start))
		}
	}
	if back == 0 || back > entries/3 || entries < 390_000 {
		t.Errorf("the hit rate is back after %d of %d entries, want a third of 400,000 at most", back, entries)
	}
}

// Whoever asks before the file was read to where his answer is may be told SERVFAIL. That
// does not keep the answer out, nor does it drive it out when it comes late.
func TestRestoreBeatsFailure(t *testing.T) {
	old := New(begin, Limits{Stale: time.Hour})
	fillHosts(old, 1, begin)
	saved := saveAll(old, begin)
	owner := dnsname.MustParse("host0.example.com.")
	failure := Ready{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, Rcode: dnswire.RcodeServFail, TTL: 5}
	question := [][]byte{dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, RD: true})}
	rcode := func(c *Cache, now time.Time) dnswire.Rcode {
		var q dnswire.Query
		var out dnswire.Builder
		q.Parse(question[0])
		out.Reset(&q, make([]byte, 0, 512), 512)
		if !c.Answer(now, &q, &out, 0) {
			t.Fatal("no answer")
		}
		m, err := dnswire.ParseMessage(out.Finish())
		if err != nil {
			t.Fatal(err)
		}
		return m.Rcode
	}
	c := New(begin, Limits{Stale: time.Hour})
	c.PutAnswer(begin, failure)
	if n, err := c.Restore(begin, saved, begin, nil); n != 2 || err != nil {
		t.Errorf("restored %d, %v; want the record and the answer", n, err)
	}
	if got := rcode(c, begin); got != dnswire.RcodeNoError {
		t.Errorf("got %v from the restored cache", got)
	}
	c.PutAnswer(begin, failure)
	if got := rcode(c, begin); got != dnswire.RcodeNoError {
		t.Errorf("got %v after a late failure", got)
	}
	// What has expired is no better than a failure.
	late := begin.Add(2 * time.Hour)
	c = New(begin, Limits{Stale: 24 * time.Hour})
	c.PutAnswer(late, failure)
	if n, err := c.Restore(late, saved, begin, nil); n != 0 || err != nil {
		t.Errorf("restored %d, %v though it has expired", n, err)
	}
	if got := rcode(c, late); got != dnswire.RcodeServFail {
		t.Errorf("got %v, want the failure", got)
	}
}
