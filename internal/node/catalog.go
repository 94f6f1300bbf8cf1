package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/catalog"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file joins zones with catalogs (RFC 9432), both ways:
//
//	a catalog has a new version -> catalog.Parse -> catalog.Plan -> on disk
//	                            -> publish the configuration with the members as zones
//	zones of the configuration  -> makeCatalogs -> the versions of zones of kind catalog
//
// To everything else a member is a secondary zone of the configuration.

// catalogs is what is known of catalogs. Its fields are guarded by Node.mu.
type catalogs struct {
	file, full *config.Config // as read, and with the members; of the current snapshot
	listed     *memberPlan    // that full was made of

	read map[dnsname.Name]readCatalog // consumed, by their name
	plan *memberPlan                  // never nil after loadMembers, never changed
	made map[dnsname.Name]madeCatalog // of kind catalog
	wake chan struct{}                // a catalog has a new version

	unsaved bool // made is not on disk
}

// memberPlan says which zones are served for which catalogs.
type memberPlan struct {
	owned map[dnsname.Name]catalog.Owned
}

// readCatalog is the last version of a catalog that was not broken.
type readCatalog struct {
	zone    *zone.Zone // the last version looked at
	members []catalog.Member
	good    bool // members are of a version
}

// madeCatalog is a catalog that is made here.
type madeCatalog struct {
	Of     string       `json:"of"` // the members that it was made of, as text
	Serial rdata.Serial `json:"serial"`
	zone   *zone.Zone
}

// keptCatalogs is what is on disk of catalogs, so that a restart keeps members whose
// catalog cannot be read now, and serials.
type keptCatalogs struct {
	Members []keptMember                  `json:"members"`
	Made    map[dnsname.Name]*madeCatalog `json:"made"`
}

type keptMember struct {
	Zone    dnsname.Name `json:"zone"`
	Catalog dnsname.Name `json:"catalog"`
	Label   []byte       `json:"label"` // may have any octets
	Groups  []string     `json:"groups,omitempty"`
	Owner   dnsname.Name `json:"owner,omitzero"`
}

func catalogFile(data string) string { return filepath.Join(data, "catalogs.json") }

// loadMembers takes over what an earlier run knew.
func (n *Node) loadMembers(cfg *config.Config) {
	c := &n.catalogs
	c.plan, c.made, c.read = &memberPlan{owned: map[dnsname.Name]catalog.Owned{}}, map[dnsname.Name]madeCatalog{}, map[dnsname.Name]readCatalog{}
	c.wake = make(chan struct{}, 1)
	text, err := os.ReadFile(catalogFile(cfg.Data))
	var kept keptCatalogs
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			n.log.Warn("the members of catalogs are not known before the catalogs are", "file", catalogFile(cfg.Data), "error", err)
		}
		return
	}
	for _, m := range kept.Members {
		c.plan.owned[m.Zone] = catalog.Owned{Member: catalog.Member{Zone: m.Zone, Label: string(m.Label), Groups: m.Groups, Owner: m.Owner}, Catalog: m.Catalog}
	}
	for name, m := range kept.Made {
		if m != nil {
			c.made[name] = *m
		}
	}
}

// saveMembers keeps the plan and the serials over a restart.
func (n *Node) saveMembers() {
	c := &n.catalogs
	kept := keptCatalogs{Made: map[dnsname.Name]*madeCatalog{}}
	for _, o := range c.plan.owned {
		kept.Members = append(kept.Members, keptMember{o.Zone, o.Catalog, []byte(o.Label), o.Groups, o.Owner})
	}
	slices.SortFunc(kept.Members, func(a, b keptMember) int { return a.Zone.Compare(b.Zone) })
	for name, m := range c.made {
		kept.Made[name] = &m
	}
	text, err := json.Marshal(kept)
	if err == nil {
		err = replaceDurably(catalogFile(n.data()), text)
	}
	if err != nil {
		n.log.Warn("the members of catalogs are not kept on disk; after a restart they are known when the catalogs are", "error", err)
	}
	c.unsaved = false
}

