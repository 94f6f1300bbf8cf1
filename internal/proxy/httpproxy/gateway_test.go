package httpproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pharos/internal/proxy/served"
	"pharos/internal/traffic/health"
)

// mirroringBack is an origin that answers with the request it read as content.
func mirroringBack(conn net.Conn, r *bufio.Reader) {
	for {
		head := readMessageHead(r)
		if head == "" {
			return
		}
		content := head
		switch {
		case strings.Contains(head, "Content-Length: "):
			var n int
			fmt.Sscanf(head[strings.Index(head, "Content-Length: "):], "Content-Length: %d", &n)
			b := make([]byte, n)
			io.ReadFull(r, b)
			content += string(b)
		case strings.Contains(head, "Transfer-Encoding: chunked"):
			for {
				line, err := r.ReadString('\n')
				content += line
				if err != nil || line == "\r\n" && strings.Contains(content, "\r\n0\r\n") {
					break
				}
			}
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(content), content)
	}
}

// contentOf returns what stands behind the head of an answer.
func contentOf(answer string) string {
	_, content, _ := strings.Cut(answer, "\r\n\r\n")
	return content
}

func get(fields string) string { return "GET / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n" }

const byeField = "Connection: close\r\n"

func TestForwardedHead(t *testing.T) {
	trusted := Config{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Via: "pharos"}
	for _, c := range []struct {
		name     string
		cfg      Config
		request  string
		want     []string // lines that the origin got
		mustLack []string
	}{
		{"ours are added (RFC 7239)", Config{}, get(byeField),
			[]string{"GET / HTTP/1.1", "Host: h", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: h", "X-Forwarded-Proto: http",
				`Forwarded: for=127.0.0.1;host="h";proto=http`}, []string{"Connection", "Via", "Content-Length", "Transfer-Encoding"}},
		{"a stranger's are deleted", Config{}, get("X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Request-Id: mine\r\n" + byeField),
			[]string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: h"}, []string{"1.2.3.4", "https", "evil", "mine", "X-Forwarded-Port"}},
		{"a trusted peer's are continued", trusted, get("X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n" + byeField),
			[]string{"X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1", `Forwarded: for=1.2.3.4, for=127.0.0.1;host="h";proto=http`, "X-Forwarded-Proto: https", "X-Request-Id: mine", "Via: 1.1 pharos"},
			[]string{"X-Forwarded-Proto: http\r\n"}},
		{"hop-by-hop fields stop here (RFC 9110 7.6.1)", Config{}, get("Keep-Alive: a\r\nProxy-Connection: b\r\nTE: gzip\r\nProxy-Authorization: c\r\nTrailer: d\r\nHTTP2-Settings: e\r\nX-A: 1\r\nx-b: 2\r\nConnection: close, X-A, nothing\r\n"),
			[]string{"x-b: 2"}, []string{"Keep-Alive", "Proxy-", "TE:", "Trailer", "HTTP2", "X-A", "Connection"}},
		{"Connection cannot nominate our fields away (CVE-2024-45410)", Config{}, get("Authorization: a\r\nCookie: b\r\nConnection: close, X-Forwarded-For, Authorization, Cookie, Host, X-Request-Id\r\n"),
			[]string{"X-Forwarded-For: 127.0.0.1", "Authorization: a", "Cookie: b", "Host: h"}, nil},
		{"h2c is never offered", Config{}, get("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: close, Upgrade, HTTP2-Settings\r\n"),
			nil, []string{"Upgrade", "h2c", "HTTP2"}},
		{"names with underscores are dropped", Config{}, get("X_Forwarded_For: 9\r\nx_y: 9\r\n" + byeField), nil, []string{": 9"}},
		{"the path is forwarded in normal form", Config{}, "GET /%61/./b//c/../d?x=%2f//../ HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n",
			[]string{"GET /a/b/d?x=%2f//../ HTTP/1.1"}, nil},
		{"absolute form becomes origin form", Config{}, "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n", []string{"GET /a?b HTTP/1.1", "Host: h"}, nil},
		{"OPTIONS *", Config{}, "OPTIONS * HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n", []string{"OPTIONS * HTTP/1.1"}, nil},
		{"our own length", Config{}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 000003\r\n" + byeField + "\r\nabc", []string{"Content-Length: 3"}, []string{"000003"}},
		{"an empty content stays empty", Config{}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + byeField + "\r\n", []string{"Content-Length: 0"}, nil},
		{"small chunked content gets a length", Config{}, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + byeField + "\r\n1;x=y\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
			[]string{"Content-Length: 3", "", "abc"}, []string{"chunked", "x=y"}},
		{"trailer fields go on, dangerous ones do not (RFC 9110 6.5.1)", Config{}, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + byeField + "\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nAuthorization: x\r\nContent-Length: 5\r\nX_Y: 1\r\n\r\n",
			[]string{"Transfer-Encoding: chunked", "", "3", "abc", "0", "X-Sum: 1"}, []string{"Authorization", "Content-Length: 5", "X_Y"}},
		{"HTTP/1.0 without Host", Config{}, "GET / HTTP/1.0\r\n\r\n", []string{"GET / HTTP/1.1"}, []string{"X-Forwarded-Host"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := startGateway(t, c.cfg, startOrigin(t, mirroringBack))
			seen := contentOf(g.ask(c.request))
			for _, want := range c.want {
				if !strings.Contains("\r\n"+seen+"\r\n", "\r\n"+want+"\r\n") {
					t.Errorf("no line %q in %q", want, seen)
				}
			}
			for _, lack := range c.mustLack {
				if strings.Contains(seen, lack) {
					t.Errorf("there is %q in %q", lack, seen)
				}
			}
		})
	}
}

// ourDate is the Date field that RFC 9110 6.6.1 has us add when there is none.
var ourDate = regexp.MustCompile(`Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} 20[0-9]{2} [0-9:]{8} GMT\r\n`)

// Responses: what the origin sends, and what the client must get. "=" stands
// for nothing of it: a 502.
func TestResponses(t *testing.T) {
	const get, head, old = "GET", "HEAD", "OLD"
	for _, c := range []struct{ name, method, origin, want string }{
		{"length", get, "HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nX: y\r\n\r\nabc", "HTTP/1.1 200 Fine\r\nX: y\r\nContent-Length: 3\r\n\r\nabc"},
		{"no reason", get, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"},
		{"chunked", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;e=f\r\na\r\n02\r\nbc\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n0\r\n\r\n"},
		{"trailers", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nGrpc-Status: 0\r\nSet-Cookie: a=b\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0001\r\na\r\n0\r\nGrpc-Status: 0\r\n\r\n"},
		{"until close becomes chunked", get, "HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n0\r\n\r\n"},
		{"HTTP/1.0 origin", get, "HTTP/1.0 200 OK\r\nDate: d\r\nServer: s\r\n\r\nabc", "HTTP/1.1 200 OK\r\nDate: d\r\nServer: s\r\nTransfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n0\r\n\r\n"},
		{"HTTP/1.0 client, chunked origin", old, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nT: u\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"},
		{"204 has no content and no length", get, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"304 keeps the length it speaks of", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: e\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nETag: e\r\nContent-Length: 5\r\n\r\n"},
		{"HEAD", head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{"HEAD, chunked", head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
		{"hop-by-hop fields stop", get, "HTTP/1.1 200 OK\r\nConnection: X-A, close\r\nX-A: 1\r\nKeep-Alive: 2\r\nProxy-Authenticate: 3\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"103 goes on", get, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"103 does not go to HTTP/1.0", old, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"100 nobody asked for", get, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},

		{"both framings", get, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "="},
		{"two lengths", get, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "="},
		{"length list", get, "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", "="},
		{"negative length", get, "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc", "="},
		{"other coding", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "="},
		{"coding in HTTP/1.0", get, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "="},
		{"space before colon", get, "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc", "="},
		{"obs-fold", get, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 3\r\n\r\nabc", "="},
		{"bare LF", get, "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", "="},
		{"bare CR", get, "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "="},
		{"NUL", get, "HTTP/1.1 200 OK\r\nX: a\x00\r\nContent-Length: 0\r\n\r\n", "="},
		{"status of two digits", get, "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "="},
		{"status 000", get, "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", "="},
		{"HTTP/2 version", get, "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "="},
		{"no HTTP", get, "\x15\x03\x01\x00\x02", "="},
		{"endless interim", get, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), "="},
		{"unasked 101", get, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "="},
		{"head too large", get, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 40000) + "\r\n\r\n", "="},
		{"too many fields", get, "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: a\r\n", 101) + "\r\n", "="},
		{"bad chunk", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", "="},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
				readMessageHead(r)
				io.WriteString(conn, c.origin)
			})
			g := startGateway(t, Config{}, origin)
			request := c.method + " / HTTP/1.1\r\nHost: h\r\n\r\n"
			if c.method == old {
				request = "GET / HTTP/1.0\r\nHost: h\r\n\r\n"
			}
			got := g.ask(request)
			if c.want == "=" {
				if !strings.HasPrefix(got, "HTTP/1.1 502 ") {
					t.Errorf("got %q, want 502", got)
				}
				return
			}
			if !strings.Contains(c.origin, "\r\nDate: ") && !ourDate.MatchString(got) {
				t.Errorf("no Date in %q", got)
			}
			if got = ourDate.ReplaceAllString(got, ""); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// After a response with octets behind it, the connection to the origin must not
// be used again: they would be the response to somebody else's request.
func TestPoisonedOriginConnection(t *testing.T) {
	for name, response := range map[string]string{
		"octets behind the content": ok2 + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
		"content in answer to HEAD": ok2,
	} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
				if conns.Add(1) == 1 {
					answering(response)(conn, r)
				} else {
					answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean")(conn, r)
				}
			})
			g := startGateway(t, Config{}, origin)
			method := "GET"
			if strings.Contains(name, "HEAD") {
				method = "HEAD"
			}
			g.ask(method + " / HTTP/1.1\r\nHost: h\r\n\r\n")
			if got := contentOf(g.ask(get(byeField))); got != "clean" {
				t.Errorf("got %q, want the clean response", got)
			}
		})
	}
}

// The same for octets that come later, while the connection is kept: a timeout
// response of the origin, for example.
func TestOctetsOnKeptConnection(t *testing.T) {
	answered, poisoned := make(chan struct{}), make(chan struct{})
	var conns atomic.Int32
	origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		if conns.Add(1) > 1 {
			answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean")(conn, r)
			return
		}
		readMessageHead(r)
		io.WriteString(conn, ok2)
		<-answered
		io.WriteString(conn, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 6\r\n\r\npoison")
		close(poisoned)
		readMessageHead(r)
	})
	g := startGateway(t, Config{}, origin)
	conn := g.dial()
	r := bufio.NewReader(conn)
	io.WriteString(conn, get(""))
	readMessageHead(r)
	r.Discard(2)
	for len(g.server.Origins()) == 0 || g.server.Origins()[0].Kept == 0 {
		runtime.Gosched() // the client may be told before the connection is kept
	}
	close(answered)
	<-poisoned
	io.WriteString(conn, get(byeField))
	if got, _ := io.ReadAll(r); contentOf(string(got)) != "clean" {
		t.Errorf("got %q, want the clean response", got)
	}
}

func TestRefusals(t *testing.T) {
	g := startGateway(t, Config{Limits: Limits{MaxContent: 10}, HTTP2: OnlyHTTP1}, startOrigin(t, mirroringBack))
	for _, c := range []struct {
		name, request string
		status        int
		kind          string
	}{
		{"too long a target", "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414, "http_request_error"},
		{"too large a field", get("X: " + strings.Repeat("a", 40000) + "\r\n"), 431, "http_request_error"},
		{"CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 501, "http_request_denied"},
		{"encoded slash", "GET /a%2fb HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n", 400, "http_request_error"},
		{"above the root", "GET /../a HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n", 400, "http_request_error"},
		{"content over the limit", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", 413, "http_request_denied"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_request_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.ask(c.request)
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) || !strings.Contains(got, "\r\nProxy-Status: pharos; error="+c.kind+"; details=\"") {
				t.Errorf("got %q, want %d with %s", got, c.status, c.kind)
			}
			if !strings.Contains(got, "\r\nConnection: close\r\n") {
				t.Errorf("%q does not close", got)
			}
		})
	}
}

// The limit holds where no length is declared: in content that came with its
// head, and in content that comes later.
func TestChunkedContentOverTheLimit(t *testing.T) {
	for _, first := range []int{1, 0} {
		g := startGateway(t, Config{Limits: Limits{MaxContent: 10}}, startOrigin(t, mirroringBack))
		conn := g.dial()
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("8\r\n12345678\r\n", first))
		for range 2 - first {
			io.WriteString(conn, "8\r\n12345678\r\n")
		}
		got, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(got), "HTTP/1.1 413 ") {
			t.Errorf("%d chunks first: got %q, want 413", first, got)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	g := startGateway(t, Config{Limits: Limits{MaxConnections: 2}}, startOrigin(t, answering(ok2)))
	for range 2 {
		conn := g.dial()
		io.WriteString(conn, get(""))
		readMessageHead(bufio.NewReader(conn)) // it has been taken
	}
	got, _ := io.ReadAll(g.dial())
	if !strings.HasPrefix(string(got), "HTTP/1.1 503 ") || !strings.Contains(string(got), "connection_limit_reached") {
		t.Errorf("the third connection got %q, want 503", got)
	}
	if n := g.server.Counters().Shed; n != 1 {
		t.Errorf("%d counted as shed, want 1", n)
	}
}

// addressed is a connection with a chosen remote address.
type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

func TestPeerText(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	s := New(Config{Trusted: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("10.0.0.0/8")}})
	defer s.Shutdown(t.Context())
	for remote, want := range map[string]string{
		"192.0.2.1:5":         "192.0.2.1 for=192.0.2.1 false",
		"10.1.2.3:5":          "10.1.2.3 for=10.1.2.3 true",
		"[::ffff:10.1.2.3]:5": "10.1.2.3 for=10.1.2.3 true",
		"[2001:db8::1]:5":     `2001:db8::1 for="[2001:db8::1]" true`,
		"[fe80::1%eth0]:5":    `fe80::1 for="[fe80::1]" false`,
	} {
		p := newClient(s, addressed{near, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(remote))}).peerAs
		if got := fmt.Sprintf("%s %s %t", p.address, p.forwarded, p.trusted); got != want {
			t.Errorf("%s: got %s, want %s", remote, got, want)
		}
	}
}

func TestNoRouteAndNoMember(t *testing.T) {
	g := startGateway(t, Config{})
	if got := g.ask(get(byeField)); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "destination_unavailable") {
		t.Errorf("empty pool: got %q", got)
	}
	none, _ := served.New(nil, nil, nil, nil)
	g = startGateway(t, Config{Table: func() *served.Table { return none }})
	// The connection stays: nothing about its framing is in doubt.
	got := g.ask(get("") + get(byeField))
	if strings.Count(got, "HTTP/1.1 404 Not Found\r\n") != 2 || !strings.Contains(got, "destination_not_found") {
		t.Errorf("no route: got %q", got)
	}
}

// A keep-alive connection carries pipelined requests in their order (RFC 9112
// 9.3.2), over one connection to the origin.
func TestPipelinedRequests(t *testing.T) {
	var conns atomic.Int32
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) { conns.Add(1); mirroringBack(conn, r) }))
	var requests strings.Builder
	for i := range 20 {
		fmt.Fprintf(&requests, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody", i)
	}
	got := g.ask(requests.String())
	at := 0
	for i := range 20 {
		next := strings.Index(got[at:], fmt.Sprintf("POST /%d HTTP/1.1", i))
		if next < 0 {
			t.Fatalf("request %d is not answered in its turn: %q", i, got)
		}
		at += next
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections to the origin, want 1", n)
	}
}

// An idempotent request that one member fails goes to another; a POST that may
// have been seen does not (RFC 9110 9.2.2).
func TestRetry(t *testing.T) {
	dead := deadAddress(t)
	closing := startOrigin(t, func(conn net.Conn, r *bufio.Reader) { readMessageHead(r) })
	alive := startOrigin(t, answering(ok2))
	var mu sync.Mutex
	var reports []health.Result
	report := func(_ health.Target, r health.Result) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, r)
	}
	for _, c := range []struct {
		name, request, first string
		status               int
	}{
		{"GET, refused connection", get(byeField), dead, 200},
		{"GET, closed before the answer", get(byeField), closing, 200},
		{"PUT with content", "PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", closing, 200},
		{"POST, refused connection: nothing was sent", "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", dead, 200},
		{"POST, closed before the answer", "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", closing, 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			reports = nil
			g := startGateway(t, Config{Report: report}, c.first, alive)
			got := g.ask(c.request)
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
				t.Errorf("got %q, want %d", got, c.status)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(reports) == 0 || reports[0].OK || !reports[0].Passive || reports[0].Cause == "" {
				t.Errorf("reports %+v, want a passive failure first", reports)
			}
		})
	}
	g := startGateway(t, Config{}, dead, deadAddress(t))
	if got := g.ask(get("")); !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, "connection_refused") {
		t.Errorf("all dead: got %q", got)
	}
}

