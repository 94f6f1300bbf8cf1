// Package catalog reads and writes catalog zones: zones whose records say which zones
// a server is to have (RFC 9432), and decides what becomes of those that several say
// something about.
//
//	version.CATALOG              TXT "2"
//	LABEL.zones.CATALOG          PTR member zone
//	group.LABEL.zones.CATALOG    TXT how it is to be configured
//	coo.LABEL.zones.CATALOG      PTR catalog that may take it over
//
// It owns the form of a catalog (Parse, Records) and whose a member is (Plan). It does
// not own how members are served, nor where the catalog comes from (package node).
//
// A catalog that is broken anywhere says nothing at all: the list before it stays
// (RFC 9432 §5.1).
//
// Entry points: Parse, Records, Plan.
//
// Concurrency: everything is a value or a pure function.
//
// Sources: RFC 9432.
package catalog

import (
	"errors"
	"fmt"
	"slices"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// ErrBroken is wrapped by every error of Parse.
var ErrBroken = errors.New("the catalog is broken, so the members it had before stay")

// Member is a zone that a catalog lists.
type Member struct {
	Zone   dnsname.Name
	Label  string       // that makes it unique in the catalog; another one resets the zone (RFC 9432 §5.4)
	Groups []string     // RFC 9432 §4.4.2, in order; in general one or none
	Owner  dnsname.Name // the catalog that may take it over, zero if none (§4.4.1)
}

// Parse returns the members that a catalog lists, in the order of their zones. A
// catalog with more than limit of them is broken.
func Parse(z *zone.Zone, limit int) ([]Member, error) {
	origin := z.Origin()
	zones, _ := origin.Child("zones")     // the zero Name if it is too long, which no name
	version, _ := origin.Child("version") // is below, nor equal to
	if err := checkVersion(z, version); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	r := reader{zones: zones, limit: limit, members: map[string]*Member{}, extra: map[string]*Member{}}
	for record := range z.Records() {
		if err := r.take(record); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
	}
	return r.finish()
}

// checkVersion is RFC 9432 §4.3.1: one TXT record, and a version that is known.
func checkVersion(z *zone.Zone, name dnsname.Name) error {
	var set zone.RRset
	ok := false
	if node := z.Lookup(name).Exact; !name.IsZero() && node != 0 {
		set, ok = z.RRset(node, rdata.TypeTXT)
	}
	if !ok || set.Count != 1 {
		return fmt.Errorf("%s must have one TXT record", name)
	}
	if data, _, _ := set.Record(0); string(data) != "\x012" {
		return fmt.Errorf("%s: only version \"2\" is known, this is %s", name, rdata.AppendText(nil, rdata.TypeTXT, data))
	}
	return nil
}

// reader collects members and their properties, by their label in wire form.
type reader struct {
	zones   dnsname.Name // what members and their properties lie below
	limit   int
	members map[string]*Member
	extra   map[string]*Member // properties
}

// take reads one record. What is not known is passed over (RFC 9432 §4.4).
func (r *reader) take(record rdata.Record) error {
	depth := record.Name.Labels() - r.zones.Labels()
	if depth < 1 || depth > 2 || r.zones.IsZero() || !record.Name.IsSubdomainOf(r.zones) {
		return nil
	}
	label := string([]byte(record.Name.Ancestor(r.zones.Labels() + 1).Label())) // not of the zone's memory
	switch {
	case depth == 1 && record.Type == rdata.TypePTR:
		if r.members[label] != nil {
			return fmt.Errorf("%s has several PTR records", record.Name)
		}
		if len(r.members) >= r.limit {
			return fmt.Errorf("it has more than %d members", r.limit)
		}
		r.members[label] = &Member{Zone: targetOf(record), Label: label}
	case depth == 2 && record.Type == rdata.TypePTR && record.Name.Label() == "coo":
		m := r.property(label)
		if !m.Owner.IsZero() {
			return fmt.Errorf("%s has several PTR records", record.Name)
		}
		m.Owner = targetOf(record)
	case depth == 2 && record.Type == rdata.TypeTXT && record.Name.Label() == "group":
		m := r.property(label)
		if len(m.Groups) >= maxGroups {
			return fmt.Errorf("%s has more than %d groups", record.Name, maxGroups)
		}
		m.Groups = append(m.Groups, textOf(record.Data))
	}
	return nil
}

// maxGroups is how many groups of one member are taken note of: RFC 9432 sees a use
// for a few.
const maxGroups = 16

func (r *reader) property(label string) *Member {
	if r.extra[label] == nil {
		r.extra[label] = new(Member)
	}
	return r.extra[label]
}

// targetOf returns the name in a PTR record, which the zone has checked.
func targetOf(record rdata.Record) dnsname.Name {
	name, _ := rdata.NameAt(record.Data, 0)
	return name.Clone()
}

// textOf returns the strings of TXT data, joined.
func textOf(data []byte) string {
	var text []byte
	for len(data) > 0 {
		length := min(1+int(data[0]), len(data))
		text = append(text, data[1:length]...)
		data = data[length:]
	}
	return string(text)
}

// finish joins members and properties. RFC 9432 §4.1: a zone that stands twice
// breaks the catalog.
func (r *reader) finish() ([]Member, error) {
	all := make([]Member, 0, len(r.members))
	for label, m := range r.members {
		if p := r.extra[label]; p != nil {
			m.Groups, m.Owner = p.Groups, p.Owner
			slices.Sort(m.Groups)
		}
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b Member) int { return a.Zone.Compare(b.Zone) })
	for i := range all[min(1, len(all)):] {
		if all[i].Zone == all[i+1].Zone {
			return nil, fmt.Errorf("%w: it lists %s twice", ErrBroken, all[i].Zone)
		}
	}
	return all, nil
}
