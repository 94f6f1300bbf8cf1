package httpproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/origins"
	"pharos/internal/proxy/route"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// request carries one request and its response, from the first octet to the
// log line, and reports whether the connection stays open. This file is the way
// of a request, top-down.
func (c *client) request() bool {
	x := c.x
	x.reset()
	x.ownAltSvc = c.altSvc != nil
	x.began = time.Now()
	c.server.inFlight.Add(1)
	keep, r := c.carry(x)
	c.server.inFlight.Add(-1)
	c.endTotal(x)
	x.leave()
	if r.isSet() {
		keep = c.answer(x, r)
	}
	c.record(x)
	return keep
}

// carry is the way itself. A refusal is returned as soon as there is one; what
// it means for the client is decided in one place (answer).
func (c *client) carry(x *exchange) (keep bool, r refusal) {
	if r = c.readHead(x); r.isSet() {
		return false, r
	}
	if c.server.cfg.Tracing != nil {
		c.beginTrace(x)
	}
	if c.tls != nil {
		if r = c.misdirected(x); r.isSet() {
			return false, r
		}
	}
	if r = c.findRoute(x); r.isSet() {
		return false, r
	}
	if x.terms != nil {
		c.beginTerms(x)
	}
	if x.chain != nil {
		if done, keep, r := c.filter(x); done {
			return keep, r
		}
	}
	if x.pool == nil {
		return c.answerHere(x)
	}
	if r = c.holdContent(x); r.isSet() {
		return false, r
	}
	x.head = c.appendRequestHead(x.head[:0], x)
	if m := x.table.MirrorOf(x.route); m != nil {
		c.mirror(x, m)
	}
	return c.askPool(x)
}

// readHead reads the head of the request. Its limit of time is absolute:
// octets that trickle in do not extend it.
func (c *client) readHead(x *exchange) refusal {
	c.setDeadline(c.server.limits.RequestHead)
	r := c.wire.readHead(x)
	x.content, x.contentEnd = x.at, x.at
	return r
}

var headTooLarge = refusal{status: 431, kind: "http_request_error", text: "the head of the request is too large", close: true}

// findRoute brings the path to its normal form and looks up its route.
func (c *client) findRoute(x *exchange) refusal {
	path := x.req.Path()
	switch x.req.Form() {
	case http1.AuthorityForm:
		return refusal{status: 501, kind: "http_request_denied", text: "CONNECT is not served here", close: true}
	case http1.AsteriskForm:
		x.path = path
		path = slash // OPTIONS * is about the server: the route of its root
	default:
		normal, problem := route.Normalise(x.pathRoom[:0], path, c.server.cfg.Paths)
		if problem != nil {
			return refusal{status: 400, kind: "http_request_error", text: problem.Text}
		}
		x.path, path = normal, normal
	}
	if most := c.server.limits.MaxContent; most > 0 && x.req.ContentLength() > most {
		return tooLarge
	}
	x.table = c.server.cfg.Table()
	if x.table == nil {
		return refusal{status: 503, kind: "proxy_configuration_error", text: "no routes are loaded yet"}
	}
	x.matched = path
	found, ok := x.table.Routes().Match(x.req.Host(), path, (*routed)(c))
	if x.inspected.failed.isSet() {
		return x.inspected.failed
	}
	if !x.inspected.verdict.Passes() { // and the rest of the way is that of its answer
		found, ok = x.inspected.by, true
	}
	if !ok {
		return refusal{status: 404, kind: "destination_not_found", text: "no route leads from this host and path"}
	}
	c.follow(x, found)
	return refusal{}
}

var slash = []byte("/")

