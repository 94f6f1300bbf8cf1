package childkeys

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

var (
	name = dnsname.MustParse("child.example.")
	noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
)

// family has the keys that tests are about.
type family struct {
	t        *testing.T
	old, new *sign.Key
}

func newFamily(t *testing.T) *family {
	f := &family{t: t}
	for _, k := range []**sign.Key{&f.old, &f.new} {
		var err error
		if *k, err = sign.Generate(257, dnssec.ECDSAP256, 0); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *family) ds(k *sign.Key, digest uint8) []byte {
	data, err := k.DS(name, digest)
	if err != nil {
		f.t.Fatal(err)
	}
	return data
}

// signed returns an RRset with signatures that begin an hour before a time.
func (f *family) signed(t rdata.Type, at time.Time, data [][]byte, by ...*sign.Key) Signed {
	s := Signed{Data: data, TTL: 60}
	for _, k := range by {
		sig, err := k.SignRRset(rdata.RRset{Name: name, Type: t, Class: rdata.ClassIN, TTL: 60, Data: data}, name, at.Add(-time.Hour), noon.Add(24*time.Hour))
		if err != nil {
			f.t.Fatal(err)
		}
		s.Sigs = append(s.Sigs, sig)
	}
	return s
}

// rolling is what a server says of a child that goes from the old key to the new one.
func (f *family) rolling() Answer {
	return Answer{
		Server: "one", Key: f.signed(rdata.TypeDNSKEY, noon, [][]byte{f.old.RDATA(), f.new.RDATA()}, f.old, f.new),
		CDS:     f.signed(rdata.TypeCDS, noon, [][]byte{f.ds(f.new, 2)}, f.old, f.new),
		CDNSKEY: f.signed(rdata.TypeCDNSKEY, noon, [][]byte{f.new.RDATA()}, f.old, f.new),
	}
}

// TestDecide: what a parent takes over of a child that it has a DS record of, and what it
// refuses.
func TestDecide(t *testing.T) {
	f := newFamily(t)
	stranger := newFamily(t).new
	removal := func(data []byte) [][]byte { return [][]byte{data} }
	for _, tt := range []struct {
		what   string
		change func(c *Child, a *Answer)
		rules  Rules
		want   Outcome
		why    string
	}{
		{"a new key", func(*Child, *Answer) {}, Rules{}, Change, ""},
		{"only CDS", func(_ *Child, a *Answer) { a.CDNSKEY = Signed{} }, Rules{}, Change, ""},
		{"only CDNSKEY", func(_ *Child, a *Answer) { a.CDS = Signed{} }, Rules{}, Change, ""},
		{"nothing", func(_ *Child, a *Answer) { a.CDS, a.CDNSKEY = Signed{}, Signed{} }, Rules{}, Silent, ""},
		{"what there is", func(c *Child, _ *Answer) { c.DS = [][]byte{f.ds(f.new, 2)} }, Rules{}, Agrees, ""},
		// RFC 7344 §4.1
		{"without signature", func(_ *Child, a *Answer) { a.CDS.Sigs = nil }, Rules{}, Refused, "CDS"},
		{"signed by the new key alone", func(_ *Child, a *Answer) { a.CDS = f.signed(rdata.TypeCDS, noon, a.CDS.Data, f.new) }, Rules{}, Refused, "CDS"},
		{"a key set that the DS records do not lead to", func(_ *Child, a *Answer) {
			a.Key = f.signed(rdata.TypeDNSKEY, noon, [][]byte{f.new.RDATA()}, f.new)
		}, Rules{}, Refused, "parent"},
		{"signatures that have ended", func(_ *Child, a *Answer) { a.CDS.Sigs[0][8], a.CDS.Sigs = 0x10, a.CDS.Sigs[:1] }, Rules{}, Refused, "CDS"},
		{"a key that does not sign", func(_ *Child, a *Answer) {
			data := [][]byte{f.ds(stranger, 2)}
			a.CDS, a.CDNSKEY = f.signed(rdata.TypeCDS, noon, data, f.old), Signed{}
		}, Rules{}, Refused, "chain of trust would break"},
		{"an algorithm that no key has, beside one", func(_ *Child, a *Answer) {
			other := f.ds(f.new, 2)
			other = slices.Clone(other)
			other[2] = dnssec.Ed25519
			a.CDS, a.CDNSKEY = f.signed(rdata.TypeCDS, noon, [][]byte{f.ds(f.new, 2), other}, f.old), Signed{}
		}, Rules{}, Refused, "chain of trust would break"},
		{"an algorithm that nobody knows", func(_ *Child, a *Answer) {
			other := slices.Clone(f.ds(f.new, 2))
			other[2] = 251
			a.CDS, a.CDNSKEY = f.signed(rdata.TypeCDS, noon, [][]byte{other}, f.old), Signed{}
		}, Rules{}, Refused, "algorithm 251"},
		{"SHA-1", func(_ *Child, a *Answer) {
			a.CDS, a.CDNSKEY = f.signed(rdata.TypeCDS, noon, [][]byte{f.ds(f.new, 1)}, f.old), Signed{}
		}, Rules{}, Refused, "digest type 1"},
		{"records that do not match", func(_ *Child, a *Answer) {
			a.CDNSKEY = f.signed(rdata.TypeCDNSKEY, noon, [][]byte{f.old.RDATA()}, f.old)
		}, Rules{}, Refused, "none of its CDNSKEY"},
		{"a CDNSKEY too many", func(_ *Child, a *Answer) {
			a.CDNSKEY = f.signed(rdata.TypeCDNSKEY, noon, [][]byte{f.old.RDATA(), f.new.RDATA()}, f.old)
		}, Rules{}, Refused, "has no CDS"},
		// RFC 7344 §6.2
		{"again what was said before", func(c *Child, _ *Answer) { c.Since = rdata.Serial(noon.Unix()) }, Rules{}, Refused, "said before"},
		{"what was not said before", func(c *Child, _ *Answer) { c.Since = rdata.Serial(noon.Add(-2 * time.Hour).Unix()) }, Rules{}, Change, ""},
		{"servers that differ", func(c *Child, _ *Answer) {
			second := f.rolling()
			second.Server, second.CDS = "two", f.signed(rdata.TypeCDS, noon, [][]byte{f.ds(f.old, 2)}, f.old)
			c.Answers = append(c.Answers, second)
		}, Rules{}, Refused, "one and two say different"},
		{"a server that says nothing", func(c *Child, _ *Answer) {
			c.Answers = append(c.Answers, Answer{Server: "two", Key: f.rolling().Key})
		}, Rules{}, Refused, "different"},
		{"a server whose key set leads nowhere", func(c *Child, _ *Answer) {
			second := f.rolling()
			second.Server, second.Key = "two", f.signed(rdata.TypeDNSKEY, noon, [][]byte{f.old.RDATA()}, f.old)
			c.Answers = append(c.Answers, second)
		}, Rules{}, Refused, "server two"},
		{"a server that is silent", func(c *Child, _ *Answer) {
			c.Answers = append(c.Answers, Answer{Server: "two", Err: errors.New("timeout")})
		}, Rules{}, Unseen, "timeout"},
		// RFC 8078 §4
		{"removal", func(_ *Child, a *Answer) {
			a.CDS, a.CDNSKEY = f.signed(rdata.TypeCDS, noon, removal(removeCDS), f.old), f.signed(rdata.TypeCDNSKEY, noon, removal(removeKey), f.old)
		}, Rules{Remove: true}, Remove, ""},
		{"removal that the parent leaves to people", func(_ *Child, a *Answer) {
			a.CDS, a.CDNSKEY = f.signed(rdata.TypeCDS, noon, removal(removeCDS), f.old), Signed{}
		}, Rules{}, Left, "remove"},
		{"removal without signature", func(_ *Child, a *Answer) {
			a.CDS, a.CDNSKEY = Signed{Data: removal(removeCDS), TTL: 60}, Signed{}
		}, Rules{Remove: true}, Refused, "CDS"},
		{"removal beside a key", func(_ *Child, a *Answer) {
			a.CDS = f.signed(rdata.TypeCDS, noon, [][]byte{removeCDS, f.ds(f.new, 2)}, f.old)
		}, Rules{Remove: true}, Refused, "removal"},
		{"removal in one type only", func(_ *Child, a *Answer) { a.CDS = f.signed(rdata.TypeCDS, noon, removal(removeCDS), f.old) }, Rules{Remove: true}, Refused, "removal"},
		{"too much", func(_ *Child, a *Answer) { a.CDS.Data = make([][]byte, MaxRecords+1) }, Rules{}, Refused, "more than"},
	} {
		a := f.rolling()
		c := Child{Name: name, DS: [][]byte{f.ds(f.old, 2)}, Answers: []Answer{{}}}
		tt.change(&c, &a)
		c.Answers[0] = a
		got := Decide(c, tt.rules, noon)
		if got.Outcome != tt.want || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", tt.what, got.Outcome, got.Why, tt.want, tt.why)
		}
		if got.Outcome == Change && (len(got.DS) != 1 || string(got.DS[0]) != string(f.ds(f.new, 2)) || got.Since != rdata.Serial(noon.Add(-time.Hour).Unix())) {
			t.Errorf("%s: DS %x since %d", tt.what, got.DS, got.Since)
		}
	}
}

