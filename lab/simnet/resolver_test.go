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
	"pharos/internal/dns/zonefile"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// domains is how many domains the small internet of these tests has.
const domains = 200

// Addresses of its servers, two for each level. The even domains have their
// servers inside (with glue), the odd ones have them in host.net.
var (
	rootServers = []string{"192.0.2.1", "192.0.2.2"}
	tldServers  = []string{"192.0.2.11", "192.0.2.12"}
	ownServers  = []string{"198.51.100.1", "198.51.100.2"}
	hostServers = []string{"198.51.100.11", "198.51.100.12"}
)

func readZone(t *testing.T, origin, text string) *zone.Zone {
	t.Helper()
	name := dnsname.MustParse(origin)
	b := zone.NewBuilder(name)
	for record, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: name, File: origin, TTL: 3600}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(record)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatalf("zone %s: %v", origin, problems)
	}
	return z
}

// apex is the SOA and NS records of a zone whose servers are ns1 and ns2.
func apex(servers string) string {
	return "@ SOA " + servers + " host." + servers + " 1 3600 600 86400 300\n"
}

func addressesOf(name string, addrs []string) (text string) {
	for i, a := range addrs {
		text += fmt.Sprintf("ns%d.%s A %s\n", i+1, name, a)
	}
	return text
}

func nsOf(zone, host string) string {
	return fmt.Sprintf("%s NS ns1.%s\n%s NS ns2.%s\n", zone, host, zone, host)
}

// smallInternet serves a root, two top level domains and 200 domains.
func smallInternet(t *testing.T, n *Network) {
	serve := func(addrs []string, zones ...*zone.Zone) {
		udp, tcp := Zones(zone.NewSet(zones...))
		for _, a := range addrs {
			n.Serve(netip.AddrPortFrom(netip.MustParseAddr(a), 53), udp, tcp)
		}
	}
	serve(rootServers, readZone(t, ".", apex("ns1.root.")+nsOf(".", "root.")+addressesOf("root.", rootServers)+
		nsOf("com.", "nic.com.")+addressesOf("nic.com.", tldServers)+
		nsOf("net.", "nic.net.")+addressesOf("nic.net.", tldServers)))
	com := apex("ns1.nic.com.") + nsOf("com.", "nic.com.") + addressesOf("nic.com.", tldServers)
	net := apex("ns1.nic.net.") + nsOf("net.", "nic.net.") + addressesOf("nic.net.", tldServers) +
		nsOf("host.net.", "host.net.") + addressesOf("host.net.", hostServers)
	var own, hosted []*zone.Zone
	for i := range domains {
		name := fmt.Sprintf("d%d.com.", i)
		servers := name
		if i%2 == 1 {
			servers = "host.net."
		}
		com += nsOf(name, servers)
		text := apex("ns1."+servers) + nsOf("@", servers) + fmt.Sprintf("www A 203.0.113.%d\n", i) +
			fmt.Sprintf("alias CNAME www.d%d.com.\n", (i+1)%domains) + "big TXT " + strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 8) + "\n"
		if i%2 == 0 {
			com += addressesOf(name, ownServers)
			own = append(own, readZone(t, name, text+addressesOf(name, ownServers)))
		} else {
			hosted = append(hosted, readZone(t, name, text))
		}
	}
	hosted = append(hosted, readZone(t, "host.net.", apex("ns1.host.net.")+nsOf("@", "host.net.")+addressesOf("host.net.", hostServers)))
	serve(tldServers, readZone(t, "com.", com), readZone(t, "net.", net))
	serve(ownServers, own...)
	serve(hostServers, hosted...)
}

var client4 = netip.MustParseAddr("192.0.2.200")

// resolverOn puts a resolver with an empty cache on the small internet.
func resolverOn(n *Network, seed uint64, limits iterate.Limits) (*Host, *iterate.Resolver) {
	var hints []rdata.Record
	for i, a := range rootServers {
		hints = append(hints, hint(fmt.Sprintf("ns%d.root.", i+1), a)...)
	}
	return resolverWith(n, seed, limits, hints)
}

func hint(server, addr string) []rdata.Record {
	return []rdata.Record{ns(dnsname.Root, server), a(server, addr)}
}

func resolverWith(n *Network, seed uint64, limits iterate.Limits, hints []rdata.Record) (*Host, *iterate.Resolver) {
	core := iterate.New(iterate.Config{
		Hints: hints, Limits: limits,
		Rand:  rand.New(rand.NewPCG(seed, 1)),
		Cache: rrcache.New(n.Now(), rrcache.Limits{}),
	})
	return NewHost(n, client4, netip.Addr{}, core), core
}

