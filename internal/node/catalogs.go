package node

import (
	"context"
	"path/filepath"

	"pharos/internal/admin/config"
	"pharos/internal/authority/catalog"
	"pharos/internal/authority/catalogs"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
)

// This file joins zones with catalogs (RFC 9432):
//
//	a catalog has a new version -> followCatalogs -> catalogs.Keeper.Look
//	    -> publish: the configuration with the members as zones
//	zones of the configuration  -> catalogs.Keeper.Make -> zones of kind catalog

// catalogued is what the node has of catalogs.
type catalogued struct {
	catalogs        *catalogs.Keeper // guarded by Node.mu
	listed          listing          // guarded by Node.mu
	catalogsChanged chan struct{}    // one of them has a new version; never closed
}

// listing is the configuration as it is read, and as it is in force: with the members
// of catalogs as zones. It is that of the current snapshot.
type listing struct {
	file, full *config.Config
	members    *catalogs.Members // in full
}

// of returns the listing of a configuration, which may be the one in force.
func (l listing) of(cfg *config.Config, m *catalogs.Members) listing {
	if cfg == l.full {
		cfg = l.file
	}
	if cfg == l.file && l.members == m {
		return l
	}
	listed := make([]config.Listed, len(m.All))
	for i, o := range m.All {
		listed[i] = config.Listed{Zone: o.Zone, Catalog: o.Catalog, Groups: o.Groups}
	}
	return listing{cfg, cfg.WithMembers(listed), m}
}

// openCatalogs makes the keeper of catalogs.
func (n *Node) openCatalogs(data string) {
	n.catalogsChanged = make(chan struct{}, 1)
	n.catalogs = catalogs.Open(catalogs.Config{
		File:     filepath.Join(data, "catalogs.json"),
		Publish:  func() error { return n.publish(n.listed.file, n.current.Load().State) },
		SetAside: func(name dnsname.Name) error { return n.secondaries.SetAside(name) },
		Broken:   func(name dnsname.Name, text string) { n.problem(catalogBroken, name.String(), text) },
		Refused:  func(name dnsname.Name, text string) { n.problem(memberRefused, name.String(), text) },
		Log:      n.log,
	})
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
	s, file := n.current.Load(), n.listed.file
	defined := map[dnsname.Name]bool{}
	var consumed []catalogs.Catalog
	var names []string
	for i := range file.Zones {
		z := &file.Zones[i]
		defined[z.Name] = true
		if len(z.Catalog.Templates) == 0 {
			continue
		}
		names = append(names, z.Name.String())
		consumed = append(consumed, catalogs.Catalog{
			Name: z.Name, Zone: s.apexes.Get(z.Name).served.Zone, Within: z.Catalog.Within, MaxMembers: z.Catalog.MaxMembers,
			Serves: func(groups []string) bool { return z.TemplateFor(groups) != nil },
		})
	}
	n.problems.keep(catalogBroken, names)
	n.problems.keep(memberRefused, names)
	n.catalogs.Look(consumed, func(name dnsname.Name) bool { return defined[name] })
}

// makeCatalogs makes the catalogs of kind catalog that are not what they should be.
func (n *Node) makeCatalogs(file *config.Config) {
	members := map[dnsname.Name][]catalog.Member{}
	for i := range file.Zones {
		z := &file.Zones[i]
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
	n.catalogs.Make(members, clock.Now())
}
