package node

import (
	"slices"
	"sync"

	"pharos/internal/admin/config"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/signer"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file is how a signed zone whose parent has no DS yet is vouched for by its
// name servers (RFC 9615): what its CDS and CDNSKEY records say stands also at
//
//	_dsboot.CHILD._signal.NS
//
// for each of its name servers NS whose own zone is signed here too. A parent that
// validates that zone can believe the child's first keys.

// signals are the records that zones have for others.
type signals struct {
	mu   sync.Mutex                                       // guards what follows; nothing else is locked under it
	of   map[dnsname.Name]map[dnsname.Name][]rdata.Record // zone with the name server -> child -> records
	made map[dnsname.Name]signalled                       // what signalStage has made
}

// signalled is a version without and with signals.
type signalled struct {
	from, to *zone.Zone
	records  []rdata.Record
}

// set says what a zone has for a child, and reports whether that is news.
func (s *signals) set(at, child dnsname.Name, records []rdata.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sameRecords(s.of[at][child], records) {
		return false
	}
	if s.of == nil {
		s.of = map[dnsname.Name]map[dnsname.Name][]rdata.Record{}
	}
	if s.of[at] == nil {
		s.of[at] = map[dnsname.Name][]rdata.Record{}
	}
	if s.of[at][child] = records; len(records) == 0 {
		delete(s.of[at], child)
	}
	return true
}

// keepers returns the zones that have signals for a child.
func (s *signals) keepers(child dnsname.Name) []dnsname.Name {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []dnsname.Name
	for at, children := range s.of {
		if children[child] != nil {
			all = append(all, at)
		}
	}
	return all
}

// all returns the records of a zone, in one order.
func (s *signals) all(at dnsname.Name) []rdata.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
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

func sameRecords(a, b []rdata.Record) bool {
	return slices.EqualFunc(a, b, func(x, y rdata.Record) bool {
		return x.Name == y.Name && x.Type == y.Type && x.TTL == y.TTL && string(x.Data) == string(y.Data)
	})
}

// signalStage adds the signals for other zones to one that is signed here.
func (n *Node) signalStage(c *config.Zone, _ *servedZone, v journal.Version) (journal.Version, error) {
	records := n.signers.signals.all(c.Name)
	if v.Zone == nil || c.DNSSEC == "" || len(records) == 0 {
		return v, nil
	}
	n.signers.signals.mu.Lock()
	before := n.signers.signals.made[c.Name]
	n.signers.signals.mu.Unlock()
	if before.from == v.Zone && sameRecords(before.records, records) {
		return journal.Version{Zone: before.to}, nil
	}
	edit := v.Zone.Edit()
	for _, r := range records {
		edit.Add(r)
	}
	next, _ := edit.Finish()
	if next == nil {
		return v, nil // the zone is served without what is for others
	}
	n.signers.signals.mu.Lock()
	defer n.signers.signals.mu.Unlock()
	if n.signers.signals.made == nil {
		n.signers.signals.made = map[dnsname.Name]signalled{}
	}
	n.signers.signals.made[c.Name] = signalled{v.Zone, next, records}
	return journal.Version{Zone: next}, nil
}

// updateSignals brings the signals for a zone up to date with its keys.
func (n *Node) updateSignals(child dnsname.Name) {
	s := n.current.Load()
	wanted := map[dnsname.Name][]rdata.Record{}
	st, ok := n.signers.State(child)
	if a := s.apexes.Get(child); ok && a != nil && a.served.Zone != nil && signalsWanted(a, st) {
		for _, host := range nameServers(a.served.Zone) {
			at, name := zoneOfHost(s, host), signalName(child, host)
			if at.IsZero() || at == child || name.IsZero() {
				continue
			}
			for _, k := range st.Parent.Ask {
				ttl := keyTTL(a)
				wanted[at] = append(wanted[at],
					rdata.Record{Name: name, Type: rdata.TypeCDS, Class: rdata.ClassIN, TTL: ttl, Data: k.DS(child)},
					rdata.Record{Name: name, Type: rdata.TypeCDNSKEY, Class: rdata.ClassIN, TTL: ttl, Data: k.DNSKEY})
			}
		}
	}
	for _, at := range n.signers.signals.keepers(child) {
		if wanted[at] == nil && n.signers.signals.set(at, child, nil) {
			n.zoneChanged(at)
		}
	}
	for at, records := range wanted {
		if n.signers.signals.set(at, child, records) {
			n.zoneChanged(at)
		}
	}
}

// signalsWanted reports whether the parent of a zone has no DS yet: later ones are
// believed by those before.
func signalsWanted(a *apex, st signer.State) bool {
	p, _ := a.config.Signing()
	named := slices.ContainsFunc(st.Parent.Shown, func(set []kasp.ID) bool { return len(set) > 0 })
	return p.CDS != "none" && len(st.Parent.Ask) > 0 && !named && !st.Parent.Others
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

// zoneOfHost returns the zone of ours that a name server's name is in, if that is
// signed here.
func zoneOfHost(s *Snapshot, host dnsname.Name) dnsname.Name {
	for n := host; !n.IsZero(); n = n.Parent() {
		if a := s.apexes.Get(n); a != nil {
			if a.config.DNSSEC == "" || a.config.DNSSEC == config.PolicyInsecure {
				return dnsname.Name{}
			}
			return a.served.Name
		}
	}
	return dnsname.Name{}
}

// signalName returns _dsboot.CHILD._signal.NS (RFC 9615 §4.1), or the zero Name if that
// is too long.
func signalName(child, host dnsname.Name) dnsname.Name {
	wire := append([]byte("\x07_dsboot"), child.Wire()[:child.Len()-1]...)
	wire = append(append(wire, "\x07_signal"...), host.Wire()...)
	n, _, err := dnsname.FromWire(wire)
	if err != nil {
		return dnsname.Name{}
	}
	return n
}
