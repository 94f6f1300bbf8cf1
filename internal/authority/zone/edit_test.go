package zone

import (
	"fmt"
	"slices"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestEdit: what is deleted is gone, with the names that had nothing else; what is added is there; the zone
// before does not change.
func TestEdit(t *testing.T) {
	z := build(t, "example.", exampleText)
	before := fmt.Sprint(slices.Collect(z.Records()))
	e := z.Edit()
	for _, tt := range []struct {
		owner string
		t     rdata.Type
		data  string
		want  bool
	}{
		{"a.b.c.example.", rdata.TypeA, "192.0.2.3", true},
		{"a.b.c.example.", rdata.TypeA, "192.0.2.3", false},     // no longer
		{"example.", rdata.TypeMX, "10 mAIL", true},             // names have no case
		{"example.", rdata.TypeMX, "20 mail", false},            // another one
		{"nowhere.example.", rdata.TypeA, "192.0.2.3", false},   // no such name
		{"a.b.c.example.net.", rdata.TypeA, "192.0.2.3", false}, // outside the zone
		{"example.", rdata.TypeSOA, "ns1 Hostmaster 7 3600 900 604800 300", true},
	} {
		if got := e.Delete(record(t, tt.owner, tt.t, tt.data)); got != tt.want {
			t.Errorf("deleting %s %s %s: %v, want %v", tt.owner, tt.t, tt.data, got, tt.want)
		}
	}
	e.Add(record(t, "example.", rdata.TypeSOA, "ns1 hostmaster 8 3600 900 604800 30"))
	e.Add(record(t, "x.new.example.", rdata.TypeTXT, "new"))
	next, problems := e.Finish()
	if next == nil || len(problems) > 0 {
		t.Fatal(problems)
	}
	if next.Serial() != 8 || next.NegativeTTL() != 30 {
		t.Errorf("serial %d, negative TTL %d", next.Serial(), next.NegativeTTL())
	}
	for name, want := range map[string]bool{"c.example.": false, "b.c.example.": false, "new.example.": true, "x.new.example.": true, "www.example.": true} {
		if got := next.Lookup(dnsname.MustParse(name)).Exact != 0; got != want {
			t.Errorf("%s exists: %v, want %v", name, got, want)
		}
	}
	if got := fmt.Sprint(slices.Collect(z.Records())); got != before {
		t.Errorf("the zone before is now\n%s\nit was\n%s", got, before)
	}
}

// TestEditRefuses: an edit that leaves no zone behind makes none, and says why.
func TestEditRefuses(t *testing.T) {
	z := build(t, "example.", exampleText)
	e := z.Edit()
	e.Add(record(t, "www.example.", rdata.TypeA, "192.0.2.1"))
	if next, problems := e.Finish(); next != nil || len(problems) != 1 || problems[0].Severity != Fatal {
		t.Errorf("an address beside a CNAME: %v", problems)
	}
	e = z.Edit()
	e.Delete(record(t, "example.", rdata.TypeSOA, "ns1 hostmaster 7 3600 900 604800 300"))
	if next, problems := e.Finish(); next != nil || len(problems) != 1 || problems[0].Type != rdata.TypeSOA {
		t.Errorf("without SOA: %v", problems)
	}
}

// TestEditKeepsSteered: names that are steered stay so, and more can be.
func TestEditKeepsSteered(t *testing.T) {
	b := NewBuilder(dnsname.MustParse("example."))
	for _, r := range parse(t, "example.", exampleText) {
		b.Add(r)
	}
	b.Steer(dnsname.MustParse("lb.example."), SteersAddresses)
	z, _ := b.Finish()
	e := z.Edit()
	e.Add(record(t, "lb.example.", rdata.TypeTXT, "x"))
	e.Steer(dnsname.MustParse("x.lb.example."), SteersAddresses)
	next, _ := e.Finish()
	for _, name := range []string{"lb.example.", "x.lb.example."} {
		if n := next.Lookup(dnsname.MustParse(name)).Exact; n == 0 || !next.IsSteered(n) {
			t.Errorf("%s is not steered", name)
		}
	}
}