// An origin dies under load: no idempotent request fails, kept connections or
// not. It comes back, and is used again.
func TestOriginDiesUnderLoad(t *testing.T) {
	const clients, requests = 8, 200
	var dead atomic.Bool
	dying := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" && !dead.Load() {
			io.WriteString(conn, ok2)
		}
	})
	g := startGateway(t, Config{}, dying, startOrigin(t, answering(ok2)))
	var done sync.WaitGroup
	var failed atomic.Int32
	for range clients {
		done.Go(func() {
			conn := g.dial()
			r := bufio.NewReader(conn)
			for i := range requests {
				if i == requests/4 {
					dead.Store(true)
				}
				if i == requests*3/4 {
					dead.Store(false)
				}
				io.WriteString(conn, get(""))
				if head := readMessageHead(r); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
					failed.Add(1)
					t.Errorf("got %q", head)
					return
				}
				r.Discard(2)
			}
		})
	}
	done.Wait()
	c := g.server.Counters()
	if failed.Load() > 0 || c.Retries == 0 {
		t.Errorf("%d requests failed, %d were sent again; want 0 and some", failed.Load(), c.Retries)
	}
}

// deadAddress is an address that refuses connections.
func deadAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The origin closes a kept connection: the next request takes a new one and
// nobody notices, neither the client nor the member's health.
func TestStaleOriginConnection(t *testing.T) {
	closed := make(chan struct{}, 10)
	origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.WriteString(conn, ok2)
		conn.Close()
		closed <- struct{}{}
	})
	g := startGateway(t, Config{Report: func(_ health.Target, r health.Result) {
		if !r.OK {
			t.Errorf("reported %+v", r)
		}
	}}, origin)
	conn := g.dial()
	r := bufio.NewReader(conn)
	for i := range 5 {
		// POST: that it passes shows the death was seen before a byte was sent.
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		if head := readMessageHead(r); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Fatalf("request %d: got %q", i, head)
		}
		r.Discard(2)
		<-closed
	}
	if n := g.server.Counters().OriginNew; n != 5 {
		t.Errorf("%d connections, want 5", n)
	}
}

