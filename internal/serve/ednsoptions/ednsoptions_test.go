package ednsoptions

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
)

// TestNoAllocsOptions: options cost no allocation.
func TestNoAllocsOptions(t *testing.T) {
	o, err := New(Config{NSID: "interop", Secret: "e5e973e5a6b2a43f48e7dc849e37bfcf"})
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: 3}, &dns.EDNS0_LOCAL{Code: 10, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}}, &dns.EDNS0_LOCAL{Code: 11})
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q dnswire.Query
	var out dnswire.Builder
	buf, client, now := make([]byte, 2048), netip.MustParseAddr("192.0.2.1"), time.Now()
	var size int
	if got := testing.AllocsPerRun(100, func() {
		q.Parse(wire)
		out.Reset(&q, buf, dnswire.MaxUDP512)
		o.Add(&q, client, dnsserver.TCP, now, &out)
		size = len(out.Finish())
	}); got != 0 || size != len(wire)+16+2+7 {
		t.Errorf("%v allocations, %d octets after %d", got, size, len(wire))
	}
}
