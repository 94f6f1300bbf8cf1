package judges

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/lab/simnet"
)

// Server returns the servers at an address, for UDP and for TCP.
func (t *Tree) Server(at netip.Addr) (udp, tcp simnet.Server) {
	var versions []*zone.Zone
	tamper := map[string]func(q, m *dns.Msg){}
	for _, z := range t.Zones {
		if z.At == at {
			versions = append(versions, z.version)
			if z.tamper != nil {
				tamper[z.Name.String()] = z.tamper
			}
		}
	}
	set := zone.NewSet(versions...)
	udp, tcp = simnet.Zones(set)
	with := func(serve simnet.Server) simnet.Server {
		return func(now time.Time, query []byte, from netip.AddrPort) [][]byte {
			replies := serve(now, query, from)
			var q dnswire.Query
			if q.Parse(query) != dnswire.Accept || len(replies) != 1 {
				return replies
			}
			z := set.Find(q.Name, q.Type)
			if z == nil || tamper[z.Origin().String()] == nil {
				return replies
			}
			asked, m := new(dns.Msg), new(dns.Msg)
			if asked.Unpack(query) != nil || m.Unpack(replies[0]) != nil {
				return replies
			}
			tamper[z.Origin().String()](asked, m)
			if changed, err := m.Pack(); err == nil {
				return [][]byte{changed}
			}
			return replies
		}
	}
	return with(udp), with(tcp)
}

// Hints are the NS and address records of the root, for who asks from there.
func (t *Tree) Hints() []rdata.Record {
	var hints []rdata.Record
	for _, z := range t.Zones {
		if !z.Name.IsRoot() {
			continue
		}
		for r := range z.version.Records() {
			if r.Type == rdata.TypeNS && r.Name.IsRoot() || r.Type == rdata.TypeA {
				if r.Type == rdata.TypeNS || r.Name.String() == "a.root." {
					hints = append(hints, r)
				}
			}
		}
	}
	return hints
}
