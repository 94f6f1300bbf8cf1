package http2

import (
	"strings"
	"testing"

	"pharos/internal/proxy/quota"
)

// A request whose trailers come before all of its content was sent is none (RFC 9113 §8.1.1).
func TestContentLengthAndTrailers(t *testing.T) {
	p := newPeer(t, Limits{})
	p.request(1, false, "content-length", "5")
	p.frame(frameData, 0, 1, "abc")
	p.frame(frameHeaders, flagEndHeaders|flagEndStream, 1, p.fields("x-sum", "1"))
	p.wantCame("reset 1 1")
}

// Answers to frames of a client that reads nothing do not gather without end, however much
// honest requests have earned it (CVE-2019-9512, CVE-2019-9515).
func TestUnreadAnswersAreBounded(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, true)
	p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\n"), false)
	p.frame(frameWindow, 0, 1, uint32s(1<<30))
	p.frame(frameWindow, 0, 0, uint32s(1<<30))
	for range 1000 {
		p.conn.SendData(s, make([]byte, maxFrame), false)
		p.conn.Out(nil)
	}
	most := 0
	for range controlMost {
		p.frame(framePing, 0, 0, "12345678")
		most = max(most, p.conn.Waiting())
	}
	p.wantCalm("PING without reading", quota.Unread)
	if most > maxOut+maxOut/10 {
		t.Errorf("%d octets wait to be sent, want %d at most", most, maxOut)
	}
}

// A field block is gathered up to the size of a head, in however few frames it comes
// (CVE-2023-45288).
func TestFieldBlockIsBounded(t *testing.T) {
	p := newPeer(t, Limits{})
	p.frame(frameHeaders, 0, 1, strings.Repeat("x", maxFrame))
	for range maxContinuations {
		p.frame(frameContinuation, 0, 1, strings.Repeat("x", maxFrame))
	}
	p.wantCalm("a large field block", quota.FieldBlock)
	if got, most := len(p.conn.block.octets), p.conn.limits.Head; got > most {
		t.Errorf("%d octets were gathered, want %d at most", got, most)
	}
}

// Each setting costs, not each frame of them (CVE-2019-9515).
func TestManySettings(t *testing.T) {
	p := newPeer(t, Limits{})
	const each = 1000
	for range controlBurst / each {
		p.frame(frameSettings, 0, 0, strings.Repeat("\x00\x63\x00\x00\x00\x01", each))
		p.conn.Out(nil)
	}
	p.wantCalm("1000 settings", quota.Settings)
}
