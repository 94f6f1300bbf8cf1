package http2

import (
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/quota"

	"golang.org/x/net/http2/hpack"
)

// Each of these tests is a class of attack that was published against servers of HTTP/2. Each
// fails without its defence.

// CVE-2023-44487, Rapid Reset: requests that are reset at once cost the client nothing.
func TestRapidReset(t *testing.T) {
	p := newPeer(t, Limits{})
	for id := uint32(1); id < 4000 && p.conn.Failure() == nil; id += 2 {
		if s := p.request(id, true); s != nil {
			p.frame(frameReset, 0, id, uint32s(uint32(Cancel)))
			p.conn.Finish(s, p.now)
		}
	}
	p.wantCalm("2000 requests reset", quota.Resets)
}

// The slot of a request that was reset is free when the gateway is done with it, not before.
func TestResetFreesNoSlot(t *testing.T) {
	p := newPeer(t, Limits{Streams: 10})
	for id := uint32(1); id <= 19; id += 2 {
		p.request(id, true)
		p.frame(frameReset, 0, id, uint32s(uint32(Cancel)))
	}
	p.events = nil
	if p.request(21, true) != nil {
		t.Error("an eleventh request was begun while ten are under way")
	}
	p.wantCame("reset 21 7")
}

// An honest client that cancels now and then is not punished.
func TestHonestCancels(t *testing.T) {
	p := newPeer(t, Limits{})
	for id := uint32(1); id < 20_000; id += 2 {
		p.now += time.Millisecond
		s := p.request(id, true)
		if id%8 == 1 {
			p.frame(frameReset, 0, id, uint32s(uint32(Cancel)))
		} else {
			p.conn.SendHead(s, []byte("HTTP/1.1 204 No Content\r\n"), true)
		}
		p.conn.Finish(s, p.now)
		p.conn.Out(nil)
	}
	if f := p.conn.Failure(); f != nil {
		t.Errorf("failure %+v", f)
	}
}

// Who has the response and resets the rest of the request has given nothing up: clients end
// WebSockets so.
func TestResetsOfWhatIsAnswered(t *testing.T) {
	p := newPeer(t, Limits{})
	for id := uint32(1); id < 4000; id += 2 {
		s := p.request(id, false)
		p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\n"), true)
		p.frame(frameReset, 0, id, uint32s(uint32(Cancel)))
		p.conn.Finish(s, p.now)
		p.conn.Out(nil)
	}
	if f := p.conn.Failure(); f != nil {
		t.Errorf("failure %+v", f)
	}
}

// CVE-2025-8671, MadeYouReset: the client breaks a rule, so that the server resets.
func TestMadeYouReset(t *testing.T) {
	for name, breaks := range map[string]func(p *peer, id uint32){
		"WINDOW_UPDATE of 0":      func(p *peer, id uint32) { p.frame(frameWindow, 0, id, uint32s(0)) },
		"window too large":        func(p *peer, id uint32) { p.frame(frameWindow, 0, id, uint32s(maxWindow)) },
		"DATA behind the end":     func(p *peer, id uint32) { p.frame(frameData, 0, id, "x") },
		"HEADERS behind the end":  func(p *peer, id uint32) { p.frame(frameHeaders, flagEndHeaders, id, p.fields("a", "b")) },
		"PRIORITY of wrong size":  func(p *peer, id uint32) { p.frame(framePriority, 0, id, "") },
		"PRIORITY on itself":      func(p *peer, id uint32) { p.frame(framePriority, 0, id, uint32s(id)+"\x00") },
		"streams above the limit": func(p *peer, id uint32) {},
	} {
		p := newPeer(t, Limits{Streams: 5})
		for id := uint32(1); id < 4000 && p.conn.Failure() == nil; id += 2 {
			s := p.request(id, true)
			breaks(p, id)
			if s != nil && !strings.HasPrefix(name, "streams") {
				p.conn.Finish(s, p.now)
			}
			p.events = nil
		}
		want := quota.Broken
		if strings.HasPrefix(name, "streams") {
			want = quota.Refused
		}
		p.wantCalm(name, want)
	}
}

