package http3

import (
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"

	"pharos/internal/proxy/quota"
	"pharos/internal/proxy/section"
)

// Request is the client's half of a request stream.
type Request struct {
	// Head is the request head in the form of HTTP/1.1: start line and field lines,
	// without the empty line. Protocol is what an extended CONNECT asks for (RFC 9220);
	// empty: it is none. Both are set at Head.
	Head     []byte
	Protocol string
	Scheme   string // of the target URI, which the form of HTTP/1.1 does not have; empty: a CONNECT
	// TooLarge says that the head is above what was asked for; then Head is empty, and
	// nothing more is read.
	TooLarge bool
	// Content is the octets at Content, a part of what Feed was given.
	Content []byte
	// Trailers are the trailer fields, as field lines and an empty one; set at Trailers.
	Trailers []byte

	most     int // octets of a head
	state    state
	frames   frames
	block    []byte
	section  section.Section
	declared int64 // Content-Length; -1: none
	got      int64
	empty    int // frames that carried nothing
	failure  *Error
}

type state uint8

const (
	inHead state = iota
	inContent
	inTrailers // of which only the rest may come
	ended
)

// Event is what Feed reports.
type Event uint8

// The events.
const (
	NeedMore Event = iota
	Head           // Request.Head and what belongs to it
	Content        // Request.Content
	Trailers       // Request.Trailers
)

// Reset makes r ready for the first octet of a stream, whose head has at most so many octets.
func (r *Request) Reset(most int) {
	*r = Request{Head: r.Head[:0], Trailers: r.Trailers[:0], block: r.block[:0], section: r.section, most: most, declared: -1}
}

// HeadDone reports whether the head has come.
func (r *Request) HeadDone() bool { return r.state != inHead }

// Declared returns the Content-Length; -1: there is none.
func (r *Request) Declared() int64 { return r.declared }

// Left returns how many octets of content come before the next frame.
func (r *Request) Left() uint64 {
	if r.state == inContent && r.frames.inPayload && r.frames.kind == frameData {
		return r.frames.left
	}
	return 0
}

// Complete reports whether as much content has come as the head has declared, so that only
// the end of the stream is to come.
func (r *Request) Complete() bool { return r.declared >= 0 && r.got == r.declared }

// Feed reads from b, which begins at the first octet that earlier calls did not consume, and
// reports the next event. With NeedMore all of b is consumed.
func (r *Request) Feed(b []byte) (n int, ev Event, err *Error) {
	for r.failure == nil {
		if !r.frames.inPayload {
			used, whole := r.frames.readHeader(b[n:])
			n += used
			if !whole {
				return n, NeedMore, nil
			}
			r.failure = r.begin()
			continue
		}
		take := int(min(uint64(len(b)-n), r.frames.left))
		piece := b[n : n+take]
		n += take
		r.frames.left -= uint64(take)
		r.frames.inPayload = r.frames.left > 0
		if ev = r.payload(piece); r.failure == nil && (ev != NeedMore || n == len(b)) {
			return n, ev, nil
		}
	}
	return n, NeedMore, r.failure
}

// begin takes the header of a frame (RFC 9114 §4.1, §7.1).
func (r *Request) begin() *Error {
	f := &r.frames
	switch {
	case f.kind == frameData && r.state == inContent:
		if f.left == 0 {
			return r.spend()
		}
		if r.declared >= 0 && (r.declared-r.got < 0 || f.left > uint64(r.declared-r.got)) {
			return &Error{Code: MessageError, Text: "there is more content than Content-Length says"}
		}
	case f.kind == frameHeaders && r.state == inHead:
		if f.left > uint64(r.most) {
			r.TooLarge = true
			f.left = 0 // nothing of it is read
		}
		f.inPayload = true
	case f.kind == frameHeaders && r.state == inContent:
		if f.left > section.MaxTrailers {
			return &Error{Code: ExcessiveLoad, Text: "the trailers are too large"}
		}
		r.state, r.block, f.inPayload = inTrailers, r.block[:0], true
	case f.kind <= framePriorityOfPush && isKnown(f.kind):
		return &Error{Code: FrameUnexpected, Text: fmt.Sprintf("a frame of type %#x where none may be", f.kind), Ends: true}
	default: // RFC 9114 §9: read over
		return r.spend()
	}
	return nil
}

// isKnown reports whether a type of frame means something, though not everywhere.
func isKnown(kind uint64) bool {
	switch kind {
	case frameData, frameHeaders, frameCancelPush, frameSettings, framePushPromise, frameGoAway, frameMaxPushID, framePriority, framePriorityOfPush:
		return true
	}
	return isOfHTTP2(kind)
}

