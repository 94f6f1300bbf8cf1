package filter

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/route"
)

// request is a request as a test writes it.
type request struct {
	method, host, path, query string
	fields                    map[string]string
	client                    string
	secure                    bool
	length                    int64
	head                      int
}

func (r *request) Method() []byte { return []byte(orElse(r.method, "GET")) }
func (r *request) Query() []byte  { return []byte(r.query) }
func (r *request) Field(name string) []byte {
	if v, has := r.fields[name]; has {
		return []byte(v)
	}
	return nil
}
func (r *request) Scheme() string          { return "http" }
func (r *request) Cookie(string) []byte    { return nil }
func (r *request) Client() netip.Addr      { return netip.MustParseAddr(orElse(r.client, "192.0.2.7")) }
func (r *request) Host() []byte            { return []byte(orElse(r.host, "www.example.com")) }
func (r *request) Path() []byte            { return []byte(orElse(r.path, "/")) }
func (r *request) ID() []byte              { return []byte("the-id") }
func (r *request) IsSecure() bool          { return r.secure }
func (r *request) Content() ([]byte, bool) { return nil, true }
func (r *request) HeadOctets() int         { return r.head }
func (r *request) ContentLength() int64    { return r.length }

func (r *request) Has(name string) bool { return r.fields[name] != "" }

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

