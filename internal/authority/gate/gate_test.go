package gate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/zonefile"
)

// base is a zone that nobody objects to.
const base = `$TTL 300
@ SOA ns1 hostmaster 10 3600 900 604800 300
@ NS ns1
@ NS ns.elsewhere.test.
@ MX 10 mail
ns1 A 192.0.2.1
mail AAAA 2001:db8::1
child NS ns.child
child NS ns1
ns.child A 192.0.2.2
`

func build(t testing.TB, text string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(dnsname.MustParse("example."))
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: dnsname.MustParse("example."), File: "test"}) {
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

// serial returns the text of a zone with another serial.
func serial(text string, to uint32) string {
	return strings.Replace(text, "hostmaster 10", fmt.Sprint("hostmaster ", to), 1)
}

var all = Rules{Serial: Refuse, Glue: Warn, Aliases: Warn, Signatures: Refuse}

// rules returns the findings' rules, with an exclamation mark where they refuse.
func rulesOf(findings []Finding) string {
	var got []string
	for _, f := range findings {
		word := f.Rule
		if f.Refused {
			word += "!"
		}
		got = append(got, word)
	}
	slices.Sort(got)
	return strings.Join(got, " ")
}

func TestRules(t *testing.T) {
	limited := all
	limited.MaxChange, limited.MinRecords = 0.2, 5
	sized := all
	sized.MaxRecords, sized.MaxNames, sized.MaxRRset, sized.MaxTypes = 12, 8, 3, 4
	accept := limited
	accept.Accepted = true
	for _, tt := range []struct {
		name, old, next string
		rules           Rules
		want            string // rules that object, ! if they refuse
		says            string
	}{
		{"a first version", "", base, all, "", ""},
		{"nothing changed", base, base, all, "", ""},
		{"RFC 1982: the serial goes forward", base, serial(base, 11) + "x A 192.0.2.3\n", all, "", ""},
		{"RFC 1982: past the highest serial", serial(base, 1<<32-1), serial(base, 1) + "x A 192.0.2.3\n", all, "", ""},
		{"the serial stays", base, base + "x A 192.0.2.3\n", all, "serial!", "not the serial, 10"},
		{"the serial goes backwards", base, serial(base, 9) + "x A 192.0.2.3\n", all, "serial!", "above 10"},
		{"the serial goes half around (RFC 1982 §3.2: undefined)", base, serial(base, 10+1<<31), all, "serial!", "backwards"},
		{"only the TTL changes", base, strings.Replace(base, "$TTL 300", "$TTL 301", 1), all, "serial!", "not the serial"},
		{"a serial that is nobody's matter", base, base + "x A 192.0.2.3\n", Rules{Glue: Warn}, "", ""},

		{"glue of a delegation is missing", "", strings.Replace(base, "ns.child A 192.0.2.2\n", "", 1), all, "glue", "ns.child.example."},
		{"the zone's own server has no address", "", strings.Replace(base, "ns1 A 192.0.2.1\n", "", 1), all, "glue glue", "ns1.example."},
		{"its address is that of a wildcard", "", strings.Replace(base, "ns1 A", "* A", 1), all, "", ""},
		{"the server of a delegation lies below another one", "", base + "other NS x.child\nother2 NS x.sub.child\n", all, "", ""},
		{"glue refused", "", strings.Replace(base, "ns.child A 192.0.2.2\n", "", 1), Rules{Glue: Refuse}, "glue!", ""},

		{"RFC 2181 §10.3: a name server that is an alias", "", strings.Replace(base, "ns1 A 192.0.2.1", "ns1 CNAME ns.elsewhere.test.", 1), all, "aliases aliases", "is an alias"},
		{"RFC 2181 §10.3: a mail exchanger that is an alias", "", strings.Replace(base, "mail AAAA 2001:db8::1", "mail CNAME ns1", 1), all, "aliases", "mail.example. is an alias"},
		{"RFC 6672 §2.4: names below a DNAME", "", base + "d DNAME elsewhere.test.\nx.d A 192.0.2.3\n", all, "aliases", "below the DNAME of d.example."},
		{"a DNAME alone", "", base + "d DNAME elsewhere.test.\n", all, "", ""},

		{"a small change", base, serial(base, 11) + "x A 192.0.2.3\n", limited, "", ""},
		{"most of the zone is gone", base + "a A 192.0.2.9\n", serial(base, 11)[:strings.Index(base, "ns1 A")] + "ns1 A 192.0.2.1\n", limited, "change!", "accept example. 11"},
		{"most of the zone is new", base, serial(base, 11) + "x1 A 192.0.2.3\nx2 A 192.0.2.3\nx3 A 192.0.2.3\n", limited, "change!", "3 added"},
		{"the same, accepted", base, serial(base, 11) + "x1 A 192.0.2.3\nx2 A 192.0.2.3\nx3 A 192.0.2.3\n", accept, "change", "3 added"},
		{"too little for a first version", "", "@ SOA ns.elsewhere.test. x 10 1 1 1 1\n@ NS ns.elsewhere.test.\n", limited, "change!", "2 records"},
		{"as large as it may be", "", base + "a A 192.0.2.3\na A 192.0.2.4\na A 192.0.2.5\n", sized, "", ""},
		{"a record too many", base, serial(base, 11) + "ns1 AAAA ::1\nns1 TXT x\nns1 HINFO x x\nns1 TXT y\n", sized, "size!", "13 records, more than zones[].gate.maxRecords, 12"},
		{"names too many, for one of five labels", base, serial(base, 11) + "a.b.c.d.e A 192.0.2.3\n", sized, "size!", "10 names, more than zones[].gate.maxNames, 8"},
		{"an RRset too large", base, serial(base, 11) + "a A 192.0.2.3\na A 192.0.2.4\na A 192.0.2.5\n", Rules{MaxRRset: 2}, "size!", "a.example. A: 3 records of one type, more than zones[].gate.maxRRset, 2"},
		{"types too many, signatures aside", base, serial(base, 11) + "@ TXT x\n@ A 192.0.2.1\n@ RRSIG A 13 1 300 20200101000000 20190101000000 1 example. AAAA\n", Rules{MaxTypes: 4}, "size!", "example.: records of 5 types, more than zones[].gate.maxTypes, 4"},
		{"two objections at once", base, serial(base, 11)[:strings.Index(base, "@ MX")] + "ns1 A 192.0.2.1\n", limited, "change! change!", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var old *zone.Zone
			next := build(t, tt.next)
			if tt.old != "" {
				old = build(t, tt.old)
			}
			findings := Check(old, next, nil, tt.rules, time.Unix(1000, 0))
			if got := rulesOf(findings); got != tt.want {
				t.Errorf("got %q, want %q: %v", got, tt.want, findings)
			}
			if !strings.Contains(fmt.Sprint(findings), tt.says) {
				t.Errorf("got %v, want something with %q", findings, tt.says)
			}
			if got, want := Refusals(findings) != nil, strings.Contains(tt.want, "!"); got != want {
				t.Errorf("refused: %v, want %v", got, want)
			}
			// With the difference known, the same is found: these changes touch what they break.
			if old != nil {
				if diff, ok := journal.Between(old, next, 1<<20); ok {
					if again := Check(old, next, []*journal.Difference{diff}, tt.rules, time.Unix(1000, 0)); fmt.Sprint(again) != fmt.Sprint(findings) {
						t.Errorf("by the difference: %v, by the whole: %v", again, findings)
					}
				}
			}
		})
	}
}

