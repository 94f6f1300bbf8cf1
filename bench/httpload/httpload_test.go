package httpload

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T) *Loop {
	t.Helper()
	l, err := Start(ShortContent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func requests() [][]byte {
	var all [][]byte
	for i := range 20 {
		all = append(all, Request(i, "a.example", "/api"))
	}
	return all
}

// TestOriginAnswersNetHTTP: the origin server is a plain HTTP/1.1 server for
// another implementation.
func TestOriginAnswersNetHTTP(t *testing.T) {
	l := start(t)
	r, err := http.Get("http://" + l.Origin().String() + "/api/item/00000042")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 || len(content) != ShortContent || !strings.HasPrefix(string(content), "00000042....") {
		t.Errorf("status %d, content %q, %v", r.StatusCode, content, err)
	}
}

// TestOriginAnswersInPieces: requests may come in parts, or several at once.
func TestOriginAnswersInPieces(t *testing.T) {
	conn, err := net.Dial("tcp4", start(t).Origin().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	two := string(Request(1, "h", "/")) + string(Request(2, "h", "/"))
	for _, piece := range []string{two[:10], two[10:250], two[250:]} {
		if _, err := io.WriteString(conn, piece); err != nil {
			t.Fatal(err)
		}
	}
	b := bufio.NewReader(conn)
	for _, want := range []string{"00000001", "00000002"} {
		r, err := http.ReadResponse(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r.Body)
		if err != nil || !strings.HasPrefix(string(content), want) {
			t.Errorf("content %q, %v; want %s first", content, err, want)
		}
	}
}

func TestRunAndOnce(t *testing.T) {
	l := start(t)
	c, err := l.Connect(l.Origin(), 40, requests())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Once(context.Background())
	if err != nil || r.Err() != nil || r.Answered != 40 || r.Sent != 40 {
		t.Errorf("Once: %d of %d answered, %v, %v; want 40", r.Answered, r.Sent, err, r.Err())
	}
	r, err = c.Run(context.Background(), 30*time.Millisecond)
	if err != nil || r.Err() != nil || r.Answered < 40 || r.Answered != r.Sent || r.Latency.n != r.Answered {
		t.Errorf("Run: %d of %d answered, %d times, %v, %v", r.Answered, r.Sent, r.Latency.n, err, r.Err())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Run(ctx, time.Hour); err == nil {
		t.Error("a cancelled run has no error")
	}
}

// TestLongContent: contents that no socket's buffer holds arrive whole, also where the client reads late.
func TestLongContent(t *testing.T) {
	const size = 8 << 20
	l, err := Start(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	conn, err := net.Dial("tcp4", l.Origin().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 2 {
		if _, err := conn.Write(Request(i, "h", "/")); err != nil {
			t.Fatal(err)
		}
	}
	c, err := l.Connect(l.Origin(), 2, requests())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r, err := c.Once(context.Background()); err != nil || r.Err() != nil || r.Answered != 2 {
		t.Errorf("Once: %d answered, %v, %v; want 2", r.Answered, err, r.Err())
	}
	b := bufio.NewReader(conn)
	for i := range 2 {
		r, err := http.ReadResponse(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r.Body)
		if want := fmt.Sprintf("%08d", i) + strings.Repeat(".", size-numberLen); err != nil || string(content) != want {
			t.Errorf("response %d: %d octets that begin with %.10s, %v; want %d", i, len(content), content, err, size)
		}
	}
}

// TestPace: requests come when they are due, all of them, and times count from then also where a
// connection was not free.
func TestPace(t *testing.T) {
	l := start(t)
	c, err := l.Connect(l.Origin(), 2, requests())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Pace(context.Background(), 1000, 50*time.Millisecond)
	if err != nil || r.Err() != nil || r.Sent != 50 || r.Answered != 50 {
		t.Errorf("Pace: %d of %d answered, %v, %v; want 50", r.Answered, r.Sent, err, r.Err())
	}
	c.Sleeping() // which changes nothing but who has the processor meanwhile
	r, err = c.Pace(context.Background(), 1000, 50*time.Millisecond)
	if err != nil || r.Err() != nil || r.Sent != 50 || r.Answered != 50 {
		t.Errorf("Pace, sleeping: %d of %d answered, %v, %v; want 50", r.Answered, r.Sent, err, r.Err())
	}
	// Several times what two connections do: what is asked last has been due for long.
	r, err = c.Pace(context.Background(), 1_000_000, 20*time.Millisecond)
	if last := r.Latency.Quantile(1 - 1/float64(max(r.Answered, 1))); r.Answered == 0 || last < r.Elapsed/2 {
		t.Errorf("the last of %d requests took %v of %v, %v; want its wait counted", r.Answered, last, r.Elapsed, err)
	}
}

// respondWith accepts connections and gives each request the same response.
func respondWith(t *testing.T, response string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer conn.Close()
				b := bufio.NewReader(conn)
				for {
					if _, err := http.ReadRequest(b); err != nil || response == "" {
						return
					}
					if _, err := io.WriteString(conn, response); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func TestSeesWrongResponses(t *testing.T) {
	content := "00000000" + strings.Repeat(".", ShortContent-numberLen)
	for name, response := range map[string]string{
		"status":       "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 100\r\n\r\n" + content,
		"length":       "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + content,
		"no length":    "HTTP/1.1 200 OK\r\nContent-Type: a\r\n\r\n" + content,
		"other number": "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + "99999999" + content[numberLen:],
		"other octets": "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + content[:50] + strings.Repeat("x", 50),
		"closed":       "",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := start(t).Connect(respondWith(t, response), 1, requests())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r, err := c.Once(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			wrong, refused := 1, 0
			switch name {
			case "status":
				wrong, refused = 0, 1
			case "closed":
				wrong = 0
			}
			if r.Err() == nil || r.Closed != 1 || r.Wrong != wrong || r.Refused != refused || r.First == "" {
				t.Errorf("got %d wrong, %d refused, %d closed, first %q", r.Wrong, r.Refused, r.Closed, r.First)
			}
		})
	}
	good := "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + content
	c, err := start(t).Connect(respondWith(t, good), 1, requests()[:1])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r, err := c.Once(context.Background()); err != nil || r.Err() != nil {
		t.Errorf("a right response: %v, %v", err, r.Err())
	}
}

func TestConnectToNobody(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := ln.Addr().(*net.TCPAddr).AddrPort()
	ln.Close()
	if _, err := start(t).Connect(to, 2, requests()); err == nil {
		t.Error("connected to nobody")
	}
}

func TestQuantiles(t *testing.T) {
	var l Latency
	for ns := int64(1); ns <= 100_000; ns++ {
		l.add(ns)
	}
	for q, want := range map[float64]float64{0.5: 50_000, 0.99: 99_000} {
		if got := float64(l.Quantile(q)); got < want*0.96 || got > want {
			t.Errorf("Quantile(%v) = %v, want %v less at most 4 %%", q, got, want)
		}
	}
	for _, ns := range []int64{0, 1, 31, 32, 33, 63, 64, 65, 1000, 1 << 40, 1<<62 + 12345} {
		if low := int64(lowest(bucket(ns))); low > ns || float64(low) < float64(ns)*0.96 {
			t.Errorf("%d falls into the bucket that begins at %d", ns, low)
		}
	}
}
