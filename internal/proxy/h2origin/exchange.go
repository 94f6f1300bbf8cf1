//lint:file-ignore SA1019 The ClientConn of net/http, which is to replace this one, came with Go 1.26 and has not been tried here.

package h2origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"

	"pharos/internal/proxy/http1"
)

const (
	headRoom = 64 << 10 // octets: the largest head that the gateway sends
	piece    = 16 << 10 // octets of content that are passed on at a time: a frame

	maxInterim = 8 // responses that wait for the gateway, which takes no more of them
)

// exchange returns the gateway's end of one exchange on a stream of cc, which is reserved.
func exchange(cc *http2.ClientConn, scheme string) net.Conn {
	gateway, ours := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{cc: cc, scheme: scheme, conn: ours, cancel: cancel, interims: make(chan []byte, maxInterim)}
	go s.run(ctx) // ends when the gateway closes its end, or with the response
	return &end{gateway, s}
}

// end is the gateway's end. It says why there is no answer, if that says that nobody has looked
// at the request.
type end struct {
	net.Conn
	stream *stream
}

func (e *end) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	return n, e.explain(err)
}

func (e *end) Write(b []byte) (int, error) {
	n, err := e.Conn.Write(b)
	return n, e.explain(err)
}

func (e *end) explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		if why := e.stream.untouched.Load(); why != nil {
			return why
		}
	}
	return err
}

// Untouched is the error when an origin server says that it has not looked at a request, which
// can be sent anew whatever it asks for (RFC 9113 §8.7).
type Untouched struct{ leaving bool }

func (u *Untouched) Error() string {
	if u.leaving {
		return "h2origin: the server ends the connection (GOAWAY) and has not looked at the request"
	}
	return "h2origin: the server has not taken the request (REFUSED_STREAM)"
}

// Untouched reports whether a new connection to the same server may help.
func (u *Untouched) Untouched() (leaving bool) { return u.leaving }

// Errors of golang.org/x/net/http2 that have no name.
const (
	gotGoAway = "http2: Transport received Server's graceful shutdown GOAWAY" // above the last stream that counts
	unusable  = "http2: client conn not usable"
)

// untouchedBy returns what err says of the request being looked at; nil: that it may be.
func untouchedBy(err error) *Untouched {
	var reset http2.StreamError
	switch {
	case errors.As(err, &reset) && reset.Code == http2.ErrCodeRefusedStream:
		return &Untouched{}
	case err.Error() == gotGoAway, err.Error() == unusable:
		return &Untouched{leaving: true}
	}
	return nil
}

// stream is our end.
type stream struct {
	cc       *http2.ClientConn
	scheme   string
	conn     net.Conn
	cancel   context.CancelFunc
	interims chan []byte // in the form of HTTP/1.1, on their way to the gateway

	untouched atomic.Pointer[Untouched] // set before conn is closed

	// Owned by run until the request is on its way, then by the reader of its content.
	req       http1.Parser
	room      []byte
	at, until int    // [at, until) of room is unread
	rest      []byte // content for which its reader had no room
	trailers  http.Header

	out []byte // owned by run
}

// answered is what came of a request.
type answered struct {
	resp *http.Response
	err  error
}

// run is the exchange: one request, one response.
func (s *stream) run(ctx context.Context) {
	defer s.conn.Close()
	defer s.cancel()
	req, err := s.readHead(ctx)
	if err != nil {
		s.giveBack(ctx)
		return
	}
	done := make(chan answered, 1)
	go func() { // ends when the origin has answered, or ctx does
		resp, err := s.cc.RoundTrip(req)
		done <- answered{resp, err}
	}()
	a, ok := s.await(done)
	if a.err != nil {
		s.untouched.Store(untouchedBy(a.err))
	}
	if a.err != nil || !ok {
		s.cancel() // the gateway sees a connection that ended before it answered
		if a = <-done; a.resp != nil {
			a.resp.Body.Close()
		}
		return
	}
	defer a.resp.Body.Close()
	s.respond(req, a.resp)
}

