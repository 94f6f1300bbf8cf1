// Package answer answers one question from one version of one zone.
//
// It owns the algorithm of RFC 1034 §4.3.2 as later RFCs made it precise:
// referrals, aliases, wildcards, negative answers, and what goes into the
// additional section and what gives way when the message is too small. It does
// not choose the zone (zone.Set), assemble octets (package dnswire), or look into
// other zones.
//
// What DNSSEC adds for clients that ask for it stands beside the algorithm, in
// dnssec.go.
//
// Entry points: Answer, With; DenyType, where the caller has nothing for a steered name.
//
// Concurrency: Answer is a function of its arguments and keeps nothing. It does
// not allocate.
//
// Sources: RFC 1034 §4.3.2 and §3.6.2, RFC 1035, RFC 2181 §5 and §9, RFC 2308,
// RFC 4592, RFC 6604, RFC 6672, RFC 9471; RFC 4035 §3.1, RFC 5155 §7.2; RFC 3597.
package answer

import (
	"pharos/internal/authority/live"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Kind is what sort of answer was given.
type Kind uint8

// The kinds of answers, by what was found for the last name of the alias chain.
const (
	Positive Kind = iota // records of the type asked for
	Referral             // the name is delegated to another zone
	NoData               // the name exists, without the type asked for
	NXDomain             // the name does not exist
	YXDomain             // a DNAME made too long a name (RFC 6672 §2.2)
	Partial              // an alias chain that leaves the zone, is too long, or a loop
	Refused              // the name is not in the zone at all
	Steered              // the records of Outcome.Last.Exact are for the caller to add
	Unready              // the addresses of an ALIAS are not known yet: SERVFAIL
)

// String returns the name of k in lower case.
func (k Kind) String() string {
	return [...]string{"answer", "referral", "nodata", "nxdomain", "yxdomain", "partial", "refused", "steered", "unready"}[k]
}

// Outcome is how an answer came about, for metrics and for explaining it. Nodes
// are those of the zone that was asked.
type Outcome struct {
	Kind      Kind
	Last      zone.Found  // where the last name of the alias chain fell; the question's if there was none
	Aliases   int         // CNAMEs followed, those made from a DNAME included
	Wildcard  bool        // some record was synthesised from a wildcard
	Truncated bool        // something required did not fit
	Unsigned  live.Reason // why the answer lacks signatures that it needs; it is then of no use
}

// response is an answer in the making.
type response struct {
	q        *dnswire.Query
	z        *zone.Zone
	out      *dnswire.Builder
	rotation uint32 // by how many places RRsets are rotated
	outcome  *Outcome
	proofs   *proofs // nil if the client did not ask for DNSSEC, or the zone is not signed
	*Options

	// targets is where in the message the RDATA of the records of the RRset added
	// last begins, for its targets to be pointed to; 0 where that is not known. More
	// than the name servers of the root have no place; their names are searched.
	targets [13]uint16
}

// Options are choices of what an answer has.
type Options struct {
	// One has ANY answered with one RRset (RFC 8482 §4.1): for clients over UDP, whose
	// addresses may be forged. It is what BIND calls minimal-any; over TCP both answer
	// with all.
	One bool
	// Minimal leaves out what the additional section can do without: all but glue.
	Minimal bool
	// Live signs what the zone has no signatures of; nil: nothing does. Work is under which
	// conditions.
	Live *live.Signer
	Work live.Work
}

// Answer answers q from z, in out, which must have been Reset for q. RRsets of
// several records begin with another one for each value of rotation.
//
// It is steps 3 to 6 of RFC 1034 §4.3.2; step 2, the choice of the zone, was the
// caller's. The class of q is the caller's matter too: z is of class IN.
func Answer(q *dnswire.Query, z *zone.Zone, rotation uint32, out *dnswire.Builder) Outcome {
	return With(Options{}, q, z, rotation, out)
}

// With is Answer with options.
func With(o Options, q *dnswire.Query, z *zone.Zone, rotation uint32, out *dnswire.Builder) (outcome Outcome) {
	Into(&outcome, &o, q, z, rotation, out)
	return outcome
}

// Into is With for the way of a query, which says in outcome, a zero one, how the answer
// came about: a copy of what was just written has the processor wait.
func Into(outcome *Outcome, o *Options, q *dnswire.Query, z *zone.Zone, rotation uint32, out *dnswire.Builder) {
	if q.EDNS.DO && (z.IsSigned() || o.Live != nil) {
		answerSigned(outcome, o, q, z, rotation, out)
		return
	}
	r := response{q: q, z: z, out: out, rotation: rotation, Options: o, outcome: outcome}
	r.run()
}

// run is Answer, without or with the proofs of r.
func (r *response) run() {
	q, out, found := r.q, r.out, &r.outcome.Last
	r.z.Locate(q.Name, found)
	switch {
	case found.Encloser == 0:
		r.outcome.Kind = Refused
		out.SetRcode(dnswire.RcodeRefused)
		return
	case !r.isDelegated(found):
		out.SetAA(true) // RFC 1035 §4.1.1: AA is about the question's name, whatever the chain leads to
	}
	if r.answer(q.Name, found) == alias {
		r.follow(q.Name, found, nil)
	}
	if r.proofs != nil && r.outcome.Kind != Steered {
		r.addProofs() // of an alias chain; others have been added
	}
	if r.outcome.Truncated {
		out.SetTC(true)
	}
}

// progress is what comes after a name was dealt with.
type progress bool

const (
	done  progress = false
	alias progress = true // the name is an alias: add its CNAME, and go on with the target
)

// answer deals with one name: step 3 of RFC 1034 §4.3.2. A name that is an alias
// is left to follow.
func (r *response) answer(name dnsname.Name, found *zone.Found) progress {
	switch {
	case r.isDelegated(found): // step 3b
		r.refer(found.Cut)
	case found.DNAME != 0: // step 3c of RFC 6672 §3.2
		return alias
	case found.Exact != 0: // step 3a
		return r.answerNode(name, found.Exact)
	case found.Wildcard != 0: // step 3c
		r.outcome.Wildcard = true
		if r.proofs != nil {
			r.proveExpansion(name, found)
		}
		return r.answerNode(name, found.Wildcard)
	default:
		r.denyName(name)
	}
	return done
}

// isDelegated reports whether found belongs to the zone below a cut. The DS
// records at the cut itself do not (RFC 4035 §3.1.4.1).
func (r *response) isDelegated(found *zone.Found) bool {
	return found.Cut != 0 && !(r.q.Type == rdata.TypeDS && found.Cut == found.Exact)
}

// answerNode answers for name with the records of node: its own, or those of the
// source of synthesis.
func (r *response) answerNode(name dnsname.Name, node zone.Node) progress {
	if node == r.outcome.Last.Exact && r.z.Steering(node).Takes(r.q.Type) {
		r.outcome.Kind = Steered
		return done
	}
	if r.q.Type == rdata.TypeANY {
		return r.answerAny(name, node)
	}
	set, ok := r.z.RRset(node, r.q.Type)
	switch {
	case ok && set.Type == rdata.TypeRRSIG:
		r.answerSignatures(name, node)
	case ok:
		r.outcome.Kind = Positive
		if r.require(dnswire.Answer, name, &set) {
			r.addProofs()
			r.addTargets(&set)
		}
	case r.z.HasCNAME(node):
		return alias
	case r.isUnready(node):
		r.outcome.Kind = Unready
		r.out.SetRcode(dnswire.RcodeServFail)
		r.out.SetEDE(dnswire.EDENotReady, "the addresses of the target of an ALIAS record are not known yet")
	default:
		r.denyType(name)
	}
	return done
}

// isUnready reports whether node is to have the addresses of the target of an ALIAS
// record, and these were never known: then it has neither A nor AAAA. That there are
// none would be kept by resolvers, and be wrong in a moment.
func (r *response) isUnready(node zone.Node) bool {
	if r.q.Type != rdata.TypeA && r.q.Type != rdata.TypeAAAA {
		return false
	}
	if _, hasAlias := r.z.RRset(node, rdata.TypeALIAS); !hasAlias {
		return false
	}
	_, has4 := r.z.RRset(node, rdata.TypeA)
	_, has6 := r.z.RRset(node, rdata.TypeAAAA)
	return !has4 && !has6
}

// DenyType makes out, an answer to q from z, say that the name exists without the
// type asked for: for the caller that has no record for a Steered name, at which
// the answer arrived as outcome says. With o.Live the proof is made for the question: the
// zone's own says that the name has all that it may be answered with.
func DenyType(o Options, q *dnswire.Query, z *zone.Zone, outcome Outcome, out *dnswire.Builder) live.Reason {
	ended := Outcome{Last: outcome.Last}
	r := response{q: q, z: z, out: out, Options: &o, outcome: &ended}
	if q.EDNS.DO && (z.IsSigned() || o.Live != nil) {
		r.proofs = new(proofs)
	}
	if r.denyType(z.Name(outcome.Last.Exact)); r.outcome.Truncated {
		out.SetTC(true)
	}
	return r.outcome.Unsigned
}

// answerAny answers with all RRsets of node (RFC 1035 §3.2.3), or with the first, by
// type, that is no signature (RFC 8482 §4.1).
func (r *response) answerAny(name dnsname.Name, node zone.Node) progress {
	if !r.z.HasData(node) {
		r.denyType(name)
		return done
	}
	r.outcome.Kind = Positive
	sets := r.z.RRsets(node)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		if set.Type == rdata.TypeRRSIG && (r.proofs != nil || r.One) {
			continue // it is added with what it covers, or not at all
		}
		if !r.require(dnswire.Answer, name, &set) || r.One {
			break
		}
	}
	return done
}

