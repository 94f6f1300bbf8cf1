package node

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/problems"
	"pharos/internal/serve/proxyheader"
	"pharos/lab/testca"
	"pharos/lab/tools"
)

// showingOrigin starts an origin server that answers with the fields that tell of the client.
func showingOrigin(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Client-Subject"} {
			fmt.Fprintf(w, "%s: %s\n", name, r.Header.Get(name))
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestHTTPS: the gateway over TLS as clients use it: certificates by name, requests that
// belong on another connection, clients that have to show who they are, http led to https,
// and new certificates while connections stay.
func TestHTTPS(t *testing.T) {
	tools.Need(t, "curl", "openssl")
	ca, clients := testca.New(t, "ca"), testca.New(t, "clients")
	www, admin, alice := ca.Issue("www.test"), ca.Issue("admin.test"), clients.Issue("alice")
	f := newFolder(t)
	file := f.write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: [], http: ["127.0.0.1:0"], https: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {certificates: [{certificate: %q, key: %q}, {certificate: %q, key: %q}]}
gateway:
  timeouts: {drain: 1s}
  tls: {clients: [{hosts: [admin.test], ca: %q}]}
pools: [{name: web, check: {type: none}, members: [{name: a, address: %q}]}]
routes:
- {name: to-https, path: "/", when: {scheme: http}, redirect: {to: "https://{host}{path}{query}", status: 308}}
- {name: web, path: "/", pool: web}
`, www.Certificate, www.Key, admin.Certificate, admin.Key, clients.File, showingOrigin(t)))
	n, _ := start(t, file)
	_, port, _ := net.SplitHostPort(n.HTTPS()[0])
	curl := func(url string, args ...string) string {
		t.Helper()
		for _, host := range []string{"www.test", "admin.test", "other.test"} {
			args = append(args, "--resolve", host+":"+port+":127.0.0.1")
		}
		if !slices.Contains(args, "--http2") {
			args = append(args, "--http1.1")
		}
		return run(t, "curl", append(args, "--silent", "--show-error", "--max-time", "15", "--include", "--cacert", ca.File, url)...)
	}
	for _, tt := range []struct {
		name string
		out  string
		want []string
	}{
		{"by name", curl("https://www.test:" + port + "/"), []string{"HTTP/1.1 200", "X-Forwarded-Proto: https", "proto=https", "X-Client-Subject: \n"}},
		{"a subject of one's own", curl("https://www.test:"+port+"/", "-H", "X-Client-Subject: CN=root"), []string{"HTTP/1.1 200", "X-Client-Subject: \n"}},
		{"TLS 1.2", curl("https://www.test:"+port+"/", "--tls-max", "1.2"), []string{"HTTP/1.1 200"}},
		{"HTTP/2", curl("https://www.test:"+port+"/", "--http2"), []string{"HTTP/2 200", "X-Forwarded-Proto: https"}},
		{"another host, by HTTP/2", curl("https://www.test:"+port+"/", "--http2", "-H", "Host: admin.test"), []string{"HTTP/2 421"}},
		{"another host on the connection", curl("https://www.test:"+port+"/", "-H", "Host: admin.test"), []string{"HTTP/1.1 421"}},
		{"a host of nobody", curl("https://www.test:"+port+"/", "-H", "Host: other.test"), []string{"HTTP/1.1 421"}},
		{"without a certificate", curl("https://admin.test:" + port + "/"), []string{"curl: ("}},
		{"with one", curl("https://admin.test:"+port+"/", "--cert", alice.Certificate, "--key", alice.Key), []string{"HTTP/1.1 200", "X-Client-Subject: CN=alice"}},
		{"in the clear", curl("http://"+n.HTTP()[0]+"/a?b=c", "-H", "Host: www.test"), []string{"HTTP/1.1 308", "Location: https://www.test/a?b=c"}},
	} {
		for _, want := range tt.want {
			if !strings.Contains(tt.out, want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, tt.out)
			}
		}
	}
	if out := run(t, "sh", "-c", "echo | openssl s_client -connect "+n.HTTPS()[0]+" -servername www.test -tls1_1 -cipher ALL:@SECLEVEL=0 2>&1"); !strings.Contains(out, "alert protocol version") {
		t.Errorf("TLS 1.1:\n%s", out)
	}

	// A certificate that was made anew is shown to who comes then; who is there stays.
	conn, err := tls.Dial("tcp", n.HTTPS()[0], &tls.Config{ServerName: "www.test", RootCAs: ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	next := ca.Issue("www.test")
	for from, to := range map[string]string{next.Certificate: www.Certificate, next.Key: www.Key} {
		moveFile(t, from, to)
	}
	eventually(t, func() string {
		again, err := tls.Dial("tcp", n.HTTPS()[0], &tls.Config{ServerName: "www.test", RootCAs: ca.Pool()})
		if err != nil {
			return err.Error()
		}
		defer again.Close()
		if !again.ConnectionState().PeerCertificates[0].Equal(next.TLS.Leaf) {
			return "the old certificate is shown"
		}
		return ""
	})
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("a connection from before: %q, %v", answer, err)
	}
	// A key that belongs to another certificate: the old pair is shown on, and the operator is told.
	if err := os.WriteFile(www.Key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if n.hasProblem(problems.CertificateRefused) == "" {
			return "no problem is shown"
		}
		return ""
	})
	if out := curl("https://www.test:" + port + "/"); !strings.Contains(out, "HTTP/1.1 200") {
		t.Errorf("after a bad key:\n%s", out)
	}
}

// TestGatewayBehindProxy: gateway.proxyProtocol: from these networks the header is
// mandatory, from others it is none, over TLS as well.
func TestGatewayBehindProxy(t *testing.T) {
	ca := testca.New(t, "ca")
	www := ca.Issue("www.test")
	f := newFolder(t)
	n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: [], http: ["127.0.0.1:0"], https: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {certificates: [{certificate: %q, key: %q}]}
gateway: {proxyProtocol: [127.0.0.2/32], trustedProxies: [127.0.0.0/8], timeouts: {drain: 1s}}
pools: [{name: web, check: {type: none}, members: [{name: a, address: %q}]}]
routes: [{path: "/", pool: web}]
`, www.Certificate, www.Key, showingOrigin(t))))
	header := proxyheader.AppendText(nil, proxyheader.Header{Client: netip.MustParseAddrPort("192.0.2.7:5300"), Local: netip.MustParseAddrPort("198.51.100.1:80")})
	ask := func(from, server, before string) string {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, before)
		if server == n.HTTPS()[0] {
			conn = tls.Client(conn, &tls.Config{ServerName: "www.test", RootCAs: ca.Pool()})
		}
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(conn)
		return string(answer)
	}
	for _, server := range []string{n.HTTP()[0], n.HTTPS()[0]} {
		if got := ask("127.0.0.2", server, string(header)); !strings.Contains(got, "X-Forwarded-For: 192.0.2.7\n") {
			t.Errorf("named: got %q", got)
		}
		if got := ask("127.0.0.2", server, ""); got != "" {
			t.Errorf("without a header: got %q", got)
		}
		if got := ask("127.0.0.3", server, string(header)); strings.Contains(got, "192.0.2.7") || strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("a stranger's header: got %q", got)
		}
		if got := ask("127.0.0.3", server, ""); !strings.Contains(got, "X-Forwarded-For: 127.0.0.3\n") {
			t.Errorf("a stranger: got %q", got)
		}
	}
}
