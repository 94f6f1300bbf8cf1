package dnssec

import (
	"bytes"
	"crypto"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func plenty() *Budget { return &Budget{Signatures: 1 << 30, Hashes: 1 << 30} }

func verifier() *Verifier { return &Verifier{Now: testNow, Budget: plenty()} }

// signer is a key of miekg/dns, the oracle of this package's tests.
type signer struct {
	key  *dns.DNSKEY
	priv crypto.Signer
}

func newSigner(t testing.TB, zone string, algorithm uint8) signer {
	t.Helper()
	bits := map[uint8]int{RSASHA1: 1024, RSASHA1NSEC3: 1024, RSASHA256: 1024, RSASHA512: 1024, ECDSAP256: 256, ECDSAP384: 384, Ed25519: 256}[algorithm]
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: 1, Ttl: 3600}, Flags: 257, Protocol: 3, Algorithm: algorithm}
	priv, err := k.Generate(bits)
	if err != nil {
		t.Fatal(err)
	}
	return signer{k, priv.(crypto.Signer)}
}

func (s signer) sign(t testing.TB, set []dns.RR, change func(*dns.RRSIG)) *dns.RRSIG {
	t.Helper()
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Ttl: 3600}, KeyTag: s.key.KeyTag(), SignerName: s.key.Hdr.Name, Algorithm: s.key.Algorithm,
		Inception: uint32(testNow.Add(-time.Hour).Unix()), Expiration: uint32(testNow.Add(time.Hour).Unix()),
	}
	if change != nil {
		change(sig)
	}
	if err := sig.Sign(s.priv, set); err != nil {
		t.Fatal(err)
	}
	return sig
}

// record converts through wire form.
func record(t testing.TB, rr dns.RR) rdata.Record {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	name, at, err := dnsname.FromWire(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	return rdata.Record{Name: name, Type: rdata.Type(rr.Header().Rrtype), Class: rdata.ClassIN, TTL: rdata.TTL(rr.Header().Ttl), Data: buf[at+10 : n]}
}

func rrset(t testing.TB, rrs ...dns.RR) rdata.RRset {
	t.Helper()
	var set rdata.RRset
	for _, rr := range rrs {
		r := record(t, rr)
		set.Name, set.Type, set.Class, set.TTL = r.Name, r.Type, r.Class, r.TTL
		set.Data = append(set.Data, r.Data)
	}
	return set
}

func parse(t testing.TB, lines ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, rr)
	}
	return out
}

func (s signer) keys(t testing.TB) []Key {
	t.Helper()
	k, ok := ParseKey(record(t, s.key).Data)
	if !ok {
		t.Fatal("ParseKey refuses a key of the oracle")
	}
	return []Key{k}
}

// sets have every type whose RDATA has names, and some without, with letters in
// both cases and records out of order.
var sets = [][]string{
	{"WWW.Example.com. 300 A 192.0.2.9", "www.example.com. 300 A 192.0.2.1"},
	{"Example.com. 300 NS NS2.Example.com.", "example.com. 300 NS ns1.EXAMPLE.com."},
	{"example.com. 300 SOA NS.Example.com. Host.EXAMPLE.com. 1 2 3 4 5"},
	{"example.com. 300 MX 20 Mail.example.com.", "example.com. 300 MX 10 MAIL.example.com."},
	{"a.example.com. 300 CNAME B.Example.ORG."},
	{"a.example.com. 300 DNAME B.Example.ORG."},
	{"p.example.com. 300 PTR B.Example.ORG."},
	{"_s._tcp.example.com. 300 SRV 1 2 3 Target.EXAMPLE.com."},
	{"n.example.com. 300 NAPTR 1 2 \"U\" \"E2U+sip\" \"!^.*$!sip:X@Y!\" Repl.EXAMPLE.com."},
	{"r.example.com. 300 RP Mail.Example.com. Txt.EXAMPLE.com."},
	{"k.example.com. 300 KX 1 Kx.EXAMPLE.com."},
	{"x.example.com. 300 PX 1 Kx.EXAMPLE.com. Map.example.COM."},
	{"t.example.com. 300 TXT \"B\" \"a\"", "t.example.com. 300 TXT \"a\""},
	{"n.example.com. 300 NSEC Z.Example.com. A RRSIG NSEC"},
	{"h.example.com. 300 HTTPS 1 Svc.EXAMPLE.com. alpn=h2"},
	{"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.com. 300 NSEC3 1 1 5 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr NS SOA MX RRSIG DNSKEY NSEC3PARAM"},
	{"*.w.example.com. 300 A 192.0.2.1"},
}

