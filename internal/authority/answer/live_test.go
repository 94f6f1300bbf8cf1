package answer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/live"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

var (
	liveOrigin = dnsname.MustParse("example.")
	liveNow    = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
)

// liveWorld is a zone whose answers are signed as they are asked for.
type liveWorld struct {
	z      *zone.Zone
	signer *live.Signer
	key    dnssec.Key
}

// newLiveWorld signs text with params, whose key it makes, and steers names.
func newLiveWorld(t testing.TB, text string, params sign.Params, algorithm uint8, steered ...string) *liveWorld {
	t.Helper()
	b := zone.NewBuilder(liveOrigin)
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: liveOrigin, TTL: 300}) {
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		b.Add(r)
	}
	for _, n := range steered {
		b.Steer(dnsname.MustParse(n), zone.SteersAddresses)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	k, err := sign.Generate(sign.KSK, algorithm, 0)
	if err != nil {
		t.Fatal(err)
	}
	params.Keys = sign.Roles(k)
	plan, err := sign.NewPlan(z, nil, params, liveNow)
	if err != nil {
		t.Fatal(err)
	}
	plan.Work()
	if z, _, err = plan.Finish(); err != nil {
		t.Fatal(err)
	}
	parsed, _ := dnssec.ParseKey(k.RDATA())
	return &liveWorld{z, live.NewSigner(liveOrigin, []*sign.Key{k}, live.NewCache()), parsed}
}

func (w *liveWorld) options() Options {
	return Options{Live: w.signer, Work: live.Work{Now: liveNow}}
}

// ask answers a question with DO; with co, CO too.
func (w *liveWorld) ask(t testing.TB, name dnsname.Name, qtype rdata.Type, do, co bool) (*dnswire.Message, Outcome) {
	t.Helper()
	spec := dnswire.QuerySpec{Name: name, Type: qtype, Class: rdata.ClassIN, EDNS: true, DO: do}
	msg := dnswire.AppendQuery(nil, spec)
	if co {
		msg[len(msg)-4] |= 0x40
	}
	var q dnswire.Query
	var out dnswire.Builder
	q.Parse(msg)
	out.Reset(&q, make([]byte, 65535+dnswire.BufferSlack), 65535)
	outcome := With(w.options(), &q, w.z, 0, &out)
	m, err := dnswire.ParseMessage(out.Finish())
	if err != nil {
		t.Fatal(err)
	}
	return m, outcome
}

// check verifies each RRset of a response that is the zone's own data, and returns what its NSEC
// and NSEC3 records prove.
func (w *liveWorld) check(t testing.TB, m *dnswire.Message) (*dnssec.Denial, []rdata.RRset) {
	t.Helper()
	var sets []rdata.RRset
	for _, section := range [][]rdata.Record{m.Answer, m.Authority, m.Additional} {
		for _, r := range section {
			if r.Type == rdata.TypeRRSIG || r.Type == rdata.TypeOPT {
				continue
			}
			i := slices.IndexFunc(sets, func(s rdata.RRset) bool { return s.Name == r.Name && s.Type == r.Type })
			if i < 0 {
				i = len(sets)
				sets = append(sets, rdata.RRset{Name: r.Name, Type: r.Type, Class: r.Class, TTL: r.TTL})
			}
			sets[i].Data = append(sets[i].Data, r.Data)
		}
	}
	var denials []rdata.RRset
	for _, set := range sets {
		found := w.z.Lookup(set.Name)
		if found.Cut != 0 && set.Type != rdata.TypeDS && set.Type != rdata.TypeNSEC || set.Type == rdata.TypeCNAME && found.DNAME != 0 {
			continue // of the zone below, or made from a DNAME
		}
		var sigs [][]byte
		for _, r := range slices.Concat(m.Answer, m.Authority, m.Additional) {
			if sig, ok := dnssec.ParseSignature(r.Data); ok && r.Type == rdata.TypeRRSIG && r.Name == set.Name && sig.Covered == set.Type {
				sigs = append(sigs, r.Data)
			}
		}
		v := dnssec.Verifier{Now: liveNow, Budget: &dnssec.Budget{Signatures: 9}}
		if got := v.Verify(set, sigs, []dnssec.Key{w.key}, liveOrigin); got.Fault != nil {
			t.Errorf("%s %s: %s %s: %v", m.Question.Name, m.Question.Type, set.Name, set.Type, got.Fault.Text)
		}
		if set.Type == rdata.TypeNSEC || set.Type == rdata.TypeNSEC3 {
			denials = append(denials, set)
		}
	}
	return dnssec.NewDenial(liveOrigin, denials, &dnssec.Budget{Hashes: 50}), denials
}

const compactText = `@ SOA ns host 1 2 3 4 60
@ NS ns
ns A 192.0.2.1
www A 192.0.2.2
www A 192.0.2.3
www TXT x
a.b.c A 192.0.2.4
alias CNAME www
out CNAME www.other.
gone CNAME nowhere
*.wild A 192.0.2.5
*.wildalias CNAME www
sub NS ns.sub
ns.sub A 192.0.2.6
secure NS ns.sub
secure DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000
tree DNAME other.
mx MX 5 www
`

