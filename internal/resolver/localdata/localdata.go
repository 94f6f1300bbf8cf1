// Package localdata is what an operator says himself about names that are not zones of
// his: a printer, a test server, a name to be kept from clients.
//
// It owns what is answered for names with data and for names in a local zone without. It
// does not own whole zones (package zone; they have servers, serials and transfers).
//
//	records, hosts files ─> zone.Zone with the root as origin ─┐
//	local zones ─> name: kind ─────────────────────────────────┴─> Find ─> policy.Hit
//
// Entry points: Compile, ReadHosts, Data.Find.
//
// Concurrency: Data never changes after Compile. Find takes no lock and allocates
// nothing.
package localdata

import (
	"fmt"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/policy"
)

// Kind is what becomes of the names at and below a local zone.
type Kind uint8

// The kinds. Unbound's words for them are in docs/OPERATING.md.
const (
	Transparent     Kind = iota // names with data have that and no more; others are resolved
	TypeTransparent             // types with data have that; others are resolved
	Static                      // names with data have that; others do not exist
	Redirect                    // every name has the data of the zone's own name
	Refuse                      // names with data have that; others are refused
	Drop                        // names with data have that; others get no answer
	NXDomain                    // no name exists, data or not
	NoData                      // no name has records, data or not
	Pass                        // all is resolved, data or not
	kinds
)

// String returns the word for k that configuration uses.
func (k Kind) String() string {
	return [...]string{"transparent", "type-transparent", "static", "redirect", "refuse", "drop", "nxdomain", "nodata", "pass"}[k]
}

// ParseKind is the reverse of String.
func ParseKind(text string) (Kind, bool) {
	for k := range kinds {
		if k.String() == text {
			return k, true
		}
	}
	return 0, false
}

// Data is local zones and the data in them.
type Data struct {
	zone  *policy.Zone
	kinds map[dnsname.Name]Kind
	any   bool // there are records
}

// Compile makes Data of local zones and of records. Records outside of all local zones
// are as in a Transparent one.
func Compile(zones map[dnsname.Name]Kind, records []rdata.Record) (*Data, error) {
	b := zone.NewBuilder(dnsname.Root)
	soa, err := rdata.ParseText(rdata.TypeSOA, dnsname.Root, "localdata.invalid. nobody.invalid. 1 3600 1200 604800 300")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	apex := rdata.Record{Name: dnsname.Root, Class: rdata.ClassIN, TTL: 300}
	apex.Type, apex.Data = rdata.TypeSOA, soa
	b.Add(apex)
	apex.Type, apex.Data = rdata.TypeNS, dnsname.MustParse("localdata.invalid").AppendWire(nil)
	b.Add(apex)
	for _, r := range records {
		switch {
		case r.Name.IsRoot():
			return nil, fmt.Errorf("%v: the root has no local data; give a name", r)
		case r.Type == rdata.TypeDNAME || r.Type == rdata.TypeNS || r.Type == rdata.TypeSOA || r.Type == rdata.TypeRRSIG:
			return nil, fmt.Errorf("%v: %v records make zones; for a zone of your own see zones", r.Name, r.Type)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		return nil, fmt.Errorf("local data: %v", problems[0])
	}
	return &Data{zone: policy.Compile(z, policy.Options{}), kinds: zones, any: len(records) > 0}, nil
}

// Find returns what is answered for a question here, the zero Hit if it is to be
// resolved.
func (d *Data) Find(name dnsname.Name, t rdata.Type) policy.Hit {
	kind, top := d.zoneOf(name)
	switch kind {
	case Pass:
		return policy.Hit{}
	case NXDomain:
		return d.zone.Outcome(policy.NXDomain)
	case NoData:
		return d.zone.Outcome(policy.NoData)
	case Redirect:
		name = top
	}
	h := policy.Hit{}
	if d.any {
		h = d.zone.Exact(name)
	}
	switch {
	case !h.IsZero() && kind == TypeTransparent && !h.Has(t):
		return policy.Hit{}
	case !h.IsZero(), kind == Transparent, kind == TypeTransparent:
		return h
	case kind == Redirect, d.any && d.zone.Exists(name):
		return d.zone.Outcome(policy.NoData)
	case kind == Refuse:
		return d.zone.Outcome(policy.Refuse)
	case kind == Drop:
		return d.zone.Outcome(policy.Drop)
	}
	return d.zone.Outcome(policy.NXDomain)
}

// Owns reports whether h is of d.
func (d *Data) Owns(h policy.Hit) bool { return d != nil && h.Zone == d.zone }

// zoneOf returns the kind of the closest local zone above name, and its name.
func (d *Data) zoneOf(name dnsname.Name) (Kind, dnsname.Name) {
	if len(d.kinds) == 0 {
		return Transparent, dnsname.Name{}
	}
	for n := name; !n.IsZero(); n = n.Parent() {
		if k, ok := d.kinds[n]; ok {
			return k, n
		}
	}
	return Transparent, dnsname.Name{}
}
