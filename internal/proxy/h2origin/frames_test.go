package h2origin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framed is an origin server's end of a connection, frame by frame.
type framed struct {
	*http2.Framer
	t     *testing.T
	conn  net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

// framedOrigin runs a test's part for each connection to an origin server, which ends with the
// connection, and returns a way to open exchanges with it.
func framedOrigin(t *testing.T, o *Origins, serve func(f *framed)) func() net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go serveFramed(t, conn, serve)
		}
	}()
	address := netip.MustParseAddrPort(l.Addr().String())
	return func() net.Conn {
		t.Helper()
		conn, _, err := o.Open(t.Context(), address, func(context.Context) (net.Conn, error) { return net.Dial("tcp", address.String()) })
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second)) // a hang fails the test
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

func serveFramed(t *testing.T, conn net.Conn, serve func(f *framed)) {
	defer conn.Close()
	io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
	f := &framed{Framer: http2.NewFramer(conn, conn), t: t, conn: conn}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.enc = hpack.NewEncoder(&f.block)
	serve(f)
}

// next returns the next frame about a stream, in words; "closed" at the end.
func (f *framed) next() string {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "closed"
		}
		end := ""
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				f.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamEnded() {
				end = " end"
			}
			if method := frame.PseudoValue("method"); method != "" {
				return fmt.Sprintf("%d %s %s%s", frame.StreamID, method, frame.PseudoValue("path"), end)
			}
			text := ""
			for _, h := range frame.Fields {
				text += " " + h.Name + "=" + h.Value
			}
			return fmt.Sprintf("%d trailers%s%s", frame.StreamID, text, end)
		case *http2.DataFrame:
			if frame.StreamEnded() {
				end = " end"
			}
			return fmt.Sprintf("%d data %q%s", frame.StreamID, frame.Data(), end)
		case *http2.RSTStreamFrame:
			return fmt.Sprintf("%d reset %v", frame.StreamID, frame.ErrCode)
		}
	}
}

// settle returns when all that was sent has been taken in; nothing but that is to come.
func (f *framed) settle() {
	f.WritePing(false, [8]byte{1})
	for {
		frame, err := f.ReadFrame()
		if ping, ok := frame.(*http2.PingFrame); err != nil || ok && ping.IsAck() {
			return
		}
		if settings, ok := frame.(*http2.SettingsFrame); ok && !settings.IsAck() {
			f.WriteSettingsAck()
		}
	}
}

// head sends a field section: "name", "value", ...
func (f *framed) head(stream uint32, end bool, pairs ...string) {
	f.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		f.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.block.Bytes(), EndStream: end, EndHeaders: true})
}

// TestRequestTrailers: RFC 9113 §8.1: trailer fields of a request go on, announced or not;
// what they may not be stays.
func TestRequestTrailers(t *testing.T) {
	seen := make(chan string, 8)
	o := New("http", time.Minute)
	defer o.Close()
	open := framedOrigin(t, o, func(f *framed) {
		f.WriteSettings()
		for {
			words := f.next()
			seen <- words
			if words == "closed" {
				return
			}
			if strings.HasSuffix(words, " end") {
				f.head(1, true, ":status", "204")
			}
		}
	})
	conn := open()
	go io.WriteString(conn, "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\nContent-Length: 7\r\nx-sum: 4\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 204 ") {
		t.Errorf("got %q, %v", answer, err)
	}
	for _, want := range []string{"1 POST /a", `1 data "abc"`, "1 trailers x-sum=3 x-sum=4 end"} {
		if got := <-seen; got != want {
			t.Errorf("the origin got %s, want %s", got, want)
		}
	}
}

