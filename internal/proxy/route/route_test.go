package route

import (
	"fmt"
	"strings"
	"testing"
)

// to is the rule that leads from a host and a path to a pool.
func to(host, path, pool string) Rule {
	return Rule{Host: host, Path: path, Pools: []Share{{Pool: pool, Weight: 1}}}
}

var testRules = []Rule{
	to("www.example.com", "/", "web"),
	to("www.example.com", "/api", "api"),
	to("www.example.com", "/api/v2/", "v2"),
	to("*.example.com", "", "wild"),
	to("*.deep.example.com", "/x", "deep"),
	to("API.Example.com.", "/only", "api"),
	to("[2001:db8::1]", "/", "six"),
	to("", "/", "any"),
}

var testPools = []string{"web", "api", "v2", "wild", "deep", "six", "any"}

func testTable(t testing.TB) *Table {
	table, errs := Compile(testRules, testPools)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return table
}

func TestMatch(t *testing.T) {
	table := testTable(t)
	for _, c := range []struct{ host, path, want string }{
		{"www.example.com", "/", "web"},
		{"WWW.Example.COM:8080", "/", "web"},
		{"www.example.com.", "/x", "web"},
		{"www.example.com", "/api", "api"},
		{"www.example.com", "/api/", "api"},
		{"www.example.com", "/api/x", "api"},
		{"www.example.com", "/apix", "web"},
		{"www.example.com", "/api/v2", "api"},
		{"www.example.com", "/api/v2/", "v2"},
		{"www.example.com", "/api/v2/y/z", "v2"},
		{"www.example.com", "/api/v22", "api"},
		{"a.example.com", "/", "wild"},
		{"a.b.example.com", "/api", "wild"},
		{"example.com", "/", "any"},
		{".example.com", "/", "any"},
		{"xexample.com", "/", "any"},
		{"a.deep.example.com", "/x/y", "deep"},
		{"a.deep.example.com", "/y", ""}, // the longest wildcard has no such path
		{"api.example.com", "/only", "api"},
		{"api.example.com", "/other", ""}, // the exact host has no such path
		{"[2001:db8::1]:80", "/", "six"},
		{"[2001:db8::2]", "/", "any"},
		{"", "/", "any"},
		{strings.Repeat("a", 300), "/", "any"},
	} {
		got := ""
		if r, ok := table.Match([]byte(c.host), []byte(c.path), nil); ok {
			got = r.Pool
			if testPools[r.Index] != r.Pool {
				t.Errorf("%s%s: index %d is not of pool %s", c.host, c.path, r.Index, r.Pool)
			}
		}
		if got != c.want {
			t.Errorf("%s%s: got %q, want %q", c.host, c.path, got, c.want)
		}
		trace := table.Explain(c.host, c.path, nil, Policy{})
		if explained := trace.Route; (explained == nil) != (got == "") || explained != nil && explained.Pool != got {
			t.Errorf("%s%s: explained as %v, matched %q", c.host, c.path, explained, got)
		}
	}
	var none *Table
	if _, ok := none.Match([]byte("x"), []byte("/"), nil); ok {
		t.Error("the nil table matches")
	}
}

// naive is Match by looking at every rule.
func naive(rules []Rule, host, path string) string {
	best, bestHost, bestPath := "", -1, -1
	for _, pass := range []bool{true, false} { // first which host, then which path
		for _, r := range rules {
			weight := -1
			switch {
			case r.Host == host:
				weight = 1000
			case strings.HasPrefix(r.Host, "*.") && strings.HasSuffix(host, r.Host[1:]) && len(host) > len(r.Host)-1:
				weight = len(r.Host)
			case r.Host == "":
				weight = 0
			}
			if pass {
				bestHost = max(bestHost, weight)
				continue
			}
			covers := path == r.Path || strings.HasPrefix(path, strings.TrimSuffix(r.Path, "/")+"/")
			if weight == bestHost && weight >= 0 && covers && len(r.Path) > bestPath {
				best, bestPath = r.Pools[0].Pool, len(r.Path)
			}
		}
	}
	return best
}