// TestCompact: RFC 9824: every answer of a zone without a chain is signed, and a name that does
// not exist is one without types: NXNAME says that it does not.
func TestCompact(t *testing.T) {
	w := newLiveWorld(t, compactText, sign.Params{Live: true}, dnssec.ECDSAP256)
	if w.z.IsSigned() || w.z.DenialType() != 0 {
		t.Fatal("the zone is signed on disk")
	}
	for _, test := range []struct {
		name string
		t    rdata.Type
		want string // rcode, kind, types of the NSEC record
	}{
		{"www.example.", rdata.TypeA, "NOERROR answer"},
		{"www.example.", rdata.TypeMX, "NOERROR nodata A TXT RRSIG NSEC"},
		{"www.example.", rdata.TypeANY, "NOERROR answer"},
		{"nowhere.example.", rdata.TypeA, "NOERROR nxdomain RRSIG NSEC NXNAME"},
		{"x.www.example.", rdata.TypeA, "NOERROR nxdomain RRSIG NSEC NXNAME"},
		{"b.c.example.", rdata.TypeA, "NOERROR nodata RRSIG NSEC"},
		{"example.", rdata.TypeA, "NOERROR nodata NS SOA RRSIG NSEC DNSKEY"},
		{"example.", rdata.TypeSOA, "NOERROR answer"},
		{"example.", rdata.TypeDNSKEY, "NOERROR answer"},
		{"alias.example.", rdata.TypeA, "NOERROR answer"},
		{"alias.example.", rdata.TypeMX, "NOERROR nodata A TXT RRSIG NSEC"},
		{"gone.example.", rdata.TypeA, "NOERROR nxdomain RRSIG NSEC NXNAME"},
		{"out.example.", rdata.TypeA, "NOERROR partial"},
		{"any.thing.wild.example.", rdata.TypeA, "NOERROR answer"},
		{"any.wild.example.", rdata.TypeMX, "NOERROR nodata A RRSIG NSEC"},
		{"any.wildalias.example.", rdata.TypeA, "NOERROR answer"},
		{"x.sub.example.", rdata.TypeA, "NOERROR referral NS RRSIG NSEC"},
		{"sub.example.", rdata.TypeDS, "NOERROR nodata NS RRSIG NSEC"},
		{"x.secure.example.", rdata.TypeA, "NOERROR referral"},
		{"secure.example.", rdata.TypeDS, "NOERROR answer"},
		{"x.tree.example.", rdata.TypeA, "NOERROR partial"},
		{"mx.example.", rdata.TypeMX, "NOERROR answer"},
	} {
		name := dnsname.MustParse(test.name)
		m, outcome := w.ask(t, name, test.t, true, false)
		denial, denials := w.check(t, m)
		got := fmt.Sprintf("%v %v", m.Rcode, outcome.Kind)
		for _, set := range denials {
			for _, data := range set.Data {
				_, length, _ := dnsname.FromWire(data)
				got += typesText(data[length:])
			}
		}
		if got != test.want || outcome.Unsigned != live.Signed || outcome.Truncated {
			t.Errorf("%s %s: %s, want %s; %+v", test.name, test.t, got, test.want, outcome)
		}
		last := name
		if outcome.Aliases > 0 && len(denials) > 0 {
			last = denials[0].Name
		}
		switch outcome.Kind {
		case NoData, NXDomain:
			if denial.NoData(last, test.t) != dnssec.Proven {
				t.Errorf("%s %s: nothing proves that it has no such type", test.name, test.t)
			}
			if other := dnsname.MustParse("www.example."); last != other && denial.NoData(other, rdata.TypeMX) == dnssec.Proven {
				t.Errorf("%s: the denial is one of www.example. too", test.name)
			}
		case Referral:
			if len(denials) > 0 && denial.NoDS(dnsname.MustParse("sub.example.")) != dnssec.Delegation {
				t.Errorf("%s: nothing proves that the delegation is insecure", test.name)
			}
		}
	}
	if m, _ := w.ask(t, dnsname.MustParse("nowhere.example."), rdata.TypeA, true, true); m.Rcode != dnswire.RcodeNXDomain {
		t.Errorf("RFC 9824 §5: with CO: %v", m.Rcode)
	}
	if m, _ := w.ask(t, dnsname.MustParse("nowhere.example."), rdata.TypeA, false, false); m.Rcode != dnswire.RcodeNXDomain || len(m.Authority) != 1 {
		t.Errorf("without DO: %v %v", m.Rcode, m.Authority)
	}
}

func typesText(bitmap []byte) (text string) {
	for len(bitmap) >= 2 {
		for i, octet := range bitmap[2 : 2+int(bitmap[1])] {
			for bit := range 8 {
				if octet&(0x80>>bit) != 0 {
					text += " " + (rdata.Type(bitmap[0])<<8 + rdata.Type(8*i+bit)).String()
				}
			}
		}
		bitmap = bitmap[2+int(bitmap[1]):]
	}
	return text
}

