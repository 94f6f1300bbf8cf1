package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/alias"
	"pharos/internal/authority/aliases"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/owncut"
	"pharos/internal/traffic/steer"
)

// openAliases makes the driver of the ALIAS records of a view, or of the zones outside.
func (n *Node) openAliases(view, folder string, c config.Alias) *aliases.Driver {
	return aliases.Open(aliases.Config{
		File: filepath.Join(folder, "alias.json"),
		Terms: aliases.Terms{
			Limits:     alias.Limits{Least: time.Duration(c.MinRefresh), Most: time.Duration(c.MaxRefresh)},
			MaxPerZone: c.MaxPerZone, Keep: c.Keep, Refuse: c.Refuse,
		},
		Names:    func() aliases.Names { return n.namesIn(view) },
		Changed:  func(name dnsname.Name) { n.zoneChangedIn(view, name) },
		Steering: n.republish,
		Problem: func(name dnsname.Name, text string) {
			id := versions.ID(view, name)
			if text != "" {
				text = fmt.Sprintf("zone %s: %s", id, text)
			}
			n.problem(problems.AliasFailed, id, text)
		},
		Log: n.log,
	})
}

// aliasStage is the stage that a driver of ALIAS records is.
func aliasStage(d *aliases.Driver) versions.Stage {
	return func(c *config.Zone, _ *versions.Zone, v journal.Version) (journal.Version, error) {
		return d.Stage(c.Name, v)
	}
}

// aliasesOf returns the driver of the view that s is of, or of the zones outside.
func (n *Node) aliasesOf(s *Snapshot) *aliases.Driver {
	if s.view != nil {
		return s.view.own.aliases
	}
	return n.aliases
}

// aliasNames are the names that the targets of one view are looked up in.
type aliasNames struct {
	node *Node
	in   *Snapshot
}

func (n *Node) namesIn(view string) aliases.Names {
	s := n.current.Load()
	if view != "" {
		s = s.viewOf(view)
	}
	if s == nil {
		return nil
	}
	return aliasNames{n, s}
}

func (a aliasNames) Find(name dnsname.Name) (*zone.Zone, *aliases.Driver) {
	z, in := a.in.find(name, rdata.TypeA)
	if z == nil {
		return nil, nil
	}
	return z, a.node.aliasesOf(in)
}

func (a aliasNames) Cut(z *zone.Zone, cut zone.Node) {
	owncut.Learn(a.node.cacheOf(a.in), clock.Now(), z, cut)
}

func (a aliasNames) Resolve(ctx context.Context, name dnsname.Name, t rdata.Type) ([]rdata.Record, error) {
	resolver := a.node.resolverOf(a.in)
	if resolver == nil { // a view without recursion
		resolver = a.node.resolver
	}
	got, err := resolver.Resolve(ctx, name, t, outbound.Options{})
	switch {
	case err != nil:
		return nil, err
	case got.Rcode != dnswire.RcodeNoError:
		problem := fmt.Sprintf("%s %s is answered %s", name, t, got.Rcode)
		for _, e := range got.Errors {
			problem += ": " + e.Text
		}
		return nil, errors.New(problem)
	case slices.ContainsFunc(got.Errors, func(e dnswire.ExtendedError) bool { return e.Code == dnswire.EDEStaleAnswer }):
		return nil, fmt.Errorf("%s %s: nobody answers", name, t)
	}
	return got.Answer, nil
}

// zoneChangedIn is zoneChanged for a zone of a view, or outside.
func (n *Node) zoneChangedIn(view string, name dnsname.Name) {
	if view == "" {
		n.zoneChanged(name)
		return
	}
	n.viewZoneChanged(view, name)
}

// republish compiles the snapshot again, because what is steered has changed.
func (n *Node) republish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.current.Load()
	if err := n.publish(now.Config, now.State); err != nil {
		n.log.Error("snapshot not compiled again", "error", err)
	}
}

// steers returns the steered names, those among them that are aliases of others
// included.
func (from before) steers(steered []state.Steer) []state.Steer {
	if from.aliased == nil {
		return steered
	}
	all := slices.Clip(steered)
	for _, a := range from.aliased.Steered() {
		if at := slices.IndexFunc(steered, func(s state.Steer) bool { return s.Name == a.Like }); at >= 0 {
			like := steered[at]
			if like.Name = a.Owner; like.Kind() != steer.HTTPS { // an ALIAS is about addresses
				like.Answer = steer.Addresses.String()
			}
			all = append(all, like)
		}
	}
	return all
}
