package httpproxy

import (
	"net/http"
	"strconv"

	"pharos/internal/proxy/http1"
	"pharos/internal/traffic/health"
)

// refusal is why a request is not answered by an origin: what the client is
// told, what the log says, and what may still be tried. The zero refusal is
// none.
type refusal struct {
	status int    // 0 with a kind: nothing can be answered any more
	kind   string // error type of RFC 9209 §2.3
	text   string
	close  bool           // the connection cannot be used any further
	retry  bool           // another member may be asked
	fault  health.Outcome // of the origin server; Answered: it is not at fault
	doubt  bool           // it may be the request's: another member is asked
	stale  bool           // a kept connection was dead: the same member may be asked anew
	after  int            // seconds after which the client may try again; 0: nothing is said
	lines  []byte         // whole field lines that the client is told
}

func (r refusal) isSet() bool { return r.kind != "" }

// gone is the refusal when there is nobody to answer: the client left, or the
// response is cut off in the middle.
func gone(text string) refusal { return refusal{kind: "gone", text: text, close: true} }

func violation(v *http1.Violation) refusal {
	return refusal{status: v.Status, kind: "http_request_error", text: v.Text, close: true}
}

// answer sends the response to a refused request and reports whether the
// connection stays open.
func (c *client) answer(x *exchange, r refusal) bool {
	x.reason = r.text
	c.endTotal(x)
	if r.kind == "http_request_error" {
		c.shard.refused.Add(1)
	}
	if r.status == 0 || x.started {
		if x.started {
			c.shard.aborted.Add(1)
			c.wire.cut()
		}
		return false
	}
	keep := !r.close && x.req.Done() && x.req.KeepAlive() && !c.server.draining.Load()
	x.status = r.status
	x.out = c.appendRefusal(x.out[:0], x, r, keep)
	return c.sendWhole(x, keep) == nil && keep
}

// sendWhole sends x.out, which is a whole response of our own, after which the connection
// stays open or not.
func (c *client) sendWhole(x *exchange, keep bool) error {
	x.trailers = x.trailers[:0] // those of the request
	c.setDeadline(c.server.limits.Stall)
	err := c.wire.send(x, x.out, true)
	if err == nil && !keep {
		c.linger(x)
	}
	return err
}

// appendRefusal makes a small response in plain text. Proxy-Status (RFC 9209)
// names the reason for programs, the content for people.
func (c *client) appendRefusal(b []byte, x *exchange, r refusal, keep bool) []byte {
	if c.isGRPC(x) {
		return c.appendGRPCRefusal(b, x, r, keep)
	}
	if p := c.pageFor(x, r.status, false); p != nil {
		return c.appendErrorPage(b, x, r, p, keep)
	}
	reason := http.StatusText(r.status)
	b = http1.AppendStatusLine(b, r.status, []byte(reason))
	b = x.stamp.AppendDate(b, x.began)
	b = append(b, "Proxy-Status: pharos; error="...)
	b = append(b, r.kind...)
	b = append(b, "; details="...)
	b = strconv.AppendQuote(b, r.text)
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"...)
	b = appendRetryAfter(b, r.after)
	if len(x.id) > 0 {
		b = append(append(append(b, "X-Request-Id: "...), x.id...), '\r', '\n')
	}
	b = append(b, r.lines...)
	if x.chain != nil {
		b = x.chain.AppendResponse(b, &x.pass, nil)
	}
	b = http1.AppendContentLength(b, int64(len("503 ")+len(reason)+len(": ")+len(r.text)+len("\n")))
	b = c.wire.endHead(b, x, http1.Length, keep)
	if x.req.MethodID() == http1.MethodHead {
		return b // RFC 9110 §9.3.2
	}
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(append(b, ' '), reason...)
	b = append(append(append(b, ": "...), r.text...), '\n')
	return b
}

// linger lets the client read the answer though nobody reads the rest of its request:
// what it goes on sending is dropped for a while.
func (c *client) linger(x *exchange) {
	if !c.wire.leave() {
		return
	}
	c.setDeadline(c.server.limits.Linger)
	for dropped := int64(x.unread()); dropped < c.server.limits.LingerBytes; {
		n, err := c.read(c.conn, x.in)
		if err != nil {
			return
		}
		dropped += int64(n)
	}
}
