package probe

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/program"
	"pharos/internal/traffic/health"
)

// patient is the time of checks of real sockets: the machine may be slow.
var patient = health.Params{Interval: time.Minute, Timeout: 20 * time.Second}

// askReal asks at a real address once.
func askReal(t *testing.T, address string, kind health.Kind, terms health.Terms) outcome {
	t.Helper()
	target := newTarget(health.Target{Address: netip.MustParseAddrPort(address), Check: health.Check{Kind: kind, Terms: terms.Once(), Params: patient.Once()}})
	return target.ask(context.Background(), (&net.Dialer{KeepAlive: -1}).DialContext)
}

// authority makes a certificate of its own that ends at that time, for names, and the
// file that proves it.
func authority(t *testing.T, end time.Time, names ...string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: end, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// secureServer answers "well" by HTTP over TLS, with HTTP/2 if it is wanted.
func secureServer(t *testing.T, c tls.Certificate, http2 bool) string {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "well by ", r.Proto) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// A certificate is proven, or not, and its end is known in each case.
func TestCertificates(t *testing.T) {
	soon, long, past := time.Now().Add(48*time.Hour), time.Now().Add(1000*time.Hour), time.Now().Add(-time.Hour)
	for _, c := range []struct {
		what    string
		end     time.Time
		tls     health.Encryption
		noCA    bool
		verdict verdict
		cause   string // contained
		warning string
	}{
		{"all is well", long, health.Encryption{Warn: 14 * 24 * time.Hour}, false, good, "TLS 1.3", ""},
		{"by name", long, health.Encryption{ServerName: "www.example.com"}, false, good, "TLS 1.3", ""},
		{"by another name", long, health.Encryption{ServerName: "ftp.example.com"}, false, bad, "not ftp.example.com", ""},
		{"of nobody known", long, health.Encryption{}, true, bad, "unknown authority", ""},
		{"of nobody known, not verified", long, health.Encryption{NoVerify: true}, true, good, "TLS 1.3", ""},
		{"ends soon", soon, health.Encryption{Warn: 14 * 24 * time.Hour}, false, good, "TLS 1.3", "the certificate ends on " + soon.UTC().Format(time.DateTime)},
		{"ends soon, nobody cares", soon, health.Encryption{}, false, good, "TLS 1.3", ""},
		{"ended", past, health.Encryption{}, false, bad, "expired", "the certificate ended on " + past.UTC().Format(time.DateTime)},
		{"ended, not verified", past, health.Encryption{NoVerify: true}, false, good, "TLS 1.3", "the certificate ended on " + past.UTC().Format(time.DateTime)},
	} {
		cert, ca := authority(t, c.end, "www.example.com")
		if !c.noCA {
			c.tls.CA = ca
		}
		address := secureServer(t, cert, false)
		for _, kind := range []health.Kind{health.TLS, health.HTTPS} {
			want := c.cause
			if kind == health.HTTPS && c.verdict == good {
				want = "status 200"
			}
			got := askReal(t, address, kind, health.Terms{TLS: c.tls})
			if got.verdict != c.verdict || !strings.Contains(got.cause, want) || got.warning != c.warning || !got.certificate.Equal(c.end.Truncate(time.Second)) {
				t.Errorf("%s, %v: got %+v", c.what, kind, got)
			}
		}
	}
}

// A file of authorities that cannot be read says nothing about the member; it is read
// again when it has changed.
func TestAuthoritiesChange(t *testing.T) {
	cert, ca := authority(t, time.Now().Add(time.Hour), "www.example.com")
	file := filepath.Join(t.TempDir(), "roots.pem")
	target := newTarget(health.Target{Address: netip.MustParseAddrPort(secureServer(t, cert, false)), Check: health.Check{Kind: health.TLS, Params: patient.Once(), Terms: health.Terms{TLS: health.Encryption{CA: file}}.Once()}})
	ask := func() outcome { return target.ask(context.Background(), (&net.Dialer{}).DialContext) }
	if got := ask(); got.verdict != unsent || !strings.Contains(got.warning, "check.tls.ca") {
		t.Errorf("without a file: %+v", got)
	}
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got.verdict != unsent || !strings.Contains(got.warning, "no certificate in PEM form") {
		t.Errorf("with nonsense: %+v", got)
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got.verdict != good {
		t.Errorf("with the authority: %+v", got)
	}
}

// HTTP/2 by ALPN and by prior knowledge; who does not speak it is not well.
func TestHTTP2(t *testing.T) {
	cert, ca := authority(t, time.Now().Add(time.Hour))
	terms := health.Terms{HTTP2: true, TLS: health.Encryption{CA: ca}, Match: health.Match{Contains: "well by HTTP/2.0"}, Fields: "X-Probe: a\r\n"}
	if got := askReal(t, secureServer(t, cert, true), health.HTTPS, terms); got.verdict != good || got.certificate.IsZero() {
		t.Errorf("over TLS: %+v", got)
	}
	if got := askReal(t, secureServer(t, cert, false), health.HTTPS, terms); got.verdict != bad {
		t.Errorf("a server of HTTP/1.1 over TLS: %+v", got)
	}
	clear := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		fmt.Fprint(w, "well by ", r.Proto, " ", r.Header.Get("X-Probe"), strings.Repeat("x", 10*maxContent))
	}))
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	defer clear.Close()
	terms.TLS, terms.Path, terms.Redirects, terms.Match.Contains = health.Encryption{}, "/moved", 1, "well by HTTP/2.0 a"
	if got := askReal(t, clear.Listener.Addr().String(), health.HTTP, terms); got.verdict != good || got.cause != "status 200, with the content expected" {
		t.Errorf("in the clear: %+v", got)
	}
}

