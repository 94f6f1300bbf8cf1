package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	quichttp3 "github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/quicdoor"
	"pharos/lab/testca"
)

// quicGateway is a gateway that is reached over QUIC.
type quicGateway struct {
	*gateway
	at   string // UDP
	ca   *testca.Authority
	door *doorway.Door

	certificate atomic.Pointer[tls.Certificate] // that new connections are shown
}

// startQUIC serves what startGateway does over QUIC as well.
func startQUIC(t testing.TB, cfg Config, change func(*quicdoor.Config), members ...string) *quicGateway {
	t.Helper()
	g := &quicGateway{gateway: startGateway(t, cfg, members...), ca: testca.New(t, "ca")}
	pair := g.ca.Issue("www.test", "127.0.0.1")
	g.certificate.Store(&pair.TLS)
	g.door = doorway.New(doorway.Config{TLS: &doorway.TLS{
		Least: tls.VersionTLS13, Protocols: []string{"h3"}, Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.certificate.Load(), nil },
		Covers: func(name, other string) bool { return name == other },
	}})
	c := quicdoor.Config{
		Address: netip.MustParseAddrPort("127.0.0.1:0"), TLS: g.door.Terms(), Counts: g.door.Counts(), Streams: 128, StreamWindow: 64 << 10, Window: 256 << 10,
		PerClient: 64, Silence: 30 * time.Second,
	}
	if change != nil {
		change(&c)
	}
	l, err := quicdoor.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	g.at = l.Addr().String()
	var served sync.WaitGroup
	served.Go(func() {
		g.server.ServeQUIC(l, "", func(conn *quic.Conn) *Identity {
			state := conn.ConnectionState().TLS
			id := g.door.Agreed(&state)
			return &Identity{Protocol: id.Protocol, ServerName: id.ServerName, Version: id.Version, Cipher: id.Cipher, Misdirected: id.Misdirected}
		})
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		g.server.Shutdown(ctx)
		served.Wait()
	})
	return g
}

func (g *quicGateway) tls() *tls.Config {
	return &tls.Config{RootCAs: g.ca.Pool(), ServerName: "www.test", NextProtos: []string{"h3"}}
}

// client3 returns a client of HTTP/3 that is not ours.
func (g *quicGateway) client3() *http.Client {
	tr := &quichttp3.Transport{TLSClientConfig: g.tls(), DisableCompression: true,
		Dial: func(ctx context.Context, _ string, t *tls.Config, c *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, g.at, t, c)
		}}
	g.t.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr, Timeout: 60 * time.Second}
}

func TestHTTP3CarriesRequests(t *testing.T) {
	g := startQUIC(t, Config{Via: "gate"}, nil, startOrigin(t, echoing))
	hc := g.client3()
	var running sync.WaitGroup
	for i := range 100 {
		running.Go(func() {
			content := strings.Repeat("x", i*997)
			resp, err := hc.Post(fmt.Sprintf("https://www.test/a/%d?q=%d", i, i), "text/plain", strings.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != 3 || resp.StatusCode != 200 || resp.Header.Get("X-Echo") != "yes" {
				t.Errorf("%v %v %v %q", err, resp.Proto, resp.StatusCode, b)
			}
			if !strings.HasPrefix(string(b), fmt.Sprintf("POST /a/%d?q=%d HTTP/1.1\nHost: www.test\n", i, i)) || !strings.HasSuffix(string(b), "\n"+content) ||
				!strings.Contains(string(b), "Via: 3 gate") || !strings.Contains(string(b), "X-Forwarded-Proto: https") {
				t.Errorf("origin was asked %.300q", b)
			}
		})
	}
	running.Wait()
	if n := g.server.Counters().HTTP3; n.Streams != 100 || n.Connections != 1 || n.Resets+n.Broken+n.Refused+n.Ended != 0 {
		t.Errorf("counted %+v", n)
	}
}

// conn3 is a client of HTTP/3 that sends what a test says, frame by frame.
type conn3 struct {
	*quic.Conn
	t       testing.TB
	control *quic.SendStream
}

// dial3 connects; a control stream is opened unless the test does.
func dial3(g *quicGateway, opens bool) *conn3 {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, g.at, g.tls(), &quic.Config{MaxIdleTimeout: time.Minute})
	if err != nil {
		g.t.Fatal(err)
	}
	c := &conn3{Conn: conn, t: g.t}
	g.t.Cleanup(func() { conn.CloseWithError(0x100, "") })
	if opens {
		c.control = c.uni("\x00\x04\x00")
	}
	return c
}

