package sign

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// signersOf returns the tags of the keys that signed an RRset of the apex, and of those in
// the DNSKEY RRset.
func signersOf(t *testing.T, z *zone.Zone, n string, rt rdata.Type) (tags []uint16) {
	t.Helper()
	set, ok := z.RRset(z.Lookup(dnsname.MustParse(n)).Exact, rt)
	if !ok {
		return nil
	}
	signatures, ok := set.Signatures()
	if !ok {
		return nil
	}
	for _, data := range dataOf(&signatures) {
		sig, _ := dnssec.ParseSignature(data)
		tags = append(tags, sig.Tag)
	}
	slices.Sort(tags)
	return tags
}

func tagsOf(keys ...*Key) (tags []uint16) {
	for _, k := range keys {
		tags = append(tags, k.Tag())
	}
	slices.Sort(tags)
	return tags
}

func published(z *zone.Zone) (tags []uint16) {
	set, _ := z.RRset(z.Apex(), rdata.TypeDNSKEY)
	for _, data := range dataOf(&set) {
		tags = append(tags, dnssec.KeyTag(data))
	}
	slices.Sort(tags)
	return tags
}

// TestUses: who signs what, who is published, what the parent is told.
func TestUses(t *testing.T) {
	now := moment()
	ksk, zsk, next := mustGenerate(t, KSK, dnssec.ECDSAP256), mustGenerate(t, ZSK, dnssec.ECDSAP256), mustGenerate(t, ZSK, dnssec.ECDSAP256)
	early := mustGenerate(t, KSK, dnssec.Ed25519)
	foreign, _ := NewPublicKey(mustGenerate(t, ZSK, dnssec.ECDSAP256).RDATA())
	z := whole(t, mustBuild(t, manyThings), nil, Params{Digests: []uint8{2, 4}, Keys: []Use{
		{Key: ksk, Publish: true, SignKeys: true, Parent: true},
		{Key: zsk, Publish: true, SignZone: true},
		{Key: next, Publish: true},                     // RFC 6781 §4.1.1.1: pre-published
		{Key: early, SignZone: true},                   // RFC 6781 §4.1.4: signatures before the key
		{Key: foreign, Publish: true, SignKeys: false}, // RFC 8901: another provider's
	}}, now)
	if got, want := published(z), tagsOf(ksk, zsk, next, foreign); !slices.Equal(got, want) {
		t.Errorf("published %v, want %v", got, want)
	}
	for _, rt := range []rdata.Type{rdata.TypeDNSKEY, rdata.TypeCDS, rdata.TypeCDNSKEY} {
		if got, want := signersOf(t, z, "example.org.", rt), tagsOf(ksk); !slices.Equal(got, want) {
			t.Errorf("%s is signed by %v, want %v (RFC 7344 §4.1)", rt, got, want)
		}
	}
	for _, rt := range []rdata.Type{rdata.TypeSOA, rdata.TypeNS, rdata.TypeNSEC} {
		if got, want := signersOf(t, z, "example.org.", rt), tagsOf(zsk, early); !slices.Equal(got, want) {
			t.Errorf("%s is signed by %v, want %v", rt, got, want)
		}
	}
	cds, _ := z.RRset(z.Apex(), rdata.TypeCDS)
	for _, data := range dataOf(&cds) {
		if want, _ := ksk.DS(example, data[3]); !slices.Equal(data, want) {
			t.Errorf("CDS %x, want %x", data, want)
		}
	}
	if cds.Count != 2 {
		t.Errorf("%d CDS records, want one for each digest", cds.Count)
	}
	if got, _ := z.RRset(z.Apex(), rdata.TypeCDNSKEY); got.Count != 1 || !slices.Equal(dataOf(&got)[0], ksk.RDATA()) {
		t.Errorf("CDNSKEY %v", got)
	}
}

// TestRemoveDS: RFC 8078 §4.
func TestRemoveDS(t *testing.T) {
	keys := keysFor(t, dnssec.ECDSAP256, true)
	keys[0].Parent = true
	z := whole(t, mustBuild(t, manyThings), nil, Params{Keys: keys, RemoveDS: true}, moment())
	cds, _ := z.RRset(z.Apex(), rdata.TypeCDS)
	cdnskey, _ := z.RRset(z.Apex(), rdata.TypeCDNSKEY)
	if string(dataOf(&cds)[0]) != "\x00\x00\x00\x00\x00" || string(dataOf(&cdnskey)[0]) != "\x00\x00\x03\x00\x00" || cds.Count != 1 || cdnskey.Count != 1 {
		t.Errorf("%x %x", dataOf(&cds), dataOf(&cdnskey))
	}
	checkWithTools(t, z)
}