func FuzzMatch(f *testing.F) {
	f.Add("a.example.com", "/a/b", "*.example.com", "/a", "a.example.com", "/a/b/")
	f.Add("x", "/", "", "/", "x", "/")
	f.Fuzz(func(t *testing.T, host, path, h1, p1, h2, p2 string) {
		rules := []Rule{to(h1, p1, "one"), to(h2, p2, "two")}
		table, errs := Compile(rules, []string{"one", "two"})
		normal, problem := Normalise(nil, []byte(path), Policy{})
		if len(errs) > 0 || problem != nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(host, ":[]") || len(host) > 200 {
			return
		}
		for i := range rules {
			rules[i].Host, _ = normalHost(rules[i].Host)
			if rules[i].Path == "" {
				rules[i].Path = "/"
			}
		}
		lowered := string(lowerHost(nil, []byte(host)))
		got := ""
		if r, ok := table.Match([]byte(host), normal, nil); ok {
			got = r.Pool
		}
		if want := naive(rules, lowered, string(normal)); got != want {
			t.Errorf("%q %q in %+v: got %q, want %q", host, normal, rules, got, want)
		}
	})
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct {
		rules []Rule
		want  string
	}{
		{[]Rule{to("x", "/", "wbe")}, `did you mean "web"`},
		{[]Rule{to("x", "/", "zzzzzzzz")}, "there are: any, api, "},
		{[]Rule{to("x", "a", "web")}, `must begin with "/"`},
		{[]Rule{to("x", "/a/../b", "web")}, `write it as "/b"`},
		{[]Rule{to("x", "/%2f", "web")}, "could never match"},
		{[]Rule{to("x", "/a?b", "web")}, "'?'"},
		{[]Rule{to("http://x", "/", "web")}, "without scheme"},
		{[]Rule{to("x:80", "/", "web")}, "without scheme, port"},
		{[]Rule{to("a.*.b", "/", "web")}, "not a name"},
		{[]Rule{to("x", "/a", "web"), to("X", "/a", "api")}, `already lead to x/a -> web`},
		{[]Rule{to("x", "/"+strings.Repeat("a", 3000), "web")}, "longer than"},
		{[]Rule{
			{Name: "one", When: When{Methods: []string{"GET"}, Fields: []Condition{{Name: "a"}}}, Pools: []Share{{Pool: "web"}}},
			{Name: "other", When: When{Methods: []string{"GET"}, Query: []Condition{{Name: "a"}}}, Pools: []Share{{Pool: "web"}}},
			{Name: "two", When: When{Methods: []string{"GET"}, Fields: []Condition{{Name: "a"}}}, Pools: []Share{{Pool: "api"}}},
		}, "under the same conditions"},
	} {
		_, errs := Compile(c.rules, testPools)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) || !strings.Contains(errs[0].Error(), "route ") {
			t.Errorf("%+.60v: got %v, want one error with %q", c.rules, errs, c.want)
		}
	}
	if _, errs := Compile([]Rule{to("x", "/", "web")}, nil); len(errs) != 1 || !strings.Contains(errs[0].Error(), "no pools are configured") {
		t.Errorf("no pools: got %v", errs)
	}
	if _, errs := Compile([]Rule{to("x", "", "a"), to("y", "", "b")}, []string{"c"}); len(errs) != 2 {
		t.Errorf("got %v, want an error for each rule", errs)
	}
}

func TestNormalise(t *testing.T) {
	for _, c := range []struct{ in, want string }{ // "!..." is a part of the problem
		{"/", "/"},
		{"/a/b", "/a/b"},
		{"/a.b/..c/.d/e..", "/a.b/..c/.d/e.."},
		{"/%61%7E%2D%5f", "/a~-_"},
		{"/%3a%e2%82%ac", "/%3A%E2%82%AC"},
		{"/%2541", "/%2541"}, // decoded once only
		{"//a///b//", "/a/b/"},
		{"/a/./b/.", "/a/b/"},
		{"/a/../b", "/b"},
		{"/a/b/..", "/a/"},
		{"/a/b/../../", "/"},
		{"/a//../b", "/b"},
		{"/...", "/..."},
		{"/a;x/b", "/a;x/b"},
		{"/a%20b", "/a%20b"},
		{"/..", "!above"},
		{"/../a", "!above"},
		{"/a/../../b", "!above"},
		{"/%2e", "!encoded form"},
		{"/a/%2e%2e/b", "!encoded form"},
		{"/a/.%2E/b", "!encoded form"},
		{"/a%2fb", "!encoded slash"},
		{"/a%5Cb", "!encoded slash"},
		{"/a%00", "!NUL"},
		{`/a\b`, "!backslash"},
		{"/a/..;x/b", "!parameter"},
		{"/a/.;", "!parameter"},
		{"/%", "!hexadecimal"},
		{"/%4", "!hexadecimal"},
		{"/%zz", "!hexadecimal"},
	} {
		got, problem := Normalise(make([]byte, 0, 64), []byte(c.in), Policy{})
		switch {
		case problem != nil:
			if c.want[0] != '!' || !strings.Contains(problem.Text, c.want[1:]) {
				t.Errorf("%s: got %q, want %q", c.in, problem.Text, c.want)
			}
		case string(got) != c.want:
			t.Errorf("%s: got %q, want %q", c.in, got, c.want)
		}
	}
	if got, problem := Normalise(nil, []byte("/a//b%2fc"), Policy{KeepSlashes: true, AllowEncodedSlash: true}); string(got) != "/a//b%2Fc" {
		t.Errorf("lenient policy: got %q, %v", got, problem)
	}
}

