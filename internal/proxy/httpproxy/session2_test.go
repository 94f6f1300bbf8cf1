package httpproxy

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestSchemeIsTheConnections: RFC 9110 §7.4: what is asked for by a scheme is answered on a
// connection of that scheme, but to a trusted proxy that speaks for a client of its own.
func TestSchemeIsTheConnections(t *testing.T) {
	origin := startOrigin(t, answering(ok2))
	clear := startGateway(t, Config{}, origin)
	trusting := startGateway(t, Config{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, origin)
	secured, ca := startSecured(t, Config{}, nil, origin)
	for name, tt := range map[string]struct {
		g            *gateway
		scheme, want string
	}{
		"http in the clear":     {clear, "http", "1 status 200"},
		"https in the clear":    {clear, "https", "1 status 421"},
		"https behind a proxy":  {trusting, "https", "1 status 200"},
		"https over TLS":        {secured, "https", "1 status 200"},
		"http over TLS":         {secured, "http", "1 status 421"},
		"another one":           {clear, "gopher", "1 reset PROTOCOL_ERROR"},
		"another one, over TLS": {secured, "ftp", "1 reset PROTOCOL_ERROR"},
	} {
		c := &conn2{t: t, conn: tt.g.dial()}
		if tt.g == secured {
			c.conn = tls.Client(c.conn, &tls.Config{ServerName: "www.test", RootCAs: ca.Pool(), NextProtos: []string{"h2"}})
		}
		c.begin()
		c.head(1, true, ":method", "GET", ":scheme", tt.scheme, ":path", "/", ":authority", "www.test")
		if got := c.next(); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

// allocsPerStream is how many allocations a request over HTTP/2 costs at most, if its fields are
// in the tables of the connection: the decoder makes a string of each other name and value.
const allocsPerStream = 2

// TestAllocsOverHTTP2: a request on a connection of HTTP/2 that is kept, to an origin server of
// HTTP/1.1, whose fields have come before.
func TestAllocsOverHTTP2(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget what is put into them")
	}
	g := startGateway(t, Config{AccessLog: new(discardLog)}, startOrigin(t, fixedOrigin))
	c := dial2(g)
	fields := []string{":method", "GET", ":scheme", "http", ":path", "/path?query", ":authority", "www.example.com", "user-agent", "test", "accept", "*/*", "accept-encoding", "gzip", "cookie", "a=b"}
	c.head(1, true, fields...)
	c.want("1 status 200", `1 data "ok" end`)
	// From here on each name and value is in the tables: what is sent is the same each time.
	c.head(3, true, fields...)
	c.want("3 status 200", `3 data "ok" end`)
	frame := append([]byte{0, 0, byte(c.block.Len()), byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream), 0, 0, 0, 0}, c.block.Bytes()...)
	stream, room := uint32(5), make([]byte, 16384)
	round := func() {
		binary.BigEndian.PutUint32(frame[5:], stream)
		stream += 2
		if _, err := c.conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		for ended := false; !ended; {
			if _, err := io.ReadFull(c.conn, room[:9]); err != nil {
				t.Fatal(err)
			}
			ended = room[3] == byte(http2.FrameData) && room[4]&byte(http2.FlagDataEndStream) != 0
			if _, err := io.ReadFull(c.conn, room[:int(room[0])<<16|int(room[1])<<8|int(room[2])]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 200 {
		round() // pools, buffers and what is remembered of streams fill
	}
	const rounds = 2000
	var before, after runtime.MemStats
	runtime.GC()
	round()
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	each := float64(after.Mallocs-before.Mallocs) / rounds
	t.Logf("%.2f allocations for each request", each)
	if each > allocsPerStream {
		t.Errorf("got %.2f allocations for each request, want at most %d", each, allocsPerStream)
	}
}

// TestCompressionOverHTTP2: what is true of compressed responses over HTTP/1.1 is so over
// HTTP/2: octet by octet the same, in every coding, of any size, as they come; HEAD, and what
// goes as it is.
func TestCompressionOverHTTP2(t *testing.T) {
	g := startGateway(t, Config{Compression: compressing(t, 10)}, startOrigin(t, bySize))
	hc := client2(t)
	hc.Transport.(*http.Transport).DisableCompression = true
	ask := func(method, path string, fields ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			req.Header.Add(fields[i], fields[i+1])
		}
		r, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		return r
	}
	for _, coding := range []string{"gzip", "br", "zstd"} {
		for _, size := range []int{100, 20_000, 2_000_000} {
			for _, kind := range []string{"", "/chunked"} {
				r := ask("GET", fmt.Sprint("/", size, kind), "Accept-Encoding", coding+", identity;q=0.5")
				if got := decoded(t, r); got != textOf(size) || r.ProtoMajor != 2 {
					t.Fatalf("%s of %d%s: %d octets after decoding", coding, size, kind, len(got))
				}
				if h := r.Header; h.Get("Content-Encoding") != coding || h.Get("Vary") != "Accept-Encoding" || h.Get("ETag") != `W/"tag"` || r.ContentLength != -1 {
					t.Errorf("%s of %d%s: %v", coding, size, kind, h)
				}
			}
		}
	}
	if h := ask("HEAD", "/5000", "Accept-Encoding", "br").Header; h.Get("Content-Encoding") != "br" || h.Get("Content-Length") != "" || h.Get("ETag") != `W/"tag"` {
		t.Errorf("HEAD: %v", h)
	}
	for _, c := range [][]string{
		{"/5000", "", ""}, {"/5000", "Accept-Encoding", "gzip;q=0, identity"}, {"/99", "Accept-Encoding", "gzip"}, {"/5000?Set-Cookie=a", "Accept-Encoding", "gzip"},
		{"/5000?Content-Type=application/grpc", "Accept-Encoding", "gzip"},
	} {
		fields := c[1:]
		if c[1] == "" {
			fields = nil
		}
		r := ask("GET", c[0], fields...)
		if got := decoded(t, r); r.ContentLength != int64(len(got)) || r.Header.Get("Content-Encoding") != "" || r.Header.Get("ETag") != `"tag"` {
			t.Errorf("%v: %d octets, %v", c, len(got), r.Header)
		}
	}
	coded := ask("GET", "/5000?Content-Encoding=compress", "Accept-Encoding", "gzip")
	if h := coded.Header; h.Get("Content-Encoding") != "compress" || coded.ContentLength != 5000 {
		t.Errorf("coded already: %v", h)
	}
}

// TestBackpressureOverHTTP2: who does not read holds the other side up, whichever side it is,
// and what waits in between is bounded.
func TestBackpressureOverHTTP2(t *testing.T) {
	const much = 256 << 20
	took := make(chan int64, 1)
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		head := readMessageHead(r)
		if head == "" {
			return
		}
		if head[0] == 'P' { // it never reads the content
			<-took
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", much)
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		n, _ := io.CopyN(conn, zeros{}, much)
		took <- n
	}))
	c := dial2(g)
	c.get(1, "/")
	c.want("1 status 200")
	// The client's windows are 64 KiB; sockets of the system hold some megabytes.
	if n := <-took; n > 32<<20 {
		t.Errorf("the origin server sent %d octets to a client that reads none", n)
	}
	c = dial2(g)
	c.post(1, "/")
	sent, mayStream, mayAll, piece := 0, 64<<10-1, 64<<10-1, make([]byte, 16384)
	for {
		for n := min(mayStream, mayAll, len(piece)); n > 0; n = min(mayStream, mayAll, len(piece)) {
			if err := c.WriteData(1, false, piece[:n]); err != nil {
				t.Fatal(err)
			}
			sent, mayStream, mayAll = sent+n, mayStream-n, mayAll-n
		}
		c.conn.SetReadDeadline(time.Now().Add(time.Second))
		f, err := c.ReadFrame()
		if err != nil {
			break // it lets us send no more
		}
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 1 {
			mayStream += int(w.Increment)
		} else if ok {
			mayAll += int(w.Increment)
		}
	}
	took <- 0
	if sent > 32<<20 {
		t.Errorf("the gateway took %d octets for an origin server that reads none", sent)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
