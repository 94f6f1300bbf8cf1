package dnsserver

import (
	"runtime/debug"

	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/proxyheader"
)

// responder is what happens to every query, whatever brought it. It belongs to one
// goroutine, and its Request is used over and over.
type responder struct {
	req    Request
	counts Counts
	tail   [slotSize]byte // UDP: what follows the question, kept for Request.Defer
	watch  watch
}

// slotSize is the room for a query and then its answer over UDP, in octets: an odd
// number of cache lines, so that the beginnings of the slots of a batch, which is
// all that most messages touch, do not fall on the same few sets of the cache. A
// query that is longer than what we offer to take is cut by the kernel and gets
// FORMERR.
const slotSize = 33 * 64

// slotSize must hold the longest answer and the Builder's slack.
const _ uint = slotSize - (dnswire.MaxUDP + dnswire.BufferSlack)

// fate is what became of a message.
type fate uint8

const (
	answered fate = iota // there is an answer to send
	silent               // a query that gets no answer
	deferred             // a query that gets its answer later
	alien                // no query at all: never to be answered
)

func (a *responder) init(s *Server, t Transport) {
	a.req.server, a.req.Transport = s, t
}

// respond makes the answer to msg in buf, which may be the memory of msg and has
// room for Limit and dnswire.BufferSlack octets. req's Client, Local and Now are
// set by the caller.
func (a *responder) respond(msg, buf []byte) ([]byte, fate) {
	r := &a.req
	a.counts.events[Queries]++
	verdict := r.Query.Parse(msg)
	r.Rotation++
	if r.interest = Nothing; r.server.observer != nil && verdict != dnswire.Ignore {
		a.begin(msg)
	}
	switch verdict {
	case dnswire.Ignore:
		a.counts.events[Ignored]++
		return nil, alien
	case dnswire.Reject:
		if r.Transport == UDP && proxyheader.Is(msg) {
			a.counts.events[ProxyRefused]++
			a.counts.events[Dropped]++
			return nil, silent
		}
		a.counts.events[Malformed]++
		a.reset(buf)
		a.explainReject()
		answer, fate := a.finish()
		a.observed(answer)
		return answer, fate
	}
	r.tail = msg[r.Query.QuestionEnd:]
	if r.Transport == DoQ && r.Query.EDNS.Keepalive { // RFC 9250 §5.5.2: a protocol error
		a.counts.events[Ignored]++
		return nil, alien
	}
	if r.Transport == UDP { // built in place
		r.tail = a.tail[:copy(a.tail[:], r.tail)]
	}
	a.reset(buf)
	switch a.handle(buf) {
	case Answered:
		answer, fate := a.finish()
		a.observed(answer)
		return answer, fate
	case Sealed:
		answer, fate := a.finish()
		if fate == answered {
			answer = r.seal(answer)
		}
		a.observed(answer)
		return answer, fate
	case Later:
		a.counts.events[DeferredQueries]++
		return nil, deferred
	}
	a.counts.events[Dropped]++
	a.observed(nil)
	return nil, silent
}

// explainReject says why a query is rejected (RFC 8914), where its EDNS was understood:
// not of an unknown opcode, whose message may have any form.
func (a *responder) explainReject() {
	if r := &a.req; r.Query.Rcode == dnswire.RcodeFormErr {
		r.Out.SetEDE(dnswire.EDEOther, "the query is malformed, or one of its EDNS options is")
	}
}

// fromProxy reads the header of a datagram from a proxy that is trusted, and
// returns the query behind it, moved to the front of buf, or nil: the specification
// forbids to guess, so without a header nothing is heard from a proxy.
func (a *responder) fromProxy(msg, buf []byte) []byte {
	h, length, err := proxyheader.Parse(msg)
	if err != nil {
		a.counts.events[Queries]++
		a.counts.events[ProxyRefused]++
		a.counts.events[Dropped]++
		return nil
	}
	if h.Client.IsValid() {
		a.req.Client = h.Client // Local stays: rules for a listener are for what comes to it
	}
	return buf[:copy(buf, msg[length:])]
}

// finish ends the answer, unless it is one too many.
func (a *responder) finish() ([]byte, fate) {
	r := &a.req
	if r.server.limit != nil && r.Transport == UDP && r.server.limit(r) == Drop {
		a.counts.events[Dropped]++
		return nil, silent
	}
	return r.Out.Finish(), answered
}

// reset sets the limit of the query just parsed and begins its answer.
func (a *responder) reset(buf []byte) {
	r := &a.req
	r.Limit = dnswire.MaxMessage
	if r.Transport == UDP {
		r.Limit = r.Query.UDPLimit()
	}
	r.refused, r.HasCookie = false, false
	if r.seal != nil {
		r.seal = nil
	}
	r.Out.Reset(&r.Query, buf, r.Limit)
	if r.server.prepare != nil && r.Query.EDNS.Present {
		r.server.prepare(r)
	}
}

// handle calls the Handler. One query that makes it panic must not stop the
// answers to all others: it is answered SERVFAIL.
func (a *responder) handle(buf []byte) (v Verdict) {
	r := &a.req
	defer func() {
		if p := recover(); p != nil {
			a.counts.events[Panics]++
			r.server.logPanic(p)
			r.Out.Reset(&r.Query, buf, r.Limit) // without options: they may lie where records were put
			r.Out.SetRcode(dnswire.RcodeServFail)
			r.Out.SetEDE(dnswire.EDEOther, "an error in the server, which has been logged")
			v = Answered // unsealed: what the seal was for is what panicked
		}
	}()
	v = r.server.handler(r)
	if r.refused {
		a.counts.events[DeferralsRefused]++
		if v == Later { // nobody holds the query: nobody else would answer it
			v = Answered
			if r.seal != nil {
				v = Sealed
			}
		}
	}
	return v
}

// logPanic logs the first panic, and after it only each that doubles the number:
// whoever can cause one can cause a million.
func (s *Server) logPanic(p any) {
	if n := s.panics.Add(1); n&(n-1) == 0 {
		s.log.Error("dnsserver: a query made the handler panic", "panic", p, "panics", n, "stack", string(debug.Stack()))
	}
}
