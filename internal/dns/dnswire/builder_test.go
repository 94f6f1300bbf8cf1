package dnswire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

func reset(t testing.TB, qname string, limit int) (*Query, *Builder) {
	q, b := new(Query), new(Builder)
	if v := q.Parse(query(t, qname, dns.TypeA, false)); v != Accept {
		t.Fatalf("verdict %v", v)
	}
	b.Reset(q, make([]byte, MaxMessage+BufferSlack), limit)
	return q, b
}

// TestCompression: names written become pointers, in owner and RDATA alike, and
// an independent reader expands them to the same names.
func TestCompression(t *testing.T) {
	_, b := reset(t, "www.example.com.", MaxUDP512)
	zone, ns := dnsname.MustParse("example.com."), dnsname.MustParse("ns1.example.com.")
	b.Add(Authority, zone, rdata.TypeNS, rdata.ClassIN, 60, []byte(ns.Wire()))
	before := b.Len()
	b.Add(Additional, ns, rdata.TypeA, rdata.ClassIN, 60, []byte{192, 0, 2, 1})
	if got, want := b.Len()-before, 2+10+4; got != want {
		t.Errorf("the glue record takes %d octets, want %d: its owner stands in the message already", got, want)
	}
	var m dns.Msg
	if err := m.Unpack(b.Finish()); err != nil {
		t.Fatal(err)
	}
	if got := m.Ns[0].String() + m.Extra[0].String(); got != "example.com.\t60\tIN\tNS\tns1.example.com.ns1.example.com.\t60\tIN\tA\t192.0.2.1" {
		t.Errorf("read back as %q", got)
	}
}

// TestNoCompressionInLaterTypes: RFC 3597 §4: only the types of RFC 1035 may be
// sent with compressed RDATA.
func TestNoCompressionInLaterTypes(t *testing.T) {
	q, b := reset(t, "www.example.com.", MaxUDP512)
	srv := append([]byte{0, 1, 0, 2, 0, 80}, q.Name.Wire()...)
	b.Add(Answer, q.Name, rdata.TypeSRV, rdata.ClassIN, 60, srv)
	if !bytes.HasSuffix(b.Finish(), srv) {
		t.Error("the target of an SRV record was compressed")
	}
}

// TestRandomMessages holds the builder against the reader of another library:
// random records over a small set of labels, so that suffixes collide often.
func TestRandomMessages(t *testing.T) {
	rnd := seeded()
	for round := range 2000 {
		_, b := reset(t, randomName(rnd), 200+rnd.IntN(4000))
		limit := b.limit
		want, section := []string{}, Answer
		for range rnd.IntN(60) {
			section = min(Additional, section+Section(rnd.IntN(10)/9))
			owner, target := dnsname.MustParse(randomName(rnd)), dnsname.MustParse(randomName(rnd))
			data := append([]byte{0, 10}, target.Wire()...)
			if b.Add(section, owner, rdata.TypeMX, rdata.ClassIN, 60, data) {
				want = append(want, fmt.Sprintf("%d %s\t60\tIN\tMX\t10 %s", section, owner, target))
			}
		}
		out := b.Finish()
		if len(out) > limit {
			t.Fatalf("round %d: %d octets, limit %d", round, len(out), limit)
		}
		var m dns.Msg
		if err := m.Unpack(out); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		var got []string
		for s, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
			for _, rr := range rrs {
				got = append(got, fmt.Sprintf("%d %s", s, rr))
			}
		}
		// A name compressed onto the question's takes the client's case from it.
		if !strings.EqualFold(fmt.Sprint(got), fmt.Sprint(want)) {
			t.Fatalf("round %d:\n got %v\nwant %v", round, got, want)
		}
	}
}

func randomName(rnd *rand.Rand) string {
	name := ""
	for range rnd.IntN(6) {
		name += []string{"a", "bb", "ccc", "Example", "com"}[rnd.IntN(5)] + "."
	}
	if name == "" {
		return "."
	}
	return name
}

// TestRollback: what was taken back leaves no trace, also not as the target of a
// later pointer.
func TestRollback(t *testing.T) {
	q, b := reset(t, "example.com.", MaxUDP512)
	b.Add(Answer, q.Name, rdata.TypeMX, rdata.ClassIN, 60, append([]byte{0, 1}, dnsname.MustParse("mx.other.test.").Wire()...))
	mark := b.Mark()
	b.Add(Answer, q.Name, rdata.TypeMX, rdata.ClassIN, 60, append([]byte{0, 1}, dnsname.MustParse("gone.far.away.").Wire()...))
	b.Rollback(mark)
	b.Add(Answer, q.Name, rdata.TypeMX, rdata.ClassIN, 60, append([]byte{0, 1}, dnsname.MustParse("x.gone.far.away.").Wire()...))
	var m dns.Msg
	if err := m.Unpack(b.Finish()); err != nil {
		t.Fatal(err)
	}
	if len(m.Answer) != 2 || m.Answer[1].(*dns.MX).Mx != "x.gone.far.away." {
		t.Errorf("answer %v", m.Answer)
	}
}

// TestInPlace: the response is made in the memory of the query.
func TestInPlace(t *testing.T) {
	buf := make([]byte, MaxUDP+BufferSlack)
	n := copy(buf, query(t, "WWW.example.com.", dns.TypeA, true))
	q, b := new(Query), new(Builder)
	q.Parse(buf[:n])
	b.Reset(q, buf, q.UDPLimit())
	b.AddReady(Answer, 1, []byte{0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1})
	b.SetRcode(RcodeBadVers)
	b.SetEDE(EDENotSupported, "version")
	out := b.Finish()
	if &out[0] != &buf[0] {
		t.Error("the response was made elsewhere")
	}
	m, err := ParseMessage(out)
	if err != nil {
		t.Fatal(err)
	}
	if m.Rcode != RcodeBadVers || !m.EDNS.DO || len(m.EDE) != 1 || m.EDE[0] != (ExtendedError{EDENotSupported, "version"}) {
		t.Errorf("rcode %v EDNS %+v EDE %v", m.Rcode, m.EDNS, m.EDE)
	}
	if got := m.Answer[0].Name.String(); got != "www.example.com." {
		t.Errorf("owner %s", got)
	}
}
