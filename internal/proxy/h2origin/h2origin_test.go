package h2origin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// origin runs h over HTTP/2 in the clear, and returns a way to open exchanges with it.
func origin(t *testing.T, h http.HandlerFunc) (o *Origins, open func() net.Conn, dials *atomic.Int32) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols, s.Config.DisableGeneralOptionsHandler = &protocols, true
	s.Start()
	t.Cleanup(s.Close)
	o, dials = New("http", time.Minute), new(atomic.Int32)
	t.Cleanup(o.Close)
	address := netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "http://"))
	return o, func() net.Conn {
		t.Helper()
		conn, _, err := o.Open(t.Context(), address, func(context.Context) (net.Conn, error) {
			dials.Add(1)
			return net.Dial("tcp", address.String())
		})
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second)) // a hang fails the test
		t.Cleanup(func() { conn.Close() })
		return conn
	}, dials
}

// TestExchange: what stands in the form of HTTP/1.1 on one side is the same in HTTP/2 on the
// other: targets octet for octet, fields, content with and without a length, trailers,
// interim responses.
func TestExchange(t *testing.T) {
	_, open, dials := origin(t, func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/hints" {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
		}
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Host, " ", r.Proto, " ", r.ContentLength, " ", len(content), " ", r.Header.Get("X-A"), r.Header["User-Agent"], r.Header.Get("Connection")))
		switch {
		case strings.HasPrefix(r.URL.Path, "/trailers"):
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			w.Header().Set("X-Sum", "3")
		case r.URL.Path == "/none":
			w.WriteHeader(http.StatusNoContent)
		default:
			fmt.Fprint(w, "hello")
		}
	})
	large := strings.Repeat("0123456789abcdef", 20_000)
	for name, tt := range map[string]struct{ request, status, seen, content, trailer string }{
		"get":          {"GET /a%2Cb?c=%zz HTTP/1.1\r\nHost: www.test:80\r\nX-A: 1\r\n\r\n", "200 OK", "GET /a%2Cb?c=%zz www.test:80 HTTP/2.0 0 0 1[]", "hello", ""},
		"two slashes":  {"GET //a//b?c HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "GET //a//b?c a HTTP/2.0 0 0 []", "hello", ""},
		"all":          {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "OPTIONS * a HTTP/2.0 0 0 []", "hello", ""},
		"head":         {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "HEAD / a HTTP/2.0 0 0 []", "", ""},
		"no content":   {"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "204 No Content", "GET /none a HTTP/2.0 0 0 []", "", ""},
		"length":       {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "200 OK", "POST / a HTTP/2.0 3 3 []", "hello", ""},
		"length of 0":  {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "200 OK", "POST / a HTTP/2.0 0 0 []", "hello", ""},
		"chunked":      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "200 OK", "POST / a HTTP/2.0 -1 5 []", "hello", ""},
		"large":        {fmt.Sprintf("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(large), large), "200 OK", "PUT / a HTTP/2.0 320000 320000 []", "hello", ""},
		"trailers":     {"GET /trailers HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "GET /trailers a HTTP/2.0 0 0 []", "abc", "3"},
		"hop by hop":   {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "200 OK", "GET / a HTTP/2.0 0 0 []", "hello", ""},
		"early hints":  {"GET /hints HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "GET /hints a HTTP/2.0 0 0 []", "hello", ""},
		"its own name": {"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\n\r\n", "200 OK", "GET / a HTTP/2.0 0 0 [me]", "hello", ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := open()
			go io.WriteString(conn, tt.request)
			r := bufio.NewReader(conn)
			method, _, _ := strings.Cut(tt.request, " ")
			resp, err := http.ReadResponse(r, &http.Request{Method: method})
			if err == nil && name == "early hints" {
				if resp.StatusCode != 103 || resp.Header.Get("Link") == "" {
					t.Errorf("before: got %s %v", resp.Status, resp.Header)
				}
				resp, err = http.ReadResponse(r, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(resp.Body)
			if err != nil || resp.Status != tt.status || string(content) != tt.content || resp.Header.Get("X-Seen") != tt.seen && !strings.HasPrefix(resp.Header.Get("X-Seen"), tt.seen) {
				t.Errorf("got %s %q %q, %v; want %s %q", resp.Status, resp.Header.Get("X-Seen"), content, err, tt.status, tt.seen)
			}
			if got := resp.Trailer.Get("X-Sum"); got != tt.trailer {
				t.Errorf("trailer %q, want %q", got, tt.trailer)
			}
		})
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections", dials.Load())
	}
}

// TestEndOfCalls: gRPC's servers wait for a DATA frame that ends a call, even if there is
// nothing in it; others are told at once that nothing comes.
func TestEndOfCalls(t *testing.T) {
	_, open, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.ContentLength) })
	for kind, want := range map[string]string{"application/grpc+proto": "-1", "text/plain": "0"} {
		conn := open()
		go fmt.Fprintf(conn, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: 0\r\n\r\n", kind)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v; want %q", kind, got, err, want)
		}
	}
}

// TestBothWays: messages pass in both directions while both are open, each as soon as it
// was sent.
func TestBothWays(t *testing.T) {
	_, open, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 16)
		w.WriteHeader(200)
		for {
			w.(http.Flusher).Flush()
			n, err := r.Body.Read(b)
			w.Write(b[:n])
			if err != nil {
				return
			}
		}
	})
	conn := open()
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	for _, word := range []string{"one", "two", "three"} {
		fmt.Fprintf(conn, "%x\r\n%s\r\n", len(word), word)
		if n, err := io.ReadFull(resp.Body, b[:len(word)]); err != nil || string(b[:n]) != word {
			t.Fatalf("got %q, %v", b[:n], err)
		}
	}
	go io.WriteString(conn, "0\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v", rest, err)
	}
}

