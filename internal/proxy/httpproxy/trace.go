package httpproxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/tracecontext"
)

// Tracing is how requests take part in traces. Without it traceparent and tracestate pass
// as any other fields do.
type Tracing struct {
	// Every is of how many new traces one is sampled; 0: none.
	Every int
	// From are whose traces are continued: those of trusted proxies, or of everybody. Others
	// begin new ones.
	FromAll, FromNobody bool
	// Parent has the sampling of a trace that is continued be as its field says. Otherwise
	// it goes by Every, as with new ones.
	Parent bool
	// Export takes each request that is sampled, when it is over. It must not block.
	Export func(*tracecontext.Request)
}

// trace is the part of the request at hand in a trace. Nothing of it is allocated.
type trace struct {
	tracecontext.Context                     // the request's own span; zero without Tracing
	parent               tracecontext.SpanID // zero: the request begins the trace
	try                  tracecontext.SpanID // of the member at hand
	hasState             bool                // tracestate of the request goes on
	at                   int                 // where try stands in exchange.head; 0: nowhere
}

// isSampled reports whether the request is exported.
func (t *trace) isSampled() bool { return t.Flags&tracecontext.Sampled != 0 }

// beginTrace decides which trace the request belongs to. It is called once its head is there.
func (c *client) beginTrace(x *exchange) {
	t, how := &x.trace, c.server.cfg.Tracing
	*t = trace{}
	var given tracecontext.Context
	if how.FromAll || c.peerAs.trusted && !how.FromNobody {
		given, t.hasState = parentOf(&x.req)
	}
	binary.BigEndian.PutUint64(t.Span[:], rand.Uint64()|1)
	if given.Trace.IsZero() {
		binary.BigEndian.PutUint64(t.Trace[:8], rand.Uint64()|1)
		binary.BigEndian.PutUint64(t.Trace[8:], rand.Uint64())
	} else {
		t.Trace, t.parent = given.Trace, given.Span
		if how.Parent {
			t.Flags = given.Flags
			return
		}
	}
	if tracecontext.IsSampled(t.Trace, how.Every) {
		t.Flags = tracecontext.Sampled
	}
}

// parentOf returns the traceparent of a request, and whether its tracestate may go on with
// it. Two of them are none: nobody knows which one is meant.
func parentOf(req *http1.Parser) (c tracecontext.Context, hasState bool) {
	parents, members, octets, ok, goodState := 0, 0, 0, false, true
	for _, f := range req.Fields() {
		if f.ID != http1.FieldOther {
			continue
		}
		switch name := req.Name(f); {
		case equalFold(name, "traceparent"):
			parents++
			c, ok = tracecontext.Parse(req.Value(f))
		case equalFold(name, "tracestate"):
			n, good := tracecontext.ParseState(req.Value(f))
			members, octets, goodState = members+n, octets+len(req.Value(f)), goodState && good
		}
	}
	if parents != 1 || !ok {
		return tracecontext.Context{}, false
	}
	return c, goodState && members > 0 && members <= 32 && octets <= 512 // W3C Trace Context §3.3
}

// isTraceField reports whether the field is written by the gateway itself.
func isTraceField(name []byte) bool {
	return equalFold(name, "traceparent") || equalFold(name, "tracestate")
}

// appendTrace appends the fields that tell a member of the trace. The span in them is that
// of the member, which nextTry writes.
func (x *exchange) appendTrace(b []byte) []byte {
	b = append(b, "traceparent: "...)
	x.trace.at = len(b) + tracecontext.SpanAt
	b = append(x.trace.Append(b), "\r\n"...)
	if !x.trace.hasState {
		return b
	}
	for _, f := range x.req.Fields() {
		if f.ID == http1.FieldOther && equalFold(x.req.Name(f), "tracestate") {
			b = http1.AppendField(b, []byte("tracestate"), x.req.Value(f))
		}
	}
	return b
}

// nextTry gives the member that is turned to a span of its own, and writes it into the head
// that goes there.
func (t *trace) nextTry(head []byte) {
	binary.BigEndian.PutUint64(t.try[:], rand.Uint64()|1)
	hex.Encode(head[t.at:], t.try[:])
}

// describe tells of a request that is over.
func (c *client) describe(x *exchange) *tracecontext.Request {
	r := &tracecontext.Request{
		Context: x.trace.Context, Parent: x.trace.parent, Began: x.began, Took: x.times.total,
		Method: tracecontext.Cut(x.req.Method()), Scheme: c.scheme(), Host: tracecontext.Cut(x.req.Host()), Path: tracecontext.Cut(x.path), Query: tracecontext.Cut(x.req.Query()), Version: c.wire.version(x),
		Client: c.believedPeer(x), ID: string(x.id), Status: x.status, Reason: x.reason, Received: x.received, Sent: x.sent, Queue: x.choice.held,
	}
	if agent, ok := x.req.Get(http1.FieldUserAgent); ok {
		r.Agent = tracecontext.Cut(agent)
	}
	if x.route != nil {
		if by := x.table.ByRoute(x.route.Number); by != nil {
			r.Route = by.Name
		}
	}
	if x.counters != nil {
		r.Pool = x.counters.Name
		if c.server.cfg.Past != nil {
			r.Policy, r.Candidates = x.pool.View().Policy.String(), x.candidates()
		}
	}
	r.Mirrored = x.mirrored
	if x.chain != nil {
		r.Filters = x.chain.Steps()
	}
	if x.trace.hasState {
		r.State = string(fieldOf(&x.req, "tracestate"))
	}
	for i := range x.times.tries[:x.tries] {
		t := &x.times.tries[i]
		took := t.took
		if took == 0 { // the last one, whose response was passed on
			took = x.times.total - t.after
		}
		r.Tries = append(r.Tries, tracecontext.Try{
			Span: t.span, Pool: t.pool, Member: t.member.Name, Address: t.member.Address, After: t.after, Took: took,
			Connect: t.connect, FirstByte: t.firstByte, Status: t.status, Reason: t.reason,
		})
	}
	return r
}
