// Package catalogs keeps what catalogs say (RFC 9432), both ways and over restarts:
//
//	versions of catalogs      -> Look: catalog.Parse -> catalog.Plan -> Members
//	                             -> Config.Publish -> on disk
//	zones that are in catalogs -> Make -> Version
//
// It decides in which order zones go and come, and what stays while a catalog is
// broken or cannot be had. How a member is served is the configuration's business; to
// everything else it is a secondary zone.
//
// Entry points: Open; Keeper.Look, Members; Keeper.Make, Version.
//
// Concurrency: a Keeper belongs to one goroutine at a time.
package catalogs

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"pharos/internal/authority/catalog"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Config is what a Keeper is made from.
type Config struct {
	File string // what is kept across restarts

	// Publish serves the zones of Keeper.Members, and no others for catalogs.
	Publish func() error
	// SetAside puts away the copy of a zone that no catalog lists any more.
	SetAside func(zone dnsname.Name) error
	// Broken is told why a catalog says nothing, and Refused which of its members are
	// not served; nothing if all is well.
	Broken, Refused func(catalog dnsname.Name, text string)

	Log *slog.Logger
}

// Keeper has the members of all catalogs that are consumed, and the catalogs that are
// made here.
type Keeper struct {
	config  Config
	read    map[dnsname.Name]reading // consumed, by their name
	members *Members                 // never nil, never changed
	made    map[dnsname.Name]made
	unsaved bool // made is not on disk
}

// Members are the zones that are served for catalogs.
type Members struct {
	All   []catalog.Owned // by the names of the zones
	owned map[dnsname.Name]catalog.Owned
}

func newMembers(owned map[dnsname.Name]catalog.Owned) *Members {
	m := &Members{owned: owned}
	for _, name := range slices.SortedFunc(maps.Keys(owned), dnsname.Name.Compare) {
		m.All = append(m.All, owned[name])
	}
	return m
}

// reading is the last version of a catalog that was not broken.
type reading struct {
	zone    *zone.Zone
	members []catalog.Member
	good    bool // there was one
}

// Open returns a Keeper that knows what an earlier one has kept.
func Open(c Config) *Keeper {
	k := &Keeper{config: c, read: map[dnsname.Name]reading{}, members: newMembers(map[dnsname.Name]catalog.Owned{}), made: map[dnsname.Name]made{}}
	k.load()
	return k
}

// Members returns what is to be served, which is the same value until it is others.
func (k *Keeper) Members() *Members { return k.members }

// Catalog is a catalog that is consumed.
type Catalog struct {
	Name       dnsname.Name
	Zone       *zone.Zone     // as it is served now; nil if it is not
	Within     []dnsname.Name // as catalog.Source
	MaxMembers int            // with more it is broken
	// Serves reports whether it is said how a member with such groups is served.
	Serves func(groups []string) bool
}

// Look publishes the zones that catalogs list now. isDefined reports whether a zone is
// there whatever catalogs say.
func (k *Keeper) Look(catalogs []Catalog, isDefined func(dnsname.Name) bool) {
	sources, before := k.parse(catalogs), k.members.owned
	owned, clashes := catalog.Plan(sources, isDefined, before)
	k.report(catalogs, sources, owned, clashes)
	gone, begun := 0, maps.Clone(owned) // what is reset is not served for a moment
	var aside []dnsname.Name
	for name, old := range before {
		now, there := owned[name]
		if there && !catalog.IsReset(old, now) {
			continue
		}
		delete(begun, name)
		if gone++; !isDefined(name) {
			aside = append(aside, name)
		}
	}
	if gone == 0 && maps.EqualFunc(owned, before, isSame) {
		if k.unsaved {
			k.save()
		}
		return
	}
	k.config.Log.Info("members of catalogs changed", "members", len(owned), "gone_or_reset", gone)
	if gone > 0 {
		k.publish(begun)
		for _, name := range aside {
			if err := k.config.SetAside(name); err != nil {
				k.config.Log.Warn("the copy of a zone that no catalog lists any more is not set aside", "zone", name.String(), "error", err)
			}
		}
	}
	if len(begun) != len(owned) || gone == 0 {
		k.publish(owned)
	}
	k.save()
}

func isSame(a, b catalog.Owned) bool {
	return a.Zone == b.Zone && a.Label == b.Label && a.Owner == b.Owner && a.Catalog == b.Catalog && slices.Equal(a.Groups, b.Groups)
}

func (k *Keeper) publish(owned map[dnsname.Name]catalog.Owned) {
	k.members = newMembers(owned)
	if err := k.config.Publish(); err != nil {
		k.config.Log.Warn("members of catalogs are served as before", "error", err) // a key file is gone; the next reload says so
	}
}

// parse reads the versions of catalogs that there are now. What is broken stays as it
// was (RFC 9432 §5.1).
func (k *Keeper) parse(catalogs []Catalog) []catalog.Source {
	var sources []catalog.Source
	read := map[dnsname.Name]reading{}
	for _, c := range catalogs {
		r := k.read[c.Name]
		if c.Zone != nil {
			members, err := catalog.Parse(c.Zone, c.MaxMembers)
			text := ""
			if err != nil {
				text = fmt.Sprintf("catalog %s, serial %d: %v", c.Name, c.Zone.Serial(), err)
			} else if r.zone != c.Zone {
				r = reading{c.Zone, members, true}
			} else {
				r.members = members // another limit
			}
			k.config.Broken(c.Name, text)
		}
		read[c.Name] = r
		sources = append(sources, catalog.Source{Name: c.Name, Members: r.members, Unread: !r.good, Within: c.Within})
	}
	k.read = read
	return sources
}

// report says which members are not served.
func (k *Keeper) report(catalogs []Catalog, sources []catalog.Source, owned map[dnsname.Name]catalog.Owned, clashes []catalog.Clash) {
	refused := map[dnsname.Name][]string{}
	for _, x := range clashes {
		refused[x.Catalog] = append(refused[x.Catalog], fmt.Sprintf("%s is not served: %s", x.Zone, x.Why))
	}
	for i, source := range sources {
		for _, m := range source.Members {
			if o := owned[m.Zone]; o.Catalog == source.Name && !catalogs[i].Serves(o.Groups) {
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
		k.config.Refused(source.Name, text)
	}
}

// made is a catalog that is made here.
type made struct {
	Of     string       `json:"of"` // the members that it was made of, as text
	Serial rdata.Serial `json:"serial"`
	zone   *zone.Zone
}

// Make makes the catalogs that are not what they should be, by their members, and
// forgets others. What is new of it is kept with the next Look.
func (k *Keeper) Make(catalogs map[dnsname.Name][]catalog.Member, now time.Time) {
	all := map[dnsname.Name]made{}
	for name, members := range catalogs {
		all[name] = makeOne(name, members, k.made[name], now)
	}
	if !maps.EqualFunc(all, k.made, func(a, b made) bool { return a.Serial == b.Serial && a.Of == b.Of }) {
		k.unsaved = true
	}
	k.made = all
}

// makeOne makes a catalog with members, unless old is that already. Its serial is the
// time, so that it goes forward even if what was kept of it is lost.
func makeOne(name dnsname.Name, members []catalog.Member, old made, now time.Time) made {
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
	return made{Of: of.String(), Serial: serial, zone: z}
}

// Version returns a catalog that is made here.
func (k *Keeper) Version(name dnsname.Name) journal.Version {
	return journal.Version{Zone: k.made[name].zone}
}
