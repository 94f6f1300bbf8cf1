package answer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// secureQuery returns a query message with DO=1.
func secureQuery(t testing.TB, qname string, qtype uint16) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(qname), qtype)
	m.RecursionDesired = false
	m.SetEdns0(dnswire.MaxUDP, true)
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// askSecure asks z with DO=1.
func askSecure(t testing.TB, z *zone.Zone, qname string, qtype uint16, limit int) *dns.Msg {
	t.Helper()
	var q dnswire.Query
	var out dnswire.Builder
	if v := q.Parse(secureQuery(t, qname, qtype)); v != dnswire.Accept {
		t.Fatalf("query %s: verdict %v", qname, v)
	}
	out.Reset(&q, make([]byte, limit+dnswire.BufferSlack), limit)
	outcome := Answer(&q, z, 0, &out)
	response := out.Finish()
	if len(response) > limit {
		t.Fatalf("%s: %d octets, limit %d", qname, len(response), limit)
	}
	m := new(dns.Msg)
	if err := m.Unpack(response); err != nil {
		t.Fatalf("response to %s: %v\n%x", qname, err, response)
	}
	if m.Truncated != outcome.Truncated {
		t.Errorf("%s: TC %v, outcome %+v", qname, m.Truncated, outcome)
	}
	if opt := m.IsEdns0(); opt == nil || !opt.Do() {
		t.Errorf("%s: DO is not set (RFC 3225 §3)", qname)
	}
	return m
}

// withoutDNSSEC takes out what DO=1 adds, and OPT.
func withoutDNSSEC(m *dns.Msg, qtype uint16) *dns.Msg {
	m = m.Copy()
	for _, section := range []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra} {
		*section = slices.DeleteFunc(*section, func(rr dns.RR) bool {
			switch t := rr.Header().Rrtype; t {
			case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeDS:
				return t != qtype && qtype != dns.TypeANY || section != &m.Answer
			case dns.TypeOPT:
				return true
			}
			return false
		})
	}
	return m
}

// TestSignedRandomZones asks random zones, signed in every way, random questions
// with DO=1: a validating resolver finds every answer proved, and without DNSSEC
// records it is the answer to the question with DO=0.
func TestSignedRandomZones(t *testing.T) {
	for i, s := range signings {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			sign := newSigner(t, s, "test.")
			rnd := rand.New(rand.NewPCG(7, uint64(i)))
			kinds := map[string]int{}
			for range 12 {
				plain, name := randomSignable(rnd, "test.")
				text := sign.sign(t, plain)
				checkSigned(t, rnd, text, name, kinds)
				if t.Failed() {
					t.Fatalf("in\n%s", plain)
				}
			}
			t.Logf("proved: %v", kinds)
			for _, kind := range []string{"answer", "nodata", "nxdomain", "referral", "partial"} {
				if kinds[kind] == 0 {
					t.Errorf("no response was a %s", kind)
				}
			}
		})
	}
}

func checkSigned(t *testing.T, rnd *rand.Rand, text string, name func() string, kinds map[string]int) {
	t.Helper()
	z := buildZone(t, "test.", text)
	v := newVerifier("test.", records(t, text))
	types := []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeDS, dns.TypeMX, dns.TypeCNAME, dns.TypeTXT, dns.TypeSOA, dns.TypeANY, dns.TypeDNSKEY}
	for range 150 {
		qname, qtype := name(), types[rnd.IntN(len(types))]
		if rnd.IntN(3) == 0 {
			qname = "x" + qname
		}
		m := askSecure(t, z, qname, qtype, dnswire.MaxMessage)
		got, err := v.verify(m, qtype)
		if err != nil {
			t.Errorf("%s %s: %v in\n%v", qname, dns.TypeToString[qtype], err, m)
			return
		}
		kinds[got.Kind]++
		if qtype != dns.TypeANY { // without DO, signatures are data among others
			plain := ask(t, z, qname, qtype, 0, dnswire.MaxMessage)
			plain.Extra = slices.DeleteFunc(plain.Extra, func(rr dns.RR) bool { // expansions, which DO=1 would have to prove
				return !v.exists[strings.ToLower(rr.Header().Name)]
			})
			if got, want := show(withoutDNSSEC(m, qtype)), show(withoutDNSSEC(plain, qtype)); got != want || show(plain) != show(withoutDNSSEC(plain, qtype)) {
				t.Errorf("%s %s: with DO=1\n%s\nwith DO=0\n%s", qname, dns.TypeToString[qtype], got, show(plain))
			}
		}
	}
}