// TestVerifyAgainstOracle: what miekg/dns signs with every algorithm verifies, and
// with any octet of signature, key or RDATA changed it does not.
func TestVerifyAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, algorithm := range []uint8{RSASHA1, RSASHA1NSEC3, RSASHA256, RSASHA512, ECDSAP256, ECDSAP384, Ed25519} {
		s := newSigner(t, "example.com.", algorithm)
		v := verifier()
		v.Policy.SHA1 = true
		for _, lines := range sets {
			rrs := parse(t, lines...)
			sig := record(t, s.sign(t, rrs, nil)).Data
			set, keys := rrset(t, rrs...), s.keys(t)
			verify := func() *Fault { return v.Verify(set, [][]byte{sig}, keys, keys0(s)).Fault }
			if f := verify(); f != nil {
				t.Errorf("algorithm %d, %s: %s", algorithm, lines[0], f.Text)
				continue
			}
			r.Shuffle(len(set.Data), func(i, j int) { set.Data[i], set.Data[j] = set.Data[j], set.Data[i] })
			if f := verify(); f != nil {
				t.Errorf("algorithm %d, %s in another order: %s", algorithm, lines[0], f.Text)
			}
			for _, octets := range [][]byte{sig, keys[0].PublicKey, set.Data[0]} {
				at, bit := r.IntN(len(octets)), byte(1)<<r.IntN(8)
				octets[at] ^= bit
				if f := verify(); f == nil && bit != 0x20 { // a letter of a name may change case
					t.Errorf("algorithm %d, %s: verifies with octet %d changed", algorithm, lines[0], at)
				}
				octets[at] ^= bit
			}
		}
	}
}

func keys0(s signer) dnsname.Name { return dnsname.MustParse(s.key.Hdr.Name) }

// TestWildcard: RFC 4035 §5.3.2: an RRset made from a wildcard verifies, and says so.
func TestWildcard(t *testing.T) {
	s := newSigner(t, "example.com.", Ed25519)
	rrs := parse(t, "*.w.example.com. 300 A 192.0.2.1")
	sig := record(t, s.sign(t, rrs, nil)).Data
	set := rrset(t, rrs...)
	for _, name := range []string{"a.w.example.com.", "a.b.w.example.com."} {
		set.Name = dnsname.MustParse(name)
		got := verifier().Verify(set, [][]byte{sig}, s.keys(t), keys0(s))
		if got.Fault != nil || got.Encloser != dnsname.MustParse("w.example.com.") {
			t.Errorf("%s: %+v", name, got)
		}
		if !IsExpanded(set.Name, sig) {
			t.Errorf("%s: not seen to be expanded", name)
		}
	}
	set.Name = dnsname.MustParse("a.example.com.")
	if got := verifier().Verify(set, [][]byte{sig}, s.keys(t), keys0(s)); got.Fault == nil {
		t.Error("verifies above the wildcard")
	}
}

// TestLabelReplay: a label count that points above the zone, or of a type that no
// wildcard has, is refused before any arithmetic (CVE-2026-44690).
func TestLabelReplay(t *testing.T) {
	s := newSigner(t, "example.com.", Ed25519)
	for _, test := range []struct {
		line   string
		labels uint8
	}{
		{"www.example.com. 300 A 192.0.2.1", 1}, {"www.example.com. 300 A 192.0.2.1", 4},
		{"www.example.com. 300 NSEC z.example.com. A", 2}, {"www.example.com. 300 DS 1 8 2 00", 2},
	} {
		set := rrset(t, parse(t, test.line)...)
		sig := record(t, s.sign(t, parse(t, test.line), nil)).Data
		sig[3] = test.labels
		v := &Verifier{Now: testNow, Budget: &Budget{}}
		got := v.Verify(set, [][]byte{sig}, s.keys(t), keys0(s))
		if got.Fault == nil || v.Budget.Exceeded {
			t.Errorf("%s with %d labels: %+v", test.line, test.labels, got)
		}
	}
}

