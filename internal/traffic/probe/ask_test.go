package probe

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/traffic/health"
)

// askOnce probes a target that the server plays, and returns the outcome and how
// long it took.
func askOnce(c health.Check, server func(net.Conn)) (outcome, time.Duration) {
	n := newNetwork()
	target := newTarget(targetAt("10.0.0.1:80", c))
	n.serve(target.key.ProbeAddress().String(), server)
	began := time.Now()
	return target.ask(context.Background(), n.dial), time.Since(began)
}

// What an HTTP check makes of what it is told.
func TestHTTPAnswers(t *testing.T) {
	notFound, _ := health.ParseStatusSet("200-399,404")
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		what   string
		status health.StatusSet
		says   string
		want   outcome
	}{
		{"success", health.StatusSet{}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", outcome{verdict: good, cause: "status 200"}},
		{"no reason, no fields", health.StatusSet{}, "HTTP/1.0 204\r\n\r\n", outcome{verdict: good, cause: "status 204"}},
		{"lone LF", health.StatusSet{}, "HTTP/1.1 301 Moved\nLocation: /\n\n", outcome{verdict: good, cause: "status 301"}},
		{"not in the set", health.StatusSet{}, "HTTP/1.1 404 Not Found\r\n\r\n", outcome{cause: "status 404"}},
		{"in the set", notFound, "HTTP/1.1 404 Not Found\r\n\r\n", outcome{verdict: good, cause: "status 404"}},
		{"interim first", health.StatusSet{}, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", outcome{verdict: good, cause: "status 200"}},
		{"interim without end", health.StatusSet{}, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20), outcome{cause: "not HTTP/1: more than 8 interim responses"}},
		{"fields without end", health.StatusSet{}, "HTTP/1.1 103 x\r\n" + strings.Repeat("a: b\r\n", 200), outcome{cause: "not HTTP/1: more than 100 fields in a response"}},
		{"switching protocols", health.StatusSet{}, "HTTP/1.1 101 Switching Protocols\r\n\r\n", outcome{cause: "status 101"}},
		{"another protocol", health.StatusSet{}, "SSH-2.0-OpenSSH_9.2p1 Debian\r\n", outcome{cause: `not HTTP/1: answered "SSH-2.0-OpenSSH_9.2p1 Debian"`}},
		{"TLS alert", health.StatusSet{}, "\x15\x03\x01\x00\x02\x02\x46\n", outcome{cause: `not HTTP/1: answered "\x15\x03\x01\x00\x02\x02F"`}},
		{"wrong version", health.StatusSet{}, "HTTP/2 200\r\n", outcome{cause: `not HTTP/1: answered "HTTP/2 200"`}},
		{"short code", health.StatusSet{}, "HTTP/1.1 20 OK\r\n", outcome{cause: `not HTTP/1: answered "HTTP/1.1 20 OK"`}},
		{"signed code", health.StatusSet{}, "HTTP/1.1 +20 OK\r\n", outcome{cause: `not HTTP/1: answered "HTTP/1.1 +20 OK"`}},
		{"a line that does not end", health.StatusSet{}, long, outcome{cause: `not HTTP/1: answered "` + long[:40] + `"`}},
	} {
		synctest.Test(t, func(t *testing.T) {
			got, _ := askOnce(health.Check{Kind: health.HTTP, Terms: health.Terms{Status: c.status}.Once()}, says(c.says))
			if got != c.want {
				t.Errorf("%s: got %+v, want %+v", c.what, got, c.want)
			}
		})
	}
}

// Servers that do not behave: the timeout is of the whole probe.
func TestBadServers(t *testing.T) {
	const timeout = 500 * ms
	for _, c := range []struct {
		what   string
		server func(net.Conn)
		want   string
		took   time.Duration
	}{
		{"closes at once", func(net.Conn) {}, "connection closed sending the request", 0},
		{"closes in the line", func(c net.Conn) { c.Read(make([]byte, 4096)); io.WriteString(c, "HTTP/1.1 2") }, `not HTTP/1: answered "HTTP/1.1 2" and closed`, 0},
		{"closes without a word", func(c net.Conn) { c.Read(make([]byte, 4096)) }, "connection closed waiting for a response", 0},
		{"never reads", func(net.Conn) { time.Sleep(time.Minute) }, "timeout after 500ms sending the request", timeout},
		{"never answers", accepts, "timeout after 500ms waiting for a response", timeout},
		{"drips", func(c net.Conn) {
			c.Read(make([]byte, 4096))
			for range 1000 {
				if _, err := io.WriteString(c, "H"); err != nil {
					return
				}
				time.Sleep(100 * ms)
			}
		}, "timeout after 500ms waiting for a response", timeout},
		{"is not there", nil, "timeout after 500ms connecting", timeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			got, took := askOnce(health.Check{Kind: health.HTTP, Params: health.Params{Timeout: timeout}.Once()}, c.server)
			if got != (outcome{cause: c.want}) || took != c.took {
				t.Errorf("%s: got %+v after %v, want %q after %v", c.what, got, took, c.want, c.took)
			}
			time.Sleep(time.Hour) // all servers end before the bubble does
		})
	}
}

// A content without end is not read: the status has said all.
func TestGiantContentIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		written := 0
		got, _ := askOnce(health.Check{Kind: health.HTTP}, func(c net.Conn) {
			c.Read(make([]byte, 4096))
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				n, err := c.Write(make([]byte, 1<<16))
				if written += n; err != nil {
					return
				}
			}
		})
		synctest.Wait()
		if got.verdict != good || written > 1<<16 {
			t.Errorf("got %+v after %d octets of content", got, written)
		}
	})
}

