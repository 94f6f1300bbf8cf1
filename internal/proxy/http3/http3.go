// Package http3 is the server's side of HTTP/3: the octets of streams in, events out, frames
// to send as octets.
//
// It owns frames, field compression (without a table that grows), what a stream may hold and
// in which order, and the limits that keep a hostile client from costing more than it spends.
// It does not own QUIC, which has streams, their flow control and their number, nor
// goroutines, nor what a request means: a request head is handed on in the form of HTTP/1.1
// (package section) and is held to the rules of package http1 by whoever reads it.
//
//	frame:           type (varint) length (varint) payload (length)
//	request stream:  HEADERS, DATA ..., HEADERS (trailers), end
//	one-way stream:  type (varint), then frames or instructions
//
//	Request.Feed(HEADERS ...) -> Head: Request.Head "GET /a HTTP/1.1 CRLF host: x CRLF ..."
//	Request.Feed(DATA ...)    -> Content
//	AppendHead, AppendData, AppendTrailers -> what the response stream carries
//
// Entry points: Request.Reset, Request.Feed, Request.End; Uni.Feed, Uni.End; AppendOpening.
//
// Concurrency: a Request and a Uni are owned by one goroutine at a time.
//
// Priorities are read over, and nothing is pushed.
//
// Sources: RFC 9114 (HTTP/3), RFC 9204 (QPACK), RFC 9220 (WebSocket), RFC 9218 §7.2.
package http3

import (
	"github.com/quic-go/quic-go/quicvarint"

	"pharos/internal/proxy/quota"
	"pharos/internal/proxy/section"
)

// ErrCode is an error code of a stream or a connection (RFC 9114 §8.1, RFC 9204 §6).
type ErrCode uint64

// The codes that are sent.
const (
	NoError              ErrCode = 0x100
	InternalError        ErrCode = 0x102
	StreamCreationError  ErrCode = 0x103
	ClosedCriticalStream ErrCode = 0x104
	FrameUnexpected      ErrCode = 0x105
	FrameError           ErrCode = 0x106
	ExcessiveLoad        ErrCode = 0x107
	IDError              ErrCode = 0x108
	SettingsError        ErrCode = 0x109
	MissingSettings      ErrCode = 0x10a
	RequestRejected      ErrCode = 0x10b
	RequestCancelled     ErrCode = 0x10c
	RequestIncomplete    ErrCode = 0x10d
	MessageError         ErrCode = 0x10e
	DecompressionFailed  ErrCode = 0x200
	EncoderStreamError   ErrCode = 0x201
	DecoderStreamError   ErrCode = 0x202
)

// Error is why a stream, or the whole connection, cannot go on.
type Error struct {
	Code ErrCode
	Text string
	Ends bool // the connection, not only the stream

	Excess quota.Excess // the bound that the client has passed
}

func (e *Error) Error() string { return e.Text }

// Limits that are not configurable, and why.
const (
	// maxSettings is the longest SETTINGS frame in octets: a few dozen settings. At it:
	// H3_EXCESSIVE_LOAD.
	maxSettings = 4096
	// maxEmpty is how many frames that carry nothing a stream may have, DATA without
	// octets and unknown ones; one is earned back with each emptyPer octets of content. At
	// it: H3_EXCESSIVE_LOAD, as CVE-2019-9518 of HTTP/2.
	maxEmpty = 100
	emptyPer = 512
	// maxControl is how many frames the control stream may have, and controlPer how many
	// more with each request: a browser sends one for each whose priority changes. At it:
	// H3_EXCESSIVE_LOAD.
	maxControl = 1000
	controlPer = 4
)

// Types of frames (RFC 9114 §7.2, RFC 9218 §7.2).
const (
	frameData           = 0x0
	frameHeaders        = 0x1
	frameCancelPush     = 0x3
	frameSettings       = 0x4
	framePushPromise    = 0x5
	frameGoAway         = 0x7
	frameMaxPushID      = 0xd
	framePriority       = 0xf0700
	framePriorityOfPush = 0xf0701
)

// isOfHTTP2 reports whether a frame type, or a setting, is one that HTTP/2 has and HTTP/3 must not (RFC
// 9114 §7.2.8, §7.2.4.1).
func isOfHTTP2(frame uint64) bool { return frame == 2 || frame == 6 || frame == 8 || frame == 9 }

// Settings (RFC 9114 §7.2.4.1, RFC 9220 §5).
const (
	settingMaxFieldSection = 0x6
	settingConnectProtocol = 0x8
)

// Types of one-way streams (RFC 9114 §6.2, RFC 9204 §4.2).
const (
	streamControl = 0x0
	streamPush    = 0x1
	streamEncoder = 0x2
	streamDecoder = 0x3
)

// MaxStreamID is what GOAWAY names when no request is given up yet (RFC 9114 §5.2): the
// largest number of a stream that a client opens.
const MaxStreamID = 1<<62 - 4

// AppendOpening appends how our control stream begins: its type and SETTINGS. most is the
// longest head that is taken. The table of fields stays empty, so that no request waits for
// another (RFC 9204 §5).
func AppendOpening(b []byte, most int) []byte {
	var payload [32]byte
	p := quicvarint.Append(payload[:0], settingMaxFieldSection)
	p = quicvarint.Append(p, uint64(most))
	p = quicvarint.Append(p, settingConnectProtocol)
	p = quicvarint.Append(p, 1)
	b = quicvarint.Append(b, streamControl)
	return append(appendFrame(b, frameSettings, len(p)), p...)
}

// AppendGoAway appends a GOAWAY frame: requests from a stream on are not answered.
func AppendGoAway(b []byte, stream uint64) []byte {
	b = appendFrame(b, frameGoAway, quicvarint.Len(stream))
	return quicvarint.Append(b, stream)
}

// AppendData appends what stands before so many octets of content.
func AppendData(b []byte, octets int) []byte { return appendFrame(b, frameData, octets) }

func appendFrame(b []byte, kind uint64, length int) []byte {
	return quicvarint.Append(quicvarint.Append(b, kind), uint64(length))
}

// AppendHead appends the head of a response: a status line of HTTP/1.1 and field lines.
func AppendHead(b, head []byte) []byte {
	return appendSection(b, section.StatusOf(head), section.AfterLine(head))
}

// AppendTrailers appends trailer fields, which are field lines.
func AppendTrailers(b, lines []byte) []byte { return appendSection(b, 0, lines) }
