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
	if r.status == 0 || x.started {
		if x.started {
			c.shard.aborted.Add(1)
			c.reset()
		}
		return false
	}
	if r.kind == "http_request_error" {
		c.shard.refused.Add(1)
	}
	keep := !r.close && x.req.Done() && x.req.KeepAlive() && !c.server.draining.Load()
	x.status = r.status
	x.out = appendRefusal(x.out[:0], x, r, keep)
	c.setDeadline(c.server.limits.Stall)
	if c.write(c.conn, x.out) != nil {
		return false
	}
	if !keep {
		c.linger(x)
	}
	return keep
}

// appendRefusal makes a small response in plain text. Proxy-Status (RFC 9209)
// names the reason for programs, the content for people.
func appendRefusal(b []byte, x *exchange, r refusal, keep bool) []byte {
	reason := http.StatusText(r.status)
	b = http1.AppendStatusLine(b, r.status, []byte(reason))
	b = x.stamp.appendDate(b, x.began)
	b = append(b, "Proxy-Status: pharos; error="...)
	b = append(b, r.kind...)
	b = append(b, "; details="...)
	b = strconv.AppendQuote(b, r.text)
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"...)
	if r.after > 0 { // RFC 9110 §10.2.3
		b = append(strconv.AppendInt(append(b, "Retry-After: "...), int64(r.after), 10), '\r', '\n')
	}
	if len(x.id) > 0 {
		b = append(append(append(b, "X-Request-Id: "...), x.id...), '\r', '\n')
	}
	b = http1.AppendContentLength(b, int64(len("503 ")+len(reason)+len(": ")+len(r.text)+len("\n")))
	switch {
	case !keep:
		b = append(b, "Connection: close\r\n"...)
	case x.req.Minor() == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	b = append(b, "\r\n"...)
	if x.req.MethodID() == http1.MethodHead {
		return b // RFC 9110 §9.3.2
	}
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(append(b, ' '), reason...)
	b = append(append(append(b, ": "...), r.text...), '\n')
	return b
}

// linger ends the connection so that the client can still read the answer: our
// side is closed, and what it goes on sending is read and dropped for a while
// (RFC 9112 §9.6). Closing at once would reset the connection, and the reset
// may overtake the answer.
func (c *client) linger(x *exchange) {
	hc, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || hc.CloseWrite() != nil {
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

// reset makes the coming close a reset, so that a response cut off in the middle
// can never be taken for a whole one.
func (c *client) reset() {
	if tcp, ok := c.conn.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
}
