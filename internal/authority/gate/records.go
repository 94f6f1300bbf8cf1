package gate

import (
	"encoding/binary"
	"iter"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// checkAll looks at every name of the zone. NSEC3 owners are no names that can be
// looked up, but their signatures expire like others.
func (c *checker) checkAll() {
	if c.rules.Glue == Off && c.rules.Aliases == Off && c.rules.Signatures == Off && c.rules.MaxRRset == 0 && c.rules.MaxTypes == 0 {
		return
	}
	times := c.rules.Signatures != Off && c.next.MayHave(rdata.TypeRRSIG)
	for n := range c.next.Nodes() {
		c.checkNode(c.next.At(n))
		if times {
			c.checkTimesAt(n)
		}
	}
}

// checkTouched looks at the names that the differences have records of, and at the
// delegations above them, whose glue they may be. An address that leaves may also
// have been that of a name server elsewhere in the zone; that is not looked for,
// as it would take a walk over all of it.
func (c *checker) checkTouched() {
	seen := map[zone.Node]bool{}
	visit := func(n zone.Node) {
		if n != 0 && !seen[n] {
			seen[n] = true
			c.checkNode(c.next.At(n))
			c.checkTimesAt(n)
		}
	}
	visit(c.next.Apex())
	for _, d := range c.diffs {
		for _, records := range [...]iter.Seq[rdata.Record]{d.Deleted(), d.Added()} {
			for r := range records {
				f := c.next.Lookup(r.Name)
				visit(f.Exact)
				visit(f.Cut)
			}
		}
	}
}

// checkNode looks at the RRsets of one name.
func (c *checker) checkNode(f zone.Found) {
	name := c.next.Name(f.Exact)
	c.checkCounts(name, f.Exact)
	if f.DNAME != 0 {
		if c.next.Lookup(name).Exact == 0 {
			return // only NSEC3 is there, whose signatures are like all others
		}
		// RFC 6672 §2.4: no resource records exist below the owner of a DNAME.
		c.add(c.rules.Aliases, "aliases", name, 0, "lies below the DNAME of %s and is never answered (RFC 6672 §2.4); remove one of them", c.next.Name(f.DNAME))
		return
	}
	occluded := c.next.IsOccluded(f.Exact)
	sets := c.next.RRsets(f.Exact)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		switch {
		case occluded:
		case set.Type == rdata.TypeNS, set.Type == rdata.TypeMX:
			c.checkTargets(name, f, &set)
		}
	}
}

// checkCounts looks at how much there is at one name. An RRset is read, compared and
// signed as a whole, and the types at a name are looked through one after the other, so
// that one name with very many of either makes each of its answers and changes dear
// (CVE-2024-1737). Signatures are not counted: they follow from the rest.
func (c *checker) checkCounts(name dnsname.Name, n zone.Node) {
	types := 0
	sets := c.next.RRsets(n)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		if set.Type == rdata.TypeRRSIG {
			continue
		}
		types++
		if most := c.rules.MaxRRset; most > 0 && set.Count > most {
			c.add(Refuse, "size", name, set.Type, "%d records of one type, more than zones[].gate.maxRRset, %d; remove some, or raise the limit", set.Count, most)
		}
	}
	if most := c.rules.MaxTypes; most > 0 && types > most {
		c.add(Refuse, "size", name, 0, "records of %d types, more than zones[].gate.maxTypes, %d; remove some, or raise the limit", types, most)
	}
}

// checkTargets looks at where the NS or MX records of a name lead, if that is in
// the zone.
func (c *checker) checkTargets(name dnsname.Name, owner zone.Found, set *zone.RRset) {
	for i, at := 0, 0; i < set.Count; i++ {
		var data []byte
		var addresses zone.Node
		if data, addresses, at = set.Record(at); addresses != 0 || !c.isInZone(set.TargetName(data)) {
			continue // nothing is wrong with what has addresses
		}
		target := dnsname.View(lowered(set.TargetName(data)))
		f := c.next.Lookup(target)
		below := f.Cut != 0 && (owner.Cut != f.Cut || set.Type == rdata.TypeMX)
		switch {
		case f.Encloser == 0, below, f.DNAME != 0:
			continue // another zone's matter, or an alias
		case f.Exact != 0 && c.next.HasCNAME(f.Exact):
			c.add(c.rules.Aliases, "aliases", name, set.Type, "%s is an alias (RFC 2181 §10.3); name the server itself", target)
		case set.Type == rdata.TypeNS && !c.hasAddress(f):
			c.add(c.rules.Glue, "glue", name, set.Type, "name server %s has no address in the zone; add A or AAAA records for it", target)
		}
	}
}

// isInZone reports whether a name, which may have capital letters, is in the zone.
func (c *checker) isInZone(n dnsname.Name) bool {
	var wire [dnsname.MaxLen]byte
	lower := wire[:copy(wire[:], n.Wire())]
	dnsname.Lower(lower)
	return dnsname.View(lower).IsSubdomainOf(c.next.Origin())
}

func lowered(n dnsname.Name) []byte {
	wire := []byte(n.Wire())
	dnsname.Lower(wire)
	return wire
}

// hasAddress reports whether a name has A or AAAA records, or is answered from a
// wildcard that has, or from a pool.
func (c *checker) hasAddress(f zone.Found) bool {
	node := f.Exact
	if node == 0 {
		node = f.Wildcard
	}
	if node == 0 {
		return false
	}
	if c.next.Steering(node).Hides(rdata.TypeA) {
		return true
	}
	_, a := c.next.RRset(node, rdata.TypeA)
	_, aaaa := c.next.RRset(node, rdata.TypeAAAA)
	return a || aaaa
}

// checkTimesAt looks at the signatures of one name.
func (c *checker) checkTimesAt(n zone.Node) {
	sets := c.next.RRsets(n)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		if set.Type == rdata.TypeRRSIG {
			c.checkTimes(c.next.Name(n), set.Covers(), dataOf(&set))
		}
	}
}

// checkTimes looks at the times of the signatures of one RRset.
func (c *checker) checkTimes(name dnsname.Name, covered rdata.Type, sigs [][]byte) {
	if c.rules.Signatures == Off {
		return
	}
	if wrong := c.timesWrong(sigs); wrong != "" {
		c.add(c.rules.Signatures, "signatures", name, covered, "%s", wrong)
	}
}

// timesWrong says why none of the signatures is valid now; "" if one is, or if there
// are none. RFC 4034 §3.1.5: the times are serial numbers.
func (c *checker) timesWrong(sigs [][]byte) string {
	now := rdata.Serial(c.now.Unix())
	expired := false
	for _, data := range sigs {
		until, from := rdata.Serial(binary.BigEndian.Uint32(data[8:])), rdata.Serial(binary.BigEndian.Uint32(data[12:]))
		if !until.Less(now) && !now.Less(from) {
			return ""
		}
		expired = expired || until.Less(now)
	}
	switch {
	case len(sigs) == 0:
		return ""
	case expired:
		return "all signatures have expired: validating resolvers take it for bogus; sign the zone anew"
	}
	return "no signature is valid yet: look at the clock of the signer, and of this machine"
}
