package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pharos/internal/traffic/health"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// awaitTCP waits until somebody listens at an address.
func awaitTCP(t *testing.T, address string) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		select {
		case <-deadline:
			t.Fatalf("nobody listens at %s", address)
		case <-tick.C:
		}
	}
}

// nginx answers checks of type tls and https, by HTTP/1.1 and HTTP/2, and redirects.
func TestNginx(t *testing.T) {
	program := tools.Path(t, "nginx")
	cert, ca := authority(t, time.Now().Add(time.Hour), "www.example.com")
	key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(name string, text []byte) string {
		t.Helper()
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	keyFile := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}))
	address, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	config := write("nginx.conf", fmt.Appendf(nil, `daemon off; pid %[1]s/pid; error_log %[1]s/error.log; events {}
http { access_log off; server { listen %[2]s ssl http2; ssl_protocols TLSv1.3; ssl_certificate %[3]s; ssl_certificate_key %[4]s;
location = /health { default_type application/json; return 200 '{"status": "pass", "by": "$server_protocol"}'; }
location = /moved { return 302 /health; } } }`, folder, address, ca, keyFile))
	cmd := exec.Command(program, "-c", config, "-p", folder)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() }()
	awaitTCP(t, address.String())
	secure := health.Encryption{CA: ca, ServerName: "www.example.com"}
	for _, c := range []struct {
		kind  health.Kind
		terms health.Terms
		want  string
	}{
		{health.TLS, health.Terms{TLS: secure}, "handshake made: TLS 1.3"},
		{health.HTTPS, health.Terms{TLS: secure, Path: "/moved", Redirects: 1, Match: health.Match{JSON: "by", Value: "HTTP/1.1"}}, "status 200, with the content expected"},
		{health.HTTPS, health.Terms{TLS: secure, Path: "/moved", Redirects: 1, HTTP2: true, Match: health.Match{JSON: "by", Value: "HTTP/2.0"}}, "status 200, with the content expected"},
	} {
		if got := askReal(t, address.String(), c.kind, c.terms); got.verdict != good || got.cause != c.want || got.certificate.IsZero() {
			t.Errorf("%v %+v: got %+v", c.kind, c.terms, got)
		}
	}
}

// Knot answers a check of type dns, over UDP and TCP.
func TestKnot(t *testing.T) {
	tools.Need(t, "knotd")
	address, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s, err := peers.Start(context.Background(), peers.Knot, peers.Options{Address: address, Folder: t.TempDir(), Zones: []peers.Zone{{
		Name: "example.com.", Text: "@ 60 SOA ns hostmaster 1 60 60 600 60\n@ 60 NS ns\nns 60 A 127.0.0.1\nwww 60 AAAA 2001:db8::1\n",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	awaitTCP(t, address.String())
	for _, tcp := range []bool{false, true} {
		for q, want := range map[health.Question]outcome{
			{Name: "www.example.com", Type: "AAAA", Answer: "2001:db8::1", TCP: tcp}: {verdict: good, cause: "NOERROR with 2001:db8::1"},
			{Name: "example.com", Type: "SOA", TCP: tcp}:                             {verdict: good, cause: "NOERROR"},
			{Name: "no.example.com", TCP: tcp}:                                       {cause: "NXDOMAIN"},
			{Name: "example.net", TCP: tcp}:                                          {cause: "REFUSED"},
		} {
			if got := askReal(t, address.String(), health.DNS, health.Terms{Question: q}); got != want {
				t.Errorf("%+v: got %+v, want %+v", q, got, want)
			}
		}
	}
}
