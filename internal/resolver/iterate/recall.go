package iterate

import (
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// result is what is known about a question: the aliases from its name on, and
// either how the chain ends (final) or the name at which to ask on (target).
type result struct {
	chain   []rdata.Record // CNAME records, and DNAME records before those synthesised from them
	aliases []dnsname.Name // the owners of the CNAME records in chain
	target  dnsname.Name   // the end of the chain
	final   bool
	rcode   dnswire.Rcode
	records []rdata.Record // the RRset asked for
	soa     rdata.Record
	hasSOA  bool
	failure *failure

	parts   []rrcache.Signed // the RRsets of chain and records; not a CNAME that a DNAME makes
	soaSigs [][]byte
	denial  []rrcache.Signed // NSEC and NSEC3 RRsets that came with it
	state   rrcache.State    // what is known already; see validate.go
	from    Server           // the server that said it; not valid if it is from the cache
	zone    dnsname.Name     // which zone that server was asked for
	near    netip.Prefix     // the network that it is for; invalid: for all
	others  bool             // there are other servers of the zone
}

// addAlias adds a CNAME to the chain.
func (res *result) addAlias(cname rdata.Record, target dnsname.Name) {
	res.chain = append(res.chain, cname)
	res.aliases = append(res.aliases, cname.Name)
	res.target = target
}

// recallPart adds the RRset of a cache entry as what the result is made of.
func (res *result) recallPart(e *rrcache.Entry, now time.Time) {
	set := e.Set
	set.TTL = e.TTL(now)
	res.parts = append(res.parts, rrcache.Signed{RRset: set, Sigs: e.Sigs})
	res.denial, res.state = e.Denial, e.State
}

// recall looks q up in the cache: one step of the chain, or its end.
func (r *Resolver) recall(q question) (result, bool) { return recall(r.cache, r.routes, r.now, q) }

func recall(cache *rrcache.Cache, routes routes, now time.Time, q question) (result, bool) {
	res := result{target: q.name}
	if q.t == rdata.TypeANY { // RFC 1035 §3.2.3: all records; the cache can not know that it has all
		return res, false
	}
	if e := cache.Get(now, q.name, q.t); e != nil {
		res.final = true
		switch e.Kind {
		case rrcache.Positive:
			res.records = records(e.Set, e.TTL(now))
			res.recallPart(e, now)
		default:
			if e.Kind == rrcache.NXDomain {
				res.rcode = dnswire.RcodeNXDomain
			}
			res.soa, res.hasSOA = e.SOA, !e.SOA.Name.IsZero()
			res.soa.TTL = e.TTL(now)
			res.soaSigs, res.denial, res.state = e.Sigs, e.Denial, e.State
		}
		return res, true
	}
	if e := cache.Records(now, q.name, rdata.TypeCNAME); e != nil && e.Kind == rrcache.Positive {
		cname := records(e.Set, e.TTL(now))[0]
		if target, ok := rdata.NameAt(cname.Data, 0); ok {
			res.addAlias(cname, target)
			res.recallPart(e, now)
			return res, true
		}
	}
	if nx, ok := recallCut(cache, routes, now, q); ok {
		return nx, true
	}
	// RFC 6672 §2.3: a DNAME stands for everything below its owner, so a cached
	// one answers for names never asked for.
	for n := q.name.Parent(); !n.IsZero(); n = n.Parent() {
		if e := cache.Records(now, n, rdata.TypeDNAME); e != nil && e.Kind == rrcache.Positive {
			ok := res.addDNAME(records(e.Set, e.TTL(now))[0], q.name, q.t)
			res.recallPart(e, now)
			return res, ok
		}
	}
	return res, false
}

// recallCut looks for a proof that a name above does not exist: then what is below
// does not either (RFC 8020 §2). Only a validated one counts, for whoever can forge
// another could take a whole domain away with it. What is said above a route,
// or above a zone of ours, is not about the names there.
func recallCut(cache *rrcache.Cache, routes routes, now time.Time, q question) (result, bool) {
	if _, ours := cache.OpenZone(q.name); ours {
		return result{}, false
	}
	for n := q.name.Parent(); !n.IsZero() && routes[n] == nil; n = n.Parent() {
		if e := cache.Denied(now, n); e != nil && e.State == rrcache.Secure {
			res := result{target: q.name, final: true, rcode: dnswire.RcodeNXDomain, soa: e.SOA, hasSOA: true,
				soaSigs: e.Sigs, denial: e.Denial, state: e.State}
			res.soa.TTL = e.TTL(now)
			return res, true
		}
	}
	return result{}, false
}

// addDNAME adds a DNAME and the CNAME that it makes for name, which is below its
// owner (RFC 6672 §3.1). That CNAME is the answer when CNAME is what was asked
// for. When the new name would be too long the chain ends with YXDOMAIN (§2.2).
func (res *result) addDNAME(dname rdata.Record, name dnsname.Name, t rdata.Type) bool {
	to, ok := rdata.NameAt(dname.Data, 0)
	if !ok {
		return false
	}
	res.chain = append(res.chain, dname)
	target, err := name.ReplaceSuffix(dname.Name, to)
	if err != nil {
		res.final, res.rcode = true, dnswire.RcodeYXDomain
		return true
	}
	cname := rdata.Record{Name: name, Type: rdata.TypeCNAME, Class: rdata.ClassIN, TTL: dname.TTL, Data: target.AppendWire(nil)}
	if t == rdata.TypeCNAME {
		res.final, res.records = true, []rdata.Record{cname}
		return true
	}
	res.addAlias(cname, target)
	return true
}

// records returns the records of a set with the given TTL.
func records(set rdata.RRset, ttl rdata.TTL) []rdata.Record {
	out := make([]rdata.Record, len(set.Data))
	for i, data := range set.Data {
		out[i] = rdata.Record{Name: set.Name, Type: set.Type, Class: set.Class, TTL: ttl, Data: data}
	}
	return out
}

// FromCache answers without asking anybody, for queries with RD=0: with the
// answer if the cache has it whole, else with a referral to the deepest zone cut
// it knows (RFC 1034 §4.3.2: "best local data"); false if it has neither.
func (r *Resolver) FromCache(now time.Time, name dnsname.Name, t rdata.Type) (Answer, bool) {
	a := Answer{Cached: true}
	if f := r.cache.Failure(now, name, t); f != nil {
		a.Rcode, a.Errors = f.Rcode, []dnswire.ExtendedError{f.EDE}
		return a, true
	}
	for range r.limits.Aliases {
		res, ok := recall(r.cache, *r.routesNow.Load(), now, question{name: name, t: t})
		// What has not been validated yet is not for those who want it to be.
		if !ok || res.isPartial() || r.cfg.Validate && res.state == rrcache.Indeterminate {
			break
		}
		a.Answer = append(a.Answer, res.chain...)
		if name = res.target; !res.final {
			continue
		}
		a.Rcode, a.Answer = res.rcode, append(a.Answer, res.records...)
		if res.hasSOA {
			a.Authority = []rdata.Record{res.soa}
		}
		return a, true
	}
	cut := r.cache.Delegation(now, name)
	if cut == nil {
		return Answer{}, false
	}
	a.Referral = true
	ttl := rdata.TTL(max(0, cut.Expires.Sub(now)/time.Second))
	for _, s := range cut.Servers {
		a.Authority = append(a.Authority, rdata.Record{
			Name: cut.Zone, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: ttl, Data: s.Name.AppendWire(nil)})
		for _, addr := range s.Addrs {
			a.Additional = append(a.Additional, addressRecord(s.Name, addr, ttl))
		}
	}
	return a, true
}
