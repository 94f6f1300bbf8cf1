package httpproxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/places"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/pool"
)

// startProven serves routes that go by content, whose filters are needs: "guard" asks for a
// password, "guarded" for the same and then refuses content over 100 octets, "other" asks
// somebody else.
func startProven(t *testing.T, needs [3][]string) *gateway {
	t.Helper()
	g := startGateway(t, Config{}, startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d octets for %s as %q", len(content), r.URL.Path, r.Header.Get("X-User"))
	}))
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users, err := filter.ParseUsers(fmt.Appendf(nil, "alice:%s\n", hash))
	if err != nil {
		t.Fatal(err)
	}
	means := filter.Means{Users: func(string) (func() *filter.Users, error) { return func() *filter.Users { return users }, nil }}
	web := []route.Share{{Pool: "web", Weight: 1}}
	when := func(region string) route.When {
		return route.When{JSON: []route.Condition{{Name: "region", Value: region}}}
	}
	table, errs := served.New([]route.Rule{
		{Name: "eu", When: when("eu"), Pools: web, Rewrite: "/eu"}, {Name: "us", When: when("us"), Pools: web, Rewrite: "/us"}, {Name: "rest", Pools: web, Rewrite: "/rest"},
	}, []*pool.Pool{g.table.PoolAt(0)}, nil, nil)
	basic := filter.Step{Basic: &filter.Basic{Users: "f", Field: "X-User"}}
	sets := []filter.Set{
		{Name: "guard", Steps: []filter.Step{{Clients: &filter.Clients{Deny: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}, basic}},
		{Name: "small", Steps: []filter.Step{{Limits: &filter.Limits{Content: 100}}}},
		{Name: "other", Steps: []filter.Step{basic}},
	}
	by := make([]served.NeedsFilters, 3)
	for i, names := range needs {
		by[i].Sets = names
	}
	if errs = append(errs, table.Filter(sets, by, means, nil)...); len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	g.publish(table)
	return g
}

// TestProofBeforeContent: who has to show who he is does so before any of his content is read,
// also where the route goes by that.
func TestProofBeforeContent(t *testing.T) {
	alice := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:secret")) + "\r\n"
	head := "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n"
	small, large := `{"region":"eu"}`, `{"region":"us","x":"`+strings.Repeat("a", 200)+`"}`
	same := [3][]string{{"guard"}, {"guard", "small"}, {"guard"}}
	// A response is waited for after the head alone: the rest of the request never comes, and
	// the test hangs when it is waited for.
	for name, c := range map[string]struct {
		needs      [3][]string
		head, want string
	}{
		"nobody":                       {same, head + "Content-Length: 15\r\n\r\n", "HTTP/1.1 401 "},
		"nobody, chunked":              {same, head + "Transfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 401 "},
		"nobody, expecting":            {same, head + "Expect: 100-continue\r\nContent-Length: 15\r\n\r\n", "HTTP/1.1 401 "},
		"alice, expecting":             {same, head + alice + "Expect: 100-continue\r\nContent-Length: 15\r\n\r\n", "HTTP/1.1 100 "},
		"one route asks for nothing":   {[3][]string{{"guard"}, {"guard"}, nil}, head + "Expect: 100-continue\r\nContent-Length: 15\r\n\r\n", "HTTP/1.1 100 "},
		"one route asks otherwise":     {[3][]string{{"guard"}, {"other"}, {"guard"}}, head + "Expect: 100-continue\r\nContent-Length: 15\r\n\r\n", "HTTP/1.1 100 "},
		"content of no kind looked at": {same, strings.Replace(head, "application/json", "text/plain", 1) + "Content-Length: 15\r\n\r\n", "HTTP/1.1 401 "},
	} {
		t.Run(name, func(t *testing.T) {
			conn := startProven(t, c.needs).dial()
			io.WriteString(conn, c.head)
			got := make([]byte, len(c.want))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	g := startProven(t, same)
	for _, c := range []struct{ fields, content, want string }{
		{alice, small, `15 octets for /eu as "alice"`},
		{alice, `{"region":"us"}`, `15 octets for /us as "alice"`},
		{alice, `{}`, `2 octets for /rest as "alice"`},
		{alice, large, "HTTP/1.1 413 "}, // what follows the proof is that of the route
		{"X-User: root\r\n", small, "HTTP/1.1 401 "},
		{strings.Replace(alice, "Basic ", "Basic x", 1), small, "HTTP/1.1 401 "},
	} {
		got := g.ask(fmt.Sprintf("%s%sContent-Length: %d\r\n\r\n%s", head, c.fields, len(c.content), c.content))
		if !strings.Contains(got, c.want) {
			t.Errorf("%.60s: want %q, got\n%s", c.content, c.want, got)
		}
	}
}

// TestInspectedPerClient: a client has so many requests whose content is waited for to find
// their routes, and no more.
func TestInspectedPerClient(t *testing.T) {
	g := startProven(t, [3][]string{})
	head := "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 15\r\n"
	peer := netip.MustParseAddr("127.0.0.1")
	for range mostInspected - 1 {
		if !g.server.inspecting.TakeClient(peer, places.Proven, mostInspected) {
			t.Fatal("there are fewer places than said")
		}
	}
	first := g.dial()
	io.WriteString(first, head+"Expect: 100-continue\r\n\r\n")
	asked := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(first, asked); err != nil {
		t.Fatal(err)
	}
	if got := g.ask(head + "\r\n"); !strings.HasPrefix(got, "HTTP/1.1 429 ") || !strings.Contains(got, "\r\nRetry-After: 1\r\n") {
		t.Errorf("one too many:\n%s", got)
	}
	if got := g.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("a request without content:\n%s", got)
	}
	io.WriteString(first, `{"region":"eu"}`)
	answer := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(first, answer); err != nil || string(answer) != "HTTP/1.1 200" {
		t.Errorf("the first: %q %v", answer, err)
	}
	if got := g.ask(head + "Connection: close\r\n\r\n" + `{"region":"eu"}`); !strings.Contains(got, "for /eu") {
		t.Errorf("the place was not given back:\n%s", got)
	}
	if n := g.server.Counters().Hasty; n != 1 {
		t.Errorf("%d are counted, want 1", n)
	}
}

// TestPaceIsOfTheWholeContent: what was waited for to find the route counts for what is read
// behind it, or a client that trickles would have its time of grace twice.
func TestPaceIsOfTheWholeContent(t *testing.T) {
	c := &client{server: &Server{}}
	x := exchanges.New().(*exchange)
	x.inspected.pace = pace{waited: time.Minute, octets: 7}
	if u := newUpload(c, x); u.pace != x.inspected.pace {
		t.Errorf("the content goes on with %+v", u.pace)
	}
}