func requestOf(key health.Target) []byte {
	t := newTarget(key)
	return t.request(cmp.Or(t.terms().Path, "/"))
}

func TestRequest(t *testing.T) {
	plain := requestOf(targetAt("[2001:db8::1]:80", health.Check{Kind: health.HTTP, Port: 81}))
	if want := "GET / HTTP/1.1\r\nHost: [2001:db8::1]:81\r\nUser-Agent: pharos-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"; string(plain) != want {
		t.Errorf("got %q", plain)
	}
	named := requestOf(targetAt("10.0.0.1:80", health.Check{Kind: health.HTTP, Terms: health.Terms{Host: "www.example.com", Path: "/health?a=b"}.Once()}))
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(named))))
	if err != nil || r.Host != "www.example.com" || r.URL.String() != "/health?a=b" || !r.Close {
		t.Errorf("net/http reads %q as %+v, %v", named, r, err)
	}
}

// Errors have short names that people know.
func TestCauses(t *testing.T) {
	target := newTarget(targetAt("10.0.0.1:80", health.Check{Kind: health.TCP}))
	for _, c := range []struct {
		err  error
		want outcome
	}{
		{syscall.ECONNREFUSED, outcome{cause: "connection refused"}},
		{syscall.EHOSTUNREACH, outcome{cause: "no route to host"}},
		{syscall.ECONNRESET, outcome{cause: "connection reset by peer"}},
		{syscall.ETIMEDOUT, outcome{cause: "timeout after 500ms connecting"}},
		{context.DeadlineExceeded, outcome{cause: "timeout after 500ms connecting"}},
		{os.ErrDeadlineExceeded, outcome{cause: "timeout after 500ms connecting"}},
		{io.EOF, outcome{cause: "connection closed connecting"}},
		{syscall.EMFILE, outcome{verdict: unsent, cause: "too many open files"}},
		{syscall.EADDRNOTAVAIL, outcome{verdict: unsent, cause: "cannot assign requested address"}},
		{errors.New("something else"), outcome{cause: "something else"}},
	} {
		for _, err := range []error{c.err, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", c.err)}} {
			got := target.failed(err, "connecting")
			if got.verdict != c.want.verdict || !strings.HasSuffix(got.cause, c.want.cause) {
				t.Errorf("%v: got %+v, want %+v", err, got, c.want)
			}
		}
	}
}

// Real sockets: a real server is up, by HTTP and TCP, over IPv4 and, where it exists,
// IPv6; when it has gone it refuses.
func TestRealSockets(t *testing.T) {
	dial := (&net.Dialer{KeepAlive: -1}).DialContext
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", host)
		if err != nil {
			if strings.HasPrefix(host, "[") {
				continue // no IPv6 loopback here
			}
			t.Fatal(err)
		}
		server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/health" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})}}
		server.Start()
		address := netip.MustParseAddrPort(l.Addr().String())
		ask := func(c health.Check) outcome {
			p := c.Params.Get()
			p.Interval = 20 * time.Second // the machine may be slow
			c.Params = p.Once()
			return newTarget(health.Target{Address: address, Check: c}).ask(context.Background(), dial)
		}
		for _, c := range []struct {
			check health.Check
			want  outcome
		}{
			{health.Check{Kind: health.TCP}, outcome{verdict: good, cause: "connected"}},
			{health.Check{Kind: health.HTTP, Terms: health.Terms{Path: "/health"}.Once()}, outcome{verdict: good, cause: "status 200"}},
			{health.Check{Kind: health.HTTP, Terms: health.Terms{Path: "/"}.Once()}, outcome{cause: "status 503"}},
		} {
			if got := ask(c.check); got != c.want {
				t.Errorf("%s %v: got %+v, want %+v", host, c.check, got, c.want)
			}
		}
		server.Close()
		if got := ask(health.Check{Kind: health.TCP}); got != (outcome{cause: "connection refused"}) {
			t.Errorf("%s closed: got %+v", host, got)
		}
	}
}

// Whatever a server says, reading its status ends, with a code or an error, and what
// it takes for a code net/http takes for the same.
func FuzzReadStatus(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 404\n\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n", "SSH-2.0\r\n", "\n", "HTTP/1.1 099 x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		code, err := readStatus(bufio.NewReaderSize(strings.NewReader(string(b)), maxLine))
		if err != nil {
			return
		}
		if code < 101 || code > 999 {
			t.Fatalf("%q: code %d", b, code)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(strings.TrimSuffix(line, "\r")+"\r\n\r\n")), nil)
		if err == nil && r.StatusCode >= 200 && r.StatusCode != code {
			t.Fatalf("%q: code %d, net/http reads %d", b, code, r.StatusCode)
		}
		if err != nil && code >= 200 && !strings.HasPrefix(line, "HTTP/1.1 1") && !strings.HasPrefix(line, "HTTP/1.0 1") {
			t.Fatalf("%q: code %d, net/http: %v", b, code, err)
		}
	})
}

// Probing a real server in process: what one probe costs.
func BenchmarkAsk(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	address := netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
	for _, kind := range []health.Kind{health.TCP, health.HTTP} {
		target := newTarget(health.Target{Address: address, Check: health.Check{Kind: kind, Params: health.Params{Interval: time.Minute}.Once()}})
		b.Run(fmt.Sprint(kind), func(b *testing.B) {
			for range b.N {
				if o := target.ask(context.Background(), (&net.Dialer{KeepAlive: -1}).DialContext); o.verdict != good {
					b.Fatal(o)
				}
			}
		})
	}
}
