package l4proxy

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pharos/internal/proxy/l4route"
	"pharos/internal/proxy/places"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file is the way of a datagram, top-down. Datagrams from one address and port are one
// session: a socket of its own that is connected to one member, so that the kernel tells that
// member's replies, and its refusals by ICMP, from those of others.
//
//	receive: datagram -> session of its client -> member
//	run:     member -> session -> client

// datagram is memory for one, behind room for a PROXY header.
type datagram [headerRoom + maxDatagram]byte

const (
	headerRoom  = 64 // octets; a header of version 2 for IPv6 has 52
	maxDatagram = 1 << 16

	// maxKept is up to which size the first datagram of a session is kept, to be sent to
	// another member if the first one is not there: what fits an Ethernet frame.
	maxKept = 1500
	// provenIdle is how long a session is silent at least that has to give way though its
	// client has answered to an answer. Arbitrary: somebody who waits asks again within it.
	provenIdle = 5 * time.Second
)

// session is the datagrams of one client.
type session struct {
	of     *sessions // constant, as all of this block but for what run changes
	key    sessionKey
	stream *Stream
	client netip.AddrPort // unmapped
	began  time.Time
	from   time.Duration
	lane   uint32
	beside []byte // what is said beside replies: from which address they are
	target *Target
	header []byte // that goes before each datagram

	// Owned by begin, then by run.
	member *pool.Member
	choice choice
	tries  int
	first  []byte // the first datagram, until it was answered
	fate

	socket         atomic.Pointer[net.UDPConn]
	load           atomic.Pointer[pool.MemberLoad]
	last           atomic.Int64
	asked, replies atomic.Int64
	received, sent atomic.Int64
	answeredAt     atomic.Int64

	// Guarded by sessions.mu.
	older, newer *session
	proven       bool // the client has sent something after an answer
	over         bool
	reason       string
}

// sessionKey is what datagrams of one session have in common.
type sessionKey struct {
	door   *door
	client netip.AddrPort // as the socket has it
}

// sessions are those of one stream.
type sessions struct {
	of *running // constant

	mu     sync.Mutex // guards all below, and parts of each session
	all    map[sessionKey]*session
	fresh  chain // those whose client has never sent anything after an answer: it may not exist
	proven chain
	closed bool
}

// chain is sessions in the order of the last datagram of their clients.
type chain struct{ oldest, newest *session }

func newSessions(r *running) *sessions { return &sessions{of: r, all: map[sessionKey]*session{}} }

// receive takes datagrams until l is closed.
func (p *Proxy) receive(d *door, l *net.UDPConn) {
	room := new(datagram)
	var oob [oobRoom]byte
	beside := oob[:0]
	if d.address.Addr().IsUnspecified() {
		beside = oob[:]
	}
	for {
		n, oobn, _, from, err := l.ReadMsgUDPAddrPort(room[headerRoom:], beside)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // of a reply that could not be delivered
		}
		d.to.Load().udp.take(sessionKey{d, from}, room, n, beside[:oobn])
	}
}

// take carries one datagram, of n octets behind headerRoom.
func (t *sessions) take(key sessionKey, room *datagram, n int, beside []byte) {
	now := t.of.proxy().cfg.Clock()
	for range 2 { // a session that ends just now is followed by a new one
		s := t.find(key, now)
		if s == nil {
			if s = t.begin(key, now, room[headerRoom:headerRoom+n], beside); s == nil {
				return
			}
		}
		if s.pass(room, n, now) {
			return
		}
	}
	t.of.Dropped.Add(1) // it waits for its member, and was asked again
}

// find returns the session of a client, and notes that it has sent something: what is counted
// as asked is waited for, and does not come to a session that ends with the last answer.
func (t *sessions) find(key sessionKey, now time.Duration) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.all[key]
	if s == nil {
		return nil
	}
	s.last.Store(int64(now))
	s.asked.Add(1)
	t.chainOf(s).remove(s)
	s.proven = s.proven || s.replies.Load() > 0
	t.chainOf(s).add(s)
	return s
}

func (t *sessions) chainOf(s *session) *chain {
	if s.proven {
		return &t.proven
	}
	return &t.fresh
}

