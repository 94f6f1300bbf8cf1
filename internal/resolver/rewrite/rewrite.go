// Package rewrite is what a resolver says in place of, or after, what the Internet
// says: local data, response policy zones, DNS64, protection against rebinding, and
// types that clients are not to see.
//
// It owns in which order these are asked, what has to be resolved for them, and the
// answer that comes out. It does not own the rules themselves (packages policy,
// localdata, dns64), nor resolving.
//
//	question ─> local data ─> hidden types ─> policy: client, name ─> resolve
//	                                                                    v
//	answer <─ DNS64 <─ private addresses <─ policy: aliases, addresses, name servers
//
// There are two ways through it. Quick and Passes are for the loop that read the
// question: they answer what needs no resolving, and say whether what lies ready in
// the cache may be given; they allocate nothing. Answer is for all else; it is told
// how to resolve, and calls that as often as it needs.
//
// Entry points: Rules.Quick, Rules.Passes, Rules.Answer.
//
// Concurrency: Rules do not change once they are in use.
//
// Sources: draft-vixie-dnsop-dns-rpz-00, RFC 6147, RFC 7050, RFC 8880, RFC 8914,
// RFC 1918.
package rewrite

import (
	"net/netip"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/localdata"
	"pharos/internal/resolver/policy"
	"pharos/internal/resolver/rrcache"
)

// Rules are what is done for the clients of one resolver. Fields that are nil or empty
// do nothing.
type Rules struct {
	// Revision is another one for other Rules, and never 0: the cache notes with it what
	// it may give.
	Revision uint32
	Local    *localdata.Data
	Hide     []rdata.Type // types that are answered as if there were none
	Policies *policy.Set
	Private  *Private
	DNS64    *dns64.Translator
	// Cache is asked for the name servers above a name. Required with Policies that look
	// at name servers.
	Cache *rrcache.Cache
}

// Question is a client's question.
type Question struct {
	Name       dnsname.Name
	Type       rdata.Type
	Client     netip.Addr
	UDP        bool // the client can be told to come again over TCP
	CD, DO, AD bool
}

// Resolve finds out what the Internet says, and calls then with it, once, perhaps
// before it returns.
type Resolve func(name dnsname.Name, t rdata.Type, then func(iterate.Answer))

// Result is what a client gets.
type Result struct {
	iterate.Answer
	AA       bool // it is our own word
	Drop     bool // nothing is sent
	Truncate bool // no records, and TC
	// Hit is the rule of a policy zone, or the local data, that decided; the zero Hit if
	// none did. Skipped are rules of zones that are disabled.
	Hit     policy.Hit
	Skipped []policy.Hit

	isFound bool // Answer is what the Internet says
}

// Private is protection against rebinding: a page from one site that has its name
// changed to an address inside, to read what is there.
type Private struct {
	Networks []netip.Prefix // addresses that public names have no business with
	Except   []dnsname.Name // names at and below which they are fine
}

// isExempt reports whether a question for name may be answered with any address.
func (p *Private) isExempt(name dnsname.Name) bool {
	return slices.ContainsFunc(p.Except, name.IsSubdomainOf)
}

// holds reports whether a is a private address.
func (p *Private) holds(a netip.Addr) bool {
	a = a.Unmap()
	for _, n := range p.Networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// translates reports whether DNS64 has a say in a question of this type. RFC 6147
// §5.5: who sets both CD and DO validates, and must see what there is.
func (r *Rules) translates(t rdata.Type, cd, do bool) bool {
	return r.DNS64 != nil && t == rdata.TypeAAAA && !(cd && do)
}

// translatesPTR returns the name of the IPv4 address that the PTR record is asked for
// by its translation (RFC 6147 §5.3.1).
func (r *Rules) translatesPTR(name dnsname.Name, t rdata.Type) (dnsname.Name, bool) {
	if r.DNS64 == nil || t != rdata.TypePTR {
		return dnsname.Name{}, false
	}
	v6, ok := name.Address()
	if !ok || !v6.Is6() {
		return dnsname.Name{}, false
	}
	v4, ok := r.DNS64.Extract(v6)
	return dnsname.Reverse(v4), ok
}

// cuts are the name servers of the zones above a name, as far as the cache knows them.
type cuts struct {
	cache *rrcache.Cache
	now   time.Time
	name  dnsname.Name
}

// areKnown reports whether the cache knows a zone below the root.
func (c cuts) areKnown() bool {
	cut := c.cache.Delegation(c.now, c.name)
	return cut != nil && !cut.Zone.IsRoot()
}

// Each implements policy.Servers. Those of the root are left out: every name is below
// them.
func (c cuts) Each(yield func(dnsname.Name, []netip.Addr) bool) {
	for name := c.name; !name.IsZero(); {
		cut := c.cache.Delegation(c.now, name)
		if cut == nil || cut.Zone.IsRoot() {
			return
		}
		for _, s := range cut.Servers {
			if !yield(s.Name, append(slices.Clip(s.Addrs), c.addresses(s.Name)...)) {
				return
			}
		}
		name = cut.Zone.Parent()
	}
}

// addresses returns those that a name server has by its own zone's word.
func (c cuts) addresses(server dnsname.Name) (addrs []netip.Addr) {
	for _, t := range [...]rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
		if e := c.cache.Get(c.now, server, t); e != nil && e.Kind == rrcache.Positive {
			for _, data := range e.Set.Data {
				if a, ok := netip.AddrFromSlice(data); ok {
					addrs = append(addrs, a)
				}
			}
		}
	}
	return addrs
}

// isAddress reports whether records of type t hold an address and nothing else.
func isAddress(t rdata.Type) bool { return t == rdata.TypeA || t == rdata.TypeAAAA }
