package route

import (
	"net/netip"
	"strings"
	"testing"
)

// asked is a request as a test writes it.
type asked struct {
	method, query string
	fields        map[string]string
	cookies       map[string]string
	client        netip.Addr
}

func (a asked) Method() []byte           { return []byte(a.method) }
func (a asked) Query() []byte            { return []byte(a.query) }
func (a asked) Field(name string) []byte { return there(a.fields, name) }
func (a asked) Cookie(n string) []byte   { return there(a.cookies, n) }
func (a asked) Client() netip.Addr       { return a.client }
func (a asked) Content() ([]byte, bool)  { return nil, true }
func (a asked) Scheme() string           { return "https" }

func there(m map[string]string, name string) []byte {
	if v, ok := m[name]; ok {
		return append([]byte{}, v...)
	}
	return nil
}

// named is the rule that leads to the pool "p", and is called name.
func named(name, host, path string, rank int, when When) Rule {
	return Rule{Name: name, Host: host, Path: path, Rank: rank, When: when, Pools: []Share{{Pool: "p"}}}
}

func compiled(t testing.TB, rules ...Rule) *Table {
	t.Helper()
	table, errs := Compile(rules, []string{"p", "q", "spare"})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return table
}

// TestKindsOfPath: which of several kinds of paths wins, and that Explain tells the same.
func TestKindsOfPath(t *testing.T) {
	table := compiled(t,
		named("prefix", "h", "/users", 0, When{}),
		named("exact", "h", "=/users/me", 0, When{}),
		named("template", "h", "/users/{id}", 0, When{}),
		named("orders", "h", "/users/{id}/orders", 0, When{}),
		named("my orders", "h", "/users/me/orders/{n}", 0, When{}),
		named("files", "h", "/files/{name...}", 0, When{}),
		named("numbers", "h", "~/v[0-9]+/.*", 0, When{}),
		named("first of two", "h", "~/v1/.*", 1, When{}),
		named("hosts", "~shop-[a-z]+\\.example", "/", 0, When{}),
		named("else", "", "/", 0, When{}),
	)
	for _, c := range []struct{ host, path, want string }{
		{"h", "/users", "prefix"}, {"h", "/users/", "prefix"}, {"h", "/users/me", "exact"}, {"h", "/users/7", "template"},
		{"h", "/users/7/orders", "orders"}, {"h", "/users/me/orders", "orders"}, {"h", "/users/me/orders/1", "my orders"},
		{"h", "/users/7/orders/1", "prefix"}, {"h", "/users/7/", "prefix"},
		{"h", "/files/a/b", "files"}, {"h", "/files/a", "files"}, {"h", "/files/", ""}, {"h", "/files", ""},
		{"h", "/v2/x", "numbers"}, {"h", "/v1/x", "first of two"}, {"h", "/xv2/x", ""},
		{"shop-a.example", "/", "hosts"}, {"SHOP-A.example:80", "/", "hosts"}, {"shop-1.example", "/", "else"}, {"a.shop-a.example", "/", "else"},
	} {
		r, _ := table.Match([]byte(c.host), []byte(c.path), asked{})
		if got := nameOf(r); got != c.want {
			t.Errorf("%s%s: got %q, want %q", c.host, c.path, got, c.want)
		}
		trace := table.Explain(c.host, c.path, asked{}, Policy{})
		last := trace.Steps[len(trace.Steps)-1]
		if trace.Route != r || last.Found != (r != nil) {
			t.Errorf("%s%s is explained as %+v", c.host, c.path, trace)
		}
	}
}

func nameOf(r *Route) string {
	if r == nil {
		return ""
	}
	return r.Name
}

