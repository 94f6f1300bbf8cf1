package http3

import (
	"github.com/quic-go/quic-go/quicvarint"

	"pharos/internal/proxy/quota"
)

// Peer is what a client has opened of its one-way streams. The driver has a lock for it.
type Peer struct {
	Requests int // so far, for which it may say as much more
	opened   [streamDecoder + 1]bool
}

// Uni is a one-way stream of the client: its control stream, an instruction stream of its
// field compression, or one that means nothing to us.
type Uni struct {
	kind     uint64
	known    bool
	header   [8]byte
	filled   int
	frames   frames
	settled  bool // SETTINGS has begun
	settings []byte
	control  int // frames
	pushes   uint64
	inNumber bool // of an instruction
	failure  *Error
}

// Feed reads b, which follows what earlier calls were given. p has the client's other streams.
// With more false, nothing that comes on the stream means anything: it is not to be read on.
func (u *Uni) Feed(b []byte, p *Peer) (more bool, err *Error) {
	for len(b) > 0 && u.failure == nil {
		if !u.known {
			u.header[u.filled] = b[0]
			u.filled++
			b = b[1:]
			kind, _, err := quicvarint.Parse(u.header[:u.filled])
			if err == nil {
				u.kind, u.known = kind, true
				u.failure = u.open(p)
			}
			continue
		}
		switch u.kind {
		case streamControl:
			b = u.feedControl(b, p)
		case streamEncoder:
			u.failure = feedEncoder(b)
			b = nil
		case streamDecoder:
			u.feedDecoder(b)
			b = nil
		default:
			return false, nil
		}
	}
	return !u.known || u.kind <= streamDecoder, u.failure
}

// open takes the type of the stream (RFC 9114 §6.2, RFC 9204 §4.2).
func (u *Uni) open(p *Peer) *Error {
	switch {
	case u.kind == streamPush:
		return &Error{Code: StreamCreationError, Text: "a client that pushes", Ends: true}
	case u.kind > streamDecoder:
		return nil
	case p.opened[u.kind]:
		return &Error{Code: StreamCreationError, Text: "a second stream of a type of which there is one", Ends: true}
	}
	p.opened[u.kind] = true
	return nil
}

// End takes the end of the stream, or its reset. Some must not end before the connection.
func (u *Uni) End() *Error {
	if u.known && u.kind <= streamDecoder && u.failure == nil {
		return &Error{Code: ClosedCriticalStream, Text: "a stream ended that the connection cannot be without", Ends: true}
	}
	return u.failure
}

// feedControl reads the control stream (RFC 9114 §6.2.1), and returns what it has not read.
func (u *Uni) feedControl(b []byte, p *Peer) []byte {
	f := &u.frames
	if !f.inPayload {
		n, whole := f.readHeader(b)
		if whole {
			u.failure = u.beginControl(p)
		}
		return b[n:]
	}
	take := int(min(uint64(len(b)), f.left))
	f.left -= uint64(take)
	f.inPayload = f.left > 0
	if f.kind == frameSettings || f.kind == frameMaxPushID {
		u.settings = append(u.settings, b[:take]...)
	}
	if !f.inPayload {
		u.endControl()
	}
	return b[take:]
}

func (u *Uni) beginControl(p *Peer) *Error {
	f := &u.frames
	first := !u.settled
	u.settled = true
	u.settings = u.settings[:0]
	u.control++
	switch {
	case first && f.kind != frameSettings:
		return &Error{Code: MissingSettings, Text: "the control stream does not begin with SETTINGS", Ends: true}
	case !first && f.kind == frameSettings:
		return &Error{Code: FrameUnexpected, Text: "SETTINGS a second time", Ends: true}
	case f.kind == frameSettings && f.left > maxSettings:
		return &Error{Code: ExcessiveLoad, Text: "SETTINGS are too large", Ends: true, Excess: quota.Settings}
	case f.kind == frameData, f.kind == frameHeaders, f.kind == framePushPromise, isOfHTTP2(f.kind):
		return &Error{Code: FrameUnexpected, Text: "a frame on the control stream that may not be there", Ends: true}
	case f.kind == frameCancelPush, f.kind == framePriorityOfPush:
		return &Error{Code: IDError, Text: "a push is named that there is not", Ends: true} // RFC 9114 §7.2.3, RFC 9218 §7.2
	case f.kind == frameMaxPushID && f.left > 8:
		return &Error{Code: FrameError, Text: "MAX_PUSH_ID of a wrong length", Ends: true}
	case u.control > maxControl+controlPer*p.Requests:
		return &Error{Code: ExcessiveLoad, Text: "too many frames on the control stream", Ends: true, Excess: quota.OtherFrames}
	}
	if f.left == 0 {
		u.endControl()
	}
	return u.failure
}

// endControl takes a frame that has come.
func (u *Uni) endControl() {
	switch u.frames.kind {
	case frameSettings:
		u.failure = checkSettings(u.settings)
	case frameMaxPushID:
		most, n, err := quicvarint.Parse(u.settings)
		switch {
		case err != nil || n != len(u.settings):
			u.failure = &Error{Code: FrameError, Text: "MAX_PUSH_ID of a wrong length", Ends: true}
		case most < u.pushes:
			u.failure = &Error{Code: IDError, Text: "MAX_PUSH_ID becomes less", Ends: true}
		}
		u.pushes = most
	}
}

// checkSettings reads SETTINGS (RFC 9114 §7.2.4). None of what a client sets matters to us: we
// use no table of fields, and heads that are longer than it likes it may refuse.
func checkSettings(b []byte) *Error {
	seen := map[uint64]bool{}
	for len(b) > 0 {
		id, n, err := quicvarint.Parse(b)
		if err != nil {
			return &Error{Code: FrameError, Text: "SETTINGS end within a setting", Ends: true}
		}
		value, m, err := quicvarint.Parse(b[n:])
		if err != nil {
			return &Error{Code: FrameError, Text: "SETTINGS end within a setting", Ends: true}
		}
		b = b[n+m:]
		switch {
		case seen[id]:
			return &Error{Code: SettingsError, Text: "a setting twice", Ends: true}
		case id >= 2 && id <= 5:
			return &Error{Code: SettingsError, Text: "a setting of HTTP/2", Ends: true}
		case id == settingConnectProtocol && value > 1:
			return &Error{Code: SettingsError, Text: "a setting that is neither on nor off", Ends: true}
		}
		seen[id] = true
	}
	return nil
}

// feedEncoder reads instructions for the table of fields, which has no room: it may be told so,
// and nothing else (RFC 9204 §3.2.2, §4.3.1).
func feedEncoder(b []byte) *Error {
	const setCapacityZero = 0x20
	for _, octet := range b {
		if octet != setCapacityZero {
			return &Error{Code: EncoderStreamError, Text: "an instruction for a table that has no room", Ends: true}
		}
	}
	return nil
}

// feedDecoder reads instructions about what we have sent, which refers to no table: a stream
// may be given up (RFC 9204 §4.4.2), and nothing else said.
func (u *Uni) feedDecoder(b []byte) {
	const cancellation, kind, number = 0x40, 0xc0, 0x3f
	for _, octet := range b {
		switch {
		case u.inNumber:
			u.inNumber = octet&0x80 != 0
		case octet&kind != cancellation:
			u.failure = &Error{Code: DecoderStreamError, Text: "an instruction about a table that is not used", Ends: true}
			return
		default:
			u.inNumber = octet&number == number
		}
	}
}
