package node

import (
	"context"
	"maps"
	"path/filepath"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/catalog"
	"pharos/internal/authority/catalogs"
	"pharos/internal/authority/journal"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
)

// This file joins zones with catalogs (RFC 9432):
//
//	a catalog has a new version -> followCatalogs -> catalogs.Keeper.Look
//	    -> publish: the configuration with the members as zones
//	zones of the configuration  -> catalogs.Keeper.Make -> zones of kind catalog

// Those of a view list zones of the view, and have their members served in it: there is
// a Keeper for each view that has catalogs, and one for outside of views.

// catalogued is what the node has of catalogs.
type catalogued struct {
	catalogs        map[string]*catalogs.Keeper // by the name of the view, "" outside; guarded by Node.mu
	listed          listing                     // guarded by Node.mu
	catalogsChanged chan struct{}               // one of them has a new version; never closed
}

// listing is the configuration as it is read, and as it is in force: with the members
// of catalogs as zones. It is that of the current snapshot.
type listing struct {
	file, full *config.Config
	members    map[string]*catalogs.Members // in full, by view
}

// listingOf returns the listing of a configuration, which may be the one in force.
func (n *Node) listingOf(cfg *config.Config) listing {
	l := n.listed
	if cfg == l.full {
		cfg = l.file
	}
	n.openCatalogs(cfg)
	members := map[string]*catalogs.Members{}
	for view, k := range n.catalogs {
		members[view] = k.Members()
	}
	if cfg == l.file && maps.Equal(l.members, members) {
		return l
	}
	zones := map[string][]config.Listed{}
	for view, m := range members {
		for _, o := range m.All {
			zones[view] = append(zones[view], config.Listed{Zone: o.Zone, Catalog: o.Catalog, Groups: o.Groups})
		}
	}
	return listing{cfg, cfg.WithMembers(zones), members}
}

// openCatalogs makes the keepers that a configuration needs, and forgets those of views
// that are gone or have no catalogs any more.
func (n *Node) openCatalogs(cfg *config.Config) {
	if n.catalogs == nil {
		n.catalogsChanged = make(chan struct{}, 1)
		n.catalogs = map[string]*catalogs.Keeper{"": n.openCatalogsOf(cfg.Data, "")}
	}
	wanted := map[string]bool{"": true}
	for _, v := range cfg.Views {
		if wanted[v.Name] = config.HasCatalogs(v.Zones); wanted[v.Name] && n.catalogs[v.Name] == nil {
			n.catalogs[v.Name] = n.openCatalogsOf(cfg.Data, v.Name)
		}
	}
	maps.DeleteFunc(n.catalogs, func(view string, _ *catalogs.Keeper) bool { return !wanted[view] })
}

// openCatalogsOf makes the keeper of the catalogs of a view.
func (n *Node) openCatalogsOf(data, view string) *catalogs.Keeper {
	return catalogs.Open(catalogs.Config{
		File:    filepath.Join(folderOf(data, view), "catalogs.json"),
		Publish: func() error { return n.publish(n.listed.file, n.current.Load().State) },
		SetAside: func(name dnsname.Name) error {
			if in := n.current.Load().orView(view); in != nil {
				return n.secondariesOf(in).SetAside(name)
			}
			return nil
		},
		Broken:  func(name dnsname.Name, text string) { n.problem(problems.CatalogBroken, versions.ID(view, name), text) },
		Refused: func(name dnsname.Name, text string) { n.problem(problems.MemberRefused, versions.ID(view, name), text) },
		Log:     n.log,
	})
}

// orView returns the snapshot of a view, s itself for those outside, nil if there is no
// such view.
func (s *Snapshot) orView(view string) *Snapshot {
	if view == "" {
		return s
	}
	return s.viewOf(view)
}

// catalogVersions is the keeper of the zones of kind catalog of a view. n.mu is held.
func (n *Node) catalogVersions(view string) func(dnsname.Name) journal.Version {
	return func(name dnsname.Name) journal.Version {
		if k := n.catalogs[view]; k != nil {
			return k.Version(name)
		}
		return journal.Version{}
	}
}

// catalogChanged has the members looked at again, if a zone is a catalog.
func (n *Node) catalogChanged(c *config.Zone) {
	if len(c.Catalog.Templates) == 0 {
		return
	}
	select {
	case n.catalogsChanged <- struct{}{}:
	default: // it will be
	}
}

// followCatalogs looks at catalogs when they have changed. It ends with ctx.
func (n *Node) followCatalogs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.catalogsChanged:
		}
		n.mu.Lock()
		n.lookAtCatalogs()
		n.mu.Unlock()
	}
}

// lookAtCatalogs serves the zones that catalogs list now. n.mu is held, or nobody else
// has n yet.
func (n *Node) lookAtCatalogs() {
	var ids []string
	eachZones(n.listed.file, func(view string, zones []config.Zone) {
		for i := range zones {
			if len(zones[i].Catalog.Templates) > 0 {
				ids = append(ids, versions.ID(view, zones[i].Name))
			}
		}
	})
	n.problems.Keep(problems.CatalogBroken, ids)
	n.problems.Keep(problems.MemberRefused, ids)
	eachZones(n.listed.file, n.lookAtCatalogsOf)
}

// lookAtCatalogsOf is lookAtCatalogs for those of one view.
func (n *Node) lookAtCatalogsOf(view string, zones []config.Zone) {
	in, keeper := n.current.Load().orView(view), n.catalogs[view]
	if in == nil || keeper == nil {
		return
	}
	var consumed []catalogs.Catalog
	for i := range zones {
		z := &zones[i]
		if len(z.Catalog.Templates) == 0 {
			continue
		}
		consumed = append(consumed, catalogs.Catalog{
			Name: z.Name, Zone: in.apexes.Get(z.Name).served.Zone, Within: z.Catalog.Within, MaxMembers: z.Catalog.MaxMembers,
			Serves: func(groups []string) bool { return z.TemplateFor(groups) != nil },
		})
	}
	keeper.Look(consumed, func(name dnsname.Name) bool { // a zone that no catalog lists
		a := in.apexes.Get(name)
		return a != nil && a.config.ListedBy.IsZero()
	})
}

// eachZones calls do for the zones outside of views, and for those of each view.
func eachZones(cfg *config.Config, do func(view string, zones []config.Zone)) {
	do("", cfg.Zones)
	for _, v := range cfg.Views {
		do(v.Name, v.Zones)
	}
}

// makeCatalogs makes the catalogs of kind catalog that are not what they should be.
func (n *Node) makeCatalogs(file *config.Config) {
	eachZones(file, func(view string, zones []config.Zone) {
		keeper := n.catalogs[view]
		if keeper == nil {
			return
		}
		members := map[dnsname.Name][]catalog.Member{}
		for i := range zones {
			z := &zones[i]
			if z.Kind == "catalog" && members[z.Name] == nil {
				members[z.Name] = []catalog.Member{} // it is made also without any
			}
			if !z.CatalogMember.IsZero() {
				m := catalog.Member{Zone: z.Name, Owner: z.CatalogOwner}
				if z.CatalogGroup != "" {
					m.Groups = []string{z.CatalogGroup}
				}
				members[z.CatalogMember] = append(members[z.CatalogMember], m)
			}
		}
		keeper.Make(members, clock.Now())
	})
}
