package httpproxy

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// startHTTPOrigin is an origin of net/http: an independent reader of what the
// gateway sends.
func startHTTPOrigin(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

// pattern is n octets that differ from place to place.
type pattern struct{ at, n int }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.n {
		return 0, io.EOF
	}
	k := min(len(b), p.n-p.at)
	for i := range b[:k] {
		b[i] = byte((p.at + i) * 7 >> 3)
	}
	p.at += k
	return k, nil
}

func sumOf(r io.Reader) string {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d %x %v", n, h.Sum(nil), err)
}

// Large content passes unchanged both ways, with a length and chunked, and with
// readers far slower than writers the gateway holds one buffer, no more.
func TestLargeContent(t *testing.T) {
	const size = 20 << 20
	origin := startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			if r.URL.Path == "/length" {
				w.Header().Set("Content-Length", fmt.Sprint(size))
			}
			io.Copy(w, &pattern{n: size})
			return
		}
		sum := sumOf(r.Body)
		fmt.Fprintf(w, "%d %s", r.ContentLength, sum)
	})
	g := startGateway(t, Config{}, origin)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	want := sumOf(&pattern{n: size})
	for _, path := range []string{"/length", "/chunked"} {
		resp, err := tr.RoundTrip(mustRequest("GET", "http://"+g.address+path, nil, -1))
		if err != nil {
			t.Fatal(err)
		}
		if got := sumOf(resp.Body); got != want {
			t.Errorf("download %s: got %s, want %s", path, got, want)
		}
		resp.Body.Close()
		length := int64(-1)
		if path == "/length" {
			length = size
		}
		resp, err = tr.RoundTrip(mustRequest("POST", "http://"+g.address+path, &pattern{n: size}, length))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		if string(got) != fmt.Sprintf("%d %s", length, want) {
			t.Errorf("upload %s: got %s, want %d %s", path, got, length, want)
		}
		resp.Body.Close()
	}
	if n := g.server.Counters(); n.Accepted != 1 || n.OriginNew != 1 {
		t.Errorf("%d client and %d origin connections, want 1 and 1: keep-alive was lost", n.Accepted, n.OriginNew)
	}
}

func mustRequest(method, url string, body io.Reader, length int64) *http.Request {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		panic(err)
	}
	r.ContentLength = max(length, 0)
	if length < 0 && body != nil {
		r.ContentLength = -1
	}
	return r
}

// RFC 9110 10.1.1: the expectation goes to the origin, its 100 to the client,
// and only then the content comes.
func TestExpectContinue(t *testing.T) {
	origin := startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(403)
			return
		}
		b, _ := io.ReadAll(r.Body) // makes net/http send 100
		w.Write(b)
	})
	g := startGateway(t, Config{}, origin)
	conn := g.dial()
	r := bufio.NewReader(conn)
	io.WriteString(conn, "POST /yes HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	if head := readMessageHead(r); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("got %q, want 100", head)
	}
	io.WriteString(conn, "abc")
	head := readMessageHead(r)
	b := make([]byte, 3)
	io.ReadFull(r, b)
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") || string(b) != "abc" {
		t.Fatalf("got %q %q", head, b)
	}
	// A final response instead: the content never comes, so the connection ends.
	io.WriteString(conn, "POST /no HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	if head := readMessageHead(r); !strings.HasPrefix(head, "HTTP/1.1 403 ") || !strings.Contains(head, "Connection: close") {
		t.Errorf("got %q, want 403 and close", head)
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("no clean end: %v", err)
	}
}

// An origin that answers before it has read the content: the client gets the
// answer, and the rest of the content is never taken for a request.
func TestEarlyResponse(t *testing.T) {
	origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
		io.Copy(io.Discard, r)
	})
	g := startGateway(t, Config{}, origin)
	conn := g.dial()
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 401 ") || !strings.HasSuffix(string(got), "Connection: close\r\n\r\nno") {
		t.Errorf("got %q, %v", got, err)
	}
}

// An origin that answers and closes while much content is on its way: the answer
// still arrives, though we cannot write to the origin any more.
func TestEarlyResponseAndClose(t *testing.T) {
	origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
		conn.(*net.TCPConn).CloseWrite()
		io.CopyN(io.Discard, r, 1<<20) // what is on the way, so that the answer is not reset
	})
	g := startGateway(t, Config{}, origin)
	conn := g.dial()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 50<<20)
		io.Copy(conn, &pattern{n: 50 << 20}) // fails when the gateway has had enough
	}()
	got := make([]byte, len("HTTP/1.1 413 "))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "HTTP/1.1 413 " {
		t.Errorf("got %q, %v", got, err)
	}
	conn.Close()
	<-sent
}

// The client leaves in the middle of its content: the origin must not see a
// complete request.
func TestClientLeavesWithinContent(t *testing.T) {
	for name, request := range map[string]string{
		"length":  "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc",
		"chunked": "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"bad":     "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			began, seen := make(chan struct{}, 1), make(chan error, 1)
			origin := startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				io.ReadFull(r.Body, make([]byte, 3))
				began <- struct{}{}
				_, err := io.ReadAll(r.Body)
				seen <- err
			})
			g := startGateway(t, Config{}, origin)
			conn := g.dial()
			io.WriteString(conn, request)
			<-began
			if name == "bad" {
				io.WriteString(conn, "zzz\r\n")
				if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
					t.Errorf("got %q, want 400", got)
				}
			}
			conn.Close()
			if err := <-seen; err == nil {
				t.Error("the origin saw a complete request")
			}
		})
	}
}