// patient asks as a stub resolver does, again after a SERVFAIL, and counts.
type patient struct {
	net              *Network
	host             *Host
	answered, failed int // questions at their end
	wrong            int // answered with another address than the domain's
	again            int // asks after the first
	sent, most       int // outgoing queries, all and of one ask
	slowest          time.Duration
}

// stubTries is how often a stub asks, and stubPause how long it waits after a
// failure: a little over the time for which a resolver remembers one.
const (
	stubTries = 4
	stubPause = 6 * time.Second
)

// ask asks for the address of name, which the zones say is that of domain i.
func (p *patient) ask(name string, i, try int) {
	ask := iterate.Ask{Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN}
	p.host.Ask(ask, func(a iterate.Answer) {
		p.sent += a.Sent
		p.most = max(p.most, a.Sent)
		p.slowest = max(p.slowest, a.Elapsed)
		switch {
		case a.Rcode == dnswire.RcodeNoError && len(a.Answer) > 0:
			p.answered++
			if last := a.Answer[len(a.Answer)-1]; string(last.Data) != string([]byte{203, 0, 113, byte(i)}) {
				p.wrong++
			}
		case try < stubTries:
			p.again++
			p.net.After(stubPause, func() { p.ask(name, i, try+1) })
		default:
			p.failed++
		}
	})
}

// atRest fails the test unless nothing is left of what was asked.
func atRest(t *testing.T, n *Network, h *Host, core *iterate.Resolver) {
	t.Helper()
	if !n.Run(5_000_000) {
		t.Fatal("the network does not come to rest")
	}
	questions, exchanges := core.Outstanding()
	if questions != 0 || exchanges != 0 || h.Open() != 0 {
		t.Errorf("left over: %d questions, %d exchanges, %d sockets and timers", questions, exchanges, h.Open())
	}
}

func TestAllNamesResolveUnderLoss(t *testing.T) {
	for _, weather := range []struct {
		name  string
		path  Path
		again int // asks after the first, for 200 names
		most  int // packets for each name, on the average
	}{
		{"fair", Path{Latency: 10 * time.Millisecond}, 0, 3},
		// Half of the exchanges fail. With two servers and three tries of each, one
		// zone in 64 is given up, and a name that is not known yet crosses two.
		{"30 % loss", Path{Latency: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.3}, 25, 6},
		{"everything", Path{
			Latency: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Shape: Exponential,
			Loss: 0.15, Duplicate: 0.1, Reorder: 0.2, ReorderBy: 100 * time.Millisecond, MTU: 1280,
		}, 10, 5},
	} {
		for seed := range uint64(6) {
			n := New(Config{Seed: seed, Default: weather.path})
			smallInternet(t, n)
			h, core := resolverOn(n, seed, iterate.Limits{})
			p := &patient{net: n, host: h}
			for i := range domains {
				n.After(time.Duration(i)*10*time.Millisecond, func() { p.ask(fmt.Sprintf("www.d%d.com.", i), i, 1) })
			}
			atRest(t, n, h, core)
			if p.answered != domains || p.wrong > 0 || p.again > weather.again {
				t.Errorf("%s, seed %d: %d of %d names resolved, %d of them wrong, %d asked again, want at most %d",
					weather.name, seed, p.answered, domains, p.wrong, p.again, weather.again)
			}
			if p.sent > weather.most*domains || p.most > 100 {
				t.Errorf("%s, seed %d: %d packets for %d names, %d for one question; want at most %d and 100", weather.name, seed, p.sent, domains, p.most, weather.most*domains)
			}
			if p.slowest > 10*time.Second {
				t.Errorf("%s, seed %d: one question took %v", weather.name, seed, p.slowest)
			}
			t.Logf("%s, seed %d: %d asked again, %.1f packets a name, at most %d, slowest %v", weather.name, seed, p.again, float64(p.sent)/domains, p.most, p.slowest)
		}
	}
}

