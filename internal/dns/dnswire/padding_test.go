package dnswire

import (
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestPadding: RFC 7830 §3: zeroes, to a multiple of the block, never beyond the
// limit, and never without EDNS.
func TestPadding(t *testing.T) {
	name := dnsname.MustParse("example.")
	for records := range 80 {
		for _, tt := range []struct {
			limit, reserved int
		}{{MaxMessage, 0}, {MaxMessage, 100}, {512, 0}, {1000, 0}} {
			var q Query
			var b Builder
			if q.Parse(query(t, "example.", dns.TypeA, true)) != Accept {
				t.Fatal("query")
			}
			buf := make([]byte, MaxMessage+BufferSlack)
			for i := range buf {
				buf[i] = 0xFF // what was there before must not go out
			}
			b.Reset(&q, buf, tt.limit)
			b.Reserve(tt.reserved)
			b.SetPadding(PaddingBlock)
			for range records {
				b.Add(Answer, name, rdata.TypeA, rdata.ClassIN, 60, []byte{192, 0, 2, 1})
			}
			wire := b.Finish()
			total := len(wire) + tt.reserved
			if total > tt.limit || total%PaddingBlock != 0 && total != tt.limit && total > tt.limit-4 {
				t.Fatalf("%d records, limit %d: %d octets", records, tt.limit, total)
			}
			var m dns.Msg
			if err := m.Unpack(wire); err != nil {
				t.Fatal(err)
			}
			for _, o := range m.IsEdns0().Option {
				p, ok := o.(*dns.EDNS0_PADDING)
				if !ok {
					t.Fatalf("option %v", o)
				}
				for _, octet := range p.Padding {
					if octet != 0 {
						t.Fatal("padding is not zero")
					}
				}
			}
		}
	}
	var q Query
	var b Builder
	q.Parse(query(t, "example.", dns.TypeA, false))
	b.Reset(&q, make([]byte, 600), 512)
	b.SetPadding(PaddingBlock)
	if got := len(b.Finish()); got != q.QuestionEnd {
		t.Errorf("without EDNS: %d octets, want %d", got, q.QuestionEnd)
	}
	q.Parse(query(t, "example.", dns.TypeA, true))
	b.Reset(&q, make([]byte, 600), 512)
	if got := len(b.Finish()); got == PaddingBlock {
		t.Error("padding stays on for the next answer")
	}
}

// TestFreshness: RFC 8484 §5.1.
func TestFreshness(t *testing.T) {
	rr := func(text string) dns.RR {
		r, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	soa := "example. 900 SOA ns. h. 1 2 3 4 "
	for _, tt := range []struct {
		name              string
		answer, authority []string
		rcode             int
		want              uint32
	}{
		{"least of the answer", []string{"example. 300 CNAME a.", "a. 60 A 192.0.2.1"}, []string{"example. 5 NS ns."}, 0, 60},
		{"TTL 0", []string{"example. 0 A 192.0.2.1"}, nil, 0, 0},
		{"no such name", nil, []string{soa + "120"}, dns.RcodeNameError, 120},
		{"no such type, long minimum", nil, []string{soa + "86400"}, 0, 900},
		{"alias to nothing", []string{"example. 30 CNAME a."}, []string{soa + "120"}, dns.RcodeNameError, 30},
		{"referral", nil, []string{"example. 300 NS ns."}, 0, 0},
		{"failure", nil, nil, dns.RcodeServerFailure, 0},
	} {
		m := new(dns.Msg).SetQuestion("example.", dns.TypeA)
		m.Response, m.Rcode = true, tt.rcode
		m.SetEdns0(1232, true)
		for _, text := range tt.answer {
			m.Answer = append(m.Answer, rr(text))
		}
		for _, text := range tt.authority {
			m.Ns = append(m.Ns, rr(text))
		}
		wire := pack(t, m)
		if got := Freshness(wire); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
		for i := range wire { // whatever is cut off
			Freshness(wire[:i])
		}
	}
}

func FuzzFreshness(f *testing.F) {
	f.Add([]byte{0, 0, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 0})
	f.Fuzz(func(t *testing.T, msg []byte) { Freshness(msg) })
}