// begin makes a session for a client and its first datagram; nil: that is dropped, or is sent
// later, when there is a member.
func (t *sessions) begin(key sessionKey, now time.Duration, first, beside []byte) *session {
	p, stream := t.of.proxy(), t.of.stream.Load()
	client := netip.AddrPortFrom(key.client.Addr().Unmap(), key.client.Port())
	if stream.Allows != nil && !stream.Allows(client.Addr()) {
		t.of.Refused[RefusedClient].Add(1)
		return nil
	}
	i := stream.Routes.Find(client.Addr(), nil)
	if i == l4route.Nowhere {
		t.of.Refused[RefusedRoute].Add(1)
		return nil
	}
	s := &session{
		of: t, key: key, stream: stream, client: client, began: time.Now(), from: now, lane: p.lanes.Add(1), beside: origin(beside), target: &stream.Pools[i],
	}
	s.last.Store(int64(now))
	if local := key.door.bound; s.target.Header != nil {
		s.header = s.target.Header(client, netip.AddrPortFrom(local.Addr().Unmap(), local.Port()))
	}
	if len(first) <= maxKept {
		s.first = append([]byte(nil), first...)
	}
	s.asked.Store(1)
	if !t.seat(s, now) {
		return nil
	}
	if !s.target.hasSomebody() {
		t.of.Taken.Add(1)
		p.running.Go(s.runHeld)
		return nil
	}
	s.choose()
	if !s.next() {
		s.nobody()
		return nil
	}
	t.of.Taken.Add(1)
	p.running.Go(s.run)
	return s
}

// choose makes ready to choose a member.
func (s *session) choose() {
	p := s.of.of.proxy()
	s.choice = p.choose(s.target, s.client.Addr(), "", s.lane)
	if s.sampled = p.cfg.Past.isSampled(); s.sampled {
		s.told = s.choice.tell()
	}
	if s.waited > 0 {
		s.note(p, &s.choice)
	}
}

// nobody ends a session that no member is there for.
func (s *session) nobody() {
	s.of.of.Refused[RefusedMember].Add(1)
	s.note(s.of.of.proxy(), &s.choice)
	s.finish("refused: no member could be reached")
	s.end()
}

// seat notes s, in the place of an older one if there are most.
func (t *sessions) seat(s *session, now time.Duration) bool {
	limits := &s.stream.Limits
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if len(t.all) >= limits.Connections {
		victim := t.fresh.oldest
		if victim == nil && t.proven.oldest != nil && now-time.Duration(t.proven.oldest.last.Load()) > provenIdle {
			victim = t.proven.oldest
		}
		if victim == nil {
			t.of.Dropped.Add(1)
			return false
		}
		t.of.Displaced.Add(1)
		victim.finishLocked(endDisplaced)
	}
	if !t.of.places.TakeClient(s.client.Addr(), places.Written, limits.PerClient) {
		t.of.Refused[RefusedPerClient].Add(1)
		return false
	}
	t.all[s.key] = s
	t.fresh.add(s)
	t.of.Active.Add(1)
	return true
}

// pass sends a datagram to the member; false: the session is over.
func (s *session) pass(room *datagram, n int, now time.Duration) bool {
	socket := s.socket.Load()
	if socket == nil {
		s.asked.Add(-1)
		return false
	}
	at := headerRoom - len(s.header)
	copy(room[at:], s.header)
	if _, err := socket.Write(room[at : headerRoom+n]); errors.Is(err, net.ErrClosed) {
		return false
	} // another error is the last one's, and run is told of it, too; or the datagram is lost, as datagrams are
	s.received.Add(int64(n))
	s.of.of.Received.Add(uint64(n))
	if m := s.load.Load(); m != nil { // else it has just failed, and run finds another one
		m.Carried(now, n)
	}
	return true
}

// next connects the session to a member, or to the next one; false: nobody is left.
func (s *session) next() bool {
	for s.tries < s.stream.Limits.Tries {
		m := s.choice.next()
		if m == nil {
			return false
		}
		if s.tries++; s.tries > 1 {
			s.of.of.Retries.Add(1)
		}
		socket, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(m.Address))
		if err != nil {
			s.of.of.Unreached.Add(1)
			continue // for a reason of this machine
		}
		now := s.of.of.proxy().cfg.Clock()
		s.member = m
		s.load.Store(m.Load)
		s.target.Pool.Load().Begin(s.lane, m.Load, now)
		s.choice.settled()
		return s.connected(socket)
	}
	return false
}

// connected has the session use a socket, unless it is over.
func (s *session) connected(socket *net.UDPConn) bool {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.over {
		socket.Close()
		return false
	}
	s.socket.Store(socket)
	return true
}

// run carries replies until the session is over.
func (s *session) run() {
	defer s.end()
	r := newReader(s.socket.Load())
	for {
		b, err := r.next()
		if err != nil {
			r.release()
			if !s.failed(err) {
				return
			}
			r = newReader(s.socket.Load())
			continue
		}
		s.reply(b)
	}
}

// reply passes a datagram of the member on.
func (s *session) reply(b []byte) {
	p := s.of.of.proxy()
	now := p.cfg.Clock()
	s.last.Store(int64(now))
	n := s.replies.Add(1)
	if n == 1 {
		s.first = nil
		s.answeredAt.Store(int64(now))
		p.tell(s.member, health.Answered, now-s.from, "answered a datagram")
	}
	s.finishAnswered(n)                                           // first: who has the last answer may ask again at once, and has a new session then
	s.key.door.udp.WriteMsgUDPAddrPort(b, s.beside, s.key.client) // what the kernel has no room for is lost, as datagrams are
	s.sent.Add(int64(len(b)))
	s.of.of.Sent.Add(uint64(len(b)))
	s.member.Load.Carried(now, len(b))
}

