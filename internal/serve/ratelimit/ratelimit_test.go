package ratelimit

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var t0 = time.Unix(1_800_000_000, 0)

// sent takes count answers and returns how many may go.
func sent(l *Limiter, now time.Time, client string, c Class, count int) int {
	n := 0
	for range count {
		if l.Take(now, netip.MustParseAddr(client), c, 1) == Send {
			n++
		}
	}
	return n
}

// TestBucket: an account holds one second's answers and gains as many in a second.
func TestBucket(t *testing.T) {
	for _, rate := range []int{1, 2, 10, 1000} {
		l := New(Usual(rate), t0)
		if got := sent(l, t0, "192.0.2.1", Answer, 3*rate); got != rate {
			t.Errorf("rate %d: %d at once", rate, got)
		}
		if got := sent(l, t0.Add(time.Second), "192.0.2.1", Answer, 3*rate); got != rate {
			t.Errorf("rate %d: %d a second later", rate, got)
		}
		if got := sent(l, t0.Add(time.Hour), "192.0.2.1", Answer, 3*rate); got != rate {
			t.Errorf("rate %d: %d an hour later: more is saved than a second's", rate, got)
		}
		total := 0
		for i := range 100 * rate { // a hundred queries a second, spread evenly
			total += sent(l, t0.Add(2*time.Hour+time.Duration(i)*10*time.Millisecond/time.Duration(rate)*1), "192.0.2.1", Answer, 1)
		}
		if want := 2 * rate; total > want {
			t.Errorf("rate %d: %d in a second of flood, want at most %d", rate, total, want)
		}
	}
}

// TestAccounts: networks and classes have accounts of their own.
func TestAccounts(t *testing.T) {
	l := New(Usual(5), t0)
	sent(l, t0, "192.0.2.1", Answer, 5)
	for _, tt := range []struct {
		client string
		class  Class
		want   int
	}{
		{"192.0.2.255", Answer, 0}, {"::ffff:192.0.2.9", Answer, 0}, {"192.0.2.1", NXDomain, 5}, {"192.0.3.1", Answer, 5},
		{"2001:db8:0:1::1", Answer, 5}, {"2001:db8:0:ff::1", Answer, 0}, {"2001:db8:0:100::1", Answer, 5}, {"c000:200::", Answer, 5},
	} {
		if got := sent(l, t0, tt.client, tt.class, 5); got != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.client, tt.class, got, tt.want)
		}
	}
}

// TestSlip: of answers too many each second one tells the client to come by TCP.
func TestSlip(t *testing.T) {
	l := New(Usual(1), t0)
	client := netip.MustParseAddr("192.0.2.1")
	l.Take(t0, client, Failure, 0)
	for roll, want := range map[uint32]Verdict{0: Truncate, 1: Drop, 2: Truncate, 3: Drop} {
		if got := l.Take(t0, client, Failure, roll); got != want {
			t.Errorf("roll %d: %v, want %v", roll, got, want)
		}
	}
	if dropped, slipped := l.Counts(Failure); dropped != 2 || slipped != 2 {
		t.Errorf("%d dropped, %d slipped", dropped, slipped)
	}
}

// TestFullTable: with more networks than accounts, those under attack keep theirs,
// and nobody is limited who sends one query.
func TestFullTable(t *testing.T) {
	l := New(Usual(3), t0)
	const victim = "203.0.113.1"
	sent(l, t0, victim, Answer, 3)
	limited := 0
	for i := range 4 * sets * ways {
		client := netip.AddrFrom4([4]byte{byte(1 + i>>16), byte(i >> 8), byte(i), 1})
		if l.Take(t0.Add(time.Duration(i)), client, Answer, 1) != Send {
			limited++
		}
	}
	if got := sent(l, t0.Add(time.Millisecond), victim, Answer, 3); got != 0 {
		t.Errorf("the account of the network under attack was forgotten: %d more", got)
	}
	// Two networks with one tag in one set are one account: 7 of 65,536 meet another.
	if limited > sets*ways/100 {
		t.Errorf("%d of %d clients with one query were limited", limited, 4*sets*ways)
	}
}

// TestTogether: goroutines together get what one would.
func TestTogether(t *testing.T) {
	l := New(Usual(1000), t0)
	var total atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { total.Add(int64(sent(l, t0, "192.0.2.1", Answer, 500))) })
	}
	if wg.Wait(); total.Load() != 1000 {
		t.Errorf("%d answers, want 1000", total.Load())
	}
}

func TestNoAllocs(t *testing.T) {
	l, client := New(Usual(100), t0), netip.MustParseAddr("2001:db8::1")
	if got := testing.AllocsPerRun(100, func() { l.Take(t0, client, Answer, 1) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkTake(b *testing.B) {
	l := New(Usual(100), t0)
	var clients [1024]netip.Addr
	for i := range clients {
		clients[i] = netip.MustParseAddr(fmt.Sprintf("192.%d.%d.1", i>>8, i&255))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Take(t0.Add(time.Duration(i)*time.Microsecond), clients[i%1024], Answer, 1)
	}
}

// TestConfig: classes, networks and the slip are as configured.
func TestConfig(t *testing.T) {
	c := Config{PerSecond: [Classes]int{Answer: 4, Empty: 3, NXDomain: 2, Failure: 1}, IPv4Prefix: 32, IPv6Prefix: 48}
	l := New(c, t0)
	for class, want := range c.PerSecond {
		if got := sent(l, t0, "192.0.2.1", Class(class), 10); got != want {
			t.Errorf("class %v: %d of 10 sent, want %d", Class(class), got, want)
		}
	}
	if got := sent(l, t0, "192.0.2.2", Answer, 10); got != 4 {
		t.Errorf("another /32: %d sent, want 4", got)
	}
	if sent(l, t0, "2001:db8:0:1::1", Answer, 10); sent(l, t0, "2001:db8:0:ffff::1", Answer, 1) != 0 {
		t.Error("the same /48 has two accounts")
	}
	if got := sent(l, t0, "2001:db8:1::1", Answer, 10); got != 4 {
		t.Errorf("another /48: %d sent, want 4", got)
	}
	client := netip.MustParseAddr("192.0.2.1")
	for roll := range uint32(8) {
		if got := l.Take(t0, client, Failure, roll); got != Drop {
			t.Errorf("without slip, roll %d: %v", roll, got)
		}
	}
	c.Slip = 1
	always := New(c, t0)
	always.Take(t0, client, Failure, 0)
	for roll := range uint32(8) {
		if got := always.Take(t0, client, Failure, roll); got != Truncate {
			t.Errorf("slip 1, roll %d: %v", roll, got)
		}
	}
}
