package httpproxy

import (
	"net/http"
	"strconv"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/terms"
)

// isGRPC reports whether the request is a call of gRPC, whose client looks for the outcome
// in fields of its own: it came over HTTP/2 or 3 and says so.
func (c *client) isGRPC(x *exchange) bool {
	const kind = "application/grpc"
	v, ok := x.req.Get(http1.FieldContentType)
	if !ok || len(v) < len(kind) || string(v[:len(kind)]) != kind || c.wire.version(x)[0] == '1' {
		return false
	}
	return len(v) == len(kind) || v[len(kind)] == '+' || v[len(kind)] == ';'
}

// Codes of gRPC (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).
const (
	codeUnknown           = 2
	codeDeadlineExceeded  = 4
	codePermissionDenied  = 7
	codeResourceExhausted = 8
	codeUnimplemented     = 12
	codeInternal          = 13
	codeUnavailable       = 14
	codeUnauthenticated   = 16
)

// codeOf returns the code for a status of ours: as clients map those of proxies
// (doc/http-grpc-status-mapping.md), but for what the mapping does not tell apart.
func codeOf(status int) int {
	switch status {
	case http.StatusBadRequest:
		return codeInternal
	case http.StatusUnauthorized:
		return codeUnauthenticated
	case http.StatusForbidden:
		return codePermissionDenied
	case http.StatusNotFound:
		return codeUnimplemented
	case http.StatusRequestTimeout:
		return codeDeadlineExceeded
	case http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return codeResourceExhausted
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codeUnavailable
	}
	return codeUnknown
}

// noteAnswer notes how the member at hand has answered, as far as the head of its response says
// so.
func (c *client) noteAnswer(x *exchange) {
	h := &x.choice
	if h.answered, h.isCall = x.resp.Status(), false; h.answered != http.StatusOK || !c.isGRPC(x) {
		return
	}
	code, ok := terms.ParseCode(fieldOf(&x.resp, "Grpc-Status"))
	h.answered, h.isCall = terms.StatusOf(code), !ok
}

// noteOutcome is noteAnswer for a call at its end.
func (x *exchange) noteOutcome() {
	if code, ok := terms.CodeOfTrailers(x.trailers); ok {
		x.choice.answered = terms.StatusOf(code)
	}
}

// code returns the code for a refusal.
func (r refusal) code() int {
	if r.kind == kindTotal {
		return codeDeadlineExceeded
	}
	return codeOf(r.status)
}

// appendGRPCRefusal makes a response that has its trailer fields in its head ("Trailers-Only"):
// without it clients would only say that the status is odd.
func (c *client) appendGRPCRefusal(b []byte, x *exchange, r refusal, keep bool) []byte {
	b = http1.AppendStatusLine(b, http.StatusOK, []byte("OK"))
	b = x.stamp.AppendDate(b, x.began)
	b = append(append(b, "Proxy-Status: pharos; error="...), r.kind...)
	b = append(strconv.AppendInt(append(b, "\r\nContent-Type: application/grpc\r\nGrpc-Status: "...), int64(r.code()), 10), "\r\nGrpc-Message: "...)
	for i := range len(r.text) { // percent-encoded, as the protocol has it
		if octet := r.text[i]; octet < ' ' || octet > '~' || octet == '%' {
			b = append(b, '%', "0123456789ABCDEF"[octet>>4], "0123456789ABCDEF"[octet&15])
		} else {
			b = append(b, octet)
		}
	}
	b = append(b, '\r', '\n')
	if len(x.id) > 0 {
		b = append(append(append(b, "X-Request-Id: "...), x.id...), '\r', '\n')
	}
	return c.wire.endHead(http1.AppendContentLength(b, 0), x, http1.Length, keep)
}
