package rrcache

import (
	"testing"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// refusing is a Judge that lets nothing or everything pass.
type refusing struct {
	passes bool
	asked  int
}

func (j *refusing) Passes(_ time.Time, _ *dnswire.Query, out *dnswire.Builder, start int, isExempt bool) (passes, keep bool) {
	if j.asked++; out.Count(dnswire.Answer) != 1 || len(out.Message()) <= start {
		return false, false
	}
	return j.passes || isExempt, true
}

// TestJudge: an answer is judged once for each revision, and what is refused is as if it
// was not there.
func TestJudge(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	cache := New(now, Limits{})
	cache.PutAnswer(now, Ready{Name: name("a.example"), Type: rdata.TypeA, Class: rdata.ClassIN, Answer: addressRecords("a.example", 60, "192.0.2.1"), TTL: 60, Secure: true})
	c := newClient(t, "a.example", rdata.TypeA, true)
	j := &refusing{}
	ask := func(revision uint32) bool {
		c.out.Reset(&c.query, c.buf, 4096)
		given := cache.AnswerIf(now, &c.query, &c.out, 0, j, revision)
		if m := mustParse(t, c.out.Finish()); (len(m.Answer) == 1) != given || m.AD && !given {
			t.Fatalf("given %v, message %v", given, m)
		}
		return given
	}
	if first, second := ask(1), ask(1); first || second || j.asked != 2 {
		t.Errorf("refused: asked %d times, want 2", j.asked)
	}
	if !ask(0) || ask(1) {
		t.Error("what is given to one who is exempt is noted for others")
	}
	j.passes, j.asked = true, 0
	for range 3 {
		if !ask(2) {
			t.Error("not given")
		}
	}
	if j.asked != 1 {
		t.Errorf("passed: asked %d times, want 1", j.asked)
	}
	if j.passes = false; ask(3) {
		t.Error("another revision is not asked")
	}
	if got := testing.AllocsPerRun(100, func() { c.out.Reset(&c.query, c.buf, 4096); cache.AnswerIf(now, &c.query, &c.out, 0, j, 2) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
