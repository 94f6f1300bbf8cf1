package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pharos/internal/proxy/h2origin"
	"pharos/internal/proxy/origins"
	"pharos/internal/proxy/tracecontext"
)

// lie is what an origin server does to the first request it gets, and what becomes of it.
type lie struct {
	name string
	tell func(conn net.Conn) // ends with the connection at the latest
	// want is the error type of RFC 9209 of a 502, "cut" for a response that breaks off,
	// "broken" for either, and "whole" for one that is: what is behind it is nobody's.
	want string
}

// says is an origin server that sends b, and waits for the gateway to leave.
func says(b string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, b)
		io.Copy(io.Discard, conn)
	}
}

// leaves is one that sends b and leaves.
func leaves(b string) func(net.Conn) { return func(conn net.Conn) { io.WriteString(conn, b) } }

// drones is one that sends b, and then more without an end.
func drones(b, more string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, b)
		for much := strings.Repeat(more, 100); ; {
			if _, err := io.WriteString(conn, much); err != nil {
				return
			}
		}
	}
}

const (
	okHead  = "HTTP/1.1 200 OK\r\n"
	poison  = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	chunked = okHead + "Transfer-Encoding: chunked\r\n\r\n"
	inform  = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
)

var lies = []lie{
	{"closes without an answer", leaves(""), "connection_terminated"},
	{"closes within the status line", leaves("HTTP/1.1 20"), "http_response_incomplete"},
	{"closes within the fields", leaves(okHead + "Content-Le"), "http_response_incomplete"},
	{"closes before the content", leaves(okHead + "Content-Length: 5\r\n\r\n"), "cut"},
	{"closes within the content", leaves(okHead + "Content-Length: 5\r\n\r\nabc"), "cut"},
	{"closes within content that was passed on", leaves(okHead + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 40000)), "cut"},
	{"closes within a chunk", leaves(chunked + "5\r\nabc"), "cut"},
	{"closes before the last chunk", leaves(chunked + "3\r\nabc\r\n"), "cut"},
	{"closes within the trailers", leaves(chunked + "3\r\nabc\r\n0\r\nX: y\r\n"), "cut"},
	{"closes after an interim response", leaves(inform + "\r\n"), "connection_terminated"},

	{"more than its length", says(okHead + "Content-Length: 2\r\n\r\nok" + poison), "whole"},
	{"two answers", says(ok2 + poison), "whole"},
	{"204 with content", says("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison" + poison), "whole"},
	{"204 that is chunked", says("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + poison), "whole"},
	{"304 with content", says("HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison" + poison), "whole"},
	{"interim response with content", says(inform + "Content-Length: 6\r\n\r\npoison" + ok2), "http_protocol_error"},
	{"octets behind the last chunk", says(chunked + "2\r\nok\r\n0\r\n\r\n" + poison), "whole"},

	{"interim responses without an end", drones("", inform+"\r\n"), "http_protocol_error"},
	{"fields without an end", drones(okHead, "X: y\r\n"), "http_protocol_error"},
	{"large fields without an end", drones(okHead, "X: "+strings.Repeat("y", 2000)+"\r\n"), "http_protocol_error"},
	{"a field without an end", drones(okHead+"X: ", "y"), "http_protocol_error"},
	{"a reason without an end", drones("HTTP/1.1 200 ", "y"), "http_protocol_error"},
	{"a chunk extension without an end", drones(chunked+"5;", "y"), "broken"},
	{"trailers without an end", drones(chunked+"0\r\n", "X: y\r\n"), "broken"},

	{"no HTTP", says("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "http_protocol_error"},
	{"HTTP/0.9", says("<html>hello</html>\r\n\r\n"), "http_protocol_error"},
	{"HTTP/2", says("\x00\x00\x00\x04\x00\x00\x00\x00\x00"), "http_protocol_error"},
	{"status of four digits", says("HTTP/1.1 2000 OK\r\n\r\n"), "http_protocol_error"},
	{"101 that nobody asked for", says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + poison), "http_upgrade_failed"},
	{"a length with a sign", says(okHead + "Content-Length: +2\r\n\r\nok"), "http_protocol_error"},
	{"a length that overflows", says(okHead + "Content-Length: 18446744073709551618\r\n\r\nok"), "http_protocol_error"},
	{"both framings", says(okHead + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "http_protocol_error"},
	{"two lengths", says(okHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), "http_protocol_error"},
	{"a coding that nobody asked for", says(okHead + "Transfer-Encoding: gzip\r\n\r\nok"), "http_protocol_error"},
	{"chunked, nearly", says(okHead + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "http_protocol_error"},
	{"a chunk size that is none", says(chunked + "-1\r\n\r\n"), "http_protocol_error"},
	{"a chunk size that overflows", says(chunked + "10000000000000000\r\n"), "http_protocol_error"},
	{"a chunk longer than its size", says(chunked + "1\r\nok\r\n0\r\n\r\n"), "http_protocol_error"},
	{"a chunk line that ends without CR", says(chunked + "2\nok\n0\n\n"), "http_protocol_error"},

	{"response splitting by CR in a value", says(okHead + "X: y\rSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"), "http_protocol_error"},
	{"response splitting by LF in a value", says(okHead + "X: y\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"), "http_protocol_error"},
	{"response splitting by CR in the reason", says("HTTP/1.1 200 OK\rSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"), "http_protocol_error"},
	{"a NUL in a value", says(okHead + "X: y\x00\r\nContent-Length: 2\r\n\r\nok"), "http_protocol_error"},
	{"white space before a colon", says(okHead + "Content-Length : 2\r\n\r\nok"), "http_protocol_error"},
	{"a folded field", says(okHead + "X: y\r\n z\r\nContent-Length: 2\r\n\r\nok"), "http_protocol_error"},
}

// Origin servers that lie: the client is told so, or sees the response break off; log and
// explain say why; and what they have said beyond their answer is not the answer to the next
// request, as the connection is not used again.
func TestLyingOrigins(t *testing.T) {
	for _, c := range lies {
		t.Run(c.name, func(t *testing.T) {
			var conns atomic.Int32
			origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
				if conns.Add(1) > 1 {
					answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean")(conn, r)
					return
				}
				if readMessageHead(r) == "" || r.Buffered() > 0 {
					t.Error("the gateway has sent something else than a request")
				}
				c.tell(conn)
			})
			expectLie(t, c, nil, origin)
			if n := conns.Load(); n != 2 {
				t.Errorf("%d connections to the origin server, want another one for the next request", n)
			}
		})
	}
}

// expectLie has the lie told, and asks again. by is how the origin server is reached.
func expectLie(t *testing.T, c lie, by *origins.Reach, origin string) {
	t.Helper()
	var lines bytes.Buffer
	g := startGateway(t, Config{
		AccessLog: &lines, Past: &Past{Ring: tracecontext.NewRing(10 * tracecontext.RequestOctets)},
		Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}, origin)
	if by != nil {
		table := tableOf(t, origin)
		table.Reach(map[string]*origins.Reach{"web": by}, nil)
		g.publish(table)
	}
	conn := g.dial()
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: lied\r\nContent-Length: 0\r\n\r\n")
	resp, content, err := readFinal(bufio.NewReader(conn))
	switch {
	case strings.Contains(string(content), "poison"):
		t.Errorf("the client got %q", content)
	case c.want == "whole":
		if err != nil || resp.StatusCode >= 500 {
			t.Errorf("got %v, %v, want a whole response", resp, err)
		}
	case c.want == "cut":
		if err == nil {
			t.Errorf("got %v with %q, want it to break off", resp, content)
		}
	case c.want == "broken" && err != nil:
	default:
		if c.want = strings.Replace(c.want, "broken", "http_protocol_error", 1); err != nil || resp.StatusCode != 502 || !strings.Contains(resp.Header.Get("Proxy-Status"), "error="+c.want+";") {
			t.Errorf("got %v, %v, want 502 with %s", resp, err, c.want)
		}
	}
	conn.Close()
	for g.server.connections() > 0 {
		runtime.Gosched() // until it is told of
	}
	if got := contentOf(g.ask(get(byeField))); got != "clean" {
		t.Errorf("the next request is answered with %q", got)
	}
	if c.want == "whole" {
		return
	}
	if q, why := g.server.PastRequest("lied", time.Now()); q == nil || q.Reason == "" || len(q.Tries) != 1 || q.Tries[0].Reason == "" {
		t.Errorf("explain does not say why: %+v, %s", q, why)
	}
	if err := g.server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	var line struct{ ID, Reason string }
	if err := json.NewDecoder(&lines).Decode(&line); err != nil || line.ID != "lied" || line.Reason == "" {
		t.Errorf("the log does not say why: %+v, %v", line, err)
	}
}

// readFinal reads the final response.
func readFinal(r *bufio.Reader) (resp *http.Response, content []byte, err error) {
	for {
		if resp, err = http.ReadResponse(r, nil); err != nil {
			return nil, nil, err
		}
		if content, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 200 {
			return resp, content, err
		}
	}
}

// lies2 are those that only HTTP/2 knows, or has other words for. What the origin server
// does, it does on stream 1 of its first connection.
var lies2 = []struct {
	name string
	tell func(f *http2.Framer, fields func(...string) []byte)
	want string
}{
	{"reset before the answer", func(f *http2.Framer, _ func(...string) []byte) { f.WriteRSTStream(1, http2.ErrCodeInternal) }, "connection_terminated"},
	{"refused after it was read", func(f *http2.Framer, _ func(...string) []byte) { f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }, "connection_terminated"},
	{"reset within the content", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, false, fields(":status", "200"))
		f.WriteData(1, false, []byte("abc"))
		f.WriteRSTStream(1, http2.ErrCodeInternal)
	}, "cut"},
	{"less than its length", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, false, fields(":status", "200", "content-length", "5"))
		f.WriteData(1, true, []byte("abc"))
	}, "cut"},
	{"more than its length", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, false, fields(":status", "200", "content-length", "3"))
		f.WriteData(1, true, []byte("abcpoison"))
	}, "any"},
	{"a length and no content", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, true, fields(":status", "200", "content-length", "5"))
	}, "connection_terminated"},
	{"content before the head", func(f *http2.Framer, _ func(...string) []byte) { f.WriteData(1, true, []byte("abc")) }, "connection_terminated"},
	{"no status", func(f *http2.Framer, fields func(...string) []byte) { head2(f, true, fields("a", "b")) }, "connection_terminated"},
	{"a status that is none", func(f *http2.Framer, fields func(...string) []byte) { head2(f, true, fields(":status", "2x0")) }, "connection_terminated"},
	{"a status of four digits", func(f *http2.Framer, fields func(...string) []byte) { head2(f, true, fields(":status", "2000")) }, "any"},
	{"101", func(f *http2.Framer, fields func(...string) []byte) { head2(f, true, fields(":status", "101")) }, "any"},
	{"a line break in a value", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, true, fields(":status", "200", "x", "y\r\nset-cookie: a=b"))
	}, "connection_terminated"},
	{"a line break in a name", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, true, fields(":status", "200", "x\r\nset-cookie", "a=b"))
	}, "connection_terminated"},
	{"a NUL in a value", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, true, fields(":status", "200", "x", "y\x00"))
	}, "connection_terminated"},
	{"a coding, which HTTP/2 does not have", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, false, fields(":status", "200", "transfer-encoding", "chunked"))
		f.WriteData(1, true, []byte("0\r\n\r\n"))
	}, "any"},
	{"fields without an end", func(f *http2.Framer, fields func(...string) []byte) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(":status", "200")})
		for range 1000 {
			if f.WriteContinuation(1, false, fields("x", strings.Repeat("y", 1000))) != nil {
				return
			}
		}
	}, "connection_terminated"},
	{"interim responses without an end", func(f *http2.Framer, fields func(...string) []byte) {
		for range 1000 {
			if head2(f, false, fields(":status", "103", "link", "</a>")) != nil {
				return
			}
		}
	}, "any"},
	{"content in answer to 204", func(f *http2.Framer, fields func(...string) []byte) {
		head2(f, false, fields(":status", "204"))
		f.WriteData(1, true, []byte(poison))
	}, "whole"},
}

