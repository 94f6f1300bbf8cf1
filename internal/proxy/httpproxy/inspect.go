package httpproxy

import (
	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/places"
	"pharos/internal/proxy/route"
)

// This file reads the beginning of the content of a request before its route is known, for
// routes that go by it. It stays in the buffer and goes on whole, as content that is held does.

// inspection is what was read of the content to find the route.
type inspection struct {
	done   bool   // it was read, or cannot be
	whole  bool   // there is no more of it
	given  []byte // in place of content, when a request is explained
	failed refusal
	pace   pace // of the content, also of what is read behind it

	proven  bool           // the client has shown who it is, or was refused
	verdict filter.Verdict // on that
	by      *route.Route   // one of those that ask for it
}

// mostInspected is how many requests of one client may wait for their content to have their
// routes found, beside those whose content is there; arbitrary: at 64 KiB each it is 16 MiB.
const mostInspected = 256

// Content implements route.Request. It waits for the client.
func (r *routed) Content() (prefix []byte, whole bool) {
	x := r.x
	if !x.inspected.done {
		x.inspected.done = true
		if !(*client)(r).prove(x) {
			return nil, false
		}
		x.inspected.whole, x.inspected.failed = (*client)(r).inspect(x)
	}
	if x.inspected.given != nil {
		return x.inspected.given, x.inspected.whole
	}
	held := x.in[x.content:x.contentEnd]
	return held[:min(len(held), r.server.limits.Inspect)], x.inspected.whole && len(held) <= r.server.limits.Inspect
}

// prove has the client show who it is before its content is read, if all the routes that the
// request may take ask for that in the same way. It reports whether it may go on.
func (c *client) prove(x *exchange) (goesOn bool) {
	all := x.table.Routes().Possible(x.req.Host(), x.matched, (*routed)(c))
	if len(all) == 0 {
		return true
	}
	chain, tally := x.table.FiltersOf(all[0].Number)
	for _, r := range all {
		if other, _ := x.table.FiltersOf(r.Number); !chain.Guards(other) {
			return true
		}
	}
	in := &x.inspected
	in.proven, in.by = true, all[0]
	c.beginFilters(x, all[0])
	in.verdict = chain.Prove(&x.pass, tally)
	return in.verdict.Passes()
}

// inspect reads content until its end, or until as much is there as is looked at.
func (c *client) inspect(x *exchange) (whole bool, r refusal) {
	if x.req.Done() {
		return true, refusal{}
	}
	if !c.peerAs.trusted && c.peer.IsValid() {
		if !c.server.inspecting.TakeClient(c.peer, places.Proven, mostInspected) {
			c.shard.inspectRefused.Add(1)
			return false, refusal{status: 429, kind: "http_request_denied", text: "too many requests of this client wait for their content", after: 1, close: true}
		}
		defer c.server.inspecting.GiveClient(c.peer, places.Proven)
	}
	if len(x.in)-x.content < c.server.limits.Inspect && x.growIn() {
		x.req.Rebase(x.in)
	}
	if x.req.ExpectsContinue() { // it has to be asked for; the origin server may ask again
		x.out = http1.AppendStatusLine(x.out[:0], 100, []byte("Continue"))
		if c.wire.interim(x) != nil {
			return false, gone("the client closed the connection before the response")
		}
	}
	for {
		done, r := c.decodeHeld(x)
		switch {
		case r.isSet():
			return false, r
		case c.isTooLarge(x):
			return false, tooLarge
		case done || x.contentEnd-x.content >= c.server.limits.Inspect || !x.makeRoom():
			return done, refusal{}
		}
		if r := c.fillContent(&x.inspected.pace); r.isSet() {
			return false, r
		}
	}
}

// makeRoom moves what is unread behind the content that is kept, and reports whether there is
// room for more.
func (x *exchange) makeRoom() bool {
	if x.at > x.contentEnd {
		x.filled = x.contentEnd + copy(x.in[x.contentEnd:], x.in[x.at:x.filled])
		x.at = x.contentEnd
	}
	return x.filled < len(x.in)
}

// holdRead is holdContent for a request that was read to its end already: it has no content,
// or its route goes by that.
func (x *exchange) holdRead(c *client) refusal {
	if x.contentEnd == x.content && x.req.Framing() != http1.Chunked && x.req.Framing() != http1.UntilClose {
		x.sending = x.req.Framing() // Content-Length: 0 stays
		return refusal{}
	}
	if c.isTooLarge(x) {
		return tooLarge
	}
	x.sending = http1.Length
	if len(x.trailers) > 0 {
		x.sending = http1.Chunked
	}
	return refusal{}
}
