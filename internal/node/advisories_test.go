package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestAdvisoryTLSEarlyClose: CVE-2026-12245 (NSD): clients that closed a TLS connection
// early had the server end, again and again. Here the next client is answered, over
// the same listener.
func TestAdvisoryTLSEarlyClose(t *testing.T) {
	n := encryptedNode(t, newFolder(t), "tls: {selfSigned: true}\n")
	server := n.Encrypted("dot")[0].String()
	hello := clientHello(t)
	for i := range 60 {
		conn, err := net.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(hello[:min(len(hello), i*len(hello)/50)]); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			conn.(*net.TCPConn).SetLinger(0) // with a reset, while the server writes
		}
		conn.Close()
	}
	// Handshakes that end, and then nothing, or a message that ends early.
	for i := range 20 {
		conn, err := tls.Dial("tcp", server, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte{0, 40, 1, 2, 3}[:i%6])
		conn.NetConn().Close()
	}
	m := new(dns.Msg).SetQuestion("www.example.test.", dns.TypeA)
	client := &dns.Client{Net: "tcp-tls", TLSConfig: &tls.Config{InsecureSkipVerify: true}, Timeout: 10 * time.Second}
	r, _, err := client.Exchange(m, server)
	if err != nil || len(r.Answer) != 1 {
		t.Errorf("the next client got %v, %v", r, err)
	}
}

// clientHello returns the octets that a TLS client begins with.
func clientHello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() { // ends when the pipe is closed
		_ = tls.Client(ours, &tls.Config{InsecureSkipVerify: true}).Handshake()
	}()
	buf := make([]byte, 4096)
	n, err := theirs.Read(buf)
	theirs.Close()
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// TestAdvisoryTransferBypass: CVE-2026-12490 (NSD): who had to show a certificate for a
// zone over TLS got it without one over plain TCP.
func TestAdvisoryTransferBypass(t *testing.T) {
	f := newFolder(t)
	f.write("secret.zone", exampleZone)
	certificate, _ := makeCertificate(t, f, "ca", "ca.test")
	n := encryptedNode(t, f, "tls: {selfSigned: true}\n")
	config := strings.Replace(readFileText(t, f, "pharos.yaml"), "zones: [", "zones: [{name: secret.test, file: secret.zone, transfer: [{network: 127.0.0.1/32, tls: {ca: "+certificate+", name: secondary.test}}]}, ", 1)
	f.write("pharos.yaml", config)
	if applied, err := n.reload(); err != nil || len(applied.Refused) > 0 {
		t.Fatal(applied, err)
	}
	if got := summary(ask(t, n.DNS()[0], "secret.test.", rdata.TypeSOA, false)); !strings.HasPrefix(got, "NOERROR") {
		t.Fatalf("the zone is not served: %s", got)
	}
	for network, server := range map[string]string{"tcp": n.DNS()[0].String(), "tcp-tls": n.Encrypted("dot")[0].String()} {
		m := new(dns.Msg).SetAxfr("secret.test.")
		r, _, err := (&dns.Client{Net: network, TLSConfig: &tls.Config{InsecureSkipVerify: true}}).Exchange(m, server)
		if err == nil && (r.Rcode == dns.RcodeSuccess || len(r.Answer) > 0) {
			t.Errorf("over %s without a certificate: %v", network, r)
		}
	}
}

// TestAdvisoryLongHashedOwners: an NSEC3 owner of 255 octets ended NSD by an assertion.
// In a zone whose own name leaves no room for a hash, questions that need one are
// answered.
func TestAdvisoryLongHashedOwners(t *testing.T) {
	f := newFolder(t)
	origin := strings.Repeat(strings.Repeat("a", 62)+".", 3) + strings.Repeat("b", 31) + "." // 222 octets: the hash makes it 255
	hash := strings.Repeat("0", 32)
	f.write("long.zone", "$TTL 60\n@ SOA ns.other.test. h.other.test. 1 1 1 1 1\n@ NS ns.other.test.\n@ NSEC3PARAM 1 0 0 -\n"+hash+" NSEC3 1 0 0 - "+hash+" NS SOA\nx A 192.0.2.1\n")
	n, _ := start(t, f.config("zones: [{name: "+origin+", file: long.zone}]"))
	for _, name := range []string{"x." + origin, "nowhere." + origin, hash + "." + origin, origin, strings.Repeat("c", 31) + "." + origin} {
		if _, err := dnsname.Parse(name); err != nil {
			t.Fatalf("%d octets: %v", len(name), err)
		}
		m := new(dns.Msg).SetQuestion(name, dns.TypeMX).SetEdns0(4096, true)
		r, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, n.DNS()[0].String())
		if err != nil || r.Rcode == dns.RcodeServerFailure {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

func readFileText(t *testing.T, f folder, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.path, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAdvisoryTSIGChanges: NSD 4.14.3 to 4.15.1 ended by an assertion when keys changed
// while transfers that were signed with them were under way. Keys of both sides come, go
// and change while a zone is asked for all the time; in the end it is there.
func TestAdvisoryTSIGChanges(t *testing.T) {
	f, g := newFolder(t), newFolder(t)
	const right, wrong = "K2tf3TRjvQkVCmJF3/Z9vA==", "bTJ3TRjvQkVCmJF3/Z9vAA=="
	file := func(serial int) {
		f.write("big.zone", fmt.Sprintf("$TTL 60\n@ SOA ns h %d 1h 15m 1w 60\n@ NS ns\nns A 127.0.0.1\n$GENERATE 1-2000 n$ TXT \"some text to make it larger than one message\"\n", serial))
	}
	file(1)
	primary := func(secret string) string {
		if secret == "" {
			return f.config("zones: [{name: big.test, file: big.zone}]\n")
		}
		return f.config(fmt.Sprintf("keys: [{name: k, secret: %q}]\nzones: [{name: big.test, file: big.zone, transfer: [{key: k}]}]\n", secret))
	}
	p, _ := start(t, primary(right))
	secondary := func(secret string) string {
		return g.config(fmt.Sprintf("keys: [{name: k, secret: %q}]\nzones: [{name: big.test, kind: secondary, primaries: [{address: %q, key: k}]}]\n", secret, p.DNS()[0]))
	}
	s, _ := start(t, secondary(right))
	for i := range 12 {
		file(2 + i)
		primary([]string{right, wrong, ""}[i%3])
		if _, err := p.reload(); err != nil {
			t.Fatal(err)
		}
		s.newDesk().Refresh(context.Background(), "big.test", i%2 == 0) // under way while what follows happens
		secondary([]string{right, wrong}[i%2])
		if _, err := s.reload(); err != nil {
			t.Fatal(err)
		}
	}
	primary(right)
	secondary(right)
	for _, n := range []*Node{p, s} {
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() string {
		z := s.current.Load().apexes.Get(dnsname.MustParse("big.test")).served.Zone
		if z == nil || z.Serial() != 13 {
			s.newDesk().Refresh(context.Background(), "big.test", false)
			return fmt.Sprintf("the secondary has %v; %v", z, s.problems.All())
		}
		return ""
	})
}
