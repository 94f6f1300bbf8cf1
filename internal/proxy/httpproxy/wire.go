package httpproxy

import (
	"pharos/internal/proxy/http1"
)

// wire is the client's end of an exchange: what differs between the versions of HTTP. The
// way of a request (request.go) knows the client by a wire and a net.Conn of content
// octets only; http1.go is the wire of HTTP/1.1, whose net.Conn carries heads as well.
//
// A request of another version is written into x.in in the form of HTTP/1.1, without what
// frames its content, and read by x.req (http1.Parser.ResetStream). So each request is held
// to the same rules, whatever it came by, and nothing a decoder lets through can end a
// field line at an origin server. A response is told the other way round: x.out begins
// with its status line and its field lines, which are the same for all versions.
//
// To carry another version: make a client with its wire and with a net.Conn that reads and
// writes content octets and heeds SetDeadline, and call client.request once per request.
type wire interface {
	// version names the version of the request at hand, for Via and the access log.
	version(x *exchange) string
	// readHead reads the head of the request into x.req. What is behind it lies in
	// [at, filled) of x.in.
	readHead(x *exchange) refusal
	// next reports what has come of the request content, as http1.Parser.Feed does, and
	// never waits. The octets are in x.in.
	next(x *exchange) (http1.Event, *http1.Violation)
	// fill waits for more of it, which comes to x.in[x.filled:].
	fill(x *exchange) error
	// interim sends an interim response: x.out, whose head is not completed yet.
	interim(x *exchange) error
	// framing returns how the content of the origin server's response is delimited for
	// the client.
	framing(x *exchange) http1.Framing
	// endHead completes the head of a final response, which is all that b holds.
	endHead(b []byte, x *exchange, framing http1.Framing, keep bool) []byte
	// send sends octets of a response, of which the first are the completed head; with
	// last, and x.trailers, it is complete.
	send(x *exchange, b []byte, last bool) error
	// join answers that the octets on the client's net.Conn are those of a tunnel from
	// now on, and sends the first of them.
	join(x *exchange, first []byte) error
	// leave tells the client, who has its answer, that nobody reads the rest of its
	// request. Until the deadline it may still be read and dropped, so that the answer
	// is not lost.
	leave() bool
	// cut makes the coming close one that no client takes for the end of a response.
	cut()
	// isGone reports whether the client has gone, as far as can be seen without reading.
	isGone() bool
}
