package outbound

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// besideGreedy has one network ask for so much that everything there is would be taken,
// of servers that do not answer, and returns what then becomes of a question of
// another client.
func besideGreedy(t *testing.T, greedy netip.Addr) (a iterate.Answer, taken bool, refused uint64) {
	t.Helper()
	d, servers := internet(t, Config{Clients: 200, Exchanges: 400, Limits: iterate.Limits{Time: time.Minute}})
	resolve(t, d, "first.test.") // the root and test. are known
	heard := make(chan struct{}, 1000)
	servers[otherAt].set(func(*dnswire.Message, bool) *dnswire.Message {
		heard <- struct{}{}
		return nil
	})
	flood := func(i int) bool {
		return d.Ask(dnsname.MustParse(fmt.Sprintf("w%d.other.", i)), rdata.TypeA, Options{Client: greedy}, func(iterate.Answer) {})
	}
	for i := range 1000 {
		flood(i)
	}
	<-heard // the flood has arrived there
	for i := 1000; flood(i); i++ {
	}
	answer := make(chan iterate.Answer, 1)
	taken = d.Ask(dnsname.MustParse("www.test."), rdata.TypeA, Options{Client: netip.MustParseAddr("198.51.100.1")}, func(a iterate.Answer) { answer <- a })
	if taken {
		a = <-answer
	}
	return a, taken, d.Refused()
}

// A network that asks for everything leaves enough for the others. Without quotas,
// as for this machine itself, which is the zero Addr, it would not.
func TestGreedyNetwork(t *testing.T) {
	a, taken, refused := besideGreedy(t, netip.MustParseAddr("192.0.2.1"))
	if !taken || a.Rcode != dnswire.RcodeNoError || len(a.Answer) != 1 {
		t.Errorf("taken %v, %+v", taken, a)
	}
	if refused < 500 {
		t.Errorf("%d of 1000 questions were refused", refused)
	}
	if _, taken, _ := besideGreedy(t, netip.Addr{}); taken {
		t.Error("without quotas there is room all the same: this proves nothing")
	}
}

// DNSBomb (CVE-2024-33655): answers held back by a server do not go out all at once
// to an address that may be forged; to one that is proven they do, and so do the few
// of a usual client.
func TestLateAnswers(t *testing.T) {
	for _, test := range []struct {
		what            string
		questions, late int
		forgeable       bool
	}{
		{"a bomb", 40, 40 - lateCrowd, true},
		{"a crowd with a cookie", 40, 0, false},
		{"a usual client", lateCrowd, 0, true},
	} {
		d, servers := internet(t, Config{Discard: 1}) // all are late
		release := make(chan struct{})
		servers[testAt].set(func(q *dnswire.Message, _ bool) *dnswire.Message {
			<-release
			r := a("www.test.", "192.0.2.1")
			r.Name = q.Question.Name
			return &dnswire.Message{AA: true, Answer: []rdata.Record{r}}
		})
		answers := make(chan iterate.Answer, test.questions)
		for i := range test.questions {
			o := Options{Client: netip.MustParseAddr("192.0.2.1"), Forgeable: test.forgeable}
			if !d.Ask(dnsname.MustParse(fmt.Sprintf("n%d.test.", i)), rdata.TypeA, o, func(a iterate.Answer) { answers <- a }) {
				t.Fatalf("%s: question %d is refused", test.what, i)
			}
		}
		close(release)
		late := 0
		for range test.questions {
			if a := <-answers; a.Late {
				late++
			}
		}
		if late != test.late {
			t.Errorf("%s: %d of %d answers are not sent, want %d", test.what, late, test.questions, test.late)
		}
	}
}