func TestAliasesAndLargeAnswers(t *testing.T) {
	n := New(Config{Seed: 1, Default: Path{Latency: 5 * time.Millisecond, MTU: 1280}})
	smallInternet(t, n)
	h, core := resolverOn(n, 1, iterate.Limits{})
	var got []string
	for _, q := range []iterate.Ask{
		{Name: dnsname.MustParse("alias.d7.com."), Type: rdata.TypeA},
		{Name: dnsname.MustParse("big.d8.com."), Type: rdata.TypeTXT},
		{Name: dnsname.MustParse("none.d8.com."), Type: rdata.TypeA},
		{Name: dnsname.MustParse("www.d8.com."), Type: rdata.TypeAAAA},
	} {
		h.Ask(q, func(a iterate.Answer) {
			got = append(got, fmt.Sprintf("%v %v: %v, %d records, %d authority", q.Name, q.Type, a.Rcode, len(a.Answer), len(a.Authority)))
		})
	}
	atRest(t, n, h, core)
	slices.Sort(got)
	want := []string{
		"alias.d7.com. A: NOERROR, 2 records, 0 authority",
		"big.d8.com. TXT: NOERROR, 1 records, 0 authority",
		"none.d8.com. A: NXDOMAIN, 0 records, 1 authority",
		"www.d8.com. AAAA: NOERROR, 0 records, 1 authority",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if h.Stats().TCP != 1 {
		t.Errorf("%d exchanges over TCP, want 1 for the answer that is too large", h.Stats().TCP)
	}
}

// All servers are cut off: every question fails in time and with bounded work;
// when the cut heals the same names resolve.
func TestPartitionAndHeal(t *testing.T) {
	n := New(Config{Seed: 4, Default: Path{Latency: 10 * time.Millisecond}})
	smallInternet(t, n)
	h, core := resolverOn(n, 4, iterate.Limits{})
	me := netip.PrefixFrom(client4, 32)
	const names = 50
	ask := func(first int) (failed, answered, most int, slowest time.Duration) {
		for i := range names {
			h.Ask(iterate.Ask{Name: dnsname.MustParse(fmt.Sprintf("www.d%d.com.", first+i)), Type: rdata.TypeA}, func(a iterate.Answer) {
				if a.Rcode == dnswire.RcodeServFail {
					failed++
				} else if len(a.Answer) == 1 {
					answered++
				}
				most, slowest = max(most, a.Sent), max(slowest, a.Elapsed)
			})
		}
		atRest(t, n, h, core)
		return failed, answered, most, slowest
	}
	if failed, answered, _, _ := ask(0); answered != names {
		t.Fatalf("before: %d answered, %d failed", answered, failed)
	}
	n.CutBoth(me, netip.Prefix{})
	before := h.Stats().UDP
	failed, answered, most, slowest := ask(50)
	if failed != names || most > 20 || slowest > 10*time.Second {
		t.Errorf("cut off: %d of %d failed, %d answered, up to %d packets a question, slowest %v", failed, names, answered, most, slowest)
	}
	if sent := h.Stats().UDP - before; sent > 12*names {
		t.Errorf("cut off: %d packets for %d questions into the void", sent, names)
	}
	if failed, answered, _, _ := ask(0); answered != names {
		t.Errorf("cut off: of what is in the cache %d were answered, %d failed", answered, failed)
	}
	n.Heal()
	n.RunUntil(n.Now().Add(time.Minute)) // dead servers are tried again
	if failed, answered, _, _ := ask(50); answered != names {
		t.Errorf("healed: %d answered, %d failed", answered, failed)
	}
}

// One server of each level is cut off, in one direction or the other: all names
// resolve, and after the first ones the dead servers cost next to nothing.
func TestOneServerOfEachLevelIsCutOff(t *testing.T) {
	for _, inbound := range []bool{false, true} {
		n := New(Config{Seed: 9, Default: Path{Latency: 10 * time.Millisecond}})
		smallInternet(t, n)
		h, core := resolverOn(n, 9, iterate.Limits{})
		for _, level := range [][]string{rootServers, tldServers, ownServers, hostServers} {
			server := netip.PrefixFrom(netip.MustParseAddr(level[0]), 32)
			if inbound {
				n.Cut(server, netip.Prefix{})
			} else {
				n.Cut(netip.Prefix{}, server)
			}
		}
		p := &patient{net: n, host: h}
		for i := range domains {
			n.After(time.Duration(i)*200*time.Millisecond, func() { p.ask(fmt.Sprintf("www.d%d.com.", i), i, 1) })
		}
		atRest(t, n, h, core)
		if p.answered != domains || p.wrong > 0 || p.again > 0 {
			t.Errorf("%d of %d names resolved, %d of them wrong, %d at a second try", p.answered, domains, p.wrong, p.again)
		}
		if timeouts := h.Stats().Timeouts; timeouts > domains/4 {
			t.Errorf("%d timeouts for %d names: the dead servers are not avoided", timeouts, domains)
		}
	}
}

// The resolver on the network is as repeatable as the network alone.
func TestSameSeedSameResolution(t *testing.T) {
	run := func(seed uint64) []Entry {
		n := New(Config{Seed: seed, Default: Path{Latency: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.2, Duplicate: 0.1}})
		smallInternet(t, n)
		h, core := resolverOn(n, seed, iterate.Limits{})
		p := &patient{net: n, host: h}
		defer func() {
			if p.answered+p.failed != domains || p.wrong > 0 {
				t.Errorf("%d answered, %d of them wrong, %d failed", p.answered, p.wrong, p.failed)
			}
		}()
		for i := range domains {
			p.ask(fmt.Sprintf("alias.d%d.com.", i), (i+1)%domains, 1)
		}
		atRest(t, n, h, core)
		return n.Log()
	}
	first, second := run(11), run(11)
	if len(first) != len(second) {
		t.Fatalf("two runs of one seed have %d and %d events", len(first), len(second))
	}
	for i := range first {
		if first[i] != second[i] {
			t.Fatalf("event %d differs:\n%v\n%v", i, first[i], second[i])
		}
	}
}

// RFC 5452 §5: identical questions are never outstanding twice. A hundred clients
// cost what one costs.
func TestIdenticalQuestionsAreMerged(t *testing.T) {
	packets := func(clients int) int {
		n := New(Config{Seed: 1, Default: Path{Latency: 10 * time.Millisecond}})
		smallInternet(t, n)
		h, core := resolverOn(n, 1, iterate.Limits{})
		answered := 0
		for i := range clients {
			n.After(time.Duration(i)*100*time.Microsecond, func() {
				h.Ask(iterate.Ask{Name: dnsname.MustParse("www.d8.com."), Type: rdata.TypeA}, func(a iterate.Answer) {
					if len(a.Answer) == 1 {
						answered++
					}
				})
			})
		}
		atRest(t, n, h, core)
		if answered != clients {
			t.Errorf("%d of %d clients were answered", answered, clients)
		}
		return h.Stats().UDP
	}
	if one, many := packets(1), packets(100); one != many || one != 4 {
		t.Errorf("%d packets for one client, %d for a hundred, want 4", one, many)
	}
}

// A machine without IPv6 finds out, and names whose servers have addresses of
// both families resolve at once.
func TestNoRouteToOneFamily(t *testing.T) {
	n := New(Config{Seed: 1, Default: Path{Latency: 10 * time.Millisecond}})
	smallInternet(t, n)
	both := "ns1 A 198.51.100.50\nns1 AAAA 2001:db8::50\nns2 A 198.51.100.51\nns2 AAAA 2001:db8::51\n"
	udp, tcp := Zones(zone.NewSet(readZone(t, "both.com.", apex("ns1.both.com.")+nsOf("@", "both.com.")+both+"www A 203.0.113.99\n")))
	for _, addr := range []string{"198.51.100.50", "198.51.100.51"} {
		n.Serve(netip.AddrPortFrom(netip.MustParseAddr(addr), 53), udp, tcp)
	}
	udp, tcp = Zones(zone.NewSet(readZone(t, "com.", apex("ns1.nic.com.")+nsOf("@", "nic.com.")+addressesOf("nic.com.", tldServers)+
		nsOf("both.com.", "both.com.")+strings.ReplaceAll(both, " A", ".both.com. A"))))
	for _, addr := range tldServers {
		n.Serve(netip.AddrPortFrom(netip.MustParseAddr(addr), 53), udp, tcp)
	}
	noRoute := 0
	for seed := range uint64(8) {
		h, core := resolverOn(n, seed, iterate.Limits{})
		var got iterate.Answer
		h.Ask(iterate.Ask{Name: dnsname.MustParse("www.both.com."), Type: rdata.TypeA}, func(a iterate.Answer) { got = a })
		atRest(t, n, h, core)
		if len(got.Answer) != 1 || got.Elapsed > 100*time.Millisecond {
			t.Errorf("seed %d: %v, %d records after %v", seed, got.Rcode, len(got.Answer), got.Elapsed)
		}
		noRoute += h.Stats().NoRoute
	}
	if noRoute == 0 {
		t.Error("IPv6 was never tried: nothing was tested")
	}
}
