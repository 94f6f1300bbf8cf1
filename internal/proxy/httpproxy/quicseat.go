package httpproxy

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"time"

	"pharos/internal/proxy/h3conn"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/http3"
)

// quicSeat is where one request of a quicSession is served: a client whose wire and whose
// net.Conn are a stream.
type quicSeat struct {
	client
	stream *h3conn.Stream

	// Owned by who reads the request.
	trailers   []byte // what of them is not decoded
	contentEnd bool
	violated   *http3.Error // what its content broke

	// Owned by who writes the response.
	headLen int // octets of the head that is not sent yet; 0: none is
}

func newQUICSeat(q *quicSession, stream *h3conn.Stream) *quicSeat {
	c := q.client
	t := &quicSeat{stream: stream}
	t.server, t.shard, t.lane = c.server, c.shard, uint32(c.server.nextID.Add(1)-1)
	t.peer, t.peerPort, t.peerAs, t.local, t.descriptor, t.socket = c.peer, c.peerPort, c.peerAs, c.local, -1, -1
	t.tls, t.altSvc = c.tls, c.altSvc
	t.conn, t.wire = stream, t
	stream.Owner, stream.IsOverdue, stream.Abandoned = t, t.isOverdue, t.abandoned
	if at, ok := stream.RemoteAddr().(*net.UDPAddr); ok { // the client may have moved
		t.peerPort = at.AddrPort().Port()
		if a := at.AddrPort().Addr().Unmap().WithZone(""); a != t.peer {
			t.peer = a
			t.peerAs = t.spellPeer()
		}
	}
	return t
}

// run carries the request. A panic ends here: it is a bug, but one request's bug must not end
// all others.
func (t *quicSeat) run() {
	defer func() {
		if bug := recover(); bug != nil {
			t.server.log.Error("a bug ended a request", "client", t.peer.String(), "panic", bug, "stack", string(debug.Stack()))
			if t.x != nil {
				t.x.leave()
			}
			t.x = nil // nobody knows what state its buffers are in
			if oc := t.origin.Swap(nil); oc != nil {
				oc.Close()
			}
			t.cut()
		}
		t.deadline.Store(0)
		t.release()
	}()
	t.hold()
	t.request()
}

// abandoned is called when the client has given the request up: nobody needs the origin's
// answer any more.
func (t *quicSeat) abandoned() {
	t.left.Store(true)
	if oc := t.origin.Load(); oc != nil {
		oc.SetDeadline(time.Unix(1, 0))
	}
}

// version is that of the request.
func (t *quicSeat) version(*exchange) string { return "3" }

func (t *quicSeat) readHead(x *exchange) refusal {
	x.req.ResetStream(t.server.http, false)
	x.rewind()
	err := t.stream.ReadHead()
	var broken *http3.Error
	switch {
	case errors.As(err, &broken):
		return refusal{kind: "http_request_error", text: broken.Text, close: true}
	case err != nil && t.stream.IsGone():
		return gone("the client reset its request before it was begun")
	case err != nil:
		return t.clientFailed(err, "the head of the request, or its end, did not come in time")
	case t.stream.TooLarge():
		return headTooLarge
	}
	head, protocol, whole := t.stream.Head()
	t.mustSwitch = protocol != ""
	x.req.ResetStream(t.server.http, whole)
	if r := takeHead(x, head, protocol); r.isSet() {
		return r
	}
	return t.checkScheme(t.stream.Scheme())
}

// next reports what has come of the content, then the trailers.
func (t *quicSeat) next(x *exchange) (http1.Event, *http1.Violation) {
	if t.violated != nil {
		return http1.NeedMore, &http1.Violation{Text: t.violated.Text}
	}
	if x.at == x.filled && t.stream.Ended() && !t.contentEnd && !x.req.Done() {
		t.contentEnd, t.trailers = true, t.stream.Trailers()
		if v := endContent(x, t.trailers); v != nil {
			return http1.NeedMore, v
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

func (t *quicSeat) fill(x *exchange) error {
	n, err := t.stream.Read(x.in[x.filled:])
	x.filled += n
	if err == io.EOF || err != nil && errors.As(err, &t.violated) {
		return nil // next will say so
	}
	return err
}

func (t *quicSeat) interim(x *exchange) error { return t.stream.Interim(x.out) }

func (t *quicSeat) framing(x *exchange) http1.Framing { return streamFraming(x) }

func (t *quicSeat) endHead(b []byte, _ *exchange, _ http1.Framing, _ bool) []byte {
	if t.altSvc != nil {
		b = t.appendAltSvc(b)
	}
	t.headLen = len(b)
	return b
}

func (t *quicSeat) send(x *exchange, b []byte, last bool) error {
	n := t.headLen
	t.headLen = 0
	return t.stream.Send(b[:n], b[n:], x.trailers, last)
}

// join answers an extended CONNECT (RFC 9220).
func (t *quicSeat) join(x *exchange, first []byte) error {
	x.out = appendJoined(x.out[:0], x)
	return t.stream.Send(x.out, first, nil, false)
}

func (t *quicSeat) leave() bool {
	t.stream.StopReading()
	return false
}

func (t *quicSeat) cut() { t.stream.Reset(http3.InternalError) }

func (t *quicSeat) isGone() bool { return t.stream.IsGone() }