// CVE-2024-27316, CVE-2023-45288: a field block without an end.
func TestContinuationFlood(t *testing.T) {
	for name, piece := range map[string]string{"empty": "", "small": "\x00\x01a\x01b", "large": strings.Repeat("x", maxFrame)} {
		p := newPeer(t, Limits{})
		p.frame(frameHeaders, 0, 1, p.fields(":method", "GET"))
		sent := 0
		for ; sent < 1000 && p.conn.Failure() == nil; sent++ {
			p.frame(frameContinuation, 0, 1, piece)
		}
		want := quota.Continuation
		if name == "large" {
			want = quota.FieldBlock
		}
		p.wantCalm(name, want)
		if sent > maxContinuations+1 {
			t.Errorf("%s: %d CONTINUATION frames were read", name, sent)
		}
	}
}

// A field block that does not come on ends with its time.
func TestSlowFieldBlock(t *testing.T) {
	p := newPeer(t, Limits{})
	p.frame(frameHeaders, 0, 1, p.fields(":method", "GET"))
	p.now += 5 * time.Second
	p.frame(frameContinuation, 0, 1, "")
	if p.conn.Tick(p.now); p.conn.Failure() != nil {
		t.Fatal("ended too early")
	}
	p.now += 5 * time.Second
	p.conn.Tick(p.now)
	p.wantCalm("a field block of ten seconds", quota.Slow)
}

// HPACK bomb: few octets that stand for many, by the table.
func TestHPACKBomb(t *testing.T) {
	p := newPeer(t, Limits{})
	p.request(1, true, "a", strings.Repeat("x", 3900)) // into the table: 4096 octets of it
	p.events = nil
	p.block.Reset()
	p.enc.WriteField(hpack.HeaderField{Name: ":method", Value: "GET"})
	bomb := p.block.String() + strings.Repeat("\xbe", 900) // nine hundred times that field: 3.5 MB
	p.frame(frameHeaders, flagEndHeaders|flagEndStream, 3, bomb)
	s := p.last().Stream
	if s == nil || !s.TooLarge || len(s.Head) != 0 {
		t.Fatalf("got %+v, want a head that is too large", s)
	}
	if got := cap(p.conn.block.section.Lines()); got > 2*p.conn.limits.Head {
		t.Errorf("%d octets were decoded", got)
	}
	// The table is still in step.
	if s := p.request(5, true, "a", strings.Repeat("x", 3900)); s == nil || s.TooLarge || s.Malformed != "" {
		t.Errorf("the request after it: %+v", s)
	}
}

// The same with so many fields that decoding them is what the client is after: it ends with the
// connection, long before the block does.
func TestHPACKBombOfManyFields(t *testing.T) {
	p := newPeer(t, Limits{})
	p.request(1, true, "a", strings.Repeat("x", 3900))
	p.frame(frameHeaders, flagEndHeaders|flagEndStream, 3, strings.Repeat("\xbe", 10_000))
	p.wantCalm("ten thousand fields", quota.FieldBlock)
	if got, most := p.conn.block.fields, maxBlockFields+decodedAtOnce; got > most {
		t.Errorf("%d fields were decoded, want %d at most", got, most)
	}
}

// A connection that has given up its memory while it was idle takes requests as before.
func TestTrimmed(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, true)
	p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\n"), true)
	p.conn.Finish(s, p.now)
	p.conn.Out(nil)
	if !p.conn.Trim() {
		t.Fatal("it is not idle")
	}
	if s := p.request(3, true, "a", "b"); s == nil || s.Malformed != "" || !strings.Contains(string(s.Head), "a: b") {
		t.Errorf("got %+v", s)
	}
}

// Names and values that come in several pieces of what is decoded at once are whole.
func TestLongFieldsAreDecodedWhole(t *testing.T) {
	p := newPeer(t, Limits{})
	long := strings.Repeat("0123456789", 3*decodedAtOnce/10)
	if s := p.request(1, true, "a", long, "b", long); s == nil || strings.Count(string(s.Head), long) != 2 {
		t.Errorf("got %+v", s)
	}
}

