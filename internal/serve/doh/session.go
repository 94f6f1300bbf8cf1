package doh

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/http2"
	"pharos/internal/proxy/stamp"
	"pharos/internal/serve/dnsserver"
)

// session is one connection of HTTP/2. One goroutine reads, and answers what it has read:
//
//	octets -> http2.Conn.Feed -> requests that are complete -> answer -+-> next one, flush, read
//	                                                                  +-> not there yet: another goroutine
//	                                                                      reads on, this one waits and writes
//
// So an answer that is there at once, as nearly all are, takes no goroutine, and all answers
// to what came in one record leave in one.
type session struct {
	// Constant after newSession.
	carrier *Carrier
	visit   *dnsserver.Visit
	limits  dnsserver.Limits // those of the entrance
	nc      *tls.Conn

	// Owned by the goroutine that reads. in[start:end] has come and was not taken.
	in         []byte
	start, end int
	ready      []*turn // whose requests are complete and wait for their turn
	req        http1.Parser
	query      []byte // room for one

	running sync.WaitGroup // goroutines beside that of the entrance

	// mu is not held while something is read, written or asked.
	mu       sync.Mutex
	conn     *http2.Conn
	date     stamp.Stamp
	text     []byte  // room for the head of a response
	free     []*turn // for the next requests
	spare    []byte  // room for what is sent
	flushing bool
	leaving  bool          // GOAWAY was sent: when nothing is under way, that is the end
	closed   bool          // nothing more can be sent
	deadline time.Duration // that is set for reading
	due      time.Duration // when a stream is to be looked at, at the latest; 0: none is
}

const (
	// smallRead is the room for frames that a connection has at the least; queries are shorter.
	smallRead = 2 << 10
	// largeRead holds the longest frame that there may be.
	largeRead = 17 << 10
	// keptTurns and keptSpare are what a connection keeps for its next requests: as many, and as
	// large, as one record of questions makes.
	keptTurns = 16
	keptSpare = 16 << 10
)

func newSession(c *Carrier, nc *tls.Conn, v *dnsserver.Visit) *session {
	s := &session{carrier: c, visit: v, limits: v.Limits(), nc: nc, in: make([]byte, smallRead)}
	s.conn = http2.New(http2.Limits{
		Streams: s.limits.InFlight, Head: MaxFields, StreamWindow: streamWindow, Window: connWindow, Idle: s.limits.Idle, HeadTime: s.limits.Read,
	}, c.clock())
	return s
}

// run reads and answers until the connection ends, or until another goroutine does so.
func (s *session) run() {
	for {
		for len(s.ready) > 0 {
			t := s.ready[0]
			s.ready = s.ready[:copy(s.ready, s.ready[1:])]
			if !s.answer(t) {
				return
			}
		}
		if !s.more() {
			s.finish()
			return
		}
	}
}