// replaceDurably puts a file in the place of another, at once or not at all, and waits
// for the disk.
func replaceDurably(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// withoutMembers returns the configuration as it was read, of one that is in force.
func (c *catalogs) withoutMembers(cfg *config.Config) *config.Config {
	if cfg == c.full {
		return c.file
	}
	return cfg
}

// withMembers returns a configuration with the members of its catalogs as zones. A
// zone that it defines itself counts for more.
func (c *catalogs) withMembers(file *config.Config) *config.Config {
	if len(c.plan.owned) == 0 {
		return file
	}
	if file == c.file && c.listed == c.plan {
		return c.full
	}
	defined := map[dnsname.Name]*config.Zone{}
	for i := range file.Zones {
		defined[file.Zones[i].Name] = &file.Zones[i]
	}
	full := *file
	full.Zones = slices.Clip(file.Zones)
	for _, name := range slices.SortedFunc(maps.Keys(c.plan.owned), dnsname.Name.Compare) {
		o := c.plan.owned[name]
		from := defined[o.Catalog]
		if from == nil || defined[name] != nil {
			continue
		}
		if t := templateFor(from, o.Groups); t != nil {
			full.Zones = append(full.Zones, from.Member(name, *t))
		}
	}
	c.listed = c.plan
	return &full
}

// templateFor returns the template for a member with groups; nil if there is none.
func templateFor(c *config.Zone, groups []string) *config.MemberTemplate {
	var other *config.MemberTemplate
	for i := range c.Catalog.Templates {
		t := &c.Catalog.Templates[i]
		switch {
		case t.Group == "":
			other = t
		case slices.Contains(groups, t.Group):
			return t
		}
	}
	return other
}

// catalogChanged has the members looked at again, if a zone is a catalog.
func (n *Node) catalogChanged(c *config.Zone) {
	if len(c.Catalog.Templates) == 0 {
		return
	}
	select {
	case n.catalogs.wake <- struct{}{}:
	default: // it will be
	}
}

// followCatalogs looks at catalogs when they have changed. It ends with ctx.
func (n *Node) followCatalogs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.catalogs.wake:
		}
		n.mu.Lock()
		n.planCatalogs()
		n.mu.Unlock()
	}
}

// planCatalogs serves the zones that catalogs list now. n.mu is held, or nobody else
// has n yet.
func (n *Node) planCatalogs() {
	c := &n.catalogs
	defined := map[dnsname.Name]bool{}
	for i := range c.file.Zones {
		defined[c.file.Zones[i].Name] = true
	}
	sources := n.readCatalogs()
	owned, clashes := catalog.Plan(sources, func(name dnsname.Name) bool { return defined[name] }, c.plan.owned)
	n.reportMembers(sources, owned, clashes)
	gone, begun := 0, maps.Clone(owned) // what is reset is not served for a moment
	var aside []dnsname.Name
	for name, old := range c.plan.owned {
		now, there := owned[name]
		if there && !catalog.IsReset(old, now) {
			continue
		}
		delete(begun, name)
		if gone++; !defined[name] {
			aside = append(aside, name)
		}
	}
	if gone == 0 && maps.EqualFunc(owned, c.plan.owned, sameMember) {
		if c.unsaved {
			n.saveMembers()
		}
		return
	}
	n.log.Info("members of catalogs changed", "members", len(owned), "gone_or_reset", gone)
	if gone > 0 {
		n.serveMembers(begun)
		for _, name := range aside {
			if err := n.secondaries.SetAside(name); err != nil {
				n.log.Warn("the copy of a zone that no catalog lists any more is not set aside", "zone", name.String(), "error", err)
			}
		}
	}
	if len(begun) != len(owned) || gone == 0 {
		n.serveMembers(owned)
	}
	n.saveMembers()
}

func sameMember(a, b catalog.Owned) bool {
	return a.Zone == b.Zone && a.Label == b.Label && a.Owner == b.Owner && a.Catalog == b.Catalog && slices.Equal(a.Groups, b.Groups)
}

// serveMembers publishes the configuration with other members.
func (n *Node) serveMembers(owned map[dnsname.Name]catalog.Owned) {
	n.catalogs.plan = &memberPlan{owned}
	if err := n.publish(n.catalogs.file, n.current.Load().State); err != nil {
		n.log.Warn("members of catalogs are served as before", "error", err) // a key file is gone; the next reload says so
	}
}

