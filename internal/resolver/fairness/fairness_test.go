package fairness

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}) }

// check holds the invariants of a Queue.
func (q *Queue[T]) check(t *testing.T) {
	t.Helper()
	waiting, working, inRing := 0, 0, 0
	for n, p := range q.parties {
		if p.network != n || p.waiting()+p.working == 0 || p.inRing != (p.waiting() > 0) || p.working < 0 {
			t.Fatalf("%v: %d waiting, %d working, in ring %v", n, p.waiting(), p.working, p.inRing)
		}
		waiting, working = waiting+p.waiting(), working+p.working
		if p.inRing {
			inRing++
		}
	}
	if waiting != q.waiting || working != q.working || inRing != len(q.ring) {
		t.Fatalf("%d waiting of %d, %d working of %d, %d in ring of %d", q.waiting, waiting, q.working, working, len(q.ring), inRing)
	}
	if q.waiting+q.working > q.cfg.Total || q.working > q.cfg.Work {
		t.Fatalf("%d waiting, %d working of %+v", q.waiting, q.working, q.cfg)
	}
}

// Nobody is refused or held back while there is room.
func TestQuotasBindUnderPressureOnly(t *testing.T) {
	q := New[int](Config{Work: 100, Total: 1100, PerNetwork: 1000})
	for i := range 50 {
		if !q.Add(addr(1), i) {
			t.Fatalf("question %d is refused", i)
		}
		item, _, heavy, ok := q.Next()
		if !ok || item != i || heavy {
			t.Fatalf("question %d: got %d, %v, heavy %v", i, item, ok, heavy)
		}
	}
	q.check(t)
}

// A greedy network comes to half of what there is, and leaves the other half free;
// n come to equal parts, and leave one such part.
func TestGreedyNetworks(t *testing.T) {
	for _, greedy := range []int{1, 3, 9} {
		q := New[int](Config{Work: 100, Total: 1100, PerNetwork: 1 << 20})
		for i := range 4000 {
			q.Add(addr(i%greedy), i)
		}
		work := map[netip.Prefix]int{}
		for {
			_, p, _, ok := q.Next()
			if !ok {
				break
			}
			work[p.network]++
		}
		q.check(t)
		share := 100 / (greedy + 1)
		for n, got := range work {
			if got < share-1 || got > share+1 {
				t.Errorf("%d greedy networks: %v has %d in work, want %d", greedy, n, got, share)
			}
		}
		if waiting, working := q.Outstanding(); waiting > 1000*greedy/(greedy+1)+greedy || 100-working < share-1 {
			t.Errorf("%d greedy networks: %d waiting, %d working", greedy, waiting, working)
		}
		if !q.Add(addr(500), 1) {
			t.Errorf("%d greedy networks: an honest client is refused", greedy)
		}
		if item, p, heavy, ok := q.Next(); !ok || p.network != network(addr(500)) || heavy {
			t.Errorf("%d greedy networks: an honest client has to wait (got %d of %v)", greedy, item, p)
		}
	}
}

// Who has cost much waits for who costs little.
func TestDearQuestionsComeLater(t *testing.T) {
	q := New[string](Config{Work: 1, Total: 100001, PerNetwork: 100000})
	for range 5000 {
		q.Add(addr(1), "dear")
		q.Add(addr(2), "cheap")
	}
	count := map[string]int{}
	for range 2000 {
		what, p, _, ok := q.Next()
		if !ok {
			t.Fatal("nothing to do")
		}
		count[what]++
		cost := 1
		if what == "dear" {
			cost = 40
		}
		q.Done(p, cost)
		q.check(t)
	}
	if count["cheap"] < 4*count["dear"] || count["dear"] == 0 {
		t.Errorf("got %v in 2000 turns", count)
	}
}

// CVE-2024-33655: one network never has more outstanding than PerNetwork.
func TestPerNetwork(t *testing.T) {
	q := New[int](Config{Work: 1000, Total: 11000, PerNetwork: 7})
	for i := range 20 {
		q.Add(netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::1", i)), i) // one /56
		q.Next()
	}
	if waiting, working := q.Outstanding(); waiting+working != 7 || q.Refused() != 13 {
		t.Errorf("%d waiting, %d working, %d refused", waiting, working, q.Refused())
	}
}

func TestNetworks(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"192.0.2.77", "192.0.2.0/24"}, {"::ffff:192.0.2.77", "192.0.2.0/24"},
		{"2001:db8:1:2::3", "2001:db8:1::/56"}, {"fe80::1%eth0", "fe80::/56"},
	} {
		if got := network(netip.MustParseAddr(test.in)); got.String() != test.want {
			t.Errorf("%s: got %v, want %s", test.in, got, test.want)
		}
	}
	if got := network(netip.Addr{}); got.IsValid() {
		t.Errorf("no address: %v", got)
	}
}

// Any order of calls keeps the invariants, loses nothing and keeps a network's order.
func TestAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	q := New[int](Config{Work: 20, Total: 80, PerNetwork: 25})
	var work []*Party[int]
	last := map[netip.Prefix]int{}
	in, out := 0, 0
	for i := range 20000 {
		switch r.IntN(3) {
		case 0:
			if q.Add(addr(r.IntN(1+r.IntN(12))), i) {
				in++
			}
		case 1:
			if item, p, _, ok := q.Next(); ok {
				out++
				if item < last[p.network] {
					t.Fatalf("%v: %d after %d", p.network, item, last[p.network])
				}
				last[p.network] = item
				work = append(work, p)
			}
		default:
			if len(work) > 0 {
				at := r.IntN(len(work))
				q.Done(work[at], r.IntN(100))
				work = append(work[:at], work[at+1:]...)
			}
		}
		q.check(t)
	}
	q.Drain(func(int) { out++ })
	for _, p := range work {
		q.Done(p, 0)
	}
	q.check(t)
	if in != out || len(q.parties) != 0 {
		t.Errorf("%d in, %d out, %d networks left", in, out, len(q.parties))
	}
}