// The 2019 set (CVE-2019-9511 to -9518): frames that carry nothing.
func TestFloodsOfEmptyFrames(t *testing.T) {
	excesses := map[string]quota.Excess{
		"PING": quota.Ping, "PING answers": quota.Ping, "PING answers not read": quota.Ping, "SETTINGS": quota.Settings, "SETTINGS answers": quota.Settings,
		"many settings": quota.Settings, "PRIORITY": quota.OtherFrames, "unknown frames": quota.OtherFrames, "WINDOW_UPDATE": quota.WindowUpdates,
		"empty DATA": quota.EmptyFrames, "padding only": quota.EmptyFrames, "resets of ended": quota.Late, "DATA for ours, reset": quota.Late,
	}
	for name, f := range map[string]func(p *peer){
		"PING":                  func(p *peer) { p.frame(framePing, 0, 0, "12345678") },
		"PING answers":          func(p *peer) { p.frame(framePing, flagAck, 0, "12345678") },
		"SETTINGS":              func(p *peer) { p.frame(frameSettings, 0, 0, "") },
		"SETTINGS answers":      func(p *peer) { p.frame(frameSettings, flagAck, 0, "") },
		"many settings":         func(p *peer) { p.frame(frameSettings, 0, 0, strings.Repeat("\x00\x63\x00\x00\x00\x01", 100)) },
		"PRIORITY":              func(p *peer) { p.frame(framePriority, 0, 1, uint32s(0)+"\x00") },
		"WINDOW_UPDATE":         func(p *peer) { p.frame(frameWindow, 0, 1, uint32s(1)) },
		"empty DATA":            func(p *peer) { p.frame(frameData, 0, 1, "") },
		"padding only":          func(p *peer) { p.frame(frameData, flagPadded, 1, "\x00") },
		"unknown frames":        func(p *peer) { p.frame(0x63, 0, 0, "") },
		"resets of ended":       func(p *peer) { p.frame(frameReset, 0, 3, uint32s(8)) },
		"DATA for ours, reset":  func(p *peer) { p.frame(frameData, 0, 5, "") },
		"PING answers not read": func(p *peer) { p.frame(framePing, 0, 0, "12345678") },
	} {
		p := newPeer(t, Limits{})
		p.request(1, false)
		ended := p.request(3, true)
		p.conn.SendHead(ended, []byte("HTTP/1.1 200 OK\r\n"), true)
		p.conn.Finish(ended, p.now)
		reset := p.request(5, false)
		p.conn.Reset(reset, InternalError)
		sent := 0
		for ; sent < 100_000 && p.conn.Failure() == nil; sent++ {
			f(p)
			if name != "PING answers not read" {
				p.conn.Out(nil)
			}
		}
		p.wantCalm(name, excesses[name])
		if sent > 2*controlBurst {
			t.Errorf("%s: %d frames were read", name, sent)
		}
	}
}

// What is earned does not make a flood possible that costs more than was earned.
func TestEarningsAreBounded(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, true)
	p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\n"), false)
	p.frame(frameWindow, 0, 1, uint32s(1<<30))
	p.frame(frameWindow, 0, 0, uint32s(1<<30))
	for range 10_000 {
		p.conn.SendData(s, make([]byte, maxFrame), false)
		p.conn.Out(nil)
	}
	sent := 0
	for ; sent < 100_000 && p.conn.Failure() == nil; sent++ {
		p.frame(framePing, 0, 0, "12345678")
		p.conn.Out(nil)
	}
	p.wantCalm("PING after much content", quota.Ping)
	if sent > controlMost+1 {
		t.Errorf("%d frames were read", sent)
	}
}

// A client that reads and says so after each frame is honest.
func TestHonestWindowUpdates(t *testing.T) {
	p := newPeer(t, Limits{})
	s := p.request(1, true)
	p.conn.SendHead(s, []byte("HTTP/1.1 200 OK\r\n"), false)
	for range 20_000 {
		if n := p.conn.SendData(s, make([]byte, 1000), false); n != 1000 {
			t.Fatalf("sent %d", n)
		}
		p.conn.Out(nil)
		p.frame(frameWindow, 0, 1, uint32s(1000))
		p.frame(frameWindow, 0, 0, uint32s(1000))
	}
	if f := p.conn.Failure(); f != nil {
		t.Errorf("failure %+v", f)
	}
}
