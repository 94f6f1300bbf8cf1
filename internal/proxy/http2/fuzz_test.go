package http2

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/section"
)

// check holds the invariants of a connection.
func (c *Conn) check(t *testing.T) {
	t.Helper()
	waiting := 0
	for id, s := range c.streams {
		waiting += len(s.in) - s.inAt
		switch {
		case id != s.id || id > c.last || id%2 == 0:
			t.Fatalf("stream %d stands as %d, the last is %d", s.id, id, c.last)
		case len(s.in)-s.inAt > c.limits.StreamWindow:
			t.Fatalf("%d octets wait on a stream", len(s.in)-s.inAt)
		case s.sendWindow > maxWindow && !s.isReset:
			t.Fatalf("a window of %d", s.sendWindow)
		case len(s.Head) > c.limits.Head || len(s.Trailers) > section.MaxTrailers+2:
			t.Fatalf("a head of %d octets, trailers of %d", len(s.Head), len(s.Trailers))
		}
	}
	if waiting > c.limits.Window || len(c.streams) > c.limits.Streams || len(c.block.octets) > c.limits.Head {
		t.Fatalf("%d octets wait, %d streams, a block of %d octets", waiting, len(c.streams), len(c.block.octets))
	}
}

// FuzzConn feeds any octets behind an honest beginning, as a whole and octet by octet: the
// same must come of both, and nothing may break or grow without bound.
func FuzzConn(f *testing.F) {
	p := newPeer(f, Limits{})
	head := p.fields(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a", "cookie", "b")
	seed := func(frames ...string) { f.Add([]byte(strings.Join(frames, ""))) }
	frame := func(kind, flags uint8, stream uint32, payload string) string {
		return string(append(appendHeader(nil, len(payload), kind, flags, stream), payload...))
	}
	seed(frame(frameHeaders, flagEndHeaders, 1, head), frame(frameData, flagEndStream, 1, "hello"))
	seed(frame(frameHeaders, 0, 1, head[:4]), frame(frameContinuation, flagEndHeaders, 1, head[4:]), frame(frameReset, 0, 1, uint32s(8)))
	seed(frame(frameSettings, 0, 0, "\x00\x04"+uint32s(1)), frame(framePing, 0, 0, "12345678"), frame(frameWindow, 0, 0, uint32s(1)))
	seed(frame(frameHeaders, flagEndHeaders|flagPadded|flagPriority, 3, "\x02"+uint32s(0)+"\x00"+head+"\x00\x00"), frame(frameData, flagPadded, 3, "\x01a\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, single := feedAll(t, in, len(in)), feedAll(t, in, 1)
		if !bytes.Equal(whole, single) {
			t.Fatalf("in one piece:\n%x\noctet by octet:\n%x", whole, single)
		}
	})
}

// feedAll feeds in in pieces, answers what is opened, and returns all that was sent.
func feedAll(t *testing.T, in []byte, piece int) []byte {
	c := New(Limits{Streams: 4, StreamWindow: 1000, Window: 70_000}, 0)
	in = append([]byte(Preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"), in...)
	at := 0
	for to := min(piece, len(in)); ; to = min(to+max(piece, 1), len(in)) {
		for {
			n, ev := c.Feed(in[at:to], time.Second)
			at += n
			if ev.Kind == Opened && ev.Stream.ID()%4 == 1 {
				s := ev.Stream
				c.SendHead(s, []byte("HTTP/1.1 200 OK\r\nA: b\r\n"), false)
				c.SendData(s, []byte("content"), true)
				c.Finish(s, time.Second)
			} else if ev.Kind == Changed {
				var room [100]byte
				c.Take(ev.Stream, room[:])
			}
			c.check(t)
			if ev.Kind == NeedMore || ev.Kind == Failed {
				break
			}
		}
		if to == len(in) || c.failure != nil {
			break
		}
	}
	return c.Out(nil)
}

// FuzzRequest: whatever fields are sent, the head that is handed on is either refused, or
// read by package http1 as just those fields, no line more and none less. So nothing that
// a client of HTTP/2 sends can become a field, a line or a request of its own towards an
// origin of HTTP/1.1.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a?b", "a.example", "x-a", "b", "cookie", "c=d")
	f.Add("GET", "/ HTTP/1.1\r\nx: y", "a", "x", "y", "z", "")
	f.Add("POST", "/", "a:80", "content-length", "5", "te", "trailers")
	f.Add("G\r\nT", "/", "a\r\n", "b\r\nc", "d\r\n\r\nGET / HTTP/1.1\r\n", "host", "a")
	f.Add("CONNECT", "/", "a:1", "transfer-encoding", "chunked", "a", "\x00")
	f.Fuzz(func(t *testing.T, method, path, authority, name1, value1, name2, value2 string) {
		p := newPeer(t, Limits{})
		p.enc.SetMaxDynamicTableSize(0)
		p.frame(frameHeaders, flagEndHeaders, 1, p.fields(":method", method, ":scheme", "http", ":path", path, ":authority", authority, name1, value1, name2, value2))
		s := p.last().Stream
		if s == nil || s.Malformed != "" || s.TooLarge {
			return
		}
		var parser http1.Parser
		parser.ResetStream(http1.Limits{KeepUnderscores: true}, s.Whole)
		head := append(append([]byte(nil), s.Head...), "\r\n"...)
		n, ev, v := parser.Feed(head)
		if v != nil {
			return
		}
		if ev != http1.HeadDone || n != len(head) {
			t.Fatalf("%q: %v after %d of %d octets", head, ev, n, len(head))
		}
		if method != "CONNECT" && (string(parser.Method()) != method || string(parser.Target()) != path || !http1.EqualFold(parser.Host(), []byte(authority))) {
			t.Errorf("read %q %q %q of %q %q %q", parser.Method(), parser.Target(), parser.Host(), method, path, authority)
		}
		want := [][2]string{{"host", ""}}
		for _, f := range [][2]string{{name1, value1}, {name2, value2}} {
			if f[0] != "host" && f[0] != "cookie" && f[0] != "" {
				want = append(want, f)
			}
		}
		got := 0
		for _, field := range parser.Fields() {
			switch name := string(parser.Name(field)); {
			case name == "cookie" || name == "host":
			case got+1 < len(want) && want[got+1] == [2]string{name, string(parser.Value(field))}:
				got++
			default:
				t.Errorf("a field %q: %q of %q", name, parser.Value(field), want)
			}
		}
		if got+1 != len(want) && parser.Dropped() == 0 {
			t.Errorf("%d fields of %q", got, want)
		}
	})
}

// FuzzEncode: what responses are encoded to, a decoder that is not ours reads as just them.
func FuzzEncode(f *testing.F) {
	f.Add(200, "Content-Type", "text/plain", "X-A", "b")
	f.Add(599, "Set-Cookie", strings.Repeat("c", 300), "Connection", "close")
	f.Fuzz(func(t *testing.T, status int, name1, value1, name2, value2 string) {
		if status < 100 || status > 999 || strings.ContainsAny(name1+name2, ":\r\n\t ") || strings.ContainsAny(value1+value2, "\r\n") || name1 == "" || name2 == "" {
			return
		}
		lines := name1 + ": " + value1 + "\r\n" + name2 + ": " + value2 + "\r\n"
		got, err := hpack.NewDecoder(0, nil).DecodeFull(appendFields(appendStatus(nil, status), []byte(lines)))
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		for _, f := range [][2]string{{name1, value1}, {name2, value2}} {
			low := asciiLower(f[0])
			if len(appendField(nil, []byte(low), nil)) == 0 {
				continue // it concerns a connection
			}
			if want >= len(got) || got[want].Name != low || got[want].Value != string(bytes.TrimSpace([]byte(f[1]))) {
				t.Fatalf("%q was encoded as %v", lines, got)
			}
			want++
		}
		if want != len(got) {
			t.Errorf("%q was encoded as %v", lines, got)
		}
	})
}

func asciiLower(s string) string { return string(section.AppendLower(nil, []byte(s))) }
