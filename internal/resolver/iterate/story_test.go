package iterate

import (
	"net/netip"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/shortid"
)

// Who is told that something failed can ask why, though nobody had asked for a trace;
// and every later client gets the same id while the failure is remembered.
func TestFailureHasStory(t *testing.T) {
	w := twoServers(t)
	w.resolve("www.example.com.", "A") // the first token asks for a trace
	delete(w.servers, "192.0.2.3")
	delete(w.servers, "192.0.2.13")
	a := w.resolve("other.example.com.", "A")
	wantSERVFAIL(t, a, dnswire.EDENoReachableAuthority, "did not answer")
	if a.Failure == 0 {
		t.Fatal("a SERVFAIL without an id")
	}
	timeouts := 0
	for i, s := range a.Trace {
		if s.Kind == StepTimeout {
			timeouts++
		}
		if s.At < 0 || i > 0 && s.At < a.Trace[i-1].At {
			t.Errorf("step %d at %v comes after %v", i, s.At, a.Trace[i-1].At)
		}
	}
	if timeouts < 2 || a.Trace[len(a.Trace)-1].Kind != StepGaveUp {
		t.Errorf("trace of a failure has %d timeouts, and ends with %v", timeouts, a.Trace[len(a.Trace)-1])
	}
	again := w.resolve("other.example.com.", "A")
	if again.Failure != a.Failure {
		t.Errorf("id of the failure that is remembered: got %v, want %v", again.Failure, a.Failure)
	}

	// The answer that is ready in the cache says it too.
	q := new(dnswire.Query)
	q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse("other.example.com."), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true, EDNS: true}))
	var out dnswire.Builder
	out.Reset(q, make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), dnswire.MaxMessage)
	if !w.r.cache.Answer(w.now, q, &out, 0) {
		t.Fatal("the failure is not ready in the cache")
	}
	m, err := dnswire.ParseMessage(out.Finish())
	if err != nil || len(m.EDE) != 1 || !strings.HasPrefix(m.EDE[0].Text, a.Failure.String()+": ") {
		t.Errorf("extended errors %v (%v), want one that begins with %v", m.EDE, err, a.Failure)
	}
}

// A client that joins a lookup under way is told what happened before it came.
func TestStoryOfJoined(t *testing.T) {
	w := example(t)
	delete(w.servers, "192.0.2.3")
	w.ask("x.example.com.", "A")
	w.runOne() // the root's answer
	w.runOne()
	w.ask("x.example.com.", "A")
	w.run()
	for token, a := range w.answers {
		if len(a.Trace) == 0 || a.Trace[0].Kind != StepSent || a.Trace[0].Zone != dnsname.Root {
			t.Errorf("client %d: its story begins with %+v", token, a.Trace[:min(len(a.Trace), 1)])
		}
	}
}

// However much happens, the story is bounded.
func TestStoryIsBounded(t *testing.T) {
	r := New(Config{Hints: RootHints()})
	var whole story
	for range 20 {
		part := new(story)
		for range 2 * ownSteps {
			part.add(r, &Step{Server: netip.MustParseAddrPort("192.0.2.1:53")})
		}
		whole.join(part)
		whole.join(part)
	}
	if len(whole.parts) != 20 || len(whole.parts[0].steps) != ownSteps {
		t.Errorf("%d parts, of %d steps", len(whole.parts), len(whole.parts[0].steps))
	}
	if got := len(whole.tell(r, &client{})); got != maxSteps {
		t.Errorf("told %d steps, want %d", got, maxSteps)
	}
}

func TestFailureID(t *testing.T) {
	for _, id := range []FailureID{1, 0x123456789a, 1<<shortid.Bits - 1} {
		text := id.String()
		got, err := ParseFailureID(strings.ToUpper(text))
		if err != nil || got != id || len(text) != len(failurePrefix)+8 {
			t.Errorf("%x is %s is %x (%v)", uint64(id), text, uint64(got), err)
		}
	}
	for _, bad := range []string{"", "servfail-", "servfail-0123456", "servfail-012345678", "servfail-u0000000", "example.org"} {
		if id, err := ParseFailureID(bad); err == nil {
			t.Errorf("%q is %v", bad, id)
		}
	}
}
