package outbound

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/resolver/seats"
)

// upstream carries datagrams to a server that is a function: it answers every name
// with an address, at once. So what is measured is all of a question but the kernel's
// part.
type upstream struct {
	bell    chan struct{}
	replies []upstreamReply
}

type upstreamReply struct {
	number uint64
	msg    []byte
}

func newUpstream(*seats.Table[*exchange], func() int) datagrams {
	return &upstream{bell: make(chan struct{}, 1)}
}

func (u *upstream) send(x *exchange, _ netip.AddrPort, query []byte) error {
	end := dnswire.HeaderLen + slices.Index(query[dnswire.HeaderLen:], 0) + 5
	msg := append(make([]byte, 0, 128), query[:end]...)
	msg[2], msg[7] = 0x84, 1 // QR, AA; one answer
	if binary.BigEndian.Uint16(query[end-4:]) == uint16(rdata.TypeNS) {
		msg = append(msg, 0xC0, dnswire.HeaderLen, 0, 2, 0, 1, 0, 1, 0, 0, 0, 8, 1, 'a', 4, 'r', 'o', 'o', 't', 0)
	} else {
		msg = append(msg, 0xC0, dnswire.HeaderLen, 0, 1, 0, 1, 0, 1, 0, 0, 0, 4, 192, 0, 2, 1)
	}
	u.replies = append(u.replies, upstreamReply{x.number, append(msg, query[end:]...)})
	return nil
}

func (u *upstream) next() (uint64, []byte, error, bool) {
	if len(u.replies) == 0 {
		return 0, nil, nil, false
	}
	r := u.replies[0]
	if u.replies = u.replies[1:]; len(u.replies) == 0 {
		u.replies = nil
	}
	return r.number, r.msg, nil, true
}

func (u *upstream) wait(d time.Duration) {
	if len(u.replies) > 0 || d == 0 {
		return
	}
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	over := timer.C
	if d < 0 {
		over = nil
	}
	select {
	case <-u.bell:
	case <-over:
	}
}

func (u *upstream) wake() {
	select {
	case u.bell <- struct{}{}:
	default:
	}
}

func (u *upstream) end(*exchange) {}
func (u *upstream) close()        {}

// asker asks a Driver for names that it does not know.
type asker struct {
	d     *Driver
	asked int
	took  []time.Duration // CPU time of each round
}

func newAsker(untold bool) *asker {
	d := start(Config{Hints: []rdata.Record{ns(".", "a.root."), a("a.root.", rootAt)}, Limits: iterate.Limits{ZoneRate: 1 << 30},
		Cache: rrcache.New(time.Now(), rrcache.Limits{RecordOctets: 4 << 20, AnswerOctets: 4 << 20}), MixCase: true, Untold: untold}, newUpstream)
	return &asker{d: d}
}

// round asks count questions, 64 at a time, and returns the CPU time that it took.
func (k *asker) round(t testing.TB, count int) time.Duration {
	names := make([]dnsname.Name, count)
	for i := range names {
		k.asked++
		names[i] = dnsname.MustParse(fmt.Sprintf("www.n%d.test.", k.asked))
	}
	places := make(chan struct{}, 64)
	begin := cpuTime()
	for _, name := range names {
		places <- struct{}{}
		k.d.Ask(name, rdata.TypeA, Options{}, func(got iterate.Answer) {
			if len(got.Answer) != 1 {
				t.Errorf("got %+v", got)
			}
			<-places
		})
	}
	for range cap(places) {
		places <- struct{}{}
	}
	return cpuTime() - begin
}

// cpuTime is that of this process.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkStories measures what it costs that the story of every question is kept:
// the CPU time of questions through the whole Driver with and without, in rounds one
// after the other, so that what drifts does so for both; medians. One op is 2,000
// questions of each.
func BenchmarkStories(b *testing.B) {
	const count = 2000
	kinds := []*asker{newAsker(false), newAsker(true)}
	for _, k := range kinds {
		defer k.d.Close()
		k.round(b, count) // warm
	}
	for i := 0; b.Loop(); i++ {
		for j := range kinds {
			k := kinds[(i+j)%2]
			k.took = append(k.took, k.round(b, count))
		}
	}
	median := func(k *asker) float64 {
		slices.Sort(k.took)
		return float64(k.took[len(k.took)/2].Nanoseconds()) / count / 1e3
	}
	told, untold := median(kinds[0]), median(kinds[1])
	b.ReportMetric(told, "us/question")
	b.ReportMetric(100*(told-untold)/untold, "%cost")
	b.ReportMetric(0, "ns/op")
}
