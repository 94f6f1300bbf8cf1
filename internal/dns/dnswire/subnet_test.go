package dnswire

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

func TestParseSubnet(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		option []byte
		ok     bool
		want   string // prefix
	}{
		{"RFC 7871 §6: IPv4", []byte{0, 1, 24, 0, 192, 0, 2}, true, "192.0.2.0/24"},
		{"RFC 7871 §6: IPv6", []byte{0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 1}, true, "2001:db8:0:100::/56"},
		{"RFC 7871 §7.1.2: length 0 keeps the client to itself", []byte{0, 1, 0, 0}, true, "0.0.0.0/0"},
		{"dig +subnet=0", []byte{0, 0, 0, 0}, true, "invalid Prefix"},
		{"RFC 7871 §6: a length that ends within an octet", []byte{0, 1, 20, 0, 10, 1, 0x10}, true, "10.1.16.0/20"},
		{"RFC 7871 §6: bits behind the length", []byte{0, 1, 20, 0, 10, 1, 0x11}, false, ""},
		{"RFC 7871 §6: the scope of a query is 0", []byte{0, 1, 24, 24, 192, 0, 2}, false, ""},
		{"RFC 7871 §6: too few octets", []byte{0, 1, 24, 0, 192, 0}, false, ""},
		{"RFC 7871 §6: too many octets", []byte{0, 1, 24, 0, 192, 0, 2, 0}, false, ""},
		{"RFC 7871 §6: longer than an IPv4 address", []byte{0, 1, 33, 0, 192, 0, 2, 1, 0}, false, ""},
		{"RFC 7871 §6: longer than an IPv6 address", append([]byte{0, 2, 129, 0}, make([]byte, 17)...), false, ""},
		{"no family, but an address", []byte{0, 0, 8, 0, 10}, false, ""},
		{"an unknown family", []byte{0, 3, 0, 0}, false, ""},
		{"no fixed part", []byte{0, 1, 0}, false, ""},
		{"empty", nil, false, ""},
	} {
		s, ok := ParseSubnet(tt.option)
		if ok != tt.ok || ok && s.Prefix.String() != tt.want {
			t.Errorf("%s: %v %v; want %s %v", tt.rule, s, ok, tt.want, tt.ok)
		}
		var q Query
		verdict := q.Parse(optionQuery(t, &dns.EDNS0_LOCAL{Code: 8, Data: tt.option}))
		if (verdict == Accept) != tt.ok || !tt.ok && q.Rcode != RcodeFormErr {
			t.Errorf("%s: a query with it: verdict %v, %v", tt.rule, verdict, q.Rcode)
		}
	}
	if v := new(Query).Parse(optionQuery(t, &dns.EDNS0_LOCAL{Code: 8, Data: []byte{0, 1, 0, 0}}, &dns.EDNS0_LOCAL{Code: 8, Data: []byte{0, 1, 0, 0}})); v != Reject {
		t.Errorf("two subnets: verdict %v", v)
	}
}

// FuzzParseSubnet: what is taken for an option is read as another library reads
// it, and comes back as it was.
func FuzzParseSubnet(f *testing.F) {
	f.Add([]byte{0, 1, 24, 0, 192, 0, 2})
	f.Add([]byte{0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 1})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, option []byte) {
		s, ok := ParseSubnet(option)
		if !ok {
			return
		}
		if s.Prefix.IsValid() != (s.Family != 0) || s.Prefix.IsValid() && s.Prefix != s.Prefix.Masked() {
			t.Fatalf("%x: %+v", option, s)
		}
		m := new(dns.Msg)
		if err := m.Unpack(answerWith(t, optionQuery(t, &dns.EDNS0_LOCAL{Code: 8, Data: option}), func(q *Query, out *Builder) {
			if !out.AddSubnet(q.EDNS.Subnet, 17) {
				t.Fatal("no room")
			}
		})); err != nil {
			t.Fatal(err)
		}
		got, isSubnet := m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET)
		if !isSubnet || got.Family != s.Family || got.SourceScope != 17 || s.Family != 0 && int(got.SourceNetmask) != s.Prefix.Bits() {
			t.Fatalf("%x: %v", option, got)
		}
		if addr, _ := netip.AddrFromSlice(got.Address); s.Family != 0 && addr.Unmap() != s.Prefix.Addr().Unmap() {
			t.Fatalf("%x: address %v", option, got.Address)
		}
	})
}

// answerWith returns the response that fill makes to a query.
func answerWith(t testing.TB, wire []byte, fill func(q *Query, out *Builder)) []byte {
	var q Query
	var out Builder
	if v := q.Parse(wire); v != Accept {
		t.Fatalf("verdict %v", v)
	}
	out.Reset(&q, make([]byte, MaxUDP+BufferSlack), MaxUDP)
	fill(&q, &out)
	return bytes.Clone(out.Finish())
}

func TestZoneOptions(t *testing.T) {
	wire := optionQuery(t, &dns.EDNS0_LOCAL{Code: 9}, &dns.EDNS0_LOCAL{Code: 19})
	m := new(dns.Msg)
	if err := m.Unpack(answerWith(t, wire, func(q *Query, out *Builder) {
		if !q.EDNS.Expire || !q.EDNS.ZoneVersion {
			t.Errorf("%+v", q.EDNS)
		}
		out.AddExpire(86400)
		out.AddZoneVersion(2, 2026112201)
	})); err != nil {
		t.Fatal(err)
	}
	options := m.IsEdns0().Option
	if len(options) != 2 || options[0].(*dns.EDNS0_EXPIRE).Expire != 86400 {
		t.Fatalf("%v", options)
	}
	if v := options[1].(*dns.EDNS0_ZONEVERSION); v.LabelCount != 2 || v.Type != 0 || v.Version != "\x78\xc4\x04\xc9" {
		t.Errorf("version %+v, want 2 labels and serial 2026112201 (RFC 9660 §2)", v)
	}
	if v := new(Query).Parse(optionQuery(t, &dns.EDNS0_LOCAL{Code: 19, Data: []byte{1}})); v != Reject {
		t.Errorf("a version in a query: verdict %v", v)
	}
}

// TestOptionsOfResponses: what a server says of a subnet or a version is no mistake in
// its response.
func TestOptionsOfResponses(t *testing.T) {
	m := new(dns.Msg).SetQuestion("example.", dns.TypeA)
	m.Response = true
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{
		&dns.EDNS0_LOCAL{Code: 8, Data: []byte{0, 1, 24, 20, 192, 0, 2}}, &dns.EDNS0_LOCAL{Code: 19, Data: []byte{1, 0, 0, 0, 0, 1}}, &dns.EDNS0_LOCAL{Code: 9, Data: []byte{0, 0, 0, 9}},
	}
	got, err := ParseMessage(pack(t, m))
	if err != nil || !got.EDNS.Present || len(got.EDNS.Options) == 0 {
		t.Errorf("%v: %+v", err, got)
	}
}
