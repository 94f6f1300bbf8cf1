package dnswire

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// pack writes a miekg message, the independent maker of test input.
func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatalf("pack: %v", err)
	}
	return wire
}

func query(t testing.TB, name string, qtype uint16, edns bool) []byte {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	if edns {
		m.SetEdns0(4096, true)
	}
	return pack(t, m)
}

func TestParseQuery(t *testing.T) {
	var q Query
	if v := q.Parse(query(t, "WwW.Example.COM.", dns.TypeAAAA, true)); v != Accept {
		t.Fatalf("verdict %v, rcode %v", v, q.Rcode)
	}
	if got := q.Name.String(); got != "www.example.com." {
		t.Errorf("name %q", got)
	}
	if q.Type != rdata.TypeAAAA || q.Class != rdata.ClassIN || !q.RD() {
		t.Errorf("type %v class %v RD %v", q.Type, q.Class, q.RD())
	}
	if !q.EDNS.Present || !q.EDNS.DO || q.EDNS.UDPSize != 4096 || q.UDPLimit() != MaxUDP {
		t.Errorf("EDNS %+v limit %d", q.EDNS, q.UDPLimit())
	}
	// The question is echoed in the client's own case.
	if !strings.Contains(string(q.Msg[:q.QuestionEnd]), "WwW") {
		t.Error("the question lost its case")
	}
}

func TestVerdicts(t *testing.T) {
	base := query(t, "a.example.", dns.TypeA, true)
	edit := func(f func(m []byte) []byte) []byte { return f(append([]byte(nil), base...)) }
	plain := query(t, "a.example.", dns.TypeA, false)
	tests := []struct {
		name  string
		msg   []byte
		want  Verdict
		rcode Rcode
	}{
		{"empty", nil, Ignore, 0},
		{"half a header", base[:11], Ignore, 0},
		{"a response", edit(func(m []byte) []byte { m[2] |= flagQR; return m }), Ignore, 0},
		{"opcode STATUS", edit(func(m []byte) []byte { m[2] |= 2 << 3; return m }), Reject, RcodeNotImp},
		{"opcode 15", edit(func(m []byte) []byte { m[2] |= 15 << 3; return m }), Reject, RcodeNotImp},
		{"opcode UPDATE", edit(func(m []byte) []byte { m[2] |= 5 << 3; return m }), Accept, RcodeNoError},
		{"opcode NOTIFY", edit(func(m []byte) []byte { m[2] |= 4 << 3; return m }), Accept, 0},
		{"NOTIFY with an answer record, RFC 1996 §3.7", notify(t), Accept, 0},
		{"NOTIFY with OPT in the answer section", edit(func(m []byte) []byte { m[2] |= 4 << 3; m[7], m[11] = 1, 0; return m }), Reject, RcodeFormErr},
		{"TSIG", signed(t, plain), Accept, 0},
		{"TSIG before another record", append(withOctet(signed(t, plain), 11, 2), base[len(plain):]...), Reject, RcodeFormErr},
		{"TSIG in the authority section", withOctet(withOctet(signed(t, plain), 11, 0), 9, 1), Reject, RcodeFormErr},
		{"no question", edit(func(m []byte) []byte { m[5] = 0; return m }), Reject, RcodeFormErr},
		{"two questions, RFC 9619", edit(func(m []byte) []byte { m[5] = 2; return m }), Reject, RcodeFormErr},
		{"an answer record", edit(func(m []byte) []byte { m[7], m[11] = 1, 0; return m }), Reject, RcodeFormErr},
		{"trailing octet", append(append([]byte(nil), base...), 0), Reject, RcodeFormErr},
		{"pointer as QNAME", append(plain[:12:12], 0xC0, 12, 0, 1, 0, 1), Reject, RcodeFormErr},
		{"label type 0x40", append(plain[:12:12], 0x41, 'a', 0, 0, 1, 0, 1), Reject, RcodeFormErr},
		{"EDNS version 1", edit(func(m []byte) []byte { m[len(m)-5] = 1; return m }), Reject, RcodeBadVers},
		{"OPT not owned by the root", append(append(plain[:11:11], 1), append(plain[12:], 1, 'x', 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0)...), Reject, RcodeFormErr},
		{"option longer than RDATA", append(append(plain[:11:11], 1), append(plain[12:], 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 4, 0, 10, 0, 9)...), Reject, RcodeFormErr},
	}
	for _, tt := range tests {
		var q Query
		if got := q.Parse(tt.msg); got != tt.want || q.Rcode != tt.rcode {
			t.Errorf("%s: verdict %v %v, want %v %v", tt.name, got, q.Rcode, tt.want, tt.rcode)
		}
	}
}

