package l4proxy

import (
	"errors"
	"syscall"
	"time"

	"pharos/internal/clock"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file says what a connection shows of its member.
//
//	no connection, or no agreement on TLS           Unreached, at once
//	the first octet of the member                   Answered
//	ended by the member before any octet:
//	  though the client had said nothing            Broken
//	  after octets of the client                    Doubtful: these may have been the reason
//	ended otherwise without an octet of the member  Answered: it took the connection and kept it
//
// That it takes connections alone does not end a run of failures: a server that takes them and
// hangs up is no better than one that does not.

// isOurs reports whether a connect has failed for want of something of this machine: of ports,
// descriptors or memory. That says nothing of the member.
func isOurs(err error) bool {
	for _, ours := range []error{syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return false
}

// failureTook is what the time of a member is taken for that cannot be reached: what refuses
// at once must not look fast.
const failureTook = time.Second

// tell tells the member's load, and its health if that is due. took is how long ago it began.
func (p *Proxy) tell(m *pool.Member, o health.Outcome, took time.Duration, cause string) {
	now := p.cfg.Clock()
	if m.Load.Note(o, now, took) {
		p.cfg.Report(m.Target, health.Result{Passive: true, OK: !o.IsFailure(), Outcome: o, At: clock.Now(), Latency: took, Cause: cause})
	}
	if o.IsCounted() {
		took = max(took, failureTook)
	}
	m.Load.Observe(now, took)
}

// answered notes the first octet of the member. Its response time is that of the connect and
// from when it was spoken to, or, if it speaks first, from the connect.
func (c *conn) answered(now time.Duration) {
	took := c.connect
	if asked := time.Duration(c.asked.Load()); asked > 0 {
		took += now - asked
	}
	c.proxy.tell(c.member, health.Answered, took, "answered a connection")
}

// judge notes how a connection ended on which the member sent nothing.
func (c *conn) judge() {
	if c.sent.Load() > 0 {
		return
	}
	switch {
	case !c.hungUp.Load():
		c.proxy.tell(c.member, health.Answered, c.connect, "took a connection")
	case c.received.Load() == 0:
		c.of.Broken.Add(1)
		c.proxy.tell(c.member, health.Broken, c.connect, "it ended a connection before it was spoken to")
	default:
		c.of.Broken.Add(1)
		c.proxy.tell(c.member, health.Doubtful, c.connect, "it ended a connection without an answer")
	}
}
