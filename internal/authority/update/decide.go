package update

import (
	"encoding/binary"
	"slices"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is RFC 2136 §3 from top to bottom:
//
//	permission (§3.3) -> prerequisites (§3.2) -> prescan (§3.4.1) -> update (§3.4.2)

// Terms are what an update has to keep to, beside the RFC.
type Terms struct {
	// Allow reports whether the client may change records of a name and type; see
	// Rules.Allow.
	Allow func(dnsname.Name, rdata.Type) bool
	// Signed means that this server signs the zone: then it alone makes the records
	// that come of that.
	Signed bool
}

// typeWKS has been of no use for decades (RFC 1123 §2.2), but RFC 2136 says how it
// is updated.
const typeWKS rdata.Type = 11

// signerTypes are made by who signs the zone. BIND refuses updates of NSEC, NSEC3
// and RRSIG everywhere; Knot lets the signer put right what does not fit. Here the
// keys are the signer's too, and are changed by its commands.
var signerTypes = []rdata.Type{
	rdata.TypeRRSIG, rdata.TypeNSEC, rdata.TypeNSEC3, rdata.TypeNSEC3PARAM,
	rdata.TypeDNSKEY, rdata.TypeCDS, rdata.TypeCDNSKEY, rdata.TypeZONEMD,
}

// Decide says what the update changes in z, all of it or, with a Refusal, nothing.
// z must be the zone that r is for.
func (r *Request) Decide(z *zone.Zone, terms Terms) (Change, *Refusal) {
	d := newDraft(z)
	// Deviates from RFC 2136 §3.3.2: permission is looked at before the prerequisites, not after them: who may change nothing shall not learn by prerequisites what the zone has. BIND's update-policy does the same.
	if why := r.checkPermission(d, terms); why != nil {
		return Change{}, why
	}
	if why := r.checkPrerequisites(d); why != nil {
		return Change{}, why
	}
	for _, u := range r.Updates {
		if why := r.prescan(u); why != nil {
			return Change{}, why
		}
	}
	for _, u := range r.Updates {
		d.apply(u)
	}
	if why := d.checkSizes(); why != nil {
		return Change{}, why
	}
	return d.change(), nil
}

// checkPermission sees to it that the client may change every record it names. To
// delete all of a name it needs the right to each type that is there.
func (r *Request) checkPermission(d *draft, terms Terms) *Refusal {
	for _, u := range r.Updates {
		if !u.Name.IsSubdomainOf(r.Zone) {
			continue // NOTZONE, below
		}
		types := []rdata.Type{u.Type}
		if u.Type == rdata.TypeANY {
			types = d.at(u.Name).deletable(u.Name == r.Zone)
		}
		for _, t := range types {
			switch {
			case !terms.Allow(u.Name, t):
				return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "this client and key may not change %s %s", u.Name, t)
			case terms.Signed && slices.Contains(signerTypes, t) && u.Type == t:
				return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "%s %s: this server signs the zone and makes these records itself", u.Name, t)
			}
		}
	}
	return nil
}

// deletable returns the types of a name that the deletion of all of it takes away.
func (c *content) deletable(isApex bool) []rdata.Type {
	return slices.DeleteFunc(c.types(), func(t rdata.Type) bool {
		return isApex && (t == rdata.TypeSOA || t == rdata.TypeNS)
	})
}

// checkPrerequisites is RFC 2136 §3.2.
func (r *Request) checkPrerequisites(d *draft) *Refusal {
	wanted := map[rrsetKey]map[string][]byte{}
	var order []rrsetKey
	for _, p := range r.Prerequisites {
		switch {
		case p.TTL != 0: // §3.2.1
			return malformed("prerequisite %s: the TTL must be 0", p.Name)
		case !p.Name.IsSubdomainOf(r.Zone):
			return refuse(dnswire.RcodeNotZone, dnswire.EDEInvalidData, "prerequisite %s: not in the zone", p.Name)
		case p.Class == rdata.ClassIN:
			key := rrsetKey{p.Name, p.Type}
			if wanted[key] == nil {
				wanted[key] = map[string][]byte{}
				order = append(order, key)
			}
			wanted[key][identity(p.Type, p.Data)] = p.Data
			continue
		case p.Class != rdata.ClassANY && p.Class != rdata.ClassNONE || len(p.Data) > 0:
			return malformed("prerequisite %s: none of the forms of RFC 2136 §2.4", p.Name)
		}
		if why := d.checkExistence(p); why != nil {
			return why
		}
	}
	for _, key := range order { // §3.2.3
		if !d.at(key.name).hasExactly(key.rrtype, wanted[key]) {
			return refuse(dnswire.RcodeNXRRSet, dnswire.EDEOther, "prerequisite: %s %s does not have these records", key.name, key.rrtype)
		}
	}
	return nil
}

type rrsetKey struct {
	name   dnsname.Name
	rrtype rdata.Type
}

// checkExistence is the four prerequisites without a value, RFC 2136 §3.2.1 and
// §3.2.2. An empty non-terminal is not in use (§2.4.4).
func (d *draft) checkExistence(p rdata.Record) *Refusal {
	c := d.at(p.Name)
	isAny := p.Type == rdata.TypeANY
	exists := c.count(p.Type) > 0 || isAny && len(c.now) > 0
	switch {
	case exists == (p.Class == rdata.ClassANY):
		return nil
	case exists && isAny:
		return refuse(dnswire.RcodeYXDomain, dnswire.EDEOther, "prerequisite: %s is in use", p.Name)
	case exists:
		return refuse(dnswire.RcodeYXRRSet, dnswire.EDEOther, "prerequisite: %s has records of type %s", p.Name, p.Type)
	case isAny:
		return refuse(dnswire.RcodeNXDomain, dnswire.EDEOther, "prerequisite: %s is not in use", p.Name)
	}
	return refuse(dnswire.RcodeNXRRSet, dnswire.EDEOther, "prerequisite: %s has no records of type %s", p.Name, p.Type)
}