// holdContent reads request content that is small into the buffer, so that the
// request can be sent again to another member. Content that is large, of
// unknown length and not here yet, or waits for 100 (Continue), is passed on
// while it comes (upload.go).
func (c *client) holdContent(x *exchange) refusal {
	if x.req.Done() {
		return x.holdRead(c)
	}
	small := x.req.Framing() == http1.Length && x.req.ContentLength() <= int64(len(x.in)-x.at) && !x.req.ExpectsContinue()
	for {
		done, r := c.decodeHeld(x)
		if r.isSet() {
			return r
		}
		if c.isTooLarge(x) {
			return tooLarge
		}
		if done {
			x.sending = http1.Length
			if len(x.trailers) > 0 {
				x.sending = http1.Chunked
			}
			return refusal{}
		}
		if !small {
			x.sending = forwardFraming(x.req.Framing())
			x.upload = newUpload(c, x)
			return refusal{}
		}
		if r := c.fillContent(&x.inspected.pace); r.isSet() {
			return r
		}
	}
}

// forwardFraming returns how content that a client delimits so is delimited for an origin
// server: content without a length that ends with its stream is chunked.
func forwardFraming(f http1.Framing) http1.Framing {
	if f == http1.UntilClose {
		return http1.Chunked
	}
	return f
}

// fillContent reads more request content.
func (c *client) fillContent(p *pace) refusal {
	began, before := time.Now(), c.x.filled
	c.setDeadline(c.server.limits.Stall)
	if err := c.wire.fill(c.x); err != nil {
		return c.clientFailed(err, "the request content did not come in time")
	}
	if !p.isKept(c, began, c.x.filled-before) {
		return refusal{status: 408, kind: "http_request_error", text: "the request content comes too slowly", close: true}
	}
	return refusal{}
}

// decodeHeld moves the content that is in the buffer to [content, contentEnd)
// and reports whether the request is complete.
func (c *client) decodeHeld(x *exchange) (bool, refusal) {
	for {
		ev, v := c.wire.next(x)
		if v != nil {
			return false, violation(v)
		}
		switch ev {
		case http1.Content:
			x.contentEnd += copy(x.in[x.contentEnd:], x.req.Content)
			x.received += int64(len(x.req.Content))
		case http1.Trailer:
			x.trailers = x.appendRequestTrailer(x.trailers)
		case http1.End:
			return true, refusal{}
		case http1.NeedMore:
			return x.req.Done(), refusal{}
		}
	}
}

var tooLarge = refusal{status: 413, kind: "http_request_denied", text: "the request content is too large", close: true}

func (c *client) isTooLarge(x *exchange) bool {
	most := c.server.limits.MaxContent
	if x.chain != nil {
		most = x.pass.MaxContent
	}
	return most > 0 && x.received > most
}

// askMembers asks one member of the pool after the other until one answers.
// Only a request that is safe to repeat goes to a second one.
func (c *client) askMembers(x *exchange) (keep bool, r refusal) {
	h := &x.choice
	h.begin(c, x)
	for {
		m := h.next(x.tries)
		if m < 0 && x.tries == 0 {
			if r = c.awaitMember(x); r.isSet() {
				x.counters.NoMember.Add(1)
				if r.kind == kindNobody && c.fallBack(x) {
					continue
				}
				return false, r
			}
			h.begin(c, x)
			continue
		}
		if m < 0 {
			return false, r
		}
		if x.tries > 0 {
			x.counters.Retries.Add(1)
			c.shard.retries.Add(1)
			x.choice.counted -= x.sent
			x.sent = 0
		}
		x.member, x.choice.at = &h.view.Members[m], m
		x.tries++
		keep, r = c.askMember(x, x.member)
		x.noteTry(c, r)
		if x.doubt.of != nil && !r.doubt {
			c.judgeDoubted(x, r)
		}
		if r.doubt {
			continue
		}
		if !r.retry || x.tries >= c.mostTries(x) || c.isLate(x) || !x.retries(r) || !x.mayRetry(c.server.limits.RetryBudget) {
			return keep, r
		}
	}
}

