package node

import (
	"context"
	"path/filepath"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/resolverdesk"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/custody"
	"pharos/internal/resolver/failures"
	"pharos/internal/resolver/footing"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rootcopy"
	"pharos/internal/resolver/upgrade"
)

// resolving is the resolver outside of views, and what all resolvers believe.
type resolving struct {
	failures *failures.Store // of views too
	recursor
	trust    *custody.Custody
	root     *rootcopy.Follower
	anchors  *footing.Anchors
	hints    *footing.Hints
	upgrades *upgrade.Driver // of plain servers of routes
}

// openTrust reads what is trusted. Nobody is asked about it before goLive.
func (n *Node) openTrust(cfg *config.Config) error {
	n.hints, n.anchors = newHints(cfg.Data), newAnchors()
	_, problem := n.hints.Follow(cfg.Resolver.RootHints)
	n.problem(problems.HintsDamaged, "", problem)
	given, err := anchorsGiven(cfg.Resolver)
	if err != nil {
		return err
	}
	anchors, _, err := n.anchors.Begin(cfg.Resolver.Trust.File, given)
	if err != nil { // what resolves by other anchors, and all zones of ours, need not be down for it
		anchors = iterate.RootAnchors()
	}
	n.trust = custody.Open(custody.Config{
		Folder: filepath.Join(cfg.Data, "trust"), Anchors: anchors, Unread: err, Update: cfg.Resolver.Trust.Update,
		Negative: cfg.Resolver.NegativeTrustAnchors, Log: n.log, Apply: n.applyTrust,
		Problem: func(c, about, text string) { n.problem(problems.Code(c), about, text) },
		Ask: func(ctx context.Context, name dnsname.Name, t rdata.Type, cd bool) (iterate.Answer, error) {
			return n.resolver.Resolve(ctx, name, t, outbound.Options{DO: true, CD: cd, Anew: true})
		},
	})
	return nil
}

// startTrust begins to look after what is trusted, if anybody resolves with it.
func (n *Node) startTrust(r config.Resolver) {
	if r.Validate && len(r.Allow) > 0 {
		n.trust.Start()
	}
}

// followTrust takes the negative trust anchors of a changed configuration over.
func (n *Node) followTrust(prev, next *Snapshot) {
	if prev == nil || slices.Equal(prev.Config.Resolver.NegativeTrustAnchors, next.Config.Resolver.NegativeTrustAnchors) {
		return
	}
	n.trust.Configure(next.Config.Resolver.NegativeTrustAnchors)
}

// applyTrust gives the resolvers what counts now. It is called by custody.
func (n *Node) applyTrust(anchors []rdata.Record, negative []dnsname.Name) {
	n.eachResolver(func(r *outbound.Driver) { r.Trust(anchors, negative) })
}

// beliefsNow returns by what the resolvers of this node go.
func (n *Node) beliefsNow() resolverdesk.Beliefs {
	s := n.current.Load()
	r := s.Config.Resolver
	resolves := len(r.Allow) > 0 || slices.ContainsFunc(s.views, func(v *Snapshot) bool { return v.view.own != nil && v.view.own.resolver != nil })
	return resolverdesk.Beliefs{Validate: r.Validate, Update: r.Trust.Update, Resolves: resolves, Revision: s.Revision, LocalRoot: n.localRoot()}
}
