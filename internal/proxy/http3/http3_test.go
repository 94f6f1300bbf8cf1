package http3

import (
	"bytes"
	"strings"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/section"
)

const most = 4096

func frame(kind uint64, payload string) string {
	return string(appendFrame(nil, kind, len(payload))) + payload
}

// fields returns a field section: "name", "value", ...
func fields(pairs ...string) string {
	var b bytes.Buffer
	e := qpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(qpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.String()
}

func head(method string, more ...string) string {
	return frame(frameHeaders, fields(append([]string{":method", method, ":scheme", "https", ":authority", "h", ":path", "/"}, more...)...))
}

// read feeds octets, so many at a time, then the end, and returns what came of it in words.
func read(octets string, each int) (r *Request, content string, err *Error) {
	r = &Request{}
	r.Reset(most)
	for b := []byte(octets); len(b) > 0; {
		n, ev, err := r.Feed(b[:min(each, len(b))])
		b = b[n:]
		if err != nil {
			return r, content, err
		}
		if ev == Content {
			content += string(r.Content)
		}
		if r.TooLarge {
			return r, content, nil
		}
	}
	return r, content, r.End()
}

// TestRequests: RFC 9114 §4.1: what a request stream may hold, however its octets come.
func TestRequests(t *testing.T) {
	long := strings.Repeat("x", most)
	for _, tt := range []struct {
		name, octets string
		content      string
		trailers     string
		code         ErrCode // 0: none
	}{
		{"a head", head("GET"), "", "", 0},
		{"content", head("POST", "content-length", "5") + frame(frameData, "he") + frame(frameData, "llo"), "hello", "", 0},
		{"content of unknown length, and trailers", head("POST") + frame(frameData, "hello") + frame(frameHeaders, fields("x-sum", "5")), "hello", "x-sum: 5\r\n\r\n", 0},
		{"unknown frames", frame(0x21, "grease") + head("POST") + frame(0x40, "") + frame(frameData, "a") + frame(0x21, "b"), "a", "", 0},
		{"an extended CONNECT", frame(frameHeaders, fields(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "h", ":path", "/", "content-length", "0")) + frame(frameData, "a"), "a", "", 0},
		{"nothing", "", "", "", RequestIncomplete},
		{"half a head", head("GET")[:9], "", "", FrameError},
		{"content first", frame(frameData, "a"), "", "", FrameUnexpected},
		{"content after trailers", head("POST") + frame(frameHeaders, fields("a", "b")) + frame(frameData, "a"), "", "a: b\r\n\r\n", FrameUnexpected},
		{"trailers twice", head("POST") + frame(frameHeaders, fields("a", "b")) + frame(frameHeaders, fields("a", "b")), "", "a: b\r\n\r\n", FrameUnexpected},
		{"SETTINGS", head("POST") + frame(frameSettings, ""), "", "", FrameUnexpected},
		{"a frame of HTTP/2", head("POST") + frame(0x6, "12345678"), "", "", FrameUnexpected},
		{"a push", head("POST") + frame(framePushPromise, "\x00"), "", "", FrameUnexpected},
		{"less content than declared (CVE-2026-33555)", head("POST", "content-length", "5") + frame(frameData, "hell"), "hell", "", MessageError},
		{"none, though declared", head("POST", "content-length", "5"), "", "", MessageError},
		{"more content than declared", head("POST", "content-length", "4") + frame(frameData, "hello"), "", "", MessageError},
		{"some, though none was declared", head("GET", "content-length", "0") + frame(frameData, "h"), "", "", MessageError},
		{"trailers before the content is whole", head("POST", "content-length", "4") + frame(frameHeaders, fields("a", "b")), "", "a: b\r\n\r\n", MessageError},
		{"pseudo-fields in trailers", head("POST") + frame(frameHeaders, fields(":path", "/b")), "", "", MessageError},
		{"a field of HTTP/1.1", head("GET", "transfer-encoding", "chunked"), "", "", MessageError},
		{"no path", frame(frameHeaders, fields(":method", "GET", ":scheme", "https", ":authority", "h")), "", "", MessageError},
		{"another host", head("GET", "host", "other"), "", "", MessageError},
		{"a reference to the table that grows", frame(frameHeaders, "\x00\x00\x80"), "", "", DecompressionFailed},
		{"a section that waits for another stream", frame(frameHeaders, "\x02\x00\xd1"), "", "", DecompressionFailed},
		{"trailers that are too large", head("POST") + string(appendFrame(nil, frameHeaders, section.MaxTrailers+1)) + "x", "", "", ExcessiveLoad},
		{"frames that carry nothing (CVE-2019-9518)", head("POST") + strings.Repeat(frame(frameData, ""), 1000), "", "", ExcessiveLoad},
	} {
		for _, each := range []int{1, 3, 1 << 20} {
			r, content, err := read(tt.octets, each)
			code := ErrCode(0)
			if err != nil {
				code = err.Code
			}
			if code != tt.code || content != tt.content || string(r.Trailers) != tt.trailers {
				t.Errorf("%s, %d at a time: got content %q, trailers %q, %v, want %#x", tt.name, each, content, r.Trailers, err, uint64(tt.code))
			}
		}
	}
	for _, large := range []string{head("GET", "a", long), string(appendFrame(nil, frameHeaders, 1<<30)) + "x"} {
		if r, _, err := read(large, 100); err != nil || !r.TooLarge || len(r.Head) > 0 || cap(r.block) > 4*most {
			t.Errorf("%.20q: %v, too large %v, %d octets are held", large, err, r.TooLarge, cap(r.block))
		}
	}
}

// TestBomb: a section of few octets never stands for many: there is no table to fill, and what
// the static one has is short.
func TestBomb(t *testing.T) {
	bomb := "\x00\x00" + strings.Repeat("\xff\x00", most/2-1) // the longest of the static table, again and again
	r, _, err := read(frame(frameHeaders, bomb), 1<<20)
	if got := cap(r.section.Lines()); err == nil && !r.TooLarge || got > 4*most {
		t.Errorf("%v, too large %v, %d octets are held", err, r.TooLarge, got)
	}
}

// TestUni: RFC 9114 §6.2 and §7.2.4, RFC 9204 §4.
func TestUni(t *testing.T) {
	settings := frame(frameSettings, "\x06\x52\x00")
	for _, tt := range []struct {
		name    string
		streams []string
		ends    bool
		code    ErrCode
	}{
		{"what clients open", []string{"\x00" + settings, "\x02", "\x03"}, false, 0},
		{"the control stream, as it may go on", []string{"\x00" + settings + frame(framePriority, "\x00u=1") + frame(frameMaxPushID, "\x05") + frame(frameGoAway, "\x00") + frame(0x21, "x")}, false, 0},
		{"one that means nothing", []string{"\x21hello"}, false, 0},
		{"no SETTINGS", []string{"\x00" + frame(frameGoAway, "\x00")}, false, MissingSettings},
		{"SETTINGS twice", []string{"\x00" + settings + settings}, false, FrameUnexpected},
		{"a setting twice", []string{"\x00" + frame(frameSettings, "\x06\x01\x06\x01")}, false, SettingsError},
		{"a setting of HTTP/2", []string{"\x00" + frame(frameSettings, "\x04\x01")}, false, SettingsError},
		{"half a setting", []string{"\x00" + frame(frameSettings, "\x06")}, false, FrameError},
		{"huge SETTINGS", []string{"\x00" + string(appendFrame(nil, frameSettings, 1<<30)) + "x"}, false, ExcessiveLoad},
		{"content", []string{"\x00" + settings + frame(frameData, "x")}, false, FrameUnexpected},
		{"a push is cancelled", []string{"\x00" + settings + frame(frameCancelPush, "\x00")}, false, IDError},
		{"MAX_PUSH_ID becomes less", []string{"\x00" + settings + frame(frameMaxPushID, "\x05") + frame(frameMaxPushID, "\x04")}, false, IDError},
		{"a flood of frames", []string{"\x00" + settings + strings.Repeat(frame(0x21, ""), 2000)}, false, ExcessiveLoad},
		{"a second control stream", []string{"\x00" + settings, "\x00" + settings}, false, StreamCreationError},
		{"a second encoder stream", []string{"\x02", "\x02"}, false, StreamCreationError},
		{"a push stream", []string{"\x01\x00"}, false, StreamCreationError},
		{"the control stream ends", []string{"\x00" + settings}, true, ClosedCriticalStream},
		{"a stream without a type ends", []string{"\x40"}, true, 0},
		{"the table gets no room", []string{"\x02\x20"}, false, 0},
		{"the table gets room", []string{"\x02\x3f\xe1\x1f"}, false, EncoderStreamError},
		{"the table gets a field", []string{"\x02\x41a\x01b"}, false, EncoderStreamError},
		{"a section is given up", []string{"\x03\x44\x7f\x80\x01"}, false, 0},
		{"a section is acknowledged", []string{"\x03\x84"}, false, DecoderStreamError},
	} {
		for _, each := range []int{1, 1 << 20} {
			var p Peer
			var got *Error
			for _, octets := range tt.streams {
				var u Uni
				for b := []byte(octets); len(b) > 0 && got == nil; b = b[min(each, len(b)):] {
					_, got = u.Feed(b[:min(each, len(b))], &p)
				}
				if tt.ends && got == nil {
					got = u.End()
				}
			}
			code := ErrCode(0)
			if got != nil {
				code = got.Code
			}
			if code != tt.code {
				t.Errorf("%s, %d at a time: got %v, want %#x", tt.name, each, got, uint64(tt.code))
			}
		}
	}
}

// TestResponse: what is sent is what was meant, without the fields of a connection.
func TestResponse(t *testing.T) {
	b := AppendHead(nil, []byte("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\nX-Y:  z \r\n"))
	kind, n, _ := quicvarint.Parse(b)
	length, m, _ := quicvarint.Parse(b[n:])
	if kind != frameHeaders || int(length) != len(b)-n-m {
		t.Fatalf("a frame of type %d, %d octets of %d", kind, length, len(b))
	}
	var got []string
	for next := qpack.NewDecoder().Decode(b[n+m:]); ; {
		f, err := next()
		if err != nil {
			break
		}
		got = append(got, f.Name+"="+f.Value)
	}
	if want := ":status=103 link=</a> x-y=z"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := AppendGoAway(nil, 8); string(got) != "\x07\x01\x08" {
		t.Errorf("GOAWAY is % x", got)
	}
	if got := AppendData(nil, 3); string(got) != "\x00\x03" {
		t.Errorf("DATA is % x", got)
	}
}

// FuzzRequest: no octets make more content than they are, keep more than is allowed, or a head
// that package http1 reads as anything but one request.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{head("GET"), head("POST", "content-length", "5") + frame(frameData, "hello"), head("POST", "a", "b") + frame(frameHeaders, fields("x", "y")), "\x01\x03\x00\x00\xd1"} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, octets []byte, each uint8) {
		r, content, err := read(string(octets), int(each)+1)
		switch {
		case len(content) > len(octets) || cap(r.block) > 4*max(most, section.MaxTrailers) || len(r.Head) > most:
			t.Fatalf("%d octets of content, a head of %d, %d are held", len(content), len(r.Head), cap(r.block))
		case err != nil || r.TooLarge:
			return
		case r.declared >= 0 && int64(len(content)) != r.declared:
			t.Fatalf("%d octets pass for %d", len(content), r.declared)
		}
		var p http1.Parser
		p.ResetStream(http1.Limits{}, false)
		whole := append(append([]byte(nil), r.Head...), "\r\n"...)
		n, ev, bad := p.Feed(whole)
		if bad == nil && (ev != http1.HeadDone || n != len(whole)) {
			t.Fatalf("of %q %d octets were read", whole, n)
		}
	})
}

// FuzzUni: no octets of a one-way stream keep more than SETTINGS may have.
func FuzzUni(f *testing.F) {
	f.Add([]byte("\x00\x04\x02\x06\x01\x0d\x01\x05"))
	f.Add([]byte("\x03\x44\x7f\x80\x01"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		var p Peer
		var u Uni
		u.Feed(octets, &p)
		u.End()
		if cap(u.settings) > 2*maxSettings {
			t.Fatalf("%d octets are held", cap(u.settings))
		}
	})
}