// askMember sends the request to one member and passes its response on.
func (c *client) askMember(x *exchange, m *pool.Member) (keep bool, r refusal) {
	if x.asked = x.began; x.tries > 1 || x.choice.held > 0 {
		x.asked = time.Now()
	}
	if c.evicted.Load() != nil {
		c.evicted.Store(nil) // it was about a request before
	}
	x.beginLoad(c)
	defer func() { x.endLoad(c, r.fault.IsFailure()) }()
	o := c.server.origins.Of(m.Address, x.table.ReachOf(x.index), c.server.now.Load())
	o.Requests.Add(1)
	for fresh := false; ; fresh = true {
		oc, reused, err := c.connect(o, fresh)
		if err != nil {
			r = connectFailed(err)
			if r.kind == kindConnect && c.remaining() == 0 { // another member has no time left, either
				c.shard.timeouts.Add(1)
				r = totalOver
			}
			c.report(x, r, err.Error())
			return false, r
		}
		var keepOrigin bool
		oc.Serves.Store(m.Load)
		c.origin.Store(oc)
		keep, keepOrigin, r = c.converse(x, oc)
		c.origin.Store(nil)
		if keepOrigin && !c.server.draining.Load() {
			o.Keep(oc, c.server.now.Load())
		} else {
			oc.Close()
		}
		if r.stale && reused {
			// The origin closed a kept connection just as it was used. That says
			// nothing about the origin (RFC 9112 §9.3.1).
			o.Stale()
			c.shard.stale.Add(1)
			continue
		}
		if r.fault.IsFailure() {
			o.Failures.Add(1)
		}
		c.report(x, r, r.text)
		return keep, r
	}
}

// converse is one request and one response on one origin connection.
func (c *client) converse(x *exchange, oc *origins.Conn) (keep, keepOrigin bool, r refusal) {
	if r = c.sendRequest(x, oc); r.isSet() {
		return false, false, r
	}
	if r = c.awaitHead(x, oc); !r.isSet() {
		c.noteAnswer(x)
	}
	if !r.isSet() && c.asksAnother(x) {
		r = refusal{status: 502, kind: "destination_error", text: "the origin server answered with an error", retry: true, doubt: true}
	}
	if !r.isSet() && c.retriesStatus(x) {
		r = refusal{status: 502, kind: kindStatus, text: fmt.Sprintf("the origin server answered with %d", x.choice.answered), retry: true}
	}
	if !r.isSet() && c.mustSwitch && x.resp.Status()/100 == 2 {
		// RFC 8441 §5: to this client any 2xx opens the tunnel.
		r = refusal{status: 502, kind: "http_upgrade_failed", text: "the origin server did not switch protocols"}
	}
	if !r.isSet() {
		x.noteHead(c)
		x.choice.settled(x, x.choice.at)
		if x.terms != nil {
			c.leaveStream(x)
		}
	}
	if !r.isSet() && x.resp.Status() == 101 {
		return false, false, c.tunnel(x, oc)
	}
	if page := c.replacing(x, r); page != nil {
		keep, keepOrigin, r = c.relayPage(x, page)
	} else if !r.isSet() {
		keep, keepOrigin, r = c.relay(x, oc)
	}
	if x.upload != nil {
		clean := c.endUpload(x, oc, &r)
		keep, keepOrigin = keep && clean, keepOrigin && clean
	}
	return keep && !r.isSet(), keepOrigin && !r.isSet(), r
}

// sendRequest writes the head and the content that is held, in one write if
// they fit, and starts the upload of the rest.
func (c *client) sendRequest(x *exchange, oc *origins.Conn) refusal {
	c.setTryDeadline(x)
	held := x.in[x.content:x.contentEnd]
	message := x.head
	switch {
	case x.upload != nil:
		// The upload begins with what is held.
	case x.sending == http1.Chunked:
		x.out = append(x.out[:0], x.head...)
		x.out = http1.AppendLastChunk(http1.AppendChunk(x.out, held), x.trailers)
		message = x.out
	case len(held) > 0:
		x.out = append(append(x.out[:0], x.head...), held...)
		message = x.out
	}
	x.backAt, x.backTo = 0, 0
	if err := c.writeNow(oc.Conn, oc.Descriptor, message); err != nil {
		return c.originFailed(x, err)
	}
	if x.upload != nil {
		x.upload.start(oc)
	}
	return refusal{}
}

