package httpproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// client2 returns a client that speaks HTTP/2 with prior knowledge.
func client2(t testing.TB) *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// echoing is an origin that answers with the head and the content that it was sent.
func echoing(conn net.Conn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		content, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s %s %s\n", req.Method, req.RequestURI, req.Proto)
		fmt.Fprintf(&b, "Host: %s\n", req.Host)
		req.Header.Write(&b)
		fmt.Fprintf(&b, "\nlength %d %v trailers %v\n", req.ContentLength, req.TransferEncoding, req.Trailer)
		b.Write(content)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Echo: yes\r\nContent-Length: %d\r\n\r\n", b.Len())
		if req.Method != "HEAD" {
			conn.Write(b.Bytes())
		}
	}
}

func TestHTTP2CarriesRequests(t *testing.T) {
	g := startGateway(t, Config{Via: "gate"}, startOrigin(t, echoing))
	hc := client2(t)
	var running sync.WaitGroup
	for i := range 200 {
		running.Go(func() {
			content := strings.Repeat("x", i*997)
			resp, err := hc.Post(fmt.Sprintf("http://%s/a/%d?q=%d", g.address, i, i), "text/plain", strings.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != 200 || resp.Header.Get("X-Echo") != "yes" {
				t.Errorf("%v %v %v %q", err, resp.Proto, resp.StatusCode, b)
			}
			if !strings.HasPrefix(string(b), fmt.Sprintf("POST /a/%d?q=%d HTTP/1.1\nHost: %s\n", i, i, g.address)) || !strings.HasSuffix(string(b), "\n"+content) ||
				!strings.Contains(string(b), "Via: 2 gate") {
				t.Errorf("origin was asked %.300q", b)
			}
		})
	}
	running.Wait()
}

// A dialogue per row: what a client sends on one connection, and what comes back.
func TestHTTP2Dialogues(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		origin string // what it answers to any request, whose content it does not read
		talk   func(c *conn2)
	}{
		{"head and content", Limits{}, ok2, func(c *conn2) {
			c.get(1, "/")
			c.want("1 status 200", `1 data "ok" end`)
			c.get(3, "/")
			c.want("3 status 200", `3 data "ok" end`)
		}},
		{"no content", Limits{}, "HTTP/1.1 204 No Content\r\n\r\n", func(c *conn2) {
			c.get(1, "/")
			c.want("1 status 204 end")
		}},
		{"HEAD", Limits{}, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", func(c *conn2) {
			c.head(1, true, ":method", "HEAD", ":scheme", "http", ":path", "/", ":authority", "h")
			c.want("1 status 200 end")
		}},
		{"interim responses", Limits{}, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok2, func(c *conn2) {
			c.get(1, "/")
			c.want("1 status 103", "1 status 200", `1 data "ok" end`)
		}},
		{"trailers", Limits{}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n", func(c *conn2) {
			c.get(1, "/")
			c.want("1 status 200", `1 data "ok"`, "1 trailers grpc-status=0 end")
		}},
		{"until close", Limits{}, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", func(c *conn2) {
			c.get(1, "/close")
			c.want("1 status 200", `1 data "ok"`, `1 data "" end`)
		}},
		{"100 (Continue)", Limits{}, "HTTP/1.1 100 Continue\r\n\r\n" + ok2, func(c *conn2) {
			c.post(1, "/", "expect", "100-continue", "content-length", "4")
			c.want("1 status 100", "1 status 200", `1 data "ok" end`, "1 reset NO_ERROR")
		}},
		{"answered early", Limits{}, ok2, func(c *conn2) {
			c.post(1, "/")
			c.want("1 status 200", `1 data "ok" end`, "1 reset NO_ERROR")
			c.get(3, "/")
			c.want("3 status 200", `3 data "ok" end`)
		}},
		{"too much content", Limits{MaxContent: 3}, ok2, func(c *conn2) {
			c.post(1, "/", "content-length", "4")
			if got := c.next(); got != "1 status 413" {
				c.t.Error(got)
			}
			c.next() // the reason
			c.want("1 reset NO_ERROR")
		}},
		{"malformed", Limits{}, ok2, func(c *conn2) {
			c.head(1, true, ":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "connection", "close")
			c.want("1 reset PROTOCOL_ERROR")
			c.get(3, "/")
			c.want("3 status 200", `3 data "ok" end`)
		}},
		{"refused by the rules of all versions", Limits{}, ok2, func(c *conn2) {
			c.head(1, true, ":method", "GET", ":scheme", "http", ":path", "/%2e%2e/%00", ":authority", "h")
			if got := c.next(); got != "1 status 400" {
				c.t.Error(got)
			}
		}},
		{"a control character in a field", Limits{}, ok2, func(c *conn2) {
			c.head(1, true, ":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "a", "b\x01c")
			if got := c.next(); got != "1 status 400" {
				c.t.Error(got)
			}
		}},
		{"a host that is none", Limits{}, ok2, func(c *conn2) {
			c.head(1, true, ":method", "GET", ":scheme", "http", ":path", "/", ":authority", "user@h")
			if got := c.next(); got != "1 status 400" {
				c.t.Error(got)
			}
		}},
		{"a large head", Limits{}, ok2, func(c *conn2) {
			c.head(1, true, ":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "a", strings.Repeat("x", 15000), "b", strings.Repeat("x", 200))
			c.want("1 status 200", `1 data "ok" end`)
		}},
		{"CONNECT", Limits{}, ok2, func(c *conn2) {
			c.head(1, false, ":method", "CONNECT", ":authority", "h:1")
			if got := c.next(); got != "1 status 501" {
				c.t.Error(got)
			}
		}},
		{"an origin that breaks off", Limits{}, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: close\r\n\r\nhalf", func(c *conn2) {
			c.get(1, "/close")
			c.want("1 status 200", `1 data "half"`, "1 reset INTERNAL_ERROR")
		}},
		{"a connection error", Limits{}, ok2, func(c *conn2) {
			c.WriteRawFrame(9, 4, 1, nil)
			c.want("goaway 0 PROTOCOL_ERROR", "closed")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := startGateway(t, Config{Limits: c.limits}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
				for head := readMessageHead(r); head != ""; head = readMessageHead(r) {
					io.WriteString(conn, c.origin)
					if strings.Contains(head, " /close ") {
						return
					}
				}
			}))
			c.talk(dial2(g))
		})
	}
}