// TestCancel: RFC 9113 §8.1: when the gateway gives an exchange up, in whatever state, the
// origin is told, and the connection carries the others on.
func TestCancel(t *testing.T) {
	started, ended := make(chan string, 1), make(chan string, 1)
	_, open, dials := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fine" {
			return
		}
		if r.URL.Path == "/streaming" {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
		}
		started <- r.URL.Path
		<-r.Context().Done()
		ended <- r.URL.Path
	})
	for path, request := range map[string]string{
		"/waiting": "GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n", "/streaming": "GET /streaming HTTP/1.1\r\nHost: a\r\n\r\n",
		"/sending": "POST /sending HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
	} {
		conn := open()
		io.WriteString(conn, request)
		if got := <-started; got != path {
			t.Fatalf("%s began", got)
		}
		conn.Close()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Errorf("%s: the origin was not told", path)
		}
	}
	conn := open()
	io.WriteString(conn, "GET /fine HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("after that: %v, %v", resp, err)
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections", dials.Load())
	}
}

// TestCutResponse: RFC 9113 §8.1: a response whose stream is reset is not whole, and the
// gateway sees one that is not.
func TestCutResponse(t *testing.T) {
	_, open, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "10")
		}
		io.WriteString(w, "abc")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, path := range []string{"/length", "/chunked"} {
		conn := open()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: %q looks whole", path, got)
		}
	}
}

// TestRefused: what becomes of an attempt is shared by all who waited for it, and a server that
// does not speak HTTP/2 is no server.
func TestRefused(t *testing.T) {
	o := New("http", time.Minute)
	defer o.Close()
	address, refused := netip.MustParseAddrPort("192.0.2.1:80"), errors.New("refused")
	if _, _, err := o.Open(t.Context(), address, func(context.Context) (net.Conn, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hold := make(chan struct{})
	defer close(hold)
	go o.Open(t.Context(), address, func(context.Context) (net.Conn, error) { <-hold; return nil, refused })
	if _, _, err := o.Open(ctx, address, func(ctx context.Context) (net.Conn, error) { return nil, ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	old := httptest.NewServer(nil) // which speaks HTTP/1.1 only
	defer old.Close()
	other := netip.MustParseAddrPort(strings.TrimPrefix(old.URL, "http://"))
	conn, _, err := o.Open(t.Context(), other, func(context.Context) (net.Conn, error) { return net.Dial("tcp", other.String()) })
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v; want an end without an answer", got, err)
	}
}

// BenchmarkExchange is one request and its response, the server's side included, and the same
// on a connection of HTTP/1.1 that is kept: for profiles, not for figures.
func BenchmarkExchange(b *testing.B) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP1(true)
	s.Config.Protocols = &protocols
	s.Start()
	b.Cleanup(s.Close)
	address := netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "http://"))
	dial := func(context.Context) (net.Conn, error) { return net.Dial("tcp", address.String()) }
	request, room := []byte("GET /path?query HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"), make([]byte, 4096)
	ask := func(b *testing.B, conn net.Conn) {
		conn.Write(request)
		for got := ""; !strings.HasSuffix(got, "hello"); {
			n, err := conn.Read(room)
			if err != nil {
				b.Fatal(err)
			}
			got += string(room[:n])
		}
	}
	b.Run("HTTP/2", func(b *testing.B) {
		o := New("http", time.Minute)
		defer o.Close()
		b.ReportAllocs()
		for b.Loop() {
			conn, _, err := o.Open(b.Context(), address, dial)
			if err != nil {
				b.Fatal(err)
			}
			ask(b, conn)
			conn.Close()
		}
	})
	b.Run("HTTP/1.1", func(b *testing.B) {
		conn, err := dial(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		b.ReportAllocs()
		for b.Loop() {
			ask(b, conn)
		}
	})
}
