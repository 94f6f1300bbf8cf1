package outbound

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// What is asked for often is fetched anew near the end of its time, by the machine and over
// real sockets, once; who asks meanwhile has the answer that there is, and later the new one.
func TestPrefetch(t *testing.T) {
	cache := rrcache.New(time.Now(), rrcache.Limits{PrefetchAsks: 3})
	d, servers := internet(t, Config{Prefetch: true, Cache: cache})
	var asked atomic.Int32
	servers[testAt].set(func(q *dnswire.Message, _ bool) *dnswire.Message {
		r := a("www.test.", fmt.Sprintf("192.0.2.%d", asked.Add(1)))
		r.Name, r.TTL = q.Question.Name, 1000
		return &dnswire.Message{AA: true, Answer: []rdata.Record{r}}
	})
	resolve(t, d, "www.test.")
	var q dnswire.Query
	q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse("www.test."), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true}))
	ask := func(at time.Time) string {
		var out dnswire.Builder
		out.Reset(&q, make([]byte, 512+dnswire.BufferSlack), 512)
		if !cache.Answer(at, &q, &out, 0) {
			return "nothing"
		}
		m, err := dnswire.ParseMessage(out.Finish())
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("%v, %+v", err, m)
		}
		return fmt.Sprint(m.Answer[0].Data)
	}
	const first, second = "[192 0 2 1]", "[192 0 2 2]"
	begin := time.Now()
	for i := range 3 {
		if got := ask(begin.Add(time.Duration(900+30*i) * time.Second)); got != first {
			t.Fatalf("question %d near the end: %s, want %s", i, got, first)
		}
	}
	deadline, tick := time.After(30*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ask(begin) != second {
		select {
		case <-deadline:
			t.Fatalf("%s after 30 s, want %s; the server was asked %d times", ask(begin), second, asked.Load())
		case <-tick.C:
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the server was asked %d times, want 2", n)
	}
}
