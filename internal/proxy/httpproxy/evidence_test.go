package httpproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"pharos/internal/traffic/health"
)

// evidence is what a gateway reports of members, in order: "m0 erred".
type evidence struct {
	mu    sync.Mutex
	lines []string
}

func (e *evidence) of(g **gateway) func(health.Target, health.Result) {
	return func(target health.Target, r health.Result) {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, m := range (*g).table.PoolAt(0).View().Members {
			if m.Target == target {
				e.lines = append(e.lines, fmt.Sprintf("%s %s", m.Name, r.Outcome))
			}
		}
	}
}

func (e *evidence) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := e.lines
	e.lines = nil
	return lines
}

// by answers a request by its method and path.
func by(answer func(method, path string) string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		for {
			head := readMessageHead(r)
			if head == "" {
				return
			}
			method, rest, _ := strings.Cut(head, " ")
			path, _, _ := strings.Cut(rest, " ")
			io.WriteString(conn, answer(method, path))
		}
	}
}

const (
	failed500  = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"
	missing501 = "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n"
)

func request(method, path string) string {
	content := ""
	if method == "POST" {
		content = "Content-Length: 0\r\n"
	}
	return method + " " + path + " HTTP/1.1\r\nHost: a\r\n" + content + "Connection: close\r\n\r\n"
}

// Who answers a request with an error that another member answers well is at fault, and
// the client does not see it; what all members fail is the request's fault; and what may
// not be repeated is doubtful.
func TestSecondOpinion(t *testing.T) {
	var e evidence
	var g *gateway
	broken := by(func(_, path string) string {
		if path == "/501" {
			return missing501
		}
		return failed500
	})
	well := by(func(_, path string) string {
		if path == "/bad" {
			return failed500
		}
		return ok2
	})
	g = startGateway(t, Config{Report: e.of(&g)}, startOrigin(t, broken), startOrigin(t, well), startOrigin(t, well))
	for _, c := range []struct {
		method, path string
		seen         string // status, of each of 6 requests
		outcomes     [health.Outcomes]uint32
		told         string
	}{
		{"GET", "/", "200", [health.Outcomes]uint32{health.Erred: 2}, "m0 erred"},
		{"GET", "/bad", "500", [health.Outcomes]uint32{}, ""},
		{"POST", "/", "", [health.Outcomes]uint32{health.Doubtful: 2}, ""},
		{"GET", "/501", "", [health.Outcomes]uint32{health.Answered: 2}, "m0 answered"},
	} {
		before := g.table.PoolAt(0).View().Members[0].Load.Gauge.Total()
		for range 6 {
			got := g.ask(request(c.method, c.path))
			if c.seen != "" && !strings.HasPrefix(got, "HTTP/1.1 "+c.seen+" ") {
				t.Errorf("%s %s: got %.40q, want %s", c.method, c.path, got, c.seen)
			}
		}
		after := g.table.PoolAt(0).View().Members[0].Load.Gauge.Total()
		for o := range after {
			// Turns differ by one or two with the requests that went before.
			if got, want := after[o]-before[o], c.outcomes[o]; (got == 0) != (want == 0) {
				t.Errorf("%s %s: %d requests to the broken one %v, want %d", c.method, c.path, got, health.Outcome(o), want)
			}
		}
		for _, line := range e.take() {
			if line != c.told && strings.HasPrefix(line, "m0") {
				t.Errorf("%s %s: told %q, want %q or nothing", c.method, c.path, line, c.told)
			}
		}
	}
	if n := g.table.PoolAt(0).Load().Opinions.Load(); n != 0 {
		t.Errorf("%d second opinions are still under way", n)
	}
	if g.table.CountersAt(0).Opinions.Load() == 0 {
		t.Error("no second opinions were counted")
	}
}

// A pool of one member has no second opinion: its error goes to the client, and is
// doubtful.
func TestErrorOfTheOnlyMember(t *testing.T) {
	var e evidence
	var g *gateway
	g = startGateway(t, Config{Report: e.of(&g)}, startOrigin(t, by(func(_, _ string) string { return failed500 })))
	for range 5 {
		if got := g.ask(request("GET", "/")); !strings.HasPrefix(got, "HTTP/1.1 500 ") || !strings.HasSuffix(got, "oops") {
			t.Errorf("got %q", got)
		}
	}
	if got := g.table.PoolAt(0).View().Members[0].Load.Gauge.Total(); got != [health.Outcomes]uint32{health.Doubtful: 5} {
		t.Errorf("counted %v", got)
	}
	if told := e.take(); len(told) > 0 {
		t.Errorf("told %q", told)
	}
}

// A member that dies within its answer, before the client was told anything, is only a
// retry: within the head, and within content that is small.
func TestDeathWithinAnAnswer(t *testing.T) {
	for _, part := range []string{"HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"} {
		dying := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
			readMessageHead(r)
			io.WriteString(conn, part)
		})
		g := startGateway(t, Config{}, dying, startOrigin(t, answering(ok2)))
		for range 6 {
			if got := g.ask(request("GET", "/")); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "\r\n\r\nok") {
				t.Errorf("after %q: got %q", part, got)
			}
		}
		posted := false
		for range 2 {
			posted = posted || !strings.HasSuffix(g.ask(request("POST", "/")), "ok")
		}
		if total := g.table.PoolAt(0).View().Members[0].Load.Gauge.Total(); total[health.Broken] == 0 || !posted {
			t.Errorf("after %q: counted %v, a POST failed: %v; want broken ones, and POST never sent again", part, total, posted)
		}
	}
}

// Second opinions are bounded: when many requests fail at once, most errors go to the
// clients as they are, and members are not asked twice for all of them.
func TestOpinionsAreBounded(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, by(func(_, _ string) string { return failed500 })), startOrigin(t, answering(ok2)))
	g.table.PoolAt(0).Load().Opinions.Store(leastOpinions)
	seen := 0
	for range 6 {
		if strings.HasPrefix(g.ask(request("GET", "/")), "HTTP/1.1 500 ") {
			seen++
		}
	}
	if seen == 0 || g.table.CountersAt(0).Opinions.Load() != 0 {
		t.Errorf("%d errors were passed on, %d second opinions asked; want some and none", seen, g.table.CountersAt(0).Opinions.Load())
	}
}
