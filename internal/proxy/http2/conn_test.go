package http2

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// RFC 9113 §3.4: our first frame is SETTINGS, with the limits that hold.
func TestFirstFrames(t *testing.T) {
	c := New(Limits{Streams: 7, Window: 1 << 20}, 0)
	p := &peer{t: t, conn: c}
	p.wantCame(fmt.Sprintf("frame 4 0; window 0 %d", 1<<20-firstWindow))
}

func TestRequestAndResponse(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, false, "x-a", "b", "cookie", "a=1", "cookie", "b=2", "content-length", "5")
	want := "POST / HTTP/1.1\r\nhost: a\r\nx-a: b\r\ncontent-length: 5\r\ncookie: a=1; b=2\r\n"
	if s == nil || string(s.Head) != want || s.Whole {
		t.Fatalf("got %q, want %q", s.Head, want)
	}
	p.frame(frameData, 0, 1, "hel")
	p.frame(frameData, flagEndStream, 1, "lo")
	var room [10]byte
	if n := p.conn.Take(s, room[:]); string(room[:n]) != "hello" || !s.Ended() {
		t.Errorf("content %q, ended %v", room[:n], s.Ended())
	}
	p.conn.SendHead(s, []byte("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"), false)
	p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nX-Y: z\r\n"), false)
	if n := p.conn.SendData(s, []byte("hi"), false); n != 2 {
		t.Errorf("sent %d octets", n)
	}
	p.conn.SendTrailers(s, []byte("Grpc-Status: 0\r\n"))
	p.conn.Finish(s, p.now)
	p.wantCame("head 1 :status=103,link=</a>,; head 1 :status=200,content-type=text/plain,x-y=z,; data 1 2; head 1 grpc-status=0, end")
	if p.conn.Active() != 0 {
		t.Error("the stream was not forgotten")
	}
}

// RFC 9113 §8.1: trailers come last and may be empty.
func TestTrailers(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, false)
	p.frame(frameData, 0, 1, "x")
	p.frame(frameHeaders, flagEndHeaders|flagEndStream, 1, p.fields("a", "b", "c", "d"))
	if string(s.Trailers) != "a: b\r\nc: d\r\n\r\n" || s.Ended() {
		t.Errorf("trailers %q, ended %v with content left", s.Trailers, s.Ended())
	}
	var room [4]byte
	if p.conn.Take(s, room[:]); !s.Ended() {
		t.Error("not ended")
	}
}

// A large head goes out in HEADERS and CONTINUATION.
func TestLargeResponseHead(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, true)
	p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 40000)+"\r\n"), true)
	kinds := ""
	for b := p.conn.Out(nil); len(b) > 0; {
		f, length := readHeader(b)
		kinds += fmt.Sprintf("%d:%x:%d ", f.kind, f.flags, length)
		b = b[headerLen+length:]
	}
	if want := "1:1:16384 9:0:16384 9:4:7240 "; kinds != want {
		t.Errorf("got %s, want %s", kinds, want)
	}
}

// What HTTP/1.1 could not carry faithfully is malformed (RFC 9113 §8.1.1): the stream is
// reset with PROTOCOL_ERROR, and no head is handed on.
func TestMalformed(t *testing.T) {
	base := []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a"}
	with := func(more ...string) []string { return append(append([]string(nil), base...), more...) }
	for name, fields := range map[string][]string{
		"upper case":              with("X-A", "b"),
		"empty name":              with("", "b"),
		"space in name":           with("a b", "c"),
		"colon in name":           with("a:b", "c"),
		"line break in value":     with("a", "b\r\nevil: c"),
		"line feed in value":      with("a", "b\nevil: c"),
		"carriage return":         with("a", "b\rc"),
		"NUL in value":            with("a", "b\x00"),
		"white space around":      with("a", " b"),
		"connection":              with("connection", "x-forwarded-for"),
		"keep-alive":              with("keep-alive", "5"),
		"proxy-connection":        with("proxy-connection", "close"),
		"transfer-encoding":       with("transfer-encoding", "chunked"),
		"upgrade":                 with("upgrade", "h2c"),
		"te":                      with("te", "gzip"),
		"pseudo-field late":       with("a", "b", ":path", "/x"),
		"pseudo-field twice":      with(":path", "/x"),
		"unknown pseudo-field":    with(":status", "200"),
		"host differs":            with("host", "b"),
		"two hosts":               with("host", "a", "host", "b"),
		"no method":               {":scheme", "http", ":path", "/", ":authority", "a"},
		"no scheme":               {":method", "GET", ":path", "/", ":authority", "a"},
		"no path":                 {":method", "GET", ":scheme", "http", ":authority", "a"},
		"empty path":              {":method", "GET", ":scheme", "http", ":path", "", ":authority", "a"},
		"path without slash":      {":method", "GET", ":scheme", "http", ":path", "http://b/", ":authority", "a"},
		"line break in path":      {":method", "GET", ":scheme", "http", ":path", "/ HTTP/1.1\r\nevil: x", ":authority", "a"},
		"space in path":           {":method", "GET", ":scheme", "http", ":path", "/ HTTP/1.1", ":authority", "a"},
		"line break in method":    {":method", "GET / HTTP/1.1\r\n", ":scheme", "http", ":path", "/", ":authority", "a"},
		"line break in authority": {":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a\r\nevil: x"},
		"method no token":         {":method", "G(T", ":scheme", "http", ":path", "/", ":authority", "a"},
		"other scheme":            {":method", "GET", ":scheme", "ftp", ":path", "/", ":authority", "a"},
		"CONNECT with path":       {":method", "CONNECT", ":path", "/", ":authority", "a:1"},
		"CONNECT to nobody":       {":method", "CONNECT"},
		"protocol without it":     with(":protocol", "websocket"),
	} {
		p := newPeer(t, Limits{})
		p.frame(frameHeaders, flagEndHeaders|flagEndStream, 1, p.fields(fields...))
		ev := p.last()
		if ev.Kind != Opened || ev.Stream.Malformed == "" || len(ev.Stream.Head) > 0 || !ev.Stream.Reset() {
			t.Errorf("%s: %v %+v", name, ev.Kind, ev.Stream)
			continue
		}
		if got := p.came(); got != "reset 1 1" {
			t.Errorf("%s: came %q, want a reset with PROTOCOL_ERROR", name, got)
		}
	}
}

