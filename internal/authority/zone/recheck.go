package zone

import (
	"slices"

	"pharos/internal/dns/dnsname"
)

// changes is what of an edit concerns names elsewhere: those that refer to the
// names that were edited.
type changes struct {
	links bool // some link that was written before may be wrong
	lost  bool // a name server may have lost its address, or what excused it
	any   bool // a name, an address, a zone cut or a DNAME has come or gone
}

// concerns tells what an edit concerns beside the names that it has taken in.
func (p *patch) concerns() (c changes) {
	for i := range p.nodes {
		n, node := &p.nodes[i], &p.b.nodes[i]
		before, after := n.flags, node.flags
		if !n.was || n.flags&flagHash != 0 {
			before = 0
		}
		if !n.now || node.flags&flagHash != 0 {
			after = 0
		}
		exists := (n.was && n.flags&flagHash == 0) != (n.now && node.flags&flagHash == 0)
		const weighed = flagAddress | flagSteering | flagCut | flagDNAME
		if !exists && (before^after)&weighed == 0 {
			continue
		}
		c.any = true
		isTarget := p.isTarget(member(node.hash))
		hadAddress, hasAddress := givesAddress(before), givesAddress(after)
		p.next.loose = p.next.loose || exists && isTarget
		byWildcard := p.next.wild && p.next.loose
		c.links = c.links || isTarget || byWildcard
		c.lost = c.lost || hadAddress && !hasAddress && isTarget || byWildcard ||
			before&flagCut != 0 && after&flagCut == 0 && p.isTarget(cutMember(node.hash)) ||
			(before^after)&flagDNAME != 0
	}
	return c
}

// isTarget reports whether m may be a member of the zone's targets.
func (p *patch) isTarget(m uint32) bool {
	if p.z.targets.has(m) {
		return true
	}
	_, found := slices.BinarySearch(p.next.over.target, m)
	return found
}

// addTargets adds further members to the zone's targets.
func (p *patch) addTargets(members []uint32) {
	members = slices.DeleteFunc(members, p.isTarget)
	if len(members) == 0 {
		return
	}
	all := append(slices.Clip(p.next.over.target), members...)
	slices.Sort(all)
	p.next.over.target = slices.Compact(all)
}

// check writes the links of what was edited, and returns the problems of the zone:
// those of the records that were edited, and those that last from before.
func (p *patch) check() []Problem {
	next := p.next
	c := p.concerns()
	var wanted []uint32
	for _, i := range p.order {
		if n := &p.nodes[i]; n.now && n.edited != nil {
			wanted = next.linkNode(n.id, wanted)
		}
	}
	p.addTargets(wanted)
	next.linksHold = (p.z.over == nil || p.z.linksHold) && !c.links

	ps := &p.b.problems
	edited := map[dnsname.Name]bool{} // or only taken in: false
	for i := range p.nodes {
		edited[p.b.stagedName(&p.b.nodes[i])] = p.nodes[i].edited != nil
	}
	all := c.lost && !p.z.warnings.more
	ps.lasting.more = p.z.warnings.more
	again := map[dnsname.Name]bool{}
	for _, w := range p.z.warnings.list {
		isEdited, taken := edited[w.Name]
		switch {
		case w.about == aboutNode && isEdited, w.about == aboutGlue && (taken || all):
			continue
		case w.about == aboutGlue && c.any:
			again[w.Name] = true
			continue
		}
		ps.list = append(ps.list, w.Problem)
		ps.counts[Warning]++
		ps.lasting.list = append(ps.lasting.list, w)
	}
	if all {
		for n := range next.Nodes() {
			ps.checkGlue(next, n)
		}
	} else {
		p.recheckGlue(again)
	}
	for i := range p.nodes {
		if n := &p.nodes[i]; n.now && n.edited != nil && next.IsSigned() && next.IsSteered(n.id) {
			ps.checkSteered(next, n.id)
		}
	}
	p.addTargets(ps.excused)
	next.warnings = ps.lasting
	return ps.list
}

// recheckGlue checks the glue of the names that were taken in, and of others.
func (p *patch) recheckGlue(others map[dnsname.Name]bool) {
	for i := range p.nodes {
		if n := &p.nodes[i]; n.now {
			p.b.problems.checkGlue(p.next, n.id)
		}
	}
	for name := range others {
		if n := p.next.Lookup(name).Exact; n != 0 {
			p.b.problems.checkGlue(p.next, n)
		}
	}
}