// TestSignedRootVerified asks the signed root zone of 2020 what resolvers ask it.
func TestSignedRootVerified(t *testing.T) {
	z := loadRoot(t, "root-2020-10-19-signed.zone.gz")
	var zoneRecords []dns.RR
	for r := range z.Records() {
		rr, err := dns.NewRR(r.String())
		if err != nil {
			t.Fatal(err)
		}
		zoneRecords = append(zoneRecords, rr)
	}
	v := newVerifier(".", zoneRecords)
	for _, tt := range []struct {
		name string
		t    uint16
		kind string
		ns   string // types in the authority section
	}{
		{".", dns.TypeSOA, "answer", ""},
		{".", dns.TypeDNSKEY, "answer", ""},
		{"com.", dns.TypeDS, "answer", ""},
		{"com.", dns.TypeA, "referral", "DS NS RRSIG"},
		{"www.example.com.", dns.TypeA, "referral", "DS NS RRSIG"},
		{"x.ae.", dns.TypeA, "referral", "NS NSEC RRSIG"},
		{"ae.", dns.TypeDS, "nodata", "NSEC RRSIG SOA"},
		{".", dns.TypeMX, "nodata", "NSEC RRSIG SOA"},
		{"nosuchtld.", dns.TypeA, "nxdomain", "NSEC RRSIG SOA"},
		{"aa.", dns.TypeA, "nxdomain", "NSEC RRSIG SOA"},
		{"a.b.zzzz.", dns.TypeA, "nxdomain", "NSEC RRSIG SOA"},
	} {
		m := askSecure(t, z, tt.name, tt.t, dnswire.MaxUDP)
		got, err := v.verify(m, tt.t)
		if err != nil || got.Kind != tt.kind {
			t.Errorf("%s %s: %v %v, want %s", tt.name, dns.TypeToString[tt.t], got.Kind, err, tt.kind)
		}
		var types []string
		for _, rr := range m.Ns {
			types = append(types, dns.TypeToString[rr.Header().Rrtype])
		}
		slices.Sort(types)
		if got := strings.Join(slices.Compact(types), " "); got != tt.ns {
			t.Errorf("%s %s: authority %s, want %s", tt.name, dns.TypeToString[tt.t], got, tt.ns)
		}
	}
}

// TestNoAllocsSigned: no kind of answer with DNSSEC allocates.
func TestNoAllocsSigned(t *testing.T) {
	plain := buildZone(t, "example.", dialogueZone)
	for _, denial := range []rdata.Type{rdata.TypeNSEC, rdata.TypeNSEC3} {
		z := pretendSigned(t, plain, denial, false)
		for _, name := range []string{
			"mail.example.", "nothing.example.", "wild.example.", "www.child.example.", "x.wild.example.", "x.alias.example.",
			"www.old.example.", "upper.example.", "loop1.example.", "down.example.", "growing.example.", "other.", "example.",
			"ent.deep.example.", "sibling.example.", strings.Repeat("abcdefghi.", 8) + "long.example.",
		} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeMX, dns.TypeNS, dns.TypeANY, dns.TypeRRSIG, dns.TypeDS} {
				wire := secureQuery(t, name, qtype)
				buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
				var q dnswire.Query
				var out dnswire.Builder
				if got := testing.AllocsPerRun(20, func() {
					n := copy(buf, wire)
					q.Parse(buf[:n])
					out.Reset(&q, buf, dnswire.MaxUDP)
					Answer(&q, z, 1, &out)
					out.Finish()
				}); got != 0 {
					t.Fatalf("%s %s %s: %v allocations", denial, name, dns.TypeToString[qtype], got)
				}
			}
		}
	}
}