// readCatalogs reads the versions of catalogs that there are now. What is broken
// stays as it was (RFC 9432 §5.1).
func (n *Node) readCatalogs() []catalog.Source {
	c, s := &n.catalogs, n.current.Load()
	var sources []catalog.Source
	var names []string
	read := map[dnsname.Name]readCatalog{}
	for i := range c.file.Zones {
		z := &c.file.Zones[i]
		if len(z.Catalog.Templates) == 0 {
			continue
		}
		names = append(names, z.Name.String())
		r := c.read[z.Name]
		if served := s.apexes.Get(z.Name).served.Zone; served != nil {
			members, err := catalog.Parse(served, z.Catalog.MaxMembers)
			text := ""
			if err != nil {
				text = fmt.Sprintf("catalog %s, serial %d: %v", z.Name, served.Serial(), err)
			} else if r.zone != served {
				r = readCatalog{served, members, true}
			} else {
				r.members = members // another limit
			}
			n.problem(catalogBroken, z.Name.String(), text)
		}
		read[z.Name] = r
		sources = append(sources, catalog.Source{Name: z.Name, Members: r.members, Unread: !r.good, Within: z.Catalog.Within})
	}
	c.read = read
	n.problems.keep(catalogBroken, names)
	n.problems.keep(memberRefused, names)
	return sources
}

// reportMembers sets the problems of members that are not served.
func (n *Node) reportMembers(sources []catalog.Source, owned map[dnsname.Name]catalog.Owned, clashes []catalog.Clash) {
	refused := map[dnsname.Name][]string{}
	for _, x := range clashes {
		refused[x.Catalog] = append(refused[x.Catalog], fmt.Sprintf("%s is not served: %s", x.Zone, x.Why))
	}
	templates := map[dnsname.Name]*config.Zone{}
	for i := range n.catalogs.file.Zones {
		z := &n.catalogs.file.Zones[i]
		templates[z.Name] = z
	}
	for _, source := range sources {
		for _, m := range source.Members {
			if o := owned[m.Zone]; o.Catalog == source.Name && templateFor(templates[source.Name], o.Groups) == nil {
				refused[source.Name] = append(refused[source.Name], fmt.Sprintf("%s is not served: no template is for its groups %q; add one without a group", m.Zone, o.Groups))
			}
		}
		text := ""
		if list := refused[source.Name]; len(list) > 0 {
			text = fmt.Sprintf("catalog %s: %s", source.Name, list[0])
			if len(list) > 1 {
				text += fmt.Sprintf("; and %d more", len(list)-1)
			}
		}
		n.problem(memberRefused, source.Name.String(), text)
	}
}

// makeCatalogs makes the catalogs of kind catalog that are not what they should be.
func (n *Node) makeCatalogs(file *config.Config) {
	members := map[dnsname.Name][]catalog.Member{}
	for i := range file.Zones {
		z := &file.Zones[i]
		if !z.CatalogMember.IsZero() {
			m := catalog.Member{Zone: z.Name, Owner: z.CatalogOwner}
			if z.CatalogGroup != "" {
				m.Groups = []string{z.CatalogGroup}
			}
			members[z.CatalogMember] = append(members[z.CatalogMember], m)
		}
	}
	made := map[dnsname.Name]madeCatalog{}
	for i := range file.Zones {
		if z := &file.Zones[i]; z.Kind == "catalog" {
			made[z.Name] = makeCatalog(z.Name, members[z.Name], n.catalogs.made[z.Name], time.Now())
		}
	}
	if !maps.EqualFunc(made, n.catalogs.made, func(a, b madeCatalog) bool { return a.Serial == b.Serial && a.Of == b.Of }) {
		n.catalogs.unsaved = true
	}
	n.catalogs.made = made
}

// makeCatalog makes a catalog with members, unless old is that already. Its serial is
// the time, so that it goes forward even if what was kept of it is lost.
func makeCatalog(name dnsname.Name, members []catalog.Member, old madeCatalog, now time.Time) madeCatalog {
	slices.SortFunc(members, func(a, b catalog.Member) int { return a.Zone.Compare(b.Zone) })
	var of strings.Builder
	for _, m := range members {
		fmt.Fprintf(&of, "%s %q %s\n", m.Zone, m.Groups, m.Owner)
	}
	if old.Of == of.String() && old.zone != nil {
		return old
	}
	serial := old.Serial
	if old.Of != of.String() || serial == 0 {
		serial = update.NextSerial(update.Unixtime, old.Serial, now)
	}
	z, _ := zone.Build(name, catalog.Records(name, serial, members)) // the configuration has checked the name
	return madeCatalog{Of: of.String(), Serial: serial, zone: z}
}

// version is the keeper of the zones of kind catalog.
func (c *catalogs) version(name dnsname.Name) journal.Version {
	return journal.Version{Zone: c.made[name].zone}
}