// more takes what has come, or reads, and reports whether the connection goes on.
func (s *session) more() bool {
	s.mu.Lock()
	s.feed()
	if len(s.ready) > 0 {
		s.mu.Unlock()
		return true
	}
	s.flush()
	goes := s.housekeep()
	s.mu.Unlock()
	if !goes {
		return false
	}
	s.makeRoom()
	n, err := s.nc.Read(s.in[s.end:])
	s.end += n
	if n == 0 && err != nil && !isTimeout(err) {
		return false
	}
	return true
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// makeRoom moves what has come to the front of a buffer that has room for a frame.
func (s *session) makeRoom() {
	to := s.in
	switch have := s.end - s.start; {
	case have == len(s.in):
		to = make([]byte, largeRead)
	case have == 0 && len(s.in) > smallRead:
		to = make([]byte, smallRead)
	}
	s.end = copy(to, s.in[s.start:s.end])
	s.in, s.start = to, 0
}

// feed takes the frames that have come. s.mu is held.
func (s *session) feed() {
	now := s.carrier.clock()
	for {
		n, ev := s.conn.Feed(s.in[s.start:s.end], now)
		s.start += n
		switch ev.Kind {
		case http2.NeedMore, http2.Failed:
			return
		case http2.Opened:
			s.open(ev.Stream, now)
		case http2.Changed:
			s.changed(ev.Stream)
		case http2.Widened:
			s.push()
		}
	}
}

// open gives a request a turn.
func (s *session) open(stream *http2.Stream, now time.Duration) {
	if stream.Malformed != "" {
		s.conn.Finish(stream, now)
		return
	}
	var t *turn
	if n := len(s.free); n > 0 {
		t, s.free = s.free[n-1], s.free[:n-1]
	} else {
		t = newTurn(s)
	}
	t.stream, t.state, t.reads, t.cancel = stream, receiving, true, nil
	t.due = now + s.limits.Read
	stream.Owner = t
	if !s.isReady(t) {
		s.lookAt(t.due)
	}
}

// isReady sees whether a request is complete, or larger than any may be, and queues it then.
func (s *session) isReady(t *turn) bool {
	octets, last := t.stream.Content()
	if !last && !t.stream.Whole && !t.stream.TooLarge && octets < streamWindow {
		return false
	}
	t.state = waiting
	s.ready = append(s.ready, t)
	return true
}

// changed sees to a stream that has more content, may be sent more, or was reset.
func (s *session) changed(stream *http2.Stream) {
	t, ok := stream.Owner.(*turn)
	if !ok || t.stream != stream {
		return
	}
	switch {
	case t.state == receiving && !stream.Reset():
		s.isReady(t)
	case t.state == receiving || t.state == sending && stream.Reset():
		s.done(t)
	case t.state == sending:
		s.pushOne(t)
	case t.cancel != nil && stream.Reset():
		t.cancel()
	}
}

// push sends what waits for room, of all streams.
func (s *session) push() {
	for stream := range s.conn.Streams {
		if t, ok := stream.Owner.(*turn); ok && t.state == sending {
			s.pushOne(t)
		}
	}
}

func (s *session) pushOne(t *turn) {
	n := s.conn.SendData(t.stream, t.rest, true)
	if t.rest = t.rest[:copy(t.rest, t.rest[n:])]; len(t.rest) == 0 {
		s.done(t)
	}
}

// done ends a request that nothing more is to be done for.
func (s *session) done(t *turn) {
	s.conn.Finish(t.stream, s.carrier.clock())
	t.stream, t.cancel = nil, nil
	if cap(t.rest) > keptSpare {
		t.rest = nil
	}
	if len(s.free) < keptTurns {
		s.free = append(s.free, t)
	}
}

// lookAt sees to it that streams are looked at at that time. s.mu is held.
func (s *session) lookAt(at time.Duration) {
	if s.due == 0 || at < s.due {
		s.due = at
	}
}

// housekeep does what is due, sets the deadline for reading, and reports whether the
// connection goes on. s.mu is held.
func (s *session) housekeep() bool {
	now := s.carrier.clock()
	if s.due > 0 && now >= s.due {
		s.endSlow(now)
	}
	next := s.conn.Tick(now)
	if s.closed || s.conn.Failure() != nil || s.leaving && s.conn.Active() == 0 {
		return false
	}
	if s.due > 0 {
		next = min(next, s.due)
	}
	if next < s.deadline || now >= s.deadline { // else it is set again when it has come: that is cheaper
		s.deadline = next
		s.nc.SetReadDeadline(s.carrier.began.Add(next))
	}
	s.flush()
	return !s.closed
}

// endSlow resets the streams of clients that send or take too slowly.
func (s *session) endSlow(now time.Duration) {
	s.due = 0
	for stream := range s.conn.Streams {
		t, ok := stream.Owner.(*turn)
		switch {
		case !ok || t.state != receiving && t.state != sending:
		case now < t.due:
			s.lookAt(t.due)
		default:
			s.visit.Count(dnsserver.SlowClients)
			s.conn.Reset(stream, http2.Cancel)
			s.done(t)
		}
	}
}

// nudge has the reading side look at what is due. s.mu is held.
func (s *session) nudge() {
	s.deadline = 0
	s.nc.SetReadDeadline(time.Unix(1, 0))
}

// leave tells the client to go elsewhere, and ends the connection when it has its answers.
func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goAway()
	s.nudge()
}

