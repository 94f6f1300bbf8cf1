package answer

import (
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Chain returns the alias chain that is the answer in msg, and the name it ends at;
// nothing if there is no such chain, or if it is a loop.
func Chain(msg []byte) (chain []rdata.Record, target dnsname.Name) {
	m, err := dnswire.ParseMessage(msg)
	if err != nil || len(m.Answer) == 0 {
		return nil, dnsname.Name{}
	}
	last := m.Answer[len(m.Answer)-1]
	for i := len(m.Answer) - 1; last.Type == rdata.TypeRRSIG && i > 0; i-- { // of the CNAME before it
		last = m.Answer[i-1]
	}
	if last.Type != rdata.TypeCNAME {
		return nil, dnsname.Name{}
	}
	target, _ = rdata.NameAt(last.Data, 0)
	for _, r := range m.Answer {
		if r.Name == target {
			return nil, dnsname.Name{}
		}
	}
	return m.Answer, target
}