// BenchmarkAnswerSigned is BenchmarkAnswer with DO=1.
func BenchmarkAnswerSigned(b *testing.B) {
	plain := buildZone(b, "example.com.", benchmarkZone())
	for _, bb := range []struct {
		denial rdata.Type
		optOut bool
	}{{rdata.TypeNSEC, false}, {rdata.TypeNSEC3, false}, {rdata.TypeNSEC3, true}} {
		z := pretendSigned(b, plain, bb.denial, bb.optOut)
		for _, kind := range []struct{ kind, format string }{
			{"hit", "host%d.example.com."},
			{"nodata", "child%d.example.com."},
			{"nxdomain", "nohost%d.example.com."},
			{"referral", "www.child%d.example.com."},
			{"wildcard", "any%d.wild.example.com."},
		} {
			const count = 8192
			var queries [count][]byte
			for i := range queries {
				qtype := dns.TypeA
				if kind.kind == "nodata" {
					qtype = dns.TypeDS
				}
				queries[i] = secureQuery(b, fmt.Sprintf(kind.format, rand.IntN(25_000)), qtype)
			}
			b.Run(fmt.Sprintf("%s optout=%v/%s", bb.denial, bb.optOut, kind.kind), func(b *testing.B) {
				var q dnswire.Query
				var out dnswire.Builder
				buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					n := copy(buf, queries[i%count])
					q.Parse(buf[:n])
					out.Reset(&q, buf, dnswire.MaxUDP)
					Answer(&q, z, uint32(i), &out)
					out.Finish()
				}
			})
		}
	}
}

// TestSignedSizes asks with every limit: an RRset comes with all of its signatures
// or not at all, and TC says when one that is required is absent: a proof too
// (RFC 4035 §3.1.1, §3.1.3).
func TestSignedSizes(t *testing.T) {
	plain := buildZone(t, "example.", sizeZone())
	for _, denial := range []rdata.Type{rdata.TypeNSEC, rdata.TypeNSEC3} {
		z := pretendSigned(t, plain, denial, false)
		for _, question := range []struct {
			name  string
			qtype uint16
			proof string // a type that an answer without TC must have
		}{
			{"many.example.", dns.TypeAAAA, "RRSIG"}, {"mx.example.", dns.TypeMX, "RRSIG"}, {"alias.example.", dns.TypeAAAA, "CNAME"},
			{"www.child.example.", dns.TypeA, denial.String()}, {"nothing.example.", dns.TypeA, denial.String()}, {"many.example.", dns.TypeTXT, denial.String()},
		} {
			complete := false
			for limit := dnswire.MaxUDP512; limit < 3600; limit += 7 {
				m := askSecure(t, z, question.name, question.qtype, limit)
				checkWhole(t, m)
				if has := hasRecord(m, question.proof); !m.Truncated && !has {
					t.Fatalf("%s, limit %d: neither TC nor %s:\n%v", question.name, limit, question.proof, m)
				}
				if complete && m.Truncated {
					t.Fatalf("%s: limit %d truncates, a smaller one did not", question.name, limit)
				}
				complete = !m.Truncated
			}
			if !complete {
				t.Errorf("%s %s: never complete", denial, question.name)
			}
		}
	}
}

// checkWhole: each RRset but NS at a cut and glue has a signature in its section,
// and there is none without what it covers.
func checkWhole(t *testing.T, m *dns.Msg) {
	t.Helper()
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		sets, covered := map[string]bool{}, map[string]bool{}
		for _, rr := range section {
			switch rr := rr.(type) {
			case *dns.OPT:
			case *dns.RRSIG:
				covered[setID(rr.Hdr.Name, rr.TypeCovered)] = true
			default:
				if owner := strings.ToLower(rr.Header().Name); !strings.HasSuffix(owner, "child.example.") || rr.Header().Rrtype == dns.TypeNSEC {
					sets[setID(owner, rr.Header().Rrtype)] = true
				}
			}
		}
		for id := range sets {
			if !covered[id] {
				t.Fatalf("section %d: %s without a signature in\n%v", i, id, m)
			}
		}
		for id := range covered {
			if !sets[id] {
				t.Fatalf("section %d: a signature of %s without it", i, id)
			}
		}
	}
}

func hasRecord(m *dns.Msg, rrtype string) bool {
	for _, rr := range append(slices.Clone(m.Answer), m.Ns...) {
		if dns.TypeToString[rr.Header().Rrtype] == rrtype {
			return true
		}
	}
	return false
}

