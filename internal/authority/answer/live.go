package answer

import (
	"pharos/internal/authority/live"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is what is signed as it is asked for: all answers of a zone that has keys but
// no signatures (compact denial, RFC 9824), and what pools answer in a signed one.
//
// A compact zone never says that a name does not exist: it says, with an NSEC record made
// for the name, that the name has no types but NXNAME. So each denial is one record, and a
// wildcard's answer needs no proof.

// isCompact reports whether the whole answer is signed live.
func (r *response) isCompact() bool { return r.Live != nil && !r.z.IsSigned() }

// maxLive is how many records of an RRset can be signed live: for more, the client is told
// that the answer is truncated, and that it cannot be had. RRsets that large are in no
// zone that somebody signs so.
const maxLive = 64

// signLive adds the signatures of an RRset that is in the message, made now or before. ttl
// is what the signature records get; set has the one that is signed.
func (r *response) signLive(s dnswire.Section, ownerAt int, set rdata.RRset, ttl rdata.TTL, invented bool) bool {
	signatures, reason := r.Live.Sign(r.Work, set, invented)
	if reason != live.Signed {
		r.outcome.Unsigned = reason
		return false
	}
	for data := range signatures.All() {
		ok := false
		if dnswire.CanPointTo(ownerAt) {
			ok = r.out.AddPointed(s, ownerAt, rdata.TypeRRSIG, rdata.ClassIN, ttl, data)
		} else {
			ok = r.out.Add(s, set.Name, rdata.TypeRRSIG, rdata.ClassIN, ttl, data)
		}
		if !ok {
			return false
		}
	}
	return true
}

// signStored is addSignatures for an RRset of a compact zone: if it is the zone's own
// data (RFC 4035 §2.2). What a wildcard answers for is signed under the name asked for.
func (r *response) signStored(s dnswire.Section, owner dnsname.Name, ownerAt int, set *zone.RRset) bool {
	found := r.z.Lookup(owner)
	if found.Cut != 0 && !(set.Type == rdata.TypeDS && found.Cut == found.Exact) {
		return true
	}
	var room [maxLive][]byte
	if set.Count > len(room) {
		r.outcome.Unsigned = live.Failed
		return false
	}
	at := 0
	for i := range set.Count {
		room[i], _, at = set.Record(at)
	}
	return r.signLive(s, ownerAt, rdata.RRset{
		Name: owner, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: room[:set.Count],
	}, set.TTL, found.Exact == 0)
}

// signDenialSOA signs the SOA record of a denial, whose owner stands at originAt.
func (r *response) signDenialSOA(originAt int) bool {
	set, _ := r.z.RRset(r.z.Apex(), rdata.TypeSOA)
	var room [1][]byte
	room[0], _, _ = set.Record(0)
	return r.signLive(dnswire.Authority, originAt, rdata.RRset{
		Name: r.z.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: set.TTL, Data: room[:],
	}, r.z.NegativeTTL(), false)
}

// denyLive adds an NSEC record that says that name has the types of node and no others; of
// no node, that it does not exist (RFC 9824 §3). without is a type that it has not, whatever
// the zone says.
func (r *response) denyLive(name dnsname.Name, node zone.Node, without rdata.Type) {
	var types [maxTypes]rdata.Type
	list := types[:0]
	if node != 0 {
		list = r.typesOf(node, without, list)
	} else {
		list = append(list, rdata.TypeNXNAME)
	}
	for _, t := range [...]rdata.Type{rdata.TypeRRSIG, rdata.TypeNSEC} {
		if t != without {
			list = insertType(list, t)
		}
	}
	var room [2*dnsname.MaxLen + 64]byte
	data, ok := live.AppendNSEC(room[:0], name, list)
	if !ok {
		r.outcome.Unsigned = live.Failed
		return
	}
	r.addLive(name, rdata.TypeNSEC, data, node == 0 || r.z.Name(node) != name)
}

// denyLiveHashed is denyLive for a zone with NSEC3 records.
func (r *response) denyLiveHashed(node zone.Node, without rdata.Type) {
	var types [maxTypes]rdata.Type
	list := insertType(r.typesOf(node, without, types[:0]), rdata.TypeRRSIG)
	hash := r.z.Hash(r.z.Name(node))
	var owner [dnsname.MaxLen]byte
	if 1+len(hash)+r.z.Origin().Len() > len(owner) {
		r.outcome.Unsigned = live.Failed
		return
	}
	owner[0] = byte(len(hash))
	end := 1 + copy(owner[1:], hash[:])
	end += copy(owner[end:], r.z.Origin().Wire())
	var room [2*dnsname.MaxLen + 128]byte
	data, ok := live.AppendNSEC3(room[:0], string(hash[:]), r.z.HashParams(), list)
	if !ok {
		r.outcome.Unsigned = live.Failed
		return
	}
	r.addLive(dnsname.View(owner[:end]), rdata.TypeNSEC3, data, false)
}

// addLive adds a denying record and its signatures to the authority section.
func (r *response) addLive(name dnsname.Name, t rdata.Type, data []byte, invented bool) {
	mark, start, ttl := r.out.Mark(), r.out.Len(), r.z.NegativeTTL()
	if r.q.Name.IsSubdomainOf(name) {
		start = dnswire.HeaderLen + r.q.Name.Len() - name.Len() // in the question
	}
	room := [1][]byte{data}
	set := rdata.RRset{Name: name, Type: t, Class: rdata.ClassIN, TTL: ttl, Data: room[:]}
	if !r.out.Add(dnswire.Authority, name, t, rdata.ClassIN, ttl, data) || !r.signLive(dnswire.Authority, start, set, ttl, invented) {
		r.out.Rollback(mark)
		r.outcome.Truncated = true
	}
}

// maxTypes is how many types of one name a live denial lists: 64. Those of a name with more
// are cut off at the end; a client that takes the denial for more than its question
// would miss them.
const maxTypes = 64

// typesOf appends the types that node has (RFC 4035 §2.3: at a cut, what the parent knows).
func (r *response) typesOf(node zone.Node, without rdata.Type, types []rdata.Type) []rdata.Type {
	cut, steering := r.z.IsCut(node), r.z.Steering(node)
	sets := r.z.RRsets(node)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		t := set.Type
		if t == rdata.TypeRRSIG || t == rdata.TypeNSEC || t == without || steering.Hides(t) || cut && t != rdata.TypeNS && t != rdata.TypeDS || len(types) > maxTypes-6 {
			continue
		}
		types = insertType(types, t)
	}
	for _, t := range steering.Types() {
		if t != without && !cut {
			types = insertType(types, t)
		}
	}
	return types
}

// insertType inserts t into ascending types, once.
func insertType(types []rdata.Type, t rdata.Type) []rdata.Type {
	i := len(types)
	for i > 0 && types[i-1] > t {
		i--
	}
	if i > 0 && types[i-1] == t {
		return types
	}
	types = append(types, t)
	copy(types[i+1:], types[i:])
	types[i] = t
	return types
}

// Sign adds the signatures of set, which the caller has put into the answer section last,
// for a name at which an answer from z was Steered. The result says why not, if not; then
// the caller takes back what it has put. full reports whether it was for want of room.
func Sign(o Options, q *dnswire.Query, z *zone.Zone, set rdata.RRset, out *dnswire.Builder) (reason live.Reason, full bool) {
	r := response{q: q, z: z, out: out, Options: &o, outcome: &Outcome{}}
	at := 0
	if q.Name.IsSubdomainOf(set.Name) {
		at = dnswire.HeaderLen + q.Name.Len() - set.Name.Len()
	}
	ok := r.signLive(dnswire.Answer, at, set, set.TTL, false)
	return r.outcome.Unsigned, !ok && r.outcome.Unsigned == live.Signed
}
