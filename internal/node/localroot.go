package node

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/authority/xfr"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
)

// This file joins the copy of the root zone (package localroot) to what transfers it
// and to the resolvers.

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
	n.rootFile.Origin, n.rootFile.Path = dnsname.Root, cfg.Resolver.LocalRoot.File
	if n.rootFile.Path != "" {
		n.readRootFile()
	}
	if len(cfg.Resolver.LocalRoot.Primaries) == 0 {
		return
	}
	t := cfg.Transfers
	n.rootSource = xfr.New(xfr.Config{
		Folder: filepath.Join(cfg.Data, "localroot"), Turns: xfr.NewTurns(1, 1), Log: n.log,
		Limits:  xfr.Limits{Records: t.MaxRecords, Octets: int64(t.MaxSize), Time: time.Duration(t.MaxTime)},
		Publish: func(dnsname.Name) { n.takeRoot() }, Trouble: func(dnsname.Name) { n.tellRoot() },
	})
	n.takeRoot()
}

// startRoot begins to keep it up to date.
func (n *Node) startRoot(s *Snapshot) {
	if n.rootSource != nil {
		n.rootSource.Set([]xfr.Zone{{Name: dnsname.Root, Primaries: s.peers(s.Config.Resolver.LocalRoot.Primaries)}})
	}
}

// rootCopy returns what answers from the copy, for a resolver.
func (n *Node) rootCopy(r config.Resolver) func(time.Time, []byte, bool) []byte {
	if !r.LocalRoot.IsSet() || !n.hasRootCopy() {
		return nil
	}
	return n.root.Answer
}

// takeRoot looks at the version that has come, or that is gone.
func (n *Node) takeRoot() {
	z := n.rootSource.Version(dnsname.Root)
	if z == nil {
		n.root.Drop()
		n.tellRoot()
		return
	}
	n.giveRoot(z)
	n.tellRoot()
}

func (n *Node) giveRoot(z *zone.Zone) {
	anchors, _ := n.trust.Anchors()
	if err := n.root.Take(clock.Now(), z, anchors); err == nil {
		n.log.Info("copy of the root zone is used", "serial", z.Serial())
	}
}

// tellRoot says what is wrong with the copy.
func (n *Node) tellRoot() {
	text := ""
	if r := n.localRoot(); r != nil && r.Problem != "" {
		text = r.Problem + "; the root's servers are asked"
		if r.Used {
			text = r.Problem + "; the version before is used until it expires"
		}
	}
	n.problem(problems.LocalRootFailed, "", text)
}

// hasRootCopy reports whether there is to be a copy.
func (n *Node) hasRootCopy() bool { return n.rootSource != nil || n.rootFile.Path != "" }

// readRootFile takes the copy from its file.
func (n *Node) readRootFile() {
	if z := n.rootFile.Read(); z != nil {
		n.giveRoot(z)
	}
	n.tellRoot()
}

// localRoot returns how the copy is; nil if there is to be none.
func (n *Node) localRoot() *api.LocalRoot {
	if !n.hasRootCopy() {
		return nil
	}
	if n.rootSource == nil {
		own := n.root.State(clock.Now())
		return &api.LocalRoot{Serial: uint32(own.Serial), Used: own.Present, Until: own.Until, Problem: cmp.Or(n.rootFile.Problem(), own.Problem)}
	}
	st, _ := n.rootSource.State(dnsname.Root)
	own := n.root.State(clock.Now())
	r := &api.LocalRoot{Serial: uint32(own.Serial), Used: own.Present, Until: own.Until, Confirmed: st.Confirmed, Expires: st.Expires, Problem: own.Problem}
	if r.Problem == "" && st.Problem != "" && st.Failures > 0 {
		r.Problem = "the root zone cannot be transferred: " + st.Problem
	}
	return r
}