// What is matched in a content, however it is framed.
func TestContents(t *testing.T) {
	object := `{"status": "pass", "checks": [{"name": "db", "lag": 1.50}, null], "ok": true}`
	for _, c := range []struct {
		match health.Match
		says  string
		want  string // cause; good if it ends with "expected"
	}{
		{health.Match{Contains: "all is well"}, "Content-Length: 12\r\n\r\nall is well\n", "status 200, with the content expected"},
		{health.Match{Contains: "all is well"}, "Transfer-Encoding: chunked\r\n\r\n4\r\nall \r\n7\r\nis well\r\n0\r\n\r\n", "status 200, with the content expected"},
		{health.Match{Contains: "all is well"}, "\r\nall is ill", `status 200, but the content has no "all is well"`},
		{health.Match{Contains: "well"}, "Content-Length: 3\r\n\r\nall is well", `status 200, but the content has no "well"`},
		{health.Match{Contains: "all"}, "Content-Length: 30\r\n\r\nall is well", "connection closed waiting for a response"},
		{health.Match{Regexp: `v[2-9]\.`}, "\r\nserver v3.1", "status 200, with the content expected"},
		{health.Match{Regexp: `v[2-9]\.`}, "\r\nserver v1.1", "status 200, but the content does not match \"v[2-9]\\\\.\""},
		{health.Match{JSON: "status", Value: "pass"}, "\r\n" + object, "status 200, with the content expected"},
		{health.Match{JSON: "checks.0.lag", Value: "1.50"}, "\r\n" + object, "status 200, with the content expected"},
		{health.Match{JSON: "ok", Value: "true"}, "\r\n" + object, "status 200, with the content expected"},
		{health.Match{JSON: "checks.1"}, "\r\n" + object, "status 200, with the content expected"},
		{health.Match{JSON: "status", Value: "warn"}, "\r\n" + object, `status 200, but status is "pass"`},
		{health.Match{JSON: "checks.2.name"}, "\r\n" + object, "status 200, but the content has nothing at checks.2.name"},
		{health.Match{JSON: "status"}, "\r\n<html>", "status 200, but the content is not JSON: invalid character '<' looking for beginning of value"},
		{health.Match{Contains: "x"}, "\r\n" + strings.Repeat("y", maxContent) + "x", `status 200, but the content has no "x" in the first 256 KiB`},
		{health.Match{Contains: "x"}, "\r\n" + strings.Repeat("x", 2*maxContent), "status 200, with the content expected"},
		{health.Match{JSON: "a"}, "\r\n" + `{"a": "` + strings.Repeat("x", 2*maxContent), "status 200, but the content is longer than 256 KiB, too long to be read as JSON"},
		{health.Match{Contains: "x"}, strings.Repeat("A: b\r\n", 200) + "\r\n", "not HTTP/1: more than 100 fields in a response"},
	} {
		got, _ := askOnce(health.Check{Kind: health.HTTP, Terms: health.Terms{Match: c.match}.Once()}, func(conn net.Conn) {
			conn.Read(make([]byte, 4096))
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+c.says)
		})
		if got.cause != c.want || (got.verdict == good) != strings.HasSuffix(c.want, "expected") {
			t.Errorf("%+v of %.60q: got %+v, want %q", c.match, c.says, got, c.want)
		}
	}
}

