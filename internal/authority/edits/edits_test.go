package edits

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

var origin = dnsname.MustParse("example.com.")

const text = `$TTL 1h
@    SOA ns1 hostmaster 1 1h 15m 1w 5m
@    NS  ns1
ns1  A   192.0.2.1
www  A   192.0.2.2
www  A   192.0.2.3
www  TXT "x"
old  CNAME www
`

func parseZone(t *testing.T) *zone.Zone {
	b := zone.NewBuilder(origin)
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: origin}) {
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

// TestChange: what edits delete and add, in their order; what there is one of takes the
// place of the one before; the newest TTL is that of the RRset.
func TestChange(t *testing.T) {
	z := parseZone(t)
	for _, tt := range []struct {
		edits []Edit
		want  string // or the error
	}{
		{[]Edit{{"add", "www", 3600, "A", "192.0.2.9"}}, "+www 3600 A 192.0.2.9"},
		{[]Edit{{"add", "www", 3600, "A", "192.0.2.2"}}, ""},
		{[]Edit{{"add", "www", 60, "A", "192.0.2.2"}}, "-www 3600 A 192.0.2.2 -www 3600 A 192.0.2.3 +www 60 A 192.0.2.3 +www 60 A 192.0.2.2"},
		{[]Edit{{"replace", "www.example.com.", 3600, "A", "192.0.2.2"}}, "-www 3600 A 192.0.2.3"},
		{[]Edit{{"delete", "WWW", 0, "a", "192.0.2.2"}}, "-www 3600 A 192.0.2.2"},
		{[]Edit{{"delete", "www", 0, "A", ""}}, "-www 3600 A 192.0.2.2 -www 3600 A 192.0.2.3"},
		{[]Edit{{"delete", "www", 0, "", ""}}, "-www 3600 A 192.0.2.2 -www 3600 A 192.0.2.3 -www 3600 TXT \"x\""},
		{[]Edit{{"delete", "@", 0, "", ""}}, "-example.com. 3600 NS ns1.example.com."}, // SOA stays; the gate has its say
		{[]Edit{{"add", "old", 3600, "CNAME", "ns1"}}, "-old 3600 CNAME www.example.com. +old 3600 CNAME ns1.example.com."},
		{[]Edit{{"add", "new", 1, "TXT", "a"}, {"add", "new", 1, "TXT", "b"}, {"delete", "new", 0, "TXT", "a"}}, "+new 1 TXT \"b\""},
		{[]Edit{{"delete", "old", 0, "", ""}, {"add", "old", 1, "A", "192.0.2.4"}}, "-old 3600 CNAME www.example.com. +old 1 A 192.0.2.4"},
		{[]Edit{{"delete", "www", 0, "A", "192.0.2.77"}}, "there is no record www.example.com. A 192.0.2.77 to delete"},
		{[]Edit{{"delete", "nowhere", 0, "", ""}}, "there is no record nowhere.example.com. to delete"},
		{[]Edit{{"add", "www", 1, "A", "192.0.2.300"}}, "edit 1: www.example.com. A"},
		{[]Edit{{"add", "www", 1, "ANY", "x"}}, `"ANY" is no type of records`},
		{[]Edit{{"add", "www", 1 << 31, "A", "192.0.2.3"}}, "TTL 2147483648"},
		{[]Edit{{"add", "www", 1, "A", ""}}, "needs type and data"},
		{[]Edit{{"put", "www", 1, "A", "192.0.2.3"}}, "want add, replace or delete"},
		{[]Edit{{"add", "www.example.org.", 1, "A", "192.0.2.3"}}, "not in zone example.com."},
	} {
		if got := outcome(z, tt.edits); got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%v:\n got %s\nwant %s", tt.edits, got, tt.want)
		}
	}
}

func outcome(z *zone.Zone, list []Edit) string {
	parsed, err := Parse(origin, list)
	if err != nil {
		return err.Error()
	}
	change, err := Change(z, parsed)
	if err != nil {
		return err.Error()
	}
	var all []string
	add := func(sign string, records []rdata.Record) {
		for _, r := range records {
			name := strings.TrimSuffix(r.Name.String(), ".example.com.")
			all = append(all, fmt.Sprintf("%s%s %d %s %s", sign, name, r.TTL, r.Type, rdata.AppendText(nil, r.Type, r.Data)))
		}
	}
	add("-", change.Deleted)
	add("+", change.Added)
	return strings.Join(all, " ")
}
