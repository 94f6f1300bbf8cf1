package node

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pharos/lab/testca"
)

// secureOrigin starts an origin server over TLS that says how it was asked.
func secureOrigin(t *testing.T, pair testca.Pair, with func(*httptest.Server)) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := ""
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s %s from %q", r.Proto, r.TLS.ServerName, who)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair.TLS}}
	s.Config.ErrorLog = nil
	if with != nil {
		with(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "https://")
}

// TestOriginsOverTLS: pools[].origin: members prove who they are, by authority and name or by
// key, and learn who we are; what does not hold is a refusal that says why, nothing of the
// request is sent, and a kept connection is never used under another identity.
func TestOriginsOverTLS(t *testing.T) {
	ca, stranger := testca.New(t, "ca"), testca.New(t, "stranger")
	good, ended, ours := ca.Issue("origin.test"), ca.IssueUntil(time.Now().Add(-time.Hour), "origin.test"), ca.Issue("gateway")
	askedFor := func(s *httptest.Server) {
		s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	}
	http2 := func(s *httptest.Server) { s.EnableHTTP2 = true }
	fine, known := secureOrigin(t, good, nil), fmt.Sprintf("{name: origin.test, ca: %q}", ca.File)
	cases := []struct {
		name, member, origin string
		status               int
		want                 string
	}{
		{"good", fine, "tls: " + known, 200, `HTTP/1.1 origin.test from ""`},
		{"same-but-strange", fine, fmt.Sprintf("tls: {name: origin.test, ca: %q}", stranger.File), 502, "signed by nobody who is believed"},
		{"same-but-named", fine, fmt.Sprintf("tls: {name: other.test, ca: %q}", ca.File), 502, "made out to another name"},
		{"system", fine, "tls: {name: origin.test}", 502, "signed by nobody who is believed"},
		{"ended", secureOrigin(t, ended, nil), "tls: " + known, 502, "has expired"},
		{"pinned", fine, "tls: {pin: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}", 502, "no TLS with the origin server"},
		{"shown", secureOrigin(t, good, askedFor), fmt.Sprintf("tls: {name: origin.test, ca: %q, certificate: %q, key: %q}", ca.File, ours.Certificate, ours.Key), 200, `HTTP/1.1 origin.test from "gateway"`},
		{"h2", secureOrigin(t, good, http2), "protocol: http2, tls: " + known, 200, `HTTP/2.0 origin.test from ""`},
		{"either-h2", secureOrigin(t, good, http2), "protocol: auto, tls: " + known, 200, `HTTP/2.0 origin.test from ""`},
		{"either-h1", fine, "protocol: auto, tls: " + known, 200, `HTTP/1.1 origin.test from ""`},
		{"either-websocket", secureOrigin(t, good, http2), "protocol: auto, tls: " + known, 200, `HTTP/1.1 origin.test from ""`},
		{"h2-refused", fine, "protocol: http2, tls: " + known, 502, ""},
	}
	pools, routes := "", ""
	for _, c := range cases {
		pools += fmt.Sprintf("- {name: %s, check: {type: none}, members: [{name: a, address: %q}], origin: {%s}}\n", c.name, c.member, c.origin)
		routes += fmt.Sprintf("- {host: %s.test, pool: %s}\n", c.name, c.name)
	}
	f := newFolder(t)
	n, _ := start(t, f.write("pharos.yaml", `data: data
store: {enabled: false}
listen: {dns: [], http: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
gateway: {timeouts: {connect: 20s}}
pools:
`+pools+"routes:\n"+routes))
	for range 2 { // the second time over what was kept
		for _, c := range cases {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+n.HTTP()[0]+"/", nil)
			req.Host, req.Close = c.name+".test", true
			if strings.HasSuffix(c.name, "websocket") { // which needs HTTP/1.1, and may be declined
				req.Close = false
				for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
					req.Header.Set(name, value)
				}
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.status || !strings.Contains(string(got), c.want) {
				t.Errorf("%s: got %d %q, want %d %q", c.name, resp.StatusCode, got, c.status, c.want)
			}
		}
	}
	reused := uint64(0)
	for _, o := range n.gateway.Origins() {
		reused += o.Reused
	}
	if reused < 3 {
		t.Errorf("%d exchanges on connections that there were, want one each of those that work", reused)
	}
}

// TestProxyHeaderToOrigins: pools[].origin.proxyProtocol: each connection to a member begins with
// whom it is for, and serves nobody else.
func TestProxyHeaderToOrigins(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan string, 4)
	go func() { // ends with its listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			r := bufio.NewReader(conn)
			header, _ := r.ReadString('\n')
			http.ReadRequest(r)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			seen <- header
			conn.Close()
		}
	}()
	f := newFolder(t)
	n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: [], http: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
pools: [{name: web, check: {type: none}, origin: {proxyProtocol: v1}, members: [{name: a, address: %q}]}]
routes: [{pool: web}]
`, l.Addr())))
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 5)}}).Dial("tcp", n.HTTP()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	_, port, _ := net.SplitHostPort(n.HTTP()[0])
	want := fmt.Sprintf("PROXY TCP4 127.0.0.5 127.0.0.1 %d %s\r\n", conn.LocalAddr().(*net.TCPAddr).Port, port)
	for range 2 {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadAll(resp.Body)
		if got := <-seen; resp.StatusCode != 200 || got != want {
			t.Errorf("got %d, header %q, want %q", resp.StatusCode, got, want)
		}
	}
}
