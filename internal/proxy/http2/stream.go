package http2

import (
	"time"

	"pharos/internal/proxy/quota"
	"pharos/internal/proxy/section"
)

// Stream is one request and its response. It is valid from Opened until Finish.
type Stream struct {
	// Head is the request head in the form of HTTP/1.1: start line and field lines,
	// without the empty line. Valid until Finish.
	Head []byte
	// Whole says that the request ends with its head.
	Whole bool
	// Protocol is what an extended CONNECT asks for (RFC 8441); empty: it is none.
	Protocol string
	// Scheme is that of the target URI, which the form of HTTP/1.1 does not have; empty: a
	// CONNECT that is not extended has none.
	Scheme string
	// Malformed is why the request is none (RFC 9113 §8.1.1): the stream was reset, Head
	// is empty. TooLarge is the same for a head above Limits.Head, whose stream is not.
	Malformed string
	TooLarge  bool
	// Trailers are the trailer fields of the request, as field lines and an empty one;
	// known when Ended, and empty when there are none.
	Trailers []byte
	// Owner is the driver's.
	Owner any

	id         uint32
	in         []byte // content that has come; [inAt:] was not taken
	inAt       int
	declared   int64 // Content-Length; -1: none
	got        int64
	window     int // what the client may still send
	credit     int // what it was not yet given back
	sendWindow int // what we may still send
	ended      bool
	sentEnd    bool
	isReset    bool
	code       ErrCode // of the reset
}

func (s *Stream) isOver() bool { return s.isReset || s.ended && s.sentEnd }

// end notes a reset.
func (s *Stream) end(code ErrCode) {
	if !s.isReset {
		s.isReset, s.code = true, code
	}
}

// Reset reports whether the stream was reset, by whomever.
func (s *Stream) Reset() bool { return s.isReset }

// Ended reports whether all content has come and was taken.
func (s *Stream) Ended() bool { return s.ended && s.inAt == len(s.in) }

// Content returns how many octets of content have come and were not taken, and whether they
// are the last.
func (s *Stream) Content() (octets int, last bool) { return len(s.in) - s.inAt, s.ended }

// ID returns the number of the stream.
func (s *Stream) ID() uint32 { return s.id }

// open makes a stream.
func (c *Conn) open(id uint32) *Stream {
	var s *Stream
	if n := len(c.free); n > 0 {
		s, c.free = c.free[n-1], c.free[:n-1]
	} else {
		s = new(Stream)
	}
	*s = Stream{
		Head: s.Head[:0], Trailers: s.Trailers[:0], in: s.in[:0],
		id: id, declared: -1, window: c.limits.StreamWindow, sendWindow: c.peerWindow,
	}
	c.streams[id] = s
	c.widest = max(c.widest, len(c.streams))
	return s
}

// Finish ends a stream that all is done for, and gives it back. A request that was not read
// to its end, or not answered to its end, is reset.
func (c *Conn) Finish(s *Stream, now time.Duration) {
	c.now = now
	late := false // the end of the request is still to come, in a frame of its own
	switch {
	case s.isReset || c.failure != nil:
	case !s.sentEnd:
		c.Reset(s, InternalError)
	case !s.ended && s.got == s.declared:
		late = true
	case !s.ended:
		c.Reset(s, NoError) // RFC 9113 §8.1: after a complete response
	}
	if s.sentEnd && !s.isReset {
		c.resets.Earn(1)
	}
	c.giveBack(len(s.in) - s.inAt) // nobody takes it any more
	delete(c.streams, s.id)
	if len(c.streams) == 0 {
		c.quiet = now
	}
	c.remember(s.id, late || s.isReset && s.code != peerReset)
	if len(c.free) < freeKept {
		if cap(s.in) > maxFrame {
			s.in = nil
		}
		s.Owner = nil
		c.free = append(c.free, s)
	}
}

// peerReset marks streams that the client has reset.
const peerReset ErrCode = 1 << 31

func (c *Conn) remember(id uint32, ours bool) {
	if len(c.closed) < closedKept {
		c.closed = append(c.closed, closedStream{id, ours})
		return
	}
	c.closed[c.closedAt] = closedStream{id, ours}
	c.closedAt = (c.closedAt + 1) % closedKept
}

