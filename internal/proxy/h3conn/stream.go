package h3conn

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/proxy/http3"
)

// Stream is a request and its response, and a net.Conn of the octets of their contents.
type Stream struct {
	*quic.Stream
	conn *Conn

	// Owner is whoever serves the request. IsOverdue reports whether a wait that a deadline
	// has interrupted is to end, and Abandoned is called when the client has given the
	// request up. All are set in Config.Began.
	Owner     any
	IsOverdue func() bool
	Abandoned func()

	broke   atomic.Bool // the client broke a rule
	left    atomic.Bool // the client has given it up
	closing atomic.Bool // our half has ended, or is about to

	// Owned by who reads.
	in    *reader
	ended bool // the client's half has come to its end, and was complete
	whole bool

	// Owned by who writes.
	out []byte
}

// reader is what a stream is read with.
type reader struct {
	http3.Request
	at, to int
	raw    [4 << 10]byte // [at:to] is not fed yet
}

var readers = sync.Pool{New: func() any { return new(reader) }}

func newStream(c *Conn, stream *quic.Stream) *Stream {
	s := &Stream{Stream: stream, conn: c, in: readers.Get().(*reader)}
	s.in.Reset(c.config.MaxHead)
	s.in.at, s.in.to = 0, 0
	return s
}

// serve serves the request, and ends what has not ended then.
func (s *Stream) serve() {
	stop := context.AfterFunc(s.Context(), s.abandoned)
	s.conn.config.Handle(s)
	if s.closing.CompareAndSwap(false, true) {
		s.CancelWrite(quic.StreamErrorCode(http3.InternalError))
	}
	if !s.ended { // RFC 9114 §4.1: after a complete response
		s.CancelRead(quic.StreamErrorCode(http3.NoError))
	}
	stop()
	readers.Put(s.in)
	s.in = nil
	s.conn.leave(s)
}

// abandoned is called when our half of the stream has ended; if not by us, by the client.
func (s *Stream) abandoned() {
	if s.closing.Load() {
		return
	}
	s.left.Store(true)
	if s.conn.Context().Err() == nil {
		s.conn.config.Counts.Resets.Add(1)
	}
	s.Abandoned()
}

// IsGone reports whether the client has given the request up.
func (s *Stream) IsGone() bool {
	return s.left.Load() || !s.closing.Load() && s.Context().Err() != nil
}

// ReadHead reads the head, and behind that of a request that most likely has no content, the
// end of the stream: whether there is content is to be known when the request is passed on.
func (s *Stream) ReadHead() error {
	for !s.in.HeadDone() {
		if err := s.feedHead(); err != nil {
			return err
		}
	}
	if s.whole = s.in.Protocol != ""; s.in.TooLarge || s.whole || !s.isMaybeWhole() {
		return nil
	}
	_, err := s.Read(nil)
	if err == io.EOF {
		s.whole = len(s.in.Trailers) == 0
		return nil
	}
	return err
}

// feedHead takes some of the head.
func (s *Stream) feedHead() error {
	in := s.in
	n, _, broken := in.Feed(in.raw[in.at:in.to])
	in.at += n
	switch {
	case broken != nil:
		return s.broken(broken)
	case in.HeadDone():
		return nil
	}
	err := s.readRaw()
	if err == io.EOF {
		return s.end() // which it is too early for
	}
	return err
}

// isMaybeWhole reports whether the end of the stream is waited for before the request is passed
// on: there is no content by what the head says, or none that would mean anything (RFC 9110
// §9.3). A client that does have some of unknown length sends it at once.
func (s *Stream) isMaybeWhole() bool {
	if n := s.in.Declared(); n >= 0 {
		return n == 0
	}
	for _, method := range []string{"GET ", "HEAD ", "DELETE ", "OPTIONS ", "TRACE "} {
		if h := s.in.Head; len(h) > len(method) && string(h[:len(method)]) == method {
			return true
		}
	}
	return false
}

// Head returns the head in the form of HTTP/1.1, without the empty line, what an extended
// CONNECT asks for, and whether the request ends with its head.
func (s *Stream) Head() (head []byte, protocol string, whole bool) {
	return s.in.Head, s.in.Protocol, s.whole
}

// Scheme returns that of the target URI; empty: there is none.
func (s *Stream) Scheme() string { return s.in.Scheme }

// TooLarge says that the head was.
func (s *Stream) TooLarge() bool { return s.in.TooLarge }

// Ended reports whether the request was read to its end.
func (s *Stream) Ended() bool { return s.ended }

// Trailers returns the trailer fields, as field lines and an empty one, when Ended.
func (s *Stream) Trailers() []byte { return s.in.Trailers }

// broken ends the stream, or the connection, as the client broke a rule.
func (s *Stream) broken(why *http3.Error) error {
	if !s.broke.Swap(true) {
		s.conn.config.Counts.Broken.Add(1)
	}
	if why.Ends {
		s.closing.Store(true)
		s.conn.broken(why)
		return why
	}
	s.Reset(why.Code)
	return why
}

