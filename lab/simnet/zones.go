package simnet

import (
	"net/netip"
	"time"

	"pharos/internal/authority/answer"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnswire"
)

// maxTCP is the largest message over TCP, whose length field has 16 bits (RFC
// 1035 §4.2.2).
const maxTCP = 0xFFFF

// Zones returns servers that answer from zones with the program's own authority
// engine: one for UDP, which keeps to the size that the client can take, and one
// for TCP. RRsets rotate by one for each answer.
func Zones(set *zone.Set) (udp, tcp Server) {
	rotation := uint32(0)
	serve := func(limit func(*dnswire.Query) int) Server {
		return func(_ time.Time, query []byte, _ netip.AddrPort) [][]byte {
			var q dnswire.Query
			verdict := q.Parse(query)
			if verdict == dnswire.Ignore {
				return nil
			}
			var out dnswire.Builder
			size := limit(&q)
			out.Reset(&q, make([]byte, size+dnswire.BufferSlack), size)
			if verdict == dnswire.Accept {
				rotation++
				if z := set.Find(q.Name, q.Type); z != nil {
					answer.Answer(&q, z, rotation, &out)
				} else {
					out.SetRcode(dnswire.RcodeRefused)
				}
			}
			return [][]byte{out.Finish()}
		}
	}
	return serve((*dnswire.Query).UDPLimit), serve(func(*dnswire.Query) int { return maxTCP })
}