// TestFaults: each kind of fault has its extended error (RFC 8914 §4).
func TestFaults(t *testing.T) {
	s := newSigner(t, "example.com.", ECDSAP256)
	other := newSigner(t, "example.com.", ECDSAP256)
	rrs := parse(t, "www.example.com. 300 A 192.0.2.1")
	at := func(d time.Duration) uint32 { return uint32(testNow.Add(d).Unix()) }
	for _, test := range []struct {
		name   string
		by     signer
		change func(*dns.RRSIG)
		want   dnswire.EDE
	}{
		{"expired", s, func(r *dns.RRSIG) { r.Inception, r.Expiration = at(-9*time.Hour), at(-time.Second) }, dnswire.EDESignatureExpired},
		{"future", s, func(r *dns.RRSIG) { r.Inception = at(time.Second) }, dnswire.EDESignatureNotYetValid},
		{"other key", other, nil, dnswire.EDEDNSKEYMissing},
		{"other zone", s, func(r *dns.RRSIG) { r.SignerName = "com." }, dnswire.EDERRSIGsMissing},
	} {
		sig := record(t, test.by.sign(t, rrs, test.change)).Data
		got := verifier().Verify(rrset(t, rrs...), [][]byte{sig}, s.keys(t), keys0(s))
		if got.Fault == nil || got.Fault.Code != test.want {
			t.Errorf("%s: %+v, want %v", test.name, got.Fault, test.want)
		}
	}
	if got := verifier().Verify(rrset(t, rrs...), nil, s.keys(t), keys0(s)); got.Fault == nil || got.Fault.Code != dnswire.EDERRSIGsMissing {
		t.Errorf("unsigned: %+v", got.Fault)
	}
}

// TestLifetime: RFC 4035 §5.3.3: the least of TTL, original TTL and time left.
func TestLifetime(t *testing.T) {
	s := newSigner(t, "example.com.", Ed25519)
	for _, test := range []struct {
		ttl, original uint32
		left          time.Duration
		want          rdata.TTL
	}{{300, 600, time.Hour, 300}, {900, 600, time.Hour, 600}, {300, 300, time.Minute, 60}} {
		rrs := parse(t, "www.example.com. A 192.0.2.1")
		rrs[0].Header().Ttl = test.original
		sig := record(t, s.sign(t, rrs, func(r *dns.RRSIG) { r.Expiration = uint32(testNow.Add(test.left).Unix()) })).Data
		set := rrset(t, rrs...)
		set.TTL = rdata.TTL(test.ttl)
		if got := verifier().Verify(set, [][]byte{sig}, s.keys(t), keys0(s)); got.Fault != nil || got.TTL != test.want || !got.Expires.Equal(testNow.Add(test.left)) {
			t.Errorf("%+v: got %+v", test, got)
		}
	}
}

// TestKeyTrap (CVE-2023-50387): many keys with one tag and many signatures cost no
// more than the limits allow.
func TestKeyTrap(t *testing.T) {
	s := newSigner(t, "example.com.", ECDSAP256)
	rrs := parse(t, "www.example.com. 300 A 192.0.2.1")
	var keys []Key
	var sigs [][]byte
	for i := range 60 {
		k := s.keys(t)[0]
		k.PublicKey = bytes.Clone(k.PublicKey)
		k.PublicKey[3] ^= byte(i + 1)
		keys = append(keys, k) // all with the tag of s
		sig := record(t, s.sign(t, rrs, nil)).Data
		sig[len(sig)-1-i] ^= 1
		sigs = append(sigs, sig)
	}
	v := &Verifier{Now: testNow, Budget: &Budget{Signatures: 1000}}
	if got := v.Verify(rrset(t, rrs...), sigs, keys, keys0(s)); got.Fault == nil || got.Fault.Code != dnswire.EDEDNSSECBogus {
		t.Fatalf("got %+v", got)
	}
	if spent, want := 1000-v.Budget.Signatures, MaxSignatures*MaxCollisions; spent > want {
		t.Errorf("%d signature checks, want at most %d", spent, want)
	}
	v.Budget = &Budget{Signatures: 3}
	if got := v.Verify(rrset(t, rrs...), sigs, keys, keys0(s)); got.Fault == nil || !v.Budget.Exceeded || v.Budget.Signatures != 0 {
		t.Errorf("with 3 checks: %+v, %+v", got, v.Budget)
	}
}