// finishAnswered ends a session of which n replies have come, if no more are awaited.
func (s *session) finishAnswered(n int64) {
	most := int64(s.stream.Replies)
	if most == 0 || n < most*s.asked.Load() {
		return
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if n >= most*s.asked.Load() { // also of what has come just now
		s.finishLocked(endAnswered)
	}
}

// failed takes in that the socket has failed, and reports whether there is another one.
func (s *session) failed(err error) bool {
	p := s.of.of.proxy()
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	cause := reasonOfDial(err).Error()
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.ENETUNREACH) {
		s.finish("the socket failed: " + cause)
		return false
	}
	s.of.of.Unreached.Add(1)
	s.fate.failed = append(s.fate.failed, Failed{Member: s.member.Name, Address: s.member.Address.String(), Took: p.cfg.Clock() - s.from, Cause: cause})
	s.note(p, &s.choice)
	p.tell(s.member, health.Unreached, 0, cause)
	s.target.Pool.Load().End(s.lane, s.member.Load, p.cfg.Clock())
	s.socket.Load().Close()
	s.load.Store(nil)
	if s.first == nil || s.asked.Load() > 1 || !s.next() {
		s.finish("the member is not there: " + cause)
		return false
	}
	if _, err := s.socket.Load().Write(append(append([]byte(nil), s.header...), s.first...)); err != nil {
		s.finish("the socket failed: " + reasonOfDial(err).Error())
		return false
	}
	return true
}

// Reasons for which a session ends, beside those of connections.
const (
	endAnswered  = "answered"
	endDisplaced = "it gave way to a newer one"
	endRemoved   = "its listener was removed"
)

// finish takes a session out of use, for the first reason that is given.
func (s *session) finish(reason string) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.finishLocked(reason)
}

func (s *session) finishLocked(reason string) {
	if s.over {
		return
	}
	s.over, s.reason = true, reason
	if s.of.all[s.key] == s {
		delete(s.of.all, s.key)
		s.of.chainOf(s).remove(s)
		s.of.of.places.GiveClient(s.client.Addr(), places.Written)
	}
	if socket := s.socket.Load(); socket != nil {
		socket.Close()
	}
}

// end tells of a session that is over.
func (s *session) end() {
	p := s.of.of.proxy()
	now := p.cfg.Clock()
	s.of.mu.Lock()
	reason := s.reason
	s.of.mu.Unlock()
	if m := s.load.Load(); m != nil {
		if s.replies.Load() == 0 && s.stream.Replies > 0 && reason == endIdle {
			p.tell(s.member, health.Late, now-s.from, "did not answer a datagram")
		}
		s.target.Pool.Load().End(s.lane, m, now)
	}
	s.of.of.Active.Add(-1)
	keep := s.keeps(p, reason)
	if p.lines == nil && !keep {
		return
	}
	l := Carried{
		Stream: s.stream.Name, Protocol: "udp", Began: s.began, Client: s.client.String(), Local: s.key.door.bound.String(), Pool: s.target.Pool.Name(), End: reason,
		Tries: s.tries, Took: now - s.from, Received: s.received.Load(), Sent: s.sent.Load(),
	}
	if s.member != nil {
		l.Member, l.Address = s.member.Name, s.member.Address.String()
	}
	if at := time.Duration(s.answeredAt.Load()); at > 0 {
		l.First = at - s.from
	}
	p.over(&l, &s.fate, keep)
}

// expire ends sessions that carry nothing any more.
func (t *sessions) expire(now time.Duration) {
	limit := t.of.stream.Load().Limits.Session
	t.evict(func(s *session) bool { return now-time.Duration(s.last.Load()) > limit }, endIdle)
}

// evict ends the sessions that match, and returns how many.
func (t *sessions) evict(matches func(*session) bool, reason string) (found int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.all {
		if matches(s) {
			s.finishLocked(reason)
			found++
		}
	}
	return found
}

// evictBy ends the sessions that came in by a listener, whose socket their replies need.
func (t *sessions) evictBy(d *door) {
	t.evict(func(s *session) bool { return s.key.door == d }, endRemoved)
}

// close ends all sessions, and lets none begin any more.
func (t *sessions) close(reason string) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.evict(func(*session) bool { return true }, reason)
}

func (c *chain) add(s *session) {
	s.older, s.newer = c.newest, nil
	if c.newest != nil {
		c.newest.newer = s
	} else {
		c.oldest = s
	}
	c.newest = s
}

func (c *chain) remove(s *session) {
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		c.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		c.newest = s.older
	}
	s.older, s.newer = nil, nil
}
