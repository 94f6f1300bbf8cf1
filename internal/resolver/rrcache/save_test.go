package rrcache

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// saveAll returns everything that the cache would have on disk.
func saveAll(c *Cache, now time.Time) (b []byte) {
	var at Cursor
	for more := true; more; {
		b, more = c.AppendSaved(b, now, &at)
	}
	return b
}

// rrsig returns the RDATA of a signature over records of type A.
func rrsig(signer string) []byte {
	data := append([]byte{0, 1, 13, 2, 0, 0, 0, 60, 0x70, 0, 0, 0, 0x60, 0, 0, 0, 0, 7}, name(signer).Wire()...)
	return append(data, make([]byte, 64)...)
}

// sample fills a cache with one of everything.
func sample(c *Cache, now time.Time) {
	signed := Signed{addressSet("signed.test.", 600, "192.0.2.1", "192.0.2.2"), [][]byte{rrsig("test.")}}
	nsec := Signed{rdata.RRset{Name: name("a.test."), Type: rdata.TypeNSEC, Class: rdata.ClassIN, TTL: 300,
		Data: [][]byte{append([]byte(name("z.test.").Wire()), 0, 1, 0x40)}}, [][]byte{rrsig("test.")}}
	c.PutSigned(now, signed, []Signed{nsec}, TrustAnswer)
	c.Judge(now, signed.Name, rdata.TypeA, c.Get(now, signed.Name, rdata.TypeA), Secure, 500)
	c.Put(now, addressSet("bogus.test.", 600, "192.0.2.9"), TrustAnswer)
	c.Judge(now, name("bogus.test."), rdata.TypeA, c.Get(now, name("bogus.test."), rdata.TypeA), Bogus, 500)
	c.Put(now, addressSet("glue.test.", 600, "192.0.2.3"), TrustAdditional)
	c.PutDenied(now, name("none.test."), 0, Entry{Kind: NXDomain, SOA: soa("test.", 400, 200), Sigs: [][]byte{rrsig("test.")}, Denial: []Signed{nsec}, Trust: TrustAuthority}, 200)
	c.PutNegative(now, name("signed.test."), rdata.TypeMX, NoData, soa("test.", 100, 100), TrustAuthority)
	c.PutDelegation(now, name("test."), []Server{{name("ns.test."), []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}}}, 900, time.Time{})
	c.PutLocalDelegation(now, name("ours.test."), []Server{{Name: name("ns.ours.test.")}}, 900, time.Time{})
	c.PutFailure(now, name("bad.test."), rdata.TypeA, Failure{Rcode: dnswire.RcodeServFail, For: time.Minute})
	c.PutAnswer(now, Ready{Name: name("www.test."), Type: rdata.TypeA, Class: rdata.ClassIN, DO: true, Secure: true, TTL: rdata.MaxTTL,
		Answer: append([]rdata.Record{cname("www.test.", 100, "web.example.")}, addressRecords("web.example.", 60, "192.0.2.1", "192.0.2.2")...)})
	c.PutAnswer(now, Ready{Name: name("short.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 5, Answer: addressRecords("short.test.", 5, "192.0.2.1")})
}

// What is kept on disk comes back as it was, with what is left of its time by the wall
// clock, and with what validation has made of it; what is over, bogus, a failure, or a
// delegation of ours does not.
func TestSaveRestore(t *testing.T) {
	old := New(begin, Limits{Stale: time.Hour})
	sample(old, begin)
	saved := saveAll(old, begin.Add(10*time.Second))
	// Another process, 50 seconds later, to whom the epoch is another one.
	now := begin.Add(60 * time.Second)
	c := New(begin.Add(30*time.Second), Limits{Stale: time.Hour})
	if n, err := c.Restore(now, saved, begin.Add(10*time.Second), nil); n != 7 || err != nil {
		t.Fatalf("restored %d, %v; want 7", n, err)
	}
	e := c.Get(now, name("signed.test."), rdata.TypeA)
	if e == nil || e.State != Secure || e.Trust != TrustAnswer || e.TTL(now) != 440 || len(e.Set.Data) != 2 || len(e.Sigs) != 1 || len(e.Denial) != 1 || e.Denial[0].Name != name("a.test.") {
		t.Errorf("signed.test. A: %+v", e)
	}
	if e := c.Get(now, name("glue.test."), rdata.TypeA); e == nil || e.Trust != TrustAdditional || e.TTL(now) != 540 || e.State != Indeterminate {
		t.Errorf("glue.test. A: %+v", e)
	}
	if e := c.Get(now, name("none.test."), rdata.TypeTXT); e == nil || e.Kind != NXDomain || e.TTL(now) != 140 || e.SOA.Name != name("test.") || len(e.Denial) != 1 {
		t.Errorf("none.test.: %+v", e)
	}
	if e := c.Get(now, name("signed.test."), rdata.TypeMX); e == nil || e.Kind != NoData || e.TTL(now) != 40 {
		t.Errorf("signed.test. MX: %+v", e)
	}
	if d := c.Delegation(now, name("www.test.")); d == nil || d.Zone != name("test.") || len(d.Servers) != 1 || len(d.Servers[0].Addrs) != 2 || !d.Expires.Equal(begin.Add(900*time.Second)) {
		t.Errorf("delegation %+v", d)
	}
	if e := c.Get(now, name("bogus.test."), rdata.TypeA); e != nil {
		t.Errorf("bogus.test.: %+v", e)
	}
	if d := c.Delegation(now, name("ours.test.")); d == nil || d.Zone == name("ours.test.") {
		t.Errorf("our own delegation: %+v", d)
	}
	if c.Failure(now, name("bad.test."), rdata.TypeA) != nil {
		t.Error("a failure came back")
	}
	asker := newClient(t, "www.test.", rdata.TypeA, true)
	asker.set(t, dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: name("www.test."), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true, EDNS: true, DO: true}))
	if asker.ask(c, now, 1232, 0) != nil {
		t.Error("an answer is given when the smallest TTL in it is over")
	}
	if got := asker.ask(c, now.Add(-time.Second), 1232, 0); got == nil {
		t.Error("an answer did not come back")
	} else if m := mustParse(t, got); !m.AD || len(m.Answer) != 3 || m.Answer[0].TTL != 41 || m.Answer[1].TTL != 1 {
		t.Errorf("%+v", m)
	}
	if x := c.Stale(now, name("short.test."), rdata.TypeA, false, false); x == nil || len(x.Message().Answer) != 1 {
		t.Error("what is over but may be given stale did not come back")
	}
	c.check()
}

