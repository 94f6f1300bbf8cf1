package httpproxy

import (
	"bufio"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"

	machine "pharos/internal/proxy/http2"
	"pharos/internal/proxy/quota"
)

// TestExcessesAreToldApart: of connections that end since their client passes a bound it is
// counted which one. That each attack meets its own is http2.TestFloodsOfEmptyFrames and others.
func TestExcessesAreToldApart(t *testing.T) {
	g := startGateway(t, Config{Limits: Limits{HTTP2: machine.Limits{Resets: 20}}}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.Copy(io.Discard, r) // never answers
	}))
	begin := func(c *conn2, stream uint32) error { // GET http://a/, from the static table but for the host
		return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte("\x82\x84\x86\x41\x01a"), EndHeaders: true, EndStream: true})
	}
	var want [quota.Excesses]uint64
	for _, c := range []struct {
		of    quota.Excess
		flood func(c *conn2, n uint32) error
	}{
		{quota.Ping, func(c *conn2, _ uint32) error { return c.WritePing(false, [8]byte{}) }},
		{quota.Settings, func(c *conn2, _ uint32) error { return c.WriteSettings() }},
		{quota.WindowUpdates, func(c *conn2, _ uint32) error { return c.WriteWindowUpdate(0, 1) }},
		{quota.OtherFrames, func(c *conn2, _ uint32) error { return c.WriteRawFrame(0x63, 0, 0, nil) }},
		{quota.Resets, func(c *conn2, n uint32) error {
			if err := begin(c, 2*n+1); err != nil {
				return err
			}
			return c.WriteRSTStream(2*n+1, http2.ErrCodeCancel)
		}},
		{quota.Broken, func(c *conn2, n uint32) error {
			if err := begin(c, 2*n+1); err != nil {
				return err
			}
			return c.WriteRawFrame(http2.FrameWindowUpdate, 0, 2*n+1, make([]byte, 4)) // by 0
		}},
		{quota.Continuation, func(c *conn2, n uint32) error {
			if n == 0 {
				return c.WriteRawFrame(http2.FrameHeaders, 0, 1, []byte("\x82"))
			}
			return c.WriteContinuation(1, false, nil)
		}},
	} {
		conn := dial2(g)
		ended := make(chan struct{})
		go func() { // ends with the connection, which the gateway closes
			defer close(ended)
			io.Copy(io.Discard, conn.conn)
		}()
		for n := uint32(0); ; n++ {
			select {
			case <-ended:
			default:
				if n < 100_000 && c.flood(conn, n) == nil {
					continue
				}
			}
			break
		}
		<-ended
		want[c.of]++
		if got := g.server.Counters().HTTP2.Excesses; got != want {
			t.Fatalf("after too much of %v: counted %v, want %v", c.of, got, want)
		}
	}
}
