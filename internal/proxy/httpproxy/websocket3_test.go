package httpproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// tunnel3 is the octets of a tunnel on a stream of HTTP/3 (RFC 9220): those in DATA frames.
type tunnel3 struct {
	*stream3
	left uint64 // of the frame at hand
}

func (s *tunnel3) Write(b []byte) (int, error) {
	if _, err := io.WriteString(s.Stream, frame3(0, string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (s *tunnel3) Read(b []byte) (int, error) {
	for s.left == 0 {
		kind, err := quicvarint.Read(s.r)
		if err != nil {
			return 0, err
		}
		if s.left, err = quicvarint.Read(s.r); err != nil || kind != 0 {
			return 0, fmt.Errorf("a frame of type %d, %w", kind, err)
		}
	}
	n, err := s.r.Read(b[:min(uint64(len(b)), s.left)])
	s.left -= uint64(n)
	return n, err
}

// joinOver3 asks for a WebSocket on a new stream.
func joinOver3(c *conn3, path string) (*tunnel3, error) {
	s, err := c.OpenStreamSync(c.Context())
	if err != nil {
		return nil, err
	}
	s.SetDeadline(time.Now().Add(time.Minute)) // a hang fails the test
	t := &tunnel3{stream3: &stream3{Stream: s, t: c.t, r: quicvarint.NewReader(s)}}
	io.WriteString(s, frame3(1, section3(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "www.test", ":path", path, "sec-websocket-version", "13")))
	if got := t.next(); got != "status 200" {
		return nil, errors.New(got)
	}
	return t, nil
}

// TestWebSocketOver3: the dialogues of HTTP/1.1 and 2 over HTTP/3 (RFC 9220), octet by octet,
// thirty at a time on one connection.
func TestWebSocketOver3(t *testing.T) {
	all := dialogues(webSocketDialogues)
	g := startQUIC(t, Config{}, nil, webSocketOrigin(t, all))
	c := dial3(g, true)
	each(t, all, func(i int) error {
		s, err := joinOver3(c, fmt.Sprintf("/%d", i))
		if err != nil {
			return err
		}
		defer s.Close()
		return all[i].have(s, s)
	})
}

// TestBackpressureOverHTTP3: who does not read holds the other side of a tunnel up, whichever
// side it is, and what waits in between is bounded.
func TestBackpressureOverHTTP3(t *testing.T) {
	const much = 256 << 20
	took := make(chan int64, 1)
	g := startQUIC(t, Config{}, nil, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		head := readMessageHead(r)
		if head == "" {
			return
		}
		io.WriteString(conn, switchedTo(head))
		if head[len("GET /"):len("GET /up")] == "up" { // it never reads
			<-took
			return
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		n, _ := io.CopyN(conn, zeros{}, much)
		took <- n
	}))
	c := dial3(g, true)
	if _, err := joinOver3(c, "/down"); err != nil {
		t.Fatal(err)
	}
	// The client has a window of 512 KiB for a stream; sockets of the system hold some megabytes.
	if n := <-took; n > 32<<20 {
		t.Errorf("the origin server sent %d octets to a client that reads none", n)
	}
	s, err := joinOver3(c, "/up")
	if err != nil {
		t.Fatal(err)
	}
	s.SetWriteDeadline(time.Now().Add(time.Second))
	sent, piece := 0, make([]byte, 16384)
	for sent < much && err == nil {
		var n int
		n, err = s.Write(piece)
		sent += n
	}
	took <- 0
	if sent > 32<<20 {
		t.Errorf("the gateway took %d octets for an origin server that reads none", sent)
	}
	var broken *quic.ApplicationError
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &broken) {
		t.Errorf("the client was told %v", err)
	}
}
