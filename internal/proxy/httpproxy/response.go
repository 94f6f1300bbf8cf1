package httpproxy

import (
	"io"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/origins"
	"pharos/internal/traffic/health"
)

// relay passes the final response on. The connections may be kept only when
// both messages were read to their very end (a request content left unread, or
// octets after a response, would be taken for the next message).
func (c *client) relay(x *exchange, oc *origins.Conn) (keep, keepOrigin bool, r refusal) {
	if c.server.cfg.Compression != nil {
		c.beginCoding(x)
	}
	framing := c.wire.framing(x)
	if x.coded.coder != nil && framing == http1.Length {
		framing = http1.UntilClose // on a stream, whose end is the content's; how long that will be nobody knows
	}
	keep = x.req.KeepAlive() && framing != http1.UntilClose && !c.server.draining.Load() && !x.isUploading()
	x.trailers = x.trailers[:0]
	x.out = c.appendResponseHead(x.out[:0], x, framing)
	x.out = c.wire.endHead(x.out, x, framing, keep)
	r = c.relayContent(x, oc, framing)
	if x.coded.coder != nil {
		c.endCoding(x)
	}
	if r.isSet() {
		return false, false, r
	}
	keepOrigin = x.resp.KeepAlive() && x.backAt == x.backTo
	return keep, keepOrigin, refusal{}
}

// relayContent passes content on as it comes: what one read of the origin
// brings goes out in one write.
func (c *client) relayContent(x *exchange, oc *origins.Conn, framing http1.Framing) refusal {
	w := contentWriter{client: c, x: x, chunked: framing == http1.Chunked, coder: x.coded.coder}
	for {
		n, ev, v := x.resp.Feed(x.back[x.backAt:x.backTo])
		if v != nil {
			return refusal{status: 502, kind: "http_protocol_error", text: "the response is malformed: " + v.Text, fault: health.Broken}
		}
		x.backAt += n
		switch ev {
		case http1.Content:
			if r := w.add(x.resp.Content); r.isSet() {
				return r
			}
		case http1.Trailer:
			x.trailers = x.appendResponseTrailer(x.trailers)
		case http1.End:
			if x.choice.isCall {
				x.noteOutcome()
			}
			return w.finish(x.trailers)
		case http1.NeedMore:
			if r := w.flushUnlessHeld(); r.isSet() {
				return r
			}
			if r := c.moreContent(x, oc); r.isSet() {
				return r
			}
		}
	}
}

// moreContent reads more of a response's content.
func (c *client) moreContent(x *exchange, oc *origins.Conn) refusal {
	if x.backAt > 0 {
		x.backTo = copy(x.back, x.back[x.backAt:x.backTo])
		x.backAt = 0
	}
	if x.resp.Left() > smallBuffer {
		x.growBack()
	}
	c.setDeadline(c.idle(x, c.server.limits.Response))
	n, err := c.read(oc.Conn, x.back[x.backTo:])
	x.backTo += n
	switch {
	case err == nil:
		return refusal{}
	case c.server.cut.Load():
		return gone("the gateway was shut down")
	case c.left.Load():
		return gone("the client reset its request")
	case c.isEvicted():
		return gone("the member was taken out of use in the middle of its response")
	case err == io.EOF && x.resp.Close() == nil:
		return refusal{} // delimited by close: this was the end
	case isTimeout(err) && c.isPastTotal():
		c.shard.timeouts.Add(1)
		return totalOver
	case isTimeout(err):
		c.shard.timeouts.Add(1)
		return refusal{status: 504, kind: "connection_read_timeout", text: "the origin server stopped in the middle of its response", retry: x.isRepeatable(), fault: health.Late}
	}
	return refusal{status: 502, kind: "http_response_incomplete", text: "the origin server closed the connection in the middle of its response", retry: x.isRepeatable(), fault: health.Broken}
}

// contentWriter gathers what goes to the client in x.out. In chunked framing
// all that one write carries is one chunk, whose size is filled in at the end.
type contentWriter struct {
	client  *client
	x       *exchange
	chunked bool
	chunk   int // where the open chunk's size stands; 0 is none
	pace    pace
	coder   *coder // nil: content goes as it is
}

// chunkHead is the room for the size of a chunk: four digits, as x.out is
// smaller than 64 KiB. Leading zeros are allowed (RFC 9112 §7.1).
const chunkHead = "0000\r\n"