// TestWhen: conditions one by one, their order, and that a path whose conditions do not
// hold is passed over.
func TestWhen(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	table := compiled(t,
		named("plain", "h", "/a", 0, When{}),
		named("beta", "h", "/a", 0, When{Cookies: []Condition{{Name: "beta", Value: "on"}}}),
		named("beta here", "h", "/a", 0, When{Cookies: []Condition{{Name: "beta", Value: "on"}}, Clients: networks}),
		named("urgent", "h", "/a", 9, When{Fields: []Condition{{Name: "X-Urgent"}}}),
		named("write", "h", "/a/b", 0, When{Methods: []string{"POST", "PUT"}}),
		named("version", "h", "/a/b", 0, When{Query: []Condition{{Name: "v", Regexp: "[2-9]|1[0-9]"}}}),
		named("robot", "h", "/a/b", 0, When{Fields: []Condition{{Name: "User-Agent", Prefix: "bot/"}, {Name: "X-Human", Not: true}}}),
	)
	client := netip.MustParseAddr("192.0.2.7")
	for _, c := range []struct {
		path string
		q    asked
		want string
	}{
		{"/a", asked{}, "plain"},
		{"/a", asked{cookies: map[string]string{"beta": "on"}}, "beta"},
		{"/a", asked{cookies: map[string]string{"beta": "off"}}, "plain"},
		{"/a", asked{cookies: map[string]string{"beta": "on"}, client: client}, "beta here"},
		{"/a", asked{client: client}, "plain"},
		{"/a", asked{cookies: map[string]string{"beta": "on"}, client: client, fields: map[string]string{"X-Urgent": ""}}, "urgent"},
		{"/a/b", asked{method: "GET"}, "plain"},
		{"/a/b", asked{method: "PUT"}, "write"},
		{"/a/b", asked{method: "put"}, "plain"},
		{"/a/b", asked{query: "?v=2"}, "version"}, {"/a/b", asked{query: "?x=1&v=%31%32"}, "version"}, {"/a/b", asked{query: "?%76=2"}, "version"},
		{"/a/b", asked{query: "?v=123"}, "plain"}, {"/a/b", asked{query: "?v"}, "plain"}, {"/a/b", asked{query: "?V=2"}, "plain"},
		{"/a/b", asked{fields: map[string]string{"User-Agent": "bot/1"}}, "robot"},
		{"/a/b", asked{fields: map[string]string{"User-Agent": "a bot/1"}}, "plain"},
		{"/a/b", asked{fields: map[string]string{"User-Agent": "bot/1", "X-Human": "yes"}}, "plain"},
	} {
		r, _ := table.Match([]byte("h"), []byte(c.path), c.q)
		if nameOf(r) != c.want {
			t.Errorf("%s %+v: got %q, want %q", c.path, c.q, nameOf(r), c.want)
		}
		trace := table.Explain("h", c.path, c.q, Policy{})
		if trace.Route != r {
			t.Errorf("%s %+v is explained as %v", c.path, c.q, trace.Route)
		}
		for _, step := range trace.Steps[1 : len(trace.Steps)-1] {
			if step.Found || !strings.Contains(step.Why, "but ") {
				t.Errorf("%s: a step that leads on is %+v", c.path, step)
			}
		}
	}
}

// TestTexts: what redirects and rewritten paths say.
func TestTexts(t *testing.T) {
	for _, c := range []struct{ path, text, asked, want string }{
		{"/old", "/new{rest}", "/old/x/y", "/new/x/y"},
		{"/old", "/new{rest}", "/old", "/new"},
		{"/old/", "{rest}", "/old/x", "/x"},
		{"/old", "{rest}", "/old", "/"},
		{"/", "/app{path}", "/x", "/app/x"},
		{"/u/{id}/{what...}", "/v2/{what}/of/{id}", "/u/7/a/b", "/v2/a/b/of/7"},
		{"~/(?P<lang>de|en)/(.*)", "/x/{lang}", "/de/y", "/x/de"},
		{"~/(?P<lang>de|en)?/.*", "/x/{lang}", "//y", "/x/"},
	} {
		rule := named("", "", c.path, 0, When{})
		rule.Rewrite = c.text
		table := compiled(t, rule)
		r, ok := table.Match(nil, []byte(c.asked), asked{})
		if !ok {
			t.Errorf("%s does not match %s", c.path, c.asked)
			continue
		}
		if got := string(r.AppendPath(nil, []byte(c.asked))); got != c.want {
			t.Errorf("%s as %s: %s becomes %s, want %s", c.path, c.text, c.asked, got, c.want)
		}
	}
	redirect := func(path, target string) *Route {
		return compiled(t, Rule{Path: path, Redirect: &Redirect{Status: 307, To: target}}).any.match([]byte("/"), asked{}, nil)
	}
	parts := Parts{Host: []byte("h.example"), Path: []byte("/p"), Query: []byte("?q")}
	if got := string(redirect("/", "https://{host}{path}{query}#top").AppendTarget(nil, parts)); got != "https://h.example/p?q#top" {
		t.Errorf("got %s", got)
	}
	parts.Path = []byte("//evil.example/") // where empty segments are kept
	if got := string(redirect("/", "{path}").AppendTarget(nil, parts)); got != "/evil.example/" {
		t.Errorf("clients are sent to another host: %s", got)
	}
}