// Content of unknown length and trailers go on in chunks; crumbs of cookies are one field.
func TestHTTP2Request(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, echoing))
	c := dial2(g)
	c.post(1, "/a//b/../c?d", "cookie", "a=1", "cookie", "b=2", "x_y", "dropped", "te", "trailers", "trailer", "x-sum")
	c.WriteData(1, false, []byte("hel"))
	c.WriteData(1, false, []byte("lo"))
	c.head(1, true, "x-sum", "5")
	c.want("1 status 200")
	got := c.next()
	for _, want := range []string{`POST /a/c?d HTTP/1.1\n`, `Host: h\n`, `Cookie: a=1; b=2\r\n`, `[chunked]`, `map[X-Sum:[5]]`, `\nhello" end`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if strings.Contains(got, "dropped") {
		t.Errorf("a field with an underscore was passed on: %s", got)
	}
}

// A client that resets its request ends what was done for it; others go on.
func TestHTTP2Reset(t *testing.T) {
	asked, left := make(chan struct{}), make(chan struct{})
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for head := readMessageHead(r); head != ""; head = readMessageHead(r) {
			if strings.Contains(head, " /wait ") {
				close(asked)
				io.Copy(io.Discard, r) // until the gateway leaves
				close(left)
				return
			}
			io.WriteString(conn, ok2)
		}
	}))
	c := dial2(g)
	c.get(1, "/wait")
	<-asked
	c.WriteRSTStream(1, 8)
	<-left
	c.get(3, "/")
	c.want("3 status 200", `3 data "ok" end`)
	if n := g.server.Counters().HTTP2; n.Resets != 1 || n.Streams != 2 || n.Connections != 1 {
		t.Errorf("counted %+v", n)
	}
}

