package iterate

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// Validation stands between what lookups bring and what clients are told. Lookups
// know nothing of it. Each step of a client's alias chain is checked on its own:
//
//	result ──► judge ──┬─► secure, insecure: into the answer, and the state into the cache
//	   ▲         │     └─► bogus: once more from other servers, else SERVFAIL
//	   │         ▼
//	   └── DS, DNSKEY wanted: lookups of the machine, paid by the client
//
// judge begins anew whenever one of those has come in, and finds what it found
// before in the keyring (trust.go), in the cache or in the check: there is no
// state of "half validated".

// check is the validation of one result.
type check struct {
	q      question
	res    result
	judged []rrcache.State     // of res.parts; Indeterminate: not yet
	bad    int                 // index of the part that is bogus; len(res.parts) for the denial
	have   map[question]result // DS and DNSKEY that came for this check
	fresh  map[question]bool   // not to be taken from the cache
	again  map[question]bool   // a lookup that others paid for ran dry; tried once more
	needs  []question          // what judge wants now
	why    *dnssec.Fault       // of an insecure part
}

// judgement is what judge has come to.
type judgement struct {
	state   rrcache.State // Indeterminate: something is waited for
	fault   *dnssec.Fault // of Bogus and Insecure
	culprit question      // of Bogus: whose records are at fault; the zero question: nobody's in particular
}

// consider takes a result in, validated if that is due. It reports false when c has
// moved on to another name.
func (r *Resolver) consider(c *client, res result) bool {
	if !r.cfg.Validate || c.ask.CD || res.state != rrcache.Indeterminate {
		return r.take(c, res)
	}
	// Others may have the same result: TTLs are lowered in a copy.
	res.chain, res.records, res.parts = slices.Clone(res.chain), slices.Clone(res.records), slices.Clone(res.parts)
	c.checks = &check{
		q: question{name: c.name, t: c.ask.Type}, res: res, judged: make([]rrcache.State, len(res.parts)),
		have: make(map[question]result), fresh: make(map[question]bool), again: make(map[question]bool),
	}
	return r.validate(c)
}

// validate goes on with c's check. It reports false when c has moved on to another
// name, and the caller is to advance.
func (r *Resolver) validate(c *client) bool {
	k := c.checks
	k.needs = k.needs[:0]
	v := validator{r: r, c: c, k: k, verifier: dnssec.Verifier{Policy: r.cfg.Policy, Now: r.now, Budget: &c.budget.proofs, Memo: r.memo}}
	before := c.budget.proofs
	j := v.judge()
	r.counters.Signatures += uint64(before.Signatures - c.budget.proofs.Signatures)
	r.counters.Hashes += uint64(before.Hashes - c.budget.proofs.Hashes)
	switch j.state {
	case rrcache.Indeterminate:
		r.fetchFor(c)
		return true
	case rrcache.Bogus:
		if at := c.budget.proofLimit(); at != NoLimit {
			r.endCheck(c)
			r.exceeded(c, failure{ede: dnswire.EDEDNSSECBogus, limited: true, over: at, text: r.limits.say(at)})
			return true
		}
		return r.bogus(c, j)
	}
	res := k.res
	res.state = j.state
	if j.state == rrcache.Insecure && c.why == nil {
		c.why = j.fault
	}
	c.noteJudged(r, k.q, j)
	r.subnets.judged(k.q, res)
	r.endCheck(c)
	return r.take(c, res)
}

func (c *client) noteJudged(r *Resolver, q question, j judgement) {
	c.note(r, Step{Kind: StepJudged, Name: q.name, Type: q.t, State: j.state, Note: faultText(j.fault)})
}

func faultText(f *dnssec.Fault) string {
	if f == nil {
		return ""
	}
	return f.Text
}