// Redirects lead on, on the same member, and not for ever.
func TestRedirects(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/absolute":
			w.Header().Set("Location", "http://"+r.Host+"/end?x=1")
		case "/relative":
			w.Header().Set("Location", "end?x=1")
		case "/away":
			w.Header().Set("Location", "http://other.example/")
		case "/secure":
			w.Header().Set("Location", "https://"+r.Host+"/end")
		case "/loop":
			w.Header().Set("Location", "/loop")
		case "/end":
			if r.URL.RawQuery != "x=1" {
				w.WriteHeader(http.StatusNotFound)
			}
			return
		}
		w.WriteHeader(http.StatusFound)
	}))
	defer s.Close()
	only200, _ := health.ParseStatusSet("200")
	for path, want := range map[string]string{
		"/absolute": "status 200", "/relative": "status 200", "/loop": "status 302",
		"/away":   `status 302: a redirect to "http://other.example/", which is not on the member`,
		"/secure": fmt.Sprintf(`status 302: a redirect to "https://%s/end", which is not on the member`, s.Listener.Addr()),
	} {
		got := askReal(t, s.Listener.Addr().String(), health.HTTP, health.Terms{Path: path, Redirects: 2, Status: only200})
		if got.cause != want || (got.verdict == good) != (want == "status 200") {
			t.Errorf("%s: got %+v, want %q", path, got, want)
		}
	}
	if got := askReal(t, s.Listener.Addr().String(), health.HTTP, health.Terms{Path: "/away"}); got.verdict != good || got.cause != "status 302" {
		t.Errorf("not followed: %+v", got)
	}
}

// The method and the fields are as configured.
func TestMethodAndFields(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.Header.Get("Authorization") != "Bearer abc" || r.ContentLength != 0 || r.Host != "www.example.com" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	terms := health.Terms{Method: "POST", Fields: "Authorization: Bearer abc\r\nX: y\r\n", Host: "www.example.com"}
	if got := askReal(t, s.Listener.Addr().String(), health.HTTP, terms); got.verdict != good {
		t.Errorf("got %+v", got)
	}
	terms.Method, terms.Match.Contains = "HEAD", "" // nothing is waited for after a HEAD
	if got := askReal(t, s.Listener.Addr().String(), health.HTTP, terms); got.cause != "status 403" {
		t.Errorf("got %+v", got)
	}
}

// The health service of gRPC, by its own implementation.
func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, states := grpc.NewServer(), grpchealth.NewServer()
	grpc_health_v1.RegisterHealthServer(server, states)
	states.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	go server.Serve(l) // ended by Stop
	defer server.Stop()
	for service, want := range map[string]outcome{
		"":          {verdict: good, cause: "SERVING"},
		"shop.Cart": {cause: "NOT_SERVING"},
		"shop.None": {cause: "gRPC status 5: unknown service"},
	} {
		if got := askReal(t, l.Addr().String(), health.GRPC, health.Terms{Service: service}); got != want {
			t.Errorf("%q: got %+v, want %+v", service, got, want)
		}
	}
	none := grpc.NewServer()
	l2, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go none.Serve(l2) // ended by Stop
	defer none.Stop()
	if got := askReal(t, l2.Addr().String(), health.GRPC, health.Terms{}); got.verdict != bad || !strings.HasPrefix(got.cause, "gRPC status 12: ") {
		t.Errorf("without the service: %+v", got)
	}
	cert, ca := authority(t, time.Now().Add(time.Hour))
	if got := askReal(t, secureServer(t, cert, true), health.GRPCS, health.Terms{TLS: health.Encryption{CA: ca}}); got.verdict != bad || got.cause != `no status of gRPC, but ""` {
		t.Errorf("HTTP/2 that is no gRPC: %+v", got)
	}
}

