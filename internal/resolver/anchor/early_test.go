package anchor

import (
	"testing"
	"time"

	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// A process that starts without a network tries again after 1, 2, 4 ... 32 minutes, then as RFC
// 5011 §2.3 says; once the keys came, it has an hour at least from the beginning.
func TestUnreachedAtStart(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	configured, err := Parse(begin, "test", []byte(". 86400 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := New(begin, configured, nil)[0]
	now := begin
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 120} {
		p.Unreached(now, "nobody answers")
		if got := p.Next.Sub(now); got != want*time.Minute {
			t.Errorf("try %d: the next is %v away, want %v", i+1, got, want*time.Minute)
		}
		now = p.Next
	}
	if p.Failures != 2 || p.Problem == "" {
		t.Errorf("%d failures, %q; the early tries do not count", p.Failures, p.Problem)
	}
	p = New(begin, configured, nil)[0]
	p.Observe(begin, rdata.RRset{Name: p.Zone, Type: rdata.TypeDNSKEY}, nil, dnssec.Policy{})
	p.Unreached(begin, "nobody answers")
	if got := p.Next.Sub(begin); got < time.Hour {
		t.Errorf("after the keys had come the next try is %v away, want an hour at least", got)
	}
}
