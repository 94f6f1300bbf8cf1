package node

import (
	"context"
	"net/http"
	"net/netip"

	"pharos/internal/admin/api"
	"pharos/internal/admin/explain"
	"pharos/internal/admin/routedesk"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// explainURL tells how the name of a URL is answered, and where the gateway carries the
// request.
func (n *Node) explainURL(ctx context.Context, s *Snapshot, e *explain.Explanation, r api.ExplainRequest) error {
	t, host, err := routedesk.Target(r)
	if err != nil {
		return &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	if _, err := netip.ParseAddr(host); err != nil && !r.RouteOnly {
		if name, err := dnsname.Parse(host); err == nil {
			n.explainName(ctx, s, e, explained{name: name, qtype: rdata.TypeA, from: r.From, subnet: r.Subnet, anew: r.Resolve})
		}
	}
	found, err := routedesk.Explain(e, n.gateway, s.gateway, &t)
	if err != nil || found == nil || r.RouteOnly {
		return err
	}
	chosen, err := n.gateway.Explain(s.gateway, found, t)
	if err != nil {
		return &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	e.AddPick(explain.Request{
		Pool: chosen.Pool, Ask: chosen.Ask, Keyed: chosen.Keyed, Affinity: chosen.Affinity, Named: chosen.Named, Usable: chosen.Usable,
	}, n.evidence(e.At))
	routedesk.ExplainBreaker(e, s.gateway, chosen.Pool.Name())
	n.newTrafficDesk().ExplainScale(e, chosen.Pool.Name())
	return nil
}
