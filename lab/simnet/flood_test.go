package simnet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/fairness"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// floodTime is how long a flood lasts.
const floodTime = time.Second

// beside is what honest clients see.
type beside struct {
	asked, good int
	took        []time.Duration
	toVictim    int // queries that the attacked zone's servers got
	exhausted   int // exchanges that found no socket
}

func (b *beside) p99() time.Duration {
	slices.Sort(b.took)
	return b.took[len(b.took)*99/100]
}

// defence says what stands against a flood of names.
type defence struct {
	quotas bool // turns and quotas by network
	zones  bool // bounds of what one zone is asked
}

// victimAddr serves slow.com., where every name is another one, after a second; or
// not at all.
const victimAddr = "198.51.100.99"

// flood has networks of attackers ask for random names below slow.com., rate a second
// over all of them, beside 40 honest clients with forty questions a second each, for
// names that the cache does not have.
func flood(t *testing.T, d defence, rate, networks int, silent bool) *beside {
	t.Helper()
	slow := netip.PrefixFrom(netip.MustParseAddr(victimAddr), 32)
	n := New(Config{Seed: 1, Default: Path{Latency: 10 * time.Millisecond}, Rules: []Rule{{From: slow, Path: Path{Latency: time.Second}}}})
	smallInternet(t, n)
	got := &beside{}
	serveSlow(t, n, got, silent)
	limits := iterate.Limits{}
	if !d.zones {
		limits.ZoneRate, limits.ZoneWaiting, limits.ServerWaiting = 1<<30, 1<<30, 1<<30
	}
	core := iterate.New(iterate.Config{
		Hints: slices.Concat(hint("ns1.root.", rootServers[0]), hint("slow.", victimAddr)[1:]), Limits: limits, Rand: rand.New(rand.NewPCG(1, 1)),
		Cache: rrcache.New(n.Now(), rrcache.Limits{}),
	})
	h := NewHost(n, client4, netip.Addr{}, core)
	const sockets = 2048 // as package outbound has it
	share := fairness.Config{Work: sockets * 3 / 4, Total: 10000, PerNetwork: 1000}
	if !d.quotas {
		share.Work, share.PerNetwork = share.Total, share.Total
	}
	h.Share(share, sockets)
	from := func(network int) netip.Addr {
		if !d.quotas {
			return netip.Addr{} // who has no quota
		}
		return netip.AddrFrom4([4]byte{100, byte(network >> 8), byte(network), 1})
	}
	ask := func(client netip.Addr, name string, done func(iterate.Answer)) {
		h.AskFrom(client, iterate.Ask{Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN}, done)
	}
	for i := range domains { // the delegations are known
		ask(from(1), fmt.Sprintf("www.d%d.com.", i), func(iterate.Answer) {})
	}
	n.RunUntil(n.Now().Add(10 * time.Second))
	end := n.Now().Add(floodTime)
	for at, i := n.Now(), 0; rate > 0 && at.Before(end); at, i = at.Add(time.Second/time.Duration(rate)), i+1 {
		n.At(at, func() { ask(from(i%networks), fmt.Sprintf("x%d.slow.com.", i), func(iterate.Answer) {}) })
	}
	for at, i := n.Now().Add(floodTime/4), 0; at.Before(end); at, i = at.Add(time.Second/1600), i+1 {
		n.At(at, func() {
			got.asked++
			begin := n.Now()
			ask(from(1000+i%40), fmt.Sprintf("h%d.d%d.com.", i, i*7%domains), func(a iterate.Answer) {
				got.took = append(got.took, n.Now().Sub(begin))
				if a.Rcode == dnswire.RcodeNXDomain {
					got.good++
				}
			})
		})
	}
	n.RunUntil(end.Add(15 * time.Second))
	got.exhausted = h.Stats().NoSocket
	if len(got.took) != got.asked {
		t.Fatalf("%d of %d honest questions were answered", len(got.took), got.asked)
	}
	return got
}

// serveSlow serves slow.com., delegated by one of the domains' own servers' zone.
func serveSlow(t *testing.T, n *Network, got *beside, silent bool) {
	t.Helper()
	z := readZone(t, "slow.com.", apex("ns1.slow.com.")+"@ NS ns1.slow.com.\nns1.slow.com. A "+victimAddr+"\n")
	serve, tcp := Zones(zone.NewSet(z))
	n.Serve(netip.AddrPortFrom(netip.MustParseAddr(victimAddr), 53), func(now time.Time, query []byte, from netip.AddrPort) [][]byte {
		if got.toVictim++; silent {
			return nil
		}
		return serve(now, query, from)
	}, tcp)
	text := strings.Builder{}
	text.WriteString(apex("ns1.nic.com.") + nsOf("com.", "nic.com.") + addressesOf("nic.com.", tldServers) + "slow.com. NS ns1.slow.com.\nns1.slow.com. A " + victimAddr + "\n")
	for i := range domains {
		name, servers := fmt.Sprintf("d%d.com.", i), "host.net."
		if i%2 == 0 {
			servers = name
			text.WriteString(addressesOf(name, ownServers))
		}
		text.WriteString(nsOf(name, servers))
	}
	net := apex("ns1.nic.net.") + nsOf("net.", "nic.net.") + addressesOf("nic.net.", tldServers) + nsOf("host.net.", "host.net.") + addressesOf("host.net.", hostServers)
	udp, tcp := Zones(zone.NewSet(readZone(t, "com.", text.String()), readZone(t, "net.", net)))
	for _, a := range tldServers {
		n.Serve(netip.AddrPortFrom(netip.MustParseAddr(a), 53), udp, tcp)
	}
}

// A flood of random names in a zone with slow servers, 20,000 a second, from one
// network and from a hundred: honest clients get their answers as if it was not
// there, and the attacked zone's servers are spared. Each half of the defence is
// worth something; without both the flood takes every socket.
func TestRandomSubdomainFlood(t *testing.T) {
	all := defence{quotas: true, zones: true}
	idle := flood(t, all, 0, 1, false)
	if idle.good != idle.asked || idle.asked < 1000 {
		t.Fatalf("idle: %d of %d", idle.good, idle.asked)
	}
	for _, test := range []struct {
		what     string
		d        defence
		networks int
		silent   bool
		holds    bool
	}{
		{"one network", all, 1, false, true},
		{"100 networks", all, 100, false, true},
		{"100 networks, silent servers", all, 100, true, true},
		{"quotas alone, one network", defence{quotas: true}, 1, false, true},
		{"zones alone", defence{zones: true}, 1, false, true},
		{"nothing, silent servers", defence{}, 100, true, false},
	} {
		got := flood(t, test.d, 20_000, test.networks, test.silent)
		success := float64(got.good) / float64(got.asked)
		t.Logf("%s: success %.2f %%, p99 %v (idle %v), %d queries to the victim, %d without socket",
			test.what, 100*success, got.p99(), idle.p99(), got.toVictim, got.exhausted)
		if holds := success >= 0.999 && got.p99() <= 2*idle.p99(); holds != test.holds {
			t.Errorf("%s: holds is %v", test.what, holds)
		}
		if test.d.zones && got.toVictim > 2*2000 {
			t.Errorf("%s: the victim got %d queries in 1 s, limit 2000 a second", test.what, got.toVictim)
		}
	}
}