// What the cache has learnt meanwhile is newer than what it is restored from.
func TestRestoreTakesNoPlace(t *testing.T) {
	old, c := New(begin, Limits{}), New(begin, Limits{})
	old.Put(begin, addressSet("a.test.", 600, "192.0.2.1"), TrustAnswer)
	old.PutAnswer(begin, Ready{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Answer: addressRecords("a.test.", 60, "192.0.2.1")})
	c.Put(begin, addressSet("a.test.", 600, "192.0.2.2"), TrustAdditional)
	c.PutAnswer(begin, Ready{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Answer: addressRecords("a.test.", 60, "192.0.2.2")})
	if n, err := c.Restore(begin, saveAll(old, begin), begin, nil); n != 0 || err != nil {
		t.Errorf("restored %d, %v", n, err)
	}
	if e := c.Get(begin, name("a.test."), rdata.TypeA); e.Set.Data[0][3] != 2 {
		t.Errorf("%+v", e)
	}
}

// A clock that was put back by years makes nothing live longer than it had left.
func TestRestoreClockPutBack(t *testing.T) {
	old := New(begin, Limits{})
	old.Put(begin, addressSet("a.test.", 600, "192.0.2.1"), TrustAnswer)
	past := begin.AddDate(-5, 0, 0)
	c := New(past, Limits{})
	c.Restore(past, saveAll(old, begin.Add(100*time.Second)), begin.Add(100*time.Second), nil)
	if e := c.Get(past, name("a.test."), rdata.TypeA); e == nil || e.TTL(past) != 500 {
		t.Errorf("%+v", e)
	}
}

