package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// edited are rules as they are edited: those of a file, and applied ones by key.
type edited struct {
	file    []Rule
	applied map[string]Rule
}

func (e *edited) rules() []Rule {
	all := slices.Clone(e.file)
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for key := range e.applied {
			if !yield(key) {
				return
			}
		}
	}) {
		all = append(all, e.applied[key])
	}
	return all
}

var (
	someHosts = []string{"", "a.example", "b.example", "*.example", "*.b.example", "C.Example.", "~[a-c]+\\.test"}
	somePaths = []string{"/", "/x", "/x/y", "=/x", "/{id}", "/{name}", "/x/{rest...}", "/x/{id}/z", "~/x.*", "~/[a-z]", ""}
	someAsked = []string{"/", "/x", "/x/y", "/x/y/z", "/1", "/xx", "/y/z"}
)

func someRule(r *rand.Rand, key string) Rule {
	rule := to(someHosts[r.IntN(len(someHosts))], somePaths[r.IntN(len(somePaths))], testPools[r.IntN(len(testPools))])
	rule.Key, rule.Rank = key, r.IntN(8)/7
	if r.IntN(3) == 0 {
		rule.When.Methods = []string{"POST"}
	}
	if r.IntN(3) == 0 {
		rule.When.Fields = []Condition{{Name: "X", Value: fmt.Sprint(r.IntN(3))}}
	}
	switch r.IntN(40) {
	case 0:
		rule.Pools[0].Pool = "nowhere"
	case 1:
		rule.Path = "no path"
	case 2:
		rule.Rewrite = "/{nothing}"
	}
	return rule
}

// The table that edits lead to answers as one that is compiled of the rules: of thousands of edits,
// good ones and bad ones.
func TestWithIsAsCompile(t *testing.T) {
	const edits = 1200
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := edited{applied: map[string]Rule{}}
		for len(e.file) < 12 {
			rule := someRule(r, "")
			if _, errs := Compile(append(slices.Clone(e.file), rule), testPools); len(errs) == 0 {
				e.file = append(e.file, rule)
			}
		}
		table, _ := Compile(e.file, testPools)
		patched, refused := 0, 0
		for n := range edits {
			key := fmt.Sprintf("r%02d", r.IntN(60))
			old, there := e.applied[key]
			var c Change
			if there {
				c.Gone = []Rule{old}
				delete(e.applied, key)
			}
			if !there || r.IntN(2) == 0 {
				c.New = []Rule{someRule(r, key)}
				e.applied[key] = c.New[0]
			}
			want, errs := Compile(e.rules(), testPools)
			next, made, ok := table.With(c)
			switch {
			case len(errs) > 0 && ok:
				t.Fatalf("edit %d: %+v is made, want %v", n, c, errs)
			case len(errs) > 0:
				refused++
				if delete(e.applied, key); there {
					e.applied[key] = old
				}
				continue
			case !ok:
				table = want
				continue
			}
			patched++
			if len(made) != len(c.New) || len(made) == 1 && next.all[made[0].Number] != made[0].Route {
				t.Fatalf("edit %d: made %+v of %+v", n, made, c.New)
			}
			if n%50 == 0 {
				checkAlike(t, table, before(e, c, old, there), n)
			}
			checkAlike(t, next, want, n)
			table = next
		}
		if patched < edits/4 || refused < edits/40 {
			t.Errorf("seed %d: %d edits were made and %d refused; want more of both", seed, patched, refused)
		}
	}
}

// before is the table that c was made of, which c is to have left as it was.
func before(e edited, c Change, old Rule, there bool) *Table {
	was := edited{e.file, map[string]Rule{}}
	for key, rule := range e.applied {
		was.applied[key] = rule
	}
	for _, rule := range c.New {
		delete(was.applied, rule.Key)
	}
	if there {
		was.applied[old.Key] = old
	}
	table, _ := Compile(was.rules(), testPools)
	return table
}

func checkAlike(t *testing.T, got, want *Table, n int) {
	t.Helper()
	if got.Len() != want.Len() {
		t.Fatalf("edit %d: %d routes, want %d", n, got.Len(), want.Len())
	}
	for i, r := range got.all {
		if r != nil && r.Number != i {
			t.Fatalf("edit %d: route %d is at %d", n, r.Number, i)
		}
	}
	for _, host := range []string{"a.example", "b.example", "x.b.example", "c.example", "d.example", "ab.test", "other"} {
		for _, path := range someAsked {
			for _, q := range []Request{asked{method: "GET"}, asked{method: "POST"}, asked{method: "POST", fields: map[string]string{"X": "1"}}} {
				if n%10 > 0 {
					a, _ := got.Match([]byte(host), []byte(path), q)
					b, _ := want.Match([]byte(host), []byte(path), q)
					if (a == nil) != (b == nil) || a != nil && a.String() != b.String() {
						t.Fatalf("edit %d: %s%s: %v, want %v", n, host, path, a, b)
					}
					continue
				}
				a, b := got.Explain(host, path, q, Policy{}), want.Explain(host, path, q, Policy{})
				if fmt.Sprint(a.Steps) != fmt.Sprint(b.Steps) || (a.Route == nil) != (b.Route == nil) || a.Route != nil && (a.Route.String() != b.Route.String() || a.Route.Index != b.Route.Index || a.Route.key != b.Route.key) {
					t.Fatalf("edit %d: %s%s: %v by %v\nwant %v by %v", n, host, path, a.Route, a.Steps, b.Route, b.Steps)
				}
				if a.Route != nil && got.all[a.Route.Number] != a.Route {
					t.Fatalf("edit %d: %s%s: the route is not the one of its number", n, host, path)
				}
			}
		}
	}
}

// An index answers as a map does, however large it is, and stays as it was when others are made of it.
func TestIndexIsAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var x, early index[int]
	want, then := map[string]int{}, map[string]int{}
	for n := range 6 * fewest {
		key := fmt.Sprint(r.IntN(3 * fewest))
		switch {
		case n < 2*fewest:
			x.put(key, n)
			want[key] = n
		case r.IntN(3) == 0:
			x = x.with(key, 0, true)
			delete(want, key)
		default:
			x = x.with(key, n, false)
			want[key] = n
		}
		if n == 3*fewest {
			early = x
			for k, v := range want {
				then[k] = v
			}
		}
	}
	for n := range 3 * fewest {
		key := fmt.Sprint(n)
		if x.of(key) != want[key] || x.get([]byte(key)) != want[key] || early.of(key) != then[key] {
			t.Fatalf("%s: %d, %d, and before %d; want %d and %d", key, x.of(key), x.get([]byte(key)), early.of(key), want[key], then[key])
		}
	}
	if x.many == nil {
		t.Error("so many entries are in one part")
	}
}

// BenchmarkWith is one route more, and less, among 100,000.
func BenchmarkWith(b *testing.B) {
	var rules []Rule
	for i := range 100_000 {
		rules = append(rules, to(fmt.Sprintf("host%d.example", i/10), fmt.Sprintf("/path%d", i%10), testPools[i%len(testPools)]))
	}
	table, _ := Compile(rules, testPools)
	more := to("host5.example", "/more", "web")
	more.Key = more.Host + more.Path
	b.ReportAllocs()
	for b.Loop() {
		next, _, ok := table.With(Change{New: []Rule{more}})
		if _, _, back := next.With(Change{Gone: []Rule{more}}); !ok || !back {
			b.Fatal("not made")
		}
	}
}
