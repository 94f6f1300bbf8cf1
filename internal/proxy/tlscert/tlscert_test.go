package tlscert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write makes a certificate for names.
func write(t *testing.T, folder, file string, withRSA bool, names ...string) Source {
	t.Helper()
	var key crypto.Signer
	var err error
	if withRSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := Source{filepath.Join(folder, file+".crt"), filepath.Join(folder, file+".key")}
	for path, block := range map[string]*pem.Block{s.Certificate: {Type: "CERTIFICATE", Bytes: der}, s.Key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// hello is a client that understands every kind of key.
func hello(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256},
		SupportedCurves:  []tls.CurveID{tls.CurveP256},
	}
}

// TestChoice: by the name a client asks for, then a wildcard, then the first; among
// those, one that the client understands.
func TestChoice(t *testing.T) {
	folder := t.TempDir()
	var s Store
	err := s.Set([]Source{
		write(t, folder, "first", false, "ns1.example.com"),
		write(t, folder, "wild", false, "*.example.com", "Exact.Example.Org"),
		write(t, folder, "rsa", true, "ns1.example.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	onlyRSA := hello("ns1.example.com")
	onlyRSA.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256}
	for _, tt := range []struct {
		hello *tls.ClientHelloInfo
		want  int
	}{
		{hello(""), 0}, {hello("ns1.example.com"), 0}, {hello("NS1.Example.COM."), 0},
		{hello("other.example.com"), 1}, {hello("exact.example.org"), 1},
		{hello("a.b.example.com"), 0}, {hello("example.com"), 0}, {hello("unknown.test"), 0},
		{onlyRSA, 2},
	} {
		got, err := s.Get(tt.hello)
		if err != nil {
			t.Errorf("%q: %v", tt.hello.ServerName, err)
			continue
		}
		if want := s.current.Load().loaded[tt.want].certificate; got != want {
			t.Errorf("%q: got the certificate of %v", tt.hello.ServerName, got.Leaf.DNSNames)
		}
	}
	if _, err := new(Store).Get(hello("")); err == nil {
		t.Error("without certificates: no error")
	}
}

// TestBadFiles: what cannot be read leaves what was there, and says so.
func TestBadFiles(t *testing.T) {
	folder := t.TempDir()
	var s Store
	a, b := write(t, folder, "a", false, "a.test"), write(t, folder, "b", false, "b.test")
	if err := s.Set([]Source{a, b}); err != nil || s.Changed() {
		t.Fatal(err, s.Changed())
	}
	before := s.Status()
	for name, text := range map[string]string{"garbage": "garbage", "empty": "", "another's key": string(read(t, b.Key))} {
		if err := os.WriteFile(a.Key, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if !s.Changed() {
			t.Errorf("%s: no change seen", name)
		}
		err := s.Set([]Source{a, b})
		st := s.Status()
		if err == nil || !strings.Contains(st[0].Problem, a.Certificate) || !strings.Contains(st[0].Problem, "shown on") {
			t.Errorf("%s: error %v, status %+v", name, err, st[0])
		}
		if st[0].Fingerprint != before[0].Fingerprint || st[1].Problem != "" {
			t.Errorf("%s: the old certificate is not shown: %+v", name, st)
		}
		if c, err := s.Get(hello("a.test")); err != nil || c.Leaf.DNSNames[0] != "a.test" {
			t.Errorf("%s: %v %v", name, c, err)
		}
		if s.Changed() {
			t.Errorf("%s: a file that was looked at counts as changed", name)
		}
	}
	write(t, folder, "a", false, "a.test")
	if err := s.Set([]Source{a, b}); err != nil || s.Status()[0].Fingerprint == before[0].Fingerprint {
		t.Errorf("a good file again: %v", err)
	}
	missing := Source{filepath.Join(folder, "none.crt"), filepath.Join(folder, "none.key")}
	if err := s.Set([]Source{missing}); err == nil || !strings.Contains(err.Error(), "none.crt") {
		t.Errorf("no file: %v", err)
	}
}

func read(t *testing.T, path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSelfSigned: made once, kept, and made again when it names too little or is
// about to end.
func TestSelfSigned(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "tls")
	now := time.Now()
	addr := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	print := func(names []string, now time.Time) string {
		t.Helper()
		source, err := SelfSigned(folder, names, addr, now)
		if err != nil {
			t.Fatal(err)
		}
		var s Store
		if err := s.Set([]Source{source}); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(source.Key); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("mode of the key: %v, %v", st.Mode(), err)
		}
		return s.Status()[0].Fingerprint
	}
	first := print([]string{"localhost"}, now)
	if print([]string{"localhost"}, now.Add(24*time.Hour)) != first {
		t.Error("made again for nothing")
	}
	second := print([]string{"localhost", "ns.test"}, now)
	if second == first {
		t.Error("not made again for a new name")
	}
	if third := print([]string{"localhost"}, now.Add(selfSignedLife-RenewBefore/2)); third == second {
		t.Error("not made again before its end")
	}
	source, _ := SelfSigned(folder, nil, nil, now.Add(selfSignedLife))
	pair, err := tls.LoadX509KeyPair(source.Certificate, source.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now.Add(selfSignedLife)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SelfSigned(filepath.Join(source.Key, "below-a-file"), nil, nil, now); err == nil || !strings.Contains(err.Error(), "can be written") {
		t.Errorf("no folder: %v", err)
	}
}
