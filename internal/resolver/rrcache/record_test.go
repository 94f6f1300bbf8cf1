package rrcache

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func name(s string) dnsname.Name { return dnsname.MustParse(s) }

func addressSet(owner string, ttl rdata.TTL, addrs ...string) rdata.RRset {
	set := rdata.RRset{Name: name(owner), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: ttl}
	for _, a := range addrs {
		set.Data = append(set.Data, netip.MustParseAddr(a).AsSlice())
	}
	return set
}

func soa(zone string, ttl rdata.TTL, minimum byte) rdata.Record {
	data := append(append(name(zone).AppendWire(nil), 0), make([]byte, 20)...)
	data[len(data)-1] = minimum
	return rdata.Record{Name: name(zone), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: ttl, Data: data}
}

func (c *Cache) check() {
	for i := range c.shards {
		c.shards[i].check()
	}
}

// RFC 1035 §3.2.1: a record may be used for its TTL, and no longer.
func TestTTLCountsDown(t *testing.T) {
	c := New(begin, Limits{})
	if !c.Put(begin, addressSet("a.test.", 10, "192.0.2.1"), TrustAnswer) {
		t.Fatal("not kept")
	}
	for _, at := range []struct {
		after time.Duration
		ttl   rdata.TTL
	}{{0, 10}, {1, 10}, {time.Second, 9}, {9*time.Second + 1, 1}, {10*time.Second - 1, 1}} {
		e := c.Get(begin.Add(at.after), name("a.test."), rdata.TypeA)
		if e == nil {
			t.Fatalf("gone after %v", at.after)
		}
		if got := e.TTL(begin.Add(at.after)); got != at.ttl {
			t.Errorf("TTL after %v is %d, want %d", at.after, got, at.ttl)
		}
	}
	if c.Get(begin.Add(10*time.Second), name("a.test."), rdata.TypeA) != nil {
		t.Error("still there when its TTL is over")
	}
	c.check()
}

// RFC 8767 §4, RFC 2308 §5: long TTLs are lowered; TTL 0 is not kept.
func TestTTLBounds(t *testing.T) {
	c := New(begin, Limits{})
	c.Put(begin, addressSet("long.test.", 1<<30, "192.0.2.1"), TrustAnswer)
	if got := c.Get(begin, name("long.test."), rdata.TypeA).TTL(begin); got != 86400 {
		t.Errorf("TTL %d, want 86400", got)
	}
	if c.Put(begin, addressSet("zero.test.", 0, "192.0.2.1"), TrustAnswer) || c.Get(begin, name("zero.test."), rdata.TypeA) != nil {
		t.Error("TTL 0 is kept")
	}
	c.PutNegative(begin, name("no.test."), rdata.TypeA, NoData, rdata.Record{Name: name("test."), TTL: 1 << 20, Data: []byte{0, 1, 0, 0}}, TrustAnswer)
	if got := c.Get(begin, name("no.test."), rdata.TypeA).TTL(begin); got != 3600 {
		t.Errorf("negative TTL %d, want 3600", got)
	}
	// RFC 2308 §5: the minimum of the SOA's MINIMUM field and its TTL.
	for _, least := range []rdata.Record{soa("test.", 30, 200), soa("test.", 200, 30)} {
		c.PutNegative(begin, name("nx.test."), 0, NXDomain, least, TrustAnswer)
		if e := c.Get(begin, name("nx.test."), rdata.TypeMX); e == nil || e.Kind != NXDomain || e.SOA.TTL != 30 || e.TTL(begin) != 30 {
			t.Errorf("got %+v, want NXDOMAIN for 30 s", e)
		}
	}
}

