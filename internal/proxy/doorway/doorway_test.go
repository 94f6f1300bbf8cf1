package doorway

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/serve/proxyheader"
	"pharos/lab/testca"
)

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	named    = proxyheader.Header{Client: netip.MustParseAddrPort("192.0.2.7:5300"), Local: netip.MustParseAddrPort("198.51.100.1:80")}
)

// sockets returns both ends of a connection over TCP.
func sockets(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{server, client} {
		t.Cleanup(func() { c.Close() })
	}
	client.SetDeadline(time.Now().Add(20 * time.Second)) // a hang fails the test
	return server, client
}

func never() bool { return false }

// TestProxyHeader: "The PROXY protocol" §2: the receiver knows whether there is a header. Of
// whom it expects one nobody gets in without, and of all others it is not looked at: it
// stays, to be refused as a request.
func TestProxyHeader(t *testing.T) {
	text, binary := proxyheader.AppendText(nil, named), proxyheader.Append(nil, named, true)
	request := "GET / HTTP/1.1\r\n"
	for name, tt := range map[string]struct {
		trusted bool
		sent    string
		client  netip.AddrPort
		proxied bool
		refused bool
	}{
		"version 1":              {true, string(text), named.Client, true, false},
		"version 2":              {true, string(binary), named.Client, true, false},
		"speaks for itself":      {true, string(proxyheader.Append(nil, proxyheader.Header{}, true)), netip.AddrPort{}, true, false},
		"names nobody":           {true, "PROXY UNKNOWN\r\n", netip.AddrPort{}, true, false},
		"trusted, without one":   {true, "", netip.AddrPort{}, true, true},
		"half of one":            {true, string(text[:20]) + "\r\n", netip.AddrPort{}, true, true},
		"a stranger's is no one": {false, string(text), netip.AddrPort{}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := sockets(t)
			d := New(Config{Proxies: func(netip.Addr) bool { return tt.trusted }})
			if d.IsOpen(loopback) == tt.trusted {
				t.Errorf("open: %v", !tt.trusted)
			}
			io.WriteString(client, tt.sent+request)
			a, err := d.Admit(server, loopback, never)
			if (err != nil) != tt.refused || a.Client != tt.client || a.Proxied != tt.proxied || a.TLS != nil {
				t.Fatalf("got %+v, %v", a, err)
			}
			if got := d.Counts().HeadersRefused.Load(); (got == 1) != tt.refused {
				t.Errorf("%d refused", got)
			}
			if tt.refused {
				return
			}
			client.(*net.TCPConn).CloseWrite()
			want := request
			if !tt.trusted {
				want = tt.sent + request
			}
			if left, _ := io.ReadAll(a.Conn); string(left) != want {
				t.Errorf("left %q, want %q", left, want)
			}
		})
	}
}

// TestHeaderInTime: a proxy that says nothing does not hold a connection.
func TestHeaderInTime(t *testing.T) {
	server, _ := sockets(t)
	began := time.Now()
	d := New(Config{Proxies: func(netip.Addr) bool { return true }})
	if _, err := d.Admit(server, loopback, never); err == nil {
		t.Fatal("let in")
	}
	if took := time.Since(began); took < headerTime || took > time.Minute { // on a busy machine
		t.Errorf("after %v, want %v", took, headerTime)
	}
}

// tlsDoor returns a Door that shows a certificate of its own authority for names.
func tlsDoor(ca *testca.Authority, rules []ClientRule, authorities func(string) *x509.CertPool, names ...string) *Door {
	pair := ca.Issue(names...)
	return New(Config{TLS: &TLS{
		Least: tls.VersionTLS12, Protocols: []string{"http/1.1"}, Clients: rules, Authorities: authorities,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair.TLS, nil },
		Covers:      func(_, other string) bool { return pair.TLS.Leaf.VerifyHostname(other) == nil },
	}})
}

// shake agrees on TLS with d, and returns what both ends got.
func shake(t *testing.T, d *Door, c *tls.Config) (a Arrival, state tls.ConnectionState, err error) {
	t.Helper()
	server, client := sockets(t)
	conn := tls.Client(client, c)
	done := make(chan error, 1)
	go func() {
		err := conn.Handshake()
		if err == nil { // in TLS 1.3 a client learns of a refusal, and gets its ticket, when it reads
			conn.Read(make([]byte, 1))
		}
		done <- err
	}()
	a, err = d.Admit(server, loopback, never)
	if err == nil {
		a.Conn.Write([]byte("."))
	} else {
		server.Close()
	}
	if clientErr := <-done; clientErr != nil && err == nil {
		t.Fatalf("the client: %v", clientErr)
	}
	return a, conn.ConnectionState(), err
}