var began = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// chainOf compiles steps, and makes a chain of them.
func chainOf(t testing.TB, steps ...Step) *Chain {
	t.Helper()
	book, errs := Compile([]Set{{Name: "s", Steps: steps}}, Means{}, nil)
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	c, err := book.Chain([]string{"s"}, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// passOf returns a pass for r on a route for any path.
func passOf(t testing.TB, r *request) *Pass {
	t.Helper()
	lone, err := route.Lone(route.Rule{Name: "r", Path: "/users/{name}", Pools: []route.Share{{Pool: "web", Weight: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	p := new(Pass)
	p.Reset(r, lone, began)
	return p
}

func (c *Chain) status(t testing.TB, r *request) int {
	t.Helper()
	v := c.Decide(passOf(t, r), nil)
	return v.Status
}

func TestClients(t *testing.T) {
	prefixes := func(texts ...string) (list []netip.Prefix) {
		for _, text := range texts {
			list = append(list, netip.MustParsePrefix(text))
		}
		return list
	}
	inside := chainOf(t, Step{Clients: &Clients{Allow: prefixes("10.0.0.0/8", "2001:db8::/32"), Deny: prefixes("10.9.0.0/16")}})
	outside := chainOf(t, Step{Clients: &Clients{Deny: prefixes("203.0.113.0/24")}})
	for _, c := range []struct {
		chain  *Chain
		client string
		want   int
	}{
		{inside, "10.1.2.3", 0}, {inside, "10.9.1.1", 403}, {inside, "192.0.2.1", 403}, {inside, "2001:db8::1", 0}, {inside, "::ffff:10.1.2.3", 0},
		{outside, "203.0.113.9", 403}, {outside, "198.51.100.1", 0}, {outside, "2001:db8::1", 0},
	} {
		if got := c.chain.status(t, &request{client: c.client}); got != c.want {
			t.Errorf("%s: %d, want %d", c.client, got, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	c := chainOf(t, Step{Limits: &Limits{Content: 10, Head: 100, Query: 5}})
	for _, e := range []struct {
		r    request
		want int
	}{
		{request{length: 10, head: 100, query: "?12345"}, 0},
		{request{length: 11}, 413}, {request{head: 101}, 431}, {request{query: "?123456"}, 414}, {request{length: -1}, 0},
	} {
		if got := c.status(t, &e.r); got != e.want {
			t.Errorf("%+v: %d, want %d", e.r, got, e.want)
		}
	}
	// What comes without a length is counted while it comes: the least limit of all.
	p := passOf(t, &request{length: -1})
	p.MaxContent = 100
	if c.Decide(p, nil); p.MaxContent != 10 {
		t.Errorf("the limit is %d, want 10", p.MaxContent)
	}
	p.MaxContent = 5
	if c.Decide(p, nil); p.MaxContent != 5 {
		t.Errorf("the limit is %d, want that of the gateway, 5", p.MaxContent)
	}
}

// TestFields: what is set takes the place of what came, in the order of the steps.
func TestFields(t *testing.T) {
	c := chainOf(t,
		Step{Request: &Changes{
			Remove: []string{"X-Secret"}, Set: []Field{{"X-Client", "{client} {{x}"}, {"X-Early", "1"}, {"Host", "{name}.internal"}},
			Add: []Field{{"X-Via", "{scheme}://{host}{path}{query} {method} {id} {route}"}}, Default: []Field{{"X-Has", "no"}, {"X-Lacks", "yes"}},
		}},
		Step{Request: &Changes{Remove: []string{"x-early"}}},
		Step{Response: &Changes{Set: []Field{{"Server", "us"}}}},
	)
	r := &request{path: "/users/alice", query: "?a=1", fields: map[string]string{"X-Has": "1"}}
	p := passOf(t, r)
	if v := c.Decide(p, nil); !v.Passes() {
		t.Fatalf("%+v", v)
	}
	want := "X-Client: 192.0.2.7 {x}\r\nX-Via: http://www.example.com/users/alice?a=1 GET the-id r\r\nX-Lacks: yes\r\n"
	if got := string(c.AppendRequest(nil, p, r)); got != want {
		t.Errorf("request:\n%s\nwant\n%s", got, want)
	}
	if got := string(c.AppendHost(nil, p)); got != "alice.internal" {
		t.Errorf("the host is %q", got)
	}
	if got := string(c.AppendResponse(nil, p, nil)); got != "Server: us\r\n" {
		t.Errorf("response: %q", got)
	}
	for name, want := range map[string]bool{"x-secret": true, "X-CLIENT": true, "X-Early": true, "X-Via": false, "X-Has": false, "X-Clien": false} {
		if got := c.DropsRequest([]byte(name)); got != want {
			t.Errorf("drops %s: %t, want %t", name, got, want)
		}
	}
	if !c.DropsResponse([]byte("server")) || c.DropsResponse([]byte("X-Client")) {
		t.Error("the fields that are dropped from responses are others")
	}
}

// TestBadSteps: each is refused, with what is wrong.
func TestBadSteps(t *testing.T) {
	set := func(name, value string) *Changes { return &Changes{Set: []Field{{name, value}}} }
	for _, c := range []struct {
		step Step
		want string
	}{
		{Step{}, "does nothing"},
		{Step{Limits: &Limits{Query: 1}, CORS: &CORS{}}, "limits, cors: a step does one thing"},
		{Step{Request: set("Content-Length", "5")}, "the gateway writes it itself"},
		{Step{Request: set("X-Forwarded-For", "x")}, "the gateway writes it itself"},
		{Step{Request: set("X_User", "x")}, `write "X-User"`},
		{Step{Request: set("X User", "x")}, "no name of a field"},
		{Step{Request: set("X-A", "a\r\nX-B: c")}, "control character"},
		{Step{Request: set("X-A", "")}, "no value"},
		{Step{Request: set("X-A", "{a b}")}, "no name of a variable"},
		{Step{Request: &Changes{Remove: []string{"Host"}}}, "a request has one"},
		{Step{Request: &Changes{Add: []Field{{"Host", "a"}}}}, "set it"},
		{Step{Response: set("Transfer-Encoding", "chunked")}, "the gateway writes it itself"},
		{Step{Security: &Security{Subdomains: true}}, "without hsts"},
		{Step{Security: &Security{HSTS: time.Hour, Subdomains: true, Preload: true}}, "a year"},
		{Step{CORS: &CORS{Origins: []string{"*"}, Credentials: true}}, "never for every origin"},
		{Step{CORS: &CORS{Origins: []string{"~.*"}, Credentials: true}}, "never for every origin"},
		{Step{CORS: &CORS{Origins: []string{"https://a.example"}, Fields: []string{"*"}, Credentials: true}}, "stands for nothing"},
		{Step{CORS: &CORS{Origins: []string{"null"}}}, "stands for nobody"},
		{Step{CORS: &CORS{Origins: []string{"https://*.com"}}}, "top level domain"},
		{Step{CORS: &CORS{Origins: []string{"https://www.example.com/"}}}, "without a path"},
		{Step{CORS: &CORS{Origins: []string{"https://Www.example.com"}}}, "lower case"},
		{Step{CORS: &CORS{Origins: []string{"~("}}}, "missing closing"},
	} {
		errs := Check(&Set{Name: "s", Steps: []Step{c.step}})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.step, errs, c.want)
		}
	}
}

// TestCORS: pages of listed origins may read responses, and those of no other; nothing that a
// client sends is reflected unless a rule names it.
func TestCORS(t *testing.T) {
	c := chainOf(t, Step{CORS: &CORS{
		Origins: []string{"https://www.example.com", "https://*.shop.example", `~https://dev-[0-9]+\.example\.com(:[0-9]+)?`},
		Methods: []string{"PUT"}, Fields: []string{"Authorization"}, Expose: []string{"X-A"}, Credentials: true, MaxAge: time.Hour,
	}})
	for origin, allowed := range map[string]bool{
		"https://www.example.com": true, "https://a.shop.example": true, "https://a.b.shop.example": true, "https://dev-3.example.com:8443": true,
		"http://www.example.com": false, "https://www.example.com.evil.example": false, "https://evil.example/.shop.example": false,
		"https://evil.example#.shop.example": false, "https://shop.example": false, "https://evilshop.example": false, "https://.shop.example": false,
		"https://dev-3.example.com.evil.example": false, "https://evil.example/https://dev-3.example.com": false, "null": false, "": false,
		"https://www.example.com\x00": false, "https://" + strings.Repeat("a", 300) + ".shop.example": false,
	} {
		r := &request{fields: map[string]string{"Origin": origin}}
		p := passOf(t, r)
		if v := c.Decide(p, nil); !v.Passes() {
			t.Errorf("%q: %d, want that it passes", origin, v.Status)
		}
		got := string(c.AppendResponse(nil, p, nil))
		want := "Vary: Origin\r\n"
		if allowed {
			want += "Access-Control-Allow-Origin: " + origin + "\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-A\r\n"
		}
		if got != want {
			t.Errorf("%q:\n%s\nwant\n%s", origin, got, want)
		}
		r.method, r.fields["Access-Control-Request-Method"] = "OPTIONS", "PUT"
		v := c.Decide(passOf(t, r), nil)
		switch {
		case allowed && (v.Status != 204 || v.Kind != "" || string(v.Lines) != "Access-Control-Allow-Methods: PUT\r\nAccess-Control-Allow-Headers: Authorization\r\nAccess-Control-Max-Age: 3600\r\n"):
			t.Errorf("preflight of %q: %+v", origin, v)
		case !allowed && v.Status != 403:
			t.Errorf("preflight of %q: %d, want 403", origin, v.Status)
		}
	}
	if !c.DropsResponse([]byte("access-control-allow-origin")) || !c.DropsResponse([]byte("Access-Control-Allow-Credentials")) {
		t.Error("what the origin server says of CORS goes on")
	}
	any := chainOf(t, Step{CORS: &CORS{Origins: []string{"*"}}})
	p := passOf(t, &request{fields: map[string]string{"Origin": "https://anywhere.example"}})
	if got := string(any.AppendResponse(nil, p, nil)); got != "Access-Control-Allow-Origin: *\r\n" {
		t.Errorf("for any: %q", got)
	}
}

// TestSecurity: HSTS is said over TLS only; what the origin server says of the others counts.
func TestSecurity(t *testing.T) {
	c := chainOf(t, Step{Security: &Security{HSTS: 365 * 24 * time.Hour, Subdomains: true, Preload: true, Frame: "DENY", Referrer: "no-referrer", Policy: "default-src 'self' {"}})
	r := &request{fields: map[string]string{"X-Frame-Options": "SAMEORIGIN"}}
	want := "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'self' {\r\n"
	if got := string(c.AppendResponse(nil, passOf(t, r), r)); got != want {
		t.Errorf("in the clear:\n%s\nwant\n%s", got, want)
	}
	r.secure = true
	want = "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n" + want
	if got := string(c.AppendResponse(nil, passOf(t, r), r)); got != want {
		t.Errorf("over TLS:\n%s\nwant\n%s", got, want)
	}
}

// TestBook: routes with the same sets share a chain, sets for every route come first, and
// what has not changed is the same after a reload.
func TestBook(t *testing.T) {
	step := func(n int) []Step { return []Step{{Limits: &Limits{Query: n}}} }
	sets := []Set{{Name: "all", EveryRoute: true, Steps: step(1)}, {Name: "a", Steps: step(2)}, {Name: "b", Steps: step(3)}}
	book, errs := Compile(sets, Means{}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	chain := func(b *Book, own bool, names ...string) *Chain {
		t.Helper()
		c, err := b.Chain(names, own)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ab := chain(book, false, "a", "b")
	if got := strings.Join(ab.Steps(), ", "); got != "all/1 limits, a/1 limits, b/1 limits" {
		t.Errorf("the steps are %s", got)
	}
	if chain(book, false, "a", "b") != ab || chain(book, false, "b", "a") == ab {
		t.Error("routes with the same sets do not share a chain, or others do")
	}
	if c := chain(book, true); c != nil {
		t.Errorf("a route without filters has %v", c.Steps())
	}
	if got := chain(book, true, "a").Steps(); len(got) != 1 {
		t.Errorf("a route with filters of its own has %v", got)
	}
	if _, err := book.Chain([]string{"c"}, false); err == nil {
		t.Error("a set that does not exist is found")
	}
	own := chain(book, true, "a")
	sets = append([]Set(nil), sets...)
	sets[2].Steps = step(4)
	next, _ := Compile(sets, Means{}, book)
	if chain(next, true, "a") != own || chain(next, false, "a", "b") == ab {
		t.Error("what has changed is not what is new")
	}
}

// TestExplain: each step tells what it does, and nothing behind a refusal does anything.
func TestExplain(t *testing.T) {
	c := chainOf(t,
		Step{Clients: &Clients{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}},
		Step{Response: &Changes{Set: []Field{{"Server", "us"}}, Remove: []string{"X-Powered-By"}}},
		Step{Limits: &Limits{Query: 1}}, Step{Limits: &Limits{Query: 2}})
	did, v := c.Explain(passOf(t, &request{query: "?long"}))
	var got []string
	for _, d := range did {
		got = append(got, d.Step+": "+d.What)
	}
	want := []string{"s/1 clients: 192.0.2.7 may ask", "s/2 responseFields: takes X-Powered-By out of responses; writes Server into responses",
		"s/3 limits: refused with 414: the query is longer than the route allows"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || v.Status != 414 {
		t.Errorf("%d\n%s\nwant\n%s", v.Status, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestNoAllocs: what costs nothing to decide costs no memory.
func TestNoAllocs(t *testing.T) {
	c := chainOf(t,
		Step{Clients: &Clients{Deny: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}, Step{Limits: &Limits{Content: 1 << 20}},
		Step{Request: &Changes{Set: []Field{{"X-Client", "{client} {name}"}}}}, Step{Response: &Changes{Remove: []string{"Server"}, Default: []Field{{"Cache-Control", "no-store"}}}},
		Step{Security: &Security{HSTS: time.Hour, Frame: "DENY"}}, Step{CORS: &CORS{Origins: []string{"https://www.example.com"}}})
	r := &fixed{}
	lone, _ := route.Lone(route.Rule{Path: "/users/{name}", Pools: []route.Share{{Pool: "web", Weight: 1}}})
	p, tally, room := new(Pass), c.NewTally(), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		p.Reset(r, lone, began)
		if v := c.Decide(p, tally); !v.Passes() || c.DropsRequest(r.Method()) {
			t.Fatal(v)
		}
		room = c.AppendResponse(c.AppendRequest(room[:0], p, r), p, r)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// fixed is a request that costs nothing.
type fixed struct{ request }

var someMethod, somePath, someHost, someID = []byte("GET"), []byte("/users/alice"), []byte("www.example.com"), []byte("id")

func (*fixed) Method() []byte           { return someMethod }
func (*fixed) Path() []byte             { return somePath }
func (*fixed) Host() []byte             { return someHost }
func (*fixed) ID() []byte               { return someID }
func (*fixed) Query() []byte            { return nil }
func (*fixed) Scheme() string           { return "http" }
func (*fixed) Client() netip.Addr       { return netip.AddrFrom4([4]byte{192, 0, 2, 7}) }
func (*fixed) Field(name string) []byte { return nil }
func (*fixed) Has(name string) bool     { return false }