// What Normalise returns is normal: doing it again changes nothing, and no
// reader can find a dot segment, an encoded slash or a NUL in it.
func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e/", "//x/.//", "/a;b/..", "/%41%2f", `/\`, "/.%2e;"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, path string, keep bool) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		policy := Policy{KeepSlashes: keep}
		once, problem := Normalise(nil, []byte(path), policy)
		if problem != nil {
			return
		}
		twice, problem := Normalise(nil, once, policy)
		if problem != nil || string(twice) != string(once) {
			t.Fatalf("%q: %q, again %q %v", path, once, twice, problem)
		}
		if once[0] != '/' {
			t.Fatalf("%q: %q has lost its root", path, once)
		}
		for _, segment := range strings.Split(string(once)[1:], "/") {
			name, _, _ := strings.Cut(segment, ";")
			if name == "." || name == ".." {
				t.Fatalf("%q: %q has a dot segment", path, once)
			}
		}
		lower := strings.ToLower(string(once))
		for _, bad := range []string{"%2f", "%5c", "%00", "%2e", "%41", `\`} {
			if strings.Contains(lower, bad) {
				t.Fatalf("%q: %q has %s", path, once, bad)
			}
		}
		if !keep && strings.Contains(string(once), "//") {
			t.Fatalf("%q: %q has an empty segment", path, once)
		}
	})
}

func TestExplain(t *testing.T) {
	table := testTable(t)
	trace := table.Explain("x.Example.com:80", "/a/../b", nil, Policy{})
	var got []string
	for _, s := range trace.Steps {
		got = append(got, fmt.Sprintf("%s %s %t", s.What, s.Tried, s.Found))
	}
	want := "normalise /a/../b true; host x.example.com false; host *.example.com true; path / true"
	if strings.Join(got, "; ") != want || trace.Path != "/b" {
		t.Errorf("got %s, want %s", strings.Join(got, "; "), want)
	}
	if trace := table.Explain("x", "/%2f", nil, Policy{}); trace.Route != nil || !strings.Contains(trace.Steps[0].Why, "400") {
		t.Errorf("refused path: %+v", trace)
	}
}

func TestNoAllocs(t *testing.T) {
	table := testTable(t)
	room := make([]byte, 0, 256)
	for _, c := range []struct{ host, path string }{
		{"www.example.com:80", "/api/v2/x/y/z"}, {"A.B.example.com", "/a/./b"}, {"nobody", "/%41"}} {
		host, path := []byte(c.host), []byte(c.path)
		if n := testing.AllocsPerRun(100, func() {
			normal, _ := Normalise(room, path, Policy{})
			table.Match(host, normal, nil)
		}); n != 0 {
			t.Errorf("%v: %v allocations, want 0", c, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	var rules []Rule
	for i := range 10_000 { // 100,000 routes
		for j := range 10 {
			rules = append(rules, to(fmt.Sprintf("www%d.example.com", i), fmt.Sprintf("/service/%d/", j), "web"))
		}
	}
	table, errs := Compile(rules, []string{"web"})
	if errs != nil {
		b.Fatal(errs)
	}
	host, path := []byte("www567.example.com"), []byte("/service/7/some/longer/path")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := table.Match(host, path, nil); !ok {
			b.Fatal("no route")
		}
	}
}
