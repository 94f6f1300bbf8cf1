package skr

import (
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

var (
	zone   = dnsname.MustParse("example.com.")
	moment = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

const day = 24 * time.Hour

func generate(t testing.TB, flags uint16) *sign.Key {
	t.Helper()
	k, err := sign.Generate(flags, 15, 0)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// request asks for 100 days: a ZSK that is followed by another.
func request(ksk, first, second *sign.Key) *Request {
	return &Request{
		Zone: zone, Made: moment, TTL: 3600, Row: Row{From: moment, Until: moment.Add(100 * day), Life: 14 * day, Every: 5 * day},
		Keys: [][]byte{ksk.RDATA(), first.RDATA(), second.RDATA()},
		Sets: []Set{
			{rdata.TypeDNSKEY, []int{0, 1}}, {rdata.TypeDNSKEY, []int{0, 1, 2}}, {rdata.TypeDNSKEY, []int{0, 2}},
			{rdata.TypeCDS, []int{0}}, {rdata.TypeCDNSKEY, []int{0}}, {rdata.TypeCDS, nil}, {rdata.TypeCDNSKEY, nil},
		},
	}
}

// TestCeremony: what is asked for is signed, travels as files, and gives a good signature
// at any moment of the time, whichever RRset is there then.
func TestCeremony(t *testing.T) {
	ksk, first, second := generate(t, sign.KSK), generate(t, sign.ZSK), generate(t, sign.ZSK)
	want := request(ksk, first, second)
	file, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRequest(file)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := r.Encode(); string(again) != string(file) {
		t.Errorf("read and written\n%s\nwant\n%s", again, file)
	}
	response, err := Sign(r, Fingerprint(file), []*sign.Key{ksk})
	if err != nil {
		t.Fatal(err)
	}
	text, err := response.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseResponse(text)
	if err != nil || got.Request != Fingerprint(file) {
		t.Fatalf("%v, of request %s", err, got.Request)
	}
	if err := got.Check(r.Keys); err != nil {
		t.Fatal(err)
	}
	b := Book{Zone: zone}
	b.Add(got, moment)
	id := Key{ksk.Tag(), ksk.Algorithm}
	for _, s := range r.Sets {
		set := r.RRset(s)
		for at := moment; at.Before(moment.Add(100 * day)); at = at.Add(7 * time.Hour) {
			if !b.Covers(set, []Key{id}, at) {
				t.Fatalf("%s %v has no signature at %s", s.Type, s.Keys, at)
			}
			if good, next := b.Now(set, at); len(good) != 1 || !next.IsZero() && !next.After(at) {
				t.Fatalf("%s: %d signatures at %s, the next at %s", s.Type, len(good), at, next)
			}
		}
		if b.Covers(set, []Key{id}, moment.Add(120*day)) || b.Covers(set, []Key{{1, 15}}, moment) {
			t.Errorf("%s is covered when or by whom it is not", s.Type)
		}
		if got, want := b.Until(set, id, moment), moment.Add(95*day+14*day); !got.Equal(want) {
			t.Errorf("good until %s, want %s", got, want)
		}
	}
	other := r.RRset(r.Sets[0])
	other.TTL = 60
	if b.Covers(other, []Key{id}, moment) {
		t.Error("another TTL is covered")
	}
	sets := len(b.Sets)
	b.Add(got, moment.Add(50*day))
	if len(b.Sets) != sets || len(b.Sets[0].Signatures) > 12 {
		t.Errorf("taken in again: %d sets, %d signatures of the first", len(b.Sets), len(b.Sets[0].Signatures))
	}
	b.Add(&Response{Zone: zone}, moment.Add(200*day))
	if len(b.Sets) != 0 {
		t.Error("what has ended is kept")
	}
}

// TestForged: a response that was changed anywhere, or that another key has signed, is
// refused.
func TestForged(t *testing.T) {
	ksk, first, second, other := generate(t, sign.KSK), generate(t, sign.ZSK), generate(t, sign.ZSK), generate(t, sign.KSK)
	r := request(ksk, first, second)
	if _, err := Sign(r, "", []*sign.Key{other}); err == nil || !strings.Contains(err.Error(), "stands in none") {
		t.Errorf("with a key that is not asked: %v", err)
	}
	if _, err := Sign(r, "", nil); err == nil {
		t.Error("signed by nobody")
	}
	good, err := Sign(r, "", []*sign.Key{ksk})
	if err != nil {
		t.Fatal(err)
	}
	if err := good.Check([][]byte{other.RDATA(), first.RDATA()}); err == nil {
		t.Error("a key that is not of the zone is believed")
	}
	good.Sets[1].Data[0] = other.RDATA() // somebody slips a key in
	if err := good.Check(r.Keys); err == nil {
		t.Error("a changed RRset is believed")
	}
	if err := (&Response{Zone: zone}).Check(r.Keys); err == nil {
		t.Error("an empty response is taken")
	}
}

// TestBadRequests: what cannot be signed, or would leave gaps, is refused where it is
// made and where it is read.
func TestBadRequests(t *testing.T) {
	ksk, first, second := generate(t, sign.KSK), generate(t, sign.ZSK), generate(t, sign.ZSK)
	for name, spoil := range map[string]func(*Request){
		"gaps":           func(r *Request) { r.Row.Life = r.Row.Every },
		"no time":        func(r *Request) { r.Row.Until = r.Row.From },
		"too many":       func(r *Request) { r.Row.Every, r.Row.Life = time.Second, time.Minute },
		"no sets":        func(r *Request) { r.Sets = nil },
		"unknown key":    func(r *Request) { r.Sets[0].Keys = []int{7} },
		"negative key":   func(r *Request) { r.Sets[0].Keys = []int{-1} },
		"no keys":        func(r *Request) { r.Sets[0].Keys = nil },
		"data":           func(r *Request) { r.Sets[0].Type = rdata.TypeA },
		"not a key":      func(r *Request) { r.Keys[0] = []byte{1} },
		"goes backwards": func(r *Request) { r.Row.Every = -time.Second },
	} {
		r := request(ksk, first, second)
		spoil(r)
		if _, err := r.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	file, err := request(generate(f, sign.KSK), generate(f, sign.ZSK), generate(f, sign.ZSK)).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := ParseRequest(file)
		if err != nil {
			return
		}
		if _, err := r.Encode(); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
		for _, s := range r.Sets {
			r.RRset(s)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	r := request(generate(f, sign.KSK), generate(f, sign.ZSK), generate(f, sign.ZSK))
	k := generate(f, sign.KSK)
	r.Keys[0], r.Row.Until = k.RDATA(), r.Row.From.Add(6*day)
	signed, err := Sign(r, "x", []*sign.Key{k})
	if err != nil {
		f.Fatal(err)
	}
	file, err := signed.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	bundles, err := r.EncodeAs(Knot)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(vault(f, string(bundles), k, Knot, r.TTL, 0)))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := ParseResponse(file)
		if err != nil {
			return
		}
		_ = r.Check([][]byte{k.RDATA()})
		b := Book{Zone: r.Zone}
		b.Add(r, moment)
		for _, s := range b.Sets {
			b.Now(s.RRset, moment)
			b.Until(s.RRset, Key{1, 13}, moment)
		}
	})
}
