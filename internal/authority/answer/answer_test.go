package answer

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/zonefile"
)

// buildZone makes a zone of master-file text that must have no fatal problem.
func buildZone(t testing.TB, origin, text string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(dnsname.MustParse(origin))
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: dnsname.MustParse(origin)}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
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
