package querywatch

import (
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
)

// TestNoAllocsWants: a query that nobody wants to know of costs a look at its number.
func TestNoAllocsWants(t *testing.T) {
	o := New(Config{Dnstap: true, Every: 1000, Log: true, LogEvery: 1000}, nil)
	r := &dnsserver.Request{Client: netip.MustParseAddrPort("192.0.2.1:1"), Rotation: 7, Now: time.Now()}
	r.Query.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{}))
	if got := testing.AllocsPerRun(100, func() {
		if o.Wants(r) != dnsserver.Nothing {
			t.Fatal("wanted")
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