// TestUntouched: RFC 9113 §8.7: what an origin server has not looked at is told apart from what
// it may have done, and a connection that it leaves is not used any more.
func TestUntouched(t *testing.T) {
	for name, tt := range map[string]struct {
		answer    func(f *framed)
		untouched bool
		leaving   bool
	}{
		"refused":           {func(f *framed) { f.WriteRSTStream(1, http2.ErrCodeRefusedStream) }, true, false},
		"reset":             {func(f *framed) { f.WriteRSTStream(1, http2.ErrCodeInternal) }, false, false},
		"left before it":    {func(f *framed) { f.WriteGoAway(0, http2.ErrCodeNo, nil) }, true, true},
		"left in its midst": {func(f *framed) { f.WriteGoAway(1, http2.ErrCodeNo, nil); f.conn.Close() }, false, false},
		"closed":            {func(f *framed) { f.conn.Close() }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := New("http", time.Minute)
			defer o.Close()
			var connections atomic.Int32
			open := framedOrigin(t, o, func(f *framed) {
				f.WriteSettings()
				if f.next(); connections.Add(1) == 1 {
					tt.answer(f)
				} else {
					f.head(1, true, ":status", "204")
				}
				f.next()
			})
			conn := open()
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
			_, err := io.ReadAll(conn)
			var u *Untouched
			if errors.As(err, &u) != tt.untouched || tt.untouched && u.Untouched() != tt.leaving {
				t.Errorf("got %v", err)
			}
			if tt.leaving {
				conn = open()
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 204 ") {
					t.Errorf("the next one got %q, %v", answer, err)
				}
			}
		})
	}
}

// TestMostStreams: RFC 9113 §5.1.2: what does not fit on one connection goes on another.
func TestMostStreams(t *testing.T) {
	o := New("http", time.Minute)
	defer o.Close()
	var connections atomic.Int32
	begun, finish := make(chan string, 16), make(chan struct{})
	open := framedOrigin(t, o, func(f *framed) {
		connections.Add(1)
		f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		var streams []uint32
		for len(streams) < 2 {
			if words := f.next(); strings.HasSuffix(words, " end") {
				var stream uint32
				fmt.Sscan(words, &stream)
				streams = append(streams, stream)
				f.settle()
				begun <- words
			} else if words == "closed" {
				return
			}
		}
		<-finish
		for _, s := range streams {
			f.head(s, true, ":status", "204")
		}
		f.next()
	})
	var conns []net.Conn
	for i := range 6 {
		conn := open()
		fmt.Fprintf(conn, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		conns = append(conns, conn)
		<-begun
	}
	close(finish)
	for _, conn := range conns {
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 204 ") {
			t.Errorf("got %q, %v", answer, err)
		}
	}
	if got := connections.Load(); got != 3 {
		t.Errorf("%d connections, want 3", got)
	}
}

// TestBackpressure: RFC 9113 §5.2: an origin server sends no more than the windows while nobody
// reads its response, and is sent no more than its own while it reads no request.
func TestBackpressure(t *testing.T) {
	o := New("http", time.Minute)
	defer o.Close()
	granted, done := make(chan int, 1), make(chan struct{})
	open := framedOrigin(t, o, func(f *framed) {
		f.WriteSettings()
		if f.next() == "1 POST /" {
			<-done // it reads nothing
			return
		}
		f.head(1, false, ":status", "200")
		for range streamWindow / piece {
			f.WriteData(1, false, make([]byte, piece))
		}
		f.WritePing(false, [8]byte{1})
		more := 0
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.WindowUpdateFrame:
				if frame.StreamID == 1 {
					more += int(frame.Increment)
				}
			case *http2.PingFrame: // all that came before has been taken in
				granted <- more
				return
			}
		}
	})
	conn := open()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := <-granted; got > 4*piece {
		t.Errorf("the origin server may send %d octets more, of which none were read", got)
	}
	conn.Close()
	o.Close()

	o = New("http", time.Minute)
	defer o.Close()
	open = framedOrigin(t, o, func(f *framed) {
		f.WriteSettings()
		f.next()
		<-done
	})
	conn = open()
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	sent := 0
	for {
		n, err := conn.Write(make([]byte, piece))
		if sent += n; err != nil {
			break
		}
	}
	close(done)
	if sent > 256<<10 { // its window of 64 KiB, and what is on the way
		t.Errorf("%d octets were taken for an origin server that reads none", sent)
	}
}

