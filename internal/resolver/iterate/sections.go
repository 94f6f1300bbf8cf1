package iterate

import (
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// This file takes signatures and denials out of the sections of a reply, and puts
// them into those of an answer.

// indexSignatures returns the RDATA of the RRSIG records of a reply by what they
// cover, so many for each at most: whoever sends more is out to cost time. In
// which section one stands does not matter: it proves itself.
func indexSignatures(m *dnswire.Message, most int) map[question][][]byte {
	var index map[question][][]byte
	for _, section := range [...][]rdata.Record{m.Answer, m.Authority, m.Additional} {
		index = addSignatures(index, section, most)
	}
	return index
}

func addSignatures(index map[question][][]byte, in []rdata.Record, most int) map[question][][]byte {
	for _, record := range in {
		if record.Type != rdata.TypeRRSIG || record.Class != rdata.ClassIN {
			continue
		}
		sig, ok := dnssec.ParseSignature(record.Data)
		q := question{name: record.Name, t: sig.Covered}
		if !ok || len(index[q]) >= most {
			continue
		}
		if index == nil {
			index = make(map[question][][]byte)
		}
		index[q] = append(index[q], record.Data)
	}
	return index
}

// signatureSet returns the RRSIG records of name as if they were an RRset, for who
// asks for just that.
func signatureSet(in []rdata.Record, name dnsname.Name, most int) []rdata.RRset {
	set := rdata.RRset{Name: name, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: rdata.MaxTTL}
	for _, record := range in {
		if record.Type == rdata.TypeRRSIG && record.Class == rdata.ClassIN && record.Name == name && len(set.Data) <= most {
			set.Data, set.TTL = append(set.Data, record.Data), min(set.TTL, record.TTL)
		}
	}
	if len(set.Data) == 0 {
		return nil
	}
	return []rdata.RRset{set}
}

// addPart adds an RRset of the answer section to what the result is made of.
func (rep *reply) addPart(set rdata.RRset) {
	rep.parts = append(rep.parts, rrcache.Signed{RRset: set, Sigs: rep.signed[question{name: set.Name, t: set.Type}]})
}

// denialMost is the number of NSEC and NSEC3 RRsets of one reply that are looked
// at: 12. A denial needs 3, and one at the end of a wildcard's alias 6.
const denialMost = 12

// findDenial takes the SOA of the zone that says no, and the NSEC and NSEC3
// RRsets, out of the authority section.
func (rep *reply) findDenial(section []rdata.Record, zone dnsname.Name, limits *Limits) {
	rep.authority = group(section, limits.Records)
	for _, set := range rep.authority {
		if (set.Type == rdata.TypeNSEC || set.Type == rdata.TypeNSEC3) && set.Name.IsSubdomainOf(zone) && len(rep.denial) < denialMost {
			rep.denial = append(rep.denial, rrcache.Signed{RRset: set, Sigs: rep.signed[question{name: set.Name, t: set.Type}]})
		}
	}
}

// isExpanded reports whether a signature claims that set was made from a wildcard.
func isExpanded(set rrcache.Signed) bool {
	for _, sig := range set.Sigs {
		if dnssec.IsExpanded(set.Name, sig) {
			return true
		}
	}
	return false
}

// isPartial reports whether the result is a denial of DS out of a referral, which
// has no SOA and is no answer to anybody.
func (res *result) isPartial() bool {
	return res.final && len(res.records) == 0 && !res.hasSOA && res.rcode != dnswire.RcodeYXDomain
}

// appendSignatures appends the RRSIG records of set.
func appendSignatures(out []rdata.Record, owner dnsname.Name, ttl rdata.TTL, sigs [][]byte) []rdata.Record {
	for _, sig := range sigs {
		out = append(out, rdata.Record{Name: owner, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: ttl, Data: sig})
	}
	return out
}

// proof returns what belongs in the authority section for who validates: the
// signatures of the SOA, and the denial with its own.
func (res *result) proof(most rdata.TTL) []rdata.Record {
	var out []rdata.Record
	if res.hasSOA {
		out = appendSignatures(out, res.soa.Name, res.soa.TTL, res.soaSigs)
		most = res.soa.TTL // RFC 9077 §3: not longer than the denial itself
	}
	for _, set := range res.denial {
		ttl := min(set.TTL, most)
		out = append(out, records(set.RRset, ttl)...)
		out = appendSignatures(out, set.Name, ttl, set.Sigs)
	}
	return out
}

// keepDS keeps the DS RRset of a referral, or the proof that there is none
// (RFC 4035 §3.1.4). It is validated when it is needed.
func (r *Resolver) keepDS(rep reply) {
	if !r.cfg.Validate {
		return
	}
	if rep.ds != nil {
		r.cache.PutSigned(r.now, *rep.ds, nil, rrcache.TrustAdditional)
		return
	}
	if len(rep.denial) == 0 {
		return
	}
	ttl := rdata.MaxTTL
	for _, set := range rep.denial {
		ttl = min(ttl, set.TTL)
	}
	r.cache.PutDenied(r.now, rep.zone, rdata.TypeDS, rrcache.Entry{Kind: rrcache.NoData, Denial: rep.denial, Trust: rrcache.TrustAdditional}, ttl)
}