// A client that opens its window no further holds up its own request only, and not for
// ever: what the gateway holds of it is bounded, and the limits of time are those of all.
func TestHTTP2SlowReader(t *testing.T) {
	t.Parallel() // most of it is waiting
	const size = 8 << 20
	took := make(chan int, 1)
	// So long a busy machine may take to send and answer the second request.
	g := startGateway(t, Config{Limits: Limits{Stall: 5 * time.Second}}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for head := readMessageHead(r); head != ""; head = readMessageHead(r) {
			if !strings.Contains(head, " /large ") {
				io.WriteString(conn, ok2)
				continue
			}
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
			n, _ := conn.Write(make([]byte, size))
			took <- n
			return
		}
	}))
	c := dial2(g)
	c.get(1, "/large")
	c.want("1 status 200")
	for received := 0; received < 65535; { // the first window, and nothing is given back
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		received += int(f.Header().Length)
	}
	c.WriteWindowUpdate(0, 1<<20)
	c.get(3, "/")
	c.want("3 status 200", `3 data "ok" end`, "1 reset INTERNAL_ERROR")
	if n := <-took; n == size {
		t.Error("the gateway has taken the whole response from the origin server")
	}
	if got := g.server.Counters().Timeouts; got == 0 {
		t.Error("no limit of time was counted")
	}
}

// Shutdown: GOAWAY, what is under way is answered, and the connection ends.
func TestHTTP2Drain(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	g := startGateway(t, Config{Limits: Limits{DrainGrace: 10 * time.Millisecond}}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		close(asked)
		<-answer
		io.WriteString(conn, ok2)
	}))
	c := dial2(g)
	c.get(1, "/")
	<-asked
	shut := make(chan error, 1)
	go func() { shut <- g.server.Shutdown(t.Context()) }()
	c.want("goaway 2147483647 NO_ERROR", "goaway 1 NO_ERROR")
	close(answer)
	c.want("1 status 200", `1 data "ok" end`)
	for got := c.next(); got != "closed"; got = c.next() {
		if got != "goaway 1 NO_ERROR" {
			t.Errorf("got %s", got)
		}
	}
	if err := <-shut; err != nil {
		t.Error(err)
	}
}

// A connection without requests ends with GOAWAY, not just so.
func TestHTTP2Idle(t *testing.T) {
	t.Parallel() // most of it is waiting, so long that a busy machine can send its request
	g := startGateway(t, Config{Limits: Limits{Idle: 4 * time.Second}}, startOrigin(t, answering(ok2)))
	c := dial2(g)
	c.get(1, "/")
	c.want("1 status 200", `1 data "ok" end`, "goaway 1 NO_ERROR", "closed")
}

// What a client did is in the access log, also what was no request.
func TestHTTP2AccessLog(t *testing.T) {
	log := &lineLog{lines: make(chan string, 10)}
	g := startGateway(t, Config{AccessLog: log}, startOrigin(t, answering(ok2)))
	c := dial2(g)
	c.get(1, "/a")
	c.want("1 status 200", `1 data "ok" end`)
	if got := <-log.lines; !strings.Contains(got, `"method":"GET","host":"h","target":"/a","version":"2","status":200`) {
		t.Error(got)
	}
	c.head(3, true, ":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "Upper", "b")
	if got := <-log.lines; !strings.Contains(got, `"status":0`) || !strings.Contains(got, "lower case") {
		t.Error(got)
	}
}

// lineLog takes an access log line by line.
type lineLog struct{ lines chan string }

func (l *lineLog) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		l.lines <- line
	}
	return len(b), nil
}

// At the limit of requests of the whole gateway, more are refused so that they can be sent
// elsewhere.
func TestHTTP2AtTheLimit(t *testing.T) {
	answer := make(chan struct{})
	g := startGateway(t, Config{Limits: Limits{MaxConnections: 2}}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" {
			<-answer
			io.WriteString(conn, ok2)
		}
	}))
	c := dial2(g)
	c.get(1, "/")
	c.get(3, "/")
	for g.server.inFlight.Load() < 2 {
		c.WritePing(false, [8]byte{})
		c.want("pong")
	}
	c.get(5, "/")
	c.want("5 reset REFUSED_STREAM")
	close(answer)
}