func (s *session) goAway() {
	s.conn.GoAway(true)
	s.leaving = true
}

// flush sends what waits, unless somebody does already. s.mu is held, but not while it sends.
func (s *session) flush() {
	if s.flushing {
		return
	}
	s.flushing = true
	for s.conn.Waiting() > 0 && !s.closed {
		b := s.conn.Out(s.spare)
		s.spare = nil
		s.mu.Unlock()
		s.nc.SetWriteDeadline(time.Now().Add(s.limits.Write))
		_, err := s.nc.Write(b)
		s.mu.Lock()
		if cap(b) <= keptSpare {
			s.spare = b[:0]
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				s.visit.Count(dnsserver.SlowClients)
			}
			s.closed = true
			s.nudge()
		} else if s.conn.Active() > 0 {
			s.push() // there is room now
		}
	}
	s.flushing = false
}

// finish ends the connection: those who wait for answers need not any longer.
func (s *session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.conn.Failure(); f != nil && f.Code != http2.NoError {
		s.carrier.log.Debug("a client broke the rules of HTTP/2", "client", s.visit.Client.String(), "code", uint32(f.Code), "reason", f.Text)
	}
	s.conn.Close()
	s.flush()
	s.closed = true
	for stream := range s.conn.Streams {
		if t, ok := stream.Owner.(*turn); ok && t.cancel != nil {
			t.cancel()
		}
	}
	go s.nc.Close() // ends at once, or within seconds when TLS cannot say goodbye
}

// answer answers a request that is complete, and reports whether this goroutine still reads.
func (s *session) answer(t *turn) (reads bool) {
	query, why := s.read(t)
	if why != nil {
		return t.refuse(why)
	}
	switch s.visit.AskAndWait(query, t.write, t.waits) {
	case dnsserver.Sent:
		return t.end()
	case dnsserver.Alien:
		return t.refuse(&notDNS)
	case dnsserver.Busy:
		return t.refuse(&tooMany)
	}
	return t.reset() // there is no answer, or nobody for it
}

// read returns the query of a request, which is valid until the next one is read.
func (s *session) read(t *turn) ([]byte, *refusal) {
	if t.stream.TooLarge {
		return nil, &refusal{431, "the fields of the request are too large"}
	}
	h := s.carrier.handler
	s.req.ResetStream(headLimits, t.stream.Whole)
	t.stream.Head = append(t.stream.Head, "\r\n"...)
	if _, _, v := s.req.Feed(t.stream.Head); v != nil {
		return nil, &refusal{v.Status, v.Text}
	}
	if !h.isAt(s.req.Path()) {
		return nil, h.elsewhere()
	}
	switch method := s.req.MethodID(); {
	case t.stream.Protocol != "": // RFC 8441: nothing is tunnelled here
		return nil, &otherMethod
	case method == http1.MethodGet || method == http1.MethodHead:
		t.bare = method == http1.MethodHead
		query, why := queryOfURI(s.query, bytes.TrimPrefix(s.req.Query(), []byte("?")))
		s.query = query[:0]
		return query, why
	case method != http1.MethodPost:
		return nil, &otherMethod
	}
	if kind, _ := s.req.Get(http1.FieldContentType); !isMessage(kind) {
		return nil, &otherType
	}
	return s.content(t)
}

// content takes the content of a POST.
func (s *session) content(t *turn) ([]byte, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	octets, _ := t.stream.Content()
	if octets >= streamWindow {
		return nil, &tooLarge
	}
	if octets > cap(s.query) {
		s.query = make([]byte, octets)
	}
	query := s.query[:octets]
	s.conn.Take(t.stream, query)
	if octets > keptSpare {
		s.query = nil
	}
	return query, nil
}

// context of a turn that waits.
func (s *session) contextOf(t *turn) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.cancel = cancel; s.closed || t.stream.Reset() {
		cancel()
	}
	return ctx
}
