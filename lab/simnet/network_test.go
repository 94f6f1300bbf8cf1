package simnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	alice = netip.MustParseAddrPort("192.0.2.1:1000")
	bob   = netip.MustParseAddrPort("198.51.100.2:53")
	carol = netip.MustParseAddrPort("[2001:db8::3]:53")
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func echo(_ time.Time, query []byte, _ netip.AddrPort) [][]byte { return [][]byte{query} }

// inbox binds a socket at an address and collects what arrives there, with the
// time since start.
func inbox(n *Network, at netip.AddrPort) *[]string {
	var got []string
	start := n.Now()
	n.Bind(at, Socket{
		Deliver: func(now time.Time, d Datagram) { got = append(got, fmt.Sprintf("%v %s", now.Sub(start), d.Payload)) },
		Refused: func(now time.Time, to netip.AddrPort) {
			got = append(got, fmt.Sprintf("%v refused by %v", now.Sub(start), to))
		},
	})
	return &got
}

func TestLatencyIsPerDirection(t *testing.T) {
	n := New(Config{Rules: []Rule{
		{From: prefix("192.0.2.0/24"), Path: Path{Latency: 10 * time.Millisecond}},
		{To: prefix("192.0.2.0/24"), Path: Path{Latency: 30 * time.Millisecond}},
	}})
	n.Serve(bob, echo, nil)
	got := inbox(n, alice)
	n.Send(Datagram{alice, bob, []byte("hello")})
	if !n.Run(100) {
		t.Fatal("the network did not come to rest")
	}
	if want := []string{"40ms hello"}; !slices.Equal(*got, want) {
		t.Errorf("got %q, want %q", *got, want)
	}
}

