package http2

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2/hpack"

	"pharos/internal/proxy/quota"
	"pharos/internal/proxy/section"
)

// Kind is what an Event says.
type Kind uint8

const (
	// NeedMore: the octets that are there are no whole frame.
	NeedMore Kind = iota
	// Nothing: a frame was read that needs nobody's attention.
	Nothing
	// Opened: Stream has a request. Finish must follow, when all is done for it.
	Opened
	// Changed: Stream has more content, has ended, was reset or may send more.
	Changed
	// Widened: any stream may send more.
	Widened
	// Failed: the connection is at its end (Failure says why) when Out was sent.
	Failed
)

func (k Kind) String() string {
	return [...]string{"NeedMore", "Nothing", "Opened", "Changed", "Widened", "Failed"}[k]
}

// Event is what a frame has led to.
type Event struct {
	Kind   Kind
	Stream *Stream // of Opened and Changed
}

// Failure is why a connection ends.
type Failure struct {
	Code   ErrCode
	Text   string
	Excess quota.Excess // the bound that the client has passed
}

// Counters counts what clients do; see Conn.Counters.
type Counters struct {
	Opened  uint64 // streams with a request
	Resets  uint64 // streams reset by the client before their response was complete
	Broken  uint64 // streams reset by us as the client broke a rule
	Refused uint64 // streams refused at Limits.Streams
}

// Conn is the server's side of one connection. Make it with New.
type Conn struct {
	// Constant after New.
	limits Limits

	counters Counters
	now      time.Duration // as of the last Feed or Tick

	// Reading.
	begun      bool          // the preface has come
	settled    bool          // the first SETTINGS frame has come
	partSince  time.Duration // since when a frame or a field block is not complete; 0: none is
	quiet      time.Duration // since when there is no stream
	heard      time.Duration // when an octet came last
	asked      time.Duration // when a sign of life was asked for; 0: it was not
	fields     *hpack.Decoder
	block      block
	last       uint32 // highest stream of the client
	streams    map[uint32]*Stream
	widest     int // streams at once, since Trim: a map does not shrink
	free       []*Stream
	closed     []closedStream // a ring of closedKept, as far as it was needed
	closedAt   int
	window     int // what the client may still send
	credit     int // what it was not yet given back
	control    quota.Budget
	resets     quota.Budget
	failure    *Failure
	leaving    bool   // GOAWAY was sent
	lastServed uint32 // what comes above is not served; all is until leaving

	// Sending.
	out        []byte
	sendWindow int // what we may still send
	peerWindow int // of a new stream
	peerFrame  int
}

// closedStream is a stream that is over.
type closedStream struct {
	id   uint32
	ours bool // we have reset it: what comes for it was sent before it was known
}

// New returns a connection that expects the preface, with our SETTINGS in Out.
func New(l Limits, now time.Duration) *Conn {
	l = l.withDefaults()
	c := &Conn{
		now: now, heard: now, quiet: now, limits: l, streams: map[uint32]*Stream{}, lastServed: maxWindow,
		control: quota.New(now, controlBurst, controlMost, controlRate),
		resets:  quota.New(now, float64(l.Resets), float64(l.Resets), float64(l.Resets)/10),
		window:  l.Window, sendWindow: firstWindow, peerWindow: firstWindow, peerFrame: maxFrame,
	}
	c.fields = hpack.NewDecoder(4096, c.block.add)
	c.fields.SetMaxStringLength(maxHeadOctets)
	c.block.most = l.Head
	b := appendHeader(nil, 4*6, frameSettings, 0, 0)
	b = appendSetting(b, settingStreams, uint32(l.Streams))
	b = appendSetting(b, settingWindow, uint32(l.StreamWindow))
	b = appendSetting(b, settingFieldsSize, uint32(l.Head))
	b = appendSetting(b, settingConnectType, 1)
	if l.Window > firstWindow {
		b = appendWindow(b, 0, l.Window-firstWindow)
	}
	c.out = b
	return c
}