// hasExactly reports whether the records of a type are those wanted, no more and no
// fewer; TTLs do not count.
func (c *content) hasExactly(t rdata.Type, wanted map[string][]byte) bool {
	if c.count(t) != len(wanted) {
		return false
	}
	for _, data := range wanted {
		if !c.has(t, data) {
			return false
		}
	}
	return true
}

// prescan is RFC 2136 §3.4.1: nothing has been changed yet.
func (r *Request) prescan(u rdata.Record) *Refusal {
	if !u.Name.IsSubdomainOf(r.Zone) {
		return refuse(dnswire.RcodeNotZone, dnswire.EDEInvalidData, "%s is not in the zone", u.Name)
	}
	switch u.Class {
	case rdata.ClassIN:
		if u.Type.IsMeta() {
			return malformed("%s: no zone has records of type %s", u.Name, u.Type)
		}
		if err := rdata.Validate(u.Type, u.Data); err != nil {
			return malformed("%s %s: %v", u.Name, u.Type, err)
		}
	case rdata.ClassANY:
		if u.TTL != 0 || len(u.Data) > 0 || u.Type.IsMeta() && u.Type != rdata.TypeANY {
			return malformed("%s %s: a deletion of class ANY has TTL 0 and no RDATA", u.Name, u.Type)
		}
	case rdata.ClassNONE:
		if u.TTL != 0 || u.Type.IsMeta() {
			return malformed("%s %s: a deletion of class NONE has TTL 0 and a type that a zone can have", u.Name, u.Type)
		}
	default:
		return malformed("%s: an update has class IN, ANY or NONE", u.Name)
	}
	return nil
}

// apply is RFC 2136 §3.4.2, of one record.
func (d *draft) apply(u rdata.Record) {
	c, isApex := d.at(u.Name), u.Name == d.zone.Origin()
	switch {
	case u.Class == rdata.ClassIN:
		c.add(u, isApex)
	case u.Type == rdata.TypeANY: // §3.4.2.3
		for _, t := range c.deletable(isApex) {
			c.removeType(t)
		}
	case isApex && u.Type == rdata.TypeSOA:
	case u.Class == rdata.ClassANY:
		if !isApex || u.Type != rdata.TypeNS {
			c.removeType(u.Type)
		}
	case !isApex || u.Type != rdata.TypeNS || c.count(rdata.TypeNS) > 1: // §3.4.2.4: the last NS record stays
		c.remove(u.Type, u.Data)
	}
}

// add is RFC 2136 §3.4.2.2. What may not be is ignored, not refused.
func (c *content) add(u rdata.Record, isApex bool) {
	switch u.Type {
	case rdata.TypeSOA:
		if !isApex || !c.serial().Less(serialOf(u.Data)) {
			return
		}
		c.removeType(u.Type)
	case rdata.TypeCNAME:
		if slices.ContainsFunc(c.types(), func(t rdata.Type) bool { return t != rdata.TypeCNAME && !mayBesideCNAME(t) }) {
			return
		}
		c.replace(u)
	default:
		// RFC 6672 §5.2 says it of DNAME again: beside a CNAME it is ignored.
		if c.count(rdata.TypeCNAME) > 0 && !mayBesideCNAME(u.Type) {
			return
		}
		switch u.Type {
		case rdata.TypeDNAME:
			c.replace(u)
		case typeWKS:
			c.removeWKS(u.Data)
		}
	}
	c.put(u)
}

// replace makes way for the only record that a type can have.
func (c *content) replace(u rdata.Record) {
	if !c.has(u.Type, u.Data) {
		c.removeType(u.Type)
	}
}

// removeWKS takes away what a new WKS record stands in the place of.
func (c *content) removeWKS(data []byte) {
	s := c.now[setKey{rrtype: typeWKS}]
	if s == nil {
		return
	}
	for _, old := range s.data {
		if sameWKS(old, data) {
			c.remove(typeWKS, old)
			return // there is one at the most
		}
	}
}

// serial returns the serial of the SOA record, which an apex always has.
func (c *content) serial() rdata.Serial {
	for _, data := range c.now[setKey{rrtype: rdata.TypeSOA}].data {
		return serialOf(data)
	}
	panic("BUG: a zone without SOA record")
}

// serialOf returns the serial of well-formed SOA RDATA: the first of the five
// numbers at its end.
func serialOf(data []byte) rdata.Serial {
	return rdata.Serial(binary.BigEndian.Uint32(data[len(data)-20:]))
}

// mayBesideCNAME: RFC 4035 §2.5 and RFC 3007 §4.
func mayBesideCNAME(t rdata.Type) bool {
	return t == rdata.TypeRRSIG || t == rdata.TypeNSEC || t == rdata.TypeKEY
}

// checkSizes refuses RRsets that could not be answered any more. What was too long
// before may stay so.
func (d *draft) checkSizes() *Refusal {
	for _, name := range d.order {
		c := d.names[name]
		for key, s := range c.now {
			if s == c.before[key] {
				continue
			}
			if size := s.size(); size > MaxRRset && size > c.before[key].size() {
				return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "%s %s would have records of %d octets, which fit no message; the limit is %d", name, key.rrtype, size, MaxRRset)
			}
		}
	}
	return nil
}