// TestClientCertificates: who has to show a certificate does, by the name that is asked
// for; whose it is is passed on only if it is proven.
func TestClientCertificates(t *testing.T) {
	ca, other := testca.New(t, "clients"), testca.New(t, "strangers")
	rules := []ClientRule{{Hosts: []string{"admin.test", "*.internal.test"}, Required: true, CA: "ca"}, {Hosts: []string{"ask.test"}, CA: "ca"}}
	d := tlsDoor(ca, rules, func(string) *x509.CertPool { return ca.Pool() }, "www.test", "admin.test", "ask.test", "*.internal.test")
	mine, theirs := ca.Issue("Zo\xc3\xab \"the\" admin", "zoe.test", "192.0.2.7"), other.Issue("mallory")
	for name, tt := range map[string]struct {
		host    string
		shows   *testca.Pair
		subject string
		refused bool
	}{
		"nobody is asked":             {"www.test", nil, "", false},
		"shown without being asked":   {"www.test", &mine, "", false},
		"required and shown":          {"admin.test", &mine, `CN=Zo\c3\ab \"the\" admin`, false},
		"required, in upper case":     {"ADMIN.test", nil, "", true},
		"required and missing":        {"admin.test", nil, "", true},
		"required below a wildcard":   {"a.b.internal.test", nil, "", true},
		"required and a stranger's":   {"admin.test", &theirs, "", true},
		"requested and shown":         {"ask.test", &mine, `CN=Zo\c3\ab \"the\" admin`, false},
		"requested and missing":       {"ask.test", nil, "", false},
		"requested and a stranger's":  {"ask.test", &theirs, "", true},
		"no name: the rule for hosts": {"", nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &tls.Config{ServerName: tt.host, InsecureSkipVerify: true}
			if tt.shows != nil {
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.shows.TLS, nil }
			}
			a, _, err := shake(t, d, c)
			if (err != nil) != tt.refused {
				t.Fatalf("got %v", err)
			}
			if tt.refused {
				return
			}
			if a.TLS.Subject != tt.subject || (a.TLS.Certificate != "") != (tt.subject != "") {
				t.Errorf("subject %q, certificate %q", a.TLS.Subject, a.TLS.Certificate)
			}
			names, print := "", ""
			if tt.subject != "" {
				names, print = `zoe.test,192.0.2.7`, fmt.Sprintf("%x", sha256.Sum256(tt.shows.TLS.Certificate[0]))
			}
			if a.TLS.Names != names || a.TLS.Print != print {
				t.Errorf("names %q, fingerprint %q; want %q and %q", a.TLS.Names, a.TLS.Print, names, print)
			}
		})
	}
}

// TestTicketsKeepToTheirRule: a session that began where nobody is asked, or under
// authorities that are believed no more, is no way past the question (as in
// CVE-2025-68121).
func TestTicketsKeepToTheirRule(t *testing.T) {
	old, next := testca.New(t, "old"), testca.New(t, "next")
	believed := old.Pool()
	d := tlsDoor(old, []ClientRule{{Hosts: []string{"admin.test"}, Required: true, CA: "ca"}, {Hosts: []string{"ask.test"}, CA: "ca"}},
		func(string) *x509.CertPool { return believed }, "www.test", "admin.test", "ask.test")
	pair := old.Issue("alice")
	cache := &anyName{tls.NewLRUClientSessionCache(8)}
	as := func(host string, shows bool) *tls.Config {
		c := &tls.Config{ServerName: host, InsecureSkipVerify: true, ClientSessionCache: cache, MaxVersion: tls.VersionTLS12}
		if shows {
			c.Certificates = []tls.Certificate{pair.TLS}
		}
		return c
	}
	if _, _, err := shake(t, d, as("www.test", false)); err != nil {
		t.Fatal(err)
	}
	if _, state, err := shake(t, d, as("www.test", false)); err != nil || !state.DidResume {
		t.Fatalf("a session is not resumed where it may be: %v", err)
	}
	if _, state, err := shake(t, d, as("admin.test", false)); err == nil || state.DidResume {
		t.Error("with a ticket of www.test a client without a certificate got in to admin.test")
	}
	cache.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	if _, _, err := shake(t, d, as("admin.test", true)); err != nil {
		t.Fatal(err)
	}
	if a, state, err := shake(t, d, as("admin.test", false)); err != nil || !state.DidResume || a.TLS.Subject != "CN=alice" {
		t.Fatalf("resumed %v as %q, %v", state.DidResume, a.TLS.Subject, err)
	}
	if _, state, err := shake(t, d, as("ask.test", false)); err != nil || state.DidResume {
		t.Errorf("another rule: resumed %v, %v", state.DidResume, err)
	}
	cache.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	shake(t, d, as("admin.test", true))
	believed = next.Pool()
	if _, _, err := shake(t, d, as("admin.test", false)); err == nil {
		t.Error("who was let in by authorities that are believed no more came back with a ticket")
	}
}

