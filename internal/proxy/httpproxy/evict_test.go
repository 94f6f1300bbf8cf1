package httpproxy

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/traffic/health"
)

// TestEvict: what is under way on a member that is taken out of use goes to another one if
// nothing of it was answered yet, and is cut otherwise; none of it is evidence against the
// member. What is under way elsewhere goes on.
func TestEvict(t *testing.T) {
	asked := make(chan string, 8)
	silent := func(conn net.Conn, r *bufio.Reader) {
		head := readMessageHead(r)
		if strings.HasPrefix(head, "GET /part ") {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\nhalf.") // the client tells when it is there
		} else {
			asked <- head
		}
		io.Copy(io.Discard, r) // until the gateway ends it
	}
	reported := make(chan health.Result, 8)
	g := startGateway(t, Config{Report: func(_ health.Target, r health.Result) { reported <- r }},
		startOrigin(t, silent), startOrigin(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")))
	leaving := g.table.PoolAt(0).View().Members[0].Load
	ask := func(request string) <-chan string {
		answer := make(chan string, 2)
		conn := g.dial()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the connection
			var first [512]byte
			n, _ := conn.Read(first[:])
			if strings.Contains(string(first[:n]), "half.") {
				asked <- "half an answer"
			}
			all, _ := io.ReadAll(conn)
			answer <- string(first[:n]) + string(all)
		}()
		return answer
	}
	for _, c := range []struct{ request, want string }{
		{"GET /whole HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n", "other"},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + byeField + "\r\n", "taken out of use while it was asked"},
		{"GET /part HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n", "half."},
	} {
		var answer <-chan string
		for answer == nil { // the pool takes its members in turn: until it is the silent one's
			a := ask(c.request)
			select {
			case <-asked:
				answer = a
			case <-a:
			}
		}
		if n := leaving.Active.Load(); n != 1 {
			t.Fatalf("%d on the member, want 1", n)
		}
		if found := g.server.Evict(leaving); found != 1 {
			t.Errorf("%d found, want 1", found)
		}
		select {
		case got := <-answer:
			if !strings.Contains(got, c.want) {
				t.Errorf("%.20q: got %q, want %q", c.request, got, c.want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%.20q: not interrupted", c.request)
		}
	}
	for len(reported) > 0 {
		if r := <-reported; !r.OK {
			t.Errorf("reported as a failure: %+v", r)
		}
	}
	if found := g.server.Evict(leaving); found != 0 || leaving.Active.Load() != 0 {
		t.Errorf("%d found, %d active when nobody is there", found, leaving.Active.Load())
	}
}

// TestCloseKept: nothing is kept to a server that is left.
func TestCloseKept(t *testing.T) {
	origin := startOrigin(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	g := startGateway(t, Config{}, origin)
	if got := g.ask(get(byeField)); !strings.HasSuffix(got, "ok") {
		t.Fatal(got)
	}
	kept := func() int { return g.server.Origins()[0].Kept }
	if kept() != 1 {
		t.Fatalf("%d kept, want 1", kept())
	}
	g.server.CloseKept(netip.MustParseAddrPort(origin))
	if kept() != 0 {
		t.Errorf("%d kept, want none", kept())
	}
	(*Server)(nil).CloseKept(netip.MustParseAddrPort(origin))
	if (*Server)(nil).Evict(nil) != 0 {
		t.Error("a gateway that is not there has connections")
	}
}