// TestSplit: requests are split by weight, and a weight of 0 gets none.
func TestSplit(t *testing.T) {
	r := compiled(t, Rule{Pools: []Share{{Pool: "p", Weight: 9}, {Pool: "spare"}, {Pool: "q", Weight: 1}}}).any.prefix.of("/")
	counts := map[string]int{}
	const draws = 1 << 16
	for i := range uint32(draws) {
		counts[r.Pick(i<<16).Pool]++
	}
	if q := counts["q"]; counts["spare"] != 0 || q < draws/10-1 || q > draws/10+1 || counts["p"]+q != draws {
		t.Errorf("got %v of %d", counts, draws)
	}
	if r.Pick(0).Pool != "p" || r.Pick(1<<32-1).Pool != "q" {
		t.Error("the ends of what is drawn lead elsewhere")
	}
}

// TestBadRules: each mistake is told with what to do.
func TestBadRules(t *testing.T) {
	pool := []Share{{Pool: "p"}}
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{Path: "/a{b}", Pools: pool}, "a whole segment"},
		{Rule{Path: "/{a}/{a}", Pools: pool}, "there twice"},
		{Rule{Path: "/{a...}/b", Pools: pool}, "comes last"},
		{Rule{Path: "/{a", Pools: pool}, "a whole segment"},
		{Rule{Path: "{a}", Pools: pool}, "begin with"},
		{Rule{Path: "~(", Pools: pool}, "missing closing"},
		{Rule{Host: "~[", Pools: pool}, "missing closing"},
		{Rule{Path: "~/(a{1,1000}){1,100}", Pools: pool}, "invalid repeat count"},
		{Rule{Path: "~/a{1,1000}b{1,1000}", Pools: pool}, "steps when it is compiled"},
		{Rule{Host: "~([a-z]{1,60}\\.){1,9}test", Pools: pool}, "steps when it is compiled"},
		{Rule{Pools: pool, When: When{Fields: []Condition{{Name: "a", Regexp: "(.{9}){100}"}}}}, "steps when it is compiled"},
		{Rule{Path: "=/a/../b", Pools: pool}, `write it as "/b"`},
		{Rule{Path: "=", Pools: pool}, "begin with"},
		{Rule{}, "does one thing"},
		{Rule{Pools: pool, Respond: &Respond{Status: 200}}, "does one thing"},
		{Rule{Pools: []Share{{Pool: "p"}, {Pool: "q"}}}, "all weights are 0"},
		{Rule{Pools: pool, Fallback: "spaer"}, `did you mean "spare"`},
		{Rule{Respond: &Respond{Status: 99}}, "want 200 to 599"},
		{Rule{Respond: &Respond{Status: 204, Content: "x"}}, "has none"},
		{Rule{Respond: &Respond{Status: 200, Type: "a\r\nb"}}, "no media type"},
		{Rule{Respond: &Respond{Status: 200}, Rewrite: "/x"}, "carried to a pool"},
		{Rule{Redirect: &Redirect{Status: 200, To: "/"}}, "does not lead elsewhere"},
		{Rule{Redirect: &Redirect{Status: 307, To: "//evil"}}, "leads nowhere"},
		{Rule{Redirect: &Redirect{Status: 307, To: "javascript:x"}}, "leads nowhere"},
		{Rule{Redirect: &Redirect{Status: 307, To: "/x\r\ny"}}, "percent-encoded"},
		{Rule{Path: "/{a}", Redirect: &Redirect{Status: 307, To: "https://{a}/"}}, "choose the host"},
		{Rule{Path: "/{a}", Redirect: &Redirect{Status: 307, To: "https://x.{a}/"}}, "choose the host"},
		{Rule{Redirect: &Redirect{Status: 307, To: "https://{path}"}}, "choose the host"},
		{Rule{Redirect: &Redirect{Status: 307, To: "/{nothing}"}}, "there are {path}"},
		{Rule{Redirect: &Redirect{Status: 307, To: "/{path"}}, "not closed"},
		{Rule{Pools: pool, Rewrite: "x"}, "no path"},
		{Rule{Pools: pool, Rewrite: "/x?y"}, "no path"},
		{Rule{Pools: pool, Rewrite: "/{query}"}, "no part of a path"},
		{Rule{Pools: pool, When: When{Methods: []string{"get"}}}, "capital letters"},
		{Rule{Pools: pool, When: When{Fields: []Condition{{}}}}, "no name"},
		{Rule{Pools: pool, When: When{Query: []Condition{{Name: "a", Value: "b", Prefix: "c"}}}}, "exclude each other"},
		{Rule{Pools: pool, When: When{Cookies: []Condition{{Name: "a", Regexp: "*"}}}}, "cookies[0].regexp"},
	} {
		_, errs := Compile([]Rule{c.rule}, []string{"p", "q", "spare"})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.rule, errs, c.want)
		}
	}
}

