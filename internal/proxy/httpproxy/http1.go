package httpproxy

import (
	"pharos/internal/proxy/holding"
	"pharos/internal/proxy/http1"
)

// plain is the wire of HTTP/1.1 (RFC 9112): heads and content on one net.Conn, framed by
// the gateway anew.
type plain client

func (w *plain) version(x *exchange) string {
	if x.req.Minor() == 0 {
		return "1.0"
	}
	return "1.1"
}

func (w *plain) readHead(x *exchange) refusal {
	x.moveDown()
	limits := w.server.http
	limits.Secure = w.tls != nil
	x.req.ResetRequest(limits)
	for {
		n, ev, v := x.req.Feed(x.in[:x.filled])
		if v != nil {
			return violation(v)
		}
		if ev == http1.HeadDone {
			x.at = n
			return refusal{}
		}
		if x.filled == len(x.in) && !x.growIn() {
			return headTooLarge
		}
		if err := (*client)(w).fillHead(x); err != nil {
			return (*client)(w).clientFailed(err, "the head of the request did not come in time")
		}
	}
}

func (w *plain) next(x *exchange) (http1.Event, *http1.Violation) {
	n, ev, v := x.req.Feed(x.in[x.at:x.filled])
	x.at += n
	return ev, v
}

func (w *plain) fill(x *exchange) error {
	n, err := (*client)(w).read(w.conn, x.in[x.filled:])
	x.filled += n
	if n > 0 {
		return nil
	}
	return err
}

// interim sends none to HTTP/1.0, which does not know them (RFC 9110 §15.2).
func (w *plain) interim(x *exchange) error {
	if x.req.Minor() == 0 {
		return nil
	}
	x.out = append(x.out, '\r', '\n')
	return (*client)(w).write(w.conn, x.out)
}

// framing is the origin's length if it gave one, else chunked for clients that know it,
// else until close.
func (w *plain) framing(x *exchange) http1.Framing {
	switch x.resp.Framing() {
	case http1.NoContent:
		return http1.NoContent
	case http1.Length:
		if x.coded.coder == nil {
			return http1.Length
		}
	}
	if x.req.Minor() == 0 {
		return http1.UntilClose
	}
	return http1.Chunked
}

func (w *plain) endHead(b []byte, x *exchange, framing http1.Framing, keep bool) []byte {
	if framing == http1.Chunked {
		b = http1.AppendChunked(b)
	}
	if w.altSvc != nil {
		b = (*client)(w).appendAltSvc(b)
	}
	switch {
	case !keep:
		b = append(b, "Connection: close\r\n"...)
	case x.req.Minor() == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, '\r', '\n')
}

// send has nothing to say at the end: the framing has said it.
func (w *plain) send(_ *exchange, b []byte, _ bool) error {
	if len(b) == 0 {
		return nil
	}
	return (*client)(w).writeNow(w.conn, w.descriptor, b)
}

// join sends the 101 response of the origin server.
func (w *plain) join(x *exchange, first []byte) error {
	x.out = http1.AppendStatusLine(x.out[:0], 101, x.resp.Reason())
	x.out = appendResponseFields(x.out, x)
	x.out = append(append(append(x.out, "Connection: Upgrade\r\nUpgrade: "...), x.resp.Upgrade()...), "\r\n\r\n"...)
	x.out = append(x.out, first...)
	return (*client)(w).write(w.conn, x.out)
}

// leave closes our side only (RFC 9112 §9.6). Closing both at once would reset the
// connection, and the reset may overtake the answer.
func (w *plain) leave() bool {
	hc, ok := w.conn.(interface{ CloseWrite() error })
	return ok && hc.CloseWrite() == nil
}

// cut makes the coming close a reset.
func (w *plain) cut() {
	if tcp, ok := w.conn.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
}

// isGone: there is nothing to read and never will be. What there is to read stays.
func (w *plain) isGone() bool {
	if w.raw == nil {
		return false
	}
	return holding.HasClosed(w.raw)
}