// add takes the next piece of content.
func (w *contentWriter) add(piece []byte) refusal {
	if w.coder != nil {
		return w.encode(piece)
	}
	return w.put(piece)
}

// put takes the next piece of what goes to the client.
func (w *contentWriter) put(piece []byte) refusal {
	w.x.sent += int64(len(piece))
	if !w.chunked {
		if len(w.x.out)+len(piece) <= cap(w.x.out) {
			w.x.out = append(w.x.out, piece...)
			return refusal{}
		}
		if r := w.flush(); r.isSet() {
			return r
		}
		return w.send(piece, false)
	}
	for len(piece) > 0 {
		if w.chunk == 0 {
			w.x.out = append(w.x.out, chunkHead...)
			w.chunk = len(w.x.out)
		}
		const after = len("\r\n") + len(http1.LastChunk)
		take := min(len(piece), max(smallBuffer, cap(w.x.out))-after-len(w.x.out), 0xffff)
		if take <= 0 {
			if r := w.flush(); r.isSet() {
				return r
			}
			continue
		}
		w.x.out = append(w.x.out, piece[:take]...)
		piece = piece[take:]
	}
	return refusal{}
}

// closeChunk fills the size of the open chunk in.
func (w *contentWriter) closeChunk() {
	if w.chunk == 0 {
		return
	}
	const hex = "0123456789abcdef"
	size := len(w.x.out) - w.chunk
	if size == 0 {
		w.x.out = w.x.out[:w.chunk-len(chunkHead)] // an empty chunk would be the last one
	} else {
		digits := w.x.out[w.chunk-len(chunkHead):]
		digits[0], digits[1], digits[2], digits[3] = hex[size>>12], hex[size>>8&15], hex[size>>4&15], hex[size&15]
		w.x.out = append(w.x.out, '\r', '\n')
	}
	w.chunk = 0
}

// flushUnlessHeld sends what has gathered, unless it can wait.
func (w *contentWriter) flushUnlessHeld() refusal {
	if w.x.isHeldBack() {
		return refusal{}
	}
	if w.coder != nil {
		if r := w.flushCoded(); r.isSet() {
			return r
		}
	}
	return w.flush()
}

// flush sends what has gathered.
func (w *contentWriter) flush() refusal {
	w.closeChunk()
	if len(w.x.out) == 0 {
		return refusal{}
	}
	r := w.send(w.x.out, false)
	w.x.out = w.x.out[:0]
	return r
}

func (w *contentWriter) finish(trailers []byte) refusal {
	if w.coder != nil {
		if r := w.takeCoded(w.coder.encoder.Close()); r.isSet() {
			return r
		}
	}
	w.closeChunk()
	if w.chunked {
		w.x.out = http1.AppendLastChunk(w.x.out, trailers)
	}
	r := w.send(w.x.out, true)
	w.x.out = w.x.out[:0]
	return r
}

// send sends to the client.
func (w *contentWriter) send(b []byte, last bool) refusal {
	c, x := w.client, w.x
	c.setDeadline(c.server.limits.Stall)
	x.status, x.started = x.resp.Status(), true
	large := x.sent > smallBuffer // what is smaller the kernel takes at once
	var began time.Time
	if large {
		began = time.Now()
		x.choice.noted = began.Sub(c.server.began)
		x.noteCarried()
	}
	if err := c.wire.send(x, b, last); err != nil {
		if isTimeout(err) {
			c.shard.timeouts.Add(1)
			return gone("the client does not take the response")
		}
		return gone("the client closed the connection within the response")
	}
	if large && !w.pace.isKept(c, began, len(b)) {
		return gone("the client takes the response too slowly")
	}
	return refusal{}
}

// passInterim sends a 1xx response on. 100 goes only to a client that asked for
// it (RFC 9110 §15.2.1).
func (c *client) passInterim(x *exchange) refusal {
	if x.resp.Status() == 100 && !x.req.ExpectsContinue() {
		return refusal{}
	}
	x.out = http1.AppendStatusLine(x.out[:0], x.resp.Status(), x.resp.Reason())
	x.out = appendResponseFields(x.out, x)
	if err := c.wire.interim(x); err != nil {
		return gone("the client closed the connection before the response")
	}
	return refusal{}
}
