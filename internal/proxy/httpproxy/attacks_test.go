package httpproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Each of these tests is of an attack for which package defences takes the defence away: it
// fails then.

// The content of a request that was refused before it was read is never taken for the next
// request (CVE-2025-4366).
func TestUnreadContent(t *testing.T) {
	rec := new(recorder)
	g := startGateway(t, Config{}, startOrigin(t, rec.serve))
	for _, head := range []string{
		"POST /%%2f HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s",
		"GET /%%2f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%[1]x;%[2]s",
	} {
		const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
		answer := g.ask(fmt.Sprintf(head, len(smuggled), smuggled))
		if got, _ := rec.take(); len(got) > 0 || strings.Count(answer, "HTTP/1.1 ") != 1 || !strings.Contains(answer, "\r\nConnection: close\r\n") {
			t.Errorf("%q leads to %+v at the origin server, and %q", head, got, answer)
		}
	}
}

// A connection to an origin server that has answered before it was sent the whole request is
// not used again: what it still waits for would be the next request.
func TestEarlyAnswerSpoilsTheConnection(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.WriteString(conn, ok2)
		io.Copy(io.Discard, r)
	}))
	conn := g.dial()
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome of it")
	if head := readMessageHead(bufio.NewReader(conn)); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatalf("got %q", head)
	}
	conn.Close()
	for g.server.connections() > 0 {
		runtime.Gosched() // until the gateway has done with it
	}
	if o := g.server.Origins(); len(o) != 1 || o[0].Kept != 0 {
		t.Errorf("kept: %+v", o)
	}
}

// Who asks for another protocol with content in the request is served the one there is: the
// two would differ in what of it belongs to the tunnel.
func TestUpgradeWithContent(t *testing.T) {
	for _, framing := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
		for _, method := range []string{"GET", "POST"} {
			g := startGateway(t, Config{}, startOrigin(t, switching("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+wsAccept+"\r\n")))
			request := strings.Replace(strings.TrimSuffix(upgradeRequest("websocket"), "\r\n")+framing, "GET", method, 1)
			if got := g.ask(request); !strings.HasPrefix(got, "HTTP/1.1 426 ") {
				t.Errorf("%s with %q: got %q, want the origin server's 426", method, framing, got)
			}
		}
	}
}

// A client of HTTP/2 that opens its windows and then reads nothing at all is cut off.
func TestHTTP2ReadsNothing(t *testing.T) {
	const size = 64 << 20
	g := startGateway(t, Config{Limits: Limits{Stall: 300 * time.Millisecond, Linger: 100 * time.Millisecond}}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		conn.Write(make([]byte, size))
	}))
	c := dial2(g, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	c.WriteWindowUpdate(0, 1<<30)
	c.get(1, "/")
	for patience := time.Now().Add(time.Minute); g.server.connections() > 0 || g.server.Counters().Timeouts == 0; runtime.Gosched() {
		if time.Now().After(patience) {
			t.Fatal("the connection is still there")
		}
	}
}
