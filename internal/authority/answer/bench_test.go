package answer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
)

// benchmarkZone is the text of a zone of about 125,000 records: hosts with A and
// AAAA, delegations with two name servers, one of them with glue, a wildcard.
func benchmarkZone() string {
	var b strings.Builder
	b.WriteString("@ 3600 IN SOA ns1 hostmaster 1 3600 900 604800 300\n@ 3600 IN NS ns1\nns1 3600 IN A 192.0.2.1\n*.wild 60 IN A 192.0.2.2\nalias 60 IN CNAME host1\n")
	for i := range 25_000 {
		fmt.Fprintf(&b, "host%d 3600 IN A 10.%d.%d.%d\nhost%d 3600 IN AAAA 2001:db8::%x\n", i, i>>16, i>>8&255, i&255, i, i)
		fmt.Fprintf(&b, "child%d 3600 IN NS ns1.child%d\nchild%d 3600 IN NS ns.provider.net.\nns1.child%d 3600 IN A 192.0.2.3\n", i, i, i, i)
	}
	return b.String()
}

// BenchmarkAnswer measures parsing a query and answering it, over many different
// names in no order.
func BenchmarkAnswer(b *testing.B) {
	z := buildZone(b, "example.com.", benchmarkZone())
	for _, bb := range []struct{ kind, format string }{
		{"hit", "host%d.example.com."},
		{"nxdomain", "nohost%d.example.com."},
		{"referral", "www.child%d.example.com."},
		{"wildcard", "any%d.wild.example.com."},
		{"alias", "alias.example.com."},
	} {
		const count = 8192
		var queries [count][]byte
		for i := range queries {
			name := bb.format
			if strings.Contains(name, "%") {
				name = fmt.Sprintf(name, rand.IntN(25_000))
			}
			queries[i] = query(b, name, dns.TypeA)
		}
		b.Run(bb.kind, func(b *testing.B) {
			var q dnswire.Query
			var out dnswire.Builder
			buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n := copy(buf, queries[i%count])
				q.Parse(buf[:n])
				out.Reset(&q, buf, dnswire.MaxUDP512)
				Answer(&q, z, uint32(i), &out)
				out.Finish()
			}
		})
		b.Run(bb.kind+"/parse only", func(b *testing.B) {
			var q dnswire.Query
			var out dnswire.Builder
			buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
			for i := 0; b.Loop(); i++ {
				n := copy(buf, queries[i%count])
				q.Parse(buf[:n])
				out.Reset(&q, buf, dnswire.MaxUDP512)
				out.Finish()
			}
		})
	}
}
