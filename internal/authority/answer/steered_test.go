package answer

import (
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// TestSteeredName: a steered name exists, whatever the zone has there; its
// addresses are the caller's, also at the end of an alias, and the rest is the
// zone's. A wildcard does not stand in for it (RFC 4592 §3.3.1: the name exists).
func TestSteeredName(t *testing.T) {
	record := func(owner string, rt rdata.Type, text string) rdata.Record {
		origin := dnsname.MustParse("example.")
		data, err := rdata.ParseText(rt, origin, text)
		if err != nil {
			t.Fatal(err)
		}
		return rdata.Record{Name: dnsname.MustParse(owner), Type: rt, Class: rdata.ClassIN, TTL: 60, Data: data}
	}
	b := zone.NewBuilder(dnsname.MustParse("example."))
	b.Add(record("example.", rdata.TypeSOA, "ns host 1 2 3 4 5"))
	b.Add(record("example.", rdata.TypeNS, "ns"))
	b.Add(record("ns.example.", rdata.TypeA, "192.0.2.1"))
	b.Add(record("old.example.", rdata.TypeA, "192.0.2.99"))
	b.Add(record("old.example.", rdata.TypeTXT, "kept"))
	b.Add(record("alias.example.", rdata.TypeCNAME, "app"))
	b.Add(record("*.example.", rdata.TypeMX, "5 mx"))
	b.Steer(dnsname.MustParse("app.example."), zone.SteersAddresses)
	b.Steer(dnsname.MustParse("old.example."), zone.SteersAddresses)
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	for _, tt := range []struct {
		name    string
		qtype   rdata.Type
		kind    Kind
		answers int
	}{
		{"app.example.", rdata.TypeA, Steered, 0},
		{"app.example.", rdata.TypeAAAA, Steered, 0},
		{"app.example.", rdata.TypeANY, Steered, 0},
		{"app.example.", rdata.TypeMX, NoData, 0}, // not the wildcard's
		{"old.example.", rdata.TypeA, Steered, 0},
		{"old.example.", rdata.TypeTXT, Positive, 1},
		{"alias.example.", rdata.TypeA, Steered, 1},
		{"alias.example.", rdata.TypeMX, NoData, 1},
		{"other.example.", rdata.TypeMX, Positive, 1},
	} {
		var q dnswire.Query
		var out dnswire.Builder
		q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse(tt.name), Type: tt.qtype, Class: rdata.ClassIN}))
		out.Reset(&q, make([]byte, 2048), 512)
		got := Answer(&q, z, 0, &out)
		m, err := dnswire.ParseMessage(out.Finish())
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind != tt.kind || len(m.Answer) != tt.answers || !m.AA {
			t.Errorf("%s %s: %v with %d records, AA %v; want %v with %d", tt.name, tt.qtype, got.Kind, len(m.Answer), m.AA, tt.kind, tt.answers)
		}
		if got.Kind == Steered {
			if tt.qtype == rdata.TypeA && z.Name(got.Last.Exact).Label() != "app" && tt.name != "old.example." {
				t.Errorf("%s: steered at %s", tt.name, z.Name(got.Last.Exact))
			}
			DenyType(Options{}, &q, z, got, &out)
			if m, err := dnswire.ParseMessage(out.Finish()); err != nil || len(m.Authority) != 1 || m.Authority[0].Type != rdata.TypeSOA {
				t.Errorf("%s: DenyType gave %v %v", tt.name, m, err)
			}
		}
	}
}
