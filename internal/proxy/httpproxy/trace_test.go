package httpproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"pharos/internal/proxy/tracecontext"
)

const (
	givenTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	givenSpan  = "00f067aa0ba902b7"
	given      = "00-" + givenTrace + "-" + givenSpan + "-"
)

// echoHead answers with the head of the request as content.
func echoHead(conn net.Conn, r *bufio.Reader) {
	for {
		head := readMessageHead(r)
		if head == "" {
			return
		}
		io.WriteString(conn, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(head), head))
	}
}

var parentLine = regexp.MustCompile(`(?i)traceparent: (00-([0-9a-f]{32})-([0-9a-f]{16})-0([01]))\r\n`)

// TestTraceContext: whose traces are continued, which are sampled, and what members are told.
func TestTraceContext(t *testing.T) {
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, c := range []struct {
		name    string
		how     Tracing
		trusted []netip.Prefix
		fields  string
		goesOn  bool // the trace
		state   string
		sampled bool
	}{
		{"new", Tracing{Every: 1}, local, "", false, "", true},
		{"new, not sampled", Tracing{Every: 0}, local, "", false, "", false},
		{"trusted", Tracing{Every: 0, Parent: true}, local, "Traceparent: " + given + "01\r\nTracestate: a=1\r\ntracestate: b=2\r\n", true, "a=1,b=2", true},
		{"trusted, parent not sampled", Tracing{Every: 1, Parent: true}, local, "traceparent: " + given + "00\r\n", true, "", false},
		{"trusted, sampling of our own", Tracing{Every: 1}, local, "traceparent: " + given + "00\r\n", true, "", true},
		{"not trusted", Tracing{Every: 1, Parent: true}, nil, "traceparent: " + given + "00\r\ntracestate: a=1\r\n", false, "", true},
		{"from all", Tracing{Every: 0, Parent: true, FromAll: true}, nil, "traceparent: " + given + "01\r\n", true, "", true},
		{"from nobody", Tracing{Every: 1, FromNobody: true}, local, "traceparent: " + given + "01\r\n", false, "", true},
		{"malformed", Tracing{Every: 1, Parent: true}, local, "traceparent: " + given + "0\r\ntracestate: a=1\r\n", false, "", true},
		{"twice", Tracing{Every: 1, Parent: true}, local, "traceparent: " + given + "00\r\ntraceparent: " + given + "00\r\n", false, "", true},
		{"malformed state", Tracing{Every: 1, Parent: true}, local, "traceparent: " + given + "01\r\ntracestate: a\r\n", true, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			exported := make(chan *tracecontext.Request, 10)
			c.how.Export = func(r *tracecontext.Request) { exported <- r }
			g := startGateway(t, Config{Tracing: &c.how, Trusted: c.trusted}, startOrigin(t, echoHead))
			got := g.ask("GET /a?b HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\n" + c.fields + "Connection: close\r\n\r\n")
			lines := parentLine.FindAllStringSubmatch(got, -1)
			if len(lines) != 1 {
				t.Fatalf("the member was told %q in\n%s", lines, got)
			}
			trace, span, flag := lines[0][2], lines[0][3], lines[0][4]
			if (trace == givenTrace) != c.goesOn || span == givenSpan || (flag == "1") != c.sampled {
				t.Errorf("the member was told %s", lines[0][1])
			}
			var state []string
			for _, line := range regexp.MustCompile(`(?i)tracestate: (.*)\r\n`).FindAllStringSubmatch(got, -1) {
				state = append(state, line[1])
			}
			if strings.Join(state, ",") != c.state {
				t.Errorf("tracestate: got %q, want %q", state, c.state)
			}
			if !c.sampled {
				if len(exported) != 0 {
					t.Error("exported, though it is not sampled")
				}
				return
			}
			r := <-exported
			if string(r.Trace.Append(nil)) != trace || len(r.Tries) != 1 || string(r.Tries[0].Span.Append(nil)) != span || r.Tries[0].Took <= 0 || r.Tries[0].Took > r.Took ||
				r.Path != "/a" || r.Query != "?b" || r.Route != "*/" || r.Pool != "web" || r.Status != 200 || r.Agent != "x" || r.ID == "" {
				t.Errorf("exported %+v", r)
			}
			if isChild := string(r.Parent.Append(nil)) == givenSpan; isChild != c.goesOn || !c.goesOn && !r.Parent.IsZero() {
				t.Errorf("the parent is %x", r.Parent)
			}
		})
	}
}