// RFC 2181 §5.4.1: "Data … should never be replaced by less trusted data" while it
// lives; the same or better trust replaces.
func TestTrust(t *testing.T) {
	ranks := []Trust{TrustAdditional, TrustNonAuthority, TrustNonAnswer, TrustAuthority, TrustAnswer}
	for _, old := range ranks {
		for _, fresh := range ranks {
			c := New(begin, Limits{})
			c.Put(begin, addressSet("a.test.", 10, "192.0.2.1"), old)
			if got, want := c.Put(begin.Add(time.Second), addressSet("a.test.", 10, "192.0.2.2"), fresh), fresh >= old; got != want {
				t.Errorf("trust %d over %d: %v, want %v", fresh, old, got, want)
			}
			if !c.Put(begin.Add(10*time.Second), addressSet("a.test.", 10, "192.0.2.3"), fresh) && fresh >= old {
				t.Errorf("trust %d over %d that is over: refused", fresh, old)
			}
		}
	}
}

// A name that has records exists, for every type; weaker records do not say so.
func TestRecordsEndNXDomain(t *testing.T) {
	for trust, want := range map[Trust]bool{TrustNonAnswer: true, TrustAnswer: false} {
		c := New(begin, Limits{})
		c.PutNegative(begin, name("a.test."), 0, NXDomain, soa("test.", 100, 100), TrustAnswer)
		c.Put(begin, addressSet("a.test.", 10, "192.0.2.1"), trust)
		if got := c.Get(begin, name("a.test."), rdata.TypeMX) != nil; got != want {
			t.Errorf("records of trust %d: NXDOMAIN is there %v, want %v", trust, got, want)
		}
		c.check()
	}
}

// RFC 1034 §5.3.3: the best servers are those of the deepest zone known.
func TestDelegation(t *testing.T) {
	c := New(begin, Limits{})
	if d := c.Delegation(begin, name("www.example.com.")); d != nil {
		t.Errorf("got %+v out of nothing", d)
	}
	com := c.PutDelegation(begin, name("com."), []Server{{Name: name("ns.com.")}}, 1000, time.Time{})
	example := c.PutDelegation(begin, name("example.com."), []Server{{Name: name("ns.example.com.")}}, 2000, com.Expires)
	if d := c.Delegation(begin, name("www.example.com.")); d == nil || d.Zone != example.Zone || !d.Expires.Equal(example.Expires) || len(d.Servers) != 1 || d.Servers[0].Name != name("ns.example.com.") {
		t.Errorf("got %+v, want that of example.com.", d)
	}
	if d := c.Delegation(begin, name("example.org.")); d != nil {
		t.Errorf("got %+v for another tree", d)
	}
	if d := c.Delegation(begin, name("notexample.com.")); d == nil || d.Zone != com.Zone {
		t.Errorf("got %+v, want that of com.", d)
	}
	// It does not outlive the one that it is bound to.
	if !example.Expires.Equal(begin.Add(1000 * time.Second)) {
		t.Errorf("expires %v", example.Expires)
	}
	if d := c.Delegation(begin.Add(1000*time.Second), name("www.example.com.")); d != nil {
		t.Errorf("got %+v after its time", d)
	}
	if d := c.PutDelegation(begin, name("now."), []Server{{Name: name("ns.now.")}}, 0, time.Time{}); d == nil || c.Delegation(begin, name("now.")) != nil {
		t.Error("TTL 0: want it returned but not kept")
	}
}

// RFC 9520 §3.2: failures are kept for at least 1 s, at most 5 minutes.
func TestFailures(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: 5 * time.Second, 1: time.Second, time.Hour: 5 * time.Minute} {
		c := New(begin, Limits{FailureTime: given})
		c.PutFailure(begin, name("a.test."), rdata.TypeA, Failure{Rcode: dnswire.RcodeServFail})
		if c.Failure(begin.Add(want-1), name("a.test."), rdata.TypeA) == nil || c.Failure(begin.Add(want), name("a.test."), rdata.TypeA) != nil {
			t.Errorf("FailureTime %v does not last %v", given, want)
		}
		if c.Failure(begin, name("a.test."), rdata.TypeAAAA) != nil {
			t.Error("a failure counts for another type")
		}
	}
}