// await passes interim responses on until the final one is there.
func (s *stream) await(done chan answered) (answered, bool) {
	for {
		select {
		case b := <-s.interims:
			if _, err := s.conn.Write(b); err != nil {
				return answered{}, false
			}
		case a := <-done:
			for a.err == nil && len(s.interims) > 0 {
				if _, err := s.conn.Write(<-s.interims); err != nil {
					done <- a
					return answered{}, false
				}
			}
			if a.err != nil {
				done <- a
			}
			return a, true
		}
	}
}

// giveBack ends the reservation of the stream, for which there is no request.
func (s *stream) giveBack(ctx context.Context) {
	s.cancel()
	if req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.scheme+"://nobody.invalid/", nil); err == nil {
		s.cc.RoundTrip(req) // which sees that ctx has ended
	}
}

// readHead reads the head of the request.
func (s *stream) readHead(ctx context.Context) (*http.Request, error) {
	s.room = make([]byte, 4<<10)
	s.req.ResetRequest(http1.Limits{KeepUnderscores: true})
	for {
		n, ev, v := s.req.Feed(s.room[s.at:s.until])
		if v != nil {
			return nil, v
		}
		s.at += n
		if ev == http1.HeadDone {
			return s.request(ctx), nil
		}
		if s.until == len(s.room) {
			if len(s.room) >= headRoom {
				return nil, errors.New("h2origin: the head of the request is too large")
			}
			s.room = append(s.room, make([]byte, len(s.room))...)
		}
		if err := s.more(); err != nil {
			return nil, err
		}
	}
}

func (s *stream) more() error {
	n, err := s.conn.Read(s.room[s.until:])
	s.until += n
	if n > 0 {
		return nil
	}
	return err
}

// request is what was read, as net/http has it.
func (s *stream) request(ctx context.Context) *http.Request {
	p := &s.req
	req := &http.Request{
		Method: string(p.Method()), Host: string(p.Host()), Header: http.Header{}, Proto: "HTTP/2.0", ProtoMajor: 2,
		URL: s.target(),
	}
	for _, f := range p.Fields() {
		if name := string(p.Name(f)); f.ID != http1.FieldHost && p.Forwardable(f) {
			name = textproto.CanonicalMIMEHeaderKey(name)
			req.Header[name] = append(req.Header[name], string(p.Value(f)))
		}
	}
	// RFC 9110 §10.1.4: trailer fields are passed on to the client; gRPC asks for it.
	req.Header["Te"] = []string{"trailers"}
	if _, has := req.Header["User-Agent"]; !has {
		req.Header["User-Agent"] = nil // none of its own
	}
	switch p.Framing() {
	case http1.Length:
		req.ContentLength = p.ContentLength()
	case http1.Chunked:
		req.ContentLength = -1
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: s.interim})
	switch {
	case !p.Done():
		req.Body = (*content)(s)
		if req.ContentLength < 0 {
			req.Trailer = http.Header{} // those that come are added behind the content
		}
	case isGRPC(p):
		// "Where the request stream needs to be closed but no data remains to be sent
		// implementations MUST send an empty DATA frame": servers wait for it.
		req.Body, req.ContentLength = (*content)(s), -1
	default:
		go s.awaitEnd() // ends when either end is closed
	}
	s.trailers = req.Trailer
	return req.WithContext(ctx)
}

// isGRPC reports whether the request is a call of gRPC (doc/PROTOCOL-HTTP2.md).
func isGRPC(p *http1.Parser) bool {
	kind, _ := p.Get(http1.FieldContentType)
	return bytes.HasPrefix(kind, []byte("application/grpc"))
}

// target is the target of the request, octet for octet.
func (s *stream) target() *url.URL {
	path, query := string(s.req.Path()), string(s.req.Query())
	u := &url.URL{Scheme: s.scheme, Host: string(s.req.Host()), Opaque: path + query}
	if strings.HasPrefix(path, "//") { // which url.URL takes for an authority
		if plain, err := url.PathUnescape(path); err == nil {
			u.Opaque, u.Path, u.RawPath, u.RawQuery = "", plain, path, strings.TrimPrefix(query, "?")
		}
	}
	return u
}

// awaitEnd ends the exchange when the gateway closes its end: the stream is reset then.
// The gateway has nothing more to say.
func (s *stream) awaitEnd() {
	s.conn.Read(make([]byte, 1))
	s.cancel()
}

