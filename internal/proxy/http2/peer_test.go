package http2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/quota"

	"golang.org/x/net/http2/hpack"
)

// peer is a client of a Conn, for a test: it sends frames and says what came back, one word
// each.
type peer struct {
	t      testing.TB
	conn   *Conn
	now    time.Duration
	events []Event
	enc    *hpack.Encoder
	block  bytes.Buffer
	dec    *hpack.Decoder
}

func newPeer(t testing.TB, l Limits) *peer {
	p := &peer{t: t, conn: New(l, time.Second), now: time.Second}
	p.enc = hpack.NewEncoder(&p.block)
	p.dec = hpack.NewDecoder(4096, nil)
	p.feed([]byte(Preface))
	p.frame(frameSettings, 0, 0, "")
	p.conn.Out(nil)
	p.events = nil
	return p
}

// feed gives octets to the connection and keeps the events.
func (p *peer) feed(b []byte) {
	for {
		n, ev := p.conn.Feed(b, p.now)
		b = b[n:]
		if ev.Kind != Nothing && ev.Kind != NeedMore {
			p.events = append(p.events, ev)
		}
		if ev.Kind == NeedMore || ev.Kind == Failed {
			return
		}
	}
}

func (p *peer) frame(kind, flags uint8, stream uint32, payload string) {
	p.feed(append(appendHeader(nil, len(payload), kind, flags, stream), payload...))
}

// fields encodes "name", "value", ...
func (p *peer) fields(pairs ...string) string {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return p.block.String()
}

// request opens a stream with a GET, or a POST when content follows.
func (p *peer) request(stream uint32, ends bool, more ...string) *Stream {
	p.t.Helper()
	flags, method := uint8(flagEndHeaders|flagEndStream), "GET"
	if !ends {
		flags, method = flagEndHeaders, "POST"
	}
	p.frame(frameHeaders, flags, stream, p.fields(append([]string{":method", method, ":scheme", "http", ":path", "/", ":authority", "a"}, more...)...))
	if ev := p.last(); ev.Kind == Opened {
		return ev.Stream
	}
	return nil
}

func (p *peer) last() Event {
	if len(p.events) == 0 {
		return Event{}
	}
	return p.events[len(p.events)-1]
}

// came returns the frames that were sent since the last call, in words.
func (p *peer) came() string {
	p.t.Helper()
	var words []string
	for b := p.conn.Out(nil); len(b) > 0; {
		f, length := readHeader(b)
		f.payload = b[headerLen : headerLen+length]
		b = b[headerLen+length:]
		end := ""
		if f.has(flagEndStream) && (f.kind == frameData || f.kind == frameHeaders) {
			end = " end"
		}
		switch f.kind {
		case frameData:
			words = append(words, fmt.Sprintf("data %d %d%s", f.stream, len(f.payload), end))
		case frameHeaders:
			fields, err := p.dec.DecodeFull(f.payload)
			if err != nil {
				p.t.Fatalf("HEADERS: %v", err)
			}
			text := ""
			for _, f := range fields {
				text += f.Name + "=" + f.Value + ","
			}
			words = append(words, fmt.Sprintf("head %d %s%s", f.stream, text, end))
		case frameReset:
			words = append(words, fmt.Sprintf("reset %d %d", f.stream, binary.BigEndian.Uint32(f.payload)))
		case frameGoAway:
			words = append(words, fmt.Sprintf("goaway %d %d %s", binary.BigEndian.Uint32(f.payload), binary.BigEndian.Uint32(f.payload[4:]), f.payload[8:]))
		case frameWindow:
			words = append(words, fmt.Sprintf("window %d %d", f.stream, binary.BigEndian.Uint32(f.payload)))
		default:
			words = append(words, fmt.Sprintf("frame %d %x", f.kind, f.flags))
		}
	}
	return strings.Join(words, "; ")
}

func (p *peer) wantCame(want string) {
	p.t.Helper()
	if got := p.came(); got != want {
		p.t.Errorf("came %q, want %q", got, want)
	}
}

// wantCalm: the connection was ended as the client asks too much.
func (p *peer) wantCalm(what string, excess quota.Excess) {
	p.t.Helper()
	if f := p.conn.Failure(); f == nil || f.Code != EnhanceYourCalm || f.Excess != excess {
		p.t.Errorf("%s: failure %+v, want ENHANCE_YOUR_CALM for too much of %v", what, f, excess)
	}
}

func uint32s(n ...uint32) string {
	var b []byte
	for _, n := range n {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return string(b)
}
