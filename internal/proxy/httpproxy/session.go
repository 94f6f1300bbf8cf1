package httpproxy

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/proxy/http2"
)

// session is a client connection of HTTP/2. Its goroutine reads frames and keeps the
// connection's limits of time; each request has a seat (seat.go) with a goroutine of its
// own, which goes the same way as one of HTTP/1.1. What they send gathers in one buffer:
// whoever comes first writes it, and what others add meanwhile.
type session struct {
	client *client // the connection

	mu       sync.Mutex // never held while something is read or written
	conn     *http2.Conn
	seats    map[*seat]struct{}
	free     []*seat
	started  []*seat // whose requests were read but not handed over yet
	flushing bool
	since    time.Duration // of the write under way
	spare    []byte
	isClosed bool          // nothing more can be sent or read
	flushed  chan struct{} // holds one; a flush has ended

	ending atomic.Bool  // deadlines are meant
	nudged atomic.Bool  // the reading side is to look at what is due
	quiet  atomic.Int64 // since when there is nothing to do, on the coarse clock; 0: there is

	running sync.WaitGroup // seats
}

// Limits of sessions that are not configurable, and why.
const (
	// sessionBuffer holds two frames of the longest that is taken.
	sessionBuffer = 33 << 10
	// flushRounds is how often one request's goroutine writes for all before it hands
	// that over, so that it is not kept for ever by others.
	flushRounds = 4
)

var sessionBuffers = sync.Pool{New: func() any { return new([sessionBuffer]byte) }}

// speaksHTTP2 reports whether the connection is one of HTTP/2.
func (c *client) speaksHTTP2() bool {
	if c.tls != nil {
		return c.tls.Protocol == "h2" // RFC 9113 §3.2
	}
	return c.server.cfg.HTTP2 == OnlyHTTP2 || c.server.cfg.HTTP2 == Both && c.isHTTP2()
}

// isHTTP2 reports whether the first octets of a connection are the preface of HTTP/2 with
// prior knowledge (RFC 9113 §3.3). No method of HTTP/1.1 begins like it.
func (c *client) isHTTP2() bool {
	const enough = len("PRI ")
	c.setDeadline(c.server.limits.RequestHead)
	for {
		b := c.x.in[c.x.at:c.x.filled]
		n := min(len(b), enough)
		if string(b[:n]) != http2.Preface[:n] {
			return false
		}
		if n == enough {
			return true
		}
		if c.wire.fill(c.x) != nil {
			return false
		}
	}
}

// serveHTTP2 carries the requests of a connection of HTTP/2, of which the first octets may
// have been read, until it ends, or rests, which it reports.
func (c *client) serveHTTP2() (rests bool) {
	s := &session{client: c, seats: map[*seat]struct{}{}, flushed: make(chan struct{}, 1)}
	s.conn = http2.New(c.server.http2Limits(), c.server.clock())
	c.server.mu.Lock()
	c.session = s
	c.server.mu.Unlock()
	if c.secured != nil {
		c.secured.Interruptible(func() bool { return c.isInterrupted() || s.nudged.Load() })
	}
	c.shard.http2.Add(1)
	return s.carry()
}

// carry goes on until the connection ends, or rests, which it reports.
func (s *session) carry() (rests bool) {
	if s.read() {
		return true
	}
	s.close()
	s.running.Wait()
	return false
}

// clock is how long the Server has run, for what is measured in seconds.
func (s *Server) clock() time.Duration { return time.Duration(s.now.Load()) }

func (s *Server) http2Limits() http2.Limits {
	l := s.limits.HTTP2
	l.Head = s.http.MaxHead()
	l.Idle, l.HeadTime = s.limits.Idle, s.limits.RequestHead
	return l
}

// read reads frames until the connection ends, or rests, which it reports.
func (s *session) read() (rests bool) {
	room := sessionBuffers.Get().(*[sessionBuffer]byte)
	defer sessionBuffers.Put(room)
	c := s.client
	buf, filled := room[:], 0
	if c.x != nil {
		filled = copy(buf, c.x.in[c.x.at:c.x.filled])
		c.release()
	}
	for idle := false; ; {
		s.mu.Lock()
		s.nudged.Store(false)
		used := s.feed(buf[:filled])
		next, goes := s.housekeep()
		s.flush()
		s.noteQuiet(used == filled)
		s.mu.Unlock()
		s.start()
		if !goes {
			return false
		}
		filled = copy(buf, buf[used:filled])
		c.deadline.Store(int64(next))
		if filled == 0 {
			if idle && s.mayRest() && s.rest() {
				return true
			}
			c.letOthersRun()
		}
		n, err := c.conn.Read(buf[filled:])
		filled += n
		if idle = n == 0 && isTimeout(err); idle {
			c.conn.SetReadDeadline(time.Time{}) // something is due: see housekeep
		} else if n == 0 && err != nil {
			return false
		}
	}
}

