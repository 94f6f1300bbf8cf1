package dnswire

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

func response(t testing.TB) []byte {
	m := new(dns.Msg)
	m.SetQuestion("www.example.com.", dns.TypeA)
	m.Response, m.Authoritative, m.Compress = true, true, true
	for _, s := range []string{"www.example.com. 60 IN CNAME a.example.com.", "a.example.com. 60 IN A 192.0.2.1"} {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	ns, _ := dns.NewRR("example.com. 60 IN NS ns.example.com.")
	m.Ns = append(m.Ns, ns)
	m.SetEdns0(1232, false)
	return pack(t, m)
}

func TestParseMessage(t *testing.T) {
	m, err := ParseMessage(response(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Answer) != 2 || len(m.Authority) != 1 || len(m.Additional) != 0 || !m.EDNS.Present || !m.AA {
		t.Fatalf("%+v", m)
	}
	if got := string(m.Answer[0].Data); got != dnsname.MustParse("a.example.com.").Wire() {
		t.Errorf("RDATA is not expanded: %q", got)
	}
}

// TestMessageRoundTrip: what Append writes, ParseMessage and another library
// read alike.
func TestMessageRoundTrip(t *testing.T) {
	m, err := ParseMessage(response(t))
	if err != nil {
		t.Fatal(err)
	}
	wire := m.Append([]byte("before"))[len("before"):]
	again, err := ParseMessage(wire)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, again) {
		t.Errorf("got %+v, want %+v", again, m)
	}
	var other dns.Msg
	if err := other.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	if len(wire) > len(response(t)) {
		t.Errorf("%d octets; the other library needs %d", len(wire), len(response(t)))
	}
}

// TestCompressionLoops: a pointer must lead strictly backwards, so a loop of any
// length is refused at once.
func TestCompressionLoops(t *testing.T) {
	head := []byte{0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, name := range [][]byte{{0xC0, 12}, {0xC0, 14, 0xC0, 12}, {1, 'a', 0xC0, 12}, {0xC0, 200}, {0x80, 1}, {0xC0}} {
		if _, err := ParseMessage(append(append(head[:12:12], name...), 0, 1, 0, 1)); err == nil {
			t.Errorf("%x was taken for a name", name)
		}
	}
}

func TestAppendQuery(t *testing.T) {
	wire := AppendQuery(nil, QuerySpec{ID: 7, Name: dnsname.MustParse("example.com."), Type: rdata.TypeMX, Class: rdata.ClassIN, RD: true, EDNS: true, DO: true})
	var q Query
	if q.Parse(wire) != Accept || q.ID() != 7 || !q.RD() || q.Type != rdata.TypeMX || !q.EDNS.DO || q.EDNS.UDPSize != MaxUDP {
		t.Errorf("%+v", q)
	}
	want := pack(t, &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7, RecursionDesired: true}, Question: []dns.Question{{Name: "example.com.", Qtype: dns.TypeMX, Qclass: 1}}})
	if got := AppendQuery(nil, QuerySpec{ID: 7, Name: dnsname.MustParse("example.com."), Type: rdata.TypeMX, Class: rdata.ClassIN, RD: true}); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add(response(f))
	f.Add([]byte{0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xC0, 12, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ParseMessage(in)
		if err != nil {
			return
		}
		wire := m.Append(nil)
		if len(wire) > MaxMessage {
			return // expanded past what a message can be
		}
		again, err := ParseMessage(wire)
		if err != nil {
			t.Fatalf("%x: written as %x, then: %v", in, wire, err)
		}
		if len(again.Answer) != len(m.Answer) || len(again.Authority) != len(m.Authority) || len(again.Additional) != len(m.Additional) {
			t.Fatalf("%x: records lost on the way", in)
		}
	})
}
