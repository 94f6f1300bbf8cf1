package catalogs

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/catalog"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/zonefile"
)

// house is what a Keeper is in: it writes down what is asked of it.
type house struct {
	t        *testing.T
	keeper   *Keeper
	file     string
	events   []string
	problems map[string]string
	failing  error
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, file: filepath.Join(t.TempDir(), "sub", "catalogs.json"), problems: map[string]string{}}
	h.open()
	return h
}

func (h *house) open() {
	problem := func(catalog dnsname.Name, text string) {
		if text != "" {
			h.problems[catalog.String()] = text
		}
	}
	h.keeper = Open(Config{
		File: h.file, Log: slog.New(slog.DiscardHandler), Broken: problem, Refused: problem,
		Publish: func() error { h.events = append(h.events, "serve "+h.members()); return h.failing },
		SetAside: func(name dnsname.Name) error {
			h.events = append(h.events, "set aside "+name.String())
			return h.failing
		},
	})
}

// members returns the zones that are served, with the catalogs they are in.
func (h *house) members() string {
	var all []string
	for _, o := range h.keeper.Members().All {
		all = append(all, o.Catalog.String()+o.Zone.String())
	}
	return strings.Join(all, " ")
}

// look has the keeper look at catalogs, and returns what has come of it.
func (h *house) look(list ...Catalog) string {
	h.events, h.problems = nil, map[string]string{}
	h.keeper.Look(list, func(name dnsname.Name) bool { return name.String() == "mine." })
	return strings.Join(h.events, "; ")
}

// of returns a catalog with members.
func (h *house) of(name, members string) Catalog {
	h.t.Helper()
	c := Catalog{Name: dnsname.MustParse(name), MaxMembers: 3, Serves: func(groups []string) bool { return !slices.Contains(groups, "odd") }}
	text := "@ 0 SOA invalid. invalid. 1 3600 600 86400 0\n@ 0 NS invalid.\nversion 0 TXT \"2\"\n" + members
	b := zone.NewBuilder(c.Name)
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: c.Name}) {
		if err != nil {
			h.t.Fatal(err)
		}
		b.Add(r)
	}
	if c.Zone, _ = b.Finish(); c.Zone == nil {
		h.t.Fatal("no zone")
	}
	return c
}

// TestLook: members come, go and begin anew, in this order: what has gone is not
// served before its copy is set aside, and what begins anew is away for a moment
// (RFC 9432 §5.4).
func TestLook(t *testing.T) {
	h := newHouse(t)
	both := h.of("cat.", "a.zones 0 PTR a.\nb.zones 0 PTR b.\n")
	for _, step := range []struct {
		what string
		list []Catalog
		want string
	}{
		{"new", []Catalog{both}, "serve cat.a. cat.b."},
		{"the same", []Catalog{both}, ""},
		{"one gone", []Catalog{h.of("cat.", "b.zones 0 PTR b.\n")}, "serve cat.b.; set aside a."},
		{"one more", []Catalog{both}, "serve cat.a. cat.b."},
		{"another label", []Catalog{h.of("cat.", "a.zones 0 PTR a.\nnew.zones 0 PTR b.\n")}, "serve cat.a.; set aside b.; serve cat.a. cat.b."},
		{"another group", []Catalog{h.of("cat.", "a.zones 0 PTR a.\ngroup.a.zones 0 TXT x\nnew.zones 0 PTR b.\n")}, "serve cat.a. cat.b."},
		{"no catalog", nil, "serve ; set aside a.; set aside b."},
	} {
		before := h.keeper.Members()
		got := h.look(step.list...)
		if step.want == "serve ; set aside a.; set aside b." { // in any order
			slices.Sort(h.events)
			got = strings.Join(h.events, "; ")
		}
		if got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
		if (h.keeper.Members() == before) != (step.want == "") {
			t.Errorf("%s: the members are a new value if and only if they are others", step.what)
		}
	}
}

