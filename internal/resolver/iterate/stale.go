package iterate

import (
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/rrcache"
)

// This file is what clients get while nobody can be asked: answers that have
// expired (RFC 8767); and what is done for nobody in particular: fetching answers
// again before they expire.

// client-response timer: RFC 8767 §5.
const staleAfter = 1800 * time.Millisecond

// backgroundMost is how many questions are in work at a time for which nobody waits
// (any more): 1000. Beyond it clients wait for the end of theirs, and nothing is
// fetched ahead.
const backgroundMost = 1000

// quiet is what is known of the network as a whole: since when nobody has answered.
//
// Invariant: since is the zero Time when the last exchange that ended brought a reply.
type quiet struct {
	since    time.Time // when the first of the unanswered queries left
	last     time.Time // when the last was given up
	timeouts int       // in a row, over all servers
}

// So much has to be silent for so long until the network counts as cut, and expired
// answers are given at once: what two servers do not answer within most of a client's
// patience. It is a guess that costs little: the question goes on, and the first
// reply of anybody ends it.
const (
	cutTimeouts = 2
	cutAfter    = 1500 * time.Millisecond
	// cutMemory is how long the network counts as cut without another try: longer than
	// a failure is remembered and a question takes, so that the next try comes before.
	cutMemory = failureMost + 40*time.Second
)

func (q *quiet) timedOut(now, sent time.Time) {
	if q.last = now; q.since.IsZero() {
		q.since = sent
	}
	q.timeouts++
}

func (q *quiet) isCut(now time.Time) bool {
	return q.timeouts >= cutTimeouts && now.Sub(q.since) >= cutAfter && now.Sub(q.last) < cutMemory
}

// answerStale answers c with what has expired, if there is something, and goes on
// with the question for those who come later.
func (r *Resolver) answerStale(c *client, why string) bool {
	if c.stale == nil || c.answered || c.done || r.background >= backgroundMost {
		return false
	}
	a := r.staleAnswer(c, why)
	c.answered = true
	r.background++
	r.do(Reply{Token: c.ask.Token, Answer: a})
	return true
}

// staleAnswer makes an answer of what has expired.
func (r *Resolver) staleAnswer(c *client, why string) Answer {
	c.note(r, Step{Kind: StepStale, Name: c.ask.Name, Type: c.ask.Type, Note: why})
	m := c.stale.Message()
	e := dnswire.ExtendedError{Code: dnswire.EDEStaleAnswer, Text: why}
	if m.Rcode == dnswire.RcodeNXDomain {
		e.Code = dnswire.EDEStaleNXDomain
	}
	r.counters.Stale++
	a := Answer{
		Rcode: m.Rcode, Answer: m.Answer, Authority: m.Authority, Errors: []dnswire.ExtendedError{e},
		Sent: c.budget.sent, Spent: c.budget.spent(), Elapsed: r.now.Sub(c.started), State: rrcache.Indeterminate,
	}
	if c.ask.Trace {
		a.Trace = c.story.tell(r, c)
	}
	return a
}

// patience returns how long c waits before it takes an answer that has expired.
func (r *Resolver) patience() time.Duration { return max(r.limits.StaleAfter, 0) }

// startTimer sees to it that c is answered in time.
func (r *Resolver) startTimer(c *client) {
	wait := r.limits.Time
	if c.stale != nil {
		wait = r.patience()
		if wait == 0 && r.answerStale(c, "at once, as configured") || r.quiet.isCut(r.now) && r.answerStale(c, nobodyHeard) {
			wait = r.limits.Time
		}
	}
	c.timer = r.number()
	r.timers.Put(c.timer, c)
	r.do(Wait{Exchange: c.timer, Timeout: wait})
}

// timeUp takes in that the time of c is over: its patience, or all of it.
func (r *Resolver) timeUp(c *client) {
	r.timers.Delete(c.timer)
	c.timer = 0
	left := c.started.Add(r.limits.Time).Sub(r.now)
	if left > 0 && r.answerStale(c, "no answer within "+r.patience().String()) {
		c.timer = r.number()
		r.timers.Put(c.timer, c)
		r.do(Wait{Exchange: c.timer, Timeout: left})
		return
	}
	f := failure{ede: dnswire.EDEOther, text: r.limits.say(LimitTime), limited: true, over: LimitTime}
	if l := c.waits; l != nil && l.trouble.text != "" { // what it met with says more
		f.ede, f.text = l.trouble.ede, f.text+": "+l.trouble.text
	}
	r.exceeded(c, f)
}

const nobodyHeard = "no server at all has answered lately"

// spare answers c with what has expired, and does no more, when the network is cut
// and so many are trying already that one more would not help.
func (r *Resolver) spare(c *client) bool {
	if c.stale == nil || r.background < backgroundMost || !r.quiet.isCut(r.now) {
		return false
	}
	r.reply(c, r.staleAnswer(c, nobodyHeard))
	return true
}

// nobodyAnswers answers the clients of l that can be, because l comes to ask a
// server that has not answered for a while.
func (r *Resolver) nobodyAnswers(l *lookup) {
	if r.cache.Limits().Stale <= 0 {
		return
	}
	l.eachClient(make(map[*lookup]bool), func(c *client) { r.answerStale(c, "its servers have not answered lately") })
}
