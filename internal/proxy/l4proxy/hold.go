package l4proxy

import (
	"fmt"
	"net"
	"time"

	"pharos/internal/proxy/holding"
)

// This file has connections and sessions wait while a pool that scales has nobody yet, in the room
// that requests wait in, too.

// heldOctets is about what a connection takes in memory that waits: its goroutine, and what is
// noted of it.
const heldOctets = 8 << 10

// wait returns why somebody has waited in vain; "": the target has members.
func (p *Proxy) wait(t *Target, g holding.Guest, waited *time.Duration) (why string) {
	room := t.Room
	began := p.cfg.Clock()
	defer func() { *waited += p.cfg.Clock() - began }()
	g.Most = room.Time() - *waited
	g.Changed = func() <-chan struct{} { return t.Pool.Load().Changed() }
	g.Look = func() bool { return t.hasSomebody() }
	g.Closing = p.closing
	switch room.Await(&g) {
	case holding.Full:
		return "refused: no member of the pool is up yet, and too many wait for one"
	case holding.Late:
		return fmt.Sprintf("refused: no member of the pool came up within %v", room.Time())
	case holding.Gone:
		return endClient
	case holding.Closing:
		return endStopped
	}
	return ""
}

// hasSomebody reports whether a member can be chosen, or nobody is to wait for one.
func (t *Target) hasSomebody() bool { return t.Room == nil || len(t.Pool.View().Eligible) > 0 }

// hold has the connection wait for the first member.
func (c *conn) hold() bool {
	why := c.proxy.wait(c.target, holding.Guest{Octets: heldOctets + int64(len(c.held)), IsGone: c.isGone}, &c.waited)
	if why == "" {
		return true
	}
	c.of.Refused[RefusedMember].Add(1)
	c.finish(why, true)
	return false
}

// isGone reports whether the client has given up, or the connection was cut.
func (c *conn) isGone() bool {
	if c.reason.Load() != nil {
		return true
	}
	tcp, ok := c.in.(*net.TCPConn)
	if !ok {
		return false // of TLS that ended here there may be something to read
	}
	raw, err := tcp.SyscallConn()
	return err != nil || holding.HasClosed(raw)
}

// runHeld is run for a session that has to wait for its member first.
func (s *session) runHeld() {
	t, p := s.of, s.of.of.proxy()
	for !s.target.hasSomebody() {
		if why := p.wait(s.target, holding.Guest{Octets: heldOctets + int64(len(s.first)), IsGone: s.isOver}, &s.waited); why != "" {
			t.of.Refused[RefusedMember].Add(1)
			s.finish(why)
			s.end()
			return
		}
	}
	s.choose()
	if !s.next() {
		s.nobody()
		return
	}
	if s.first == nil { // it was too long to be kept, and is lost, as datagrams are
		s.asked.Add(-1)
	} else {
		s.received.Add(int64(len(s.first)))
		t.of.Received.Add(uint64(len(s.first)))
		s.socket.Load().Write(append(append([]byte(nil), s.header...), s.first...)) // an error is run's, too
	}
	s.run()
}

func (s *session) isOver() bool {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return s.over
}