// TestTouched: by a difference, only what it touches is looked at, and what it
// breaks is found.
func TestTouched(t *testing.T) {
	broken := base + "old NS ns.old\n" // has no glue, and had none before
	old := build(t, broken)
	for _, tt := range []struct{ name, next, want string }{
		{"a change elsewhere", serial(broken, 11) + "x A 192.0.2.3\n", ""},
		{"a change at the delegation", serial(broken, 11) + "old NS ns1\n", "glue"},
		{"glue leaves", serial(strings.Replace(broken, "ns.child A 192.0.2.2\n", "", 1), 11), "glue"},
		{"the apex's server loses its address", serial(strings.Replace(broken, "ns1 A 192.0.2.1\n", "", 1), 11), "glue"},
	} {
		next := build(t, tt.next)
		diff, ok := journal.Between(old, next, 1<<20)
		if !ok {
			t.Fatal(tt.name)
		}
		if got := rulesOf(Check(old, next, []*journal.Difference{diff}, all, time.Unix(1000, 0))); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	// Several differences, of which the first breaks something.
	middle := build(t, serial(strings.Replace(broken, "ns1 A 192.0.2.1\n", "", 1), 11))
	last := build(t, serial(strings.Replace(broken, "ns1 A 192.0.2.1\n", "x A 192.0.2.3\n", 1), 12))
	one, _ := journal.Between(old, middle, 1<<20)
	two, _ := journal.Between(middle, last, 1<<20)
	if got := rulesOf(Check(old, last, []*journal.Difference{one, two}, all, time.Unix(1000, 0))); got != "glue" {
		t.Errorf("by two differences: got %q, want glue", got)
	}
	// A difference that leads elsewhere is not relied upon.
	diff, _ := journal.Between(old, build(t, serial(broken, 11)), 1<<20)
	if got := rulesOf(Check(old, build(t, serial(broken, 12)), []*journal.Difference{diff}, all, time.Unix(1000, 0))); got != "glue" {
		t.Errorf("with a difference of other versions: got %q, want glue", got)
	}
}

// TestFindingsAreBounded: a zone with a million mistakes is not a million lines.
func TestFindingsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(base)
	for i := range 500 {
		fmt.Fprintf(&b, "d%d NS ns.d%d\n", i, i)
	}
	findings := Check(nil, build(t, b.String()), nil, all, time.Unix(1000, 0))
	if got := len(findings); got != maxFindings {
		t.Errorf("got %d findings, want %d", got, maxFindings)
	}
	if last := findings[len(findings)-1].Text; !strings.HasSuffix(last, "not shown") {
		t.Errorf("the last finding does not say that there are more: %q", last)
	}
}
