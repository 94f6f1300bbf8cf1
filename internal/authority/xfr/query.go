package xfr

import (
	"context"
	"fmt"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Ask asks a server for an RRset, as itself has it, and returns its answer: one to
// that question, with authority.
func Ask(ctx context.Context, p Peer, name dnsname.Name, t rdata.Type) (*dnswire.Message, error) {
	m, err := p.ask(ctx, query(name, t, nil), udpTries)
	switch {
	case err != nil:
		return nil, err
	case !m.HasQuestion || m.Question.Name != name || m.Question.Type != t:
		return nil, fmt.Errorf("answered another question")
	case m.Rcode != dnswire.RcodeNoError && m.Rcode != dnswire.RcodeNXDomain:
		return nil, fmt.Errorf("answered %v", m.Rcode)
	case !m.AA:
		return nil, fmt.Errorf("answered without authority; it does not have the zone that %s %s is in", name, t)
	}
	return m, nil
}