// Feed reads from b, which begins at the first octet that earlier calls did not consume,
// and returns what the next frame has led to; n octets of b are consumed. A frame may be
// 16393 octets long: b must have room for it. After Failed there is nothing more to read.
func (c *Conn) Feed(b []byte, now time.Duration) (n int, ev Event) {
	c.now = now
	if c.failure != nil {
		return 0, Event{Kind: Failed}
	}
	if len(b) > 0 {
		c.heard, c.asked = now, 0
	}
	if !c.begun {
		return c.readPreface(b)
	}
	if len(b) < headerLen {
		c.notePart(len(b) > 0)
		return 0, Event{}
	}
	f, length := readHeader(b)
	if ev := c.checkOrder(&f, length); ev.Kind == Failed {
		return 0, ev
	}
	if len(b) < headerLen+length {
		c.notePart(true)
		return 0, Event{}
	}
	f.payload = b[headerLen : headerLen+length]
	ev = c.read(&f)
	c.notePart(false)
	if ev.Kind == NeedMore {
		ev.Kind = Nothing
	}
	if len(c.out) > maxOut && ev.Kind != Failed {
		ev = c.calm(quota.Unread, "too much waits to be sent that the client does not read")
	}
	return headerLen + length, ev
}

func (c *Conn) readPreface(b []byte) (int, Event) {
	n := min(len(b), len(Preface))
	if string(b[:n]) != Preface[:n] {
		return 0, c.fail(ProtocolError, "this is not HTTP/2")
	}
	if n < len(Preface) {
		c.notePart(true)
		return 0, Event{}
	}
	c.begun = true
	c.notePart(false)
	return n, Event{Kind: Nothing}
}

// notePart notes whether something is there that is not complete.
func (c *Conn) notePart(is bool) {
	if is = is || c.block.open; !is {
		c.partSince = 0
	} else if c.partSince == 0 {
		c.partSince = max(c.now, 1)
	}
}

// checkOrder holds the rules about which frame may come now, which its header tells.
func (c *Conn) checkOrder(f *frame, length int) Event {
	switch {
	case length > maxFrame:
		return c.fail(FrameSizeError, "a frame is longer than SETTINGS_MAX_FRAME_SIZE")
	case !c.settled && (f.kind != frameSettings || f.has(flagAck)):
		// RFC 9113 §3.4: the first frame is SETTINGS.
		return c.fail(ProtocolError, "the first frame is not SETTINGS")
	case c.block.open && (f.kind != frameContinuation || f.stream != c.block.stream):
		// RFC 9113 §6.10.
		return c.fail(ProtocolError, "a field block is interrupted by another frame")
	case !c.block.open && f.kind == frameContinuation:
		return c.fail(ProtocolError, "CONTINUATION without a field block")
	}
	return Event{}
}

// read is where frames part.
func (c *Conn) read(f *frame) Event {
	switch f.kind {
	case frameData:
		return c.readData(f)
	case frameHeaders:
		return c.readHeaders(f)
	case frameContinuation:
		return c.readContinuation(f)
	case frameReset:
		return c.readReset(f)
	case frameWindow:
		return c.readWindow(f)
	case framePush:
		return c.fail(ProtocolError, "PUSH_PROMISE from a client")
	case frameGoAway:
		if f.stream != 0 || len(f.payload) < 8 {
			return c.fail(ProtocolError, "a malformed GOAWAY")
		}
		return Event{} // it opens no more streams, and closes when it has its answers
	}
	if !c.control.Spend(c.now, 1) {
		return c.calm(excessOf(f.kind), "too many frames that carry nothing")
	}
	switch f.kind {
	case frameSettings:
		return c.readSettings(f)
	case framePing:
		return c.readPing(f)
	case framePriority:
		return c.readPriority(f)
	}
	return Event{} // RFC 9113 §4.1: unknown types are ignored
}

// excessOf returns of what there are too many when there are too many frames of a kind.
func excessOf(kind byte) quota.Excess {
	switch kind {
	case frameSettings:
		return quota.Settings
	case framePing:
		return quota.Ping
	}
	return quota.OtherFrames
}

// calm ends the connection of a client that passes a bound.
func (c *Conn) calm(e quota.Excess, text string) Event {
	isFirst := c.failure == nil
	ev := c.fail(EnhanceYourCalm, text)
	if isFirst {
		c.failure.Excess = e
	}
	return ev
}