func head2(f *http2.Framer, end bool, block []byte) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: end, EndHeaders: true})
}

// The same for origin servers of HTTP/2.
func TestLyingOriginsOver2(t *testing.T) {
	for _, c := range lies2 {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int32
			origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) { serve2(conn, r, &asked, c.tell) })
			o := h2origin.New("http", time.Minute)
			t.Cleanup(o.Close)
			expectLie2(t, lie{name: c.name, want: c.want}, &origins.Reach{Identity: "h2", Open: o.Open}, origin)
		})
	}
}

// expectLie2 is expectLie, but for lies of which it only matters that they do no harm.
func expectLie2(t *testing.T, c lie, by *origins.Reach, origin string) {
	t.Helper()
	if c.want != "any" {
		expectLie(t, c, by, origin)
		return
	}
	g := startGateway(t, Config{}, origin)
	table := tableOf(t, origin)
	table.Reach(map[string]*origins.Reach{"web": by}, nil)
	g.publish(table)
	if got := g.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + byeField + "\r\n"); strings.Contains(got, "poison") || strings.Contains(got, "Set-Cookie") {
		t.Errorf("the client got %q", got)
	}
	if got := contentOf(g.ask(get(byeField))); got != "clean" {
		t.Errorf("the next request is answered with %q", got)
	}
}

// serve2 is a server of HTTP/2 whose first answer is tell's.
func serve2(conn net.Conn, r *bufio.Reader, asked *atomic.Int32, tell func(f *http2.Framer, fields func(...string) []byte)) {
	if _, err := io.ReadFull(r, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(conn, r)
	f.AllowIllegalWrites = true
	f.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fields := func(pairs ...string) []byte {
		block.Reset()
		for i := 0; i < len(pairs); i += 2 {
			enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
		}
		return bytes.Clone(block.Bytes())
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			f.WritePing(true, frame.Data)
		case *http2.HeadersFrame:
			if asked.Add(1) == 1 {
				tell(f, fields)
				continue
			}
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: fields(":status", "200", "content-length", "5"), EndHeaders: true})
			f.WriteData(frame.StreamID, true, []byte("clean"))
		}
	}
}
