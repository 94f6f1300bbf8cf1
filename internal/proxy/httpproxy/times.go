package httpproxy

import (
	"time"

	"pharos/internal/proxy/tracecontext"
	"pharos/internal/traffic/pool"
)

// times are how long parts of an exchange took, and what became of each member that was
// asked. They are noted from the readings of the clock that there are anyway, but for a
// connection that has to be opened.
type times struct {
	total     time.Duration // from the first octet of the request to the end of the response
	connect   time.Duration // opening a connection to the member at hand; 0: one was kept
	firstByte time.Duration // from turning to it to the head of its final response; 0: none came
	tries     [maxTries]try // of those that were asked, exchange.tries in number
}

// try is one member that was asked.
type try struct {
	member    *pool.Member
	pool      string
	after     time.Duration // when it was turned to, from the first octet of the request on
	took      time.Duration // until it was done with
	connect   time.Duration // as in times
	firstByte time.Duration
	status    int // that it answered with; 0: it did not
	span      tracecontext.SpanID
	sent      int64  // octets of response content that it has sent
	reason    string // why this was not the answer, or not all of it; "": it was
	retry     bool   // another one may be asked
}

// begin is called when a member is turned to.
func (t *times) begin() { t.connect, t.firstByte = 0, 0 }

// noteTry notes how a member was done with.
func (x *exchange) noteTry(c *client, r refusal) {
	t := &x.times.tries[x.tries-1]
	*t = try{
		member: x.member, pool: x.counters.Name, after: x.asked.Sub(x.began), connect: x.times.connect, firstByte: x.times.firstByte,
		span: x.trace.try, sent: x.sent, reason: r.text, retry: r.retry,
	}
	if t.firstByte > 0 || r.doubt {
		t.status = x.resp.Status()
	}
	if r.isSet() {
		t.took = time.Since(x.asked)
	}
}

// observe counts the times of a request that is over.
func (c *client) observe(x *exchange, class int) {
	if x.route == nil {
		return
	}
	if by := x.table.ByRoute(x.route.Number); by != nil { // it may be of a table before, when a request was held
		p := by.Total.Part(c.lane)
		p.Observe(x.times.total)
		p.Classes[class].Add(1)
	}
	if x.counters == nil {
		return
	}
	t := x.counters.Times
	t.Total.Part(c.lane).Observe(x.times.total)
	if x.choice.held > 0 {
		t.Queue.Part(c.lane).Observe(x.choice.held)
	}
	if x.member == nil {
		return
	}
	if x.times.connect > 0 {
		t.Connect.Part(c.lane).Observe(x.times.connect)
	}
	if x.times.firstByte > 0 {
		t.FirstByte.Part(c.lane).Observe(x.times.firstByte)
	}
}