// RFC 8441 §5: what an origin of HTTP/1.1 would have been asked.
func TestExtendedConnect(t *testing.T) {
	p := newPeer(t, Limits{})
	p.frame(frameHeaders, flagEndHeaders, 1, p.fields(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/chat", ":authority", "a",
		"sec-websocket-version", "13", "sec-websocket-key", "forged"))
	s := p.last().Stream
	want := "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
	if string(s.Head) != want || s.Protocol != "websocket" || !s.Whole {
		t.Errorf("got %q, want %q", s.Head, want)
	}
	// Any other protocol, and none at all, stay what they are: refused by who reads them.
	for _, fields := range [][]string{
		{":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "https", ":path", "/", ":authority", "a:1"},
		{":method", "CONNECT", ":authority", "a:1"},
	} {
		p := newPeer(t, Limits{})
		p.frame(frameHeaders, flagEndHeaders, 1, p.fields(fields...))
		if s := p.last().Stream; string(s.Head) != "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n" || s.Protocol != "" {
			t.Errorf("got %q", s.Head)
		}
	}
}

// RFC 9113 §6.9: we send no more than both windows allow, and go on when they grow.
func TestSendingKeepsToWindows(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, true)
	content := make([]byte, 100_000)
	p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\n"), false)
	p.conn.Out(nil)
	sent := 0
	for n := -1; n != 0; sent += n {
		n = p.conn.SendData(s, content[sent:], true)
		p.conn.Out(nil)
	}
	if sent != firstWindow {
		t.Fatalf("sent %d octets, want %d", sent, firstWindow)
	}
	p.frame(frameWindow, 0, 1, uint32s(50_000))
	if n := p.conn.SendData(s, content[sent:], true); n != 0 {
		t.Errorf("sent %d octets above the window of the connection", n)
	}
	p.frame(frameWindow, 0, 0, uint32s(10))
	if n := p.conn.SendData(s, content[sent:], true); n != 10 || p.last().Kind != Widened {
		t.Errorf("sent %d octets, want 10", n)
	}
	p.wantCame("data 1 10")
	// RFC 9113 §6.9.2: a smaller first window may make a window negative.
	p.frame(frameSettings, 0, 0, "\x00\x04"+uint32s(0))
	p.frame(frameWindow, 0, 0, uint32s(100_000))
	p.came()
	if n := p.conn.SendData(s, content[sent+10:], true); n != 0 {
		t.Errorf("sent %d octets into a negative window", n)
	}
	p.frame(frameWindow, 0, 1, uint32s(firstWindow))
	rest := len(content) - sent - 10
	if n := p.conn.SendData(s, content[sent+10:], true); n != rest || rest > 49_990 {
		t.Errorf("sent %d octets, want %d", n, rest)
	}
}

