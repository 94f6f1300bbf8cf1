package iterate

import (
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// This file is aggressive use of denials (RFC 8198): NSEC and NSEC3 records that
// proved one thing prove others, which then need not be asked for. A flood of names
// that do not exist in a signed zone so ends here; one of names that a wildcard stands
// for, in wild.go.

const (
	// provenPart is which part of the memory for proofs one zone may have: half. At the
	// limit all that was proven about it is forgotten.
	provenPart = 2
	// provenOctets is what a record takes beside its names and RDATA.
	provenOctets = 150
	// provenHashes is how much of a question's NSEC3 hashes may go to this, one part in
	// so many: 2. What is left is for the validation of what is asked for then.
	provenHashes = 2
)

// proven is a denial's RRset that was verified.
type proven struct {
	rrcache.Signed
	until time.Time
}

// now returns p with what is left of its time.
func (p *proven) now(now time.Time) rrcache.Signed {
	set := p.Signed
	set.TTL = min(set.TTL, secondsUntil(now, p.until))
	return set
}

// provenZone is what was proven about one zone.
//
// Invariant: plain and hashed are in canonical order of their owners, without two
// of one owner.
// Invariant: octets is what they and the SOA record take.
type provenZone struct {
	octets        int
	zone          dnsname.Name
	plain, hashed []proven
	soa           rdata.Record
	soaSigs       [][]byte
	soaUntil      time.Time
}

// denials are the zones of which something was proven: some 16,000 records with the
// default of Limits.Memory.
type denials struct {
	zones bounded[dnsname.Name, *provenZone]
}

// learnDenial remembers what proved a denial: sets, verified with the keys of zone,
// beside the SOA record of res, for no longer than ttl.
func (r *Resolver) learnDenial(zone dnsname.Name, res *result, sets []rrcache.Signed, ttl rdata.TTL) {
	if !r.cfg.Aggressive || !res.hasSOA || res.soa.Name != zone {
		return
	}
	z := r.learnProofs(zone, sets, min(ttl, res.soa.TTL))
	before := z.octets
	z.setSOA(cloneRecord(res.soa), cloneList(res.soaSigs), r.untilNegative(min(ttl, res.soa.TTL)))
	r.denials.zones.grow(zone, z.octets-before)
}

// untilNegative returns when something that denies is over.
func (r *Resolver) untilNegative(ttl rdata.TTL) time.Time {
	return r.now.Add(time.Duration(min(ttl, r.cache.Limits().MaxNegativeTTL)) * time.Second)
}

// learnProofs remembers NSEC and NSEC3 records, verified with the keys of zone, for no
// longer than ttl.
func (r *Resolver) learnProofs(zone dnsname.Name, sets []rrcache.Signed, ttl rdata.TTL) *provenZone {
	z, until := r.denials.zones.get(zone), r.untilNegative(ttl)
	if z == nil {
		z = &provenZone{zone: zone.Clone()}
		r.denials.zones.put(z.zone, z, 0)
	}
	before := z.octets
	for _, set := range sets {
		list := &z.plain
		if set.Type == rdata.TypeNSEC3 {
			list = &z.hashed
		}
		z.put(list, proven{cloneSigned(set), until}, r.denials.zones.most/provenPart)
	}
	r.denials.zones.grow(zone, z.octets-before)
	return z
}

func (z *provenZone) setSOA(soa rdata.Record, sigs [][]byte, until time.Time) {
	z.octets += recordsOctets([]rdata.Record{soa}) + listOctets(sigs)
	if !z.soaUntil.IsZero() {
		z.octets -= recordsOctets([]rdata.Record{z.soa}) + listOctets(z.soaSigs)
	}
	z.soa, z.soaSigs, z.soaUntil = soa, sigs, until
}

func (p *proven) octets() int {
	return provenOctets + signedOctets([]rrcache.Signed{p.Signed})
}

// put keeps p in one of z's lists. If z has more octets than most, its lists begin anew.
func (z *provenZone) put(list *[]proven, p proven, most int) {
	at, found := z.find(*list, p.Name)
	z.octets += p.octets()
	if found {
		z.octets -= (*list)[at].octets()
		(*list)[at] = p
		return
	}
	if z.octets > most {
		z.plain, z.hashed, at = nil, nil, 0
		z.octets = p.octets() + recordsOctets([]rdata.Record{z.soa}) + listOctets(z.soaSigs)
	}
	*list = slices.Insert(*list, at, p)
}

func (z *provenZone) find(list []proven, owner dnsname.Name) (int, bool) {
	return slices.BinarySearchFunc(list, owner, func(p proven, n dnsname.Name) int { return p.Name.Compare(n) })
}

// at returns the record of owner, or else the one before it in canonical order,
// before the first the last; nil if there is none that still counts.
func (z *provenZone) at(list []proven, owner dnsname.Name, now time.Time) *proven {
	if len(list) == 0 {
		return nil
	}
	i, found := z.find(list, owner)
	if !found {
		i = (i - 1 + len(list)) % len(list)
	}
	if p := &list[i]; now.Before(p.until) {
		return p
	}
	return nil
}

// deny answers a question from what was proven about its zone, if that suffices: that there
// is nothing, or that a wildcard stands for it.
func (r *Resolver) deny(q question, b *budget) (result, bool) {
	if !r.cfg.Aggressive || r.denials.zones.len() == 0 || q.t.IsMeta() {
		return result{}, false
	}
	if _, ours := r.cache.OpenZone(q.name); ours {
		return result{}, false
	}
	for n := sideOf(q.name, q.t); !n.IsZero(); n = n.Parent() {
		if z := r.denials.zones.get(n); z != nil {
			hashes := dnssec.Budget{Hashes: b.proofs.Hashes / provenHashes}
			before := hashes.Hashes
			res, ok := z.expand(r.cache, q, r.now, &hashes)
			if !ok && r.now.Before(z.soaUntil) {
				res, ok = z.deny(q, r.now, &hashes)
			}
			b.proofs.Hashes -= before - hashes.Hashes
			r.counters.Hashes += uint64(before - hashes.Hashes)
			return res, ok
		}
		if r.routes[n] != nil {
			break // what is proven above says nothing of where a route leads
		}
	}
	return result{}, false
}

func (z *provenZone) deny(q question, now time.Time, hashes *dnssec.Budget) (result, bool) {
	chosen := z.choosePlain(q.name, now)
	if len(chosen) == 0 {
		chosen = z.chooseHashed(q.name, now, hashes)
	}
	if len(chosen) == 0 {
		return result{}, false
	}
	sets := make([]rdata.RRset, len(chosen))
	until := z.soaUntil
	for i, p := range chosen {
		sets[i] = p.RRset
		if p.until.Before(until) {
			until = p.until
		}
	}
	d := dnssec.NewDenial(z.zone, sets, hashes)
	res := result{target: q.name, final: true, soa: z.soa, hasSOA: true, soaSigs: z.soaSigs, state: rrcache.Secure}
	switch { // RFC 8198 §5.4: not with opt-out, which proves less
	case d.NXDomain(q.name) == dnssec.Proven:
		res.rcode = dnswire.RcodeNXDomain
	case d.NoData(q.name, q.t) != dnssec.Proven:
		return result{}, false
	}
	for _, p := range chosen {
		res.denial = append(res.denial, p.now(now))
	}
	res.soa.TTL = secondsUntil(now, until)
	return res, true
}

// choosePlain returns the NSEC records that may deny name: those at or before it
// and the wildcard that would stand for it.
func (z *provenZone) choosePlain(name dnsname.Name, now time.Time) []*proven {
	cover := z.at(z.plain, name, now)
	if cover == nil {
		return nil
	}
	return z.withWildcard(z.plain, []*proven{cover}, closest(name, cover), now, func(n dnsname.Name) dnsname.Name { return n })
}

// closest returns the nearest ancestor of name that exists, if the NSEC record cover
// denies the name.
func closest(name dnsname.Name, cover *proven) dnsname.Name {
	encloser := name.CommonAncestor(cover.Name)
	if next, _, err := dnsname.FromWire(cover.Data[0]); err == nil {
		if other := name.CommonAncestor(next); other.Labels() > encloser.Labels() {
			encloser = other
		}
	}
	return encloser
}

// withWildcard adds to chosen the record about the wildcard below encloser.
func (z *provenZone) withWildcard(list []proven, chosen []*proven, encloser dnsname.Name, now time.Time, owner func(dnsname.Name) dnsname.Name) []*proven {
	wildcard, err := encloser.Child("*")
	if err != nil {
		return chosen
	}
	if p := z.at(list, owner(wildcard), now); p != nil && !slices.Contains(chosen, p) {
		chosen = append(chosen, p)
	}
	return chosen
}

// chooseHashed returns the NSEC3 records that may deny name: of its closest
// encloser, the next closer name and the wildcard (RFC 5155 §8.3).
func (z *provenZone) chooseHashed(name dnsname.Name, now time.Time, hashes *dnssec.Budget) []*proven {
	owner := z.hasher(hashes)
	if owner == nil {
		return nil
	}
	nextCloser := dnsname.Name{}
	for n := name; n.IsSubdomainOf(z.zone); n = n.Parent() {
		if hashes.Hashes < 3 { // this name, the next closer one and the wildcard
			return nil
		}
		hashed := owner(n)
		p := z.at(z.hashed, hashed, now)
		if p == nil {
			return nil
		}
		if p.Name != hashed {
			nextCloser = n
			continue
		}
		chosen := []*proven{p}
		if nextCloser.IsZero() {
			return chosen
		}
		if cover := z.at(z.hashed, owner(nextCloser), now); cover != nil && cover != p {
			chosen = append(chosen, cover)
		}
		return z.withWildcard(z.hashed, chosen, n, now, owner)
	}
	return nil
}

// hasher returns what makes of a name that of its NSEC3 record; nil if the zone has none.
func (z *provenZone) hasher(hashes *dnssec.Budget) func(dnsname.Name) dnsname.Name {
	if len(z.hashed) == 0 {
		return nil
	}
	params := z.hashed[0].Data[0]
	if len(params) < 5 || len(params) < 5+int(params[4]) {
		return nil
	}
	iterations, salt := int(binary.BigEndian.Uint16(params[2:])), params[5:5+int(params[4])]
	return func(n dnsname.Name) dnsname.Name {
		hashes.Hashes--
		label := strings.ToLower(base32.HexEncoding.EncodeToString(dnssec.HashName(n, salt, iterations)))
		full, err := z.zone.Child(label)
		if err != nil {
			return z.zone // too long to be there
		}
		return full
	}
}
