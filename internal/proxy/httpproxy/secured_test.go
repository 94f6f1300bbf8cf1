package httpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/tlsconn"
	"pharos/lab/testca"
)

// startSecured serves the routes of startGateway over TLS, with a certificate for
// www.test, and returns its address and whom to believe.
func startSecured(t testing.TB, cfg Config, with func(a *Arrival), members ...string) (*gateway, *testca.Authority) {
	t.Helper()
	ca := testca.New(t, "ca")
	pair := ca.Issue("www.test", "127.0.0.1")
	g := startGateway(t, cfg, members...)
	l, err := doorway.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	g.address = l.Addr().String()
	terms := &tls.Config{Certificates: []tls.Certificate{pair.TLS}, NextProtos: []string{"h2", "http/1.1"}} // shared, so that clients may come back by a ticket
	d := &Door{
		IsTLS: true, IsOpen: func(netip.Addr) bool { return false },
		Admit: func(conn net.Conn, _ netip.Addr, overdue func() bool) (Arrival, error) {
			c := tlsconn.Server(conn, terms)
			if err := c.Handshake(); err != nil {
				return Arrival{}, err
			}
			c.Interruptible(overdue)
			a := Arrival{Conn: c, TLS: &Identity{Protocol: c.ConnectionState().NegotiatedProtocol, Misdirected: func(host []byte) string {
				if strings.HasPrefix(string(host), "other") {
					return "not here"
				}
				return ""
			}}}
			if with != nil {
				with(&a)
			}
			return a, nil
		},
	}
	go g.server.ServeBehind(d, l) // ends with the server, at the end of the test
	return g, ca
}

// dialTLS opens a connection as a client that believes ca.
func dialTLS(t testing.TB, address string, ca *testca.Authority) *tls.Conn {
	t.Helper()
	conn := tls.Client(dial(t, address), &tls.Config{ServerName: "www.test", RootCAs: ca.Pool()})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestOverTLS: a connection carries requests one after the other, also when they come in
// one record, in many, and together with the end of the handshake; and content of any size both
// ways.
func TestOverTLS(t *testing.T) {
	origin := startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.URL.Path, r.Header.Get("X-Forwarded-Proto"), sumOf(r.Body))
	})
	g, ca := startSecured(t, Config{}, nil, origin)
	conn := dialTLS(t, g.address, ca)
	r := bufio.NewReader(conn)
	read := func() string {
		t.Helper()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", string(b))
	}
	empty := sumOf(strings.NewReader(""))
	for _, pieces := range [][]string{
		{"GET /a HTTP/1.1\r\nHost: www.test\r\n\r\n"},
		{"G", "ET /a HTTP/1.1\r\nHost: ", "www.test\r\n\r\n"},
		{"GET /a HTTP/1.1\r\nHost: www.test\r\n\r\nGET /a HTTP/1.1\r\nHost: www.test\r\n\r\n"},
		{"GET /a HTTP/1.1\r\nHost: www.test\r\n\r\nG", "ET /a HTTP/1.1\r\nHost: www.test\r\n\r\n"},
		{"GET https://www.test/a HTTP/1.1\r\nHost: www.test\r\n\r\n"},
	} {
		for _, p := range pieces {
			io.WriteString(conn, p)
		}
		for range strings.Count(strings.Join(pieces, ""), "HTTP/1.1") {
			if got, want := read(), "200 /a https "+empty; got != want {
				t.Errorf("%q: got %q, want %q", pieces, got, want)
			}
		}
	}
	large := strings.Repeat("0123456789abcdef", 100_000)
	go fmt.Fprintf(conn, "POST /b HTTP/1.1\r\nHost: www.test\r\nContent-Length: %d\r\n\r\n%s", len(large), large)
	if got, want := read(), "200 /b https "+sumOf(strings.NewReader(large)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	io.WriteString(conn, "GET http://www.test/a HTTP/1.1\r\nHost: www.test\r\n\r\n")
	if got := read(); !strings.HasPrefix(got, "400 ") {
		t.Errorf("a target of the other scheme: got %q", got)
	}
}

// TestMisdirected: RFC 9110 §15.5.20: 421.
func TestMisdirected(t *testing.T) {
	g, ca := startSecured(t, Config{}, nil, "127.0.0.1:1")
	conn := dialTLS(t, g.address, ca)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 421 Misdirected Request\r\n") {
		t.Errorf("got %q", answer)
	}
}