// TestOriginsThatAttack: what an origin server may do to a gateway by frames ends the exchange,
// and with it what it costs; none of it is a response, and the next request has a connection.
func TestOriginsThatAttack(t *testing.T) {
	long := strings.Repeat("x", 8000)
	for name, attack := range map[string]func(f *framed){
		"fields without end (CVE-2024-27316)": func(f *framed) {
			f.block.Reset()
			f.enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block.Bytes()})
			for err := error(nil); err == nil; {
				f.block.Reset()
				f.enc.WriteField(hpack.HeaderField{Name: "a", Value: long, Sensitive: true})
				err = f.WriteContinuation(1, false, f.block.Bytes())
			}
		},
		"few octets that stand for many": func(f *framed) {
			pairs := []string{":status", "200"}
			for range 3000 {
				pairs = append(pairs, "a", strings.Repeat("y", 3000)) // once in the table, then one octet each
			}
			f.head(1, true, pairs...)
		},
		"a frame longer than asked for": func(f *framed) {
			f.conn.Write(append([]byte{0x01, 0, 0, byte(http2.FrameData), 0, 0, 0, 0, 1}, make([]byte, 1<<16)...))
		},
		"a promise": func(f *framed) {
			f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		},
		"a line break in a field": func(f *framed) { f.head(1, true, ":status", "200", "a", "b\r\nc: d") },
		"an upper-case field":     func(f *framed) { f.head(1, true, ":status", "200", "A", "b") },
		"no status":               func(f *framed) { f.head(1, true, "a", "b") },
		"less than the length": func(f *framed) {
			f.head(1, false, ":status", "200", "content-length", "10")
			f.WriteData(1, true, []byte("abc"))
		},
		"more than the length": func(f *framed) {
			f.head(1, false, ":status", "200", "content-length", "2")
			f.WriteData(1, true, []byte("abc"))
		},
		"more than the window": func(f *framed) {
			f.head(1, false, ":status", "200")
			for err := error(nil); err == nil; {
				err = f.WriteData(1, false, make([]byte, piece))
			}
		},
		"a window that overflows": func(f *framed) {
			f.WriteWindowUpdate(1, 1<<31-1)
			f.WriteWindowUpdate(0, 1<<31-1)
			f.WriteWindowUpdate(0, 1<<31-1)
		},
		"settings that are none": func(f *framed) { f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) },
		"HTTP/1.1":               func(f *framed) { io.WriteString(f.conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") },
	} {
		t.Run(name, func(t *testing.T) {
			o := New("http", time.Minute)
			defer o.Close()
			var connections atomic.Int32
			open := framedOrigin(t, o, func(f *framed) {
				f.WriteSettings()
				f.SetMaxReadFrameSize(1 << 20)
				f.AllowIllegalWrites = true
				for first := connections.Add(1) == 1; ; {
					words := f.next()
					if words == "closed" {
						return
					}
					switch {
					case first && strings.HasPrefix(words, "1 GET"):
						go io.Copy(io.Discard, f.conn) // it never waits for us
						attack(f)
						return
					case strings.HasSuffix(words, " end"):
						f.head(1, true, ":status", "204")
					}
				}
			})
			conn := open()
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
			}
			if err == nil {
				t.Errorf("got a response: %v", resp)
			}
			conn.Close()
			for range 10 { // one that does not know yet of the end of its connection has none
				conn = open()
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if answer, err := io.ReadAll(conn); err == nil && strings.HasPrefix(string(answer), "HTTP/1.1 204 ") {
					return
				}
			}
			t.Error("the next one has no answer")
		})
	}
}