// spend counts a frame that carries nothing.
func (r *Request) spend() *Error {
	if r.empty++; r.empty > maxEmpty+int(r.got/emptyPer) {
		return &Error{Code: ExcessiveLoad, Text: "too many frames that carry nothing", Ends: true, Excess: quota.EmptyFrames}
	}
	return nil
}

// payload takes octets of the frame at hand.
func (r *Request) payload(piece []byte) Event {
	switch r.frames.kind {
	case frameData:
		if len(piece) == 0 {
			return NeedMore
		}
		r.Content = piece
		r.got += int64(len(piece))
		return Content
	case frameHeaders:
		r.block = append(r.block, piece...)
		switch {
		case r.frames.inPayload:
			return NeedMore
		case r.state == inHead:
			r.state = inContent
			r.failure = r.readHead()
			return Head
		}
		r.failure = r.readTrailers()
		return Trailers
	}
	return NeedMore
}

func (r *Request) readHead() *Error {
	if r.TooLarge {
		return nil
	}
	r.section.Begin(r.most)
	if err := r.decode(); err != nil {
		return err
	}
	r.declared = r.section.Declared()
	r.Scheme = r.section.Scheme()
	r.Head, r.Protocol = r.section.AppendRequest(r.Head)
	if r.Protocol != "" {
		r.declared = -1
	}
	if text := r.section.Malformed(); text != "" {
		return &Error{Code: MessageError, Text: text}
	}
	r.TooLarge = r.section.TooLarge()
	return nil
}

func (r *Request) readTrailers() *Error {
	r.section.BeginTrailers()
	if err := r.decode(); err != nil {
		return err
	}
	switch {
	case r.section.Malformed() != "":
		return &Error{Code: MessageError, Text: "malformed trailer fields: " + r.section.Malformed()}
	case r.section.TooLarge():
		return &Error{Code: ExcessiveLoad, Text: "the trailers are too large"}
	}
	if r.Trailers = append(r.Trailers, r.section.Lines()...); len(r.Trailers) > 0 {
		r.Trailers = append(r.Trailers, "\r\n"...)
	}
	return nil
}

// decode decodes the block as far as it is looked at. A reference to the table that grows
// cannot be meant, as ours has no room (RFC 9204 §2.2.3).
func (r *Request) decode() *Error {
	next := qpack.NewDecoder().Decode(r.block)
	for goesOn := true; goesOn; {
		f, err := next()
		switch {
		case err == nil:
			goesOn = r.section.Add(f.Name, f.Value)
		case isEnd(err):
			return nil
		default:
			return &Error{Code: DecompressionFailed, Text: "a field section cannot be decoded: " + err.Error(), Ends: true}
		}
	}
	return nil
}

// End takes the end of the stream. Without an error the request is complete.
func (r *Request) End() *Error {
	switch {
	case r.failure != nil:
		return r.failure
	case r.frames.isOpen():
		r.failure = &Error{Code: FrameError, Text: "the stream ends within a frame", Ends: true} // RFC 9114 §7.1
	case r.state == inHead:
		r.failure = &Error{Code: RequestIncomplete, Text: "the stream ends before the head of its request"}
	case r.declared >= 0 && r.got != r.declared && r.Protocol == "":
		r.failure = &Error{Code: MessageError, Text: "Content-Length is not the length of the content"}
	default:
		r.state = ended
	}
	return r.failure
}

// frames finds frames in octets.
type frames struct {
	kind      uint64
	left      uint64 // octets of the payload that are to come
	inPayload bool

	header [16]byte // of the next frame, as far as it has come
	filled int
}

// readHeader reads the header of a frame, and reports whether it is whole.
func (f *frames) readHeader(b []byte) (n int, whole bool) {
	for _, octet := range b {
		f.header[f.filled] = octet
		f.filled++
		n++
		kind, used, err := quicvarint.Parse(f.header[:f.filled])
		if err != nil {
			continue
		}
		left, _, err := quicvarint.Parse(f.header[used:f.filled])
		if err != nil {
			continue
		}
		f.kind, f.left, f.inPayload, f.filled = kind, left, left > 0, 0
		return n, true
	}
	return n, false
}

// isOpen reports whether a frame has begun and is not complete.
func (f *frames) isOpen() bool { return f.inPayload || f.filled > 0 }

func isEnd(err error) bool { return errors.Is(err, io.EOF) }
