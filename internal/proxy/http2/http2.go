// Package http2 is the server's side of an HTTP/2 connection: octets in, events out,
// frames to send gathered in a buffer.
//
// It owns frames, field compression, the life of streams, flow control both ways and the
// limits that keep a hostile client from costing more than it spends. It does not own what a
// field section may hold (package section), sockets, goroutines, clocks, nor what a request
// means: a request head is handed on in the form of HTTP/1.1 and is held to the rules of package http1 by whoever reads it; here
// is only refused what that form could not carry faithfully, and what RFC 9113 has of its
// own.
//
//	frame:  length (24) type (8) flags (8) R (1) stream (31) payload (length)
//	        0           3        4         5                 9
//
//	Feed(HEADERS ...) -> Opened: Stream.Head "GET /a HTTP/1.1 CRLF Host: x CRLF ..."
//	Feed(DATA ...)    -> Changed: Stream.Take, Stream.Ended
//	SendHead, SendData, SendTrailers, Reset -> Out
//
// Entry points: New, Conn.Feed, the Send functions, Conn.Finish, Conn.Tick.
//
// Concurrency: a Conn and its Streams are owned by one goroutine at a time; the driver
// (package httpproxy) has a lock for it.
//
// Priorities are read over: RFC 9113 §5.3.2 has deprecated them. Nothing is pushed.
//
// Sources: RFC 9113 (HTTP/2), RFC 7541 (HPACK), RFC 8441 (WebSocket).
package http2

import "time"

// Preface is what a client sends first (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// ErrCode is an error code (RFC 9113 §7).
type ErrCode uint32

// The codes that are sent or looked at.
const (
	NoError          ErrCode = 0x0
	ProtocolError    ErrCode = 0x1
	InternalError    ErrCode = 0x2
	FlowControlError ErrCode = 0x3
	StreamClosed     ErrCode = 0x5
	FrameSizeError   ErrCode = 0x6
	RefusedStream    ErrCode = 0x7
	Cancel           ErrCode = 0x8
	CompressionError ErrCode = 0x9
	EnhanceYourCalm  ErrCode = 0xb
)

// Limits bounds what one connection may cost. The zero value of a member means its default.
type Limits struct {
	// Streams is how many requests may be under way at once, in number. Default 128, as
	// nginx's. A stream counts until the gateway is done with its request, even when the
	// client has reset it (CVE-2023-44487). At it: REFUSED_STREAM.
	Streams int
	// Head is the most octets of a request head in the form of HTTP/1.1, and of a field
	// block as it is sent. Default 41 KiB, as HTTP/1.1 has it. Above it the request is
	// answered with 431; a block that is larger ends the connection.
	Head int
	// Resets is how many requests of a burst may end by a reset: of the client, or of the
	// gateway since the client broke the rules (CVE-2025-8671). A tenth of it comes back
	// each second, and one with each request that is answered. Default 200: a browser
	// that leaves a page cancels what is under way. At it: ENHANCE_YOUR_CALM.
	Resets int
	// StreamWindow and Window are how many octets of content may wait for the gateway, of
	// one request and of the whole connection. Defaults 64 KiB and 256 KiB. Above them:
	// FLOW_CONTROL_ERROR.
	StreamWindow, Window int
	// Silence is after how long without an octet from a client that has requests under
	// way it is asked for a sign of life. Default 30 s.
	Silence time.Duration
	// Answer is how long it may take to answer that. Default 15 s. At it: closed.
	Answer time.Duration
	// Idle is how long the connection may be without a request. Default 60 s. At it: closed.
	Idle time.Duration
	// HeadTime is how long one field block, or one frame, may take to come. Default 10 s,
	// absolute, against slowloris. At it: closed.
	HeadTime time.Duration
}

// Limits that are not configurable, and why.
const (
	// maxFrame is the longest payload that is taken: the least that RFC 9113 §6.5.2
	// allows to ask for, as longer ones gain nothing and hold up the others.
	maxFrame = 16384
	// maxContinuations is how many CONTINUATION frames a field block may have: at 16 KiB
	// each more than Head needs. At it: ENHANCE_YOUR_CALM (CVE-2024-27316).
	maxContinuations = 8
	// maxBlockFields is how many fields of a block are decoded: ten times those that a head
	// may have (http1.MaxFields). An octet can stand for a field of 4 KiB, and a block of 41 KiB
	// for a millisecond of work, for which all others wait. At it: ENHANCE_YOUR_CALM, as the
	// table is not in step any more.
	maxBlockFields = 1000
	// decodedAtOnce is how many octets of a block are decoded before its fields are counted:
	// it takes a few hundredths of a millisecond, whatever they are.
	decodedAtOnce = 1024
	// controlBurst is how many frames that carry nothing may come in a burst, and
	// controlRate how many a second come back: PING, SETTINGS, PRIORITY, WINDOW_UPDATE,
	// empty DATA and unknown ones (CVE-2019-9511 to -9518). Each frame that carries
	// something, either way, allows for controlPer more, and each controlOctets of content
	// that we send for one: readers in small pieces widen their windows as often. It all
	// adds up to controlMost, as they may be late.
	controlBurst  = 1000
	controlRate   = 100
	controlPer    = 4
	controlOctets = 512
	controlMost   = 20_000
	// maxOut is how many octets of frames wait to be sent, content excepted: answers to
	// PING and SETTINGS of a client that does not read. At it: ENHANCE_YOUR_CALM.
	maxOut = 256 << 10
	// outRoom is from how many octets on content waits until some were sent: enough for
	// one large write.
	outRoom = 64 << 10
	// closedKept is how many streams are remembered after their end, to tell a late frame
	// from a wrong one. As many as may well be in flight.
	closedKept = 256
	// trimFrom is how many streams at once make the map of an idle connection worth to be made anew.
	trimFrom = 8
	// freeKept is how many streams are kept for reuse.
	freeKept = 32

	maxWindow     = 1<<31 - 1
	firstWindow   = 65535 // RFC 9113 §6.9.2
	maxHeadOctets = 63 << 10
)

func (l Limits) withDefaults() Limits {
	orInt := func(n *int, otherwise, most int) {
		if *n <= 0 {
			*n = otherwise
		}
		*n = min(*n, most)
	}
	orTime := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	orInt(&l.Streams, 128, 1<<20)
	orInt(&l.Head, 41<<10, maxHeadOctets)
	orInt(&l.Resets, 200, 1<<30)
	orInt(&l.StreamWindow, 64<<10, maxWindow)
	orInt(&l.Window, 256<<10, maxWindow)
	l.Window = max(l.Window, firstWindow) // it cannot be made smaller
	orTime(&l.Silence, 30*time.Second)
	orTime(&l.Answer, 15*time.Second)
	orTime(&l.Idle, 60*time.Second)
	orTime(&l.HeadTime, 10*time.Second)
	return l
}