// feed takes the frames that have come, and returns how many octets they were.
func (s *session) feed(b []byte) (used int) {
	now := s.client.server.clock()
	for {
		n, ev := s.conn.Feed(b[used:], now)
		used += n
		switch ev.Kind {
		case http2.NeedMore:
			s.count()
			return used
		case http2.Failed:
			s.count()
			s.wakeAll()
			return used
		case http2.Opened:
			s.seat(ev.Stream)
		case http2.Changed:
			if t, ok := ev.Stream.Owner.(*seat); ok {
				t.changed()
			}
		case http2.Widened:
			s.wakeAll()
		}
	}
}

func (s *session) count() {
	n, h := s.conn.Counters(), s.client.shard
	if n != (http2.Counters{}) {
		h.streams.Add(n.Opened)
		h.streamResets.Add(n.Resets)
		h.streamsBroken.Add(n.Broken)
		h.streamsRefused.Add(n.Refused)
	}
}

// seat gives a request a seat; start follows when mu is not held.
func (s *session) seat(stream *http2.Stream) {
	server := s.client.server
	if server.inFlight.Load() >= int64(server.limits.MaxConnections) {
		s.client.shard.streamsRefused.Add(1)
		s.conn.Reset(stream, http2.RefusedStream)
		s.conn.Finish(stream, server.clock())
		return
	}
	var t *seat
	if n := len(s.free); n > 0 {
		t, s.free = s.free[n-1], s.free[:n-1]
	} else {
		t = newSeat(s)
		s.seats[t] = struct{}{}
		s.running.Go(t.run) // ends when its work is closed, by close or dismiss
	}
	t.take(stream)
	s.started = append(s.started, t)
}

// start sends the seats that were given requests to work.
func (s *session) start() {
	for i, t := range s.started {
		t.work <- struct{}{}
		s.started[i] = nil
	}
	s.started = s.started[:0]
}

// housekeep does what is due, and returns when it is to be called next, and whether the
// connection goes on.
func (s *session) housekeep() (next time.Duration, goes bool) {
	server, m := s.client.server, s.conn
	now := server.clock()
	switch {
	case server.cut.Load():
		s.isClosed = true
	case s.flushing && s.since > 0 && now >= s.since+server.limits.Stall:
		s.client.shard.timeouts.Add(1)
		s.isClosed = true // nobody reads what we send
	}
	if server.draining.Load() {
		m.GoAway(false)
	}
	if server.lastCall.Load() {
		m.GoAway(true)
		if m.Active() == 0 {
			m.Close()
		}
	}
	next = m.Tick(now)
	if m.Active() == 0 {
		s.dismiss()
	} else {
		next = min(next, now+server.limits.Stall/2)
	}
	if m.Failure() != nil {
		s.wakeAll()
	}
	return next, !s.isClosed && m.Failure() == nil
}

// dismiss ends the goroutines of free seats.
func (s *session) dismiss() {
	for i, t := range s.free {
		delete(s.seats, t)
		close(t.work)
		s.free[i] = nil
	}
	s.free = s.free[:0]
}

// wakeAll lets all who wait look again.
func (s *session) wakeAll() {
	for t := range s.seats {
		if t.stream != nil {
			t.changed()
		}
	}
}

// flush sends what waits, unless somebody does already. mu is held, but not while it sends.
func (s *session) flush() {
	if s.flushing || s.isClosed || s.conn.Waiting() == 0 {
		return
	}
	s.flushing = true
	for range flushRounds {
		if !s.flushOnce() {
			s.endFlush()
			return
		}
	}
	go s.flushRest() // ends when nothing waits, or with the connection
}

func (s *session) flushRest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.flushOnce() {
	}
	s.endFlush()
}

func (s *session) endFlush() {
	s.flushing, s.since = false, 0
	select {
	case s.flushed <- struct{}{}:
	default:
	}
}