// dnsServer answers each question over UDP and TCP with what answers say of it.
func dnsServer(t *testing.T, answers func(query []byte) [][]byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); u.Close() })
	go func() { // ends when u is closed
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, a := range answers(buf[:n]) {
				u.WriteTo(a, from)
			}
		}
	}()
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			query, err := readDNS(c, true)
			if err == nil {
				for _, a := range answers(query) {
					c.Write(append([]byte{byte(len(a) >> 8), byte(len(a))}, a...))
				}
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

// A DNS check wants its response code and its record, from who was asked.
func TestDNS(t *testing.T) {
	address := dnsServer(t, func(query []byte) [][]byte {
		m, err := dnswire.ParseMessage(query)
		if err != nil {
			return nil
		}
		m.QR, m.EDNS = true, dnswire.EDNS{}
		switch m.Question.Name.String() {
		case "www.example.com.":
			m.Answer = []rdata.Record{{Name: m.Question.Name, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Data: []byte{192, 0, 2, 1}}}
		case "none.example.com.":
			m.Rcode = dnswire.RcodeNXDomain
		case "refused.example.com.":
			m.Rcode = dnswire.RcodeRefused
		}
		forged := *m
		forged.ID++
		forged.Rcode = dnswire.RcodeRefused
		if m.Question.Name == dnsname.MustParse("www.example.com") && m.Question.Type == rdata.TypeA {
			return [][]byte{[]byte("nonsense"), forged.Append(nil), m.Append(nil)}
		}
		return [][]byte{m.Append(nil)}
	})
	for _, c := range []struct {
		q    health.Question
		want outcome
	}{
		{health.Question{Name: "www.example.com"}, outcome{verdict: good, cause: "NOERROR"}},
		{health.Question{Name: "www.example.com", Answer: "192.0.2.1"}, outcome{verdict: good, cause: "NOERROR with 192.0.2.1"}},
		{health.Question{Name: "www.example.com", Answer: "192.0.2.2"}, outcome{cause: "NOERROR, but no record is 192.0.2.2"}},
		{health.Question{Name: "none.example.com"}, outcome{cause: "NXDOMAIN"}},
		{health.Question{Name: "none.example.com", Rcodes: "NOERROR,NXDOMAIN", TCP: true}, outcome{verdict: good, cause: "NXDOMAIN"}},
		{health.Question{Name: "refused.example.com", Type: "SOA", TCP: true}, outcome{cause: "REFUSED"}},
	} {
		if got := askReal(t, address, health.DNS, health.Terms{Question: c.q}); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.q, got, c.want)
		}
	}
}

// A datagram is answered, or not as expected; that nobody listens is known at once.
func TestUDP(t *testing.T) {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends when u is closed
		buf := make([]byte, 100)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			u.WriteTo([]byte("echo:"+string(buf[:n])), from)
		}
	}()
	address := u.LocalAddr().String()
	for expect, want := range map[string]outcome{
		"":           {verdict: good, cause: "answered with 7 octets"},
		"echo:\x00a": {verdict: good, cause: "answered with 7 octets"},
		"PONG":       {cause: `answered "echo:\x00a"`},
	} {
		if got := askReal(t, address, health.UDP, health.Terms{Send: "\x00a", Expect: expect}); got != want {
			t.Errorf("%q: got %+v, want %+v", expect, got, want)
		}
	}
	u.Close()
	if got := askReal(t, address, health.UDP, health.Terms{Send: "a"}); got != (outcome{cause: "connection refused"}) {
		t.Errorf("nobody there: %+v", got)
	}
}

// An echo request to ourselves is answered, where the system permits it; else the
// remedy is said, and nobody is found down.
func TestICMP(t *testing.T) {
	for _, address := range []string{"127.0.0.1:1", "[::1]:1"} {
		got := askReal(t, address, health.ICMP, health.Terms{})
		switch {
		case got == (outcome{verdict: good, cause: "echo reply"}):
		case got.verdict == unsent && strings.Contains(got.warning, "net.ipv4.ping_group_range"):
			t.Logf("%s: %s", address, got.warning)
		case strings.Contains(got.cause, "cannot assign requested address"), strings.Contains(got.cause, "unreachable"):
			t.Logf("%s: no such loopback: %s", address, got.cause)
		default:
			t.Errorf("%s: got %+v", address, got)
		}
	}
}

