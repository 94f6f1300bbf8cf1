package httpproxy

import (
	"strconv"
	"time"

	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/logline"
	"pharos/internal/proxy/tracecontext"
)

// lines returns what makes lines of the access log.
func (c *Config) lines() *logline.Format {
	if c.AccessLogFormat != nil {
		return c.AccessLogFormat
	}
	format, err := logline.Parse(logline.Form{Kind: "json"})
	if err != nil {
		panic("BUG: the fields that lines have by default are no form: " + err.Error())
	}
	return format
}

// logged is the request at hand, which is over, as package logline looks at it.
type logged client

// AppendValue appends what is known of the request.
func (l *logged) AppendValue(b []byte, v logline.Variable, name string) []byte {
	c, x := (*client)(l), l.x
	switch v {
	case logline.Time:
		return x.stamp.AppendLog(b, x.began)
	case logline.TimeCommon:
		return x.stamp.AppendCommon(b, x.began)
	case logline.TimeUnix:
		return appendMillis(b, x.began.UnixMilli())
	case logline.Client:
		return append(b, c.peerAs.address...)
	case logline.ClientPort:
		return c.appendPeerPort(b)
	case logline.Believed:
		if !c.peerAs.trusted || !x.hasHead() {
			return append(b, c.peerAs.address...)
		}
		return c.believedPeer(x).AppendTo(b)
	case logline.Local:
		return append(b, c.local...)
	case logline.Scheme:
		return append(b, c.scheme()...)
	case logline.TLS, logline.Cipher, logline.ServerName, logline.CertVerify, logline.CertSubject, logline.CertNames, logline.CertPrint:
		return c.tls.appendValue(b, v)
	case logline.Status:
		return strconv.AppendInt(b, int64(x.status), 10)
	case logline.In:
		return strconv.AppendInt(b, x.received, 10)
	case logline.Out:
		return strconv.AppendInt(b, x.sent, 10)
	case logline.Seconds:
		return appendSeconds(b, x.times.total)
	case logline.ID:
		return append(b, x.id...)
	case logline.Reason:
		return append(b, x.reason...)
	case logline.User:
		return append(b, c.user(x)...)
	case logline.Filter:
		if x.chain != nil {
			return append(b, x.pass.Acted()...)
		}
		return b
	case logline.Coding:
		if x.coded.coding != compress.Identity {
			return append(b, x.coded.coding.String()...)
		}
		return b
	case logline.TraceID, logline.SpanID, logline.Sampled:
		return x.trace.appendValue(b, v)
	}
	if x.route != nil && v >= logline.Queue && v <= logline.Tries {
		return x.appendWay(b, v)
	}
	if !x.hasHead() {
		return b
	}
	switch v {
	case logline.Protocol:
		return append(append(b, "HTTP/"...), c.wire.version(x)...)
	case logline.Version:
		return append(b, c.wire.version(x)...)
	}
	return x.appendRequest(b, v, name)
}

// user returns who has shown who they are: to a filter, or by a certificate.
func (c *client) user(x *exchange) string {
	if x.chain != nil && x.pass.User() != "" {
		return x.pass.User()
	}
	if c.tls != nil {
		return c.tls.Subject
	}
	return ""
}

// appendValue appends what was agreed on by TLS; nothing in the clear.
func (id *Identity) appendValue(b []byte, v logline.Variable) []byte {
	switch {
	case id == nil:
		return b
	case v == logline.TLS:
		return append(b, id.Version...)
	case v == logline.Cipher:
		return append(b, id.Cipher...)
	case v == logline.ServerName:
		return append(b, id.ServerName...)
	}
	return id.appendCertificate(b, v)
}

// appendCertificate appends what is known of the client's certificate. One that is not good has
// ended the handshake, or nobody has asked for it.
func (id *Identity) appendCertificate(b []byte, v logline.Variable) []byte {
	switch v {
	case logline.CertVerify:
		if id.Certificate == "" {
			return append(b, "none"...)
		}
		return append(b, "verified"...)
	case logline.CertSubject:
		return append(b, id.Subject...)
	case logline.CertNames:
		return append(b, id.Names...)
	}
	return append(b, id.Print...)
}

// appendValue appends what is known of the trace.
func (t *trace) appendValue(b []byte, v logline.Variable) []byte {
	switch {
	case t.Trace.IsZero():
		return b
	case v == logline.TraceID:
		return t.Trace.Append(b)
	case v == logline.SpanID:
		return t.Span.Append(b)
	}
	return append(b, '0'+t.Flags&tracecontext.Sampled)
}

// hasHead reports whether the whole head of the request has come. What reads content beside
// this goroutine moves the parser on, and begins behind the head.
func (x *exchange) hasHead() bool {
	return x.upload != nil || !x.req.InHead() && len(x.req.Method()) > 0
}

// appendWay appends what is known of where the request went.
func (x *exchange) appendWay(b []byte, v logline.Variable) []byte {
	switch v {
	case logline.Route:
		return append(b, x.route.Name...)
	case logline.Pool:
		if x.counters != nil {
			return append(b, x.counters.Name...)
		}
	case logline.Queue:
		if x.choice.held > 0 {
			return appendSeconds(b, x.choice.held)
		}
	}
	if x.member == nil {
		return b
	}
	switch v {
	case logline.Member:
		return append(b, x.member.Name...)
	case logline.Address:
		return x.member.Address.AppendTo(b)
	case logline.Connect:
		if x.times.connect > 0 {
			return appendSeconds(b, x.times.connect)
		}
	case logline.FirstByte:
		if x.times.firstByte > 0 {
			return appendSeconds(b, x.times.firstByte)
		}
	case logline.Tries:
		return strconv.AppendInt(b, int64(x.tries), 10)
	}
	return b
}

// appendRequest appends a part of the request.
func (x *exchange) appendRequest(b []byte, v logline.Variable, name string) []byte {
	switch v {
	case logline.Method:
		return append(b, x.req.Method()...)
	case logline.Host:
		return append(b, x.req.Host()...)
	case logline.Target:
		return append(b, x.req.Target()...)
	case logline.Path:
		return append(b, x.path...)
	case logline.Query:
		return append(b, x.req.Query()...)
	case logline.Agent:
		agent, _ := x.req.Get(http1.FieldUserAgent)
		return append(b, agent...)
	case logline.Referer:
		referer, _ := x.req.Get(http1.FieldReferer)
		return append(b, referer...)
	case logline.Field:
		return append(b, fieldOf(&x.req, name)...)
	case logline.Cookie:
		return append(b, cookieOf(x, name)...)
	case logline.Response:
		if x.tries > 0 && !x.resp.InHead() {
			return append(b, fieldOf(&x.resp, name)...)
		}
	}
	return b
}

// appendPeerPort appends the port of the connection's other end.
func (c *client) appendPeerPort(b []byte) []byte {
	text := c.conn.RemoteAddr().String()
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == ':' {
			return append(b, text[i+1:]...)
		}
	}
	return b
}

// appendMillis appends milliseconds as seconds with three decimals.
func appendMillis(b []byte, ms int64) []byte {
	b = append(strconv.AppendInt(b, ms/1000, 10), '.')
	return append(b, byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10))
}

// appendSeconds appends d as seconds with six decimals.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := int64(d / time.Microsecond)
	b = append(strconv.AppendInt(b, us/1e6, 10), '.')
	u := us % 1e6 // divided by what the compiler knows, it is not divided
	return append(b, byte('0'+u/1e5), byte('0'+u/1e4%10), byte('0'+u/1e3%10), byte('0'+u/100%10), byte('0'+u/10%10), byte('0'+u%10))
}