// content is the content of the request.
type content stream

func (c *content) Read(b []byte) (int, error) {
	s := (*stream)(c)
	for len(s.rest) == 0 {
		n, ev, v := s.req.Feed(s.room[s.at:s.until])
		if v != nil {
			return 0, v
		}
		s.at += n
		switch ev {
		case http1.Content:
			s.rest = s.req.Content
		case http1.Trailer:
			s.addTrailer()
		case http1.End:
			go s.awaitEnd() // ends when either end is closed
			return 0, io.EOF
		case http1.NeedMore:
			if s.req.Done() {
				go s.awaitEnd()
				return 0, io.EOF
			}
			s.until = copy(s.room, s.room[s.at:s.until])
			s.at = 0
			if err := s.more(); err != nil {
				s.cancel() // cut off: the origin must not take it for whole
				return 0, io.ErrUnexpectedEOF
			}
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (c *content) Close() error { return nil }

// addTrailer has a trailer field go behind the content (RFC 9113 §8.1).
func (s *stream) addTrailer() {
	if name := textproto.CanonicalMIMEHeaderKey(string(s.req.TrailerName)); s.req.TrailerForwardable() {
		s.trailers[name] = append(s.trailers[name], string(s.req.TrailerValue))
	}
}

// interim has an interim response passed on. It is called by who reads for all streams of
// the connection, and waits for nobody: beyond maxInterim they are dropped.
func (s *stream) interim(code int, fields textproto.MIMEHeader) error {
	b := http1.AppendStatusLine(nil, code, []byte(http.StatusText(code)))
	select {
	case s.interims <- append(appendFields(b, http.Header(fields)), '\r', '\n'):
	default:
	}
	return nil
}

// room is what a response passes through. Who reads at the other end has a copy when a write
// returns.
type room struct {
	out   []byte
	piece [piece]byte
}

var rooms = sync.Pool{New: func() any { return &room{out: make([]byte, 0, piece+piece/2)} }}

// respond passes the final response on: its head with the first of its content, so that
// what is small is one write.
func (s *stream) respond(req *http.Request, resp *http.Response) {
	r := rooms.Get().(*room)
	defer func() {
		r.out = s.out[:0]
		rooms.Put(r)
	}()
	s.out = http1.AppendStatusLine(r.out, resp.StatusCode, []byte(http.StatusText(resp.StatusCode)))
	resp.Header.Del("Content-Length")
	s.out = appendFields(s.out, resp.Header)
	none := req.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
	chunked := !none && (resp.ContentLength < 0 || len(resp.Trailer) > 0)
	switch {
	case chunked:
		s.out = http1.AppendChunked(s.out)
	case resp.ContentLength >= 0 && resp.StatusCode != http.StatusNoContent:
		s.out = http1.AppendContentLength(s.out, resp.ContentLength)
	}
	s.out = append(s.out, '\r', '\n')
	if !none && !s.relay(resp, chunked, r.piece[:]) || s.flush() != nil {
		return
	}
	s.conn.Close()
}

// relay passes the content on as it comes, and reports whether it came whole.
func (s *stream) relay(resp *http.Response, chunked bool, b []byte) bool {
	if chunked && s.flush() != nil { // a stream of messages begins with its head
		return false
	}
	for {
		n, err := resp.Body.Read(b)
		switch {
		case chunked && n > 0:
			s.out = http1.AppendChunk(s.out, b[:n])
		default:
			s.out = append(s.out, b[:n]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil || s.flush() != nil {
			return false
		}
	}
	if chunked {
		s.out = http1.AppendLastChunk(s.out, appendFields(nil, resp.Trailer))
	}
	return true
}

func (s *stream) flush() error {
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// appendFields appends field lines. What HTTP/1.1 reads as an end of a line cannot be in
// them: golang.org/x/net/http2 refuses such fields, and package http1 would as well.
func appendFields(b []byte, fields http.Header) []byte {
	for name, values := range fields {
		for _, v := range values {
			b = http1.AppendField(b, []byte(strings.ToLower(name)), []byte(v))
		}
	}
	return b
}