// An agent speaks one line; nonsense, silence and chatter are failures.
func TestAgents(t *testing.T) {
	for says, want := range map[string]string{
		"up 75%\n":                      "its agent says it is well",
		"drain":                         "its agent says it is well",
		"down # disk is full\r\n":       "its agent says it is down: disk is full",
		"{\"state\":\n\"down\"}":        "its agent says it is down",
		"HTTP/1.1 400 Bad Request\r\n":  `agent said "HTTP/1.1"; want words like "up", "75%", "drain" or an object like {"state": "up", "weight": 75}`,
		"":                              "connection closed waiting for the agent to speak",
		strings.Repeat("up ", maxAgent): "",
	} {
		got, _ := askOnce(health.Check{Kind: health.Agent}, func(c net.Conn) { io.WriteString(c, says) })
		if want != "" && got.cause != want || (got.verdict == good) != strings.HasSuffix(want, "well") || (got.said != nil) != (got.verdict == good || strings.Contains(want, "is down")) {
			t.Errorf("%.40q: got %+v, want %q", says, got, want)
		}
	}
	got, took := askOnce(health.Check{Kind: health.Agent, Terms: health.Terms{Send: "hello\n"}.Once()}, func(c net.Conn) {
		buf := make([]byte, 100)
		n, _ := c.Read(buf)
		io.WriteString(c, "up # "+string(buf[:n-1])+"\n")
		io.Copy(io.Discard, c) // it does not close
	})
	if got.cause != "its agent says it is well: hello" || took > 10*time.Second {
		t.Errorf("asked: %+v after %v", got, took)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/agent" {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, `{"weight": 50, "load": 20}`)
	}))
	defer s.Close()
	if got := askReal(t, s.Listener.Addr().String(), health.AgentHTTP, health.Terms{Path: "/agent"}); got.verdict != good || got.said == nil || got.said.Weight != 500 || got.said.Load != 200 {
		t.Errorf("over HTTP: %+v", got)
	}
	if got := askReal(t, s.Listener.Addr().String(), health.AgentHTTP, health.Terms{}); got.cause != "status 404, want 200 with what the agent says" {
		t.Errorf("over HTTP, elsewhere: %+v", got)
	}
}

// runs is the check of a command.
func runs(args ...string) health.Terms {
	return health.Terms{Program: health.Program{Args: strings.Join(args, "\x00"), Folder: "/"}}
}