// awaitHead reads response heads until that of the final response, passing
// interim ones on.
func (c *client) awaitHead(x *exchange, oc *origins.Conn) refusal {
	c.setTryDeadline(x)
	if c.letOthersRun() && x.upload == nil && oc.Descriptor >= 0 {
		x.backTo = readNow(oc.Descriptor, x.back)
	}
	for interim := 0; ; interim++ {
		x.resp.ResetResponse(c.server.http, x.req.MethodID() == http1.MethodHead)
		for {
			n, ev, v := x.resp.Feed(x.back[x.backAt:x.backTo])
			if v != nil {
				return refusal{status: 502, kind: "http_protocol_error", text: "the response is malformed: " + v.Text, fault: health.Broken}
			}
			x.backAt += n
			if ev == http1.HeadDone {
				break
			}
			if r := c.fillBack(x, oc); r.isSet() {
				return r
			}
		}
		if status := x.resp.Status(); status >= 200 || status == 101 {
			return refusal{}
		}
		if interim == maxInterim {
			return refusal{status: 502, kind: "http_protocol_error", text: "the origin server sends one interim response after the other", fault: health.Broken}
		}
		if r := c.passInterim(x); r.isSet() {
			return r
		}
	}
}

// fillBack reads more of a response head, which stays in one piece.
func (c *client) fillBack(x *exchange, oc *origins.Conn) refusal {
	if x.backAt > 0 {
		x.backTo = copy(x.back, x.back[x.backAt:x.backTo])
		x.backAt = 0
	}
	if x.backTo == len(x.back) && !x.growBack() {
		return refusal{status: 502, kind: "http_response_header_section_size", text: "the head of the response is too large", fault: health.Broken}
	}
	n, err := c.read(oc.Conn, x.back[x.backTo:])
	if err != nil {
		return c.originFailed(x, err)
	}
	x.backTo += n
	return refusal{}
}

// originFailed says what an error on an origin connection means before any of
// the final response was passed on.
func (c *client) originFailed(x *exchange, err error) refusal {
	repeatable := x.isRepeatable()
	switch {
	case c.server.cut.Load():
		return gone("the gateway was shut down")
	case c.left.Load():
		return gone("the client reset its request")
	case c.isEvicted():
		return refusal{status: 503, kind: "destination_unavailable", text: "the member was taken out of use while it was asked", retry: repeatable}
	case isTimeout(err) && c.isPastTotal():
		c.shard.timeouts.Add(1)
		return totalOver
	case isTimeout(err):
		c.shard.timeouts.Add(1)
		return refusal{status: 504, kind: "connection_read_timeout", text: "the origin server did not answer in time", retry: repeatable, fault: health.Late}
	case isUntouched(err):
		return c.untouched(x, err)
	case x.backTo > 0:
		return refusal{status: 502, kind: "http_response_incomplete", text: "the origin server closed the connection within the head of its response", retry: repeatable, fault: health.Broken}
	}
	return refusal{status: 502, kind: "connection_terminated", text: "the origin server closed the connection before it answered",
		retry: repeatable, stale: repeatable, fault: health.Broken}
}

// connectFailed says what a failed connect means. Nothing was sent, so that any
// request may go to another member.
func connectFailed(err error) refusal {
	var ne net.Error
	var te origins.TLSError
	switch {
	case errors.As(err, &te):
		return tlsFailed(te.Unwrap())
	case errors.Is(err, syscall.ECONNREFUSED):
		return refusal{status: 502, kind: "connection_refused", text: "the origin server refused the connection", retry: true, fault: health.Unreached}
	case errors.As(err, &ne) && ne.Timeout():
		return refusal{status: 504, kind: kindConnect, text: "no connection to the origin server in time", retry: true, fault: health.Unreached}
	}
	return refusal{status: 502, kind: "destination_ip_unroutable", text: "no connection to the origin server", retry: true, fault: health.Unreached}
}

// clientFailed says what an error of reading from the client means.
func (c *client) clientFailed(err error, slow string) refusal {
	switch {
	case isTimeout(err) && !c.server.cut.Load():
		c.shard.timeouts.Add(1)
		return refusal{status: 408, kind: "http_request_error", text: slow, close: true}
	case errors.Is(err, io.EOF):
		return gone("the client closed the connection within its request")
	}
	return gone("the connection to the client broke")
}
