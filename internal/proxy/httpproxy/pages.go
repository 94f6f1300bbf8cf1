package httpproxy

import (
	"net/http"
	"strconv"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/pages"
)

// This file sends what the gateway has of its own: files, and pages for errors.

// filePiece is how much of a file is sent at a time: the client has Limits.Stall for each.
const filePiece = 64 << 10

// answerFile sends the file of a route, or that the client has it already.
func (c *client) answerFile(x *exchange, f *pages.File) (keep bool, r refusal) {
	keep = x.req.Done() && x.req.KeepAlive() && !c.server.draining.Load()
	method := x.req.MethodID()
	x.status = x.route.Respond.Status
	form, varies := c.formOf(x, f)
	content := form.Content
	isPlain := x.status == http.StatusOK && (method == http1.MethodGet || method == http1.MethodHead)
	if isPlain && f.IsKnown(fieldOf(&x.req, "If-None-Match")) {
		x.status, content = http.StatusNotModified, nil
	}
	b := http1.AppendStatusLine(x.out[:0], x.status, []byte(http.StatusText(x.status)))
	b = x.stamp.AppendDate(b, x.began)
	if isPlain {
		b = append(append(append(b, "ETag: "...), form.ETag...), "\r\n"...)
	}
	if x.status != http.StatusNotModified {
		b = append(append(append(b, "Content-Type: "...), x.route.Respond.Type...), "\r\nX-Content-Type-Options: nosniff\r\n"...)
		b = c.appendOwnCoding(b, x, form.Coding, len(f.Content), len(content))
	}
	if varies {
		b = append(b, "Vary: Accept-Encoding\r\n"...) // RFC 9110 §12.5.5, §15.4.5
	}
	b = x.chain.AppendResponse(b, &x.pass, nil)
	if x.status != http.StatusNotModified { // RFC 9110 §8.6
		b = http1.AppendContentLength(b, int64(len(content)))
	}
	x.out = c.wire.endHead(b, x, http1.Length, keep)
	if method == http1.MethodHead {
		content = nil // RFC 9110 §9.3.2
	}
	return keep, c.sendOwn(x, content, keep)
}

// sendOwn sends x.out, the head of a response of our own, and its content piece by piece.
func (c *client) sendOwn(x *exchange, content []byte, keep bool) refusal {
	x.started = true
	x.trailers = x.trailers[:0] // those of the request
	gone := gone("the connection to the client broke")
	if len(x.out)+len(content) <= smallBuffer {
		x.out = append(x.out, content...)
		x.sent, content = int64(len(content)), nil
	}
	c.setDeadline(c.server.limits.Stall)
	if c.wire.send(x, x.out, len(content) == 0) != nil {
		return gone
	}
	for len(content) > 0 {
		piece := content[:min(len(content), filePiece)]
		content = content[len(piece):]
		c.setDeadline(c.server.limits.Stall)
		if c.wire.send(x, piece, len(content) == 0) != nil {
			return gone
		}
		x.sent += int64(len(piece))
	}
	if !keep {
		c.linger(x)
	}
	return refusal{}
}

// pageFor returns the page for an error; nil: there is none.
func (c *client) pageFor(x *exchange, status int, origin bool) *pages.Page {
	chain := x.chain
	if x.route == nil {
		chain = c.everyRoute(x)
	}
	if !chain.HasPages(origin) {
		return nil
	}
	accept := []byte(nil)
	if x.hasHead() {
		accept = fieldOf(&x.req, "Accept")
	}
	return chain.Page(status, accept, origin)
}

// everyRoute returns the filters that all routes have: their pages are for requests, too, of
// which no route is known. nil: there are none.
func (c *client) everyRoute(x *exchange) *filter.Chain {
	table := x.table
	if table == nil {
		if table = c.server.cfg.Table(); table == nil {
			return nil
		}
	}
	return table.EveryRoute()
}