// fail ends the connection (RFC 9113 §5.4.1).
func (c *Conn) fail(code ErrCode, text string) Event {
	if c.failure == nil {
		c.failure = &Failure{Code: code, Text: text}
		c.out = appendGoAway(c.out, min(c.last, c.lastServed), code, text)
		for _, s := range c.streams {
			s.end(code)
		}
	}
	return Event{Kind: Failed}
}

// Failure returns why the connection ends; nil: it does not.
func (c *Conn) Failure() *Failure { return c.failure }

// readSettings takes the client's settings (RFC 9113 §6.5).
func (c *Conn) readSettings(f *frame) Event {
	b := f.payload
	switch {
	case f.stream != 0:
		return c.fail(ProtocolError, "SETTINGS on a stream")
	case f.has(flagAck) && len(b) != 0, len(b)%6 != 0:
		return c.fail(FrameSizeError, "SETTINGS of a wrong length")
	case f.has(flagAck):
		return Event{}
	case !c.control.Spend(c.now, float64(len(b)/6)):
		return c.calm(quota.Settings, "too many settings")
	}
	c.settled = true
	for ; len(b) > 0; b = b[6:] {
		value := binary.BigEndian.Uint32(b[2:])
		switch binary.BigEndian.Uint16(b) {
		case settingPush:
			if value > 1 {
				return c.fail(ProtocolError, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
			}
		case settingWindow:
			if value > maxWindow {
				return c.fail(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE is too large")
			}
			if ev := c.shiftWindows(int(value) - c.peerWindow); ev.Kind == Failed {
				return ev
			}
			c.peerWindow = int(value)
		case settingFrame:
			if value < maxFrame || value > 1<<24-1 {
				return c.fail(ProtocolError, "SETTINGS_MAX_FRAME_SIZE is out of its range")
			}
			c.peerFrame = maxFrame // longer ones would hold up the other streams
		}
	}
	c.out = appendHeader(c.out, 0, frameSettings, flagAck, 0)
	return Event{Kind: Widened}
}

// shiftWindows changes what may be sent on each stream (RFC 9113 §6.9.2).
func (c *Conn) shiftWindows(by int) Event {
	for _, s := range c.streams {
		if s.sendWindow += by; s.sendWindow > maxWindow {
			return c.fail(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE makes a window too large")
		}
	}
	return Event{}
}

func (c *Conn) readPing(f *frame) Event {
	switch {
	case f.stream != 0:
		return c.fail(ProtocolError, "PING on a stream")
	case len(f.payload) != 8:
		return c.fail(FrameSizeError, "PING of a wrong length")
	case !f.has(flagAck):
		c.out = append(appendHeader(c.out, 8, framePing, flagAck, 0), f.payload...)
	}
	return Event{}
}

// readPriority reads a priority over, but for its form (RFC 9113 §6.3).
func (c *Conn) readPriority(f *frame) Event {
	switch {
	case f.stream == 0:
		return c.fail(ProtocolError, "PRIORITY on no stream")
	case len(f.payload) != 5:
		return c.breakStream(f.stream, FrameSizeError, "PRIORITY of a wrong length")
	case dependsOnItself(f.stream, f.payload):
		return c.breakStream(f.stream, ProtocolError, "a stream that depends on itself")
	}
	return Event{}
}

// dependsOnItself: RFC 7540 §5.3.1 forbids it, and who asks for priorities means that one.
func dependsOnItself(stream uint32, b []byte) bool {
	return binary.BigEndian.Uint32(b)&(1<<31-1) == stream
}

// readWindow lets us send more (RFC 9113 §6.9).
func (c *Conn) readWindow(f *frame) Event {
	if len(f.payload) != 4 {
		return c.fail(FrameSizeError, "WINDOW_UPDATE of a wrong length")
	}
	if !c.control.Spend(c.now, 1) {
		return c.calm(quota.WindowUpdates, "too many WINDOW_UPDATE frames")
	}
	n := int(binary.BigEndian.Uint32(f.payload) & (1<<31 - 1))
	if f.stream == 0 {
		if n == 0 {
			return c.fail(ProtocolError, "WINDOW_UPDATE of 0")
		}
		if c.sendWindow += n; c.sendWindow > maxWindow {
			return c.fail(FlowControlError, "WINDOW_UPDATE makes the window too large")
		}
		return Event{Kind: Widened}
	}
	s := c.streams[f.stream]
	switch {
	case c.isIdle(f.stream):
		return c.fail(ProtocolError, "WINDOW_UPDATE for an idle stream")
	case s == nil || s.isOver():
		return Event{} // it was sent before the end was known
	case n == 0:
		return c.breakStream(f.stream, ProtocolError, "WINDOW_UPDATE of 0")
	}
	if s.sendWindow += n; s.sendWindow > maxWindow {
		return c.breakStream(f.stream, FlowControlError, "WINDOW_UPDATE makes the window too large")
	}
	return Event{Changed, s}
}

// isIdle reports whether a stream was never opened. Those with even numbers are ours, and
// we open none.
func (c *Conn) isIdle(stream uint32) bool { return stream > c.last || stream%2 == 0 }

// Tick is to be called when the time that it returned last has come: it asks for a sign of
// life, or ends the connection. now and what is returned are on one clock.
func (c *Conn) Tick(now time.Duration) (next time.Duration) {
	c.now = now
	l := &c.limits
	switch {
	case c.failure != nil:
		return now
	case len(c.streams) == 0 && now >= c.quiet+l.Idle:
		c.fail(NoError, "")
		return now
	case c.partSince > 0 && now >= c.partSince+l.HeadTime:
		c.calm(quota.Slow, "a frame or a field block did not come in time")
		return now
	case c.asked > 0 && now >= c.asked+l.Answer:
		c.fail(NoError, "the client gives no sign of life")
		return now
	case c.asked == 0 && len(c.streams) > 0 && now >= c.heard+l.Silence:
		c.asked = max(now, 1)
		c.out = append(appendHeader(c.out, 8, framePing, 0, 0), "pharos\x00\x01"...)
	}
	switch {
	case len(c.streams) == 0:
		next = c.quiet + l.Idle
	case c.asked > 0:
		next = c.asked + l.Answer
	default:
		next = c.heard + l.Silence
	}
	if c.partSince > 0 {
		next = min(next, c.partSince+l.HeadTime)
	}
	return max(next, now+time.Second)
}

// GoAway tells the client to open no more streams (RFC 9113 §6.8). At first, for those that
// are on their way are still served; with final they are not.
func (c *Conn) GoAway(final bool) {
	if c.failure != nil || c.leaving && !final || c.lastServed != maxWindow {
		return
	}
	c.leaving = true
	if final {
		c.lastServed = c.last
	}
	c.out = appendGoAway(c.out, c.lastServed, NoError, "")
}

// Close ends the connection: nobody wants it any more.
func (c *Conn) Close() { c.fail(NoError, "") }

// IsIdle reports whether there is no stream, and nothing half read.
func (c *Conn) IsIdle() bool {
	return c.settled && c.partSince == 0 && len(c.streams) == 0 && c.failure == nil
}

// anyField is a field of the static table, which changes nothing in a decoder.
var anyField = []byte{indexed | statusName}

// Trim gives up memory that an idle connection does not need, and reports whether it is one, on
// which nothing waits to be sent.
func (c *Conn) Trim() bool {
	if !c.IsIdle() || len(c.out) > 0 {
		return false
	}
	c.out, c.free = nil, nil
	c.block.octets, c.block.section = nil, section.Section{}
	// The decoder holds on to the octets that it read last, which are a driver's buffer.
	c.fields.SetEmitEnabled(false)
	c.fields.Write(anyField)
	c.fields.Close()
	if c.widest > trimFrom {
		c.streams, c.widest = map[uint32]*Stream{}, 0
	}
	return true
}

// Active returns how many streams are not finished.
func (c *Conn) Active() int { return len(c.streams) }

// Streams yields them.
func (c *Conn) Streams(yield func(*Stream) bool) {
	for _, s := range c.streams {
		if !yield(s) {
			return
		}
	}
}

// Counters returns what was counted since the last call.
func (c *Conn) Counters() Counters {
	n := c.counters
	c.counters = Counters{}
	return n
}