// TestHashOwner: RFC 5155 §7.2.8: the owner of an NSEC3 record is denied as any name
// that does not exist.
func TestHashOwner(t *testing.T) {
	z := pretendSigned(t, buildZone(t, "example.", dialogueZone), rdata.TypeNSEC3, false)
	owner := strings.ToLower(dns.HashName("example.", dns.SHA1, 0, "")) + ".example."
	for _, qtype := range []uint16{dns.TypeNSEC3, dns.TypeRRSIG, dns.TypeA} {
		if m := askSecure(t, z, owner, qtype, dnswire.MaxUDP); m.Rcode != dns.RcodeNameError || !hasRecord(m, "NSEC3") {
			t.Errorf("%s: %v", dns.TypeToString[qtype], m)
		}
		if m := ask(t, z, owner, qtype, 0, dnswire.MaxUDP); m.Rcode != dns.RcodeNameError || hasRecord(m, "NSEC3") {
			t.Errorf("%s with DO=0: %v", dns.TypeToString[qtype], m)
		}
	}
}

// TestMinimalANY: RFC 8482 §4.1: one RRset is an answer to ANY, with its signatures
// if they are wanted.
func TestMinimalANY(t *testing.T) {
	plain := buildZone(t, "example.", dialogueZone)
	signed := pretendSigned(t, plain, rdata.TypeNSEC, false)
	for _, tt := range []struct {
		name   string
		z      *zone.Zone
		do     bool
		answer string // types
		kind   Kind
	}{
		{"mixed.example.", plain, false, "A", Positive},
		{"mixed.example.", signed, false, "A", Positive},
		{"mixed.example.", signed, true, "A RRSIG", Positive},
		{"www.example.", signed, true, "CNAME RRSIG", Positive},
		{"x.wild.example.", plain, false, "A", Positive},
		{"deep.example.", plain, false, "", NoData},
		{"nothing.example.", plain, false, "", NXDomain},
	} {
		wire := query(t, tt.name, dns.TypeANY)
		if tt.do {
			wire = secureQuery(t, tt.name, dns.TypeANY)
		}
		var q dnswire.Query
		var out dnswire.Builder
		q.Parse(wire)
		out.Reset(&q, make([]byte, 4096), dnswire.MaxUDP)
		outcome := With(Options{One: true}, &q, tt.z, 0, &out)
		m := new(dns.Msg)
		if err := m.Unpack(out.Finish()); err != nil {
			t.Fatal(err)
		}
		var types []string
		for _, rr := range m.Answer {
			types = append(types, dns.TypeToString[rr.Header().Rrtype])
		}
		if got := strings.Join(types, " "); got != tt.answer || outcome.Kind != tt.kind {
			t.Errorf("%s, DO %v: %q %v, want %q %v", tt.name, tt.do, got, outcome.Kind, tt.answer, tt.kind)
		}
	}
}

// FuzzAnswerSigned asks signed zones made from a seed any question with DO=1, within
// any limit.
func FuzzAnswerSigned(f *testing.F) {
	f.Add(uint64(1), []byte("\x01a\x04test\x00"), uint16(1), uint16(512))
	f.Add(uint64(2), []byte("\x01*\x01a\x04test\x00"), uint16(255), uint16(1232))
	f.Add(uint64(3), []byte("\x01b\x01a\x04test\x00"), uint16(43), uint16(65000))
	f.Add(uint64(5), []byte("\x01x\x01b\x01*\x04test\x00"), uint16(46), uint16(600))
	f.Fuzz(func(t *testing.T, seed uint64, qname []byte, qtype, limit uint16) {
		plain, _ := randomSignable(rand.New(rand.NewPCG(seed, 0)), "test.")
		denial := []rdata.Type{rdata.TypeNSEC, rdata.TypeNSEC3}[seed%2]
		z := pretendSigned(t, buildZone(t, "test.", plain), denial, seed%4 == 1)
		msg := append([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}, qname...)
		msg = append(msg, byte(qtype>>8), byte(qtype), 0, 1, 0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0)
		var q dnswire.Query
		var out dnswire.Builder
		if q.Parse(msg) != dnswire.Accept {
			return
		}
		size := max(int(limit), dnswire.MaxUDP512)
		out.Reset(&q, make([]byte, size+dnswire.BufferSlack), size)
		outcome := Answer(&q, z, uint32(seed), &out)
		wire := out.Finish()
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil || len(wire) > size {
			t.Fatalf("%d octets, limit %d: %v: %x", len(wire), size, err, wire)
		}
		if outcome.Kind == NXDomain && !outcome.Truncated && !hasRecord(m, denial.String()) {
			t.Fatalf("a denial without proof: %v", m)
		}
	})
}
