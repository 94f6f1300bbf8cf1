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
	return ask(ctx, p, query(name, t, nil), name, t)
}

// AskSigned is Ask for an RRset with its signatures.
func AskSigned(ctx context.Context, p Peer, name dnsname.Name, t rdata.Type) (*dnswire.Message, error) {
	return ask(ctx, p, withEDNS(query(name, t, nil), dnswire.EDNS{Present: true, DO: true, UDPSize: signedUDP}), name, t)
}

// signedUDP is what a server may answer with by UDP, as RFC 9715 has it: what is larger is
// asked for by TCP.
const signedUDP = 1232

func ask(ctx context.Context, p Peer, msg []byte, name dnsname.Name, t rdata.Type) (*dnswire.Message, error) {
	m, err := p.ask(ctx, msg, udpTries)
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