// recall returns what is known of a stream that is over.
func (c *Conn) recall(id uint32) (known, ours bool) {
	for i := range c.closed {
		if c.closed[i].id == id {
			return true, c.closed[i].ours
		}
	}
	return false, false
}

// Reset ends a stream at once (RFC 9113 §5.4.2).
func (c *Conn) Reset(s *Stream, code ErrCode) {
	if s.isReset || c.failure != nil {
		return
	}
	s.end(code)
	c.out = appendReset(c.out, s.id, code)
}

// breakStream ends a stream as the client has broken a rule, which it may not do too often
// (CVE-2025-8671). One that is idle cannot be reset: the connection ends.
func (c *Conn) breakStream(id uint32, code ErrCode, text string) Event {
	if c.isIdle(id) {
		return c.fail(code, text)
	}
	c.counters.Broken++
	if !c.resets.Spend(c.now, 1) {
		return c.calm(quota.Broken, "too many streams that break the rules")
	}
	s := c.streams[id]
	if s == nil || s.isReset {
		c.out = appendReset(c.out, id, code)
		return Event{}
	}
	c.Reset(s, code)
	return Event{Changed, s}
}

// readReset takes the client's reset (RFC 9113 §6.4).
func (c *Conn) readReset(f *frame) Event {
	switch {
	case len(f.payload) != 4:
		return c.fail(FrameSizeError, "RST_STREAM of a wrong length")
	case c.isIdle(f.stream):
		return c.fail(ProtocolError, "RST_STREAM for an idle stream")
	}
	s := c.streams[f.stream]
	if s == nil || s.isOver() {
		if !c.control.Spend(c.now, 1) {
			return c.calm(quota.Late, "too many resets of streams that are over")
		}
		return Event{}
	}
	if !s.sentEnd { // else it has its response, and spares us the rest of its request
		c.counters.Resets++
		if !c.resets.Spend(c.now, 1) { // CVE-2023-44487
			return c.calm(quota.Resets, "too many streams are reset")
		}
	}
	s.end(peerReset)
	return Event{Changed, s}
}

// readData takes request content (RFC 9113 §6.1).
func (c *Conn) readData(f *frame) Event {
	if f.stream == 0 || c.isIdle(f.stream) {
		return c.fail(ProtocolError, "DATA on no stream, or an idle one")
	}
	content, ok := f.unpad()
	if !ok {
		return c.fail(ProtocolError, "padding longer than its frame")
	}
	size := len(f.payload)
	if c.window -= size; c.window < 0 {
		return c.fail(FlowControlError, "more content than the window of the connection allows")
	}
	if len(content) > 0 {
		c.control.Earn(controlPer)
	} else if !f.has(flagEndStream) && !c.control.Spend(c.now, 1) {
		return c.calm(quota.EmptyFrames, "too many empty DATA frames")
	}
	s := c.streams[f.stream]
	if s == nil || s.isReset || s.ended {
		c.giveBack(size)
		return c.lateData(f.stream, s)
	}
	if s.window -= size; s.window < 0 {
		c.giveBack(size)
		return c.breakStream(s.id, FlowControlError, "more content than the window of the stream allows")
	}
	s.got += int64(len(content))
	s.ended = f.has(flagEndStream)
	if s.declared >= 0 && (s.got > s.declared || s.ended && s.got < s.declared) {
		// RFC 9113 §8.1.1.
		c.giveBack(size)
		return c.breakStream(s.id, ProtocolError, "Content-Length is not the length of the content")
	}
	s.add(content)
	c.giveBack(size - len(content))
	s.credit += size - len(content)
	return Event{Changed, s}
}

// lateData says what DATA means on a stream that takes none.
func (c *Conn) lateData(id uint32, s *Stream) Event {
	ours := s != nil && s.isReset && s.code != peerReset
	if s == nil {
		_, ours = c.recall(id)
	}
	if ours {
		// RFC 9113 §5.4.2: it may have been sent before our reset was known.
		if !c.control.Spend(c.now, 1) {
			return c.calm(quota.Late, "too much content for streams that were reset")
		}
		return Event{}
	}
	return c.breakStream(id, StreamClosed, "DATA on a stream that has ended")
}

