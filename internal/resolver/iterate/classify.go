package iterate

import (
	"bytes"
	"fmt"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// verdict is what a reply amounts to.
type verdict uint8

const (
	refused  verdict = iota // an error code
	lame                    // the server does not serve the zone
	invalid                 // nonsense
	referral                // zone, servers, ttl
	answered                // the result is final, with records
	aliased                 // the result goes on at target
	noData                  // the result is final: target has no such records
	nxDomain                // the result is final: target does not exist
	tooLong                 // the result is final: YXDOMAIN
)

// reply is a classified reply. Only what the server may speak about is in it.
type reply struct {
	verdict verdict
	result
	aa        bool
	t         rdata.Type   // the type asked for
	zone      dnsname.Name // of a referral
	ds        *rrcache.Signed
	servers   []rrcache.Server
	ttl       rdata.TTL
	signed    map[question][][]byte // all signatures of the reply
	authority []rdata.RRset         // all RRsets of the authority section
	note      string
	// What a lame server said that was of use for all that.
	fallback *reply
}

// classify decides what m, a reply of a server of zone, says about q. Nothing
// outside zone is believed, whatever section it is in, and nothing that was not
// asked for: other records of the answer section, and of the authority section
// beside an answer (promiscuous NS records, CVE-2025-11411), are dropped.
func classify(m *dnswire.Message, q question, zone dnsname.Name, limits *Limits) reply {
	rep := reply{aa: m.AA, t: q.t, result: result{target: q.name}}
	switch m.Rcode {
	case dnswire.RcodeNoError, dnswire.RcodeNXDomain, dnswire.RcodeYXDomain:
	default:
		return rep
	}
	sets, sigs := group(m.Answer, limits.Records), indexSignatures(m, limits.SignaturesPerSet)
	if q.t == rdata.TypeRRSIG {
		sets = append(sets, signatureSet(m.Answer, q.name, limits.Records)...)
	}
	rep.signed = sigs
	rep.findDenial(m.Authority, zone, limits)
	for _, set := range sets {
		if len(set.Data) > limits.Records {
			rep.verdict, rep.note = invalid, fmt.Sprintf("%d records of %v %v", len(set.Data), set.Name, set.Type)
			return rep
		}
	}
	rep.followAliases(sets, q, zone, limits.Aliases)
	if rep.final { // by a DNAME: YXDOMAIN, or the CNAME that was asked for
		if rep.verdict = tooLong; rep.rcode == dnswire.RcodeNoError {
			rep.verdict = answered
		}
		return rep.unlessRecursor(m)
	}
	if !rep.target.IsSubdomainOf(zone) || len(rep.aliases) > limits.Aliases || slices.Contains(rep.aliases, rep.target) {
		rep.verdict = aliased // elsewhere, or a loop, which the client's chain shows
		return rep.unlessRecursor(m)
	}
	rep.collect(sets, q)
	if len(rep.records) > 0 {
		rep.verdict, rep.final = answered, true
		return rep.unlessRecursor(m)
	}
	rep.findSOA(zone)
	if m.Rcode == dnswire.RcodeNXDomain { // RFC 2308 §2.1: it is about the end of the chain
		rep.verdict, rep.final, rep.rcode = nxDomain, true, dnswire.RcodeNXDomain
		return rep.unlessRecursor(m)
	}
	if m.Rcode == dnswire.RcodeYXDomain && len(rep.chain) == 0 {
		rep.verdict, rep.note = invalid, "YXDOMAIN without a DNAME record"
		return rep
	}
	return rep.withoutRecords(m, q, zone, limits)
}

// withoutRecords classifies a NOERROR reply that has not the records asked for.
func (rep reply) withoutRecords(m *dnswire.Message, q question, zone dnsname.Name, limits *Limits) reply {
	switch {
	case rep.hasSOA: // RFC 2308 §2.2
		rep.verdict, rep.final = noData, true
		return rep.unlessRecursor(m)
	case len(rep.chain) > 0:
		rep.verdict = aliased
		return rep.unlessRecursor(m)
	}
	authority := rep.authority
	if cut := findCut(authority, q, zone); cut != nil {
		rep.verdict, rep.zone = referral, cut.Name
		rep.servers, rep.ttl = glued(*cut, group(m.Additional, limits.Records), zone, limits.ServersPerZone)
		if ds := find(authority, cut.Name, rdata.TypeDS); ds != nil {
			rep.ds = &rrcache.Signed{RRset: *ds, Sigs: rep.signed[question{name: ds.Name, t: ds.Type}]}
		}
		return rep
	}
	for _, set := range authority {
		// An upward or sideways referral, or one to the zone itself.
		if set.Type == rdata.TypeNS && !m.AA {
			rep.verdict = lame
			return rep
		}
	}
	if !m.AA && len(rep.denial) == 0 { // a denial speaks for itself
		rep.verdict = lame
		return rep
	}
	rep.verdict, rep.final = noData, true // RFC 2308 §2.2.1, type 3: without SOA
	return rep
}

// unlessRecursor turns a reply lame when it is not authoritative but comes from a
// server that recurses: it speaks of others' zones out of its cache. Should all
// servers of the zone be like that, what one of them said has to do.
func (rep reply) unlessRecursor(m *dnswire.Message) reply {
	if !m.AA && m.RA {
		return reply{verdict: lame, fallback: &rep}
	}
	return rep
}

// bound brings the TTLs of what goes to clients into the bounds that the cache has.
func (rep *reply) bound(bounds rrcache.Limits) {
	for _, records := range [...][]rdata.Record{rep.chain, rep.records} {
		for i := range records {
			records[i].TTL = bounds.Bound(records[i].TTL)
		}
	}
	if rep.hasSOA { // without one it is not kept at all
		rep.soa.TTL = bounds.BoundNegative(rep.soa.TTL)
	}
}

// followAliases follows CNAME and DNAME records from q's name, within zone, until
// one leads back.
func (rep *reply) followAliases(sets []rdata.RRset, q question, zone dnsname.Name, most int) {
	for range most + 1 {
		if q.t == rdata.TypeANY || !rep.target.IsSubdomainOf(zone) || slices.Contains(rep.aliases, rep.target) {
			return
		}
		// RFC 6672 §2.4: below a DNAME is nothing else, so it comes first, before the
		// CNAME that the server made of it, too.
		if dname := findDNAME(sets, rep.target, zone); dname != nil {
			if !rep.addDNAME(records(*dname, dname.TTL)[0], rep.target, q.t) {
				return
			}
			rep.addPart(*dname)
			if rep.final {
				return
			}
			continue
		}
		cname := find(sets, rep.target, rdata.TypeCNAME)
		if cname == nil || q.t == rdata.TypeCNAME || find(sets, rep.target, q.t) != nil {
			return
		}
		rep.addPart(*cname)
		cname.Data = cname.Data[:1] // RFC 2181 §10.1: there is only one
		target, ok := rdata.NameAt(cname.Data[0], 0)
		if !ok {
			return
		}
		rep.addAlias(records(*cname, cname.TTL)[0], target)
	}
}

// collect takes the records asked for at the end of the chain.
func (rep *reply) collect(sets []rdata.RRset, q question) {
	for _, set := range sets {
		if set.Name == rep.target && (set.Type == q.t || q.t == rdata.TypeANY) {
			rep.records = append(rep.records, records(set, set.TTL)...)
			rep.addPart(set)
		}
	}
}

// findSOA takes the SOA record of the zone that says no.
func (rep *reply) findSOA(zone dnsname.Name) {
	for _, set := range rep.authority {
		if set.Type == rdata.TypeSOA && set.Name.IsSubdomainOf(zone) && rep.target.IsSubdomainOf(set.Name) && isSOA(set.Data[0]) {
			rep.soa, rep.hasSOA = records(set, set.TTL)[0], true
			rep.soaSigs = rep.signed[question{name: set.Name, t: set.Type}]
			rep.soa.TTL = rrcache.NegativeTTL(rep.soa)
		}
	}
}

// isSOA reports whether data is whole: two names and five numbers.
func isSOA(data []byte) bool {
	for range 2 {
		_, length, err := dnsname.FromWire(data)
		if err != nil {
			return false
		}
		data = data[length:]
	}
	return len(data) == 20
}

// findCut returns the deepest NS RRset between zone and q's name: below zone, at
// or above the name. For DS the cut at the name itself is no way on: the
// record is on this side of it.
func findCut(authority []rdata.RRset, q question, zone dnsname.Name) *rdata.RRset {
	var cut *rdata.RRset
	for i, set := range authority {
		if set.Type != rdata.TypeNS || set.Name == zone || !set.Name.IsSubdomainOf(zone) || !q.name.IsSubdomainOf(set.Name) {
			continue
		}
		if q.t == rdata.TypeDS && set.Name == q.name {
			continue
		}
		if cut == nil || set.Name.IsSubdomainOf(cut.Name) {
			cut = &authority[i]
		}
	}
	return cut
}

// glued makes the servers of a delegation from its NS RRset and the additional
// section: at most so many, with addresses that the asked server may know, those
// in its own zone. ttl is the least of all records used.
func glued(ns rdata.RRset, additional []rdata.RRset, zone dnsname.Name, most int) (servers []rrcache.Server, ttl rdata.TTL) {
	ttl = ns.TTL
	for _, data := range ns.Data {
		name, ok := rdata.NameAt(data, 0)
		if !ok || len(servers) == most {
			continue
		}
		s := rrcache.Server{Name: name}
		for _, t := range [...]rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
			set := find(additional, name, t)
			if set == nil || !name.IsSubdomainOf(zone) {
				continue
			}
			if addrs := addresses(set.Data); len(addrs) > 0 {
				s.Addrs = append(s.Addrs, addrs[:min(len(addrs), most)]...)
				ttl = min(ttl, set.TTL)
			}
		}
		servers = append(servers, s)
	}
	return servers, ttl
}