// What waits for the gateway is bounded, and the client may send on as it is taken.
func TestReceivingKeepsToWindows(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, false)
	piece := strings.Repeat("x", maxFrame)
	for range 4 {
		p.frame(frameData, 0, 1, piece)
	}
	p.wantCame("")
	room := make([]byte, 40_000)
	p.conn.Take(s, room)
	p.wantCame("window 1 40000")
	for range 6 { // 64 KiB - 40,000 were left untaken: the stream's window is smaller now
		p.frame(frameData, 0, 1, piece)
	}
	if got := p.came(); got != "reset 1 3" {
		t.Errorf("came %q, want FLOW_CONTROL_ERROR", got)
	}
	p = newPeer(t, Limits{})
	for id := uint32(1); p.conn.Failure() == nil && id < 100; id += 2 {
		p.request(id, false)
		for range 4 {
			p.frame(frameData, 0, id, piece)
		}
	}
	if f := p.conn.Failure(); f == nil || f.Code != FlowControlError {
		t.Errorf("failure %+v, want FLOW_CONTROL_ERROR", f)
	}
}

// Content for a stream that was reset is read over, and its octets are given back: the
// connection's window does not leak away.
func TestContentAfterReset(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, false)
	p.conn.Reset(s, InternalError)
	p.conn.Finish(s, p.now)
	p.came()
	for range 10 {
		p.frame(frameData, 0, 1, strings.Repeat("x", maxFrame))
	}
	p.wantCame("window 0 131072")
}

// RFC 9113 §8.1.1: Content-Length is the sum of the DATA frames.
func TestContentLengthMismatch(t *testing.T) {
	for content, ends := range map[string]bool{"123456": false, "1234": true, "": true} {
		p := newPeer(t, Limits{})
		p.request(1, false, "content-length", "5")
		flags := uint8(0)
		if ends {
			flags = flagEndStream
		}
		p.frame(frameData, flags, 1, content)
		p.wantCame("reset 1 1")
	}
}

// RFC 9113 §8.1: after a complete response the rest of a request is not wanted.
func TestEarlyAnswer(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, false)
	p.conn.SendHead(s, []byte("HTTP/1.1 413 Content Too Large\r\n"), true)
	p.conn.Finish(s, p.now)
	p.wantCame("head 1 :status=413, end; reset 1 0")
	// What the client has sent before it knows is no error.
	p.frame(frameData, flagEndStream, 1, "late")
	p.wantCame("")
}

// RFC 9113 §5.1: HEADERS on a closed stream ends the connection, whether or not the gateway
// has noted yet that it is done with it.
func TestHeadersOnAClosedStream(t *testing.T) {
	for _, finished := range []bool{false, true} {
		p := newPeer(t, Limits{})
		s := p.request(1, true)
		p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\n"), true)
		if finished {
			p.conn.Finish(s, p.now)
		}
		p.request(1, true)
		if f := p.conn.Failure(); f == nil || f.Code != StreamClosed {
			t.Errorf("finished %v: failure %+v", finished, f)
		}
	}
}

// A response that cannot be completed is reset, never ended.
func TestUnfinishedResponse(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, true)
	p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\n"), false)
	p.conn.SendData(s, []byte("half"), false)
	p.conn.Finish(s, p.now)
	p.wantCame("head 1 :status=200,; data 1 4; reset 1 2")
}

// RFC 9113 §6.8: a drain in two steps, so that no request is lost on its way.
func TestGoAway(t *testing.T) {
	p := newPeer(t, Limits{})
	p.request(1, true)
	p.conn.GoAway(false)
	p.conn.GoAway(false)
	p.wantCame("goaway 2147483647 0 ")
	if p.request(3, true) == nil {
		t.Error("a request on its way was not served")
	}
	p.conn.GoAway(true)
	p.wantCame("goaway 3 0 ")
	p.events = nil
	if p.request(5, true) != nil {
		t.Error("a request was served after the last GOAWAY")
	}
	p.wantCame("")
}

// Signs of life, and what has none.
func TestTick(t *testing.T) {
	p := newPeer(t, Limits{Idle: time.Minute, Silence: 30 * time.Second, Answer: 15 * time.Second, HeadTime: 10 * time.Second})
	begun := p.now
	if next := p.conn.Tick(p.now); next != begun+time.Minute {
		t.Errorf("next look at %v, want the end of idleness", next)
	}
	s := p.request(1, true)
	if next := p.conn.Tick(p.now); next != begun+30*time.Second {
		t.Errorf("next look at %v", next)
	}
	p.now += 30 * time.Second
	p.conn.Tick(p.now)
	p.wantCame("frame 6 0")
	p.frame(framePing, flagAck, 0, "pharos\x00\x01")
	if p.now += 29 * time.Second; p.conn.Tick(p.now) < p.now || p.conn.Failure() != nil {
		t.Error("a client that answers is not dead")
	}
	p.now += time.Second
	p.conn.Tick(p.now)
	p.now += 15 * time.Second
	p.conn.Tick(p.now)
	if f := p.conn.Failure(); f == nil || f.Code != NoError {
		t.Errorf("failure %+v of a client that does not answer", f)
	}
	p.conn.Finish(s, p.now)

	p = newPeer(t, Limits{Idle: time.Minute})
	p.now += time.Minute
	p.conn.Tick(p.now)
	p.wantCame("goaway 0 0 ")
}