// What was flushed after it was saved stays away, and so does what lies in zones that
// this server has by now.
func TestRestoreLeavesOut(t *testing.T) {
	old := New(begin, Limits{})
	for _, owner := range []string{"a.test.", "b.a.test.", "b.test.", "ours.example.", "c.test."} {
		old.Put(begin, addressSet(owner, 600, "192.0.2.1"), TrustAnswer)
		old.PutAnswer(begin, Ready{Name: name("to-" + owner), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60,
			Answer: append([]rdata.Record{cname("to-"+owner, 60, owner)}, addressRecords(owner, 60, "192.0.2.1")...)})
	}
	c := New(begin, Limits{})
	c.Own(func(n dnsname.Name) (dnsname.Name, bool) { return name("example."), n.IsSubdomainOf(name("example.")) })
	n, err := c.Restore(begin, saveAll(old, begin), begin, []Selection{{Name: name("a.test."), Tree: true}, {Name: name("b.test."), Type: rdata.TypeMX}})
	if n != 4 || err != nil {
		t.Errorf("restored %d, %v; want 4", n, err)
	}
	for owner, want := range map[string]bool{"a.test.": false, "b.a.test.": false, "b.test.": true, "ours.example.": false, "c.test.": true} {
		if got := c.Get(begin, name(owner), rdata.TypeA) != nil; got != want {
			t.Errorf("%s: record %v, want %v", owner, got, want)
		}
		if got := newClient(t, "to-"+owner, rdata.TypeA, false).ask(c, begin, 512, 0) != nil; got != want {
			t.Errorf("to-%s: answer %v, want %v", owner, got, want)
		}
	}
}

// The main queue comes back as such: a flood right after a start finds it in place.
func TestRestoreKeepsQueues(t *testing.T) {
	old := New(begin, Limits{RecordOctets: 256 << 10})
	now := begin
	for i := range 20000 {
		now = now.Add(10 * time.Millisecond)
		owner := name(fmt.Sprintf("n%d.test.", i))
		if i%10 == 0 {
			owner = name(fmt.Sprintf("hot%d.test.", i/10%50))
		}
		if old.Get(now, owner, rdata.TypeA) == nil {
			old.Put(now, addressSet(owner.String(), 86400, "192.0.2.1"), TrustAnswer)
		}
	}
	c := New(now, Limits{RecordOctets: 256 << 10})
	c.Restore(now, saveAll(old, now), now, nil)
	for i := range 20000 {
		c.Put(now, addressSet(fmt.Sprintf("flood%d.test.", i), 3600, "192.0.2.2"), TrustAnswer)
	}
	left := 0
	for i := range 50 {
		if c.Get(now, name(fmt.Sprintf("hot%d.test.", i)), rdata.TypeA) != nil {
			left++
		}
	}
	if left < 45 {
		t.Errorf("%d of 50 names in use are left", left)
	}
	c.check()
}

// A disk may give back anything: no octets make the cache panic, then or when it is
// asked.
func FuzzRestore(f *testing.F) {
	c := New(begin, Limits{Stale: time.Hour})
	sample(c, begin)
	f.Add(saveAll(c, begin))
	for _, owner := range []string{"a.test.", "www.test."} {
		one := New(begin, Limits{})
		one.Put(begin, addressSet(owner, 600, "192.0.2.1"), TrustAnswer)
		f.Add(saveAll(one, begin))
	}
	f.Fuzz(func(t *testing.T, saved []byte) {
		c := New(begin, Limits{RecordOctets: 64 << 10, AnswerOctets: 64 << 10, Stale: time.Hour})
		c.Restore(begin, saved, begin, []Selection{{Name: name("example.")}})
		c.check()
		for item := range c.All(begin) {
			_ = item.String()
		}
		again := New(begin, Limits{RecordOctets: 64 << 10, AnswerOctets: 64 << 10, Stale: time.Hour})
		if _, err := again.Restore(begin, saveAll(c, begin), begin, nil); err != nil {
			t.Errorf("what was restored cannot be saved and restored: %v", err)
		}
	})
}

func BenchmarkRestore(b *testing.B) {
	const n = 100000
	c := New(begin, Limits{RecordOctets: 64 << 20, AnswerOctets: 64 << 20})
	fillHosts(c, n, begin)
	var saved []byte
	for b.Loop() {
		saved = saveAll(c, begin)
	}
	save := b.Elapsed() / time.Duration(b.N)
	start := time.Now()
	restored, err := New(begin, Limits{RecordOctets: 64 << 20, AnswerOctets: 64 << 20}).Restore(begin, saved, begin, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(save)/float64(restored), "ns/saved")
	b.ReportMetric(float64(time.Since(start))/float64(restored), "ns/restored")
	b.ReportMetric(float64(len(saved))/float64(restored), "octets/entry")
}
