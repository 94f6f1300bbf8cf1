package iterate

import (
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// This file makes answers of wildcards that are known already (RFC 8198 §5.3). A validated
// answer that was made from a wildcard shows the wildcard's own records and signatures, and
// what proves that nothing nearer to the name exists. The records are kept under the
// wildcard's name, where they are what somebody who asks for that name would get; the
// proofs with the others of their zone (deny.go). Where they cover another name, it has the
// wildcard's records, too.

// learnWildcard remembers what part, verified, was made from: the wildcard below encloser.
func (r *Resolver) learnWildcard(encloser dnsname.Name, part *rrcache.Signed, ttl rdata.TTL) {
	wildcard, err := encloser.Child("*")
	if !r.cfg.Aggressive || err != nil {
		return
	}
	set := *part
	set.Name, set.TTL = wildcard, ttl
	r.cache.PutSigned(r.now, set, nil, rrcache.TrustAnswer)
	if e := r.cache.Records(r.now, wildcard, set.Type); e != nil && sameSigned(rrcache.Signed{RRset: e.Set}, set) {
		r.cache.Judge(r.now, wildcard, set.Type, e, rrcache.Secure, ttl)
	}
}

// expand answers q from a wildcard, if what was proven about z says that one stands for
// the name, and the cache has its records of q's type, or its alias.
func (z *provenZone) expand(cache *rrcache.Cache, q question, now time.Time, hashes *dnssec.Budget) (result, bool) {
	switch q.t {
	case rdata.TypeNS, rdata.TypeDS, rdata.TypeNSEC: // RFC 4592 §4: of a zone cut and of one name, not of wildcards
		return result{}, false
	}
	set, encloser, cover := z.wildcardFor(cache, q, now, hashes)
	if cover == nil || dnssec.NewDenial(z.zone, []rdata.RRset{cover.RRset}, hashes).Wildcard(q.name, encloser) != dnssec.Proven {
		return result{}, false // RFC 8198 §5.3: not with opt-out either
	}
	set.TTL = min(set.TTL, secondsUntil(now, cover.until))
	set.Name = q.name
	res := result{target: q.name, state: rrcache.Secure, parts: []rrcache.Signed{set}, denial: []rrcache.Signed{cover.now(now)}}
	made := records(set.RRset, set.TTL)
	if set.Type == q.t {
		res.records, res.final = made, true
		return res, true
	}
	target, ok := rdata.NameAt(made[0].Data, 0)
	res.addAlias(made[0], target)
	return res, ok
}

// wildcardFor returns the records of the wildcard that would stand for q's name, the name
// that it is below, and the record that may prove that nothing nearer exists; nil if there
// is not all of that.
func (z *provenZone) wildcardFor(cache *rrcache.Cache, q question, now time.Time, hashes *dnssec.Budget) (rrcache.Signed, dnsname.Name, *proven) {
	if cover := z.at(z.plain, q.name, now); cover != nil {
		encloser := closest(q.name, cover)
		set, _ := wildcardBelow(cache, encloser, q.t, now)
		if set.Name.IsZero() {
			cover = nil
		}
		return set, encloser, cover
	}
	owner := z.hasher(hashes)
	if owner == nil || hashes.Hashes < 2 { // this name's, and when it is looked at
		return rrcache.Signed{}, dnsname.Name{}, nil
	}
	// That there is a wildcard below a name says that the name exists, so no record about
	// the name is needed; but the nearest wildcard has to be the one, or it stands for nothing.
	for next, n := q.name, q.name.Parent(); n.IsSubdomainOf(z.zone); next, n = n, n.Parent() {
		if set, ok := wildcardBelow(cache, n, q.t, now); ok {
			return set, n, z.at(z.hashed, owner(next), now)
		}
	}
	return rrcache.Signed{}, dnsname.Name{}, nil
}

// wildcardBelow returns the validated records of the wildcard below a name: those of a
// type, or its alias.
func wildcardBelow(cache *rrcache.Cache, encloser dnsname.Name, t rdata.Type, now time.Time) (rrcache.Signed, bool) {
	wildcard, err := encloser.Child("*")
	if err != nil {
		return rrcache.Signed{}, false
	}
	for _, t := range [...]rdata.Type{t, rdata.TypeCNAME} {
		if e := cache.Records(now, wildcard, t); e != nil && e.Kind == rrcache.Positive && e.State == rrcache.Secure {
			set := e.Set
			set.TTL = e.TTL(now)
			return rrcache.Signed{RRset: set, Sigs: e.Sigs}, true
		}
	}
	return rrcache.Signed{}, false
}

// secondsUntil returns what is left of a time, in seconds, rounded up.
func secondsUntil(now, until time.Time) rdata.TTL {
	return rdata.TTL((until.Sub(now) + time.Second - 1) / time.Second)
}
