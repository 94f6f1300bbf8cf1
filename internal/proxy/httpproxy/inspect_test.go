package httpproxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/pool"
)

// TestInspect: a request that goes by its content goes on with all of it, however it comes.
func TestInspect(t *testing.T) {
	origin := startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d octets, %v, %s, trailer %q", len(content), err, content[max(len(content)-3, 0):], r.Trailer.Get("X-Sum"))
	})
	var current atomic.Pointer[served.Table]
	g := startGateway(t, Config{Table: current.Load, Limits: Limits{Inspect: 1000}}, origin)
	web := []route.Share{{Pool: "web", Weight: 1}}
	table, errs := served.New([]route.Rule{
		{Name: "eu", When: route.When{JSON: []route.Condition{{Name: "region", Value: "eu"}}}, Pools: web, Rewrite: "/"},
		{Name: "rest", Respond: &route.Respond{Status: 202, Content: "the rest"}},
	}, []*pool.Pool{g.table.PoolAt(0)}, nil, nil)
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	current.Store(table)
	head := "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n"
	length := func(content string) string {
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(content), content)
	}
	chunked := func(size int, content string) string {
		b := head + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
		for len(content) > 0 {
			n := min(size, len(content))
			b += fmt.Sprintf("%x\r\n%s\r\n", n, content[:n])
			content = content[n:]
		}
		return b + "0\r\nX-Sum: 7\r\n\r\n"
	}
	small, large := `{"region":"eu","x":"end"}`, `{"region":"eu","x":"`+strings.Repeat("a", 200_000)+`"}`
	late := `{"x":"` + strings.Repeat("a", 2000) + `","region":"eu"}`
	for name, c := range map[string]struct{ request, want string }{
		"small":                 {length(small), fmt.Sprintf("%d octets, <nil>, d\"}, trailer \"\"", len(small))},
		"small, chunked":        {chunked(7, small), fmt.Sprintf("%d octets, <nil>, d\"}, trailer \"7\"", len(small))},
		"single octets":         {chunked(1, small), fmt.Sprintf("%d octets, <nil>, d\"}, trailer \"7\"", len(small))},
		"large":                 {length(large), fmt.Sprintf("%d octets, <nil>, a\"}, trailer \"\"", len(large))},
		"large, chunked":        {chunked(3000, large), fmt.Sprintf("%d octets, <nil>, a\"}, trailer \"7\"", len(large))},
		"large, small chunks":   {chunked(3, large[:20_000]+`"}`), fmt.Sprintf("%d octets, <nil>, a\"}, trailer \"7\"", 20_002)},
		"another":               {length(`{"region":"us"}`), "the rest"},
		"behind what is read":   {length(late), "the rest"},
		"empty":                 {length(""), "the rest"},
		"of another kind":       {strings.Replace(length(small), "application/json", "text/plain", 1), "the rest"},
		"malformed":             {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
		"no content, no length": {strings.Replace(head, "POST", "GET", 1) + "\r\n", "the rest"},
	} {
		if got := g.ask(c.request); !strings.Contains(got, c.want) {
			t.Errorf("%s: want %q, got\n%.300s", name, c.want, got)
		}
	}
	// A client that waits for 100 (Continue) is asked for its content.
	conn := g.dial()
	io.WriteString(conn, fmt.Sprintf("%sExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", head, len(small)))
	answer := make([]byte, len("HTTP/1.1 100"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 100" {
		t.Fatalf("%q %v", answer, err)
	}
	io.WriteString(conn, small)
	if rest, _ := io.ReadAll(conn); !strings.Contains(string(rest), fmt.Sprintf("%d octets, <nil>", len(small))) {
		t.Errorf("after 100:\n%s", rest)
	}
}