// TestClientFields: RFC 9440 §2.4, §4: who the client is is said by the gateway alone; from
// a trusted proxy it is passed on, unless the connection itself says it.
func TestClientFields(t *testing.T) {
	heads := make(chan string, 16)
	origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			head := readMessageHead(r)
			if head == "" {
				return
			}
			heads <- head
			io.WriteString(conn, ok2)
		}
	})
	forged := "X-Client-Subject: CN=root\r\nClient-Cert: :Zm9yZ2Vk:\r\nClient-Cert-Chain: :Zm9yZ2Vk:\r\nX_Client_Subject: CN=root\r\n"
	for name, tt := range map[string]struct {
		trusted []netip.Prefix
		subject string
		want    string
		never   string
	}{
		"a stranger's are deleted":   {nil, "", "X-Forwarded-Proto: https", "root"},
		"ours stand in their place":  {nil, "CN=alice", "X-Client-Subject: CN=alice\r\nClient-Cert: :b3Vycw==:", "root"},
		"a trusted proxy's are kept": {loopbacks, "", "X-Client-Subject: CN=root", "X_Client"},
		"unless it is one itself":    {loopbacks, "CN=proxy", "X-Client-Subject: CN=proxy", "Zm9yZ2Vk"},
	} {
		t.Run(name, func(t *testing.T) {
			g, ca := startSecured(t, Config{Trusted: tt.trusted}, func(a *Arrival) {
				if a.TLS.Subject = tt.subject; tt.subject != "" {
					a.TLS.Certificate = ":b3Vycw==:"
				}
			}, origin)
			conn := dialTLS(t, g.address, ca)
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close, X-Client-Subject\r\n"+forged+"\r\n")
			io.ReadAll(conn)
			seen := <-heads
			if !strings.Contains(seen, tt.want) || strings.Contains(seen, tt.never) {
				t.Errorf("the origin got %q, want %q and no %q", seen, tt.want, tt.never)
			}
		})
	}
	g := startGateway(t, Config{}, origin)
	g.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + forged + "\r\n")
	if seen := <-heads; strings.Contains(seen, "root") || !strings.Contains(seen, "X-Forwarded-Proto: http\r\n") {
		t.Errorf("in the clear the origin got %q", seen)
	}
}

var loopbacks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// TestBehindProxy: whom a proxy names is the client, for what is passed on and for trust.
// What a proxy brings without a name is trusted as little as a stranger, even if the
// proxy's own address is.
func TestBehindProxy(t *testing.T) {
	heads := make(chan string, 16)
	origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			head := readMessageHead(r)
			if head == "" {
				return
			}
			heads <- head
			io.WriteString(conn, ok2)
		}
	})
	for name, tt := range map[string]struct {
		client  string
		proxied bool
		want    string
	}{
		"named":             {"192.0.2.7:1", true, "X-Forwarded-For: 192.0.2.7\r\n"},
		"named and trusted": {"127.0.0.9:1", true, "X-Forwarded-For: 1.2.3.4, 127.0.0.9\r\n"},
		"nobody is named":   {"", true, "X-Forwarded-For: 127.0.0.1\r\n"},
		"no proxy":          {"", false, "X-Forwarded-For: 1.2.3.4, 127.0.0.1\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			g, ca := startSecured(t, Config{Trusted: loopbacks}, func(a *Arrival) {
				a.Proxied = tt.proxied
				if tt.client != "" {
					a.Client = netip.MustParseAddrPort(tt.client)
				}
			}, origin)
			conn := dialTLS(t, g.address, ca)
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
			io.ReadAll(conn)
			seen := <-heads
			if !strings.Contains(seen, tt.want) {
				t.Errorf("the origin got %q, want %q", seen, tt.want)
			}
		})
	}
}

// TestIdleOverTLS: an idle connection holds no buffers, and Shutdown ends it in order,
// without waiting for its client.
func TestIdleOverTLS(t *testing.T) {
	origin := startOrigin(t, answering(ok2))
	g, ca := startSecured(t, Config{Limits: Limits{DrainGrace: time.Millisecond}}, nil, origin)
	conn := dialTLS(t, g.address, ca)
	r := bufio.NewReader(conn)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www.test\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.ReadAll(resp.Body)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := g.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("the client read %q, %v; want the end in order", rest, err)
	}
}

// TestCutOverTLS: RFC 9112 §8: a response that is cut off must not end as a whole one does,
// which over TLS a close_notify says.
func TestCutOverTLS(t *testing.T) {
	origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		if readMessageHead(r) != "" {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 50_000))
		}
	})
	g, ca := startSecured(t, Config{}, nil, origin)
	conn := dialTLS(t, g.address, ca)
	io.WriteString(conn, "GET / HTTP/1.0\r\nHost: www.test\r\n\r\n")
	if got, err := io.ReadAll(conn); err == nil {
		t.Errorf("%d octets and an end in order", len(got))
	}
}

// TestSlowOverTLS: RFC 9112 §9.8: half a record is no request: who sends no more is shut
// out in time.
func TestSlowOverTLS(t *testing.T) {
	g, ca := startSecured(t, Config{Limits: Limits{RequestHead: 200 * time.Millisecond}}, nil, "127.0.0.1:1")
	conn := dialTLS(t, g.address, ca)
	io.WriteString(conn, "GET / HTTP/1.1\r\n")
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
		t.Errorf("got %q", answer)
	}
}

func BenchmarkKeepAliveOverTLS(b *testing.B) {
	origin := startOrigin(b, answering(ok2))
	g, ca := startSecured(b, Config{}, nil, origin)
	conn := dialTLS(b, g.address, ca)
	request, room := []byte("GET / HTTP/1.1\r\nHost: www.test\r\n\r\n"), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		conn.Write(request)
		if n, err := conn.Read(room); err != nil || !strings.HasSuffix(string(room[:n]), "ok") {
			b.Fatalf("%q, %v", room[:n], err)
		}
	}
}
