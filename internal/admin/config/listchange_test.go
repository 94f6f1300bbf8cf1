package config

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pharos/internal/dns/dnsname"
)

// listOf returns zones with these names, whose rules are like those of others but not
// the same.
func listOf(names ...string) []Zone {
	rules := &ZoneRules{Query: []TransferRule{{}}}
	var list []Zone
	for _, n := range names {
		list = append(list, Zone{Name: dnsname.MustParse(n + ".test"), Kind: "file", File: "z", ZoneRules: rules})
	}
	return list
}

// TestCompareLists: what has come, gone, or is said otherwise, wherever it stands; what
// only stands elsewhere is no change.
func TestCompareLists(t *testing.T) {
	other := listOf("a", "b", "c")
	other[1].File = "another"
	ruled := listOf("a", "b", "c")
	ruled[2].ZoneRules = &ZoneRules{}
	for _, tt := range []struct {
		what     string
		from, to []Zone
		want     string
	}{
		{"nothing", listOf("a", "b", "c"), listOf("a", "b", "c"), "[] []"},
		{"at the end", listOf("a", "b"), listOf("a", "b", "c"), "[] [2]"},
		{"at the begin", listOf("b", "c"), listOf("a", "b", "c"), "[] [0]"},
		{"gone from within", listOf("a", "b", "c"), listOf("a", "c"), "[b.test.] []"},
		{"one for another", listOf("a", "b", "c"), listOf("a", "d", "c"), "[b.test.] [1]"},
		{"another order", listOf("a", "b", "c"), listOf("c", "b", "a"), "[] []"},
		{"another file", listOf("a", "b", "c"), other, "[] [1]"},
		{"other rules", listOf("a", "b", "c"), ruled, "[] [2]"},
		{"all gone", listOf("a", "b"), nil, "[a.test. b.test.] []"},
		{"the first ones", nil, listOf("a", "b"), "[] [0 1]"},
	} {
		c := CompareLists(tt.from, tt.to)
		if got := fmt.Sprint(c.Gone, c.Other); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
		if !c.IsBetween(tt.from, tt.to) || len(tt.to) > 0 && c.IsBetween(tt.from, slices.Clone(tt.to)) {
			t.Errorf("%s: it is not of these lists, or of others too", tt.what)
		}
	}
}

// TestCompareListsOracle: with what is different carried out, the first list has what the
// second has.
func TestCompareListsOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	list := func() []Zone {
		var names []string
		for _, i := range rnd.Perm(12)[:rnd.IntN(12)] {
			names = append(names, fmt.Sprint(i))
		}
		if rnd.IntN(2) == 0 {
			slices.Sort(names)
		}
		zones := listOf(names...)
		for i := range zones {
			zones[i].File = fmt.Sprint(rnd.IntN(10) / 9)
		}
		return zones
	}
	text := func(all map[dnsname.Name]string) string { return fmt.Sprint(all) } // sorted by the name
	for range 3000 {
		from, to := list(), list()
		now, want := map[dnsname.Name]string{}, map[dnsname.Name]string{}
		for _, z := range from {
			now[z.Name] = z.File
		}
		for _, z := range to {
			want[z.Name] = z.File
		}
		c := CompareLists(from, to)
		for _, name := range c.Gone {
			if _, there := now[name]; !there {
				t.Fatalf("%s is gone and was not there", name)
			}
			delete(now, name)
		}
		for _, i := range c.Other {
			if file, there := now[to[i].Name]; there && file == to[i].File {
				t.Fatalf("%s is what it was", to[i].Name)
			}
			now[to[i].Name] = to[i].File
		}
		if text(now) != text(want) {
			t.Fatalf("from %v to %v: %v", from, to, c)
		}
	}
}

// TestIsOfOneText: two readings of one text are, even if they are of other files' lists;
// configurations that were not read are not.
func TestIsOfOneText(t *testing.T) {
	read := func(text string) *Config {
		path := filepath.Join(t.TempDir(), "pharos.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one, again, other := read("data: a\n"), read("data: a\n"), read("data: b\n")
	if !one.IsOfOneText(again) || one.IsOfOneText(other) || Default().IsOfOneText(Default()) {
		t.Error("the same text is another, or another the same")
	}
}