// TestForeignKeysInZone: RFC 8901: DNSKEY, CDS and CDNSKEY records that the zone has are
// kept, and signed.
func TestForeignKeysInZone(t *testing.T) {
	foreign := mustGenerate(t, ZSK, dnssec.ECDSAP256)
	line := "@ 60 IN DNSKEY " + string(rdata.AppendText(nil, rdata.TypeDNSKEY, foreign.RDATA())) + "\n"
	keys := keysFor(t, dnssec.ECDSAP256, true)
	z := whole(t, mustBuild(t, manyThings+line), nil, Params{Keys: keys}, moment())
	if got, want := published(z), tagsOf(foreign, keys[0].Key); !slices.Equal(got, want) {
		t.Errorf("published %v, want %v", got, want)
	}
	if got := Verify(z, moment(), Limits{}); len(got) > 0 {
		t.Error(texts(got))
	}
}

// TestOfflineKSK: signatures of the keys come from where the KSK is, and are taken when they
// fit; without, it is said what is missing.
func TestOfflineKSK(t *testing.T) {
	now := moment()
	ksk, zsk := mustGenerate(t, KSK, dnssec.ECDSAP256), mustGenerate(t, ZSK, dnssec.ECDSAP256)
	offline := *ksk
	offline.Signer = nil
	uses := []Use{{Key: &offline, Publish: true, SignKeys: true}, {Key: zsk, Publish: true, SignZone: true}}
	set := rdata.RRset{Name: example, Type: rdata.TypeDNSKEY, Class: rdata.ClassIN, TTL: DefaultKeyTTL, Data: [][]byte{ksk.RDATA(), zsk.RDATA()}}
	signature, err := ksk.SignRRset(set, example, now.Add(-time.Hour), now.Add(30*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	z := whole(t, mustBuild(t, manyThings), nil, Params{Keys: uses, Signatures: [][]byte{signature}}, now)
	if got := Verify(z, now, Limits{}); len(got) > 0 {
		t.Error(texts(got))
	}
	plan, err := NewPlan(mustBuild(t, manyThings), nil, Params{Keys: uses}, now)
	if err != nil {
		t.Fatal(err)
	}
	plan.Work()
	if _, _, err := plan.Finish(); err == nil || !strings.Contains(err.Error(), "is not here; import it") {
		t.Errorf("without signatures: %v", err)
	}
}

// TestKeep: a ZSK on its way out signs nothing new, but what it has signed stays until it is
// due; without Keep everything is signed again.
func TestKeep(t *testing.T) {
	now := moment()
	ksk, old, fresh := mustGenerate(t, KSK, dnssec.ECDSAP256), mustGenerate(t, ZSK, dnssec.ECDSAP256), mustGenerate(t, ZSK, dnssec.ECDSAP256)
	z := mustBuild(t, manyThings)
	before := whole(t, z, nil, Params{Keys: []Use{{Key: ksk, Publish: true, SignKeys: true}, {Key: old, Publish: true, SignZone: true}, {Key: fresh, Publish: true}}}, now)
	rolled := []Use{{Key: ksk, Publish: true, SignKeys: true}, {Key: old, Publish: true, Keep: true}, {Key: fresh, Publish: true, SignZone: true}}
	serial := rdata.Serial(8)
	p := Params{Keys: rolled, Serial: &serial}
	change, err := Update(Revision{Old: before, New: z}, p, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	after, problems := change.Apply(before)
	if after == nil {
		t.Fatal(problems)
	}
	if got := signersOf(t, after, "example.org.", rdata.TypeSOA); !slices.Equal(got, tagsOf(fresh)) {
		t.Errorf("the new SOA record is signed by %v", got)
	}
	if got := signersOf(t, after, "www.example.org.", rdata.TypeA); !slices.Equal(got, tagsOf(old)) {
		t.Errorf("what has not changed is signed by %v", got)
	}
	rolled[1].Keep = false
	if _, err := Update(Revision{Old: before, New: z}, p, now.Add(time.Hour)); !errors.Is(err, ErrWhole) {
		t.Errorf("without Keep: %v", err)
	}
	plan, err := NewPlan(z, after, p, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	plan.Work()
	again, _, err := plan.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if got := signersOf(t, again, "www.example.org.", rdata.TypeA); !slices.Equal(got, tagsOf(fresh)) {
		t.Errorf("signed again by %v", got)
	}
	if made, kept := plan.Signatures(); kept == 0 || made == 0 { // SOA and DNSKEY stay
		t.Errorf("%d made, %d kept", made, kept)
	}
	if got := Verify(again, now.Add(time.Hour), Limits{}); len(got) > 0 {
		t.Error(texts(got))
	}
}

// TestReuse: signing again what has not changed signs nothing: not after a restart, nor with
// another serial but for the SOA record; and a key with the same tag is not taken for it.
func TestReuse(t *testing.T) {
	now := moment()
	z := mustBuild(t, manyThings)
	for way, nsec3 := range ways {
		p := Params{Keys: keysFor(t, dnssec.Ed25519, false), NSEC3: nsec3}
		signed := whole(t, z, nil, p, now)
		plan, err := NewPlan(z, signed, p, now.Add(24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		plan.Work()
		if made, kept := plan.Signatures(); made != 0 || kept == 0 {
			t.Errorf("%s: a day later %d made, %d kept", way, made, kept)
		}
		serial := rdata.Serial(9)
		p.Serial = &serial
		if plan, err = NewPlan(signed, signed, p, now.Add(24*time.Hour)); err != nil { // what is signed already
			t.Fatal(err)
		}
		plan.Work()
		if made, _ := plan.Signatures(); made != 1 {
			t.Errorf("%s: another serial: %d made", way, made)
		}
		due, next, err := Due(signed, p, now.Add(24*time.Hour), 0)
		if err != nil || len(due) > 0 || next.Before(now.Add(DefaultLifetime-DefaultJitter-DefaultRefresh-time.Minute)) || next.After(now.Add(DefaultLifetime-DefaultRefresh)) {
			t.Errorf("%s: due %v, next %v, %v", way, due, next, err)
		}
		if due, next, _ = Due(signed, p, now.Add(DefaultLifetime), 3); len(due) != 3 || next.After(now.Add(DefaultLifetime)) {
			t.Errorf("%s: at the end %d are due, next %v", way, len(due), next)
		}
	}
}

// TestJitter: signatures made at once come due over the whole jitter.
func TestJitter(t *testing.T) {
	s := &signing{p: &Params{Lifetime: DefaultLifetime, Jitter: DefaultJitter}, now: moment()}
	var days [5]int
	for i := range 5000 {
		n, _ := example.Child("n" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + string(rune('a'+i/50%26)))
		left := DefaultLifetime - s.lifetime(rdata.RRset{Name: n, Type: rdata.Type(i % 7)})
		if left < 0 || left >= DefaultJitter {
			t.Fatalf("%v less", left)
		}
		days[left/(24*time.Hour)]++
	}
	for day, count := range days {
		if count < 600 {
			t.Errorf("day %d: %d of 5000", day, count)
		}
	}
}

// TestBadParams: what cannot work is said before anything is signed.
func TestBadParams(t *testing.T) {
	k := mustGenerate(t, KSK, dnssec.ECDSAP256)
	public := *k
	public.Signer = nil
	for _, test := range []struct {
		p    Params
		want string
	}{
		{Params{}, "no key signs"},
		{Params{Keys: []Use{{Key: k, Publish: true, SignKeys: true}}}, "no key signs"},
		{Params{Keys: Roles(&public)}, "import it"},
		{Params{Keys: Roles(k), Lifetime: time.Hour}, "make the lifetime longer"},
		{Params{Keys: Roles(k), Digests: []uint8{9}}, ""},
		{Params{Keys: []Use{{Key: k, Publish: true, SignKeys: true, SignZone: true, Parent: true}}, Digests: []uint8{9}}, "digest type 9"},
		{Params{Keys: Roles(k), ZONEMD: []uint8{9}}, "hash algorithm 9"},
	} {
		_, err := NewPlan(mustBuild(t, manyThings), nil, test.p, moment())
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v, want %q", test.p, err, test.want)
		}
	}
	plan, err := NewPlan(mustBuild(t, manyThings), nil, Params{Keys: Roles(k)}, moment())
	if err != nil {
		t.Fatal(err)
	}
	plan.Stop()
	plan.Work()
	if _, _, err := plan.Finish(); err == nil || !strings.Contains(err.Error(), "was stopped") {
		t.Errorf("stopped: %v", err)
	}
}