// A command runs by itself, with what is said and nothing else.
func TestCommand(t *testing.T) {
	t.Setenv("PHAROS_SECRET", "of the node")
	folder := t.TempDir()
	for _, c := range []struct {
		what  string
		terms health.Terms
		want  outcome
	}{
		{"well", runs("/bin/true"), outcome{verdict: good, cause: "exit status 0"}},
		{"says why", runs("/bin/sh", "-c", "echo 'disk is full'; echo more; exit 2"), outcome{cause: "exit status 2: disk is full"}},
		{"not well", runs("/bin/false"), outcome{cause: "exit status 1"}},
		{"no shell", runs("/bin/echo", "$HOME; `id`"), outcome{verdict: good, cause: "$HOME; `id`"}},
		{"no input", runs("/bin/cat"), outcome{verdict: good, cause: "exit status 0"}},
		{"control characters", runs("/usr/bin/printf", `\033[2Jgone`), outcome{verdict: good, cause: "[2Jgone"}},
		{"a flood of output", runs("/bin/sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' y"), outcome{verdict: good, cause: strings.Repeat("y", 120) + "..."}},
		{"not there", runs("/nonexistent/check"), outcome{verdict: unsent, cause: "check.command: fork/exec /nonexistent/check: no such file or directory", warning: "check.command: fork/exec /nonexistent/check: no such file or directory"}},
		{"killed", runs("/bin/sh", "-c", "kill -9 $$"), outcome{cause: "signal: killed"}},
	} {
		if got := askReal(t, "127.0.0.1:80", health.Command, c.terms); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.what, got, c.want)
		}
	}
	terms := runs("/bin/sh", "-c", "echo $A $C $PHAROS_ADDRESS $PHAROS_HOST $PHAROS_PORT; env | wc -l; pwd")
	terms.Program.Env, terms.Program.Folder = "A=b\x00C=d e", folder
	got := askReal(t, "127.0.0.1:80", health.Command, terms)
	if got != (outcome{verdict: good, cause: "b d e 127.0.0.1:80 127.0.0.1 80"}) {
		t.Errorf("environment: %+v", got)
	}
	terms = runs("/usr/bin/env")
	if got := askReal(t, "127.0.0.1:80", health.Command, terms); !strings.HasPrefix(got.cause, "PATH="+program.Path[:20]) {
		t.Errorf("environment: %+v", got)
	}
	if got := askReal(t, "127.0.0.1:80", health.Command, runs("/bin/sh", "-c", "test -z \"$PHAROS_SECRET\" && env | grep -c .")); got.verdict != good {
		t.Errorf("a variable of the node got through: %+v", got)
	}
	if os.Geteuid() == 0 {
		terms = runs("/usr/bin/id", "-u")
		terms.Program.User = "nobody"
		if got := askReal(t, "127.0.0.1:80", health.Command, terms); got.verdict != good || got.cause == "0" {
			t.Errorf("as nobody: %+v", got)
		}
	}
	terms = runs("/bin/true")
	terms.Program.User = "no-such-user"
	if got := askReal(t, "127.0.0.1:80", health.Command, terms); got.verdict != unsent || !strings.Contains(got.warning, "there is no user no-such-user") {
		t.Errorf("as nobody there is: %+v", got)
	}
}

// What hangs, and what it has forked, is killed when its time is over; what a command
// leaves behind is killed when it ends.
func TestCommandIsKilledWhole(t *testing.T) {
	folder := t.TempDir()
	pidIn := func(name string) int {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	hang := runs("/bin/sh", "-c", "sleep 1000 & echo $! > hang; sleep 1000")
	hang.Program.Folder = folder
	target := newTarget(health.Target{Address: netip.MustParseAddrPort("127.0.0.1:80"), Check: health.Check{Kind: health.Command, Terms: hang.Once(), Params: health.Params{Timeout: 5 * time.Second}.Once()}})
	if got := target.ask(context.Background(), nil); got.cause != "timeout after 5s; killed with all its processes" {
		t.Errorf("got %+v", got)
	}
	leave := runs("/bin/sh", "-c", "sleep 1000 & echo $! > left; exit 0")
	leave.Program.Folder = folder
	if got := askReal(t, "127.0.0.1:80", health.Command, leave); got.verdict != good {
		t.Errorf("got %+v", got)
	}
	for _, name := range []string{"hang", "left"} {
		if pid := pidIn(name); isAlive(pid) {
			t.Errorf("process %d, forked by a command, lives on", pid)
		}
	}
}

// isAlive reports whether a process still runs, after some patience: a killed one takes
// a moment to die, and may stay a zombie of whoever inherits it.
func isAlive(pid int) bool {
	deadline, tick := time.After(time.Minute), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, state, _ := strings.Cut(string(stat), ") "); err != nil || strings.HasPrefix(cmp.Or(state, "Z"), "Z") {
			return false
		}
		select {
		case <-deadline:
			return true
		case <-tick.C:
		}
	}
}

// Whatever a content is, matching it ends.
func FuzzMatch(f *testing.F) {
	f.Add([]byte(`{"a": [1, {"b": "c"}]}`), "a.1.b")
	f.Add([]byte("[[[["), "0.0")
	f.Fuzz(func(t *testing.T, content []byte, place string) {
		m := compileMatch(health.Match{JSON: cmp.Or(place, "a"), Value: "c"})
		if fault := m.fault(content, true); strings.ContainsAny(fault, "\x1b\n") {
			t.Fatalf("%q", fault)
		}
	})
}

// Whatever a server answers to a gRPC check, reading it ends.
func FuzzServingStatus(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 8, 1})
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if state, err := servingStatus(frame); err == nil && len(frame) == 5 && state != 0 {
			t.Fatalf("%x: %d", frame, state)
		}
	})
}
