package live

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

var (
	origin = dnsname.MustParse("example.org.")
	noon   = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
)

func newTestSigner(t testing.TB, cache *Cache, algorithms ...uint8) *Signer {
	t.Helper()
	var keys []*sign.Key
	for _, a := range algorithms {
		k, err := sign.Generate(sign.KSK, a, 0)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return NewSigner(origin, keys, cache)
}

func addresses(name string, last ...byte) rdata.RRset {
	set := rdata.RRset{Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 30}
	for _, b := range last {
		set.Data = append(set.Data, []byte{192, 0, 2, b})
	}
	return set
}

func isGood(s *Signer, set rdata.RRset, signatures Signatures, now time.Time) bool {
	good := 0
	for data := range signatures.All() {
		v := dnssec.Verifier{Now: now, Budget: &dnssec.Budget{Signatures: 4}}
		var keys []dnssec.Key
		for _, k := range s.keys {
			parsed, _ := dnssec.ParseKey(k.RDATA())
			keys = append(keys, parsed)
		}
		if v.Verify(set, [][]byte{data}, keys, origin).Fault == nil {
			good++
		}
	}
	return good == len(s.keys)
}

// TestSign: signatures are good, made once whatever the order of the records, and made anew
// when they are no longer fresh, when anything else differs, and for other keys.
func TestSign(t *testing.T) {
	cache := NewCache()
	s := newTestSigner(t, cache, dnssec.ECDSAP256, dnssec.Ed25519)
	made := func() uint64 { _, misses, _ := cache.Stats(); return misses }
	w := Work{Now: noon}
	for _, test := range []struct {
		name  string
		set   rdata.RRset
		after time.Duration
		want  uint64 // made in all
	}{
		{"first", addresses("www.example.org.", 1, 2), 0, 1},
		{"again", addresses("www.example.org.", 1, 2), time.Minute, 1},
		{"in another order", addresses("www.example.org.", 2, 1), time.Hour, 1},
		{"fewer", addresses("www.example.org.", 1), 0, 2},
		{"another name", addresses("ftp.example.org.", 1, 2), 0, 3},
		{"not fresh", addresses("www.example.org.", 1, 2), fresh, 4},
	} {
		w.Now = noon.Add(test.after)
		got, reason := s.Sign(w, test.set, false)
		if reason != Signed || !isGood(s, test.set, got, w.Now) || made() != test.want {
			t.Errorf("%s: %v, good %v, %d made, want %d", test.name, reason, isGood(s, test.set, got, w.Now), made(), test.want)
		}
	}
	ttl := addresses("www.example.org.", 1, 2)
	ttl.TTL++
	if got, _ := s.Sign(w, ttl, false); !isGood(s, ttl, got, w.Now) || made() != 5 {
		t.Error("another TTL has the same signature")
	}
	other := newTestSigner(t, cache, dnssec.ECDSAP256)
	if got, _ := other.Sign(w, ttl, false); !isGood(other, ttl, got, w.Now) || made() != 6 {
		t.Error("another key has the same signature")
	}
	if same := NewSigner(origin, s.keys, cache); !same.IsSame(s.keys) || same.IsSame(other.keys) {
		t.Error("IsSame")
	} else if _, reason := same.Sign(w, ttl, false); reason != Signed || made() != 6 {
		t.Error("the same keys make another signature")
	}
}

// TestSlow: keys that take long sign only where nobody waits.
func TestSlow(t *testing.T) {
	s := newTestSigner(t, NewCache(), dnssec.RSASHA256)
	set := addresses("www.example.org.", 1)
	if _, reason := s.Sign(Work{Now: noon}, set, false); reason != Slow {
		t.Errorf("on the loop: %v", reason)
	}
	if got, reason := s.Sign(Work{Now: noon, Late: true}, set, false); reason != Signed || !isGood(s, set, got, noon) {
		t.Errorf("late: %v", reason)
	}
	if _, reason := s.Sign(Work{Now: noon}, set, false); reason != Signed {
		t.Errorf("from the cache: %v", reason)
	}
}

// TestFlood: random names cost no more signatures in a second than are allowed, do not
// touch the budget of clients with a proven address, nor what is cached for others.
func TestFlood(t *testing.T) {
	cache := NewCache()
	s := newTestSigner(t, cache, dnssec.Ed25519)
	www := addresses("www.example.org.", 1)
	s.Sign(Work{Now: noon}, www, false)
	cache.budgets[0].Store(uint64(noon.Unix())<<32 | maxPerSecond - 2)
	for i, want := range []Reason{Signed, Signed, Busy, Busy} {
		set := addresses(fmt.Sprintf("x%d.example.org.", i), 1)
		if _, got := s.Sign(Work{Now: noon}, set, true); got != want {
			t.Errorf("name %d: %v, want %v", i, got, want)
		}
	}
	if _, got := s.Sign(Work{Now: noon, Proven: true}, addresses("y.example.org.", 1), true); got != Signed {
		t.Errorf("with a proven address: %v", got)
	}
	if _, got := s.Sign(Work{Now: noon.Add(time.Second)}, addresses("z.example.org.", 1), true); got != Signed {
		t.Errorf("in the next second: %v", got)
	}
	if _, _, refused := cache.Stats(); refused != 2 {
		t.Errorf("%d refused, want 2", refused)
	}
	before, misses, _ := cache.Stats()
	s.Sign(Work{Now: noon}, www, false)
	if hits, after, _ := cache.Stats(); hits != before+1 || after != misses {
		t.Error("a flood has driven out what is asked for by name")
	}
}

// TestHitRate: what pools answer, in random orders, comes from the cache nearly always.
func TestHitRate(t *testing.T) {
	cache := NewCache()
	s := newTestSigner(t, cache, dnssec.Ed25519)
	rnd := rand.New(rand.NewPCG(1, 1))
	now := noon
	for range 50_000 {
		members := []byte{1, 2, 3, 4}
		rnd.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		up := 4 - rnd.IntN(2) // one fails now and then
		now = now.Add(10 * time.Millisecond)
		s.Sign(Work{Now: now}, addresses(fmt.Sprintf("app%d.example.org.", rnd.IntN(20)), members[:up]...), false)
	}
	hits, misses, _ := cache.Stats()
	if rate := float64(hits) / float64(hits+misses); rate < 0.99 {
		t.Errorf("hit rate %.4f, want 0.99", rate)
	}
}

func TestNoAllocs(t *testing.T) {
	s := newTestSigner(t, NewCache(), dnssec.Ed25519)
	www := addresses("www.example.org.", 1, 2, 3)
	w := Work{Now: noon}
	s.Sign(w, www, false)
	if n := testing.AllocsPerRun(100, func() {
		got, _ := s.Sign(w, www, false)
		for range got.All() {
		}
	}); n != 0 {
		t.Errorf("%v allocations for a cached signature", n)
	}
}

// TestSuccessor: nothing that a zone can hold is between a name and its successor but
// what begins with octet zero.
func TestSuccessor(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, name := range []string{
		".", "example.org.", "www.example.org.", `\000.example.org.`,
		fmt.Sprintf("%s.%s.%s.%s.", long, long, long, long[:61]),           // 255 octets
		fmt.Sprintf("%s.%s.%s.%s.", long, long, long, long[:60]),           // 254: room for an octet
		fmt.Sprintf("%s.%s.%s.%s.", long[:60]+"@", long, long, long),       // before the capital letters
		fmt.Sprintf("%s.%s.%s.%s.", long[:60]+`\254`, long, long, long),    // the last but one
		fmt.Sprintf("%s.%s.%s.%s.", long[:60]+`\255`, long, long, long),    // none
		fmt.Sprintf("%s.%s.%s.%s.", `\255`, long, long, long+"."+long[:5]), // room, for the label is short
	} {
		n, err := dnsname.Parse(name)
		if err != nil {
			continue
		}
		data, ok := AppendNSEC(nil, n, []rdata.Type{rdata.TypeRRSIG, rdata.TypeNSEC})
		if none := strings.Contains(name, `\255.`) && n.Len() > 253; ok == none {
			t.Errorf("%s: %v", name, ok)
			continue
		}
		if !ok {
			continue
		}
		next, length, err := dnsname.FromWire(data)
		if err != nil || next.Compare(n) <= 0 {
			t.Errorf("%s: next is %s, %v", name, next, err)
		}
		if want := rdata.AppendBitmap(nil, []rdata.Type{rdata.TypeRRSIG, rdata.TypeNSEC}); !slices.Equal(data[length:], want) {
			t.Errorf("%s: bit maps %x, want %x", name, data[length:], want)
		}
	}
}

// TestHashedSuccessor: the next hash is one more.
func TestHashedSuccessor(t *testing.T) {
	for label, want := range map[string]string{
		strings.Repeat("0", 32):       "0000000000000000000000000000000000000001",
		strings.Repeat("v", 32):       "0000000000000000000000000000000000000000",
		strings.Repeat("0", 31) + "v": "0000000000000000000000000000000000000020",
	} {
		data, ok := AppendNSEC3(nil, label, []byte{1, 0, 0, 5, 2, 0xAB, 0xCD}, []rdata.Type{rdata.TypeA})
		if got := fmt.Sprintf("%x", data); !ok || got != "0100000502abcd14"+want+"000140" {
			t.Errorf("%s: %s", label, got)
		}
	}
	if _, ok := AppendNSEC3(nil, strings.Repeat("w", 32), nil, nil); ok {
		t.Error("w is a digit")
	}
}

func BenchmarkHit(b *testing.B) {
	s := newTestSigner(b, NewCache(), dnssec.ECDSAP256)
	www := addresses("www.example.org.", 1, 2, 3, 4)
	w := Work{Now: noon}
	for b.Loop() {
		s.Sign(w, www, false)
	}
}

func BenchmarkMiss(b *testing.B) {
	s := newTestSigner(b, NewCache(), dnssec.ECDSAP256)
	www := addresses("www.example.org.", 1, 2, 3, 4)
	for i := 0; b.Loop(); i++ {
		www.TTL = rdata.TTL(i)
		s.Sign(Work{Now: noon}, www, false)
	}
}
