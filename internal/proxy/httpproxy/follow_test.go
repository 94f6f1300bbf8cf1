package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// telling is an origin that answers with its name and the first line of the request.
func telling(name string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		for head := readMessageHead(r); head != ""; head = readMessageHead(r) {
			line, _, _ := strings.Cut(head, "\r\n")
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s: %s", len(name)+2+len(line), name, line)
		}
	}
}

// routesOf compiles rules over pools of one member each, of which those in down are down.
func routesOf(t *testing.T, rules []route.Rule, members map[string]string, down ...string) *served.Table {
	t.Helper()
	var pools []*pool.Pool
	for _, name := range []string{"web", "canary", "spare"} {
		p := pool.New(name)
		spec := pool.Spec{Name: name, Members: []pool.MemberSpec{{Name: "m", Address: netip.MustParseAddrPort(members[name])}}}
		p.Publish(pool.Compile(spec, func(health.Target) health.Status {
			if strings.Contains(strings.Join(down, " "), name) {
				return health.Status{State: health.Down}
			}
			return health.Status{State: health.Up}
		}, nil))
		pools = append(pools, p)
	}
	table, errs := served.New(rules, pools, nil, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return table
}

// TestFollow: what becomes of requests by their routes, over sockets.
func TestFollow(t *testing.T) {
	members := map[string]string{}
	for _, name := range []string{"web", "canary", "spare"} {
		members[name] = startOrigin(t, telling(name))
	}
	one := func(name string) []route.Share { return []route.Share{{Pool: name, Weight: 1}} }
	rules := []route.Rule{
		{Pools: one("web")},
		{Name: "beta", When: route.When{Cookies: []route.Condition{{Name: "beta", Value: "on"}}}, Pools: one("canary")},
		{Name: "near", When: route.When{Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, Pools: one("canary")},
		{Path: "/old", Redirect: &route.Redirect{Status: 308, To: "https://{host}/new{rest}{query}"}},
		{Path: "=/healthz", Respond: &route.Respond{Status: 200, Type: "application/json", Content: "{}\n"}},
		{Path: "=/gone", Respond: &route.Respond{Status: 204}},
		{Path: "/api/{version}/{what...}", Pools: one("web"), Rewrite: "/{what}/of/{version}"},
		{Path: "/canary", Pools: []route.Share{{Pool: "web"}, {Pool: "canary", Weight: 1}}},
		{Path: "/help", Pools: one("spare"), Fallback: "web"},
		{Path: "/sorry", Pools: one("canary"), Fallback: "spare"},
	}
	table := routesOf(t, rules, members, "spare")
	var log bytes.Buffer
	g := startGateway(t, Config{Table: func() *served.Table { return table }, AccessLog: &log, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for _, c := range []struct{ request, want string }{
		{"GET /x HTTP/1.1\r\nHost: h\r\n", "web: GET /x "},
		{"GET /x HTTP/1.1\r\nHost: h\r\nCookie: a=b; beta=on\r\n", "canary: GET /x "},
		{"GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.9\r\n", "canary: GET /x "},
		{"GET /old/a/../b?c HTTP/1.1\r\nHost: h.example:8080\r\n", "308 Permanent Redirect\r\nDate: "},
		{"GET /old/a/../b?c HTTP/1.1\r\nHost: h.example:8080\r\n", "\r\nLocation: https://h.example:8080/new/b?c\r\nContent-Length: 0\r\n"},
		{"GET /healthz HTTP/1.1\r\nHost: h\r\n", "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 3\r\n"},
		{"GET /healthz HTTP/1.1\r\nHost: h\r\n", "\r\n\r\n{}\n"},
		{"GET /healthz/ HTTP/1.1\r\nHost: h\r\n", "web: GET /healthz/ "},
		{"GET /gone HTTP/1.1\r\nHost: h\r\n", "204 No Content\r\nDate: "},
		{"GET /api/v2/a/b?q HTTP/1.1\r\nHost: h\r\n", "web: GET /a/b/of/v2?q "},
		{"GET /canary/x HTTP/1.1\r\nHost: h\r\n", "canary: GET /canary/x "},
		{"GET /help HTTP/1.1\r\nHost: h\r\n", "web: GET /help "},
		{"GET /sorry HTTP/1.1\r\nHost: h\r\n", "canary: GET /sorry "},
	} {
		if got := g.ask(c.request + byeField + "\r\n"); !strings.Contains(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.request, got, c.want)
		}
	}
	if got := g.ask("HEAD /healthz HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n"); !strings.Contains(got, "Content-Length: 3\r\n") || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("HEAD: got %q", got)
	}
	if got := g.ask("GET /gone HTTP/1.1\r\nHost: h\r\n\r\nGET /old HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n"); !strings.Contains(got, "204 ") || !strings.Contains(got, "308 ") || !strings.Contains(got, "web: GET /x") {
		t.Errorf("the connection is not kept: got %q", got)
	}
	if got := g.ask("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /"); strings.Count(got, "HTTP/1.1") != 1 || !strings.Contains(got, "Connection: close\r\n") {
		t.Errorf("content that was not read is taken for a request, or the connection is kept: %q", got)
	}
	if got := g.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n"); !strings.Contains(got, "web: OPTIONS * ") {
		t.Errorf("OPTIONS *: got %q", got)
	}
	if err := g.server.Shutdown(context.Background()); err != nil { // which writes the log
		t.Fatal(err)
	}
	for _, want := range []string{`"route":"beta","pool":"canary"`, `"target":"/healthz","version":"1.1","status":200`, `"pool":"web","member":"m"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, log.String())
		}
	}
}

// TestSplitByClient: a client stays with the pool that was drawn for it.
func TestSplitByClient(t *testing.T) {
	members := map[string]string{"web": "127.0.0.1:1", "canary": "127.0.0.1:2", "spare": "127.0.0.1:3"}
	table := routesOf(t, []route.Rule{{Pools: []route.Share{{Pool: "web", Weight: 3}, {Pool: "canary", Weight: 1}}, Sticky: true}}, members)
	r, _ := table.Routes().Match(nil, []byte("/"), nil)
	counts := map[int]int{}
	const clients = 4096
	for i := range clients {
		c := &client{server: &Server{}, peer: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}
		first := exchange{way: way{table: table}}
		for range 3 {
			x := exchange{way: way{table: table}}
			if c.follow(&x, r); first.pool != nil && x.pool != first.pool {
				t.Fatalf("client %v is drawn anew", c.peer)
			}
			first = x
		}
		counts[first.index]++
	}
	if got := counts[1]; got < clients/4-clients/20 || got > clients/4+clients/20 {
		t.Errorf("%d of %d clients for a quarter", got, clients)
	}
}