// The origin dies in the middle of a response: the client must not take what it
// has for a whole response, and is not sent a second one.
func TestOriginDiesWithinResponse(t *testing.T) {
	for name, c := range map[string]struct{ response, request string }{
		"length":                    {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", get("")},
		"chunked":                   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", get("")},
		"chunked, to HTTP/1.0":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "GET / HTTP/1.0\r\nHost: h\r\n\r\n"},
		"chunked, broken after all": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", get("")},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan struct{})
			origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
				readMessageHead(r)
				io.WriteString(conn, c.response)
				<-seen // the client has what there is
				if strings.Contains(name, "broken") {
					io.WriteString(conn, "zzz\r\n")
				}
			})
			g := startGateway(t, Config{}, origin)
			conn := g.dial()
			io.WriteString(conn, c.request)
			r := bufio.NewReader(conn)
			head := readMessageHead(r)
			b := make([]byte, 3)
			io.ReadFull(r, b)
			close(seen)
			rest, err := io.ReadAll(r)
			if err == nil {
				t.Errorf("a clean end after %q%s%q", head, b, rest)
			}
			if bytes.Contains(rest, []byte("HTTP/1.1")) || bytes.Contains(rest, []byte("0\r\n\r\n")) {
				t.Errorf("got more: %q", rest)
			}
		})
	}
}

// TestConnectionsPerClient: one client does not take all places, gets one back with each that it
// gives up, and is not counted as long as it stands for others.
func TestConnectionsPerClient(t *testing.T) {
	g := startGateway(t, Config{Limits: Limits{PerClient: 2}}, startOrigin(t, answering(ok2)))
	taken := func() net.Conn {
		conn := g.dial()
		io.WriteString(conn, get(""))
		if head := readMessageHead(bufio.NewReader(conn)); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Fatalf("got %q, want 200", head)
		}
		return conn
	}
	first := taken()
	taken()
	got, _ := io.ReadAll(g.dial())
	if !strings.HasPrefix(string(got), "HTTP/1.1 503 ") {
		t.Errorf("the third connection got %q, want 503", got)
	}
	if n := g.server.Counters().Crowded; n != 1 {
		t.Errorf("%d counted, want 1", n)
	}
	first.Close()
	g.awaitCounters(func(c Counters) bool { return c.Active == 1 })
	taken()
}
