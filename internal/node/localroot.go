package node

import (
	"net/netip"
	"path/filepath"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/authority/xfr"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rootcopy"
)

// This file joins the copy of the root zone (package rootcopy) to the resolvers.

// beliefs are what a resolver takes for true.
type beliefs struct {
	anchors  []rdata.Record
	negative []dnsname.Name
	hints    []rdata.Record                                     // nothing: the root's servers are not known
	root     func(now time.Time, query []byte, tcp bool) []byte // nil: there is no copy
	own      func(query []byte, tcp bool) []byte                // nil: there are no zones of our own
}

func (b beliefs) addTo(c *outbound.Config) {
	c.Anchors, c.Negative = b.anchors, b.negative
	c.Hints, c.NoHints = b.hints, true
	c.Inside = b.inside
	if b.root != nil {
		c.Routes = append(c.Routes, iterate.Route{Zone: dnsname.Root, Servers: []netip.AddrPort{iterate.Inside}, First: true})
	}
}

// inside answers what a resolver need not ask others.
func (b beliefs) inside(now time.Time, query []byte, tcp bool) []byte {
	if b.own != nil {
		if reply := b.own(query, tcp); reply != nil {
			return reply
		}
	}
	if b.root == nil {
		return nil
	}
	return b.root(now, query, tcp)
}

// openRoot takes the copy from disk, if there is to be one.
func (n *Node) openRoot(cfg *config.Config) {
	t, from := cfg.Transfers, cfg.Resolver.LocalRoot
	n.root = rootcopy.Open(rootcopy.Config{
		Transferred: len(from.Primaries) > 0, Folder: filepath.Join(cfg.Data, "localroot"), File: from.File, Log: n.log,
		Limits: xfr.Limits{Records: t.MaxRecords, Octets: int64(t.MaxSize), Time: time.Duration(t.MaxTime)},
		Anchors: func() []rdata.Record {
			anchors, _ := n.trust.Anchors()
			return anchors
		},
		Problem: func(text string) { n.problem(problems.LocalRootFailed, "", text) },
	})
}

// rootCopy returns what answers from the copy, for a resolver.
func (n *Node) rootCopy(r config.Resolver) func(time.Time, []byte, bool) []byte {
	if !r.LocalRoot.IsSet() || !n.root.IsSet() {
		return nil
	}
	return n.root.Answer
}

// localRoot returns how the copy is; nil if there is to be none.
func (n *Node) localRoot() *api.LocalRoot {
	if !n.root.IsSet() {
		return nil
	}
	s := n.root.State()
	return &api.LocalRoot{Serial: uint32(s.Serial), Used: s.Present, Until: s.Until, Confirmed: s.Confirmed, Expires: s.Expires, Problem: s.Problem}
}