// flushOnce sends what waits now, and reports whether there is more.
func (s *session) flushOnce() bool {
	c := s.client
	if s.conn.Active() > 1 {
		// Others may be about to add something: one write for all.
		s.mu.Unlock()
		c.letOthersRun()
		s.mu.Lock()
	}
	b := s.conn.Out(s.spare)
	s.spare = nil
	s.since = max(c.server.clock(), 1)
	s.mu.Unlock()
	err := s.write(b)
	s.mu.Lock()
	if cap(b) <= 4*smallBuffer+sessionBuffer {
		s.spare = b[:0]
	}
	if err != nil {
		s.isClosed = true
		s.wakeAll()
		c.conn.SetReadDeadline(time.Unix(1, 0))
		return false
	}
	for t := range s.seats {
		if t.wantsRoom {
			t.wantsRoom = false
			t.wake(t.writable)
		}
	}
	return s.conn.Waiting() > 0 && !s.isClosed
}

// write sends all of b. Whether that takes too long is the reading side's to see, which then
// closes the connection.
func (s *session) write(b []byte) error {
	c := s.client
	for {
		n, err := c.conn.Write(b)
		if err == nil || !isTimeout(err) || s.ending.Load() || c.server.cut.Load() {
			return err
		}
		b = b[n:]
		c.conn.SetWriteDeadline(time.Time{}) // it was meant for an earlier step
	}
}

// close tells the client why, if there is a reason, and ends all seats.
func (s *session) close() {
	c := s.client
	c.deadline.Store(0)
	s.ending.Store(true)
	c.conn.SetWriteDeadline(time.Now().Add(c.server.limits.Linger))
	s.mu.Lock()
	failure := s.conn.Failure()
	if failure == nil {
		s.conn.Close()
	} else if failure.Code != http2.NoError {
		c.server.log.Debug("a client broke the rules of HTTP/2", "client", c.peer.String(), "code", uint32(failure.Code), "reason", failure.Text)
		c.shard.sessionsBroken.Add(1)
		c.shard.excesses[failure.Excess].Add(1)
	}
	for s.flushing && !s.isClosed {
		s.mu.Unlock()
		<-s.flushed // at the latest at the deadline
		s.mu.Lock()
	}
	said := !s.isClosed && s.conn.Waiting() > 0 && s.write(s.conn.Out(nil)) == nil
	s.isClosed = true
	s.wakeAll()
	s.mu.Unlock()
	if said && c.wire.leave() {
		s.drop()
	}
	c.reportRoundTrip()
	c.conn.Close()
	s.mu.Lock()
	s.dismiss()
	s.mu.Unlock()
}

// drop reads what still comes, for a while, so that closing does not take from the client
// what it was told.
func (s *session) drop() {
	c := s.client
	c.conn.SetReadDeadline(time.Now().Add(c.server.limits.Linger))
	room := sessionBuffers.Get().(*[sessionBuffer]byte)
	defer sessionBuffers.Put(room)
	for dropped := int64(0); dropped < c.server.limits.LingerBytes; {
		n, err := c.conn.Read(room[:])
		if err != nil {
			return
		}
		dropped += int64(n)
	}
}

// nudge has the reading side look at what is due, from where it rests if it does.
func (s *session) nudge() {
	c := s.client
	s.nudged.Store(true)
	if c.rouse() {
		go c.serve(nil) // ends with its connection, or when it rests again
		return
	}
	c.conn.SetReadDeadline(time.Unix(1, 0))
}

// finish ends the request of a seat, which is free for another one then.
func (s *session) finish(t *seat) {
	server := s.client.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn.Finish(t.stream, server.clock())
	t.stream = nil
	s.flush()
	if s.isClosed {
		delete(s.seats, t)
		close(t.work)
		return
	}
	s.free = append(s.free, t)
	if s.conn.Active() == 0 {
		s.noteQuiet(true)
		if server.lastCall.Load() {
			s.nudge()
		}
	}
}

// run carries the requests of a seat, one after the other.
func (t *seat) run() {
	for range t.work {
		t.carryOne()
		t.session.finish(t)
	}
}

// carryOne carries one request. A panic ends here: it is a bug, but one request's bug must not
// end all others.
func (t *seat) carryOne() {
	defer func() {
		if bug := recover(); bug != nil {
			t.server.log.Error("a bug ended a request", "client", t.peer.String(), "panic", bug, "stack", string(debug.Stack()))
			t.cut()
			if t.x != nil {
				t.x.leave()
			}
			t.x = nil // nobody knows what state its buffers are in
			if oc := t.origin.Swap(nil); oc != nil {
				oc.Close()
			}
		}
		t.deadline.Store(0)
		t.release()
	}()
	t.hold()
	t.request()
}

// appendClients appends the clients of s that have requests under way.
func (s *session) appendClients(all []*client) []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.seats {
		if t.stream != nil {
			all = append(all, &t.client)
		}
	}
	return all
}