// add keeps content until it is taken.
func (s *Stream) add(content []byte) {
	if s.inAt > 0 && len(s.in)+len(content) > cap(s.in) {
		s.in = s.in[:copy(s.in, s.in[s.inAt:])]
		s.inAt = 0
	}
	s.in = append(s.in, content...)
}

// Take moves content that has come to b, and lets the client send as much again.
func (c *Conn) Take(s *Stream, b []byte) int {
	n := copy(b, s.in[s.inAt:])
	if s.inAt += n; s.inAt == len(s.in) {
		s.in, s.inAt = s.in[:0], 0
	}
	c.giveBack(n)
	if s.credit += n; !s.ended && !s.isReset && s.credit >= c.limits.StreamWindow/2 {
		c.out = appendWindow(c.out, s.id, s.credit)
		s.window += s.credit
		s.credit = 0
	}
	return n
}

// giveBack lets the client send n octets again, on whichever stream.
func (c *Conn) giveBack(n int) {
	if c.credit += n; c.credit >= c.limits.Window/2 && c.failure == nil {
		c.out = appendWindow(c.out, 0, c.credit)
		c.window += c.credit
		c.credit = 0
	}
}

// readHeaders takes the first frame of a field block (RFC 9113 §6.2).
func (c *Conn) readHeaders(f *frame) Event {
	if f.stream == 0 || f.stream%2 == 0 {
		return c.fail(ProtocolError, "HEADERS on no stream of a client")
	}
	b, ok := f.unpad()
	if !ok {
		return c.fail(ProtocolError, "padding longer than its frame")
	}
	selfish := false
	if f.has(flagPriority) {
		if len(b) < 5 {
			return c.fail(FrameSizeError, "HEADERS without the priority that it announces")
		}
		selfish = dependsOnItself(f.stream, b)
		b = b[5:]
	}
	if f.stream <= c.last && c.streams[f.stream] == nil {
		known, ours := c.recall(f.stream)
		switch {
		case !known:
			return c.fail(ProtocolError, "a new stream with a number below that of another one")
		case !ours:
			return c.fail(StreamClosed, "HEADERS on a stream that has ended")
		}
	}
	c.block.begin(f.stream, f.has(flagEndStream), selfish)
	return c.addBlock(b, f.has(flagEndHeaders))
}

func (c *Conn) readContinuation(f *frame) Event {
	if c.block.frames++; c.block.frames > maxContinuations {
		return c.calm(quota.Continuation, "too many CONTINUATION frames")
	}
	return c.addBlock(f.payload, f.has(flagEndHeaders))
}

// addBlock gathers a field block until it is whole.
func (c *Conn) addBlock(b []byte, whole bool) Event {
	k := &c.block
	if len(k.octets)+len(b) > c.limits.Head {
		return c.calm(quota.FieldBlock, "a field block is too large")
	}
	if !whole {
		k.octets = append(k.octets, b...)
		return Event{}
	}
	if len(k.octets) > 0 {
		k.octets = append(k.octets, b...)
		b = k.octets
	}
	k.open = false
	id, s := k.stream, c.streams[k.stream]
	isNew := id > c.last
	k.decode(c.fields, b, !isNew)
	switch {
	case k.broken:
		return c.fail(CompressionError, "a field block cannot be decoded")
	case k.isBomb():
		return c.calm(quota.FieldBlock, "a field block of too many fields")
	}
	c.control.Earn(controlPer)
	switch {
	case isNew:
		return c.openFor(id)
	case s == nil || s.isReset && s.code != peerReset:
		return Event{} // for a stream that we have reset
	case s.ended && s.sentEnd:
		return c.fail(StreamClosed, "HEADERS on a stream that has ended") // RFC 9113 §5.1, closed
	case s.isReset || s.ended:
		return c.breakStream(id, StreamClosed, "HEADERS on a stream that has ended")
	case !k.endStream:
		return c.breakStream(id, ProtocolError, "trailer fields that do not end the stream")
	case k.section.Malformed() != "" || k.section.TooLarge():
		return c.breakStream(id, ProtocolError, "malformed trailer fields")
	case s.declared >= 0 && s.got < s.declared:
		return c.breakStream(id, ProtocolError, "Content-Length is not the length of the content")
	}
	if s.Trailers = append(s.Trailers, k.section.Lines()...); len(s.Trailers) > 0 {
		s.Trailers = append(s.Trailers, "\r\n"...)
	}
	s.ended = true
	return Event{Changed, s}
}

