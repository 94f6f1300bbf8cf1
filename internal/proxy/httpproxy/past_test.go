package httpproxy

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/tracecontext"
)

// TestPast: what failed, was refused or was tried again is kept with what has led to it, of
// what went well a sample.
func TestPast(t *testing.T) {
	dead := startOrigin(t, func(conn net.Conn, r *bufio.Reader) { readMessageHead(r) })
	ring := tracecontext.NewRing(4000 * tracecontext.RequestOctets)
	g := startGateway(t, Config{Past: &Past{Ring: ring}, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, dead, startOrigin(t, answering(ok2)))
	for i := range 4 { // in turn; one of them meets the dead member first
		g.ask(fmt.Sprintf("GET /a?b HTTP/1.1\r\nHost: h\r\nX-Request-Id: try%d\r\nConnection: close\r\n\r\n", i))
	}
	var again *tracecontext.Request
	for i := range 4 {
		q, _ := g.server.PastRequest(fmt.Sprint("try", i), time.Now())
		if q != nil && len(q.Tries) != 2 {
			t.Errorf("kept, though it went well: %+v", q)
		}
		if q != nil {
			again = q
		}
	}
	if again == nil {
		t.Fatal("none that was tried again is kept")
	}
	if again.Status != 200 || again.Route != "*/" || again.Pool != "web" || again.Policy == "" || strings.Join(again.Candidates, ", ") != "m0 unknown, m1 unknown" ||
		again.Tries[0].Reason == "" || again.Tries[1].Status != 200 || again.Path != "/a" || !again.Trace.IsZero() {
		t.Errorf("kept %+v", again)
	}

	g.ask("GET /%2f HTTP/1.1\r\nHost: h\r\nX-Request-Id: bad\r\n\r\n")
	if q, _ := g.server.PastRequest("bad", time.Now()); q == nil || q.Status != 400 || q.Reason == "" || q.Route != "" || len(q.Tries) != 0 {
		t.Errorf("refused: %+v", q)
	}
	if q, kept := g.server.PastRequest("other", time.Now()); q != nil || !strings.Contains(kept, "requests are kept since") {
		t.Errorf("never seen: %+v, %s", q, kept)
	}
	if q, kept := (*Server)(nil).PastRequest("a", time.Now()); q != nil || kept == "" {
		t.Errorf("without a gateway: %v, %q", q, kept)
	}
}

// TestPastSampled: with a sample of all, all are kept.
func TestPastSampled(t *testing.T) {
	g := startGateway(t, Config{Past: &Past{Ring: tracecontext.NewRing(100 * tracecontext.RequestOctets), Every: 1}, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		startOrigin(t, answering(ok2)))
	g.ask("GET /" + strings.Repeat("a", 2000) + " HTTP/1.1\r\nHost: h\r\nX-Request-Id: well\r\nConnection: close\r\n\r\n")
	q, _ := g.server.PastRequest("well", time.Now())
	if q == nil || q.Status != 200 || len(q.Tries) != 1 || q.Tries[0].Took <= 0 || len(q.Path) > 600 {
		t.Errorf("kept %+v", q)
	}
}