// bogus tries other servers for what was at fault, or fails c. What is bogus does
// not stay in the cache: that it failed does (RFC 4035 §4.7).
func (r *Resolver) bogus(c *client, j judgement) bool {
	k := c.checks
	c.noteJudged(r, k.q, j)
	culprit, res := j.culprit, k.res
	if culprit != k.q {
		res = k.have[culprit]
	}
	if !culprit.name.IsZero() {
		r.cache.Forget(culprit.name, culprit.t)
		for _, part := range res.parts {
			r.cache.Forget(part.Name, part.Type)
		}
	}
	if k.res.near.IsValid() {
		r.subnets.forget(question{k.q.name, k.q.t, k.res.near})
	}
	if (culprit == k.q || culprit.name.IsZero()) && k.endsBadly() {
		return r.cutChain(c)
	}
	cached := !res.from.IsValid()
	if !cached {
		r.hosts.setSuspect(res.from, res.zone, r.now.Add(bogusTime))
	}
	if culprit.name.IsZero() || c.budget.retries >= r.limits.Retries || !cached && !res.others {
		if culprit.t == rdata.TypeDS || culprit.t == rdata.TypeDNSKEY {
			r.chains.put(culprit.name, &trust{zone: culprit.name, state: rrcache.Bogus, why: j.fault,
				until: r.now.Add(r.cache.Limits().FailureTime)})
		}
		r.endCheck(c)
		r.failClient(c, failure{ede: j.fault.Code, text: j.fault.Text})
		return true
	}
	c.budget.retry()
	if culprit == k.q {
		r.endCheck(c)
		r.look(c)
		return true
	}
	delete(k.have, culprit)
	k.fresh[culprit] = true
	return r.validate(c)
}

// endsBadly reports whether the aliases of the result are in order, and only what
// stands at their end is bogus.
func (k *check) endsBadly() bool {
	if len(k.res.aliases) == 0 || !k.res.final {
		return false
	}
	for i, part := range k.res.parts {
		if (part.Type == rdata.TypeCNAME || part.Type == rdata.TypeDNAME) && (i >= k.bad || k.judged[i] == rrcache.Indeterminate) {
			return false
		}
	}
	return true
}

// cutChain takes the aliases of a result without what stands at their end: the
// server may have spoken of a zone that is not its own. The end is asked for anew,
// from those whose it is.
func (r *Resolver) cutChain(c *client) bool {
	k := c.checks
	res := k.res
	r.cache.Forget(res.target, k.q.t)
	res.final, res.records, res.hasSOA, res.soaSigs, res.rcode, res.denial = false, nil, false, nil, dnswire.RcodeNoError, nil
	res.state, res.parts = rrcache.Secure, slices.Clone(k.res.parts[:0])
	for i, part := range k.res.parts {
		if part.Type == rdata.TypeCNAME || part.Type == rdata.TypeDNAME {
			res.parts, res.state = append(res.parts, part), worse(res.state, k.judged[i])
		}
	}
	if c.why == nil {
		c.why = k.why
	}
	r.endCheck(c)
	if !r.take(c, res) {
		r.advance(c)
	}
	return true
}

// hasOthers reports whether the zone of l has a server besides the one that x
// asked, as far as is known.
func (r *Resolver) hasOthers(l *lookup, x *exchange) bool {
	for i := range l.places {
		p := &l.places[i]
		if p.addr != x.to && r.canAsk(p.addr) && !r.hosts.look(p.addr).isSuspect(l.cut.Zone, r.now) {
			return true
		}
	}
	return slices.ContainsFunc(l.servers, func(s server) bool { return s.addresses == 0 && s.asked != askedAll })
}

// fetchFor starts the lookups that c's check wants.
func (r *Resolver) fetchFor(c *client) {
	for _, q := range c.checks.needs {
		if slices.ContainsFunc(c.fetch, func(l *lookup) bool { return l.q == q }) {
			continue
		}
		isNew := r.lookups[q] == nil
		l := r.join(q, waiter{client: c}, c, 1)
		c.fetch = append(c.fetch, l)
		if isNew {
			r.begin(l)
		}
	}
}

func (c *client) fetches(l *lookup) bool { return slices.Contains(c.fetch, l) }

// fetched goes on with c's check when one of its lookups has come to a result.
func (r *Resolver) fetched(c *client, l *lookup) {
	c.fetch = slices.DeleteFunc(c.fetch, func(have *lookup) bool { return have == l })
	k := c.checks
	if f := l.result.failure; f != nil && f.limited && l.payer != c && !k.again[l.q] {
		k.again[l.q] = true // it ran out of somebody else's budget
	} else {
		k.have[l.q] = l.result
	}
	if !r.validate(c) {
		r.advance(c)
	}
}

