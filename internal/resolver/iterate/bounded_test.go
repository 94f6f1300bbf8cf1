package iterate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
	"runtime"
	"testing"
	"time"
)

// A bounded map stays within its octets whatever is done to it, forgets the oldest
// first, and its order does not grow without end.
func TestBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := bounded[int, int]{most: 100 * (byName + 50), each: byName}
	gone := 0
	b.dropped = func(int, int) { gone++ }
	for i := range 20000 {
		switch k := rng.IntN(400); rng.IntN(4) {
		case 0:
			b.drop(k)
		case 1:
			b.grow(k, rng.IntN(40)-10)
		default:
			b.put(k, i, rng.IntN(100))
			if b.get(k) != i {
				t.Fatal("what was just put is not there")
			}
		}
		if b.check(); len(b.order) > 2*(b.len()+200)+64 {
			t.Fatalf("%d places in the order for %d entries", len(b.order), len(b.entries))
		}
	}
	if gone == 0 || b.len() < 50 {
		t.Errorf("%d made room, %d are left", gone, b.len())
	}
	b.clear()
	b.most = 3 * byName
	for i := range 4 {
		b.put(i, i, 0)
	}
	if b.has(0) || !b.has(1) || !b.has(3) {
		t.Errorf("%v are left of four, want the three newest", b.entries)
	}
	if b.put(9, 9, 1<<20); b.len() != 1 || !b.has(9) {
		t.Errorf("%v are left, want what is larger than all, alone", b.entries)
	}
}

func heap() int {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// With many times more servers, zones, proofs and failures than fit, what is remembered
// takes no more of the heap than Limits.Memory says, but for 5 %.
func TestMemoryBound(t *testing.T) {
	const limit = 4 << 20
	w := newSignedWorld(t)
	w.begin(func(c *Config) { c.Aggressive, c.Reports, c.Limits.Memory = true, true, limit })
	w.r.now = w.now
	before := heap()
	key := dnssec.Key{RDATA: make([]byte, 260)}
	for i := range 20000 {
		name := func(form string) dnsname.Name { return dnsname.MustParse(fmt.Sprintf(form, i)) }
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 0x0A000000+uint32(i))
		at := plainServer(netip.AddrPortFrom(netip.AddrFrom4(a), 53))
		w.r.hosts.get(at).answered(time.Millisecond)
		for j := range i % 4 {
			w.r.hosts.setLame(at, name(fmt.Sprintf("lame-zone%d-%%d.example.", j)), w.now.Add(time.Hour))
		}
		key.RDATA = bytes.Clone(key.RDATA)
		key.PublicKey = key.RDATA[4:]
		w.r.chains.put(name("signed%d.example."), &trust{zone: name("signed%d.example."), keys: []dnssec.Key{key}, until: w.now.Add(time.Hour)})
		w.r.failing.forHow(w.now, question{name: name("broken%d.example."), t: 1}, time.Second)
		w.r.reports.sent.put(name("_er.1.broken%d.example.7._er.agent.example."), w.now, name("_er.1.broken%d.example.7._er.agent.example.").Len())
		res := result{hasSOA: true, soa: rr(fmt.Sprintf("z%d.example. 900 SOA", i%50))}
		w.r.learnDenial(res.soa.Name, &res, []rrcache.Signed{{RRset: rdata.RRset{Name: name("proven-name%d.example."), Type: rdata.TypeNSEC,
			Data: [][]byte{make([]byte, 40)}}, Sigs: [][]byte{make([]byte, 110)}}}, 300)
		q := question{name: name("tailored%d.example."), t: rdata.TypeA}
		w.r.keepScoped(q, result{final: true, near: netip.MustParsePrefix("198.51.100.0/24"), records: []rdata.Record{addressRecord(q.name, at.Addr(), 300)}})
	}
	w.r.check()
	grown := heap() - before
	t.Logf("%d octets of heap, %d reckoned, %d servers, %d chains, %d zones with proofs, %d failures", grown, w.r.Memory(),
		w.r.hosts.known.len(), w.r.chains.known.len(), w.r.denials.zones.len(), w.r.failing.known.len())
	if grown > limit*105/100 || w.r.Memory() < limit*80/100 {
		t.Errorf("%d octets of heap, %d reckoned; want at most 5 %% more than %d", grown, w.r.Memory(), limit)
	}
	runtime.KeepAlive(w)
}
