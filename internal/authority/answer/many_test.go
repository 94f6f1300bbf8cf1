package answer

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnswire"
)

// BenchmarkMany measures finding one of many small zones and answering from it, one
// question after the other, and in batches whose memory is fetched ahead. How much
// longer that takes with more zones is time spent waiting for memory.
func BenchmarkMany(b *testing.B) {
	const text = "@ 3600 IN SOA ns1 hostmaster 1 3600 900 604800 300\n@ 3600 IN NS ns1\n@ 3600 IN NS ns2\n@ 3600 IN A 192.0.2.3\n@ 3600 IN MX 10 www\n" +
		"ns1 3600 IN A 192.0.2.1\nns2 3600 IN A 192.0.2.2\nwww 3600 IN A 192.0.2.3\n"
	const count, batch = 1 << 15, 64
	for _, zones := range []int{1, 30_000} {
		list := make([]*zone.Zone, zones)
		for i := range list {
			list[i] = buildZone(b, fmt.Sprintf("zone%d.many.example.", i), text)
		}
		set := zone.NewSet(list...)
		var queries [count][]byte
		for i := range queries {
			name := fmt.Sprintf("www.zone%d.many.example.", rand.IntN(zones))
			if i%10 == 0 {
				name = "not-" + name
			}
			queries[i] = query(b, name, dns.TypeA)
		}
		for _, ahead := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/ahead=%t", zones, ahead), func(b *testing.B) {
				var q dnswire.Query
				var out dnswire.Builder
				var questions [batch][]byte
				buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if ahead && i%batch == 0 {
						for k := range questions {
							questions[k] = queries[(i+k)%count][dnswire.HeaderLen:]
						}
						set.Prefetch(questions[:])
					}
					n := copy(buf, queries[i%count])
					q.Parse(buf[:n])
					out.Reset(&q, buf, dnswire.MaxUDP512)
					Answer(&q, set.Find(q.Name, q.Type), uint32(i), &out)
					out.Finish()
				}
			})
		}
	}
}