// endCheck ends c's check, and parts from lookups that are not needed any more.
func (r *Resolver) endCheck(c *client) {
	fetch := c.fetch
	c.checks, c.fetch = nil, nil
	for _, l := range fetch {
		r.part(l, waiter{client: c})
	}
}

// tellState says in the answer what validation has come to.
func (r *Resolver) tellState(c *client, a *Answer) {
	if !r.cfg.Validate || c.ask.CD {
		return
	}
	a.State = c.state
	switch c.state {
	case rrcache.Secure:
		r.counters.Secure++
		a.AD = c.ask.DO || c.ask.AD // RFC 6840 §5.8
	case rrcache.Insecure:
		r.counters.Insecure++
	}
	if c.why == nil {
		return
	}
	a.Why = c.why.Text
	switch c.why.Code {
	case dnswire.EDEUnsupportedDNSKEYAlgorithm, dnswire.EDEUnsupportedDSDigest, dnswire.EDENSEC3Iterations, dnswire.EDENegativeTrustAnchor:
		a.Errors = []dnswire.ExtendedError{{Code: c.why.Code, Text: c.why.Text}}
	}
}

// worse returns the state of what is made of two parts.
func worse(a, b rrcache.State) rrcache.State {
	switch {
	case a == rrcache.Bogus || b == rrcache.Bogus:
		return rrcache.Bogus
	case a == rrcache.Indeterminate || b == rrcache.Indeterminate:
		return rrcache.Indeterminate
	}
	return max(a, b)
}

// isBogus reports whether an extended error is about validation.
func isBogus(code dnswire.EDE) bool {
	switch code {
	case dnswire.EDEUnsupportedDNSKEYAlgorithm, dnswire.EDEUnsupportedDSDigest, dnswire.EDESignatureInverted, dnswire.EDENSEC3Iterations:
		return true
	}
	return dnswire.EDEDNSSECIndeterminate <= code && code <= dnswire.EDENSECMissing
}

// validator is what judge works with.
type validator struct {
	r        *Resolver
	c        *client
	k        *check
	verifier dnssec.Verifier
	proven   []rrcache.Signed // what the last denial was made of
	lasts    rdata.TTL        // and how long that may be believed
}

var waiting = judgement{}

func bogus(f *dnssec.Fault, culprit question) judgement {
	return judgement{rrcache.Bogus, f, culprit}
}

// judge validates the result of the check: the RRsets it is made of and, if it is
// a denial, the proof.
func (v *validator) judge() judgement {
	k := v.k
	out := judgement{state: rrcache.Secure}
	stop := false
	for i := range k.res.parts {
		if k.judged[i] != rrcache.Indeterminate {
			out.state = worse(out.state, k.judged[i])
			continue
		}
		j := v.judgePart(&k.res.parts[i])
		switch j.state {
		case rrcache.Bogus:
			k.bad = i
			return j
		case rrcache.Indeterminate:
			stop = true // the other parts may want something too
			continue
		case rrcache.Insecure:
			k.why = j.fault
		}
		k.judged[i] = j.state
		out.state = worse(out.state, j.state)
	}
	if k.res.final && len(k.res.records) == 0 && k.res.rcode != dnswire.RcodeYXDomain {
		j := v.judgeDenial()
		switch j.state {
		case rrcache.Bogus:
			k.bad = len(k.res.parts)
			return j
		case rrcache.Indeterminate:
			return waiting
		case rrcache.Insecure:
			k.why = j.fault
		}
		out.state = worse(out.state, j.state)
	}
	if stop {
		return waiting
	}
	out.fault = k.why
	return out
}

// signerOf returns the zone that claims to have signed a set: the deepest signer's
// name at or above the owner, for DS above it (RFC 4035 §5.3.1).
func signerOf(set rrcache.Signed) (signer dnsname.Name, ok bool) {
	for _, data := range set.Sigs {
		sig, parsed := dnssec.ParseSignature(data)
		if !parsed || !set.Name.IsSubdomainOf(sig.Signer) || set.Type == rdata.TypeDS && sig.Signer == set.Name {
			continue
		}
		if !ok || sig.Signer.IsSubdomainOf(signer) {
			signer, ok = sig.Signer, true
		}
	}
	return signer, ok
}

