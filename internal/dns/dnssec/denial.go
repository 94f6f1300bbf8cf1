package dnssec

import (
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Denial is what the NSEC or NSEC3 records of one zone, all of them verified,
// have to say about what the zone does not have.
type Denial struct {
	zone   dnsname.Name
	plain  []nsec
	hashed []nsec3
	budget *Budget
	hashes map[dnsname.Name][]byte
	// excess: there were NSEC3 records with more iterations or salt than is worked
	// with.
	excess bool
}

// Finding is what a Denial has to say to a question.
type Finding uint8

// The findings.
const (
	Unproven   Finding = iota // the records do not prove it
	Proven                    // they do
	OptedOut                  // they do but for unsigned delegations, so it is insecure (RFC 5155 §9.2)
	Excessive                 // NSEC3 parameters that are not worked with: insecure (RFC 9276 §3.2)
	Delegation                // NoDS only: there is a delegation, and it is unsigned
	NoCut                     // NoDS only: there is no delegation at the name
)

// NewDenial reads the NSEC and NSEC3 RRsets among sets, all of them verified with
// keys of zone. Others are left out.
func NewDenial(zone dnsname.Name, sets []rdata.RRset, budget *Budget) *Denial {
	d := &Denial{zone: zone, budget: budget, hashes: make(map[dnsname.Name][]byte)}
	for _, set := range sets {
		if !set.Name.IsSubdomainOf(zone) {
			continue
		}
		for _, data := range set.Data {
			switch set.Type {
			case rdata.TypeNSEC:
				d.addPlain(set.Name, data)
			case rdata.TypeNSEC3:
				d.addHashed(set.Name, data)
			}
		}
	}
	return d
}

// Empty reports whether there is nothing to prove with.
func (d *Denial) Empty() bool { return len(d.plain) == 0 && len(d.hashed) == 0 && !d.excess }

// Missing is the fault of an answer whose denial is not proven.
func (d *Denial) Missing(what string, name dnsname.Name) *Fault {
	switch {
	case d.budget.Exceeded:
		return fault(dnswire.EDEDNSSECBogus, "more NSEC3 hashes than one question may cost")
	case d.Empty():
		return fault(dnswire.EDENSECMissing, "%v: no NSEC or NSEC3 record of %v proves that %s", name, d.zone, what)
	}
	return fault(dnswire.EDEDNSSECBogus, "%v: the NSEC or NSEC3 records of %v do not prove that %s", name, d.zone, what)
}

// NXDomain asks whether name does not exist, nor a wildcard that would stand for
// it (RFC 4035 §5.4, RFC 5155 §8.4).
func (d *Denial) NXDomain(name dnsname.Name) Finding {
	if len(d.plain) > 0 && d.plainNXDomain(name) {
		return Proven
	}
	return d.hashedNXDomain(name)
}

// NoData asks whether name exists, or a wildcard stands for it, without records of
// type t or an alias (RFC 4035 §5.4, RFC 5155 §8.5-8.7).
func (d *Denial) NoData(name dnsname.Name, t rdata.Type) Finding {
	if len(d.plain) > 0 && d.plainNoData(name, t) {
		return Proven
	}
	return d.hashedNoData(name, t)
}

// Wildcard asks whether a wildcard directly below encloser may stand for name:
// nothing nearer to name exists (RFC 4035 §5.3.4, RFC 5155 §8.8).
func (d *Denial) Wildcard(name, encloser dnsname.Name) Finding {
	for _, n := range d.plain {
		if n.denies(name) && n.encloser(name) == encloser {
			return Proven
		}
	}
	next := name.Ancestor(encloser.Labels() + 1)
	if len(d.hashed) > 0 {
		if n := d.covering(next); n != nil {
			return n.coverage()
		}
	}
	return d.otherwise()
}

// NoDS asks what is at name, below the zone, if there is no DS record: an unsigned
// delegation, or none (RFC 4035 §5.2, RFC 5155 §8.9, RFC 6840 §4.4).
func (d *Denial) NoDS(name dnsname.Name) Finding {
	for _, n := range d.plain {
		if n.owner == name {
			return n.types.noDS()
		}
	}
	if len(d.plain) > 0 && (d.plainNoData(name, rdata.TypeDS) || d.plainNXDomain(name)) {
		return NoCut
	}
	if len(d.hashed) == 0 {
		return d.otherwise()
	}
	if n := d.matching(name); n != nil {
		return n.types.noDS()
	}
	switch f := d.hashedNXDomain(name); f {
	case Proven:
		return NoCut
	case OptedOut:
		return OptedOut
	}
	// RFC 5155 §8.6: no record of its own, but one that covers it with opt-out.
	if _, cover := d.hashedEncloser(name); cover != nil {
		if cover.optOut {
			return OptedOut
		}
		if d.hashedNoData(name, rdata.TypeDS) == Proven {
			return NoCut
		}
	}
	return d.otherwise()
}

// otherwise is the finding when nothing has been found. Where there are other
// records too, a signed one with many iterations may be an old one that somebody
// has kept, to have a bogus denial taken for an insecure one.
func (d *Denial) otherwise() Finding {
	if d.excess && len(d.hashed) == 0 && len(d.plain) == 0 {
		return Excessive
	}
	return Unproven
}

// noDS judges the record that a name without DS has.
func (m bitmap) noDS() Finding {
	switch {
	case m.has(rdata.TypeDS), m.has(rdata.TypeSOA): // it is there after all, or this is the child's side
		return Unproven
	case m.has(rdata.TypeNS):
		return Delegation
	}
	return NoCut
}

// bitmap is type bit maps (RFC 4034 §4.1.2).
type bitmap []byte

func (m bitmap) has(t rdata.Type) bool {
	for len(m) >= 2 {
		window, length := m[0], int(m[1])
		if 2+length > len(m) {
			return false
		}
		if window == byte(t>>8) {
			octet := int(byte(t)) / 8
			return octet < length && m[2+octet]&(0x80>>(t%8)) != 0
		}
		m = m[2+length:]
	}
	return false
}

// isCut reports whether a record with these types is that of a delegation, on the
// parent's side.
func (m bitmap) isCut() bool { return m.has(rdata.TypeNS) && !m.has(rdata.TypeSOA) }

// lacks reports whether a record of the name itself with these types proves that
// there is no RRset of type t, nor an alias.
func (m bitmap) lacks(t rdata.Type) bool {
	if m.has(t) || m.has(rdata.TypeCNAME) {
		return false
	}
	if t == rdata.TypeDS {
		return !m.has(rdata.TypeSOA) // RFC 4035 §5.2, RFC 6840 §4.4: only the parent's side knows
	}
	return !m.isCut() // RFC 6840 §4.1: the parent's side knows nothing else
}

// nsec is an NSEC record.
type nsec struct {
	owner, next dnsname.Name
	types       bitmap
	zone        dnsname.Name
}

func (d *Denial) addPlain(owner dnsname.Name, data []byte) {
	next, length, err := dnsname.FromWire(data)
	// A next name out of the zone would deny names that are not the zone's to deny
	// (CVE-2026-46582).
	if err != nil || !next.IsSubdomainOf(d.zone) {
		return
	}
	d.plain = append(d.plain, nsec{owner, next, bitmap(data[length:]), d.zone})
}

// covers reports whether name lies between owner and next in canonical order
// (RFC 4034 §6.1); the last NSEC of a zone leads back to the apex.
func (n nsec) covers(name dnsname.Name) bool {
	if name.Compare(n.owner) <= 0 {
		return false
	}
	return n.next == n.zone || name.Compare(n.next) < 0
}

// denies reports whether n proves that there is nothing at name or below it.
func (n nsec) denies(name dnsname.Name) bool {
	if !name.IsSubdomainOf(n.zone) || !n.covers(name) || n.next.IsSubdomainOf(name) {
		return false
	}
	// RFC 6840 §4.1: below a delegation, and below a DNAME, the record of its owner has
	// no say.
	return !name.IsSubdomainOf(n.owner) || !n.types.isCut() && !n.types.has(rdata.TypeDNAME)
}

// encloser returns the nearest ancestor of name that exists, given that n denies
// name.
func (n nsec) encloser(name dnsname.Name) dnsname.Name {
	a, b := name.CommonAncestor(n.owner), name.CommonAncestor(n.next)
	if b.Labels() > a.Labels() {
		return b
	}
	return a
}

func (d *Denial) plainNXDomain(name dnsname.Name) bool {
	for _, n := range d.plain {
		if !n.denies(name) {
			continue
		}
		wildcard, err := n.encloser(name).Child("*")
		if err != nil {
			return true // no room for a wildcard
		}
		for _, w := range d.plain {
			if w.denies(wildcard) {
				return true
			}
		}
	}
	return false
}

func (d *Denial) plainNoData(name dnsname.Name, t rdata.Type) bool {
	if d.plainHolds(name, t) {
		return true
	}
	for _, n := range d.plain {
		if !n.denies(name) {
			continue
		}
		if wildcard, err := n.encloser(name).Child("*"); err == nil && d.plainHolds(wildcard, t) {
			return true
		}
	}
	return false
}

// plainHolds reports whether a record proves that name itself exists, without t.
func (d *Denial) plainHolds(name dnsname.Name, t rdata.Type) bool {
	for _, n := range d.plain {
		switch {
		case n.owner == name:
			return n.types.lacks(t) || t == rdata.TypeDS && name.IsRoot() // the root has no parent that could know
		case n.covers(name) && n.next.IsSubdomainOf(name) && name.IsSubdomainOf(n.zone):
			// An empty non-terminal (RFC 4035 §3.1.3.1): it exists, for what is below it does.
			return !name.IsSubdomainOf(n.owner) || !n.types.isCut() && !n.types.has(rdata.TypeDNAME)
		}
	}
	return false
}
