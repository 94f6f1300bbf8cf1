package answer

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// records reads master-file text by means of another library.
func records(t testing.TB, origin, text string) []rdata.Record {
	t.Helper()
	zp := dns.NewZoneParser(strings.NewReader(text), origin, "")
	var list []rdata.Record
	wire := make([]byte, 1<<16)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		end, err := dns.PackRR(rr, wire, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		name, n, err := dnsname.FromWire(wire)
		if err != nil {
			t.Fatal(err)
		}
		h := rr.Header()
		list = append(list, rdata.Record{
			Name: name, Type: rdata.Type(h.Rrtype), Class: rdata.Class(h.Class), TTL: rdata.TTL(h.Ttl),
			Data: append([]byte(nil), wire[n+10:end]...),
		})
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// buildZone makes a zone of master-file text that must have no fatal problem.
func buildZone(t testing.TB, origin, text string) *zone.Zone {
	t.Helper()
	list := records(t, origin, text)
	z, problems := zone.Build(dnsname.MustParse(origin), func(yield func(rdata.Record) bool) {
		for _, r := range list {
			if !yield(r) {
				return
			}
		}
	})
	if z == nil {
		t.Fatalf("zone %s: %v", origin, problems)
	}
	return z
}

// query returns a query message, without EDNS.
func query(t testing.TB, qname string, qtype uint16) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(qname), qtype)
	m.RecursionDesired = false
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// ask asks z and returns the response as another library reads it.
func ask(t testing.TB, z *zone.Zone, qname string, qtype uint16, rotation uint32, limit int) *dns.Msg {
	t.Helper()
	var q dnswire.Query
	var out dnswire.Builder
	if v := q.Parse(query(t, qname, qtype)); v != dnswire.Accept {
		t.Fatalf("query %s: verdict %v", qname, v)
	}
	out.Reset(&q, make([]byte, limit+dnswire.BufferSlack), limit)
	outcome := Answer(&q, z, rotation, &out)
	wire := out.Finish()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("response to %s: %v\n%x", qname, err, wire)
	}
	if m.Truncated != outcome.Truncated {
		t.Errorf("%s: TC %v, outcome %+v", qname, m.Truncated, outcome)
	}
	return m
}