// hintCut makes the delegation of the root from hints.
func hintCut(hints []rdata.Record) *rrcache.Delegation {
	sets := group(hints, len(hints))
	cut := &rrcache.Delegation{Zone: dnsname.Root}
	if ns := find(sets, dnsname.Root, rdata.TypeNS); ns != nil {
		cut.Servers, _ = glued(*ns, sets, dnsname.Root, len(ns.Data))
	}
	return cut
}

// group makes RRsets of class IN from records, in the order of first appearance.
// Signatures are no RRset of their own (RFC 4034 §3): see indexSignatures.
// RFC 2181 §5.2: of differing TTLs the least counts; §5: no record twice. Records
// whose RDATA can not be of their type are left out. Of one RRset not more than
// most and one more records are taken, and not more than groupMost RRsets: the
// work stays small whatever is sent.
func group(in []rdata.Record, most int) []rdata.RRset {
	var sets []rdata.RRset
	for _, record := range in {
		if record.Class != rdata.ClassIN || record.Type.IsMeta() || record.Type == rdata.TypeRRSIG || !fits(record) {
			continue
		}
		set := find(sets, record.Name, record.Type)
		if set == nil {
			if len(sets) == groupMost {
				continue
			}
			sets = append(sets, rdata.RRset{Name: record.Name, Type: record.Type, Class: record.Class, TTL: record.TTL})
			set = &sets[len(sets)-1]
		}
		set.TTL = min(set.TTL, record.TTL)
		if len(set.Data) <= most && !has(set.Data, record.Data) {
			set.Data = append(set.Data, record.Data)
		}
	}
	return sets
}

