package httpproxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conn2 is a client of HTTP/2 that sends what a test says, frame by frame, and reads with a
// framer that is not ours.
type conn2 struct {
	*http2.Framer
	t     testing.TB
	conn  net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

func dial2(g *gateway, settings ...http2.Setting) *conn2 {
	g.t.Helper()
	c := &conn2{t: g.t, conn: g.dial()}
	c.begin(settings...)
	return c
}

// begin sends the preface.
func (c *conn2) begin(settings ...http2.Setting) {
	c.t.Helper()
	io.WriteString(c.conn, http2.ClientPreface)
	c.Framer = http2.NewFramer(c.conn, c.conn)
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.block)
	if err := c.WriteSettings(settings...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conn2) scheme() string {
	if _, secured := c.conn.(*tls.Conn); secured {
		return "https"
	}
	return "http"
}

// head sends a field section: "name", "value", ...
func (c *conn2) head(stream uint32, end bool, pairs ...string) {
	c.t.Helper()
	c.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Bytes(), EndStream: end, EndHeaders: true}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conn2) get(stream uint32, path string) {
	c.head(stream, true, ":method", "GET", ":scheme", "http", ":path", path, ":authority", "h")
}

func (c *conn2) post(stream uint32, path string, more ...string) {
	c.head(stream, false, append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "h"}, more...)...)
}

// next returns the next frame about a stream, or the connection's end, in words. Content
// that comes is acknowledged.
func (c *conn2) next() string {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return "closed"
		}
		end := ""
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if f.StreamEnded() {
				end = " end"
			}
			if f.PseudoValue("status") == "" {
				text := ""
				for _, h := range f.Fields {
					text += h.Name + "=" + h.Value + " "
				}
				return fmt.Sprintf("%d trailers %s%s", f.StreamID, strings.TrimSpace(text), end)
			}
			return fmt.Sprintf("%d status %s%s", f.StreamID, f.PseudoValue("status"), end)
		case *http2.DataFrame:
			if f.StreamEnded() {
				end = " end"
			}
			if n := uint32(len(f.Data())); n > 0 {
				c.WriteWindowUpdate(0, n)
				c.WriteWindowUpdate(f.StreamID, n)
			}
			return fmt.Sprintf("%d data %q%s", f.StreamID, f.Data(), end)
		case *http2.RSTStreamFrame:
			return fmt.Sprintf("%d reset %v", f.StreamID, f.ErrCode)
		case *http2.GoAwayFrame:
			return fmt.Sprintf("goaway %d %v", f.LastStreamID, f.ErrCode)
		case *http2.PingFrame:
			if !f.IsAck() {
				c.WritePing(true, f.Data)
			} else {
				return "pong"
			}
		}
	}
}

func (c *conn2) want(words ...string) {
	c.t.Helper()
	for _, want := range words {
		if got := c.next(); got != want {
			c.t.Fatalf("got %s, want %s", got, want)
		}
	}
}
