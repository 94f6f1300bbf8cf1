package httpproxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/encoders"
)

func compressing(t testing.TB, most int) *Compression {
	t.Helper()
	rules, err := compress.Parse([]string{"zstd", "br", "gzip"}, 100, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	set, err := encoders.New(encoders.Levels{Gzip: 5, Brotli: 4, Zstd: 2}, most)
	if err != nil {
		t.Fatal(err)
	}
	return &Compression{rules, set}
}

// decoded returns what a response says in its own words.
func decoded(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	body := io.Reader(r.Body)
	switch coding := r.Header.Get("Content-Encoding"); coding {
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		body = z
	case "br":
		body = brotli.NewReader(r.Body)
	case "zstd":
		z, err := zstd.NewReader(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		body = z
	case "":
	default:
		t.Fatalf("coding %q", coding)
	}
	octets, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

func askAs(t *testing.T, address, method, path string, fields ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bySize answers /SIZE with content of that size; of length that is told, or chunked for
// /SIZE/chunked, with fields of the query.
func bySize(conn net.Conn, r *bufio.Reader) {
	for {
		head := readMessageHead(r)
		if head == "" {
			return
		}
		var size int
		target := strings.Fields(head)[1]
		fmt.Sscanf(target, "/%d", &size)
		_, fields, _ := strings.Cut(target, "?")
		fields = strings.NewReplacer("&", "\r\n", "=", ": ", "+", " ").Replace(fields)
		if fields != "" {
			fields += "\r\n"
		}
		content := textOf(size)
		b := bytes.NewBufferString("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"tag\"\r\nAccept-Ranges: bytes\r\n" + fields)
		isHead := strings.HasPrefix(head, "HEAD ")
		switch {
		case strings.Contains(target, "/chunked"):
			b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
			for rest := content; len(rest) > 0 && !isHead; {
				n := min(len(rest), 5000)
				fmt.Fprintf(b, "%x\r\n%s\r\n", n, rest[:n])
				rest = rest[n:]
			}
			if !isHead {
				b.WriteString("0\r\n\r\n")
			}
		default:
			fmt.Fprintf(b, "Content-Length: %d\r\n\r\n", size)
			if !isHead {
				b.WriteString(content)
			}
		}
		if _, err := conn.Write(b.Bytes()); err != nil {
			return
		}
	}
}

func textOf(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "line %d of text\n", i)
	}
	return b.String()[:size]
}

// TestCompression: content is the same octet by octet after decoding, in every coding, of
// every size, and the fields say what was done to it.
func TestCompression(t *testing.T) {
	g := startGateway(t, Config{Compression: compressing(t, 10)}, startOrigin(t, bySize))
	for _, coding := range []string{"gzip", "br", "zstd"} {
		for _, size := range []int{100, 5000, 20_000, 300_000, 2_000_000} {
			for _, kind := range []string{"", "/chunked"} {
				r := askAs(t, g.address, "GET", fmt.Sprint("/", size, kind), "Accept-Encoding", coding)
				if got := decoded(t, r); got != textOf(size) {
					t.Fatalf("%s of %d%s: %d octets after decoding", coding, size, kind, len(got))
				}
				if h := r.Header; h.Get("Content-Encoding") != coding || h.Get("Vary") != "Accept-Encoding" || h.Get("ETag") != `W/"tag"` || h.Get("Accept-Ranges") != "" || r.ContentLength != -1 {
					t.Errorf("%s of %d%s: %v", coding, size, kind, h)
				}
			}
		}
	}
	head := askAs(t, g.address, "HEAD", "/5000", "Accept-Encoding", "br")
	if h := head.Header; h.Get("Content-Encoding") != "br" || h.Get("Content-Length") != "" || h.Get("ETag") != `W/"tag"` || h.Get("Vary") != "Accept-Encoding" {
		t.Errorf("HEAD: %v", h)
	}
	if all, full := g.server.Codings(); len(all) != 3 || full != 0 || all[0].Coding != "gzip" || all[0].Responses != 10 || all[0].Before < 2*2_325_100 || all[0].Now == 0 || all[0].Now > all[0].Before/4 {
		t.Errorf("counted %+v, %d", all, full)
	}
}

// TestNotCompressed: what has to go as it is does, with its length and validator; and what
// only this client does not get compressed says that others may.
func TestNotCompressed(t *testing.T) {
	g := startGateway(t, Config{Compression: compressing(t, 10)}, startOrigin(t, bySize))
	for _, c := range []struct {
		path   string
		varies bool
		fields []string
	}{
		{"/5000", true, nil},
		{"/5000", true, []string{"Accept-Encoding", "deflate"}},
		{"/5000", true, []string{"Accept-Encoding", "gzip;q=0, identity"}},
		{"/99", false, []string{"Accept-Encoding", "gzip"}},
		{"/5000?Set-Cookie=a", false, []string{"Accept-Encoding", "gzip"}},
		{"/5000?Cache-Control=max-age=1,+No-Transform", false, []string{"Accept-Encoding", "gzip"}},
		{"/5000?Content-Range=bytes+0-4999/9999", false, []string{"Accept-Encoding", "gzip"}},
		{"/5000?Repr-Digest=x", false, []string{"Accept-Encoding", "gzip"}},
		{"/5000", false, []string{"Accept-Encoding", "gzip", "Authorization", "Basic eDp5"}},
		{"/5000", false, []string{"Accept-Encoding", "gzip", "Cache-Control", "no-transform"}},
	} {
		r := askAs(t, g.address, "GET", c.path, c.fields...)
		if got := decoded(t, r); len(got) == 0 || r.ContentLength != int64(len(got)) || r.Header.Get("Content-Encoding") != "" || r.Header.Get("ETag") != `"tag"` ||
			r.Header.Get("Accept-Ranges") != "bytes" || (r.Header.Get("Vary") == "Accept-Encoding") != c.varies {
			t.Errorf("%s %q: %d octets, %v", c.path, c.fields, len(got), r.Header)
		}
	}
	coded := askAs(t, g.address, "GET", "/5000?Content-Encoding=compress", "Accept-Encoding", "gzip")
	if h := coded.Header; h.Get("Content-Encoding") != "compress" || coded.ContentLength != 5000 || h.Get("ETag") != `"tag"` {
		t.Errorf("coded already: %v", h)
	}
	if got := g.ask("GET /5000 HTTP/1.0\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n"); strings.Contains(got, "Content-Encoding") || !strings.HasSuffix(got, textOf(5000)) {
		t.Errorf("HTTP/1.0: %.200q", got)
	}
	varied := askAs(t, g.address, "GET", "/5000?Vary=accept-encoding,+Cookie", "Accept-Encoding", "gzip")
	if v := varied.Header.Values("Vary"); decoded(t, varied) != textOf(5000) || len(v) != 1 {
		t.Errorf("Vary: %q", v)
	}
}

// TestCompressedStream: what an origin server has sent can be read before it sends more.
func TestCompressedStream(t *testing.T) {
	next := make(chan string)
	g := startGateway(t, Config{Compression: compressing(t, 10)}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for event := range next {
			fmt.Fprintf(conn, "%x\r\n%s\r\n", len(event), event)
		}
		io.WriteString(conn, "0\r\n\r\n")
	}))
	first := "data: one\n\n"
	go func() { next <- first }()
	r := askAs(t, g.address, "GET", "/", "Accept-Encoding", "gzip")
	defer r.Body.Close()
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(first))
	for _, event := range []string{first, "data: two\n\n"} {
		if event != first {
			next <- event // only now
		}
		if _, err := io.ReadFull(z, b); err != nil || string(b) != event {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	close(next)
	if rest, err := io.ReadAll(z); err != nil || len(rest) != 0 {
		t.Errorf("at the end %q, %v", rest, err)
	}
}

// TestCompressionEnds: a response that breaks off is no whole one for the client, its encoder
// is used again, and with none left responses go as they are.
func TestCompressionEnds(t *testing.T) {
	how := compressing(t, 1)
	broken := startGateway(t, Config{Compression: how}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200000\r\n\r\n"+textOf(100_000))
	}))
	for range 3 {
		r := askAs(t, broken.address, "GET", "/", "Accept-Encoding", "gzip")
		if _, err := io.ReadAll(r.Body); err == nil {
			t.Error("the end of a part was taken for that of the whole")
		}
		r.Body.Close()
	}
	g := startGateway(t, Config{Compression: how}, startOrigin(t, bySize))
	if r := askAs(t, g.address, "GET", "/5000", "Accept-Encoding", "gzip"); decoded(t, r) != textOf(5000) || r.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("after responses that broke off: %v", r.Header)
	}
	kept := how.Encoders.Get(compress.Gzip, io.Discard)
	for end := time.Now().Add(20 * time.Second); kept == nil && time.Now().Before(end); kept = how.Encoders.Get(compress.Gzip, io.Discard) {
		runtime.Gosched() // the response before gives its encoder back when it is sent
	}
	if r := askAs(t, g.address, "GET", "/5000", "Accept-Encoding", "gzip"); kept == nil || decoded(t, r) != textOf(5000) || r.Header.Get("Content-Encoding") != "" {
		t.Errorf("with no encoder left: %v", r.Header)
	}
}
