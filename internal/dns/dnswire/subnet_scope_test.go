package dnswire

import (
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestRaiseScope: the scope only grows, wherever the option stands among others, and stays 0
// for who keeps the client to himself (RFC 7871 §7.1.2).
func TestRaiseScope(t *testing.T) {
	for _, c := range []struct {
		option string
		scopes []int
		want   int
	}{
		{"\x00\x01\x18\x00\x0a\x01\x02", []int{16, 20, 8}, 20},
		{"\x00\x01\x18\x00\x0a\x01\x02", nil, 5},
		{"\x00\x01\x00\x00", []int{24}, 0},
		{"\x00\x02\x38\x00\x20\x01\x0d\xb8\x00\x00\x00", []int{128}, 128},
	} {
		var q Query
		var out Builder
		q.Parse(AppendQuery(nil, QuerySpec{Name: dnsname.MustParse("a.example"), Type: rdata.TypeA, Class: rdata.ClassIN, EDNS: true}))
		out.Reset(&q, make([]byte, 1024), 512)
		out.RaiseScope(3) // there is none yet
		out.AddOption(OptionNSID, []byte("before"))
		first := 5
		if c.want == 0 {
			first = 0
		}
		out.AddSubnet([]byte(c.option), first)
		out.AddOption(OptionNSID, []byte("behind"))
		for _, s := range c.scopes {
			out.RaiseScope(s)
		}
		m := new(dns.Msg)
		if err := m.Unpack(out.Finish()); err != nil {
			t.Fatal(err)
		}
		got := -1
		for _, o := range m.IsEdns0().Option {
			if s, ok := o.(*dns.EDNS0_SUBNET); ok {
				got = int(s.SourceScope)
			}
		}
		if got != c.want {
			t.Errorf("%x with %v: scope %d, want %d", c.option, c.scopes, got, c.want)
		}
	}
}