// anyName is a client that tries its ticket wherever it goes.
type anyName struct{ tls.ClientSessionCache }

func (c *anyName) Get(string) (*tls.ClientSessionState, bool) { return c.ClientSessionCache.Get("") }
func (c *anyName) Put(_ string, session *tls.ClientSessionState) {
	c.ClientSessionCache.Put("", session)
}

// TestMisdirected: RFC 9110 §7.4, §15.5.20: what a client may ask for on a connection is
// what the connection was made for.
func TestMisdirected(t *testing.T) {
	ca := testca.New(t, "ca")
	d := tlsDoor(ca, []ClientRule{{Hosts: []string{"admin.test"}, Required: true, CA: "ca"}}, func(string) *x509.CertPool { return ca.Pool() },
		"www.test", "alias.test", "admin.test")
	client := ca.Issue("alice")
	for _, tt := range []struct {
		name, authority string
		refused         bool
	}{
		{"www.test", "www.test", false}, {"www.test", "WWW.Test:8443", false}, {"www.test", "www.test.", false}, {"www.test", "alias.test", false},
		{"www.test", "", false}, // HTTP/1.0
		{"www.test", "other.test", true}, {"www.test", "www.test.evil", true}, {"www.test", "127.0.0.1", true},
		{"www.test", "admin.test", true}, {"www.test", "admin.test:443", true}, {"www.test", "ADMIN.test.", true},
		{"admin.test", "admin.test", false}, {"admin.test", "www.test", true},
		{"unknown.test", "unknown.test", false}, // the client has taken the certificate for what it is
		{"unknown.test", "www.test", false}, {"unknown.test", "other.test", true},
		{"", "www.test", false}, {"", "192.0.2.1:443", false}, {"", "[2001:db8::1]:443", false}, {"", "other.test", true}, {"", "admin.test", true},
	} {
		c := &tls.Config{ServerName: tt.name, InsecureSkipVerify: true, Certificates: []tls.Certificate{client.TLS}}
		a, _, err := shake(t, d, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, authority := range []string{tt.authority, "alias.test:1", tt.authority, tt.authority} { // what was good before makes nothing else good
			if got := a.TLS.Misdirected([]byte(authority)); authority == tt.authority && (got != "") != tt.refused {
				t.Errorf("%q on a connection for %q: %q, want refused %v", tt.authority, tt.name, got, tt.refused)
			}
		}
	}
}

// TestNoAllocs: what each request is asked costs nothing.
func TestNoAllocs(t *testing.T) {
	ca := testca.New(t, "ca")
	a, _, err := shake(t, tlsDoor(ca, nil, nil, "www.test", "alias.test"), &tls.Config{ServerName: "www.test", RootCAs: ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	for _, authority := range []string{"www.test:8443", "alias.test"} {
		if n := testing.AllocsPerRun(100, func() { a.TLS.Misdirected([]byte(authority)) }); n != 0 {
			t.Errorf("%s: %v allocations", authority, n)
		}
	}
}

// TestHandshakes: they are limited in number and time, and what has nothing in common is
// told so.
func TestHandshakes(t *testing.T) {
	ca := testca.New(t, "ca")
	d := tlsDoor(ca, nil, nil, "www.test")
	allowed := true
	d.config.Handshake = func(client netip.Addr) bool { return allowed && client == loopback }
	c := func() *tls.Config { return &tls.Config{ServerName: "www.test", RootCAs: ca.Pool()} }
	a, state, err := shake(t, d, c())
	if err != nil || state.Version != tls.VersionTLS13 || d.Counts().Handshakes.Load() != 1 || a.TLS.Protocol != "" {
		t.Fatalf("got %x, %v", state.Version, err)
	}
	old := c()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, _, err := shake(t, d, old); err == nil || !strings.Contains(err.Error(), "unsupported versions") {
		t.Errorf("TLS 1.1: %v", err)
	}
	strange := c()
	strange.NextProtos = []string{"spdy/3"}
	if _, _, err := shake(t, d, strange); err == nil || !strings.Contains(err.Error(), "application protocol") {
		t.Errorf("nothing in common: %v", err)
	}
	if d.Counts().HandshakesFailed.Load() != 2 {
		t.Errorf("%d failed", d.Counts().HandshakesFailed.Load())
	}
	allowed = false
	if _, _, err := shake(t, d, c()); !errors.Is(err, ErrHandshakes) || d.Counts().HandshakesRefused.Load() != 1 {
		t.Errorf("too many: %v", err)
	}
}