// answerSignatures answers with all RRSIG records of node, which the zone keeps
// by the types that they cover.
func (r *response) answerSignatures(name dnsname.Name, node zone.Node) {
	r.outcome.Kind = Positive
	sets := r.z.RRsets(node)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		if set.Type == rdata.TypeRRSIG && !r.require(dnswire.Answer, name, &set) {
			break
		}
	}
}

// denyName says that name, which fell where r.outcome.Last says, does not exist
// (RFC 2308 §2.1; RFC 6604 §3: at the end of an alias chain, too).
func (r *response) denyName(name dnsname.Name) {
	r.outcome.Kind = NXDomain
	if r.proofs == nil || !r.isCompact() || r.q.EDNS.CO { // RFC 9824 §3 and §5
		r.out.SetRcode(dnswire.RcodeNXDomain)
	}
	r.addSOA()
	if r.proofs != nil {
		r.proveNoName(name, &r.outcome.Last)
		r.addProofs()
	}
}

// denyType says that name, which fell where r.outcome.Last says, exists without
// the type (RFC 2308 §2.2).
func (r *response) denyType(name dnsname.Name) {
	r.outcome.Kind = NoData
	r.addSOA()
	if r.proofs != nil {
		r.proveNoType(name, &r.outcome.Last)
		r.addProofs()
	}
}

// addSOA adds the SOA record for how long the denial may be cached (RFC 2308 §3).
func (r *response) addSOA() {
	var record [zone.MaxDenialLen]byte
	originAt := dnswire.HeaderLen + r.q.Name.Len() - r.z.Origin().Len() // in the question, which begins every message
	if !r.out.AddReady(dnswire.Authority, 1, r.z.AppendDenial(record[:0], originAt)) ||
		r.proofs != nil && !r.addDenialSignatures(originAt) {
		r.outcome.Truncated = true
	}
}