// openFor opens a stream for the field block that was decoded.
func (c *Conn) openFor(id uint32) Event {
	k := &c.block
	c.last = id
	if id > c.lastServed {
		return Event{} // RFC 9113 §6.8: the client will send it to another connection
	}
	if len(c.streams) >= c.limits.Streams {
		c.counters.Refused++
		c.remember(id, true)
		if !c.resets.Spend(c.now, 1) {
			return c.calm(quota.Refused, "too many streams above SETTINGS_MAX_CONCURRENT_STREAMS")
		}
		c.out = appendReset(c.out, id, RefusedStream)
		return Event{}
	}
	s := c.open(id)
	c.counters.Opened++
	s.ended, s.Whole = k.endStream, k.endStream
	k.finishRequest(s)
	if k.selfish {
		s.Malformed = "the stream depends on itself"
	}
	if s.Malformed != "" {
		s.Head = s.Head[:0]
		if ev := c.breakStream(id, ProtocolError, s.Malformed); ev.Kind == Failed {
			delete(c.streams, id)
			return ev
		}
	}
	return Event{Opened, s}
}

// SendHead sends the head of a response: a status line of HTTP/1.1 and field lines. end: it
// has no content.
func (c *Conn) SendHead(s *Stream, text []byte, end bool) {
	if s.isReset || s.sentEnd || c.failure != nil {
		return
	}
	status := section.StatusOf(text)
	s.sentEnd = end
	c.sendBlock(s.id, end, func(b []byte) []byte {
		return appendFields(appendStatus(b, status), section.AfterLine(text))
	})
}

// SendTrailers sends trailer fields, as field lines, and ends the response.
func (c *Conn) SendTrailers(s *Stream, lines []byte) {
	if s.isReset || s.sentEnd || c.failure != nil {
		return
	}
	s.sentEnd = true
	c.sendBlock(s.id, true, func(b []byte) []byte { return appendFields(b, lines) })
}

// sendBlock sends a field block in as many frames as it takes.
func (c *Conn) sendBlock(id uint32, end bool, encode func([]byte) []byte) {
	at := len(c.out)
	flags := uint8(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	c.out = encode(appendHeader(c.out, 0, frameHeaders, flags, id))
	size := len(c.out) - at - headerLen
	if size <= maxFrame {
		putLength(c.out[at:], size)
		return
	}
	rest := append([]byte(nil), c.out[at+headerLen+maxFrame:]...)
	c.out = c.out[:at+headerLen+maxFrame]
	putLength(c.out[at:], maxFrame)
	c.out[at+4] &^= flagEndHeaders
	for len(rest) > 0 {
		n := min(len(rest), maxFrame)
		flags = 0
		if n == len(rest) {
			flags = flagEndHeaders
		}
		c.out = append(appendHeader(c.out, n, frameContinuation, flags, id), rest[:n]...)
		rest = rest[n:]
	}
}

func putLength(b []byte, n int) {
	b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n)
}

// SendData sends content, as much as may be sent now, and returns how much that was. end:
// the response ends with b.
func (c *Conn) SendData(s *Stream, b []byte, end bool) (n int) {
	if s.isReset || s.sentEnd || c.failure != nil {
		return 0
	}
	for len(b) > n {
		size := min(len(b)-n, maxFrame, s.sendWindow, c.sendWindow)
		if size <= 0 || len(c.out) >= outRoom {
			return n
		}
		flags := uint8(0)
		if end && n+size == len(b) {
			flags, s.sentEnd = flagEndStream, true
		}
		c.out = append(appendHeader(c.out, size, frameData, flags, s.id), b[n:n+size]...)
		s.sendWindow -= size
		c.sendWindow -= size
		n += size
		c.control.Earn(controlPer + float64(size)/controlOctets)
	}
	if end && !s.sentEnd {
		s.sentEnd = true
		c.out = appendHeader(c.out, 0, frameData, flagEndStream, s.id)
	}
	return n
}

// Out returns the frames that wait to be sent, and takes spare for the next ones.
func (c *Conn) Out(spare []byte) []byte {
	b := c.out
	c.out = spare[:0]
	return b
}

// Waiting returns how many octets Out has.
func (c *Conn) Waiting() int { return len(c.out) }
