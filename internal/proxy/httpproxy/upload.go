package httpproxy

import (
	"sync/atomic"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/origins"
)

// upload passes request content on while it comes, so that the response can be
// read at the same time: an origin may answer before it has read everything.
//
// While it runs, its goroutine owns the client's reading side, the request
// parser and x.in; the connection's goroutine owns the rest. It ends with the
// content, with an error of either side, or by endUpload.
type upload struct {
	client *client
	x      *exchange
	origin *origins.Conn
	done   chan struct{} // closed when the goroutine ends; nil before start

	allRead atomic.Bool // the whole content was read from the client
	writing atomic.Bool // it waits for the origin, not for the client
	discard atomic.Bool // nobody wants the rest: read and drop some of it

	// Owned by the goroutine; read by others after done.
	copy     *copying // nil: the request is not copied, or that has been done
	pace     pace
	base     int     // where in x.in the content is read to
	failed   refusal // of the client
	refused  bool    // the origin does not take the rest
	dropped  int64
	out      []byte
	trailers []byte
}

func newUpload(c *client, x *exchange) *upload {
	if len(x.in)-x.content < leastRoom {
		if x.growIn() {
			x.req.Rebase(x.in)
		}
	}
	return &upload{client: c, x: x, base: x.content, pace: x.inspected.pace}
}

func (u *upload) start(oc *origins.Conn) {
	u.origin, u.done = oc, make(chan struct{})
	go u.run()
}

// isUploading reports whether request content is still to be read.
func (x *exchange) isUploading() bool { return x.upload != nil && !x.upload.allRead.Load() }

func (u *upload) run() {
	u.failed = u.pump()
	if !u.failed.isSet() {
		if u.copy != nil && u.allRead.Load() {
			u.client.sendCopy(u.x, u.copy)
			u.copy = nil
		}
		u.client.setTryDeadline(u.x)
	}
	close(u.done)
	if u.failed.isSet() {
		// The request will never be complete; the origin must not take it for so.
		// This also ends the wait for its response.
		u.origin.Conn.Close()
	}
}

// pump moves content from the client to the origin until its end.
func (u *upload) pump() refusal {
	x := u.x
	held := x.in[x.content:x.contentEnd]
	if r := u.send(held, false); r.isSet() {
		return r
	}
	for {
		ev, v := u.client.wire.next(x)
		if v != nil {
			return violation(v)
		}
		switch ev {
		case http1.Content:
			x.received += int64(len(x.req.Content))
			if u.client.isTooLarge(x) {
				return tooLarge
			}
			if x.req.Done() {
				u.allRead.Store(true)
			}
			if r := u.send(x.req.Content, false); r.isSet() {
				return r
			}
		case http1.Trailer:
			u.trailers = x.appendRequestTrailer(u.trailers)
		case http1.End:
			u.allRead.Store(true)
			return u.send(nil, true)
		case http1.NeedMore:
			if u.dropped > u.client.server.limits.LingerBytes {
				return refusal{} // enough: the connection ends with the response
			}
			if r := u.fill(); r.isSet() {
				return r
			}
		}
	}
}

// fill reads more from the client to behind its head, which stays.
func (u *upload) fill() refusal {
	x := u.x
	if x.at > u.base {
		x.filled = u.base + copy(x.in[u.base:], x.in[x.at:x.filled])
		x.at = u.base
	}
	if !u.discard.Load() {
		return u.client.fillContent(&u.pace)
	}
	if err := u.client.wire.fill(x); err != nil { // within the deadline of endUpload
		return gone("the rest of the request content does not come")
	}
	return refusal{}
}

// send passes one piece on, in our framing, or drops it.
func (u *upload) send(piece []byte, last bool) refusal {
	if u.copy != nil {
		u.copy.Add(piece)
	}
	if u.refused || u.discard.Load() {
		u.dropped += int64(len(piece))
		return refusal{}
	}
	b := piece
	if u.x.sending == http1.Chunked {
		u.out = http1.AppendChunk(u.out[:0], piece)
		if last {
			u.out = http1.AppendLastChunk(u.out, u.trailers)
		}
		b = u.out
	}
	if len(b) == 0 {
		return refusal{}
	}
	u.client.setDeadline(u.client.server.limits.Response)
	u.writing.Store(true)
	if u.client.write(u.origin.Conn, b) != nil {
		u.refused = true // an answer may have come before; see awaitHead
	}
	u.writing.Store(false)
	return refusal{}
}

// endUpload ends the upload after the response, or after r has made one
// impossible, and reports whether the request was read and sent to its end. When
// the client is to blame for r, it replaces r.
func (c *client) endUpload(x *exchange, oc *origins.Conn, r *refusal) bool {
	u := x.upload
	if u.done == nil {
		return false
	}
	select {
	case <-u.done:
	default:
		switch {
		case r.status == 504 && !u.writing.Load():
			// What made us wait too long was the client: its read ends as well.
		case !r.isSet() && u.allRead.Load():
			c.setDeadline(c.server.limits.Linger) // its last write is about to return
		default:
			c.stopUpload(u, oc, x.started && !r.isSet())
		}
	}
	<-u.done
	if u.failed.isSet() && r.isSet() && !u.discard.Load() && r.kind != "gone" && r.kind != kindTotal {
		*r = u.failed
	}
	return u.allRead.Load() && !u.failed.isSet() && !u.refused && !u.discard.Load()
}

// stopUpload makes the upload end: it no longer writes to the origin, and drops
// what the client sends, within limits, if that lets it read the answer.
func (c *client) stopUpload(u *upload, oc *origins.Conn, answered bool) {
	u.discard.Store(true)
	oc.Close()
	if answered {
		if u.x.isUploading() {
			c.wire.leave()
		}
		c.setDeadline(c.server.limits.Linger)
		return
	}
	c.deadline.Store(1) // overdue: its read returns with the next tick
}