// TestMatch: the keys that a DS record names, by every digest type.
func TestMatch(t *testing.T) {
	s := newSigner(t, "example.com.", RSASHA256)
	set := rrset(t, s.key)
	sigs := [][]byte{record(t, s.sign(t, []dns.RR{s.key}, nil)).Data}
	for _, digest := range []uint8{DigestSHA1, DigestSHA256, DigestSHA384} {
		ds, why := Policy{}.Usable([][]byte{record(t, s.key.ToDS(digest)).Data})
		if len(ds) != 1 || why != nil {
			t.Fatalf("digest %d: %v %v", digest, ds, why)
		}
		keys, verdict := verifier().Match(set, sigs, ds)
		if verdict.Fault != nil || len(keys) != 1 || keys[0].Tag != s.key.KeyTag() {
			t.Errorf("digest %d: %v %+v", digest, keys, verdict)
		}
		ds[0].Digest[0] ^= 1
		if _, verdict := verifier().Match(set, sigs, ds); verdict.Fault == nil || verdict.Fault.Code != dnswire.EDEDNSKEYMissing {
			t.Errorf("digest %d, wrong: %+v", digest, verdict)
		}
	}
	both := [][]byte{record(t, s.key.ToDS(DigestSHA1)).Data, record(t, s.key.ToDS(DigestSHA256)).Data}
	if ds, _ := (Policy{}).Usable(both); len(ds) != 1 || ds[0].DigestType != DigestSHA256 {
		t.Errorf("RFC 4509 §3: SHA-1 is used beside SHA-256: %v", ds)
	}
	for algorithm, want := range map[uint8]dnswire.EDE{3: 1, RSASHA1: 1, RSASHA1NSEC3: 1, 17: 1, 253: 1} {
		if ds, why := (Policy{}).Usable([][]byte{{0, 1, algorithm, 2, 9}}); len(ds) != 0 || why == nil || why.Code != want {
			t.Errorf("algorithm %d: %v, %+v", algorithm, ds, why)
		}
	}
	if ds, why := (Policy{}).Usable([][]byte{{0, 1, 8, 3, 9}}); len(ds) != 0 || why == nil || why.Code != dnswire.EDEUnsupportedDSDigest {
		t.Errorf("GOST digest: %v, %+v", ds, why)
	}
}

// TestKeyFlags: RFC 4034 §2.1.1, §2.1.2, RFC 5011 §2.1: only zone keys that are not
// revoked sign.
func TestKeyFlags(t *testing.T) {
	for _, test := range []struct {
		flags    uint16
		protocol uint8
		want     dnswire.EDE
	}{{1, 3, dnswire.EDENoZoneKeyBitSet}, {257 | flagRevoke, 3, dnswire.EDENoZoneKeyBitSet}, {257, 2, dnswire.EDENoZoneKeyBitSet}} {
		s := newSigner(t, "example.com.", Ed25519)
		s.key.Flags, s.key.Protocol = test.flags, test.protocol
		ds, _ := Policy{}.Usable([][]byte{record(t, s.key.ToDS(DigestSHA256)).Data})
		sig := record(t, s.sign(t, []dns.RR{s.key}, nil)).Data
		if _, verdict := verifier().Match(rrset(t, s.key), [][]byte{sig}, ds); verdict.Fault == nil || verdict.Fault.Code != test.want {
			t.Errorf("%+v: %+v", test, verdict.Fault)
		}
	}
}

func TestKeyTagAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		data := make([]byte, 4+r.IntN(300))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		data[3] = 8
		rr, _, err := dns.UnpackRRWithHeader(dns.RR_Header{Name: ".", Rrtype: dns.TypeDNSKEY, Class: 1, Rdlength: uint16(len(data))}, data, 0)
		if err != nil {
			continue
		}
		if got, want := KeyTag(data), rr.(*dns.DNSKEY).KeyTag(); got != want {
			t.Fatalf("%x: tag %d, want %d", data, got, want)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []uint8{RSASHA256, ECDSAP256, Ed25519} {
		s := newSigner(b, "example.com.", algorithm)
		rrs := parse(b, sets[0]...)
		sig, set, keys := [][]byte{record(b, s.sign(b, rrs, nil)).Data}, rrset(b, rrs...), s.keys(b)
		b.Run(dns.AlgorithmToString[algorithm], func(b *testing.B) {
			v := verifier()
			for b.Loop() {
				if v.Verify(set, sig, keys, keys0(s)).Fault != nil {
					b.Fatal("does not verify")
				}
			}
		})
	}
}

// TestPKCS1AgainstOracle: the own check of PKCS #1 agrees with the standard library's.
func TestPKCS1AgainstOracle(t *testing.T) {
	for algorithm, h := range map[uint8]crypto.Hash{RSASHA1: crypto.SHA1, RSASHA256: crypto.SHA256, RSASHA512: crypto.SHA512} {
		key := newSigner(t, "example.", algorithm)
		n, e := parseRSA(key.keys(t)[0].PublicKey)
		sum := digest(h, []byte("signed"))
		sig, err := key.priv.Sign(nil, sum, h)
		if err != nil {
			t.Fatal(err)
		}
		if !checkPKCS1(h, n, e, sum, sig) {
			t.Errorf("algorithm %d: refused", algorithm)
		}
		for i := range sig {
			sig[i] ^= 1
			if checkPKCS1(h, n, e, sum, sig) {
				t.Errorf("algorithm %d: octet %d does not matter", algorithm, i)
			}
			sig[i] ^= 1
		}
		sum[0] ^= 1
		if checkPKCS1(h, n, e, sum, sig) || checkPKCS1(h, n, e, sum, sig[1:]) {
			t.Errorf("algorithm %d: another digest or length does not matter", algorithm)
		}
	}
}
