package node

import (
	"context"

	"pharos/internal/admin/api"
	"pharos/internal/admin/problems"
	"pharos/internal/authority/update"
	"pharos/internal/authority/xfr"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/tsig"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/updates"
)

// This file joins dynamic updates with what they change:
//
//	queryPeer (transfer.go) -> updateZone    -> updates.Updates -> changeZone (ledger.go)
//	                        -> forwardUpdate -> updates.Updates -> the primaries

// changer makes one change of a zone: see updates.Config.Change.
type changer func(ctx context.Context, name dnsname.Name, by string, decide func(now *zone.Zone) (update.Change, error)) (changed bool, err error)

func (n *Node) newUpdates() *updates.Updates {
	return updates.New(updates.Config{
		Change: func(ctx context.Context, z *updates.Zone, by string, decide func(now *zone.Zone) (update.Change, error)) (bool, error) {
			return n.changerOf(z.View)(ctx, z.Name, by, decide)
		},
		Reply:       n.reply,
		Unreachable: func(name dnsname.Name, text string) { n.problem(problems.ForwardFailed, name.String(), text) },
		Log:         n.log,
	})
}

// updateZone answers an update. session is that of its signature, nil if it is not
// signed.
func (n *Node) updateZone(s *Snapshot, r *dnsserver.Request, session *tsig.Session) dnsserver.Verdict {
	a, _ := s.apex(r.Query.Name)
	if a == nil {
		return n.updates.Update(nil, r, session)
	}
	return n.updates.Update(&updates.Zone{Name: a.config.Name, View: a.served.View, Kind: a.config.Kind, Rules: a.updates, IsSigned: a.isSignedHere}, r, session)
}

// isSignedHere reports whether the signatures of a zone, whose newest version without
// what is done to it here is now, are made here.
func (a *apex) isSignedHere(now *zone.Zone) bool {
	return a.config.DNSSEC != "" || a.served.Zone != nil && a.served.Zone.IsSigned() && !now.IsSigned()
}

// forwards reports whether an update is for a primary of ours (RFC 2136 §6). That
// is asked before its signature is: the key need not be known here.
func (s *Snapshot) forwards(q *dnswire.Query) *apex {
	a, _ := s.apex(q.Name)
	if q.Opcode() != dnswire.OpcodeUpdate || a == nil || !a.config.ForwardUpdates || q.Class != rdata.ClassIN {
		return nil
	}
	return a
}

// forwardUpdate sends an update to a primary and its answer back.
func (n *Node) forwardUpdate(s *Snapshot, a *apex, r *dnsserver.Request) dnsserver.Verdict {
	peers := s.peers(a.config.Primaries)
	return n.updates.Forward(r, func(ctx context.Context, request []byte) ([]byte, error) { return xfr.Relay(ctx, peers, request) })
}

// updateSummary returns what became of the updates, nil if there were none.
func (n *Node) updateSummary() *api.Updates {
	c := n.updates.Counts()
	s := api.Updates{
		Changed: c.Changed, Unchanged: c.Unchanged, Prerequisite: c.Unmet, Refused: c.Refused,
		Malformed: c.Malformed, Failed: c.Failed + c.Busy + c.ForwardFailed, Forwarded: c.Forwarded,
	}
	if s == (api.Updates{}) {
		return nil
	}
	return &s
}
