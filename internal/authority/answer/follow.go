package answer

import (
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// maxAliases is how many aliases are followed for one question: as many as
// resolvers commonly follow in all. It bounds the work that one question makes.
// What ends there is a good answer still: the resolver asks for the last name by
// itself.
const maxAliases = 16

// link is one name of an alias chain. Links and the names that are in no memory
// of the zone or the question live in the stack frames of the functions below,
// which call each other once for each alias.
type link struct {
	name   dnsname.Name
	dname  zone.Node // the DNAME added last, in this link or one before
	length int       // of the chain up to here
	up     *link     // the alias that led here
}

// has reports whether the chain went through name: then it is a loop.
func (l *link) has(name dnsname.Name) bool {
	for ; l != nil; l = l.up {
		if l.name == name {
			return true
		}
	}
	return false
}

// follow adds the CNAME of name, which is an alias by itself, by a wildcard or by
// a DNAME above it, and goes on with its target (RFC 1034 §4.3.2 step 3a). up is
// the alias that led to name, nil for the question's.
func (r *response) follow(name dnsname.Name, found *zone.Found, up *link) {
	r.outcome.Kind = Partial // until the end of the chain is reached
	l := link{name: name, length: 1, up: up}
	if up != nil {
		l.length, l.dname = up.length+1, up.dname
	}
	if found.DNAME != 0 {
		r.redirect(l, found.DNAME)
		return
	}
	node := found.Exact
	if node == 0 {
		node = found.Wildcard
	}
	set, _ := r.z.RRset(node, rdata.TypeCNAME)
	if !r.require(dnswire.Answer, name, &set) {
		return
	}
	data, target, _ := set.Record(0)
	if target == 0 {
		r.goOnWith(l, data)
		return
	}
	next := r.z.At(target)
	r.goOn(l, r.z.Name(target), &next)
}

// goOnWith goes on with the name in data, which may have capital letters.
func (r *response) goOnWith(l link, data []byte) {
	var wire [dnsname.MaxLen]byte
	target := wire[:copy(wire[:], data)]
	dnsname.Lower(target)
	name := dnsname.View(target)
	found := r.z.Lookup(name)
	r.goOn(l, name, &found)
}

// redirect adds the DNAME of the node owner, above the name of l, and the CNAME
// that it makes of that name, and goes on with the target (RFC 6672 §3.2).
func (r *response) redirect(l link, owner zone.Node) {
	set, _ := r.z.RRset(owner, rdata.TypeDNAME)
	suffix := r.z.Name(owner)
	if owner != l.dname && !r.require(dnswire.Answer, suffix, &set) {
		return
	}
	l.dname = owner
	data, _, _ := set.Record(0)
	prefix := l.name.Wire()[:l.name.Len()-suffix.Len()]
	if len(prefix)+len(data) > dnsname.MaxLen {
		r.outcome.Kind = YXDomain
		r.out.SetRcode(dnswire.RcodeYXDomain)
		return
	}
	var wire [dnsname.MaxLen]byte
	copy(wire[:], prefix)
	target := wire[:len(prefix)+copy(wire[len(prefix):], data)]
	dnsname.Lower(target)
	// RFC 6672 §3.1: the CNAME has the TTL of the DNAME.
	if !r.out.Add(dnswire.Answer, l.name, rdata.TypeCNAME, rdata.ClassIN, set.TTL, target) {
		r.outcome.Truncated = true
		return
	}
	name := dnsname.View(target)
	if dnsname.View(target[len(prefix):]).IsSubdomainOf(suffix) {
		// A DNAME into its own subtree catches what it made again, for ever. Once says
		// it all.
		r.outcome.Aliases++
		return
	}
	found := r.z.Lookup(name)
	r.goOn(l, name, &found)
}

// goOn answers for the target of the alias l.
func (r *response) goOn(l link, target dnsname.Name, found *zone.Found) {
	r.outcome.Aliases++
	switch {
	case r.q.Type == rdata.TypeCNAME: // a CNAME made from a DNAME is what was asked for
		r.outcome.Kind = Positive
		return
	case l.length > maxAliases, l.has(target), found.Encloser == 0: // the limit, a loop, another zone
		return
	}
	r.outcome.Last = *found
	if r.answer(target, found) == alias {
		r.follow(target, found, &l)
	}
}

// Follow goes on with the target of an alias that the caller has put into out as the answer
// for a Steered name, at which the answer arrived as outcome says. The result is that of
// the whole chain; it may be Steered again.
func Follow(o Options, q *dnswire.Query, z *zone.Zone, outcome Outcome, target []byte, out *dnswire.Builder) Outcome { //arch:size what With needs, and where it stands
	r := response{q: q, z: z, out: out, Options: &o, outcome: &outcome}
	var p proofs
	if q.EDNS.DO && (z.IsSigned() || o.Live != nil) {
		r.proofs = &p
	}
	r.outcome.Kind = Partial
	r.goOnWith(link{name: z.Name(outcome.Last.Exact), length: outcome.Aliases + 1}, target)
	if r.proofs != nil && r.outcome.Kind != Steered {
		r.addProofs()
	}
	if r.outcome.Truncated {
		out.SetTC(true)
	}
	return outcome
}
