package route

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// Which routes no request takes. Each case is two routes or more; the last one is hidden, or
// none is.
func TestHidden(t *testing.T) {
	web := []Share{{Pool: "web", Weight: 1}}
	get := When{Methods: []string{"GET"}}
	canary := Condition{Name: "X-Canary", Value: "1"}
	inside := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name  string
		rules []Rule
		want  string // part of why; "": none is hidden
	}{
		{"different paths", []Rule{{Path: "/a"}, {Path: "/b"}, {Path: "/"}}, ""},
		{"more conditions come first", []Rule{{Path: "/a"}, {Name: "x", Path: "/a", When: get}}, ""},
		{"but for a higher rank", []Rule{{Path: "/a", Rank: 1}, {Name: "x", Path: "/a", When: get}}, "*/a comes first"},
		{"methods of which the first has all", []Rule{{Name: "x", When: When{Methods: []string{"GET", "POST"}}}, {Name: "y", When: get}}, "x comes first"},
		{"methods of which it has some", []Rule{{Name: "x", When: get}, {Name: "y", When: When{Methods: []string{"GET", "POST"}}}}, ""},
		{"a network within the other", []Rule{{Name: "x", When: When{Clients: inside}}, {Name: "y", When: When{Clients: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}}}, "x comes first"},
		{"networks of which it has some", []Rule{{Name: "x", When: When{Clients: inside}}, {Name: "y", When: When{Clients: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}}, ""},
		{"another scheme", []Rule{{Name: "x", When: When{Scheme: "http"}}, {Name: "y", When: When{Scheme: "https"}}}, ""},
		{"a part of the conditions, first by rank", []Rule{{Name: "x", Rank: 1, When: When{Fields: []Condition{canary}}}, {Name: "y", When: When{Methods: get.Methods, Fields: []Condition{canary}}}}, "x comes first"},
		{"other conditions", []Rule{{Name: "x", When: When{Fields: []Condition{canary}}}, {Name: "y", When: When{Cookies: []Condition{canary}}}}, ""},
		{"another host", []Rule{{Host: "a.test", Rank: 1}, {Host: "b.test", When: get}}, ""},
		{"the same template under other names", []Rule{{Path: "/u/{id}", Rank: 1}, {Path: "/u/{name}"}}, "*/u/{id} comes first"},
		{"templates beside each other", []Rule{{Path: "/u/{id}"}, {Path: "/u/{id}/files"}}, ""},
		{"a template for all before a beginning", []Rule{{Path: "/a/{rest...}"}, {Path: "/a/b"}}, "goes before beginnings"},
		{"which its own path is not", []Rule{{Path: "/a/{rest...}"}, {Path: "/a"}}, ""},
		{"a template for all with conditions", []Rule{{Path: "/a/{rest...}", When: get}, {Path: "/a/b"}}, ""},
		{"a regular expression for all", []Rule{{Path: "~.*"}, {Path: "/a"}}, "goes before beginnings"},
		{"of another host", []Rule{{Host: "a.test", Path: "~.*"}, {Host: "b.test", Path: "/a"}}, ""},
		{"exact paths come before it", []Rule{{Path: "~/.*"}, {Path: "=/a"}}, ""},
		{"and before other regular expressions", []Rule{{Path: "~/.*"}, {Path: "~/v[0-9]"}}, "*~/.* comes first"},
		{"unless those have a higher rank", []Rule{{Path: "~/.*"}, {Path: "~/v[0-9]", Rank: 1}}, ""},
		{"hosts that are all", []Rule{{Host: "~.*"}, {Path: "/a"}}, `go by "~.*"`},
		{"two values at once", []Rule{{Name: "x", When: When{Query: []Condition{{Name: "v", Value: "1"}, {Name: "v", Value: "2"}}}}}, "would have to be"},
		{"a field in another case", []Rule{{Name: "x", When: When{Fields: []Condition{{Name: "x-a", Value: "1"}, {Name: "X-A", Value: "2"}}}}}, "would have to be"},
		{"there and not there", []Rule{{Name: "x", When: When{Cookies: []Condition{{Name: "v"}, {Name: "v", Not: true}}}}}, "with and without not"},
		{"not these two", []Rule{{Name: "x", When: When{Query: []Condition{{Name: "v", Value: "1", Not: true}, {Name: "v", Value: "2", Not: true}}}}}, ""},
	} {
		for i := range c.rules {
			c.rules[i].Pools = web
		}
		table, errs := Compile(c.rules, []string{"web"})
		if len(errs) > 0 {
			t.Fatalf("%s: %v", c.name, errs)
		}
		all, count := table.Hidden(10)
		switch {
		case c.want == "" && count > 0:
			t.Errorf("%s: %s is said to be hidden: %s", c.name, all[0].Route.Title(), all[0].Why)
		case c.want != "" && (count != 1 || all[0].Route.Number != len(c.rules)-1 || !strings.Contains(all[0].Why, c.want)):
			t.Errorf("%s: got %d %+v, want the last because of %q", c.name, count, all, c.want)
		}
	}
}

// What is said to be hidden is never matched, whatever the request.
func FuzzHidden(f *testing.F) {
	f.Add(uint32(0), uint32(1), "/a/b", "GET", uint8(3))
	f.Add(uint32(0x12345), uint32(0x54321), "/u/7", "POST", uint8(0))
	f.Fuzz(func(t *testing.T, a, b uint32, path, method string, fields uint8) {
		rules := []Rule{madeRule("a", a), madeRule("b", b), madeRule("c", a^b>>7)}
		table, errs := Compile(rules, []string{"web"})
		normal, problem := Normalise(nil, []byte(path), Policy{})
		if len(errs) > 0 || problem != nil || path == "" || path[0] != '/' { // no parser lets these come
			return
		}
		q := asked{method: method}
		if fields&1 != 0 { // a field has no case
			value := fmt.Sprint(fields >> 1 & 1)
			q.fields = map[string]string{"X-A": value, "x-a": value}
		}
		r, ok := table.Match([]byte("a.test"), normal, q)
		hidden, _ := table.Hidden(10)
		for _, h := range hidden {
			if ok && h.Route == r {
				t.Errorf("%s is taken by %s %s, and was said to be hidden: %s", r, method, normal, h.Why)
			}
		}
	})
}

// madeRule makes a rule of the bits of n.
func madeRule(name string, n uint32) Rule {
	take := func(of ...string) string {
		s := of[n%uint32(len(of))]
		n /= uint32(len(of))
		return s
	}
	r := Rule{Name: name, Pools: []Share{{Pool: "web", Weight: 1}}}
	r.Host = take("", "a.test", "~.*", "*.test")
	r.Path = take("/", "/a", "/a/b", "=/a", "/a/{x}", "/a/{rest...}", "/{all...}", "~/.*", "~/a/.*", "/u/{id}")
	r.Rank = len(take("", "1"))
	if m := take("", "GET", "POST"); m != "" {
		r.When.Methods = []string{m}
	}
	if v := take("", "0", "1"); v != "" {
		r.When.Fields = append(r.When.Fields, Condition{Name: "X-A", Value: v})
	}
	if v := take("", "", "0", "1"); v != "" {
		r.When.Fields = append(r.When.Fields, Condition{Name: "x-a", Value: v, Not: n%2 == 0})
	}
	return r
}
