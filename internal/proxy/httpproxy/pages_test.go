package httpproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/served"
)

// withPages has the route of g replace errors.
func withPages(t *testing.T, g *gateway, origins bool, specs ...pages.Spec) {
	t.Helper()
	steps := []filter.Step{{Pages: &filter.Pages{Pages: specs, Origins: origins}}}
	errs := g.table.Filter([]filter.Set{{Name: "s", EveryRoute: true, Steps: steps}}, []served.NeedsFilters{{}}, filter.Means{}, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	g.publish(g.table)
}

// A page in place of an origin server's error: nothing of its content and of its fields goes
// on but what the client needs, and no octet of it is taken for another response.
func TestPageReplacesError(t *testing.T) {
	const secret = "Server: inner/1.2\r\nX-Stack: panic at inner.go\r\nContent-Encoding: gzip\r\nETag: \"x\"\r\nWWW-Authenticate: Basic\r\nRetry-After: 7\r\n"
	long := strings.Repeat("stack trace ", 20_000)
	var opened atomic.Int64
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		opened.Add(1)
		for {
			head := readMessageHead(r)
			switch {
			case head == "":
				return
			case strings.Contains(head, " /long "):
				fmt.Fprintf(conn, "HTTP/1.1 500 Oh No\r\n%sContent-Length: %d\r\n\r\n%s", secret, len(long), long)
			case strings.Contains(head, " /fine "):
				io.WriteString(conn, ok2)
			default:
				fmt.Fprintf(conn, "HTTP/1.1 500 Oh No\r\n%sContent-Length: 5\r\n\r\nstack", secret)
			}
		}
	}))
	g.table.PoolAt(0).Publish(withoutOpinions(g.table.PoolAt(0).View()))
	withPages(t, g, true, pages.Spec{Statuses: []string{"5xx"}, Type: "text/plain", Content: "sorry {status}"})
	conn := g.dial()
	r := bufio.NewReader(conn)
	for i, path := range []string{"/short", "/short", "/long", "/short", "/fine"} {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		head := readMessageHead(r)
		content := make([]byte, max(strings.Count(head, "500 Internal")*len("sorry 500"), 2))
		if _, err := io.ReadFull(r, content); err != nil {
			t.Fatal(err)
		}
		if path == "/fine" {
			if string(content) != "ok" {
				t.Errorf("a response after others: %q\n%s", content, head)
			}
			continue
		}
		if string(content) != "sorry 500" || !strings.Contains(head, "WWW-Authenticate: Basic\r\n") || !strings.Contains(head, "Retry-After: 7\r\n") {
			t.Errorf("%d: got %q with\n%s", i, content, head)
		}
		for _, leak := range []string{"inner", "Oh No", "gzip", "ETag"} {
			if strings.Contains(head, leak) {
				t.Errorf("%d: %s has got through:\n%s", i, leak, head)
			}
		}
	}
	if n := opened.Load(); n != 2 { // the connection of the long one ended with it
		t.Errorf("%d connections were opened, want 2", n)
	}
	if got := g.ask("HEAD /short HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n"); !strings.Contains(got, "Content-Length: 9\r\n") || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("HEAD: got\n%s", got)
	}
	if got := g.ask("POST /short HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 300000)); !strings.HasSuffix(got, "sorry 500") {
		t.Errorf("content that was passed on while it came: got\n%s", got)
	}
	c := dial2(g)
	c.get(1, "/long")
	c.get(3, "/fine")
	seen := map[string]bool{}
	for range 4 {
		seen[c.next()] = true
	}
	for _, want := range []string{"1 status 500", `1 data "sorry 500" end`, "3 status 200", `3 data "ok" end`} {
		if !seen[want] {
			t.Errorf("HTTP/2: no %s in %v", want, seen)
		}
	}
}

// What cannot be read as a request, or has no route, has the pages that all routes have.
func TestPageWithoutRoute(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, echo2))
	withPages(t, g, false, pages.Spec{Statuses: []string{"4xx", "5xx"}, Type: "text/plain", Content: "sorry {status} {path}"})
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: h\r\nbad name: x\r\n\r\n": "sorry 400 ",
		"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n":        "sorry 501 ",
		"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n":             "sorry 400 ",
	} {
		if got := g.ask(request); !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%q: got %q, want %q", request, got, want)
		}
	}
}
