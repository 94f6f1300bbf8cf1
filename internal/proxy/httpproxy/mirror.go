package httpproxy

import (
	"io"
	"math/rand/v2"
	"net"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/mirror"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/proxy/terms"
)

// This file sends copies of requests to another pool. A copy goes the same way as a request
// (askMember), for a client that takes everything and looks at nothing; the request that it is
// of never waits for it, and never hears of it.

// Bounds of a copy.
const (
	// copyTime is how long a copy may take; then it is given up.
	copyTime = 30 * time.Second
	// mostOfCopy is how much of the response to a copy is read, in octets; then its connection
	// is closed.
	mostOfCopy = 1 << 20
)

// mirrorField marks copies, for servers that do not want to do a thing twice. A client cannot
// set it where requests are copied.
const mirrorField = "X-Mirrored"

// copying is a copy that is made.
type copying struct {
	mirror.Copy
	of *served.Mirroring
}

// mirror has the request copied, if it is to be: at once if its content is there, or when it
// has all been passed on (upload.go). Requests that ask for a tunnel are not copied.
func (c *client) mirror(x *exchange, m *served.Mirroring) {
	method := x.req.MethodID()
	isSafe := method == http1.MethodGet || method == http1.MethodHead || method == http1.MethodOptions // RFC 9110 §9.2.1
	switch {
	case x.req.Upgrade() != nil, c.mustSwitch, !m.Takes(isSafe, rand.IntN(100)):
		return
	case x.contentEnd-x.content > m.Content, x.upload != nil && x.req.ContentLength() > int64(m.Content):
		m.Skip()
		return
	}
	y := &copying{mirror.Copy{Head: c.copyHead(x), Most: m.Content}, m}
	x.mirrored = m.Pool
	if x.upload != nil {
		x.upload.copy = y
		return
	}
	y.Add(x.in[x.content:x.contentEnd])
	c.sendCopy(x, y)
}

// copyHead returns the head of a copy, but for its last lines, which say how long its content
// is.
func (c *client) copyHead(x *exchange) []byte {
	sending, upload, upgrade, at := x.sending, x.upload, x.upgrade, x.trace.at
	x.sending, x.upload = http1.NoContent, nil
	head := c.appendRequestHead(make([]byte, 0, len(x.head)+64), x)
	x.sending, x.upload, x.upgrade, x.trace.at = sending, upload, upgrade, at
	return append(head[:len(head)-len("\r\n")], mirrorField+": 1\r\n"...)
}

// sendCopy sends a copy whose content is there, beside everything else.
func (c *client) sendCopy(x *exchange, y *copying) {
	of, s := y.of, c.server
	switch {
	case y.IsOver:
		of.Skip()
		return
	case !of.Begin(of.Most):
		return
	}
	sending := http1.NoContent
	if x.sending != http1.NoContent {
		sending = http1.Length
		y.Head = http1.AppendContentLength(y.Head, int64(len(y.Content)))
	}
	y.Head = append(y.Head, '\r', '\n')
	copied := &client{
		server: s, shard: c.shard, lane: uint32(s.nextID.Add(1) - 1), conn: nowhere{}, peer: c.peer, peerPort: c.peerPort,
		local: c.local, peerAs: c.peerAs, descriptor: -1, socket: -1,
	}
	copied.wire = (*unheard)(copied)
	table := x.table
	if !s.addCopy(copied) {
		of.End(false)
		return
	}
	s.copies.Go(func() { // ends within copyTime, or with Shutdown
		defer s.dropCopy(copied)
		of.End(copied.carryCopy(table, y, sending))
	})
}

// copyTerms are those of copies: one member is asked, and everything ends.
var copyTerms = terms.Terms{Total: copyTime, Streams: true, Tries: 1}

// copyRoute stands for the route of copies, whose responses nobody wants compressed.
var copyRoute = route.Route{Uncompressed: true, Fallback: -1}

// carryCopy carries a copy to a member, and reports whether that has answered.
func (c *client) carryCopy(table *served.Table, y *copying, sending http1.Framing) bool {
	x := c.hold()
	defer func() {
		if bug := recover(); bug != nil { // one copy's bug must not end anything else
			c.server.log.Error("a bug ended a copy of a request", "route", y.of.Route, "panic", bug)
			return // with its buffers, as nobody knows what state they are in
		}
		x.in = x.small.in
		c.release()
	}()
	x.reset()
	x.began = time.Now()
	x.in = append(append(make([]byte, 0, len(y.Head)+len(y.Content)), y.Head...), y.Content...)
	limits := c.server.http
	limits.StartLine, limits.Fields, limits.FieldCount = len(y.Head), len(y.Head), http1.MaxFields // what was let in has grown by our fields
	x.req.ResetRequest(limits)
	n, event, violation := x.req.Feed(x.in[:len(y.Head)])
	if violation != nil || event != http1.HeadDone {
		return false
	}
	x.content, x.contentEnd, x.at, x.filled = n, len(x.in), len(x.in), len(x.in)
	x.head, x.sending = append(x.head[:0], y.Head...), sending
	x.way = way{table: table, route: &copyRoute, pool: y.of.To, index: y.of.Index, counters: table.CountersAt(y.of.Index), terms: &copyTerms}
	x.trace.at = 0
	c.beginTerms(x)
	h := &x.choice
	h.begin(c, x)
	at := h.next(0)
	if at < 0 {
		return false
	}
	x.member, h.at, x.tries = &h.view.Members[at], at, 1
	_, r := c.askMember(x, x.member)
	return !r.isSet()
}

// addCopy has the limits of time of a copy kept, unless the server is about to end.
func (s *Server) addCopy(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.copied[c] = struct{}{}
	return true
}

func (s *Server) dropCopy(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.copied, c)
}

// endCopies gives up the copies that are under way. Nobody else is there any more.
func (s *Server) endCopies() {
	s.cutOff()
	s.copies.Wait() // the watcher interrupts those that were between two waits
}

// unheard is the wire of a copy: nobody hears what is said on it.
type unheard client

func (w *unheard) version(*exchange) string                                      { return "1.1" }
func (w *unheard) readHead(*exchange) refusal                                    { return refusal{} }
func (w *unheard) next(*exchange) (http1.Event, *http1.Violation)                { return http1.End, nil }
func (w *unheard) fill(*exchange) error                                          { return io.EOF }
func (w *unheard) interim(*exchange) error                                       { return nil }
func (w *unheard) framing(x *exchange) http1.Framing                             { return x.resp.Framing() }
func (w *unheard) endHead(b []byte, _ *exchange, _ http1.Framing, _ bool) []byte { return b }
func (w *unheard) join(*exchange, []byte) error                                  { return io.ErrClosedPipe }
func (w *unheard) leave() bool                                                   { return false }
func (w *unheard) cut()                                                          {}
func (w *unheard) isGone() bool                                                  { return false }

// send drops what is said, up to a bound.
func (w *unheard) send(x *exchange, _ []byte, _ bool) error {
	if x.sent > mostOfCopy {
		return io.ErrClosedPipe
	}
	return nil
}

// nowhere is a connection that nothing comes from.
type nowhere struct{}

func (nowhere) Read([]byte) (int, error)         { return 0, io.EOF }
func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) Close() error                     { return nil }
func (nowhere) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (nowhere) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (nowhere) SetDeadline(time.Time) error      { return nil }
func (nowhere) SetReadDeadline(time.Time) error  { return nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }
