package gate

import (
	"crypto"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/zonemd"
)

// signer signs RRsets with miekg/dns, which is not what verifies them.
type signer struct {
	key     *dns.DNSKEY
	private crypto.Signer
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "example.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key, private.(crypto.Signer)}
}

// sign returns the RRSIG record of an RRset, valid from until until.
func (s *signer) sign(t *testing.T, from, until time.Time, lines ...string) string {
	t.Helper()
	var set []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, rr)
	}
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Ttl: 300},
		Algorithm: s.key.Algorithm, KeyTag: s.key.KeyTag(), SignerName: "example.",
		Inception: uint32(from.Unix()), Expiration: uint32(until.Unix()),
	}
	if err := sig.Sign(s.private, set); err != nil {
		t.Fatal(err)
	}
	return sig.String() + "\n"
}

// signed returns a signed zone's text; change may put other text in a place.
func signed(t *testing.T, s *signer, from, until time.Time) string {
	t.Helper()
	soa, ns := "example. 300 SOA ns.elsewhere.test. h.example. 10 1 1 1 1", "example. 300 NS ns.elsewhere.test."
	www := "www.example. 300 A 192.0.2.1"
	key := s.key.String()
	return strings.Join([]string{soa, ns, key, www, ""}, "\n") +
		s.sign(t, from, until, soa) + s.sign(t, from, until, ns) + s.sign(t, from, until, key) + s.sign(t, from, until, www)
}

func TestSignatures(t *testing.T) {
	now := time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	week := 7 * 24 * time.Hour
	s, other := newSigner(t), newSigner(t)
	good := signed(t, s, now.Add(-week), now.Add(week))
	for _, tt := range []struct{ name, text, want, says string }{
		{"good ones", good, "", ""},
		{"RFC 4034 §3.1.5: expired ones", signed(t, s, now.Add(-2*week), now.Add(-time.Second)), "signatures! signatures! signatures! signatures!", "have expired"},
		{"not yet valid", signed(t, s, now.Add(time.Hour), now.Add(week)), "signatures! signatures! signatures! signatures!", "valid yet"},
		{"one expired, one good, as while a key is rolled", good + s.sign(t, now.Add(-2*week), now.Add(-week), "www.example. 300 A 192.0.2.1"), "", ""},
		{"an expired one away from the apex", good + "x A 192.0.2.9\n" + s.sign(t, now.Add(-2*week), now.Add(-week), "x.example. 300 A 192.0.2.9"), "signatures!", "x.example. A"},
		{"the key is not in the zone", strings.Replace(good, s.key.String(), other.key.String(), 1), "signatures! signatures! signatures!", "does not have"},
		{"the SOA record was changed after signing", strings.Replace(good, "h.example. 10 1", "h.example. 11 1", 1), "signatures!", "example. SOA"},
		{"no DNSKEY record", strings.Replace(good, s.key.String()+"\n", "", 1), "signatures!", "no DNSKEY"},
		{"the NS records are not signed", without(good, "RRSIG\tNS"), "signatures!", "is not"},
		{"an algorithm that is not known here", strings.ReplaceAll(strings.ReplaceAll(good, " 13 ", " 200 "), "257 3 13", "257 3 200"), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			findings := Check(nil, build(t, "$TTL 300\n"+tt.text), nil, Rules{Signatures: Refuse}, now)
			if got := rulesOf(findings); got != tt.want {
				t.Errorf("got %q, want %q: %v", got, tt.want, findings)
			}
			if len(findings) > 0 && !strings.Contains(findings[0].String(), tt.says) {
				t.Errorf("got %v, want something with %q", findings, tt.says)
			}
		})
	}
}

// without returns text without the lines that have word.
func without(text, word string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, word) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestZONEMD: a digest is that of the zone, or the version is not served.
func TestZONEMD(t *testing.T) {
	plain := "@ 300 SOA ns.elsewhere.test. h 10 1 1 1 1\n@ 300 NS ns.elsewhere.test.\nwww 300 A 192.0.2.1\n"
	z := build(t, plain)
	sum, err := zonemd.Sum(z.Origin(), z.Records(), 1)
	if err != nil {
		t.Fatal(err)
	}
	with := func(serial int) string { return fmt.Sprintf("%s@ 300 ZONEMD %d 1 1 %x\n", plain, serial, sum) }
	refuse, require := Rules{ZONEMD: Refuse}, Rules{ZONEMD: Refuse, RequireZONEMD: true}
	for _, tt := range []struct {
		name, text string
		rules      Rules
		want       string
	}{
		{"it fits", with(10), require, ""},
		{"a record was changed on the way", strings.Replace(with(10), "192.0.2.1", "192.0.2.2", 1), refuse, "zonemd!"},
		{"a record was lost on the way", strings.Replace(with(10), "www 300 A 192.0.2.1\n", "", 1), refuse, "zonemd!"},
		{"it is of another serial", with(9), refuse, "zonemd!"},
		{"there is none", plain, refuse, ""},
		{"there is none, and there has to be", plain, require, "zonemd!"},
		{"nobody asked", with(9), Rules{}, ""},
	} {
		if got := rulesOf(Check(nil, build(t, tt.text), nil, tt.rules, time.Unix(1000, 0))); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
