package httpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/mirror"
	"pharos/internal/proxy/route"
)

// copies is an origin that hands over each request that it gets.
func copies(got chan<- string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			content, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			got <- fmt.Sprintf("%s %s %s %s %d", req.Method, req.RequestURI, req.Host, strings.Join(req.Header["X-Mirrored"], ","), len(content))
			io.WriteString(conn, ok2)
		}
	}
}

// mirrored is a gateway whose requests go to web, and whose copies go to canary.
func mirrored(t *testing.T, m mirror.Spec, web, canary func(net.Conn, *bufio.Reader)) *gateway {
	t.Helper()
	rules := []route.Rule{{Pools: []route.Share{{Pool: "web", Weight: 1}}, Rewrite: "/inner{path}"}}
	table := routesOf(t, rules, map[string]string{"web": startOrigin(t, web), "canary": startOrigin(t, canary), "spare": startOrigin(t, echo2)})
	m.Pool = "canary"
	table.Mirrors([]*mirror.Spec{&m}, nil)
	g := startGateway(t, Config{})
	g.publish(table)
	return g
}

// counted waits until so many copies have come to what is wanted.
func (g *gateway) copied(want func(mirror.Reading) bool) {
	g.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		c := g.table.ReadMirrors(1)[0]
		if want(c) && c.UnderWay == 0 {
			return
		}
		if time.Now().After(end) {
			g.t.Fatalf("it has not come to pass: %+v", c)
		}
	}
}

func TestMirror(t *testing.T) {
	got, copied := make(chan string, 8), make(chan string, 8)
	g := mirrored(t, mirror.Spec{Percent: 100, Unsafe: true, Content: 100_000, Most: 8}, copies(got), copies(copied))
	long := strings.Repeat("x", 90_000)
	for _, c := range []struct{ request, want string }{
		{"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Mirrored: 7\r\n" + byeField + "\r\n", "GET /inner/a?b h %s 0"},
		{"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" + byeField + "\r\nabc", "POST /inner/p h %s 3"},
		{"POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n" + byeField + "\r\n" + long, "POST /inner/l h %s 90000"},
		{"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + byeField + "\r\n5\r\nhello\r\n0\r\n\r\n", "PUT /inner/c h %s 5"},
	} {
		if answer := g.ask(c.request); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			t.Errorf("got %q", answer)
		}
		if one, want := <-got, fmt.Sprintf(c.want, ""); one != want {
			t.Errorf("the request: got %q, want %q", one, want)
		}
		if one, want := <-copied, fmt.Sprintf(c.want, "1"); one != want {
			t.Errorf("the copy: got %q, want %q", one, want)
		}
	}
	c := dial2(g)
	c.post(1, "/two")
	c.WriteData(1, true, []byte("hi"))
	c.want("1 status 200", `1 data "ok" end`)
	if one := <-copied; one != "POST /inner/two h 1 2" {
		t.Errorf("the copy of a request over HTTP/2: %q", one)
	}
	g.copied(func(c mirror.Reading) bool { return c.Answered == 5 })
	g.ask("POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n" + byeField + "\r\n" + long + long[:10_001])
	g.ask("POST /l HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + byeField + "\r\n186a1\r\n" + long + long[:10_001] + "\r\n0\r\n\r\n")
	g.copied(func(c mirror.Reading) bool { return c.Skipped == 2 && c.Answered == 5 })
}

// Whatever becomes of copies, requests do not wait for them, and no more than so many are
// there at once.
func TestMirrorNeverDelays(t *testing.T) {
	came := make(chan struct{}, 8)
	stuck := func(_ net.Conn, r *bufio.Reader) {
		if readMessageHead(r) != "" {
			came <- struct{}{}
			io.Copy(io.Discard, r) // until the gateway gives up
		}
	}
	g := mirrored(t, mirror.Spec{Percent: 100, Content: 100, Most: 1}, echo2, stuck)
	for i := range 3 {
		if answer := g.ask(get(byeField)); !strings.HasSuffix(answer, "ok") {
			t.Errorf("got %q", answer)
		}
		if i == 0 {
			<-came
		}
	}
	if answer := g.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + byeField + "\r\n"); !strings.HasSuffix(answer, "ok") {
		t.Errorf("got %q", answer)
	}
	if c := g.table.ReadMirrors(1)[0]; c.UnderWay != 1 || c.Full != 2 || c.Skipped != 0 {
		t.Errorf("counted %+v", c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.server.Shutdown(ctx); err != nil { // which waits for no copy
		t.Error(err)
	}
	if c := g.table.ReadMirrors(1)[0]; c.UnderWay != 0 || c.Failed != 1 {
		t.Errorf("at the end: %+v", c)
	}
}

func TestMirrorFails(t *testing.T) {
	g := mirrored(t, mirror.Spec{Percent: 100, Content: 100, Most: 8}, echo2, func(net.Conn, *bufio.Reader) {})
	if answer := g.ask(get(byeField)); !strings.HasSuffix(answer, "ok") {
		t.Errorf("got %q", answer)
	}
	g.copied(func(c mirror.Reading) bool { return c.Failed == 1 })
}

// A part of the requests is copied.
func TestMirrorShare(t *testing.T) {
	g := mirrored(t, mirror.Spec{Percent: 20, Content: 100, Most: 1000}, echo2, echo2)
	conn := g.dial()
	r := bufio.NewReader(conn)
	for range 500 {
		io.WriteString(conn, get(""))
		readMessageHead(r)
		r.Discard(2)
	}
	g.copied(func(c mirror.Reading) bool { return c.Answered > 40 && c.Answered < 180 })
}