// appendPage appends the fields and the content of a page to a head.
func (c *client) appendPage(b []byte, x *exchange, p *pages.Page, status int, keep bool) []byte {
	values := pages.Values{Status: status, Reason: http.StatusText(status), ID: x.id, Path: x.path}
	isHead := false
	if x.hasHead() {
		values.Host, values.Method, isHead = x.req.Host(), x.req.Method(), x.req.MethodID() == http1.MethodHead
	}
	content, coding, varies := c.packOwn(x, p.Append(nil, &values), status, p.Type)
	b = append(append(append(b, "Content-Type: "...), p.Type...), "\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nVary: Accept"...)
	if varies {
		b = append(b, ", Accept-Encoding"...)
	}
	b = append(append(b, "\r\n"...), coding...)
	b = http1.AppendContentLength(b, int64(len(content)))
	b = c.wire.endHead(b, x, http1.Length, keep)
	if isHead {
		return b
	}
	x.sent = int64(len(content))
	return append(b, content...)
}

// keptFields are what of an origin server's error goes on beside a page of ours: what the
// client needs to do better, and nothing that was about the content.
var keptFields = []string{"WWW-Authenticate", "Retry-After", "Allow", "Set-Cookie", "Location"}

// replacing returns the page that goes to the client in place of the error that the origin
// server has answered, unless there is a refusal; nil: there is none.
func (c *client) replacing(x *exchange, r refusal) *pages.Page {
	if x.chain == nil || r.isSet() || x.resp.Status() < 400 || !x.chain.HasPages(true) || c.isGRPC(x) {
		return nil
	}
	return c.pageFor(x, x.resp.Status(), true)
}

// relayPage sends a page in place of the response at hand, whose content is dropped: what has
// come of it, else with its connection.
func (c *client) relayPage(x *exchange, p *pages.Page) (keep, keepOrigin bool, r refusal) {
	status := x.resp.Status()
	b := http1.AppendStatusLine(x.out[:0], status, []byte(http.StatusText(status)))
	b = x.stamp.AppendDate(b, x.began)
	for _, f := range x.resp.Fields() {
		for _, name := range keptFields {
			if equalFold(x.resp.Name(f), name) && !x.chain.DropsResponse(x.resp.Name(f)) {
				b = http1.AppendField(b, x.resp.Name(f), x.resp.Value(f))
			}
		}
	}
	b = append(append(append(b, "X-Request-Id: "...), x.id...), '\r', '\n')
	b = x.chain.AppendResponse(b, &x.pass, nil)
	keepOrigin = x.dropRest()
	keep = x.req.KeepAlive() && !c.server.draining.Load() && !x.isUploading()
	x.status, x.started = status, true
	x.trailers = x.trailers[:0]
	x.out = c.appendPage(b, x, p, status, keep)
	c.setDeadline(c.server.limits.Stall)
	if c.wire.send(x, x.out, true) != nil {
		return false, false, gone("the client closed the connection within the response")
	}
	return keep, keepOrigin, refusal{}
}

// dropRest drops what has come of a response, and reports whether that was all of it, so that
// its connection can be used again.
func (x *exchange) dropRest() bool {
	for {
		n, ev, v := x.resp.Feed(x.back[x.backAt:x.backTo])
		if v != nil {
			return false
		}
		x.backAt += n
		switch ev {
		case http1.End:
			return x.resp.KeepAlive() && x.backAt == x.backTo
		case http1.NeedMore:
			return x.resp.Done() && x.resp.KeepAlive()
		}
	}
}

// appendErrorPage is appendRefusal with a page: programs are told the kind of error, and
// nobody what it was about.
func (c *client) appendErrorPage(b []byte, x *exchange, r refusal, p *pages.Page, keep bool) []byte {
	if x.hasHead() {
		c.identify(x)
	}
	b = http1.AppendStatusLine(b, r.status, []byte(http.StatusText(r.status)))
	b = x.stamp.AppendDate(b, x.began)
	b = append(append(append(b, "Proxy-Status: pharos; error="...), r.kind...), '\r', '\n')
	b = appendRetryAfter(b, r.after)
	if len(x.id) > 0 {
		b = append(append(append(b, "X-Request-Id: "...), x.id...), '\r', '\n')
	}
	b = append(b, r.lines...)
	if x.chain != nil {
		b = x.chain.AppendResponse(b, &x.pass, nil)
	}
	return c.appendPage(b, x, p, r.status, keep)
}

// appendRetryAfter appends after how many seconds the client may try again (RFC 9110 §10.2.3);
// 0: nothing is said.
func appendRetryAfter(b []byte, after int) []byte {
	if after == 0 {
		return b
	}
	return append(strconv.AppendInt(append(b, "Retry-After: "...), int64(after), 10), '\r', '\n')
}
