package anchor

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

const day = 24 * time.Hour

var start = time.Date(2024, 7, 1, 0, 0, 0, 0, time.UTC)

func newKey(t *testing.T, flags uint16) *sign.Key {
	t.Helper()
	k, err := sign.Generate(flags, dnssec.Ed25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func dsOf(t *testing.T, k *sign.Key) rdata.Record {
	t.Helper()
	data, err := k.DS(dnsname.Root, dnssec.DigestSHA256)
	if err != nil {
		t.Fatal(err)
	}
	return rdata.Record{Name: dnsname.Root, Type: rdata.TypeDS, Class: rdata.ClassIN, Data: data}
}

// root is a root zone in the middle of a key rollover: its clock, the keys that it
// shows, and those that sign them.
type root struct {
	t       *testing.T
	now     time.Time
	p       *Point
	zsk     *sign.Key
	shown   []*sign.Key
	signers []*sign.Key
}

func newRoot(t *testing.T, anchors ...rdata.Record) *root {
	return &root{t: t, now: start, p: New(start, anchors, nil)[0], zsk: newKey(t, 256)}
}

// keys is the DNSKEY RRset of this day, as the root has it: TTL two days, signed for
// three weeks.
func (r *root) keys() (rdata.RRset, [][]byte) {
	r.t.Helper()
	set := rdata.RRset{Name: dnsname.Root, Type: rdata.TypeDNSKEY, Class: rdata.ClassIN, TTL: 172800, Data: [][]byte{r.zsk.RDATA()}}
	for _, k := range r.shown {
		set.Data = append(set.Data, k.RDATA())
	}
	var sigs [][]byte
	for _, k := range r.signers {
		sig, err := k.SignRRset(set, dnsname.Root, r.now.Add(-day), r.now.Add(20*day))
		if err != nil {
			r.t.Fatal(err)
		}
		sigs = append(sigs, sig)
	}
	return set, sigs
}

func (r *root) look() []Change {
	set, sigs := r.keys()
	return r.p.Observe(r.now, set, sigs, dnssec.Policy{})
}

// pass lets time go by, with every check that falls due.
func (r *root) pass(d time.Duration) {
	end := r.now.Add(d)
	for r.p.Next.Before(end) {
		if r.p.Next.After(r.now) {
			r.now = r.p.Next
		}
		r.look()
	}
	r.now = end
}

func (r *root) state(k *sign.Key) string {
	plain := *k
	plain.Flags &^= flagRevoke
	if known := r.p.key(plain.RDATA()); known != nil {
		return known.State.String()
	}
	return "unknown"
}

func (r *root) want(when string, k *sign.Key, state string) {
	r.t.Helper()
	if got := r.state(k); got != state {
		r.t.Errorf("%s: the key is %s, want %s", when, got, state)
	}
}

func (r *root) wantTrusted(when string, keys ...*sign.Key) {
	r.t.Helper()
	var want []string
	for _, k := range keys {
		want = append(want, string(k.RDATA()))
	}
	var got []string
	for _, a := range r.p.Anchors() {
		got = append(got, string(a.Data))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.t.Errorf("%s: %d anchors, want %d: %+v", when, len(got), len(want), r.p)
	}
}

func revoked(k *sign.Key) *sign.Key {
	c := *k
	c.Flags |= flagRevoke
	return &c
}

// TestRollover is the root's rollover as it was done in 2017 and is being done since
// 2024: a new key is shown, signs after it has been shown for long, and the old one is
// revoked later (RFC 5011 §6.3).
func TestRollover(t *testing.T) {
	old, next := newKey(t, 257), newKey(t, 257)
	r := newRoot(t, dsOf(t, old))
	r.shown, r.signers = []*sign.Key{old}, []*sign.Key{old}
	r.pass(10 * day)
	r.want("with the DS record seen", old, "valid")
	r.wantTrusted("at first", old)
	r.shown = append(r.shown, next)
	r.pass(3 * day)
	r.want("three days after it appeared", next, "add-pending")
	r.wantTrusted("while it is pending", old)
	r.pass(26 * day)
	r.want("29 days after it appeared", next, "add-pending")
	r.pass(3 * day)
	r.want("32 days after it appeared", next, "valid")
	r.wantTrusted("both", old, next)
	r.pass(60 * day)
	r.signers = []*sign.Key{next}
	r.pass(60 * day)
	r.want("the new one signs", old, "valid")
	r.shown, r.signers = []*sign.Key{revoked(old), next}, []*sign.Key{revoked(old), next}
	r.pass(3 * day)
	r.want("with the REVOKE bit", old, "revoked")
	r.wantTrusted("after the revocation", next)
	r.shown, r.signers = []*sign.Key{next}, []*sign.Key{next}
	r.pass(40 * day)
	r.want("40 days later", old, "removed")
	if r.p.Failures != 0 {
		t.Errorf("%d checks failed: %s", r.p.Failures, r.p.Problem)
	}
	// The DS record of the configuration does not bring the old key back, not even after a restart.
	kept, err := Decode(Encode(Kept{Points: []*Point{r.p}}))
	if err != nil {
		t.Fatal(err)
	}
	r.p = New(r.now, []rdata.Record{dsOf(t, old), dsOf(t, next)}, kept.Points)[0]
	r.wantTrusted("after a restart", next)
	r.shown, r.signers = []*sign.Key{old, next}, []*sign.Key{old}
	r.look()
	if r.p.Failures != 1 {
		t.Error("what the removed key signs is believed")
	}
}

// TestMissedChecks: a resolver that was off through parts of a rollover.
func TestMissedChecks(t *testing.T) {
	old, next := newKey(t, 257), newKey(t, 257)
	begin := func() *root {
		r := newRoot(t, dsOf(t, old))
		r.shown, r.signers = []*sign.Key{old}, []*sign.Key{old}
		r.look()
		r.shown = append(r.shown, next)
		return r
	}
	off := func(r *root, d time.Duration) { r.now = r.now.Add(d) }

	r := begin()
	r.pass(2 * day)
	off(r, 50*day)
	r.look()
	r.want("seen before and after a long pause", next, "valid")

	r = begin()
	off(r, 50*day)
	r.look()
	r.want("seen first after a long pause", next, "add-pending")
	r.pass(29 * day)
	r.want("not yet", next, "add-pending")
	r.pass(4 * day)
	r.want("then", next, "valid")

	r = begin()
	off(r, 200*day)
	r.signers = []*sign.Key{next}
	for range 10 {
		r.look()
		if wait := r.p.Next.Sub(r.now); wait < time.Hour || wait > day {
			t.Fatalf("the next try is %v away", wait)
		}
		r.now = r.p.Next
	}
	r.want("asleep through all of it", next, "unknown")
	r.wantTrusted("asleep through all of it", old)
	if r.p.Failures != 10 || r.p.Problem == "" {
		t.Errorf("%d failures, %q", r.p.Failures, r.p.Problem)
	}
	r.p = New(r.now, []rdata.Record{dsOf(t, old), dsOf(t, next)}, []*Point{r.p})[0] // a newer version of the program knows it
	r.look()
	r.want("with a configuration that knows it", next, "valid")

	r = begin()
	r.pass(10 * day)
	r.shown = r.shown[:1]
	r.pass(3 * day)
	r.want("withdrawn", next, "unknown")
	r.shown = append(r.shown, next)
	r.pass(29 * day)
	r.want("shown again, its time begins anew", next, "add-pending")
}

// TestClockJumps: no hold-down time is over sooner for a clock that jumps, nor never.
func TestClockJumps(t *testing.T) {
	old, next := newKey(t, 257), newKey(t, 257)
	r := newRoot(t, dsOf(t, old))
	r.shown, r.signers = []*sign.Key{old, next}, []*sign.Key{old}
	r.look()
	r.want("at first", next, "add-pending")
	set, sigs := r.keys()
	if changes := r.p.Observe(r.now.Add(40*day), set, sigs, dnssec.Policy{}); len(changes) > 0 || r.p.Failures != 1 {
		t.Errorf("40 days ahead, with the signatures of today: %v, %d failures", changes, r.p.Failures)
	}
	r.now = r.now.Add(time.Hour)
	r.look()
	r.want("and back", next, "add-pending")
	if r.p.Next.After(r.now.Add(queryMost)) {
		t.Errorf("the next check is at %v", r.p.Next)
	}
	r.now = r.now.Add(-365 * day)
	r.look()
	r.pass(29 * day)
	r.want("a year back, 29 days later", next, "add-pending")
	r.pass(4 * day)
	r.want("a year back, 33 days later", next, "valid")
}

// TestRefreshTimes is RFC 5011 §2.3.
func TestRefreshTimes(t *testing.T) {
	k := newKey(t, 257)
	r := newRoot(t, dsOf(t, k))
	r.shown, r.signers = []*sign.Key{k}, []*sign.Key{k}
	r.look()
	if got := r.p.Next.Sub(r.now); got != day { // half of the TTL of two days
		t.Errorf("the next check is %v away", got)
	}
	for i, want := range []time.Duration{time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, day, day} {
		r.p.Failed(r.now, "nobody answers")
		if got := r.p.Next.Sub(r.now); got != want {
			t.Errorf("after %d failures: %v, want %v", i+1, got, want)
		}
	}
}

// TestStrangers: what no trusted key has signed changes nothing.
func TestStrangers(t *testing.T) {
	old, next, rogue := newKey(t, 257), newKey(t, 257), newKey(t, 257)
	r := newRoot(t, dsOf(t, old), dsOf(t, next))
	r.shown, r.signers = []*sign.Key{old, next}, []*sign.Key{old}
	r.look()
	before := slices.Clone(r.p.Keys)
	for name, change := range map[string]func(){
		"a stranger's key, signed by itself": func() { r.shown, r.signers = []*sign.Key{old, rogue}, []*sign.Key{rogue} },
		"a revocation that the key has not signed": func() {
			r.shown, r.signers = []*sign.Key{revoked(old), next, rogue}, []*sign.Key{rogue}
		},
		"nothing signed": func() { r.shown, r.signers = []*sign.Key{rogue}, nil },
		"a key that is not for signing zones": func() {
			r.shown, r.signers = []*sign.Key{old, next, newKey(t, 1)}, []*sign.Key{old}
		},
	} {
		change()
		if changes := r.look(); len(changes) > 0 || len(r.p.Keys) != len(before) {
			t.Errorf("%s: %v", name, changes)
		}
	}
	// A revocation counts even where no other key vouches for the set.
	r.shown, r.signers = []*sign.Key{revoked(old)}, []*sign.Key{revoked(old)}
	r.look()
	r.want("revoked alone", old, "revoked")
	r.wantTrusted("revoked alone", next)
	// Many new keys fill no memory.
	r.shown, r.signers = []*sign.Key{next}, []*sign.Key{next}
	for range 50 {
		r.shown = append(r.shown, newKey(t, 257))
	}
	r.look()
	if len(r.p.Keys) > maxKeys {
		t.Errorf("%d keys are known", len(r.p.Keys))
	}
}

// TestMissing: a key that leaves without a word is trusted for a year (RFC 5011 §4.2).
func TestMissing(t *testing.T) {
	a, b := newKey(t, 257), newKey(t, 257)
	r := newRoot(t, dsOf(t, a), dsOf(t, b))
	r.shown, r.signers = []*sign.Key{a, b}, []*sign.Key{a}
	r.look()
	r.shown = r.shown[:1]
	r.pass(10 * day)
	r.want("gone", b, "missing")
	r.wantTrusted("gone", a, b)
	r.shown = append(r.shown, b)
	r.pass(2 * day)
	r.want("back", b, "valid")
	r.shown = r.shown[:1]
	r.pass(400 * day)
	r.want("gone for more than a year", b, "removed")
	r.wantTrusted("gone for more than a year", a)
}

// TestKept: states outlive a restart; what is damaged is found out.
func TestKept(t *testing.T) {
	a, b := newKey(t, 257), newKey(t, 257)
	r := newRoot(t, dsOf(t, a))
	r.shown, r.signers = []*sign.Key{a, b}, []*sign.Key{a}
	r.look()
	name := dnsname.MustParse("broken.example.")
	text := Encode(Kept{Points: []*Point{r.p}, Negative: []Negative{{Name: name, Since: start, Until: start.Add(day), Reason: "a \"test\""}}})
	kept, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if again := Encode(kept); !bytes.Equal(again, text) {
		t.Errorf("%s\n\nand again:\n%s", text, again)
	}
	if len(kept.Points) != 1 || len(kept.Points[0].Keys) != 2 || kept.Points[0].Keys[1].Hold != addHold || len(kept.Negative) != 1 {
		t.Errorf("%+v", kept)
	}
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 4
		if _, err := Decode(bad); err == nil {
			t.Fatalf("octet %d changed, and nobody noticed", i)
		}
	}
	for _, cut := range []int{0, 1, 20, len(text) / 2, len(text) - 1} {
		if _, err := Decode(text[:cut]); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("cut to %d octets: %v", cut, err)
		}
	}
}
