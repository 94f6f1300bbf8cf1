package simnet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// RFC 8767 §5, and more: with every authoritative server cut off, the first who ask
// wait for 1.8 s; after that every name that was seen before is answered with what
// has expired, and at once, whoever's zone it is in.
func TestCutNetworkServesStaleAtOnce(t *testing.T) {
	n := New(Config{Seed: 1, Default: Path{Latency: 10 * time.Millisecond}})
	smallInternet(t, n)
	var hints []rdata.Record
	for i, a := range rootServers {
		hints = append(hints, hint(fmt.Sprintf("ns%d.root.", i+1), a)...)
	}
	core := iterate.New(iterate.Config{
		Hints: hints, Rand: rand.New(rand.NewPCG(1, 1)),
		Cache: rrcache.New(n.Now(), rrcache.Limits{Stale: 24 * time.Hour}),
	})
	h := NewHost(n, client4, netip.Addr{}, core)
	type told struct{ stale, fresh, failed, late int }
	// ask asks for every name from first on, and counts answers; late are those that
	// took longer than limit.
	ask := func(first, step int, limit time.Duration) *told {
		got := &told{}
		for i := first; i < domains; i += step {
			h.Ask(iterate.Ask{Name: dnsname.MustParse(fmt.Sprintf("www.d%d.com.", i)), Type: rdata.TypeA, Class: rdata.ClassIN}, func(a iterate.Answer) {
				switch {
				case a.Rcode != dnswire.RcodeNoError || len(a.Answer) == 0 || string(a.Answer[len(a.Answer)-1].Data) != string([]byte{203, 0, 113, byte(i)}):
					got.failed++
				case len(a.Errors) > 0 && a.Errors[0].Code == dnswire.EDEStaleAnswer:
					got.stale++
				default:
					got.fresh++
				}
				if a.Elapsed > limit {
					got.late++
				}
			})
		}
		return got
	}
	seen := ask(0, 1, time.Second)
	n.RunUntil(n.Now().Add(time.Minute))
	if seen.fresh != domains {
		t.Fatalf("before: %+v", *seen)
	}
	n.RunUntil(n.Now().Add(20 * time.Hour))
	n.CutBoth(netip.Prefix{}, netip.Prefix{})
	first := ask(0, 10, 1800*time.Millisecond)
	n.RunUntil(n.Now().Add(1801 * time.Millisecond))
	if first.stale != domains/10 || first.late > 0 {
		t.Errorf("the first: %+v", *first)
	}
	// The names that nobody has asked for since, then all of them again and again.
	for round := range 200 {
		then := ask(1, 1, 5*time.Millisecond)
		n.RunUntil(n.Now().Add(10 * time.Second))
		if then.stale != domains-1 || then.late > 0 {
			t.Fatalf("round %d: %+v", round, *then)
		}
	}
	n.Heal()
	n.RunUntil(n.Now().Add(2 * time.Minute))
	ask(0, 1, 0)
	n.RunUntil(n.Now().Add(2 * time.Minute))
	healed := ask(0, 1, time.Second)
	n.RunUntil(n.Now().Add(time.Minute))
	if healed.fresh != domains {
		t.Errorf("after the cut: %+v", *healed)
	}
}