// TestBootstrap: RFC 9615 §4.2: the first DS records come by what the zones of all name
// servers vouch for, and only then.
func TestBootstrap(t *testing.T) {
	f := newFamily(t)
	host := dnsname.MustParse("ns.provider.")
	for _, tt := range []struct {
		what   string
		change func(c *Child)
		rules  Rules
		want   Outcome
		why    string
	}{
		{"vouched for", func(*Child) {}, Rules{Bootstrap: true}, Change, ""},
		{"not allowed", func(*Child) {}, Rules{}, Left, "bootstrap"},
		{"by nobody", func(c *Child) { c.Signals = nil }, Rules{Bootstrap: true}, Refused, "outside"},
		{"not securely", func(c *Child) { c.Signals[0].Secure = false }, Rules{Bootstrap: true}, Refused, "not secure"},
		{"not by all", func(c *Child) { c.Signals = append(c.Signals, Signal{Host: host, Secure: true}) }, Rules{Bootstrap: true}, Refused, "something else"},
		{"one that cannot be asked", func(c *Child) { c.Signals[0].Err = errors.New("timeout") }, Rules{Bootstrap: true}, Refused, "timeout"},
		{"of keys that do not sign", func(c *Child) { c.Answers[0].Key = f.signed(rdata.TypeDNSKEY, noon, [][]byte{f.old.RDATA()}, f.old) }, Rules{Bootstrap: true}, Refused, "no chain"},
		{"without signatures", func(c *Child) { c.Answers[0].CDNSKEY.Sigs = nil }, Rules{Bootstrap: true}, Refused, "CDNSKEY"},
		{"again", func(c *Child) { c.Since = rdata.Serial(noon.Unix()) }, Rules{Bootstrap: true}, Refused, "said before"},
	} {
		a := f.rolling()
		c := Child{Name: name, Answers: []Answer{a}, Signals: []Signal{{Host: host, Secure: true, CDS: a.CDS.Data, CDNSKEY: a.CDNSKEY.Data}}}
		tt.change(&c)
		if got := Decide(c, tt.rules, noon); got.Outcome != tt.want || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", tt.what, got.Outcome, got.Why, tt.want, tt.why)
		}
	}
}