// sideOf returns the name whose zone a set of type t at name is in: for DS that is
// the parent's (RFC 4035 §2.4).
func sideOf(name dnsname.Name, t rdata.Type) dnsname.Name {
	if t == rdata.TypeDS && !name.IsRoot() {
		return name.Parent()
	}
	return name
}

// judgePart validates one RRset, and notes the state in the cache.
func (v *validator) judgePart(part *rrcache.Signed) judgement {
	signer, isSigned := signerOf(*part)
	if part.Type == rdata.TypeRRSIG { // signatures are not signed
		return judgement{state: rrcache.Insecure}
	}
	var t *trust
	if isSigned {
		if t = v.signerTrust(sideOf(part.Name, part.Type), signer); t == nil {
			return waiting
		}
	}
	if !isSigned || t.state == rrcache.Indeterminate {
		j := v.judgeUnsigned(sideOf(part.Name, part.Type), &dnssec.Fault{Code: dnswire.EDERRSIGsMissing,
			Text: fmt.Sprintf("%v %v is not signed, but its zone is", part.Name, part.Type)})
		v.mark(part, j.state, part.TTL)
		return j
	}
	if t.state != rrcache.Secure {
		v.mark(part, t.state, part.TTL)
		return judgement{t.state, t.why, t.culprit}
	}
	verdict := v.verifier.Verify(part.RRset, part.Sigs, t.keys, t.zone)
	if verdict.Fault != nil {
		return bogus(verdict.Fault, v.k.q)
	}
	j := judgement{state: rrcache.Secure}
	if !verdict.Encloser.IsZero() && !v.r.isWeak(WeakWildcards) {
		if j = v.judgeWildcard(part.Name, verdict.Encloser, t); j.state == rrcache.Bogus {
			return j
		}
		if j.state == rrcache.Secure && !v.c.ask.Anew && !v.k.res.near.IsValid() {
			v.r.learnWildcard(verdict.Encloser, part, verdict.TTL)
			v.r.learnProofs(t.zone, v.proven, min(v.lasts, verdict.TTL))
		}
	}
	v.lower(part, verdict.TTL)
	v.mark(part, j.state, verdict.TTL)
	return j
}

// noSigner is the trust in a signer that has no say.
var noSigner = &trust{}

// signerTrust returns the trust in the signer of what is at name; nil while it is
// waited for; noSigner if nothing at name is validated, or if the signer lies above
// the name's trust anchor and is not secure by another. Else an island of trust could
// be left by the claim that an insecure zone above it has signed.
func (v *validator) signerTrust(name, signer dnsname.Name) *trust {
	from, none := v.beginning(name)
	if none != nil {
		return noSigner
	}
	t := v.trustOf(signer, true)
	if t != nil && t.state != rrcache.Secure && !signer.IsSubdomainOf(from.zone) {
		return noSigner
	}
	return t
}

// judgeUnsigned decides on what has no signatures at name: proven to need none, or
// bogus with the given fault.
func (v *validator) judgeUnsigned(name dnsname.Name, f *dnssec.Fault) judgement {
	if res := &v.k.res; res.from.IsValid() && res.others && v.c.budget.retries == 0 && !v.knownInsecure(name) {
		// Most often a server of a signed zone that has lost its signatures, or is too old
		// to give them: another one is asked before the zone is searched for cuts.
		t := v.trustOf(res.zone, true)
		if t == nil {
			return waiting
		}
		if t.state == rrcache.Secure {
			return bogus(f, v.k.q)
		}
	}
	t := v.trustOf(name, false)
	switch {
	case t == nil:
		return waiting
	case t.state == rrcache.Secure:
		return bogus(f, v.k.q)
	}
	return judgement{t.state, t.why, t.culprit}
}

// knownInsecure reports whether the keyring has it that name is in an insecure zone,
// or in none that a chain leads to.
func (v *validator) knownInsecure(name dnsname.Name) bool {
	from, none := v.beginning(name)
	if none != nil {
		return true
	}
	_, t := v.r.chains.deepest(v.r.now, name, from.zone)
	return t != nil && t.state == rrcache.Insecure
}

