package answer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/lab/tools"
)

// signing is how a zone is signed.
type signing struct {
	name      string
	tool      string // dnssec-signzone or ldns-signzone
	algorithm string // as the tool's key generator spells it
	options   []string
}

// signings are denials by NSEC, NSEC3 and NSEC3 with opt-out, algorithms 8, 13 and
// 15, two signers.
var signings = []signing{
	{"bind nsec ecdsa", "dnssec-signzone", "ECDSAP256SHA256", nil},
	{"bind nsec3 ed25519", "dnssec-signzone", "ED25519", []string{"-3", "-", "-H", "0"}},
	{"bind nsec3 opt-out ecdsa salted", "dnssec-signzone", "ECDSAP256SHA256", []string{"-3", "aabbccdd", "-H", "5", "-A"}},
	{"bind nsec rsa", "dnssec-signzone", "RSASHA256", nil},
	{"ldns nsec ed25519", "ldns-signzone", "ED25519", nil},
	{"ldns nsec3 ecdsa", "ldns-signzone", "ECDSAP256SHA256", []string{"-n", "-t", "1", "-s", "0102"}},
	{"ldns nsec3 opt-out rsa", "ldns-signzone", "RSASHA256", []string{"-n", "-p", "-t", "0"}},
}

// signer signs zones of one origin with one key.
type signer struct {
	signing
	dir, origin, key string
	count            int
}

func newSigner(t testing.TB, s signing, origin string) *signer {
	t.Helper()
	tools.Need(t, s.tool)
	dir := t.TempDir()
	var out string
	if s.tool == "ldns-signzone" {
		out = tools.Run(t, dir, "ldns-keygen", "-a", s.algorithm, "-b", "2048", "-k", origin)
	} else {
		out = tools.Run(t, dir, "dnssec-keygen", "-q", "-a", s.algorithm, "-b", "2048", "-f", "KSK", origin)
		if s.algorithm != "RSASHA256" {
			out = tools.Run(t, dir, "dnssec-keygen", "-q", "-a", s.algorithm, "-f", "KSK", origin)
		}
	}
	return &signer{signing: s, dir: dir, origin: origin, key: strings.TrimSpace(out)}
}

// sign returns the text of the zone, signed; all names in it are absolute.
func (s *signer) sign(t testing.TB, text string) string {
	t.Helper()
	s.count++
	file := filepath.Join(s.dir, fmt.Sprintf("zone%d", s.count))
	if err := os.WriteFile(file, []byte("$ORIGIN "+s.origin+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.tool == "ldns-signzone" {
		args := append(append([]string{}, s.options...), "-o", s.origin, "-f", file+".signed", file, s.key)
		tools.Run(t, s.dir, s.tool, args...)
	} else {
		args := append(append([]string{"-S", "-z", "-q", "-O", "full", "-K", s.dir}, s.options...), "-o", s.origin, "-f", file+".signed", file)
		tools.Run(t, s.dir, s.tool, args...)
	}
	signed, err := os.ReadFile(file + ".signed")
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

// records parses a zone's text with another library than ours.
func records(t testing.TB, text string) []dns.RR {
	t.Helper()
	var rrs []dns.RR
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rrs = append(rrs, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return rrs
}

// randomSignable is randomZone without what a signer refuses or signs otherwise
// than others: data below cuts and DNAMEs but for glue, NS at wildcards.
func randomSignable(rnd *rand.Rand, origin string) (text string, name func() string) {
	labels := []string{"a", "B", "*", "ns", "long-label-of-a-name-server", "-", "zz", "a\\001b"}
	name = func() string {
		n := origin
		for range rnd.IntN(4) {
			n = labels[rnd.IntN(len(labels))] + "." + n
		}
		return n
	}
	var b strings.Builder
	b.WriteString("@ 60 IN SOA ns h.provider.net. 1 2 3 4 30\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n")
	kinds := map[string]string{origin: "A", "ns." + origin: "A"}
	var owners []string
	for range 4 + rnd.IntN(30) {
		owner, t := name(), []string{"A", "A", "AAAA", "NS", "NS", "DS", "MX", "CNAME", "DNAME", "TXT"}[rnd.IntN(10)]
		key := strings.ToLower(owner)
		if _, taken := kinds[key]; taken || owner == origin || strings.Contains(owner, "*") && (t == "NS" || t == "DS" || t == "DNAME") {
			continue
		}
		kinds[key] = t
		owners = append(owners, owner)
	}
	hidden := func(owner string) bool {
		for at, end := dns.NextLabel(owner, 0); !end; at, end = dns.NextLabel(owner, at) {
			switch kinds[strings.ToLower(owner[at:])] {
			case "NS", "DS", "DNAME":
				return true
			}
		}
		return false
	}
	for _, owner := range owners {
		if hidden(owner) {
			continue
		}
		switch t := kinds[strings.ToLower(owner)]; t {
		case "A":
			fmt.Fprintf(&b, "%s 60 IN A 192.0.2.%d\n", owner, rnd.IntN(256))
		case "AAAA":
			fmt.Fprintf(&b, "%s 60 IN AAAA 2001:db8::%x\n%s 60 IN A 192.0.2.9\n", owner, rnd.IntN(256), owner)
		case "MX":
			fmt.Fprintf(&b, "%s 60 IN MX 1 %s\n", owner, name())
		case "TXT":
			fmt.Fprintf(&b, "%s 60 IN TXT \"x\"\n", owner)
		case "NS", "DS":
			fmt.Fprintf(&b, "%s 60 IN NS ns.%s\nns.%s 60 IN A 192.0.2.7\n", owner, owner, owner)
			if t == "DS" {
				fmt.Fprintf(&b, "%s 60 IN DS 1 13 2 %s\n", owner, strings.Repeat("00", 32))
			}
		default:
			fmt.Fprintf(&b, "%s 60 IN %s %s\n", owner, t, name())
		}
	}
	return b.String(), name
}