// TestNoAllocsConditions: conditions cost no memory either.
func TestNoAllocsConditions(t *testing.T) {
	table := compiled(t,
		named("a", "h", "/u/{id}", 0, When{Query: []Condition{{Name: "v", Value: "2"}}, Fields: []Condition{{Name: "x", Not: true}}}),
		named("b", "h", "~/u/[a-z]+", 0, When{Methods: []string{"GET"}}),
	)
	var q Request = fixed{}
	host, path := []byte("h"), []byte("/u/seven")
	if got := testing.AllocsPerRun(100, func() { table.Match(host, path, q) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// fixed is a request that costs nothing to ask.
type fixed struct{}

var fixedQuery, fixedMethod = []byte("?a=b&v=3"), []byte("GET")

func (fixed) Method() []byte          { return fixedMethod }
func (fixed) Query() []byte           { return fixedQuery }
func (fixed) Field(string) []byte     { return nil }
func (fixed) Cookie(string) []byte    { return nil }
func (fixed) Client() netip.Addr      { return netip.Addr{} }
func (fixed) Content() ([]byte, bool) { return nil, true }
func (fixed) Scheme() string          { return "http" }

// FuzzRules: no rule makes a table panic, and Explain tells what Match does.
func FuzzRules(f *testing.F) {
	f.Add("h", "/u/{id}/{r...}", "/x{rest}/{id}", "h", "/u/1/2/3", "?v=%32", "v", "2")
	f.Add("~[a-z]+", "~/(?P<a>x*)", "/{a}", "abc", "/xx", "?", "", "")
	f.Fuzz(func(t *testing.T, ruleHost, rulePath, rewrite, host, path, query, name, value string) {
		rule := Rule{Host: ruleHost, Path: rulePath, Rewrite: rewrite, Pools: []Share{{Pool: "p"}}}
		other := Rule{Host: ruleHost, Path: rulePath, When: When{Query: []Condition{{Name: name, Value: value}}}, Redirect: &Redirect{Status: 307, To: rewrite}}
		table, _ := Compile([]Rule{rule, other}, []string{"p"})
		normal, problem := Normalise(nil, []byte(path), Policy{})
		if problem != nil || len(path) == 0 || path[0] != '/' {
			return
		}
		q := asked{query: query}
		r, ok := table.Match([]byte(host), normal, q)
		if trace := table.Explain(host, path, q, Policy{}); trace.Route != r {
			t.Fatalf("matched %v, explained %v", r, trace.Route)
		}
		switch {
		case !ok:
		case r.Redirect != nil:
			if to := r.AppendTarget(nil, Parts{Path: normal, Query: []byte(query)}); strings.HasPrefix(string(to), "//") {
				t.Fatalf("%q leads to another host: %q", rewrite, to)
			}
		case r.Rewrites():
			if to := r.AppendPath(nil, normal); to[0] != '/' {
				t.Fatalf("%q becomes %q, which is no path", normal, to)
			}
		}
	})
}