// uni opens a one-way stream that begins so.
func (c *conn3) uni(octets string) *quic.SendStream {
	c.t.Helper()
	s, err := c.OpenUniStream()
	if err != nil {
		c.t.Fatal(err)
	}
	s.Write([]byte(octets))
	return s
}

// stream3 is a request stream.
type stream3 struct {
	*quic.Stream
	t testing.TB
	r quicvarint.Reader
}

func (c *conn3) open() *stream3 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	s.SetReadDeadline(time.Now().Add(60 * time.Second))
	return &stream3{Stream: s, t: c.t, r: quicvarint.NewReader(s)}
}

// frame returns a frame.
func frame3(kind uint64, payload string) string {
	return string(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload)))) + payload
}

// section3 returns a field section: "name", "value", ...
func section3(pairs ...string) string {
	var b bytes.Buffer
	e := qpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(qpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.String()
}

func head3(method, path string, more ...string) string {
	return frame3(1, section3(append([]string{":method", method, ":scheme", "https", ":authority", "www.test", ":path", path}, more...)...))
}

// next returns the next frame of the response, or its end, in words.
func (s *stream3) next() string {
	kind, err := quicvarint.Read(s.r)
	if err != nil {
		return ended3(err)
	}
	length, err := quicvarint.Read(s.r)
	if err != nil {
		return ended3(err)
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(s.r, payload); err != nil {
		return ended3(err)
	}
	if kind != 1 {
		return fmt.Sprintf("data %q", payload)
	}
	status, grpc := "", ""
	for next := qpack.NewDecoder().Decode(payload); ; {
		f, err := next()
		if err != nil {
			break
		}
		switch f.Name {
		case ":status":
			status = f.Value
		case "grpc-status":
			grpc = " " + f.Name + "=" + f.Value
		}
	}
	if status == "" {
		return "trailers" + grpc
	}
	return "status " + status
}

func ended3(err error) string {
	var reset *quic.StreamError
	var closed *quic.ApplicationError
	switch {
	case err == io.EOF:
		return "end"
	case errors.As(err, &reset):
		return fmt.Sprintf("reset %#x", uint64(reset.ErrorCode))
	case errors.As(err, &closed):
		return fmt.Sprintf("closed %#x", uint64(closed.ErrorCode))
	}
	return err.Error()
}

func (s *stream3) want(all ...string) {
	s.t.Helper()
	for _, want := range all {
		if got := s.next(); got != want {
			s.t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// send sends octets on a new stream, and ends it or not.
func (c *conn3) send(octets string, ends bool) *stream3 {
	s := c.open()
	s.Write([]byte(octets))
	if ends {
		s.Close()
	}
	return s
}

// closed waits for the end of the connection, and returns its code.
func (c *conn3) closed() string {
	c.t.Helper()
	select {
	case <-c.Context().Done():
	case <-time.After(60 * time.Second):
		c.t.Fatal("the connection goes on")
	}
	return ended3(context.Cause(c.Context()))
}

// A dialogue per row: what a client sends on one stream, and what comes back.
func TestHTTP3Dialogues(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		origin string // what it answers to any request, whose content it does not read
		talk   func(c *conn3)
	}{
		{"head and content", Limits{}, ok2, func(c *conn3) {
			c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
			c.send(frame3(0x21, "grease")+head3("GET", "/")+frame3(0x40, ""), true).want("status 200", `data "ok"`, "end")
		}},
		{"no content", Limits{}, "HTTP/1.1 204 No Content\r\n\r\n", func(c *conn3) { c.send(head3("GET", "/"), true).want("status 204", "end") }},
		{"HEAD", Limits{}, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", func(c *conn3) { c.send(head3("HEAD", "/"), true).want("status 200", "end") }},
		{"interim responses", Limits{}, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok2, func(c *conn3) {
			c.send(head3("GET", "/"), true).want("status 103", "status 200", `data "ok"`, "end")
		}},
		{"trailers", Limits{}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n", func(c *conn3) {
			s := c.send(head3("GET", "/"), true)
			s.want("status 200")
			for got := s.next(); got != "trailers grpc-status=0"; got = s.next() {
				if got != `data "ok"` {
					s.t.Fatal(got)
				}
			}
			s.want("end")
		}},
		{"until close", Limits{}, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", func(c *conn3) {
			c.send(head3("GET", "/close"), true).want("status 200", `data "ok"`, "end")
		}},
		{"100 (Continue)", Limits{}, "HTTP/1.1 100 Continue\r\n\r\n" + ok2, func(c *conn3) {
			c.send(head3("POST", "/", "expect", "100-continue", "content-length", "4"), false).want("status 100", "status 200", `data "ok"`, "end")
		}},
		{"answered early", Limits{}, ok2, func(c *conn3) {
			c.send(head3("POST", "/"), false).want("status 200", `data "ok"`, "end")
			c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
		}},
		{"too much content", Limits{MaxContent: 3}, ok2, func(c *conn3) { c.send(head3("POST", "/", "content-length", "4"), false).want("status 413") }},
		{"malformed", Limits{}, ok2, func(c *conn3) {
			c.send(head3("GET", "/", "connection", "close"), true).want("reset 0x10e")
			c.send(head3("GET", "/", "Upper", "b"), true).want("reset 0x10e")
			c.send(head3("GET", "/", "te", "gzip"), true).want("reset 0x10e")
			c.send(head3("GET", "/", "host", "other.test"), true).want("reset 0x10e")
			c.send(head3("GET", "/", ":path", "/again"), true).want("reset 0x10e")
			c.send(head3("GET", "/", "a", "b\r\nc: d"), true).want("reset 0x10e")
			c.send(head3("GET", "/a b"), true).want("reset 0x10e")
			c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
		}},
		{"refused by the rules of all versions", Limits{}, ok2, func(c *conn3) {
			c.send(head3("GET", "/%2e%2e/%00"), true).want("status 400")
			c.send(head3("GET", "/", "a", "b\x01c"), true).want("status 400")
			c.send(head3("GET", "/", "content-length", "1", "content-length", "2"), true).want("status 400")
		}},
		{"misdirected", Limits{}, ok2, func(c *conn3) {
			c.send(frame3(1, section3(":method", "GET", ":scheme", "https", ":authority", "other.test", ":path", "/")), true).want("status 421")
		}},
		{"a large head", Limits{}, ok2, func(c *conn3) {
			c.send(head3("GET", "/", "a", strings.Repeat("x", 15000), "b", strings.Repeat("x", 200)), true).want("status 200", `data "ok"`, "end")
			c.send(head3("GET", "/", "a", strings.Repeat("x", 50000)), true).want("status 431")
		}},
		{"CONNECT", Limits{}, ok2, func(c *conn3) {
			c.send(frame3(1, section3(":method", "CONNECT", ":authority", "www.test:1")), false).want("status 501")
		}},
		{"an origin that breaks off", Limits{}, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: close\r\n\r\nhalf", func(c *conn3) {
			s := c.send(head3("GET", "/close"), true)
			got := s.next()
			for got == "status 200" || got == `data "half"` { // a reset may overtake them
				got = s.next()
			}
			if got != "reset 0x102" {
				s.t.Error(got)
			}
		}},
		{"content before the head", Limits{}, ok2, func(c *conn3) {
			c.send(frame3(0, "x"), true)
			c.wantClosed("closed 0x105")
		}},
		{"an end within a frame", Limits{}, ok2, func(c *conn3) {
			c.send(head3("POST", "/", "content-length", "5")+"\x00\x05he", true)
			c.wantClosed("closed 0x106")
		}},
		{"an end before the head", Limits{}, ok2, func(c *conn3) { c.send("", true).want("reset 0x10d") }},
		{"a slow head", Limits{RequestHead: 100 * time.Millisecond}, ok2, func(c *conn3) { c.send(head3("GET", "/")[:5], false).want("status 408") }},
		{"an end that does not come", Limits{RequestHead: 100 * time.Millisecond}, ok2, func(c *conn3) { c.send(head3("GET", "/"), false).want("status 408") }},
		{"slow content", Limits{Stall: 100 * time.Millisecond}, ok2, func(c *conn3) {
			c.send(head3("POST", "/", "content-length", "5")+frame3(0, "hel"), false).want("status 408")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := startQUIC(t, Config{Limits: c.limits}, nil, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
				for head := readMessageHead(r); head != ""; head = readMessageHead(r) {
					io.WriteString(conn, c.origin)
					if strings.Contains(head, " /close ") {
						return
					}
				}
			}))
			c.talk(dial3(g, true))
		})
	}
}

func (c *conn3) wantClosed(want string) {
	c.t.Helper()
	if got := c.closed(); got != want {
		c.t.Errorf("got %s, want %s", got, want)
	}
}