// readRaw reads some octets of the stream, of which none wait to be fed.
func (s *Stream) readRaw() error {
	in := s.in
	in.at, in.to = 0, 0
	n, err := s.readSome(in.raw[:])
	in.to = n
	return err
}

// readSome reads from the stream. At its end it says so once all was read.
func (s *Stream) readSome(b []byte) (int, error) {
	for {
		n, err := s.Stream.Read(b)
		if n > 0 || err == nil {
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || s.IsOverdue() {
			return 0, err
		}
		s.SetReadDeadline(time.Time{}) // it was meant for an earlier step
	}
}

// Read reads content to b, and reports the end of the stream as io.EOF. When as much has come
// as was declared, the last of it is not given out before the stream has ended there: neither
// less nor more of it is ever taken for the whole. Into no room, it waits for content or the
// end. An error may be a *http3.Error: the stream has ended for it.
func (s *Stream) Read(b []byte) (filled int, err error) {
	in := s.in
	for {
		switch {
		case s.ended && filled == 0:
			return 0, io.EOF
		case s.ended, filled > 0 && !in.Complete(), in.Left() > 0 && filled == len(b):
			return filled, nil
		case in.at < in.to:
			n, err := s.feed(b[filled:])
			if filled += n; err != nil {
				return filled, err
			}
			continue
		case in.Left() > 0: // at once to where it belongs
			n, err := s.readSome(b[filled:][:min(uint64(len(b)-filled), in.Left())])
			if n > 0 {
				in.Feed(b[filled:][:n])
				filled += n
				continue
			}
			return filled, s.endFor(err)
		}
		if err := s.readRaw(); err != nil {
			if err := s.endFor(err); err != nil {
				return filled, err
			}
		}
	}
}

// feed takes octets that were read, of which content goes to b.
func (s *Stream) feed(b []byte) (filled int, err error) {
	in := s.in
	to := in.to
	if !in.Complete() {
		to = min(to, in.at+max(len(b), 1)) // content is never longer than what it is read from
	}
	n, ev, broken := in.Feed(in.raw[in.at:to])
	in.at += n
	if broken != nil {
		return 0, s.broken(broken)
	}
	if ev == http3.Content {
		filled = copy(b, in.Content)
	}
	return filled, nil
}

// endFor takes the end of the stream, or returns why it is none.
func (s *Stream) endFor(err error) error {
	if err != io.EOF {
		return err
	}
	return s.end()
}

func (s *Stream) end() error {
	if broken := s.in.End(); broken != nil {
		return s.broken(broken)
	}
	s.ended = true
	return nil
}

// Interim sends the head of an interim response, or one that content follows on: a status line
// of HTTP/1.1 and field lines.
func (s *Stream) Interim(head []byte) error {
	s.out = http3.AppendHead(s.out[:0], head)
	return s.write(s.out)
}

// Send sends the head of the final response, if there is one, then content; with last, trailers
// and the end.
func (s *Stream) Send(head, content, trailers []byte, last bool) error {
	s.out = s.out[:0]
	if len(head) > 0 {
		s.out = http3.AppendHead(s.out, head)
	}
	if len(content) > 0 {
		s.out = append(http3.AppendData(s.out, len(content)), content...)
	}
	if last && len(trailers) > 0 {
		s.out = http3.AppendTrailers(s.out, trailers)
	}
	if err := s.write(s.out); err != nil || !last {
		return err
	}
	return s.CloseWrite()
}

// write sends frames, as the client allows for it.
func (s *Stream) write(b []byte) error {
	for len(b) > 0 {
		n, err := s.Stream.Write(b)
		b = b[n:]
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded) || s.IsOverdue():
			return err
		default:
			s.SetWriteDeadline(time.Time{}) // it was meant for an earlier step
		}
	}
	return nil
}

// Write sends content.
func (s *Stream) Write(b []byte) (int, error) {
	if err := s.Send(nil, b, nil, false); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite ends the response.
func (s *Stream) CloseWrite() error {
	s.closing.Store(true)
	return s.Stream.Close()
}

// StopReading asks for no more of the request, when its response is complete (RFC 9114 §4.1).
func (s *Stream) StopReading() { s.CancelRead(quic.StreamErrorCode(http3.NoError)) }

// Reset ends both halves of the stream at once.
func (s *Stream) Reset(code http3.ErrCode) {
	s.closing.Store(true)
	s.CancelWrite(quic.StreamErrorCode(code))
	s.CancelRead(quic.StreamErrorCode(code))
}

// Close ends the stream in both directions.
func (s *Stream) Close() error {
	s.Reset(http3.RequestCancelled)
	return nil
}

// LocalAddr is that of the connection.
func (s *Stream) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr is where the client is now: a connection of QUIC goes on where its client has moved
// to, as soon as it has proven that it is there (RFC 9000 §9).
func (s *Stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }
