package sign

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/lab/tools"
)

// algorithms are all that are signed with.
var algorithms = []uint8{dnssec.RSASHA256, dnssec.ECDSAP256, dnssec.ECDSAP384, dnssec.Ed25519, dnssec.Ed448}

func mustGenerate(t testing.TB, flags uint16, algorithm uint8) *Key {
	t.Helper()
	k, err := Generate(flags, algorithm, 0)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestSignature: what a key signs, the validator's arithmetic checks, and not when an
// octet differs. RFC 6979: twice the same.
func TestSignature(t *testing.T) {
	for _, algorithm := range append(algorithms, dnssec.RSASHA512) {
		k := mustGenerate(t, KSK, algorithm)
		public, ok := dnssec.ParseKey(k.RDATA())
		if !ok || public.Tag != k.Tag() || !k.IsSEP() {
			t.Fatalf("algorithm %d: %+v", algorithm, public)
		}
		for i := range 20 {
			octets := fmt.Appendf(nil, "what is signed %d", i)
			signature, err := k.sign(octets)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := k.sign(octets)
			if !bytes.Equal(signature, again) {
				t.Errorf("algorithm %d: two signatures of one thing differ", algorithm)
			}
			if !(dnssec.Policy{}).Check(public, octets, signature) {
				t.Errorf("algorithm %d: the signature is not good", algorithm)
			}
			octets[0] ^= 1
			if (dnssec.Policy{}).Check(public, octets, signature) {
				t.Errorf("algorithm %d: the signature is good for something else", algorithm)
			}
		}
	}
}

// TestPair: what is written is read, in all forms, and a half of another key is refused.
func TestPair(t *testing.T) {
	owner := dnsname.MustParse("example.org.")
	for _, algorithm := range algorithms {
		k := mustGenerate(t, KSK, algorithm)
		pair := Pair{Key: k, Owner: owner, TTL: 300}
		private, err := pair.PrivateFile()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParsePair(pair.PublicFile(), private)
		if err != nil || got.Owner != owner || got.TTL != 300 || got.Tag() != k.Tag() || got.Signer == nil {
			t.Errorf("algorithm %d: %+v, %v", algorithm, got, err)
			continue
		}
		if again, _ := got.PrivateFile(); !bytes.Equal(again, private) {
			t.Errorf("algorithm %d: written again it is\n%s\nnot\n%s", algorithm, again, private)
		}
		if want := fmt.Sprintf("Kexample.org.+%03d+%05d", algorithm, k.Tag()); got.FileName() != want {
			t.Errorf("file name %s, want %s", got.FileName(), want)
		}
		text, err := k.PEM()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParsePEM(KSK, 0, text); err != nil || !bytes.Equal(back.RDATA(), k.RDATA()) {
			t.Errorf("algorithm %d: from PEM: %v", algorithm, err)
		}
		other := Pair{Key: mustGenerate(t, KSK, algorithm), Owner: owner}
		if _, err := ParsePair(other.PublicFile(), private); err == nil {
			t.Errorf("algorithm %d: halves of two keys are a pair", algorithm)
		}
	}
}

// TestToolsKeys: keys of dnssec-keygen and ldns-keygen are read, their DS is the one
// that the tools make, and BIND takes ours.
func TestToolsKeys(t *testing.T) {
	tools.Need(t, "dnssec-keygen")
	tools.Need(t, "ldns-keygen")
	for _, algorithm := range algorithms {
		dir := t.TempDir()
		var names []string
		args := []string{"-q", "-a", AlgorithmName(algorithm)}
		if algorithm == dnssec.RSASHA256 {
			args = append(args, "-b", "2048")
		}
		names = append(names, strings.TrimSpace(tools.Run(t, dir, "dnssec-keygen", append(args, "-f", "KSK", "example.org")...)))
		names = append(names, strings.TrimSpace(tools.Run(t, dir, "ldns-keygen", "-k", "-b", "2048", "-a", AlgorithmName(algorithm), "example.org")))
		for _, name := range names {
			public, err := os.ReadFile(filepath.Join(dir, name+".key"))
			if err != nil {
				t.Fatal(err)
			}
			private, err := os.ReadFile(filepath.Join(dir, name+".private"))
			if err != nil {
				t.Fatal(err)
			}
			pair, err := ParsePair(public, private)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if strings.TrimSuffix(pair.FileName(), ".") != name {
				t.Errorf("%s is %s", name, pair.FileName())
			}
			ds, err := pair.DS(pair.Owner, 2)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.ToLower(tools.Run(t, dir, "dnssec-dsfromkey", "-2", name+".key")); !strings.Contains(want, fmt.Sprintf("%x", ds[4:])) {
				t.Errorf("DS %x, want %s", ds, want)
			}
		}
		if first, err := os.ReadFile(filepath.Join(dir, names[0]+".private")); err != nil || !bytes.Contains(first, []byte("Created:")) {
			t.Fatalf("no times in %s: %v", first, err)
		}
		own := Pair{Key: mustGenerate(t, KSK, algorithm), Owner: dnsname.MustParse("example.org."), Times: map[string]time.Time{}}
		for _, name := range []string{"Created", "Publish", "Activate"} {
			own.Times[name] = time.Unix(1700000000, 0)
		}
		private, _ := own.PrivateFile()
		ours := t.TempDir()
		for suffix, text := range map[string][]byte{".key": own.PublicFile(), ".private": private} {
			if err := os.WriteFile(filepath.Join(ours, own.FileName()+suffix), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		zone := "@ 300 IN SOA ns h 1 2 3 4 5\n@ 300 IN NS ns\nns 300 IN A 192.0.2.1\n"
		if err := os.WriteFile(filepath.Join(ours, "zone"), []byte("$ORIGIN example.org.\n"+zone), 0o600); err != nil {
			t.Fatal(err)
		}
		tools.Run(t, ours, "dnssec-signzone", "-z", "-q", "-S", "-o", "example.org", "zone")
	}
}

// TestBadPairs: files that are none are refused with what to do.
func TestBadPairs(t *testing.T) {
	good := Pair{Key: mustGenerate(t, KSK, dnssec.ECDSAP256), Owner: dnsname.MustParse("example.org.")}
	private, _ := good.PrivateFile()
	for _, test := range []struct{ public, private, want string }{
		{"", string(private), "no DNSKEY record"},
		{string(good.PublicFile()), "x", "without a colon"},
		{string(good.PublicFile()), "Private-key-format: v2.0\n", "want v1.2 or v1.3"},
		{string(good.PublicFile()), "Private-key-format: v1.3\nAlgorithm: 15 (ED25519)\n", "both files of one key"},
		{string(good.PublicFile()), "Private-key-format: v1.3\nAlgorithm: 13 (X)\nPrivateKey: ?\n", "no base64"},
		{string(good.PublicFile()), "Private-key-format: v1.3\nAlgorithm: 13 (X)\nPrivateKey: " + strings.Repeat("A", 400) + "\n", "octets"},
		{"example.org. IN DNSKEY 257 2 13 AAAA", "", "protocol 3"},
		{strings.Repeat("x", maxPair+1), "", "more than"},
	} {
		var half []byte
		if test.private != "" {
			half = []byte(test.private)
		}
		if _, err := ParsePair([]byte(test.public), half); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q, %.60q: %v, want %q", test.public, test.private, err, test.want)
		}
	}
	if _, err := Generate(KSK, dnssec.RSASHA256, 1024); err == nil {
		t.Error("RSA with 1024 bits is made")
	}
	if _, err := Generate(KSK, 5, 0); err == nil {
		t.Error("algorithm 5 is made")
	}
}

// FuzzPrivate: no file makes ParsePair panic, and what it reads it can write.
func FuzzPrivate(f *testing.F) {
	for _, algorithm := range algorithms {
		pair := Pair{Key: mustGenerate(f, KSK, algorithm), Owner: dnsname.MustParse("example.org.")}
		private, _ := pair.PrivateFile()
		f.Add(pair.PublicFile(), private)
	}
	f.Add([]byte("example. 1 IN DNSKEY 257 3 8 AwEAAQ=="), []byte("Private-key-format: v1.3\nAlgorithm: 8 (X)\nModulus: AQ==\nPublicExponent: AQ==\nPrivateExponent: AQ==\nPrime1: AQ==\nPrime2: AQ==\n"))
	f.Fuzz(func(t *testing.T, public, private []byte) {
		pair, err := ParsePair(public, private)
		if err != nil || pair.Signer == nil {
			return
		}
		if _, err := pair.PrivateFile(); err != nil {
			t.Error(err)
		}
		if _, err := pair.sign([]byte("x")); err != nil {
			t.Error(err)
		}
	})
}