func TestFlush(t *testing.T) {
	c := New(begin, Limits{})
	for _, owner := range []string{"example.com.", "www.example.com.", "notexample.com.", "com."} {
		c.Put(begin, addressSet(owner, 60, "192.0.2.1"), TrustAnswer)
		c.PutAnswer(begin, Ready{Name: name(owner), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60})
	}
	if got := c.Flush(Selection{Name: name("example.com."), Tree: true}); got != 4 {
		t.Errorf("flushed %d, want 4", got)
	}
	if st := c.Stats(); st.Records != 2 || st.Answers != 2 {
		t.Errorf("left %+v, want 2 and 2", st)
	}
	if got := c.Flush(Selection{Name: dnsname.Root, Tree: true}); got != 4 {
		t.Errorf("flushed %d, want 4", got)
	}
	if st := c.Stats(); st.Records != 0 || st.Answers != 0 || st.RecordOctets != 0 || st.AnswerOctets != 0 {
		t.Errorf("left %+v, want nothing", st)
	}
	c.check()
}

// A map without bounds is the oracle: whatever the cache still has is what the
// map has, and it forgets nothing that is alive while there is room.
func TestAgainstNaiveMap(t *testing.T) {
	for _, limit := range []int{1 << 20, 24 << 10} {
		c := New(begin, Limits{RecordOctets: limit})
		type held struct {
			octet byte
			trust Trust
			until time.Time
		}
		oracle := map[dnsname.Name]held{}
		random := rand.New(rand.NewPCG(1, 2))
		now := begin
		for range 20000 {
			now = now.Add(time.Duration(random.IntN(300)) * time.Millisecond)
			n := name(fmt.Sprintf("n%d.test.", random.IntN(500)))
			old, known := oracle[n]
			known = known && now.Before(old.until)
			if random.IntN(2) == 0 {
				octet, trust, ttl := byte(random.Uint32()), Trust(random.IntN(5)), rdata.TTL(random.IntN(100))
				set := rdata.RRset{Name: n, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: ttl, Data: [][]byte{{192, 0, 2, octet}}}
				had := c.Get(now, n, rdata.TypeA) != nil
				kept := c.Put(now, set, trust)
				if want := ttl > 0 && (!had || trust >= old.trust); kept != want {
					t.Fatalf("kept %v, want %v", kept, want)
				}
				if kept {
					oracle[n] = held{octet, trust, now.Add(time.Duration(ttl) * time.Second)}
				} else if had && trust >= old.trust {
					delete(oracle, n) // TTL 0 in the place of something weaker
				}
				continue
			}
			e := c.Get(now, n, rdata.TypeA)
			switch {
			case e == nil && known && limit == 1<<20:
				t.Fatalf("%v is lost", n)
			case e != nil && (!known || e.Set.Data[0][3] != old.octet || e.Trust != old.trust || !e.Expires().Equal(old.until)):
				t.Fatalf("%v: got %+v, want %+v (known %v)", n, e, old, known)
			}
		}
		c.check()
		if st := c.Stats(); st.RecordOctets > limit || (limit < 1<<20) != (st.RecordEvicted > 0) {
			t.Errorf("limit %d: %+v", limit, st)
		}
	}
}

// What is in use survives a flood of names that are seen once.
func TestEvictionKeepsWhatIsUsed(t *testing.T) {
	c := New(begin, Limits{RecordOctets: 128 << 10})
	hot := make([]dnsname.Name, 100)
	for i := range hot {
		hot[i] = name(fmt.Sprintf("hot%d.test.", i))
		c.Put(begin, addressSet(hot[i].String(), 3600, "192.0.2.1"), TrustAnswer)
	}
	for i := range 20000 {
		now := begin.Add(time.Duration(i) * 50 * time.Millisecond)
		c.Put(now, addressSet(fmt.Sprintf("flood%d.test.", i), 3600, "192.0.2.2"), TrustAnswer)
		c.Get(now, hot[i%len(hot)], rdata.TypeA)
	}
	left := 0
	for _, n := range hot {
		if c.Get(begin, n, rdata.TypeA) != nil {
			left++
		}
	}
	if left < 95 {
		t.Errorf("%d of 100 names in use are left", left)
	}
	c.check()
}