// TestCompactRandom: whatever is asked of whatever zone, each answer of it verifies.
func TestCompactRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 40 {
		text, name := randomSignable(rnd, "example.")
		w := newLiveWorld(t, text, sign.Params{Live: true}, dnssec.Ed25519)
		for range 40 {
			n, err := dnsname.ParseIn(name(), liveOrigin)
			if err != nil {
				continue
			}
			qtype := []rdata.Type{rdata.TypeA, rdata.TypeAAAA, rdata.TypeMX, rdata.TypeDS, rdata.TypeNS, rdata.TypeCNAME, rdata.TypeANY, rdata.TypeTXT}[rnd.IntN(8)]
			m, outcome := w.ask(t, n, qtype, true, false)
			denial, _ := w.check(t, m)
			if outcome.Unsigned != live.Signed {
				t.Fatalf("%s %s: %v", n, qtype, outcome.Unsigned)
			}
			if k := outcome.Kind; (k == NoData || k == NXDomain) && outcome.Aliases == 0 && !(n == liveOrigin && qtype == rdata.TypeDS) && denial.NoData(n, qtype) != dnssec.Proven {
				t.Fatalf("%s %s: %v is not proven, in\n%s", n, qtype, k, text)
			}
		}
	}
}

// TestSteeredSigned: in a zone with a chain, the addresses of a steered name are signed as
// they are answered, and so is that there are none of a family; the chain says that
// the name has both.
func TestSteeredSigned(t *testing.T) {
	for _, params := range []sign.Params{{}, {NSEC3: &sign.NSEC3{}}, {NSEC3: &sign.NSEC3{Iterations: 2, Salt: []byte{1}}}, {Live: true}} {
		w := newLiveWorld(t, compactText, params, dnssec.ECDSAP256, "app.example.", "www.example.")
		app := dnsname.MustParse("app.example.")
		var q dnswire.Query
		var out dnswire.Builder
		ask := func(qtype rdata.Type) Outcome {
			q = dnswire.Query{}
			q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: app, Type: qtype, Class: rdata.ClassIN, EDNS: true, DO: true}))
			out.Reset(&q, make([]byte, 8192), 4096)
			return With(w.options(), &q, w.z, 0, &out)
		}
		finish := func() (*dnswire.Message, *dnssec.Denial) {
			m, err := dnswire.ParseMessage(out.Finish())
			if err != nil {
				t.Fatal(err)
			}
			denial, _ := w.check(t, m)
			return m, denial
		}
		if got := ask(rdata.TypeA); got.Kind != Steered {
			t.Fatalf("%+v", got)
		}
		set := rdata.RRset{Name: app, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 30, Data: [][]byte{{192, 0, 2, 9}, {192, 0, 2, 8}}}
		for _, data := range set.Data {
			out.Add(dnswire.Answer, app, rdata.TypeA, rdata.ClassIN, 30, data)
		}
		if reason, full := Sign(w.options(), &q, w.z, set, &out); reason != live.Signed || full {
			t.Errorf("%v, full %v", reason, full)
		}
		if m, _ := finish(); len(m.Answer) != 3 {
			t.Errorf("answer: %v", m.Answer)
		}
		outcome := ask(rdata.TypeAAAA)
		if reason := DenyType(w.options(), &q, w.z, outcome, &out); reason != live.Signed {
			t.Errorf("deny: %v", reason)
		}
		if _, denial := finish(); denial.NoData(app, rdata.TypeAAAA) != dnssec.Proven || denial.NoData(app, rdata.TypeA) == dnssec.Proven {
			t.Errorf("%+v: AAAA is not denied, or A is", params)
		}
		ask(rdata.TypeMX)
		if _, denial := finish(); denial.NoData(app, rdata.TypeMX) != dnssec.Proven || denial.NoData(app, rdata.TypeA) == dnssec.Proven || denial.NoData(app, rdata.TypeAAAA) == dnssec.Proven {
			t.Errorf("%+v: MX is not denied, or A or AAAA is", params)
		}
	}
}

// TestCompactNoAllocs: an answer whose signatures are in the cache costs no allocation.
func TestCompactNoAllocs(t *testing.T) {
	w := newLiveWorld(t, compactText, sign.Params{Live: true}, dnssec.ECDSAP256)
	var out dnswire.Builder
	buf := make([]byte, 65535+dnswire.BufferSlack)
	for _, name := range []string{"www.example.", "nowhere.example.", "sub.example.", "alias.example."} {
		var q dnswire.Query
		q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN, EDNS: true, DO: true}))
		options := w.options()
		ask := func() {
			out.Reset(&q, buf, 4096)
			if got := With(options, &q, w.z, 0, &out); got.Unsigned != live.Signed {
				t.Fatal(got.Unsigned)
			}
		}
		ask()
		if n := testing.AllocsPerRun(100, ask); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
