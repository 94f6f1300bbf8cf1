package dnssec

import (
	"bytes"
	"testing"

	"pharos/internal/dns/dnswire"
)

// TestMemo: what was checked once costs nothing a second time, and is still judged by
// the clock and by the keys that are believed now.
func TestMemo(t *testing.T) {
	s := newSigner(t, "example.com.", ECDSAP256)
	rrs := parse(t, "www.example.com. 300 A 192.0.2.1")
	set, sig := rrset(t, rrs...), record(t, s.sign(t, rrs, nil)).Data
	wrong := bytes.Clone(sig)
	wrong[len(wrong)-1] ^= 1
	v := &Verifier{Now: testNow, Budget: &Budget{Signatures: 10}, Memo: NewMemo()}
	for range 3 {
		if got := v.Verify(set, [][]byte{wrong, sig}, s.keys(t), keys0(s)); got.Fault != nil {
			t.Fatalf("%+v", got)
		}
	}
	if v.Budget.Signatures != 8 || v.Budget.Wasted != 1 {
		t.Errorf("%+v left, want 2 checks paid, 1 of them wasted", v.Budget)
	}
	other := newSigner(t, "example.com.", ECDSAP256).keys(t)
	other[0].Tag = s.keys(t)[0].Tag
	if got := v.Verify(set, [][]byte{sig}, other, keys0(s)); got.Fault == nil {
		t.Error("another key of the same tag is taken for the one that fitted")
	}
	v.Now = testNow.AddDate(1, 0, 0)
	if got := v.Verify(set, [][]byte{sig}, s.keys(t), keys0(s)); got.Fault == nil || got.Fault.Code != dnswire.EDESignatureExpired {
		t.Errorf("a year later: %+v", got)
	}
}

// TestMemoBound: the memo forgets the oldest, and only that.
func TestMemoBound(t *testing.T) {
	m := NewMemo()
	key := func(i int) memoKey { return memoKey{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range memoSize + 10 {
		m.put(key(i), i%2 == 0)
	}
	if len(m.known) != memoSize || len(m.queue) != memoSize {
		t.Fatalf("%d known, %d in the queue", len(m.known), len(m.queue))
	}
	if _, there := m.known[key(9)]; there {
		t.Error("the tenth is still known")
	}
	if fits, there := m.known[key(10)]; !there || !fits {
		t.Error("the eleventh is forgotten")
	}
}

// TestWasted (CVE-2023-50387): checks that fail end sooner than those that fit.
func TestWasted(t *testing.T) {
	for _, test := range []struct {
		algorithm uint8
		most      int
	}{{ECDSAP256, 16}, {Ed25519, 16}, {ECDSAP384, 2}} {
		s := newSigner(t, "example.com.", test.algorithm)
		rrs := parse(t, "www.example.com. 300 A 192.0.2.1")
		v := &Verifier{Now: testNow, Budget: &Budget{Signatures: 32, MaxWasted: 16}}
		for i := range 32 {
			sig := record(t, s.sign(t, rrs, nil)).Data
			sig[len(sig)-1-i%40] ^= byte(1 + i/40)
			v.Verify(rrset(t, rrs...), [][]byte{sig}, s.keys(t), keys0(s))
		}
		if did := 32 - v.Budget.Signatures; did != test.most || !v.Budget.Exceeded {
			t.Errorf("algorithm %d: %d checks that failed, want %d", test.algorithm, did, test.most)
		}
	}
}
