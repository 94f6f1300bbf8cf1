package catalog

import (
	"fmt"
	"slices"

	"pharos/internal/dns/dnsname"
)

// Source is a catalog as it is consumed.
type Source struct {
	Name dnsname.Name
	// Members are those of its last version that was not broken. Unread means that
	// there has been none since the start: then it keeps what it had.
	Members []Member
	Unread  bool
	// Within are the names at or below which it may list zones; none: all but the
	// root, which has to be named.
	Within []dnsname.Name
}

// Owned is a zone that is served because a catalog lists it.
type Owned struct {
	Member
	Catalog dnsname.Name
}

// Clash is why a member is not served for a catalog that lists it.
type Clash struct {
	Catalog, Zone dnsname.Name
	Why           string
}

// Plan says whose each zone is. taken reports whether the configuration defines a
// zone itself: that counts for more (RFC 9432 §5.2). before is what was served until
// now: a zone stays with its catalog while that lists it, unless it has agreed to a
// change of ownership (§4.4.1, §5.3); a new one goes to the first catalog that lists it.
func Plan(catalogs []Source, taken func(dnsname.Name) bool, before map[dnsname.Name]Owned) (now map[dnsname.Name]Owned, clashes []Clash) {
	for i, c := range catalogs {
		if c.Unread {
			catalogs = slices.Clone(catalogs)
			catalogs[i].Members = ownedBy(c.Name, before)
		}
	}
	now = map[dnsname.Name]Owned{}
	for _, c := range catalogs { // who keeps what it has
		for _, m := range c.Members {
			if old, there := before[m.Zone]; there && old.Catalog == c.Name && c.refusal(m, taken) == "" {
				now[m.Zone] = Owned{m, c.Name}
			}
		}
	}
	for _, c := range catalogs { // who takes over, and what is new
		for _, m := range c.Members {
			owner, owned := now[m.Zone]
			switch why := c.refusal(m, taken); {
			case why != "":
				clashes = append(clashes, Clash{c.Name, m.Zone, why})
			case !owned || owner.Owner == c.Name && owner.Catalog != c.Name:
				now[m.Zone] = Owned{m, c.Name}
			case owner.Catalog != c.Name && m.Owner != owner.Catalog: // that one was given it
				clashes = append(clashes, Clash{c.Name, m.Zone, fmt.Sprintf("it belongs to catalog %s, which has not given it away", owner.Catalog)})
			}
		}
	}
	return now, clashes
}

// ownedBy returns what was served for a catalog, in order.
func ownedBy(catalog dnsname.Name, before map[dnsname.Name]Owned) []Member {
	var members []Member
	for _, o := range before {
		if o.Catalog == catalog {
			members = append(members, o.Member)
		}
	}
	slices.SortFunc(members, func(a, b Member) int { return a.Zone.Compare(b.Zone) })
	return members
}

// refusal says why a zone is not served whatever other catalogs say; "" if it may be.
func (c *Source) refusal(m Member, taken func(dnsname.Name) bool) string {
	switch {
	case taken(m.Zone):
		return "the configuration defines this zone itself"
	case len(c.Within) == 0 && m.Zone.IsRoot():
		return "a catalog may list the root only if the key within says so"
	case len(c.Within) > 0 && !slices.ContainsFunc(c.Within, m.Zone.IsSubdomainOf):
		return "it is outside of what the key within allows the catalog"
	}
	return ""
}

// IsReset reports whether a zone has to be begun anew: RFC 9432 §5.4: its label has
// changed, also when it went to another catalog (§4.4.1).
func IsReset(old, now Owned) bool { return old.Label != now.Label }
