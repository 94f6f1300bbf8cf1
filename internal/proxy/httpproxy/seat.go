package httpproxy

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/http2"
)

// seat is where one request of a session is served, and after it others: a client whose
// wire and whose net.Conn are a stream.
type seat struct {
	client
	session *session
	work    chan struct{} // one for each request; closed by the session

	// Guarded by session.mu.
	stream      *http2.Stream // nil: the seat is free
	interrupted bool          // a deadline has passed: see SetDeadline
	wantsRoom   bool          // it waits for what is flushed

	readable, writable chan struct{} // hold one: something has changed

	// Owned by who reads the request content.
	trailers   []byte // what of them is not decoded
	contentEnd bool

	// Owned by who writes the response.
	headLen int // octets of the head that is not sent yet; 0: none is
}

func newSeat(s *session) *seat {
	c := s.client
	t := &seat{session: s, work: make(chan struct{}, 1), readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
	t.server, t.shard, t.lane = c.server, c.shard, uint32(c.server.nextID.Add(1)-1)
	t.peer, t.peerPort, t.peerAs, t.local, t.descriptor, t.socket = c.peer, c.peerPort, c.peerAs, c.local, -1, -1
	t.tls, t.altSvc = c.tls, c.altSvc
	t.conn, t.wire = t, t
	return t
}

// take gives a free seat a request; session.mu is held.
func (t *seat) take(stream *http2.Stream) {
	t.stream, stream.Owner = stream, t
	t.interrupted, t.wantsRoom, t.contentEnd, t.trailers, t.headLen = false, false, false, nil, 0
	t.left.Store(false)
	for _, ch := range []chan struct{}{t.readable, t.writable} {
		select {
		case <-ch:
		default:
		}
	}
}

func (t *seat) wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// changed lets those who wait for the stream look again; session.mu is held. When the
// client has reset it, nobody needs the origin's answer any more.
func (t *seat) changed() {
	t.wake(t.readable)
	t.wake(t.writable)
	if t.isOver() != nil {
		t.left.Store(true)
		if oc := t.origin.Load(); oc != nil {
			oc.SetDeadline(time.Unix(1, 0))
		}
	}
}

var (
	errReset   = errors.New("the stream was reset")
	errSession = errors.New("the connection has ended")
)

// isOver returns why nothing more can be read or sent; session.mu is held.
func (t *seat) isOver() error {
	switch {
	case t.session.isClosed || t.session.conn.Failure() != nil:
		return errSession
	case t.stream.Reset():
		return errReset
	}
	return nil
}

// version is that of the request.
func (t *seat) version(*exchange) string { return "2" }

// readHead has the request read that the stream began with.
func (t *seat) readHead(x *exchange) refusal {
	s := t.stream // its head does not change
	x.req.ResetStream(t.server.http, s.Whole)
	x.rewind()
	t.mustSwitch = s.Protocol != ""
	switch {
	case s.Malformed != "":
		return refusal{kind: "http_request_error", text: s.Malformed, close: true}
	case t.isGone():
		return gone("the client reset its request before it was begun")
	case s.TooLarge:
		return headTooLarge
	}
	if r := takeHead(x, s.Head, s.Protocol); r.isSet() {
		return r
	}
	return t.checkScheme(s.Scheme)
}

// takeHead has x.req read a head that came on a stream of its own. protocol is what the
// request asks to switch to; empty: to none.
func takeHead(x *exchange, head []byte, protocol string) refusal {
	const most = len("Sec-WebSocket-Key: ") + 24 + 2 + 2
	if len(head)+most > len(x.in) && (!x.growIn() || len(head)+most > len(x.in)) {
		return headTooLarge
	}
	b := append(x.in[:0], head...)
	if protocol != "" {
		// RFC 8441 §5: the client has no key; towards an origin of HTTP/1.1 it is ours.
		var key [16]byte
		rand.Read(key[:])
		b = base64.StdEncoding.AppendEncode(append(b, "Sec-WebSocket-Key: "...), key[:])
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	x.at, x.filled = len(b), len(b)
	_, ev, v := x.req.Feed(b)
	if v != nil {
		return violation(v)
	}
	if ev != http1.HeadDone {
		return refusal{status: 400, kind: "http_request_error", text: "the head of the request is not complete", close: true}
	}
	return refusal{}
}

// checkScheme is the refusal of a request whose :scheme is another one than that of its
// connection (RFC 9110 §7.4): who asks for https in the clear would take the answer for a
// secured one. A trusted proxy may have ended TLS for its client. A CONNECT has none.
func (c *client) checkScheme(scheme string) refusal {
	if scheme == "" || scheme == c.scheme() || c.peerAs.trusted {
		return refusal{}
	}
	return refusal{status: 421, kind: "http_request_denied", text: "the scheme of the target is not that of the connection"}
}

// next reports what has come of the content, then the trailers.
func (t *seat) next(x *exchange) (http1.Event, *http1.Violation) {
	if x.at == x.filled && !t.contentEnd && !x.req.Done() {
		t.session.mu.Lock()
		x.filled += t.session.conn.Take(t.stream, x.in[x.filled:])
		if x.at == x.filled && t.stream.Ended() {
			t.contentEnd, t.trailers = true, t.stream.Trailers
		}
		t.session.flush()
		t.session.mu.Unlock()
		if t.contentEnd {
			if v := endContent(x, t.trailers); v != nil {
				return http1.NeedMore, v
			}
		}
	}
	if t.contentEnd {
		n, ev, v := x.req.Feed(t.trailers)
		t.trailers = t.trailers[n:]
		return ev, v
	}
	n, ev, v := x.req.Feed(x.in[x.at:x.filled])
	x.at += n
	return ev, v
}

// endContent tells the parser that the content has come to its end, and whether there are
// trailers.
func endContent(x *exchange, trailers []byte) *http1.Violation {
	if len(trailers) > 0 {
		return x.req.CloseStream()
	}
	return x.req.Close()
}

func (t *seat) fill(x *exchange) error {
	n, err := t.Read(x.in[x.filled:])
	x.filled += n
	if err == io.EOF {
		return nil // next will say so
	}
	return err
}

func (t *seat) interim(x *exchange) error {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn.SendHead(t.stream, x.out, false)
	s.flush()
	return t.isOver()
}

func (t *seat) framing(x *exchange) http1.Framing { return streamFraming(x) }

// streamFraming is the framing of a response on a stream of its own, whose end ends it.
func streamFraming(x *exchange) http1.Framing {
	if f := x.resp.Framing(); f == http1.NoContent || f == http1.Length {
		return f
	}
	return http1.UntilClose
}

func (t *seat) endHead(b []byte, _ *exchange, _ http1.Framing, _ bool) []byte {
	if t.altSvc != nil {
		b = t.appendAltSvc(b)
	}
	t.headLen = len(b)
	return b
}

func (t *seat) send(x *exchange, b []byte, last bool) error {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	hasTrailers := last && len(x.trailers) > 0
	if n := t.headLen; n > 0 {
		t.headLen = 0
		whole := last && n == len(b) && !hasTrailers
		s.conn.SendHead(t.stream, b[:n], whole)
		if whole {
			s.flush()
			return t.isOver()
		}
		b = b[n:]
	}
	err := t.push(b, last && !hasTrailers)
	if err == nil && hasTrailers {
		s.conn.SendTrailers(t.stream, x.trailers)
		s.flush()
	}
	return err
}

// push sends content, as the client allows for it. session.mu is held, but not while it
// waits.
func (t *seat) push(b []byte, end bool) error {
	s := t.session
	for {
		if err := t.isOver(); err != nil {
			return err
		}
		n := s.conn.SendData(t.stream, b, end)
		if b = b[n:]; len(b) == 0 {
			s.flush()
			return nil
		}
		t.wantsRoom = true
		s.flush()
		if err := t.await(t.writable); err != nil {
			return err
		}
	}
}

// await waits for a change; session.mu is held, but not while it waits. It sees through
// interruptions that were meant for an earlier step: who looks for what is overdue may be late.
func (t *seat) await(ch chan struct{}) error {
	if t.interrupted && t.isOverdue() {
		return os.ErrDeadlineExceeded
	}
	t.interrupted = false
	t.session.mu.Unlock()
	<-ch
	t.session.mu.Lock()
	return nil
}

// appendJoined appends the head of the answer to an extended CONNECT: 200, and what proves the
// switch to an HTTP/1.1 client stays here (RFC 8441 §5).
func appendJoined(b []byte, x *exchange) []byte {
	b = http1.AppendStatusLine(b, 200, nil)
	for _, f := range x.resp.Fields() {
		if x.resp.Forwardable(f) && f.ID != http1.FieldSecWebSocketAccept {
			b = http1.AppendField(b, x.resp.Name(f), x.resp.Value(f))
		}
	}
	return b
}

func (t *seat) join(x *exchange, first []byte) error {
	x.out = appendJoined(x.out[:0], x)
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn.SendHead(t.stream, x.out, false)
	return t.push(first, false)
}

// leave resets the stream without an error, when its response is complete (RFC 9113 §8.1).
func (t *seat) leave() bool {
	t.reset(http2.NoError)
	return false
}

func (t *seat) cut() { t.reset(http2.InternalError) }

func (t *seat) reset(code http2.ErrCode) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.stream != nil {
		s.conn.Reset(t.stream, code)
		s.flush()
		t.wake(t.readable)
		t.wake(t.writable)
	}
}

func (t *seat) isGone() bool {
	t.session.mu.Lock()
	defer t.session.mu.Unlock()
	return t.isOver() != nil
}

// Read reads content octets.
func (t *seat) Read(b []byte) (int, error) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := t.isOver(); err != nil {
			return 0, err
		}
		if n := s.conn.Take(t.stream, b); n > 0 {
			s.flush()
			return n, nil
		}
		if t.stream.Ended() {
			return 0, io.EOF
		}
		if err := t.await(t.readable); err != nil {
			return 0, err
		}
	}
}

// Write sends content octets.
func (t *seat) Write(b []byte) (int, error) {
	t.session.mu.Lock()
	defer t.session.mu.Unlock()
	if err := t.push(b, false); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite ends the response.
func (t *seat) CloseWrite() error {
	t.session.mu.Lock()
	defer t.session.mu.Unlock()
	return t.push(nil, true)
}

// Close ends the stream in both directions.
func (t *seat) Close() error {
	t.reset(http2.Cancel)
	return nil
}

// SetDeadline interrupts those who wait when at is in the past, and else no longer does.
func (t *seat) SetDeadline(at time.Time) error {
	t.session.mu.Lock()
	defer t.session.mu.Unlock()
	if t.interrupted = !at.IsZero(); t.interrupted {
		t.wake(t.readable)
		t.wake(t.writable)
	}
	return nil
}

func (t *seat) SetReadDeadline(at time.Time) error  { return t.SetDeadline(at) }
func (t *seat) SetWriteDeadline(at time.Time) error { return t.SetDeadline(at) }
func (t *seat) LocalAddr() net.Addr                 { return t.session.client.conn.LocalAddr() }
func (t *seat) RemoteAddr() net.Addr                { return t.session.client.conn.RemoteAddr() }