// notify is a NOTIFY with the SOA record in its answer section.
func notify(t testing.TB) []byte {
	m := new(dns.Msg).SetNotify("a.example.")
	soa, err := dns.NewRR("a.example. 60 IN SOA ns hostmaster 1 2 3 4 5")
	if err != nil {
		t.Fatal(err)
	}
	m.Answer = []dns.RR{soa}
	return pack(t, m)
}

// signed returns plain with a TSIG record; nothing here looks into it.
func signed(t testing.TB, plain []byte) []byte {
	m := new(dns.Msg)
	if err := m.Unpack(plain); err != nil {
		t.Fatal(err)
	}
	m.Extra = append(m.Extra, &dns.TSIG{Hdr: dns.RR_Header{Name: "key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: dns.HmacSHA256, MAC: "", OrigId: m.Id})
	return pack(t, m)
}

// withOctet returns m with one octet set.
func withOctet(m []byte, at int, octet byte) []byte {
	m[at] = octet
	return m
}

// TestTSIGOffset: where the signature begins is known, and is forgotten with the
// next message.
func TestTSIGOffset(t *testing.T) {
	var q Query
	plain := query(t, "a.example.", dns.TypeSOA, true)
	if q.Parse(signed(t, plain)) != Accept || q.TSIG != len(plain) || !q.EDNS.Present {
		t.Errorf("TSIG at %d, want %d", q.TSIG, len(plain))
	}
	if q.Parse(plain) != Accept || q.TSIG != 0 {
		t.Errorf("unsigned query: TSIG at %d", q.TSIG)
	}
}

// TestLongNames: RFC 1035 §2.3.4: 255 octets are a name, 256 are not.
func TestLongNames(t *testing.T) {
	label := string(rune(63)) + strings.Repeat("a", 63)
	for _, tt := range []struct {
		last int
		want Verdict
	}{{61, Accept}, {62, Reject}} {
		name := strings.Repeat(label, 3) + string(rune(tt.last)) + strings.Repeat("b", tt.last) + "\x00"
		msg := append([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, name...)
		var q Query
		if got := q.Parse(append(msg, 0, 1, 0, 1)); got != tt.want {
			t.Errorf("name of %d octets: %v, want %v", len(name), got, tt.want)
		}
	}
}

// respond drives the whole path of a response with whatever query msg is.
func respond(q *Query, b *Builder, msg, buf []byte) []byte {
	if q.Parse(msg) == Ignore {
		return nil
	}
	b.Reset(q, buf, q.UDPLimit())
	b.SetEDE(EDEOther, "why")
	if q.Rcode == RcodeNoError {
		for b.Add(Answer, q.Name, rdata.TypeTXT, rdata.ClassIN, 1, []byte("\x04text")) {
		}
		b.SetTC(true)
	}
	return b.Finish()
}

// TestEveryPrefixAndBitFlip: whatever comes in, what goes out is a well-formed
// response within the limit, or nothing.
func TestEveryPrefixAndBitFlip(t *testing.T) {
	base := query(t, "www.example.com.", dns.TypeTXT, true)
	var inputs [][]byte
	for n := range base {
		inputs = append(inputs, base[:n:n])
		for b := range 8 {
			flipped := append([]byte(nil), base...)
			flipped[n] ^= 1 << b
			inputs = append(inputs, flipped)
		}
	}
	var q Query
	var b Builder
	buf := make([]byte, MaxUDP+BufferSlack)
	for _, in := range inputs {
		out := respond(&q, &b, in, buf)
		if out == nil {
			continue
		}
		if len(out) > q.UDPLimit() {
			t.Fatalf("%x: response of %d octets over the limit %d", in, len(out), q.UDPLimit())
		}
		if err := new(dns.Msg).Unpack(out); err != nil {
			t.Fatalf("%x: malformed response %x: %v", in, out, err)
		}
	}
}

func TestNoAllocs(t *testing.T) {
	msg := query(t, "www.example.com.", dns.TypeA, true)
	buf := make([]byte, MaxUDP+BufferSlack)
	owner, ns := dnsname.MustParse("example.com."), []byte(dnsname.MustParse("ns1.example.com.").Wire())
	q, b := new(Query), new(Builder)
	allocs := testing.AllocsPerRun(100, func() {
		q.Parse(msg)
		b.Reset(q, buf, q.UDPLimit())
		b.Add(Answer, q.Name, rdata.TypeA, rdata.ClassIN, 60, []byte{192, 0, 2, 1})
		b.Add(Authority, owner, rdata.TypeNS, rdata.ClassIN, 60, ns)
		b.Finish()
	})
	if allocs != 0 {
		t.Errorf("%v allocations per response", allocs)
	}
}

func FuzzRespond(f *testing.F) {
	f.Add(query(f, "www.example.com.", dns.TypeTXT, true))
	f.Add(query(f, ".", dns.TypeNS, false))
	buf := make([]byte, MaxUDP+BufferSlack)
	f.Fuzz(func(t *testing.T, in []byte) {
		var q Query
		var b Builder
		out := respond(&q, &b, in, buf)
		if out == nil {
			return
		}
		if len(out) > q.UDPLimit() {
			t.Fatalf("response of %d octets over the limit %d", len(out), q.UDPLimit())
		}
		if _, err := ParseMessage(out); err != nil {
			t.Fatalf("malformed response %x: %v", out, err)
		}
	})
}

func BenchmarkRespond(b *testing.B) {
	msg := query(b, "www.example.com.", dns.TypeA, true)
	buf := make([]byte, MaxUDP+BufferSlack)
	q, out := new(Query), new(Builder)
	b.ReportAllocs()
	for b.Loop() {
		q.Parse(msg)
		out.Reset(q, buf, q.UDPLimit())
		out.Add(Answer, q.Name, rdata.TypeA, rdata.ClassIN, 60, []byte{192, 0, 2, 1})
		out.Finish()
	}
}

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// TestKeep: a kept query outlives the buffer, although a response is begun in it.
func TestKeep(t *testing.T) {
	buf := make([]byte, MaxUDP+BufferSlack)
	n := copy(buf, query(t, "Www.example.com.", dns.TypeA, true))
	q, b := new(Query), new(Builder)
	q.Parse(buf[:n])
	b.Reset(q, buf, q.UDPLimit())
	b.Add(Answer, q.Name, rdata.TypeTXT, rdata.ClassIN, 1, []byte("\x04text"))
	k := q.Keep()
	b.Finish()
	q.Parse(query(t, "other.example.", dns.TypeNS, false))
	clear(buf)
	if k.Name.String() != "www.example.com." || k.Type != rdata.TypeA || !k.RD() || !k.EDNS.DO || k.UDPLimit() != MaxUDP {
		t.Errorf("kept %v %v RD %v EDNS %+v", k.Name, k.Type, k.RD(), k.EDNS)
	}
	b.Reset(k, make([]byte, 1024), 512)
	if err := new(dns.Msg).Unpack(b.Finish()); err != nil {
		t.Errorf("response to the kept query: %v", err)
	}
}