// A client that closes its sending side after the request still gets its answer.
func TestHalfClosedClient(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, mirroringBack))
	if got := g.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"); !strings.HasSuffix(got, "abc") {
		t.Errorf("got %q", got)
	}
	if got := g.ask("GET / HT"); got != "" {
		t.Errorf("half a request: got %q, want nothing", got)
	}
}

const (
	wsKey    = "dGhlIHNhbXBsZSBub25jZQ=="     // of RFC 6455 §1.3
	wsAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // its proof
)

func upgradeRequest(protocol string) string {
	return get("Upgrade: " + protocol + "\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + wsKey + "\r\nSec-WebSocket-Version: 13\r\n")
}

// switching answers an upgrade with the given fields and then echoes.
func switching(fields string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		if head := readMessageHead(r); !strings.Contains(head, "\r\nConnection: Upgrade\r\nUpgrade: ") {
			io.WriteString(conn, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n"+fields+"\r\nhello ")
		io.Copy(conn, r)
	}
}

func TestUpgradeTunnel(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, switching("Connection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: "+wsAccept+"\r\n")))
	conn := g.dial()
	// The octets behind the request are held until the origin has agreed.
	io.WriteString(conn, upgradeRequest("websocket")+"early ")
	r := bufio.NewReader(conn)
	if head := readMessageHead(r); !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "Upgrade: WebSocket\r\n") {
		t.Fatalf("got %q", head)
	}
	io.WriteString(conn, "late")
	conn.(*net.TCPConn).CloseWrite() // passed on to the origin, whose echo then ends
	if got, err := io.ReadAll(r); string(got) != "hello early late" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if n := g.server.Counters().Tunnels; n != 1 {
		t.Errorf("%d tunnels counted, want 1", n)
	}
}

// CVE-2026-2833: no tunnel unless the origin has proved that it switched.
func TestUpgradeRefused(t *testing.T) {
	for name, fields := range map[string]string{
		"other protocol": "Connection: Upgrade\r\nUpgrade: chat\r\nSec-WebSocket-Accept: " + wsAccept + "\r\n",
		"wrong proof":    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n",
		"no proof":       "Connection: Upgrade\r\nUpgrade: websocket\r\n",
		"no Connection":  "Upgrade: websocket\r\nSec-WebSocket-Accept: " + wsAccept + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, Config{}, startOrigin(t, switching(fields)))
			got := g.ask(upgradeRequest("websocket"))
			if !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, "http_upgrade_failed") {
				t.Errorf("got %q, want 502", got)
			}
		})
	}
	for _, protocol := range []string{"h2c", "H2C", "websocket, h2c", "h2c, websocket", "HTTP2 /x"} {
		t.Run("not offered: "+protocol, func(t *testing.T) {
			g := startGateway(t, Config{}, startOrigin(t, switching("")))
			if got := g.ask(upgradeRequest(protocol)); !strings.HasPrefix(got, "HTTP/1.1 426 ") {
				t.Errorf("got %q, want the origin's 426", got)
			}
		})
	}
	// The origin does not switch: what follows the request is the next request.
	g := startGateway(t, Config{}, startOrigin(t, answering(ok2)))
	if got := g.ask(upgradeRequest("websocket") + get(byeField)); strings.Count(got, "HTTP/1.1 200 OK\r\n") != 2 {
		t.Errorf("got %q, want two answers", got)
	}
}

// Shutdown: idle connections end at once, the request in flight is answered
// with "Connection: close", new connections are refused.
func TestDrain(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	g := startGateway(t, Config{Limits: Limits{DrainGrace: time.Millisecond}}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		close(began)
		<-release
		io.WriteString(conn, ok2)
	}))
	idle, busy := g.dial(), g.dial()
	io.WriteString(busy, get(""))
	<-began
	down := make(chan error)
	go func() { down <- g.server.Shutdown(context.Background()) }()
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("the idle connection is still open")
	}
	if conn, err := net.Dial("tcp", g.address); err == nil {
		conn.Close()
		t.Error("a new connection was taken")
	}
	select {
	case <-down:
		t.Fatal("Shutdown did not wait for the request in flight")
	default:
	}
	close(release)
	got, err := io.ReadAll(busy)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") || !strings.Contains(string(got), "\r\nConnection: close\r\n") {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestDrainGrace: a client that keeps its connection, and was told nothing of the
// end, has its next request answered, and is told then.
func TestDrainGrace(t *testing.T) {
	g := startGateway(t, Config{Limits: Limits{DrainGrace: time.Minute}}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" {
			io.WriteString(conn, ok2)
		}
	}))
	conn := g.dial()
	r := bufio.NewReader(conn)
	io.WriteString(conn, get(""))
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.Close {
		t.Fatalf("before the end: %v, %v", resp, err)
	} else {
		io.ReadAll(resp.Body)
	}
	down := make(chan error)
	go func() { down <- g.server.Shutdown(context.Background()) }()
	for !g.server.draining.Load() {
		runtime.Gosched()
	}
	io.WriteString(conn, get(""))
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Fatalf("while draining: %v, %v; want 200 and Connection: close", resp, err)
	}
	io.ReadAll(resp.Body)
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestDrainIsBounded(t *testing.T) {
	began := make(chan struct{})
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		close(began)
		r.ReadByte() // never answers
	}))
	conn := g.dial()
	io.WriteString(conn, get(""))
	<-began
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := g.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want deadline exceeded", err)
	}
}
