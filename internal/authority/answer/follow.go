package answer

import (
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Limits of an alias chain. An answer that ends at one is a good answer still:
// the resolver asks for the last name by itself.
const (
	// maxAliases is how many aliases are followed for one question: as many as a
	// common limit of resolvers for the whole chain. It also bounds the work that
	// one question makes.
	maxAliases = 16

	// maxChainOctets is the memory for names of the chain that are not in the zone's
	// memory as they are: at least eight of them.
	maxChainOctets = 8 * dnsname.MaxLen
)

// chain is the names of an alias chain.
type chain struct {
	names   [maxAliases + 1]dnsname.Name // those gone through, the present one last
	length  int
	dname   zone.Node // the DNAME added last
	scratch [maxChainOctets]byte
	used    int // octets of scratch
}

// follow adds the CNAME of name, which is an alias, and goes on with its target,
// as often as there is another (RFC 1034 §4.3.2 step 3a, RFC 6672 §3.2).
func (r *response) follow(name dnsname.Name, found zone.Found) {
	var c chain
	for {
		c.names[c.length] = name
		c.length++
		r.outcome.Kind = Partial // until the end of the chain is reached
		target, node, ok := r.addAlias(&c, name, found)
		if !ok {
			return
		}
		r.outcome.Aliases++
		if r.q.Type == rdata.TypeCNAME {
			r.outcome.Kind = Positive // a CNAME made from a DNAME is what was asked for
			return
		}
		if c.length > maxAliases || c.has(target) {
			return
		}
		name = target
		if node != 0 {
			found = r.z.At(node)
		} else {
			found = r.z.Lookup(name)
		}
		if found.Encloser == 0 { // the chain leaves the zone
			return
		}
		r.outcome.Last = found
		if r.answer(name, found) == done {
			return
		}
	}
}

// addAlias adds the CNAME that name has, by itself, by a wildcard or by a DNAME,
// and returns its target, with its node if that is known. It reports false where
// the chain ends.
func (r *response) addAlias(c *chain, name dnsname.Name, found zone.Found) (target dnsname.Name, node zone.Node, ok bool) {
	if found.DNAME != 0 {
		target, ok = r.redirect(c, name, found.DNAME)
		return target, 0, ok
	}
	owner := found.Exact
	if owner == 0 {
		owner = found.Wildcard
	}
	set, _ := r.z.RRset(owner, rdata.TypeCNAME)
	if !r.require(dnswire.Answer, name, &set) {
		return target, 0, false
	}
	data, node, _ := set.Record(0)
	if node != 0 {
		return r.z.Name(node), node, true
	}
	wire, ok := c.join("", data)
	return dnsname.View(wire), 0, ok
}

// redirect adds the DNAME of the node owner and the CNAME that it makes of name,
// which lies below (RFC 6672 §3.2), and returns the target.
func (r *response) redirect(c *chain, name dnsname.Name, owner zone.Node) (target dnsname.Name, ok bool) {
	set, _ := r.z.RRset(owner, rdata.TypeDNAME)
	suffix := r.z.Name(owner)
	if owner != c.dname && !r.require(dnswire.Answer, suffix, &set) {
		return target, false
	}
	c.dname = owner
	data, _, _ := set.Record(0)
	prefix := name.Wire()[:name.Len()-suffix.Len()]
	if len(prefix)+len(data) > dnsname.MaxLen {
		r.outcome.Kind = YXDomain
		r.out.SetRcode(dnswire.RcodeYXDomain)
		return target, false
	}
	wire, ok := c.join(prefix, data)
	if !ok {
		return target, false
	}
	// RFC 6672 §3.1: the CNAME has the TTL of the DNAME.
	if !r.out.Add(dnswire.Answer, name, rdata.TypeCNAME, rdata.ClassIN, set.TTL, wire) {
		r.outcome.Truncated = true
		return target, false
	}
	target = dnsname.View(wire)
	// A DNAME to its own subtree catches what it made again, for ever. Once says it
	// all.
	return target, !dnsname.View(wire[len(prefix):]).IsSubdomainOf(suffix)
}

// join returns the name of prefix before the name in data, in lower-case wire
// form, in the memory of c. It reports false when the memory for it is used up.
func (c *chain) join(prefix string, data []byte) (wire []byte, ok bool) {
	free := c.scratch[c.used:]
	if len(prefix)+len(data) > len(free) {
		return nil, false
	}
	n := copy(free, prefix)
	n += copy(free[n:], data)
	c.used += n
	dnsname.Lower(free[:n])
	return free[:n], true
}

// has reports whether the chain went through name: then it is a loop.
func (c *chain) has(name dnsname.Name) bool {
	for _, n := range c.names[:c.length] {
		if n == name {
			return true
		}
	}
	return false
}
