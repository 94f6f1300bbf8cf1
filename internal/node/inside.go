package node

import (
	"net/netip"

	"pharos/internal/authority/answer"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file answers the node's own resolvers from the node's own zones, where aliases of
// others lead into them: a zone that the Internet knows nothing of, or something else,
// answers the same at the end of such an alias as when it is asked for.

// ownZone returns the zone of ours that answers about a name, in a view or outside, and
// the snapshot that has it; nil if there is none, or if it is not for everybody: what is
// at the end of an alias goes into the cache, from which all clients are answered.
func (n *Node) ownZone(view string, name dnsname.Name, t rdata.Type) (*zone.Zone, *Snapshot) {
	s := n.current.Load()
	if s != nil && view != "" {
		s = s.viewOf(view)
	}
	if s == nil {
		return nil, nil
	}
	z, in := s.find(name, t)
	if z == nil {
		return nil, nil
	}
	if _, restricted := in.restricted[z.Origin()]; restricted {
		return nil, nil
	}
	return z, in
}

// ownAnswers returns what answers queries of a view's resolver; nil is answered where it
// has to ask others.
func (n *Node) ownAnswers(view string) func(query []byte, tcp bool) []byte {
	return func(query []byte, tcp bool) []byte {
		var q dnswire.Query
		if q.Parse(query) != dnswire.Accept {
			return nil
		}
		z, in := n.ownZone(view, q.Name, q.Type)
		if z == nil || z.Origin().IsRoot() && view == "" && n.root.IsSet() {
			return nil
		}
		return steered.Whole(in.steeredQuestion(answer.Options{}, &q, z, netip.Addr{}, clock.Now()), tcp)
	}
}