// judgeWildcard wants the proof that a wildcard may stand for name (RFC 4035 §5.3.4).
func (v *validator) judgeWildcard(name, encloser dnsname.Name, t *trust) judgement {
	d, fault, _ := v.denial(v.k.res.denial, t)
	j := v.found(d, d.Wildcard(name, encloser), "nothing nearer than a wildcard exists", name)
	if j.state == rrcache.Bogus && fault != nil && !v.c.budget.proofs.Exceeded {
		j.fault = fault
	}
	return j
}

// found turns a finding into a judgement.
func (v *validator) found(d *dnssec.Denial, f dnssec.Finding, what string, name dnsname.Name) judgement {
	switch f {
	case dnssec.Proven:
		return judgement{state: rrcache.Secure}
	case dnssec.OptedOut:
		return judgement{state: rrcache.Insecure, fault: optedOut(name)}
	case dnssec.Excessive:
		return judgement{state: rrcache.Insecure, fault: excessive(name)}
	}
	return bogus(d.Missing(what, name), v.k.q)
}

func optedOut(name dnsname.Name) *dnssec.Fault {
	return &dnssec.Fault{Code: dnswire.EDEOther, Text: fmt.Sprintf("%v lies in a span of its zone that opted out of DNSSEC", name)}
}

func excessive(name dnsname.Name) *dnssec.Fault {
	return &dnssec.Fault{Code: dnswire.EDENSEC3Iterations,
		Text: fmt.Sprintf("%v: the NSEC3 records have more than %d iterations", name, dnssec.MaxIterations)}
}

// denial verifies the NSEC and NSEC3 RRsets among sets with t's keys. Those that do
// not verify prove nothing; the first fault is returned, and the TTL of those that
// do.
func (v *validator) denial(sets []rrcache.Signed, t *trust) (d *dnssec.Denial, first *dnssec.Fault, ttl rdata.TTL) {
	var good []rdata.RRset
	v.proven, ttl = nil, rdata.MaxTTL
	for _, set := range sets {
		verdict := v.verifier.Verify(set.RRset, set.Sigs, t.keys, t.zone)
		if verdict.Fault == nil {
			good, ttl = append(good, set.RRset), min(ttl, verdict.TTL)
			v.proven = append(v.proven, set)
		} else if first == nil {
			first = verdict.Fault
		}
	}
	v.lasts = ttl
	return dnssec.NewDenial(t.zone, good, v.verifier.Budget), first, ttl
}

// judgeDenial validates NODATA and NXDOMAIN at the end of the chain.
func (v *validator) judgeDenial() judgement {
	res, q := &v.k.res, question{name: v.k.res.target, t: v.k.q.t}
	signer, isSigned := denialSigner(res, q)
	var t *trust
	if isSigned {
		if t = v.signerTrust(sideOf(q.name, q.t), signer); t == nil {
			return waiting
		}
	}
	if !isSigned || t.state == rrcache.Indeterminate {
		f := &dnssec.Fault{Code: dnswire.EDENSECMissing,
			Text: fmt.Sprintf("%v %v is denied without NSEC or NSEC3 records, but its zone is signed", q.name, q.t)}
		if res.hasSOA {
			f = &dnssec.Fault{Code: dnswire.EDERRSIGsMissing, Text: fmt.Sprintf("%v %v is denied without any signature, but its zone is signed", q.name, q.t)}
		}
		j := v.judgeUnsigned(sideOf(q.name, q.t), f)
		v.markDenial(j.state, rdata.MaxTTL)
		return j
	}
	if t.state != rrcache.Secure {
		v.markDenial(t.state, rdata.MaxTTL)
		return judgement{t.state, t.why, t.culprit}
	}
	ttl := rdata.MaxTTL
	if res.hasSOA {
		soa := rdata.RRset{Name: res.soa.Name, Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: res.soa.TTL, Data: [][]byte{res.soa.Data}}
		verdict := v.verifier.Verify(soa, res.soaSigs, t.keys, t.zone)
		if verdict.Fault != nil {
			return bogus(verdict.Fault, v.k.q)
		}
		ttl = verdict.TTL
	}
	d, fault, least := v.denial(res.denial, t)
	ttl = min(ttl, least)
	var j judgement
	if res.rcode == dnswire.RcodeNXDomain {
		j = v.found(d, d.NXDomain(q.name), "it does not exist", q.name)
		if j.state == rrcache.Bogus && d.NoData(q.name, q.t) == dnssec.Proven {
			// A server that does not know empty non-terminals (RFC 8020 §4): the name exists.
			v.r.cache.Forget(q.name, q.t)
			res.rcode, j = dnswire.RcodeNoError, judgement{state: rrcache.Secure}
		}
	} else {
		j = v.found(d, d.NoData(q.name, q.t), fmt.Sprintf("it has no %v records", q.t), q.name)
	}
	if j.state == rrcache.Bogus && fault != nil && !v.c.budget.proofs.Exceeded {
		j.fault = fault
	}
	if j.state == rrcache.Secure && !v.c.ask.Anew {
		v.r.learnDenial(t.zone, res, v.proven, ttl)
	}
	v.markDenial(j.state, ttl)
	return j
}

