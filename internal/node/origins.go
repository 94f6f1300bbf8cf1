package node

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// This file has what the resolver finds out of DNS servers that are members of pools count as
// evidence of them, as what the gateway finds out of others does.

// observeServer returns who is told how queries to a server end; nil: it is no member that is
// checked as a DNS server.
func (n *Node) observeServer(server netip.AddrPort) func(outbound.Ended) {
	s := n.current.Load()
	if s == nil || !n.guide.ready.Load() {
		return nil
	}
	pools := s.pools.DNSServer(server)
	if len(pools) == 0 {
		return nil
	}
	return func(e outbound.Ended) {
		if o, cause, told := outcomeOf(e); told {
			n.noteQuery(pools, server, o, e.Took, cause)
		}
	}
}

// outcomeOf says whose fault it is how a query ended. A refusal, or a server failure, may be
// that of the name that was asked for, so it counts among many only. What this machine could
// not do is nobody's.
func outcomeOf(e outbound.Ended) (o health.Outcome, cause string, told bool) {
	const rcodeOctet, headerOctets = 3, 12
	switch {
	case len(e.Reply) >= headerOctets:
		switch rcode := dnswire.Rcode(e.Reply[rcodeOctet] & 0xF); rcode {
		case dnswire.RcodeServFail, dnswire.RcodeRefused, dnswire.RcodeNotImp:
			return health.Doubtful, "answered " + rcode.String(), true
		}
		return health.Answered, "answered a query", true
	case e.Reply != nil:
		return health.Broken, "answered with less than a header", true
	case e.Err == nil:
		return health.Late, fmt.Sprintf("no answer to a query in %v", e.Took.Round(time.Millisecond)), true
	case errors.Is(e.Err, iterate.ErrLocal), errors.Is(e.Err, iterate.ErrNoRoute):
		return 0, "", false
	}
	return health.Unreached, "a query: " + e.Err.Error(), true
}

// noteQuery tells the members at an address, and their health if that is due, once.
func (n *Node) noteQuery(pools []*pool.Pool, server netip.AddrPort, o health.Outcome, took time.Duration, cause string) {
	now, reported := n.elapsed(), map[health.Target]bool{}
	for _, p := range pools {
		v := p.View()
		for i := range v.Members {
			m := &v.Members[i]
			if m.Address != server || m.Target.Check.Kind != health.DNS {
				continue
			}
			if m.Load.Note(o, now, took) && !reported[m.Target] {
				reported[m.Target] = true
				n.prober.Report(m.Target, health.Result{Passive: true, OK: !o.IsFailure(), Outcome: o, At: clock.Now(), Latency: took, Cause: cause})
			}
		}
	}
}

// elapsed is by the clock of loads: the gateway's, if there is one.
func (n *Node) elapsed() time.Duration {
	if n.gateway == nil {
		return clock.Since(n.started)
	}
	return n.gateway.Elapsed()
}