// groupMost is the number of RRsets of one section that are looked at: 128. A
// referral to 13 servers has 27, a chain of 11 aliases 12.
const groupMost = 128

func has(all [][]byte, one []byte) bool {
	for _, data := range all {
		if bytes.Equal(data, one) {
			return true
		}
	}
	return false
}

// fits reports whether RDATA has the size that its type wants, for those types
// whose RDATA is used here.
func fits(record rdata.Record) bool {
	switch record.Type {
	case rdata.TypeA:
		return len(record.Data) == 4
	case rdata.TypeAAAA:
		return len(record.Data) == 16
	case rdata.TypeNS, rdata.TypeCNAME, rdata.TypeDNAME:
		_, length, err := dnsname.FromWire(record.Data)
		return err == nil && length == len(record.Data)
	case rdata.TypeSOA:
		return isSOA(record.Data)
	}
	return true
}

func find(sets []rdata.RRset, name dnsname.Name, t rdata.Type) *rdata.RRset {
	for i := range sets {
		if sets[i].Name == name && sets[i].Type == t {
			return &sets[i]
		}
	}
	return nil
}

// findDNAME returns the DNAME that stands above name, within zone.
func findDNAME(sets []rdata.RRset, name, zone dnsname.Name) *rdata.RRset {
	for i := range sets {
		set := &sets[i]
		if set.Type == rdata.TypeDNAME && set.Name != name && name.IsSubdomainOf(set.Name) && set.Name.IsSubdomainOf(zone) {
			return set
		}
	}
	return nil
}
