package update

import (
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
)

// TestSeen: a signed update is carried out once, for as long as its signature holds;
// one that failed here may be tried again; the number of those remembered is bounded.
func TestSeen(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := NewSeen(3)
	key := dnsname.MustParse("key.")
	mark := func(n byte) Mark { return MarkOf(key, []byte{n}) }
	begin := func(n byte, at time.Duration, want State, rcode dnswire.Rcode) {
		t.Helper()
		if got, r := s.Begin(mark(n), now.Add(at)); got != want || r != rcode {
			t.Errorf("update %d after %v: %d %v, want %d %v", n, at, got, r, want, rcode)
		}
	}
	begin(1, 0, New, 0)
	begin(1, 1, InWork, 0)
	s.End(mark(1), dnswire.RcodeNXRRSet)
	begin(1, SeenFor, Done, dnswire.RcodeNXRRSet)
	begin(1, SeenFor+1, New, 0) // by now its signature is refused
	s.End(mark(1), dnswire.RcodeServFail)
	begin(1, SeenFor+2, New, 0)
	for n := byte(2); n < 100; n++ {
		begin(n, SeenFor+3, New, 0)
		s.End(mark(n), 0)
		if len(s.of) > 3 || len(s.fifo) > 3 {
			t.Fatalf("%d updates, %d in order", len(s.of), len(s.fifo))
		}
	}
	begin(99, SeenFor+4, Done, 0)
	begin(98, SeenFor+4, Done, 0)
	begin(2, SeenFor+4, New, 0)
	if MarkOf(key, []byte{1}) == MarkOf(dnsname.MustParse("other."), []byte{1}) {
		t.Error("two keys, one mark")
	}
}