// denialSigner returns the zone that claims to have signed a denial about q.
func denialSigner(res *result, q question) (dnsname.Name, bool) {
	sets := res.denial
	if res.hasSOA {
		sets = append(sets[:len(sets):len(sets)], rrcache.Signed{RRset: rdata.RRset{Name: res.soa.Name, Type: rdata.TypeSOA}, Sigs: res.soaSigs})
	}
	side := sideOf(q.name, q.t)
	for _, set := range sets {
		if signer, ok := signerOf(set); ok && side.IsSubdomainOf(signer) {
			return signer, true
		}
	}
	return dnsname.Name{}, false
}

// mark notes a part's state in the cache.
func (v *validator) mark(part *rrcache.Signed, state rrcache.State, ttl rdata.TTL) {
	if state != rrcache.Secure && state != rrcache.Insecure || v.c.ask.Anew {
		return
	}
	e := v.r.cache.Get(v.r.now, part.Name, part.Type)
	if e != nil && e.Kind == rrcache.Positive && slices.EqualFunc(e.Set.Data, part.Data, bytes.Equal) {
		v.r.cache.Judge(v.r.now, part.Name, part.Type, e, state, ttl)
	}
}

// markDenial notes the state of a denial in the cache.
func (v *validator) markDenial(state rrcache.State, ttl rdata.TTL) {
	if state != rrcache.Secure && state != rrcache.Insecure {
		return
	}
	res := &v.k.res
	v.markNegative(res.target, v.k.q.t, res, state, min(ttl, res.soa.TTL))
}

func (v *validator) markNegative(name dnsname.Name, t rdata.Type, res *result, state rrcache.State, ttl rdata.TTL) {
	if v.c.ask.Anew {
		return
	}
	e := v.r.cache.Get(v.r.now, name, t)
	if e == nil || e.Kind == rrcache.Positive || (e.Kind == rrcache.NXDomain) != (res.rcode == dnswire.RcodeNXDomain) {
		return
	}
	if bytes.Equal(e.SOA.Data, res.soa.Data) && slices.EqualFunc(e.Denial, res.denial, sameSigned) {
		v.r.cache.Judge(v.r.now, name, t, e, state, ttl)
	}
}

// sameSigned reports whether two RRsets are one and the same.
func sameSigned(a, b rrcache.Signed) bool {
	return a.Name == b.Name && a.Type == b.Type && slices.EqualFunc(a.Data, b.Data, bytes.Equal)
}

// lower caps the TTL of a verified part (RFC 4035 §5.3.3), and of the records of the
// result that are made of it.
func (v *validator) lower(part *rrcache.Signed, ttl rdata.TTL) {
	part.TTL = min(part.TTL, ttl)
	res := &v.k.res
	for _, list := range [...][]rdata.Record{res.chain, res.records} {
		for i := range list {
			made := part.Type == rdata.TypeDNAME && list[i].Type == rdata.TypeCNAME && list[i].Name.IsSubdomainOf(part.Name)
			if made || list[i].Name == part.Name && list[i].Type == part.Type {
				list[i].TTL = min(list[i].TTL, ttl)
			}
		}
	}
}

// until returns when something with this TTL is over.
func (r *Resolver) until(ttl rdata.TTL) time.Time {
	return r.now.Add(time.Duration(min(ttl, r.cache.Limits().MaxTTL)) * time.Second)
}
