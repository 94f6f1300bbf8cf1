package httpproxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// The scheme is that of the connection, which is always secured.
func TestHTTP3Scheme(t *testing.T) {
	var asked atomic.Int64
	g := startQUIC(t, Config{}, nil, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" {
			asked.Add(1)
			io.WriteString(conn, ok2)
		}
	}))
	c := dial3(g, true)
	c.send(frame3(1, section3(":method", "GET", ":scheme", "http", ":authority", "www.test", ":path", "/")), true).want("status 421")
	c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
	if n := asked.Load(); n != 1 {
		t.Errorf("the origin server was asked %d times, want 1", n)
	}
}

// Calls of gRPC over HTTP/3: the outcome goes through as trailers, what the gateway refuses has
// one that clients understand, and what a client gives up is given up at its origin server.
func TestHTTP3Calls(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	g := startQUIC(t, Config{}, nil, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			switch {
			case err != nil:
				return
			case req.URL.Path == "/shop.Orders/Watch":
				io.WriteString(conn, callHead+"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
				close(begun)
				io.Copy(io.Discard, r) // until the gateway turns away
				close(ended)
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(conn, callLost)
		}
	}))
	c := dial3(g, true)
	call := []string{"content-type", "application/grpc", "te", "trailers"}
	s := c.send(head3("POST", "/shop.Orders/Place", call...)+frame3(0, "order"), true)
	s.want("status 200")
	got := s.next()
	for got == `data "ok"` {
		got = s.next()
	}
	if got != "trailers grpc-status=14" {
		t.Errorf("the outcome of a call: %s", got)
	}
	refused := c.send(frame3(1, section3(append([]string{":method", "POST", ":scheme", "https", ":authority", "other.test", ":path", "/shop.Orders/Place"}, call...)...)), true)
	refused.want("status 200") // with grpc-status in the head

	watch := c.send(head3("POST", "/shop.Orders/Watch", call...), false)
	watch.want("status 200", `data "first"`)
	<-begun
	watch.CancelRead(0x10c) // H3_REQUEST_CANCELLED
	watch.CancelWrite(0x10c)
	select {
	case <-ended:
	case <-time.After(60 * time.Second):
		t.Fatal("a call that was given up goes on at its origin server")
	}
}

// A new certificate is for new connections; those that are open go on.
func TestHTTP3NewCertificate(t *testing.T) {
	g := startQUIC(t, Config{}, nil, startOrigin(t, answering(ok2)))
	before := dial3(g, true)
	before.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
	old := before.ConnectionState().TLS.PeerCertificates[0].SerialNumber
	renewed := g.ca.Issue("www.test", "127.0.0.1")
	g.certificate.Store(&renewed.TLS)
	after := dial3(g, true)
	if now := after.ConnectionState().TLS.PeerCertificates[0].SerialNumber; now.Cmp(old) == 0 {
		t.Error("a new connection has the old certificate")
	}
	for _, c := range []*conn3{before, after} {
		c.send(head3("GET", "/"), true).want("status 200", `data "ok"`, "end")
	}
}
