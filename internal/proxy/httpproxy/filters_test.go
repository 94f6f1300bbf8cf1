package httpproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/served"
)

// startFiltered serves all requests to one origin server, through steps.
func startFiltered(t testing.TB, cfg Config, origin string, steps ...filter.Step) *gateway {
	t.Helper()
	var current atomic.Pointer[served.Table]
	cfg.Table = current.Load
	g := startGateway(t, cfg, origin)
	errs := g.table.Filter([]filter.Set{{Name: "s", Steps: steps}}, []served.NeedsFilters{{Sets: []string{"s"}}}, filter.Means{}, nil)
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	current.Store(g.table)
	return g
}

// echoFields answers with the fields that it was sent, in the order of their names, and the
// trailer fields.
func echoFields(w http.ResponseWriter, r *http.Request) {
	content, _ := io.ReadAll(r.Body) // what is cut off shows in the length
	w.Header().Set("X-Powered-By", "an origin")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	var lines []string
	for name, values := range r.Header {
		lines = append(lines, fmt.Sprintf("%s: %s\n", name, strings.Join(values, ", ")))
	}
	for name, values := range r.Trailer {
		lines = append(lines, fmt.Sprintf("trailer %s: %s\n", name, strings.Join(values, ", ")))
	}
	slices.Sort(lines)
	fmt.Fprintf(w, "%s of %d octets for %s\n%s", r.Method, len(content), r.Host, strings.Join(lines, ""))
}

func TestFilteredFields(t *testing.T) {
	g := startFiltered(t, Config{}, startHTTPOrigin(t, echoFields),
		filter.Step{Request: &filter.Changes{Set: []filter.Field{{Name: "X-User", Value: "{client}"}, {Name: "Host", Value: "inner.example"}}, Remove: []string{"X-Secret"}}},
		filter.Step{Response: &filter.Changes{Remove: []string{"X-Powered-By"}, Set: []filter.Field{{Name: "X-Request", Value: "{method} {path}"}}}},
		filter.Step{CORS: &filter.CORS{Origins: []string{"https://www.example.com"}}})
	// A client cannot say what the gateway says: not by the field, not by one with another
	// spelling, not as a trailer field, and not by naming it in Connection.
	got := g.ask("POST /a/../b HTTP/1.1\r\nHost: www.example.com\r\nx-user: root\r\nX_User: root\r\nX-Secret: 1\r\nConnection: close, X-User\r\n" +
		"Transfer-Encoding: chunked\r\nTrailer: X-User, X-Sum\r\n\r\n1\r\na\r\n0\r\nX-User: root\r\nX-Sum: 7\r\n\r\n")
	for _, want := range []string{"POST of 1 octets for inner.example\n", "\nX-User: 127.0.0.1\n", "\nX-Forwarded-Host: www.example.com\n", "\r\nX-Request: POST /b\r\n", "\r\nVary: Origin\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	for _, none := range []string{"root", "X-Secret", "X-Powered-By", "Access-Control-Allow-Origin"} {
		if strings.Contains(got, none) {
			t.Errorf("%q is in\n%s", none, got)
		}
	}
}

// Refusals have the fields that filters give all responses, or no page could read them.
func TestFilteredRefusals(t *testing.T) {
	g := startFiltered(t, Config{}, startHTTPOrigin(t, echoFields),
		filter.Step{Limits: &filter.Limits{Content: 5, Query: 3}}, filter.Step{CORS: &filter.CORS{Origins: []string{"https://www.example.com"}, Methods: []string{"PUT"}}})
	const origin = "Host: www.example.com\r\nOrigin: https://www.example.com\r\n"
	for name, c := range map[string]struct{ request, want string }{
		"query":           {"GET /?long HTTP/1.1\r\n" + origin + "\r\n", "HTTP/1.1 414 "},
		"content":         {"POST / HTTP/1.1\r\n" + origin + "Content-Length: 6\r\n\r\nsixsix", "HTTP/1.1 413 "},
		"chunked":         {"POST / HTTP/1.1\r\n" + origin + "Transfer-Encoding: chunked\r\n\r\n6\r\nsixsix\r\n0\r\n\r\n", "HTTP/1.1 413 "},
		"content is fine": {"POST / HTTP/1.1\r\n" + origin + "Content-Length: 5\r\nConnection: close\r\n\r\nfives", "HTTP/1.1 200 "},
		"preflight":       {"OPTIONS / HTTP/1.1\r\n" + origin + "Access-Control-Request-Method: PUT\r\nConnection: close\r\n\r\n", "HTTP/1.1 204 "},
	} {
		got := g.ask(c.request)
		if !strings.HasPrefix(got, c.want) || strings.Count(got, "Access-Control-Allow-Origin: https://www.example.com\r\n") != 1 {
			t.Errorf("%s: want %q, got\n%s", name, c.want, got)
		}
		if name == "preflight" && (strings.Contains(got, "Proxy-Status") || !strings.Contains(got, "Access-Control-Allow-Methods: PUT\r\n")) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	counted := g.table.Filters(10)
	if len(counted) != 1 || counted[0].Step != "s/1 limits" || counted[0].Refused < 2 {
		t.Errorf("the counters are %+v", counted)
	}
}

// Who the client is is what the connection says, and what trusted proxies say; a list of
// networks must not be passed by a field.
func TestFilteredClients(t *testing.T) {
	step := filter.Step{Clients: &filter.Clients{Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}}
	const request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 198.51.100.7\r\nX-Real-IP: 198.51.100.7\r\nForwarded: for=198.51.100.7\r\n\r\n"
	stranger := startFiltered(t, Config{}, startHTTPOrigin(t, echoFields), step)
	if got := stranger.ask(request); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("a field of anybody counts:\n%s", got)
	}
	trusted := startFiltered(t, Config{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, startHTTPOrigin(t, echoFields), step)
	if got := trusted.ask(request); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("a trusted proxy does not count:\n%s", got)
	}
	// What the client wrote itself stands to the left, and does not count.
	if got := trusted.ask(strings.Replace(request, "X-Forwarded-For: ", "X-Forwarded-For: 198.51.100.7, 203.0.113.9\r\nX-Other: ", 1)); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("the left end of the list counts:\n%s", got)
	}
}

