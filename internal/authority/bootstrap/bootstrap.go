// Package bootstrap has zones that are signed here vouch for children whose parent has
// no DS yet (RFC 9615): what a child's CDS and CDNSKEY records say stands also at
//
//	_dsboot.CHILD._signal.NS
//
// for each of its name servers NS whose own zone is signed here too. A parent that
// validates that zone can believe the child's first keys.
//
// It owns which zone says what for whom. When a child needs it is the node's to say,
// and that a zone with signals is published again.
//
// Entry points: Signals.Update, Signals.Stage; SignalName, for parents.
//
// Concurrency: Signals may be used by many goroutines.
//
// Source: RFC 9615.
package bootstrap

import (
	"slices"
	"sync"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Signals are the records that zones have for others. The zero value has none.
type Signals struct {
	mu   sync.Mutex                                       // guards what follows; nothing else is locked under it
	of   map[dnsname.Name]map[dnsname.Name][]rdata.Record // zone with the name server -> child -> records
	made map[dnsname.Name]staged                          // what Stage has made
}

// staged is a version without and with signals.
type staged struct {
	from, to *zone.Zone
	records  []rdata.Record
}

// Child is a zone that is to be vouched for.
type Child struct {
	Zone *zone.Zone
	TTL  rdata.TTL
	Keys []Key // that the parent should believe
}

// Key is what CDS and CDNSKEY records of a key have as RDATA.
type Key struct{ CDS, CDNSKEY []byte }

// Update brings what is said for a child up to date; nil: nothing any more. zoneOf
// returns the zone that is signed here and has a name, or the zero Name. The zones that
// say something else now are returned: they are to be staged again.
func (s *Signals) Update(name dnsname.Name, c *Child, zoneOf func(host dnsname.Name) dnsname.Name) (changed []dnsname.Name) {
	wanted := map[dnsname.Name][]rdata.Record{}
	if c != nil {
		wanted = c.signals(name, zoneOf)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, children := range s.of {
		if len(children[name]) > 0 && wanted[at] == nil {
			delete(children, name)
			changed = append(changed, at)
		}
	}
	for at, records := range wanted {
		if sameRecords(s.of[at][name], records) {
			continue
		}
		if s.of == nil {
			s.of = map[dnsname.Name]map[dnsname.Name][]rdata.Record{}
		}
		if s.of[at] == nil {
			s.of[at] = map[dnsname.Name][]rdata.Record{}
		}
		s.of[at][name] = records
		changed = append(changed, at)
	}
	return changed
}

// signals returns what is to be said for a child, by the zone that says it.
func (c *Child) signals(name dnsname.Name, zoneOf func(dnsname.Name) dnsname.Name) map[dnsname.Name][]rdata.Record {
	wanted := map[dnsname.Name][]rdata.Record{}
	for _, host := range nameServers(c.Zone) {
		at, owner := zoneOf(host), SignalName(name, host)
		if at.IsZero() || at == name || owner.IsZero() {
			continue
		}
		for _, k := range c.Keys {
			wanted[at] = append(wanted[at],
				rdata.Record{Name: owner, Type: rdata.TypeCDS, Class: rdata.ClassIN, TTL: c.TTL, Data: k.CDS},
				rdata.Record{Name: owner, Type: rdata.TypeCDNSKEY, Class: rdata.ClassIN, TTL: c.TTL, Data: k.CDNSKEY})
		}
	}
	return wanted
}

func nameServers(z *zone.Zone) []dnsname.Name {
	set, _ := z.RRset(z.Apex(), rdata.TypeNS)
	var all []dnsname.Name
	for at, i := 0, 0; i < set.Count; i++ {
		var data []byte
		data, _, at = set.Record(at)
		if host, ok := rdata.Target(rdata.TypeNS, data); ok {
			all = append(all, host.Clone())
		}
	}
	return all
}

// SignalName returns _dsboot.CHILD._signal.NS (RFC 9615 §4.1), or the zero Name if that
// is too long.
func SignalName(child, host dnsname.Name) dnsname.Name {
	wire := append([]byte("\x07_dsboot"), child.Wire()[:child.Len()-1]...)
	wire = append(append(wire, "\x07_signal"...), host.Wire()...)
	n, _, err := dnsname.FromWire(wire)
	if err != nil {
		return dnsname.Name{}
	}
	return n
}

func sameRecords(a, b []rdata.Record) bool {
	return slices.EqualFunc(a, b, func(x, y rdata.Record) bool {
		return x.Name == y.Name && x.Type == y.Type && x.TTL == y.TTL && string(x.Data) == string(y.Data)
	})
}

// Stage returns the version of a zone, which is to be signed here, with what it says
// for others. It is the same result until that has changed.
func (s *Signals) Stage(name dnsname.Name, v journal.Version) journal.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := s.saidBy(name)
	if v.Zone == nil || len(records) == 0 {
		return v
	}
	if before := s.made[name]; before.from == v.Zone && sameRecords(before.records, records) {
		return journal.Version{Zone: before.to}
	}
	edit := v.Zone.Edit()
	for _, r := range records {
		edit.Add(r)
	}
	next, _ := edit.Finish()
	if next == nil {
		return v // the zone is served without what is for others
	}
	if s.made == nil {
		s.made = map[dnsname.Name]staged{}
	}
	s.made[name] = staged{v.Zone, next, records}
	return journal.Version{Zone: next}
}

// saidBy returns the records of a zone, in one order. s.mu is held.
func (s *Signals) saidBy(at dnsname.Name) []rdata.Record {
	var all []rdata.Record
	for _, records := range s.of[at] {
		all = append(all, records...)
	}
	slices.SortFunc(all, func(a, b rdata.Record) int {
		if a.Name != b.Name {
			return a.Name.Compare(b.Name)
		}
		return slices.Compare(append([]byte{byte(a.Type)}, a.Data...), append([]byte{byte(b.Type)}, b.Data...))
	})
	return all
}