// TestTrouble: what is broken, missing or refused stays as it was, and is told of.
func TestTrouble(t *testing.T) {
	h := newHouse(t)
	h.look(h.of("cat.", "a.zones 0 PTR a.\nb.zones 0 PTR b.\n"))
	for _, step := range []struct{ what, members, wantEvents, wantProblem string }{
		{"broken", "a.zones 0 PTR a.\na.zones 0 PTR b.\n", "", "catalog cat., serial 1: "},
		{"too many", "a.zones 0 PTR a.\nb.zones 0 PTR b.\nc.zones 0 PTR c.\nd.zones 0 PTR d.\n", "", "catalog cat., serial 1: "},
		{"defined by the configuration, and no template", "a.zones 0 PTR a.\nb.zones 0 PTR b.\nm.zones 0 PTR mine.\ngroup.b.zones 0 TXT odd\n", "serve cat.a. cat.b.",
			"catalog cat.: mine. is not served: the configuration defines this zone itself; and 1 more"},
		{"well again", "a.zones 0 PTR a.\nb.zones 0 PTR b.\n", "serve cat.a. cat.b.", ""},
	} {
		if got := h.look(h.of("cat.", step.members)); got != step.wantEvents {
			t.Errorf("%s: %s, want %s", step.what, got, step.wantEvents)
		}
		if got := h.problems["cat."]; !strings.HasPrefix(got, step.wantProblem) || (got == "") != (step.wantProblem == "") {
			t.Errorf("%s: problem %q", step.what, got)
		}
	}
	lost := h.of("cat.", "")
	lost.Zone = nil
	if got := h.look(lost); got != "" {
		t.Errorf("a catalog without a version: %s", got)
	}
	h.failing = errors.New("no")
	if got := h.look(h.of("cat.", "a.zones 0 PTR a.\n")); got != "serve cat.a.; set aside b." {
		t.Errorf("with a disk that fails: %s", got)
	}
}

// TestRestart: after a restart members are there before their catalog is, and a
// catalog that is made here has the serial that it had.
func TestRestart(t *testing.T) {
	h := newHouse(t)
	cat, now := h.of("cat.", "a.zones 0 PTR a.\ngroup.a.zones 0 TXT x\n"), time.Unix(2_000_000_000, 0)
	mine := map[dnsname.Name][]catalog.Member{dnsname.MustParse("made."): {{Zone: dnsname.MustParse("z.")}, {Zone: dnsname.MustParse("y."), Groups: []string{"g"}}}}
	h.keeper.Make(maps.Clone(mine), now)
	h.look(cat)
	members := fmt.Sprint(h.keeper.Members().All)
	made := h.keeper.Version(dnsname.MustParse("made.")).Zone
	if list, err := catalog.Parse(made, 10); err != nil || len(list) != 2 || made.Serial() != 2_000_000_000 {
		t.Errorf("made: %v, serial %d, %v", list, made.Serial(), err)
	}

	h.open()
	if got := fmt.Sprint(h.keeper.Members().All); got != members {
		t.Errorf("members %s, want %s", got, members)
	}
	h.keeper.Make(mine, now.Add(time.Hour))
	again := h.keeper.Version(dnsname.MustParse("made.")).Zone
	if again.Serial() != made.Serial() {
		t.Errorf("serial %d after a restart, before it %d", again.Serial(), made.Serial())
	}
	lost := cat
	lost.Zone = nil
	if got := h.look(lost); got != "" {
		t.Errorf("before the catalog is known: %s", got)
	}
	if h.look(cat); fmt.Sprint(h.keeper.Members().All) != members {
		t.Errorf("with the catalog: %v", h.keeper.Members().All)
	}
	h.keeper.Make(map[dnsname.Name][]catalog.Member{dnsname.MustParse("made."): {}}, now.Add(time.Hour))
	if z := h.keeper.Version(dnsname.MustParse("made.")).Zone; z.Serial() != 2_000_003_600 {
		t.Errorf("without members: serial %d", z.Serial())
	}
	h.look(cat) // keeps that
	h.keeper.Make(nil, now)
	if z := h.keeper.Version(dnsname.MustParse("made.")).Zone; z != nil {
		t.Errorf("a catalog that is not made any more: %v", z)
	}

	if err := os.WriteFile(h.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.open()
	if got := h.members(); got != "" {
		t.Errorf("of a file that cannot be read: %s", got)
	}
}