// TestNoAllocsFiltered: a route with filters that need no memory allocates nothing either.
func TestNoAllocsFiltered(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget what is put into them")
	}
	g := startFiltered(t, Config{}, startOrigin(t, fixedOrigin),
		filter.Step{Clients: &filter.Clients{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}, filter.Step{Limits: &filter.Limits{Content: 100}},
		filter.Step{Request: &filter.Changes{Set: []filter.Field{{Name: "X-Client", Value: "{client} {id}"}}}},
		filter.Step{Response: &filter.Changes{Remove: []string{"Server"}}})
	conn := g.dial()
	request := []byte("GET /path?query HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
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
	const rounds = 2000
	var before, after runtime.MemStats
	runtime.GC()
	round()
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > rounds/20 {
		t.Errorf("%d allocations in %d requests, want none", n, rounds)
	}
}

// Requests that wait for their turn are let in one after the other, those that find no room
// are told when to come again, and none is lost, whoever goes away.
func TestFilteredConcurrency(t *testing.T) {
	var inside, most atomic.Int64
	release := make(chan struct{})
	origin := startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), inside.Add(1)))
		<-release
		inside.Add(-1)
	})
	g := startFiltered(t, Config{}, origin, filter.Step{Crowd: &filter.Crowd{Key: []string{"route"}, Most: 1, Queue: 2, Wait: time.Minute}})
	send := func() net.Conn {
		conn := g.dial()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		return conn
	}
	waiting := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
			did, _, err := g.server.ExplainFilters(g.table, slices.Collect(g.table.Routes().All())[0], Target{Client: netip.MustParseAddr("127.0.0.1"), Method: "GET", Host: "h", Path: "/"})
			if err != nil {
				t.Fatal(err)
			}
			if did[0].What == fmt.Sprintf("1 of 1 requests are under way for its key, and %d of 2 wait", n) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s, want %d to wait", did[0].What, n)
			}
		}
	}
	first := send()
	waiting(0)
	second := send()
	waiting(1)
	third := send()
	waiting(2)
	if got := g.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "\r\nRetry-After: 60\r\n") {
		t.Errorf("the queue is full:\n%s", got)
	}
	third.Close() // it goes away while it waits
	waiting(1)
	close(release)
	for i, conn := range []net.Conn{first, second} {
		if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Errorf("%d: %q", i, answer)
		}
	}
	if most.Load() != 1 {
		t.Errorf("%d were under way at once, want 1", most.Load())
	}
	if got := g.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("a place was lost:\n%s", got)
	}
}

// Who leaves out the field that a limit goes by, or says to be somebody else, has no more than
// others.
func TestFilteredRate(t *testing.T) {
	g := startFiltered(t, Config{}, startHTTPOrigin(t, echoFields), filter.Step{Rate: &filter.Rate{Key: []string{"client"}, Requests: 2, Per: time.Hour}})
	for i, want := range []string{"200", "200", "429"} {
		got := g.ask(fmt.Sprintf("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n", i))
		if !strings.HasPrefix(got, "HTTP/1.1 "+want) || !strings.Contains(got, fmt.Sprintf("\r\nRateLimit: \"s\";r=%d;", max(1-i, 0))) {
			t.Errorf("%d: want %s, got\n%s", i, want, got)
		}
		if want == "429" && !strings.Contains(got, "\r\nRetry-After: 1800\r\n") {
			t.Errorf("it is not said when to come again:\n%s", got)
		}
	}
}

// A request gives its place back when it ends, and once only.
func TestFilteredLeave(t *testing.T) {
	g := startFiltered(t, Config{}, startHTTPOrigin(t, echoFields), filter.Step{Crowd: &filter.Crowd{Key: []string{"route"}, Most: 1}})
	p := &seat{client: client{server: g.server}}
	x := p.hold()
	x.pass.Reset((*filtered)(&p.client), slices.Collect(g.table.Routes().All())[0], time.Now())
	p.x.req.ResetRequest(g.server.http)
	chain, _ := g.table.FiltersOf(0)
	if v := chain.Decide(&x.pass, nil); !v.Passes() {
		t.Fatalf("%+v", v)
	}
	x.leave()
	x.leave()
	if got := g.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("its place is lost:\n%s", got)
	}
}
