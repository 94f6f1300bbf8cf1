package node

import (
	"fmt"
	"net/http"

	"pharos/internal/admin/api"
	"pharos/internal/admin/desk"
	"pharos/internal/admin/resolverdesk"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/transfer"
)

// newDesk makes what answers operators about zones.
func (n *Node) newDesk() *desk.Desk {
	return desk.New(desk.Config{Zone: n.deskZone, Revision: func() uint64 { return n.current.Load().Revision }})
}

// deskZone returns what an operator can be told of the zone that he means.
func (n *Node) deskZone(name string) (desk.Zone, error) {
	s, a, err := n.findZone(name)
	if err != nil {
		return desk.Zone{}, err
	}
	z := desk.Zone{
		ID: a.served.ID(), Name: a.config.Name, Kind: a.config.Kind,
		Version: a.served.Zone, Journal: a.served.Journal, Loaded: a.served.Loaded(),
		Policy: a.config.DNSSEC, KeyTTL: keyTTL(a),
		Primaries: s.peers(a.config.Primaries), Secondaries: s.peers(a.config.Notify),
		Announce: func() { n.notifierOf(s).Announce(transfer.SOA(a.served.Zone), s.peers(a.config.Notify)) },
		Refresh:  func(force bool) bool { return n.secondariesOf(s).Refresh(a.config.Name, force) },
	}
	k := n.keepingOf(s)
	if z.Signers, z.Parents = k.signers.Signers, k.signers.parents; a.config.Kind == "store" {
		z.Ledger = k.ledger.Load()
		z.Children = k.children
	}
	return z, nil
}

// findZone returns the zone that an operator means, by its name or as zone@view, and
// the snapshot it is in.
func (n *Node) findZone(name string) (*Snapshot, *apex, error) {
	s := n.current.Load()
	view, parsed, err := versions.ParseID(name)
	if err != nil {
		return nil, nil, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	if view != "" {
		if s = s.viewOf(view); s == nil {
			return nil, nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("there is no view %s; \"pharos zones\" shows those that have zones", view)}
		}
	}
	a := s.apexes.Get(parsed)
	if a == nil {
		return nil, nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("there is no zone %s; \"pharos zones\" shows those there are", versions.ID(view, parsed))}
	}
	return s, a, nil
}

// newResolverDesk makes what answers operators about resolvers.
func (n *Node) newResolverDesk() *resolverdesk.Desk {
	of := func(view string, r recursor) resolverdesk.Resolver {
		out := resolverdesk.Resolver{View: view, Cache: r.cache, Servers: r.resolver.Servers}
		if r.keeper != nil {
			out.Kept = func() any { return r.keeper.Status() }
		}
		return out
	}
	return resolverdesk.New(resolverdesk.Config{Log: n.log, Trust: n.trust, Beliefs: n.beliefsNow, Resolvers: func(each func(resolverdesk.Resolver)) {
		each(of("", n.recursor))
		for _, v := range n.current.Load().views {
			if own := v.view.own; own != nil && own.cache != nil {
				each(of(v.viewName(), own.recursor))
			}
		}
	}})
}
