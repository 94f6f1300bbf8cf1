package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

const head = "@ 0 SOA invalid. invalid. 1 3600 600 2147483646 0\n@ 0 NS invalid.\n"

func build(t testing.TB, text string) *zone.Zone {
	t.Helper()
	origin := dnsname.MustParse("cat.example.")
	b := zone.NewBuilder(origin)
	for r, err := range zonefile.Read(strings.NewReader(head+text), zonefile.Options{Origin: origin}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

func told(members []Member) string {
	var all []string
	for _, m := range members {
		text := fmt.Sprintf("%s=%s", m.Label, m.Zone)
		if len(m.Groups) > 0 {
			text += fmt.Sprintf(" in %q", m.Groups)
		}
		if !m.Owner.IsZero() {
			text += " for " + m.Owner.String()
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// TestParse: RFC 9432 §4 and §5.1: what a catalog says, what is passed over, and what
// breaks it as a whole.
func TestParse(t *testing.T) {
	const version = "version 0 TXT \"2\"\n"
	for _, tt := range []struct {
		name, text, want, broken string
	}{
		{"no members", version, "", ""},
		{"members in order of their zones", version + "b.zones 0 PTR z.example.\na.zones 0 PTR A.example.\n", "a=a.example.; b=z.example.", ""},
		{"properties", version + "a.zones 0 PTR a.example.\ngroup.a.zones 0 TXT \"one\" \"two\"\ngroup.a.zones 0 TXT \"more\"\ncoo.a.zones 0 PTR other.example.\n",
			`a=a.example. in ["more" "onetwo"] for other.example.`, ""},
		{"what is not known", version + "a.zones 0 PTR a.example.\na.zones 0 TXT x\nserial.a.zones 0 TXT x\nx.ext.a.zones 0 PTR b.example.\nx 0 PTR c.example.\next 0 TXT x\ngroup.b.zones 0 TXT lost\n", "a=a.example.", ""},
		{"no version", "a.zones 0 PTR a.example.\n", "", "version.cat.example. must have one TXT record"},
		{"two versions", version + "version 0 TXT \"1\"\n", "", "must have one TXT record"},
		{"version 1", "version 0 TXT \"1\"\n", "", `only version "2" is known`},
		{"a version in two strings", "version 0 TXT \"2\" \"\"\n", "", `only version "2" is known`},
		{"two zones for a label", version + "a.zones 0 PTR a.example.\na.zones 0 PTR b.example.\n", "", "a.zones.cat.example. has several PTR records"},
		{"two labels for a zone", version + "a.zones 0 PTR a.example.\nb.zones 0 PTR a.EXAMPLE.\n", "", "it lists a.example. twice"},
		{"two new owners", version + "a.zones 0 PTR a.example.\ncoo.a.zones 0 PTR b.example.\ncoo.a.zones 0 PTR c.example.\n", "", "coo.a.zones.cat.example. has several PTR records"},
		{"too many members", version + "a.zones 0 PTR a.example.\nb.zones 0 PTR b.example.\nc.zones 0 PTR c.example.\nd.zones 0 PTR d.example.\n", "", "it has more than 3 members"},
		{"too many groups", version + "a.zones 0 PTR a.example.\n$GENERATE 1-17 group.a.zones 0 TXT g$\n", "", "more than 16 groups"},
	} {
		members, err := Parse(build(t, tt.text), 3)
		if got := told(members); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if tt.broken == "" && err != nil || tt.broken != "" && (!errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), tt.broken)) {
			t.Errorf("%s: got error %v, want %q", tt.name, err, tt.broken)
		}
	}
}

// TestRecords: a catalog that is made here is read as what it was made of, with its
// groups and changes of ownership; the same members make the same records.
func TestRecords(t *testing.T) {
	origin := dnsname.MustParse("cat.example.")
	members := []Member{
		{Zone: dnsname.MustParse("a.example.")}, {Zone: dnsname.MustParse("b.example."), Groups: []string{"g", strings.Repeat("long", 100)}},
		{Zone: dnsname.MustParse("c.example."), Owner: dnsname.MustParse("other.example.")}, {Zone: dnsname.Root},
	}
	z, problems := zone.Build(origin, Records(origin, 7, members))
	if z == nil {
		t.Fatal(problems)
	}
	if z.Serial() != 7 {
		t.Errorf("serial %d", z.Serial())
	}
	got, err := Parse(z, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range members {
		members[i].Label = LabelOf(members[i].Zone)
	}
	slices.SortFunc(members, func(a, b Member) int { return a.Zone.Compare(b.Zone) })
	if told(got) != told(members) {
		t.Errorf("got %s, want %s", told(got), told(members))
	}
	long := dnsname.MustParse(strings.Repeat(strings.Repeat("x", 48)+".", 5))
	if Fits(long) || !Fits(origin) {
		t.Error("Fits")
	}
	for r := range Records(origin, 7, members) {
		if err := rdata.Validate(r.Type, r.Data); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func sources(texts ...string) []Source {
	var all []Source
	for _, text := range texts {
		name, list, _ := strings.Cut(text, ":")
		s := Source{Name: dnsname.MustParse(name)}
		if list == "?" {
			s.Unread = true
			list = ""
		}
		for _, f := range strings.Fields(list) {
			member, owner, _ := strings.Cut(f, ">")
			label, zone, _ := strings.Cut(member, "=")
			m := Member{Zone: dnsname.MustParse(zone), Label: label}
			if owner != "" {
				m.Owner = dnsname.MustParse(owner)
			}
			s.Members = append(s.Members, m)
		}
		all = append(all, s)
	}
	return all
}

func planned(now map[dnsname.Name]Owned) string {
	var all []string
	for _, o := range now {
		all = append(all, fmt.Sprintf("%s:%s=%s", o.Catalog, o.Label, o.Zone))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestPlan: RFC 9432 §4.4.1, §5.2 to §5.4, step by step: each begins with what the one
// before has led to.
func TestPlan(t *testing.T) {
	taken := func(n dnsname.Name) bool { return n == dnsname.MustParse("mine.example.") }
	before := map[dnsname.Name]Owned{}
	for _, tt := range []struct {
		what     string
		catalogs []Source
		want     string
		clashes  string
	}{
		{"the first catalog wins", sources("a.:1=x. 1=y.", "b.:2=x. 2=z."), "a.:1=x. a.:1=y. b.:2=z.", "b. x.: it belongs to catalog a., which has not given it away"},
		{"the configuration wins", sources("a.:1=x. 1=y. 1=mine.example.", "b.:2=z."), "a.:1=x. a.:1=y. b.:2=z.", "a. mine.example.: the configuration defines this zone itself"},
		{"who has it keeps it, though another stands first", sources("b.:2=z. 2=x.", "a.:1=x. 1=y."), "a.:1=x. a.:1=y. b.:2=z.", "b. x.: it belongs to catalog a., which has not given it away"},
		{"given to who does not list it", sources("a.:1=x. 1=y.>b.", "b.:2=z."), "a.:1=x. a.:1=y. b.:2=z.", ""},
		{"given to who lists it", sources("a.:1=x. 1=y.>b.", "b.:2=z. 1=y."), "a.:1=x. b.:1=y. b.:2=z.", ""},
		{"who gave it away may go on listing it", sources("a.:1=x. 1=y.>b.", "b.:2=z. 1=y."), "a.:1=x. b.:1=y. b.:2=z.", ""},
		{"it does not come back by itself", sources("a.:1=x. 1=y.", "b.:2=z. 1=y."), "a.:1=x. b.:1=y. b.:2=z.", "a. y.: it belongs to catalog b., which has not given it away"},
		{"dropped by its owner, it goes to the next", sources("a.:1=x. 1=y.", "b.:2=z."), "a.:1=x. a.:1=y. b.:2=z.", ""},
		{"a catalog that cannot be read keeps what it had", sources("a.:?", "b.:2=z. 2=x."), "a.:1=x. a.:1=y. b.:2=z.", "b. x.: it belongs to catalog a., which has not given it away"},
		{"the root", sources("a.:1=x. 1=.", "b.:2=z."), "a.:1=x. b.:2=z.", "a. .: a catalog may list the root only if the key within says so"},
		{"a catalog that is gone", sources("b.:2=z."), "b.:2=z.", ""},
	} {
		now, clashes := Plan(tt.catalogs, taken, before)
		var said []string
		for _, c := range clashes {
			said = append(said, fmt.Sprintf("%s %s: %s", c.Catalog, c.Zone, c.Why))
		}
		if got := planned(now); got != tt.want || strings.Join(said, "; ") != tt.clashes {
			t.Errorf("%s: got %s, clashes %q, want %s, %q", tt.what, got, said, tt.want, tt.clashes)
		}
		before = now
	}
	within := sources("a.:1=x.example. 1=y.test. 1=.")
	within[0].Within = []dnsname.Name{dnsname.MustParse("example.")}
	if now, clashes := Plan(within, taken, nil); planned(now) != "a.:1=x.example." || len(clashes) != 2 {
		t.Errorf("within: %s, %v", planned(now), clashes)
	}
	if x := dnsname.MustParse("x."); !IsReset(Owned{Member{Zone: x, Label: "1"}, x}, Owned{Member{Zone: x, Label: "2"}, x}) {
		t.Error("another label is no reset")
	}
}

// FuzzParse: whatever a catalog has in it, it is broken or its members are each there
// once, within the limit, and make a catalog that says the same.
func FuzzParse(f *testing.F) {
	f.Add("version 0 TXT \"2\"\na.zones 0 PTR a.example.\ngroup.a.zones 0 TXT g\ncoo.a.zones 0 PTR b.example.\n")
	f.Add("version 0 TXT 2\n*.zones 0 PTR .\nzones 0 PTR x.\nzones.zones 0 PTR y.\nversion.zones 0 PTR z.\n")
	f.Add("version 0 TXT 2\n\\000\\046.zones 0 PTR a\\.b.\ngroup.group.zones 0 TXT \"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		origin := dnsname.MustParse("cat.example.")
		b := zone.NewBuilder(origin)
		for r, err := range zonefile.Read(strings.NewReader(head+text), zonefile.Options{Origin: origin}) {
			if err == nil {
				b.Add(r)
			}
		}
		z, _ := b.Finish()
		if z == nil {
			return
		}
		const limit = 50
		members, err := Parse(z, limit)
		if err != nil {
			if !errors.Is(err, ErrBroken) || len(members) > 0 {
				t.Fatalf("%v with %d members", err, len(members))
			}
			return
		}
		seen := map[dnsname.Name]bool{}
		for i := range members {
			m := &members[i]
			if seen[m.Zone] || m.Zone.IsZero() || m.Label == "" {
				t.Fatalf("member %+v", m)
			}
			seen[m.Zone] = true
			m.Label = LabelOf(m.Zone)
			m.Groups = slices.Compact(m.Groups)
		}
		if len(members) > limit {
			t.Fatalf("%d members", len(members))
		}
		again, problems := zone.Build(origin, Records(origin, 1, members))
		if again == nil {
			t.Fatal(problems)
		}
		if got, err := Parse(again, limit); err != nil || told(got) != told(members) {
			t.Fatalf("%v: got %s, want %s", err, told(got), told(members))
		}
	})
}