func TestEventsOfOneTimeKeepTheirOrder(t *testing.T) {
	n := New(Config{})
	var got []int
	for i := range 100 {
		n.After(time.Duration(i%3)*time.Second, func() { got = append(got, i) })
	}
	n.Run(1000)
	var want []int
	for second := range 3 {
		for i := second; i < 100; i += 3 {
			want = append(want, i)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStopAndRunUntil(t *testing.T) {
	n := New(Config{})
	start, fired := n.Now(), 0
	stopped := n.After(time.Second, func() { t.Error("a stopped timer went off") })
	n.After(2*time.Second, func() { fired++ })
	n.After(4*time.Second, func() { fired++ })
	stopped.Stop()
	n.RunUntil(start.Add(3 * time.Second))
	if fired != 1 || n.Now().Sub(start) != 3*time.Second {
		t.Errorf("%d fired at %v, want 1 at 3s", fired, n.Now().Sub(start))
	}
	stopped.Stop()
	n.Run(10)
	if fired != 2 || n.Now().Sub(start) != 4*time.Second {
		t.Errorf("%d fired at %v, want 2 at 4s", fired, n.Now().Sub(start))
	}
}

func TestFaults(t *testing.T) {
	const packets = 10000
	for _, c := range []struct {
		name     string
		path     Path
		fate     Fate
		low, top int // how often it must happen in 10000
	}{
		{"loss", Path{Loss: 0.3}, Lost, 2800, 3200},
		{"duplication", Path{Duplicate: 0.1}, Doubled, 900, 1100},
		{"reordering", Path{Reorder: 0.5, ReorderBy: time.Second}, HeldBack, 4800, 5200},
		{"no loss", Path{}, Lost, 0, 0},
		{"certain loss", Path{Loss: 1}, Lost, packets, packets},
	} {
		n := New(Config{Seed: 7, Default: c.path})
		inbox(n, bob)
		for range packets {
			n.Send(Datagram{alice, bob, []byte("x")})
		}
		n.Run(10 * packets)
		count := map[Fate]int{}
		for _, e := range n.Log() {
			count[e.Fate]++
		}
		if got := count[c.fate]; got < c.low || got > c.top {
			t.Errorf("%s: %d of %d %v, want %d to %d", c.name, got, packets, c.fate, c.low, c.top)
		}
		if got, want := count[Delivered], packets-count[Lost]+count[Doubled]; got != want {
			t.Errorf("%s: %d delivered, want %d", c.name, got, want)
		}
	}
}

func TestReorderedPacketsArriveLater(t *testing.T) {
	n := New(Config{Seed: 3, Default: Path{Latency: time.Millisecond, Reorder: 0.5, ReorderBy: 10 * time.Millisecond}})
	got := inbox(n, bob)
	for i := range 20 {
		n.Send(Datagram{alice, bob, []byte{byte('a' + i)}})
	}
	n.Run(100)
	if len(*got) != 20 || slices.IsSorted(*got) && (*got)[19] == "1ms t" {
		t.Errorf("20 packets with half of them held back arrived in order: %q", *got)
	}
}

func TestJitterShapes(t *testing.T) {
	mean := func(shape Shape) time.Duration {
		n := New(Config{Seed: 5})
		total := time.Duration(0)
		for range 10000 {
			total += n.delay(Path{Latency: 10 * time.Millisecond, Jitter: 4 * time.Millisecond, Shape: shape})
		}
		return total / 10000
	}
	if got := mean(Uniform); got < 11900*time.Microsecond || got > 12100*time.Microsecond {
		t.Errorf("uniform jitter of 4ms on 10ms has mean %v, want 12ms", got)
	}
	if got := mean(Exponential); got < 13800*time.Microsecond || got > 14200*time.Microsecond {
		t.Errorf("exponential jitter of 4ms on 10ms has mean %v, want 14ms", got)
	}
}

// RFC 1122 §4.1.3.1: a closed port is told to the sender.
func TestClosedPort(t *testing.T) {
	n := New(Config{Default: Path{Latency: 5 * time.Millisecond}})
	got := inbox(n, alice)
	n.Send(Datagram{alice, bob, []byte("anybody?")})
	n.Run(10)
	if want := []string{"10ms refused by 198.51.100.2:53"}; !slices.Equal(*got, want) {
		t.Errorf("got %q, want %q", *got, want)
	}
}

func TestMTU(t *testing.T) {
	for _, c := range []struct {
		to      netip.AddrPort
		payload int
		fate    Fate
	}{
		{bob, 1472, Delivered}, {bob, 1473, TooBig},
		{carol, 1452, Delivered}, {carol, 1453, TooBig},
	} {
		n := New(Config{Default: Path{MTU: 1500}})
		inbox(n, c.to)
		n.Send(Datagram{alice, c.to, make([]byte, c.payload)})
		n.Run(10)
		log := n.Log()
		if got := log[len(log)-1].Fate; got != c.fate {
			t.Errorf("%d octets to %v: %v, want %v", c.payload, c.to, got, c.fate)
		}
	}
}

func TestPartition(t *testing.T) {
	here, there := prefix("192.0.2.0/24"), prefix("198.51.100.0/24")
	for _, c := range []struct {
		name string
		cut  func(*Network)
		at   int // replies that reach alice
		seen int // queries that reach bob
	}{
		{"none", func(*Network) {}, 1, 1},
		{"there", func(n *Network) { n.Cut(here, there) }, 0, 0},
		{"back", func(n *Network) { n.Cut(there, here) }, 0, 1},
		{"both", func(n *Network) { n.CutBoth(here, there) }, 0, 0},
		{"everything", func(n *Network) { n.Cut(netip.Prefix{}, netip.Prefix{}) }, 0, 0},
		{"healed", func(n *Network) { n.CutBoth(here, there); n.Heal() }, 1, 1},
	} {
		n := New(Config{})
		seen := 0
		n.Serve(bob, func(now time.Time, q []byte, from netip.AddrPort) [][]byte { seen++; return [][]byte{q} }, nil)
		got := inbox(n, alice)
		c.cut(n)
		n.Send(Datagram{alice, bob, []byte("x")})
		n.Run(10)
		if len(*got) != c.at || seen != c.seen {
			t.Errorf("cut %s: %d queries arrived and %d replies, want %d and %d", c.name, seen, len(*got), c.seen, c.at)
		}
	}
}

func TestExchangeOverTCP(t *testing.T) {
	type result struct {
		reply string
		err   error
		after time.Duration
	}
	silent := func(time.Time, []byte, netip.AddrPort) [][]byte { return nil }
	for _, c := range []struct {
		name   string
		path   Path
		server Server
		cut    bool
		want   result
	}{
		{"two round trips", Path{Latency: 10 * time.Millisecond}, echo, false, result{"x", nil, 40 * time.Millisecond}},
		{"MTU does not matter", Path{MTU: 20}, echo, false, result{"x", nil, 0}},
		{"closed port", Path{Latency: 10 * time.Millisecond}, nil, false, result{"", ErrRefused, 20 * time.Millisecond}},
		{"closed connection", Path{}, silent, false, result{"", ErrClosed, 0}},
		{"cut", Path{}, echo, true, result{"", ErrLost, 63 * time.Second}}, // 1+2+4+8+16+32
	} {
		n := New(Config{Default: c.path})
		n.Serve(bob, nil, c.server)
		if c.cut {
			n.Cut(netip.Prefix{}, netip.Prefix{})
		}
		start, got := n.Now(), []result{}
		n.Ask(alice, bob, []byte("x"), func(reply []byte, err error) {
			got = append(got, result{string(reply), err, n.Now().Sub(start)})
		})
		n.Run(100)
		if len(got) != 1 || got[0].reply != c.want.reply || !errors.Is(got[0].err, c.want.err) || got[0].after != c.want.after {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTCPOutlastsLoss(t *testing.T) {
	done := 0
	for seed := range uint64(200) {
		n := New(Config{Seed: seed, Default: Path{Loss: 0.3}})
		n.Serve(bob, nil, echo)
		n.Ask(alice, bob, []byte("x"), func(reply []byte, err error) {
			if err == nil {
				done++
			}
		})
		n.Run(1000)
	}
	// A segment fails six times with a chance of 0.3^6: one exchange in 340.
	if done < 196 {
		t.Errorf("%d of 200 exchanges came through 30 %% loss, want nearly all", done)
	}
}

func TestCanceledExchangeIsSilent(t *testing.T) {
	n := New(Config{Default: Path{Latency: time.Second}})
	n.Serve(bob, nil, echo)
	x := n.Ask(alice, bob, []byte("x"), func([]byte, error) { t.Error("a canceled exchange came back") })
	n.After(time.Second, x.Cancel)
	n.Run(100)
}

// The same value and seed give the same events; another seed gives others.
func TestSameSeedSameLog(t *testing.T) {
	run := func(seed uint64) []Entry {
		n := New(Config{Seed: seed, Default: Path{
			Latency: 10 * time.Millisecond, Jitter: 20 * time.Millisecond, Shape: Exponential,
			Loss: 0.2, Duplicate: 0.1, Reorder: 0.1, ReorderBy: 50 * time.Millisecond, MTU: 600,
		}})
		n.Serve(bob, echo, echo)
		inbox(n, alice)
		for i := range 200 {
			n.After(time.Duration(i)*time.Millisecond, func() {
				n.Send(Datagram{alice, bob, make([]byte, 4*i)})
				n.Ask(alice, bob, make([]byte, i), func([]byte, error) {})
			})
		}
		n.RunUntil(n.Now().Add(150 * time.Millisecond))
		n.Cut(prefix("192.0.2.0/24"), netip.Prefix{})
		n.RunUntil(n.Now().Add(time.Second))
		n.Heal()
		n.Run(100000)
		return n.Log()
	}
	first, second, other := run(1), run(1), run(2)
	if !slices.Equal(first, second) {
		t.Error("two runs of one seed differ")
	}
	if slices.Equal(first, other) {
		t.Error("runs of two seeds are the same")
	}
	if len(first) < 1000 {
		t.Errorf("only %d events", len(first))
	}
}

func TestLogReads(t *testing.T) {
	n := New(Config{Default: Path{Latency: 2 * time.Millisecond}})
	n.Serve(bob, echo, nil)
	n.Send(Datagram{alice, bob, []byte("x")})
	n.Run(10)
	want := "         2ms delivered udp 192.0.2.1:1000 > 198.51.100.2:53 1 octets #86021707"
	if got := n.Log()[1].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
