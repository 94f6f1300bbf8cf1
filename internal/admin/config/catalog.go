package config

import (
	"fmt"
	"slices"

	"pharos/internal/dns/dnsname"
)

// Catalog says how the members of a catalog are served. A zone that the
// configuration defines itself counts for more than a member of that name; of two
// catalogs that list a zone, the one that had it first keeps it, unless it gives it
// away.
type Catalog struct {
	// Templates say how members are served, by their group: the first whose group a
	// member has, otherwise the one without a group. Without any, the zone is served
	// as every other, and its members are not.
	Templates []MemberTemplate `json:"templates,omitzero" max:"1000"`
	// MaxMembers is how many members are served at the most. A catalog with more is
	// refused, and the members it had before stay.
	MaxMembers int `json:"maxMembers" default:"100000" min:"1" max:"10000000" example:"1000"`
	// Within are names: only zones at or below them are served. Left out: all but the
	// root zone.
	Within []dnsname.Name `json:"within,omitzero" max:"1000" example:"customers.example"`
}

// MemberTemplate says how members of a catalog are served.
type MemberTemplate struct {
	// Group is the group of the members that it is for. Left out: those that no other
	// template is for.
	Group string `json:"group,omitzero" example:"signed"`
	// Primaries are the servers that the members are transferred from. Left out: those
	// of the catalog.
	Primaries []Peer `json:"primaries,omitzero" max:"16"`
	// Transfer are the servers that may have the members.
	Transfer []TransferRule `json:"transfer,omitzero" max:"1000"`
	// Query are those who may ask about names in the members; everybody if there are
	// none.
	Query []TransferRule `json:"query,omitzero" max:"1000"`
	// Notify are the servers that are told when a member has changed.
	Notify []Peer `json:"notify,omitzero" max:"256"`
	// ForwardUpdates sends signed updates of members on to their primaries (RFC 2136 §6).
	ForwardUpdates bool `json:"forwardUpdates,omitzero" example:"true"`
	// Gate is what a version of a member has to pass before it is served.
	Gate Gate `json:"gate,omitzero"`
}

// TemplateFor returns how a member with groups is served; nil if nothing says it.
func (z *Zone) TemplateFor(groups []string) *MemberTemplate {
	var other *MemberTemplate
	for i := range z.Catalog.Templates {
		t := &z.Catalog.Templates[i]
		switch {
		case t.Group == "":
			other = t
		case slices.Contains(groups, t.Group):
			return t
		}
	}
	return other
}

// Listed is a zone that a catalog lists.
type Listed struct {
	Zone, Catalog dnsname.Name
	Groups        []string
}

// WithMembers returns the configuration with the members of its catalogs as zones, by the
// view that the catalogs are in; "" has those outside of views. A zone that it defines
// itself counts for more.
func (c *Config) WithMembers(members map[string][]Listed) *Config {
	if len(members) == 0 {
		return c
	}
	full := *c
	full.Zones = withMembers(c.Zones, members[""])
	full.Views = slices.Clone(c.Views)
	for i := range full.Views {
		v := &full.Views[i]
		v.Zones = withMembers(v.Zones, members[v.Name])
	}
	return &full
}

// withMembers returns zones with those that catalogs among them list.
func withMembers(zones []Zone, members []Listed) []Zone {
	if len(members) == 0 {
		return zones
	}
	defined := map[dnsname.Name]*Zone{}
	for i := range zones {
		defined[zones[i].Name] = &zones[i]
	}
	full := slices.Clip(zones)
	alike := map[*MemberTemplate]Zone{}
	for _, m := range members {
		from := defined[m.Catalog]
		if from == nil || defined[m.Zone] != nil {
			continue
		}
		if t := from.TemplateFor(m.Groups); t != nil {
			z, ok := alike[t]
			if !ok {
				z = from.Member(m.Zone, *t)
				alike[t] = z
			}
			z.Name = m.Zone // of a million members, all have one ZoneRules
			full = append(full, z)
		}
	}
	return full
}

// HasCatalogs reports whether one of zones is a catalog, made here or looked at.
func HasCatalogs(zones []Zone) bool {
	return slices.ContainsFunc(zones, func(z Zone) bool { return z.Kind == "catalog" || len(z.Catalog.Templates) > 0 })
}

// maxCatalogName is how many octets the name of a catalog may have in wire form that
// is made here: members' names have labels of 32, 5 and 5 octets before it.
const maxCatalogName = dnsname.MaxLen - 33 - 6 - 6

// checkCatalog checks what a zone has to do with catalogs.
func (c *Config) checkCatalog(to *checker, path string, z Zone) {
	if len(z.Catalog.Templates) > 0 && z.Kind == "catalog" {
		to.fail(path+".catalog", "a zone of kind catalog is made here, of zones that are here already", "remove it, or make the zone kind: secondary")
	}
	if z.Kind == "catalog" && z.Name.Len() > maxCatalogName {
		to.fail(path+".name", fmt.Sprintf("%d octets leave no room for the names of members below it", z.Name.Len()), fmt.Sprintf("choose a name of at most %d", maxCatalogName))
	}
	groups := map[string]int{}
	for i, t := range z.Catalog.Templates {
		at := fmt.Sprintf("%s.catalog.templates[%d]", path, i)
		if j, twice := groups[t.Group]; twice {
			to.fail(at, fmt.Sprintf("group %q is already that of templates[%d]", t.Group, j), "remove one of them")
		}
		groups[t.Group] = i
		c.checkZone(to, at, z.Member(z.Name, t))
	}
	if z.CatalogMember.IsZero() && (z.CatalogGroup != "" || !z.CatalogOwner.IsZero()) {
		to.fail(path, "catalogGroup and catalogOwner are said by a catalog, but none lists the zone", "add catalogMember, the name of a zone of kind catalog")
	}
}

// checkMembership checks that the catalogs that are to list zones exist, beside them.
func checkMembership(to *checker, path string, zones []Zone) {
	catalogs := map[dnsname.Name]bool{}
	for _, z := range zones {
		catalogs[z.Name] = catalogs[z.Name] || z.Kind == "catalog"
	}
	for i, z := range zones {
		if !z.CatalogMember.IsZero() && !catalogs[z.CatalogMember] {
			to.fail(fmt.Sprintf("%s[%d].catalogMember", path, i), fmt.Sprintf("there is no zone %s of kind catalog", z.CatalogMember), fmt.Sprintf("add it under %s: {name: %s, kind: catalog}", path, z.CatalogMember))
		}
	}
}

// Member returns the zone that a member of the catalog z is by a template of it.
func (z *Zone) Member(name dnsname.Name, t MemberTemplate) Zone {
	rules := &ZoneRules{Primaries: t.Primaries, Transfer: t.Transfer, Query: t.Query, Notify: t.Notify, Gate: t.Gate, ForwardUpdates: t.ForwardUpdates}
	m := Zone{Name: name, Kind: "secondary", ZoneRules: rules, ListedBy: z.Name}
	if len(m.Primaries) == 0 {
		m.Primaries = z.Primaries
	}
	return m
}
