package node

import (
	"path/filepath"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/clock"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/anchor"
	"pharos/internal/resolver/footing"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
)

// This file joins the files that resolvers begin with to the resolvers.

func newHints(data string) *footing.Hints {
	return &footing.Hints{File: footing.File{Parse: outbound.ParseHints, Copy: filepath.Join(data, "root.hints")}, BuiltIn: iterate.RootHints()}
}

func newAnchors() *footing.Anchors {
	return &footing.Anchors{File: footing.File{Parse: func(path string, text []byte) ([]rdata.Record, error) {
		return anchor.Parse(clock.Now(), path, text)
	}}}
}

// anchorsGiven returns the trust anchors to begin with where there is no file of them.
func anchorsGiven(r config.Resolver) ([]rdata.Record, error) {
	if len(r.TrustAnchors) > 0 {
		return r.Anchors()
	}
	return iterate.RootAnchors(), nil
}

// followFooting takes over what has changed of the files, or which they are.
func (n *Node) followFooting(cfg *config.Config) {
	changed, problem := n.hints.Follow(cfg.Resolver.RootHints)
	n.problem(problems.HintsDamaged, "", problem)
	if changed {
		n.eachResolver(func(r *outbound.Driver) { r.SetHints(n.hints.Now()) })
		n.log.Info("root hints changed")
	}
	given, err := anchorsGiven(cfg.Resolver)
	anchors, changed, unread := n.anchors.Begin(cfg.Resolver.Trust.File, given)
	if changed && err == nil {
		n.trust.Begin(anchors, unread)
	}
}

// eachResolver visits the resolver outside of views and those of views.
func (n *Node) eachResolver(visit func(*outbound.Driver)) {
	visit(n.resolver)
	for _, v := range n.current.Load().views {
		if own := v.view.own; own != nil && own.resolver != nil {
			visit(own.resolver)
		}
	}
}
