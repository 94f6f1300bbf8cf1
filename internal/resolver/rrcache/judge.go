package rrcache

import (
	"time"

	"pharos/internal/dns/dnswire"
)

// Judge says whether an answer that is ready may be given to a client.
type Judge interface {
	// Passes looks at the answer to q, whose records lie in out from the octet start on.
	// keep: it says the same to every client, until the Judge is another one.
	Passes(now time.Time, q *dnswire.Query, out *dnswire.Builder, start int, isExempt bool) (passes, keep bool)
}

// AnswerIf is Answer for answers that j lets pass. It notes in the entry that the Judge
// with this revision has let it pass, and asks it once for each entry. Of a client that
// is exempt the revision is 0, and nothing is noted.
//
// It takes no lock and allocates nothing, but for what j does.
func (c *Cache) AnswerIf(now time.Time, q *dnswire.Query, out *dnswire.Builder, rotation uint32, j Judge, revision uint32) bool {
	e := c.readyFor(q)
	if e == nil {
		return false
	}
	begin, start := out.Mark(), out.Len()
	if !c.give(e, now, q, out, rotation) {
		return false
	}
	if revision != 0 && e.passed.Load() == revision || out.TC() {
		return true
	}
	passes, keep := j.Passes(now, q, out, start, revision == 0)
	if !passes {
		out.Rollback(begin)
		out.SetRcode(dnswire.RcodeNoError)
		out.SetAD(false)
		return false
	}
	if keep && revision != 0 {
		e.passed.Store(revision)
	}
	return true
}