// TestTraceOfTries: each member that is asked is a span, and told of its own.
func TestTraceOfTries(t *testing.T) {
	dead := startOrigin(t, func(conn net.Conn, r *bufio.Reader) { readMessageHead(r) })
	exported := make(chan *tracecontext.Request, 10)
	g := startGateway(t, Config{Tracing: &Tracing{Every: 1, Export: func(r *tracecontext.Request) { exported <- r }}}, dead, startOrigin(t, echoHead))
	for range 4 {
		got := g.ask(get(byeField))
		r := <-exported
		last := r.Tries[len(r.Tries)-1]
		if told := parentLine.FindStringSubmatch(got); told == nil || told[3] != string(last.Span.Append(nil)) || last.Status != 200 || last.Reason != "" {
			t.Errorf("told %q, last try %+v", told, last)
		}
		if len(r.Tries) == 2 {
			first := r.Tries[0]
			if first.Status != 0 || first.Reason == "" || first.Span == last.Span || first.Took <= 0 || last.After < first.Took || first.Member != "m0" {
				t.Errorf("first try %+v, second %+v", first, last)
			}
			return
		}
	}
	t.Error("no request was tried twice")
}

// TestTraceOfAnswers: what the gateway answers itself is a span without tries, and what is
// no request is none.
func TestTraceOfAnswers(t *testing.T) {
	exported := make(chan *tracecontext.Request, 10)
	g := startGateway(t, Config{Tracing: &Tracing{Every: 1, Export: func(r *tracecontext.Request) { exported <- r }}}, startOrigin(t, echoHead))
	g.ask("GET /%2f HTTP/1.1\r\nHost: h\r\n\r\n")
	if r := <-exported; r.Status != 400 || r.Reason == "" || len(r.Tries) != 0 || r.Route != "" {
		t.Errorf("exported %+v", r)
	}
	g.ask("\x16\x03\r\n\r\n")
	if len(exported) != 0 {
		t.Errorf("no request, and exported %+v", <-exported)
	}
}

// TestNoTracing: without it the fields pass as any others do.
func TestNoTracing(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, echoHead))
	got := g.ask("GET / HTTP/1.1\r\nHost: h\r\ntraceparent: " + given + "01\r\ntracestate: a=1\r\nConnection: close\r\n\r\n")
	if !strings.Contains(got, "traceparent: "+given+"01\r\n") || !strings.Contains(got, "tracestate: a=1\r\n") {
		t.Errorf("the member got\n%s", got)
	}
}

// TestUnsampledAllocatesNothing: a request that takes part in a trace, and is not sampled,
// allocates nothing.
func TestUnsampledAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget what is put into them")
	}
	g := startGateway(t, Config{Tracing: &Tracing{Parent: true, FromAll: true}}, startOrigin(t, fixedOrigin))
	conn := g.dial()
	request := []byte("GET / HTTP/1.1\r\nHost: h\r\ntraceparent: " + given + "00\r\ntracestate: a=1,b=2\r\n\r\n")
	answer := make([]byte, len(ok2))
	round := func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		round()
	}
	var before, after runtime.MemStats
	runtime.GC()
	round()
	runtime.ReadMemStats(&before)
	const rounds = 2000
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > rounds/20 {
		t.Errorf("%d allocations in %d requests, want none", n, rounds)
	}
}
