package iterate

import (
	"fmt"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// trust is what is known of the zone that a name is in: Secure with its keys,
// Insecure with the reason, or Bogus with the fault. It is constant.
type trust struct {
	zone    dnsname.Name
	state   rrcache.State
	keys    []dnssec.Key
	why     *dnssec.Fault
	culprit question // of Bogus: whose records are at fault
	until   time.Time
}

// keyring remembers chains of trust: for names, the zone that they are in. Only
// names that a chain went through are there.
type keyring struct{ known bounded[dnsname.Name, *trust] }

func (k *keyring) put(name dnsname.Name, t *trust) {
	octets := 160 + name.Len() + t.zone.Len()
	for _, key := range t.keys {
		octets += 96 + len(key.RDATA)
	}
	if t.why != nil {
		octets += 64 + len(t.why.Text)
	}
	k.known.put(name.Clone(), t, octets)
}

// deepest returns what is known of the nearest name at or above name, down from
// top; nil if nothing is.
func (k *keyring) deepest(now time.Time, name, top dnsname.Name) (at dnsname.Name, t *trust) {
	for n := name; n.IsSubdomainOf(top); n = n.Parent() {
		if t := k.known.get(n); t != nil && now.Before(t.until) {
			return n, t
		}
	}
	return dnsname.Name{}, nil
}

// trustOf returns what is known of the zone that name is in, by a chain from the
// nearest trust anchor; nil while something for it has to be fetched. With signed,
// name is the signer's name of a signature, so it must be a zone, and names
// between it and the zones above are passed over; without, every name on the way
// may be an unsigned delegation (RFC 4035 §5.2).
func (v *validator) trustOf(name dnsname.Name, signed bool) *trust {
	from, none := v.beginning(name)
	if none != nil {
		return none
	}
	passed, cur := v.r.chains.deepest(v.r.now, name, from.zone)
	if cur == nil {
		if cur = v.anchored(from, name); cur == nil {
			return nil
		}
		passed = cur.zone
	}
	careful := false
	var next dnsname.Name
	for cur.state == rrcache.Secure && passed != name {
		if next.IsZero() {
			next = v.nextCut(passed, name, signed, careful)
		}
		step := v.descend(cur, next)
		switch step.kind {
		case stepWaits:
			return nil
		case stepVia:
			if step.via == passed || !step.via.IsSubdomainOf(passed) {
				return &trust{zone: next, state: rrcache.Bogus, culprit: question{name: next, t: rdata.TypeDS}, why: &dnssec.Fault{
					Code: dnswire.EDEDNSSECBogus, Text: fmt.Sprintf("DS of %v is signed by %v, which is no zone", next, step.via)}}
			}
			next = step.via
			continue
		case stepUnsigned:
			// Perhaps a delegation between here and there was passed over.
			if child := name.Ancestor(passed.Labels() + 1); next != child && !careful {
				careful, next = true, dnsname.Name{}
				continue
			}
			return &trust{zone: next, state: rrcache.Bogus, why: step.fault, culprit: question{name: next, t: rdata.TypeDS}}
		case stepNoCut:
			if signed && next == name {
				return &trust{zone: name, state: rrcache.Bogus, culprit: v.k.q, why: &dnssec.Fault{
					Code: dnswire.EDEDNSSECBogus, Text: fmt.Sprintf("there is a signature by %v, which is no zone", name)}}
			}
		}
		cur, passed, next = step.trust, next, dnsname.Name{}
	}
	return cur
}

// beginning returns the anchor from which a chain to name begins, or that there is
// none.
func (v *validator) beginning(name dnsname.Name) (*anchor, *trust) {
	insecure := func(code dnswire.EDE, format string, args ...any) *trust {
		return &trust{zone: name, state: rrcache.Insecure, why: &dnssec.Fault{Code: code, Text: fmt.Sprintf(format, args...)}}
	}
	at, negative := v.r.anchors.above(name, v.c.ask.Anew)
	switch {
	case v.r.anchors.private[negative]:
		return nil, insecure(dnswire.EDEOther, "the configuration has %v not validated", negative)
	case !negative.IsZero():
		return nil, insecure(dnswire.EDENegativeTrustAnchor, "%v has a negative trust anchor here", negative)
	case at == nil:
		return nil, insecure(dnswire.EDEOther, "no trust anchor is above %v", name)
	}
	if apex, ok := v.r.cache.OpenZone(name); ok {
		return nil, insecure(dnswire.EDEOther, "%v is a zone of this server", apex)
	}
	if cut := v.r.cache.Delegation(v.r.now, name); cut != nil && cut.Local {
		return nil, insecure(dnswire.EDEOther, "%v was delegated by a zone of this server", cut.Zone)
	}
	return at, nil
}

// nextCut returns the name to look for a delegation at: the topmost known zone cut
// below passed on the way to name, or name itself if signed, else the next label.
func (v *validator) nextCut(passed, name dnsname.Name, signed, careful bool) dnsname.Name {
	var top dnsname.Name
	for n := name; !careful && n != passed; {
		cut := v.r.cache.Delegation(v.r.now, n)
		if cut == nil || cut.Zone == passed || !cut.Zone.IsSubdomainOf(passed) {
			break
		}
		top, n = cut.Zone, cut.Zone.Parent()
	}
	switch {
	case !top.IsZero():
		return top
	case signed && !careful:
		return name
	}
	return name.Ancestor(passed.Labels() + 1)
}

// descent is one step down the chain.
type descent struct {
	kind  descentKind
	trust *trust        // of stepTrust and stepNoCut
	via   dnsname.Name  // of stepVia
	fault *dnssec.Fault // of stepUnsigned
}

type descentKind uint8

const (
	stepWaits    descentKind = iota
	stepTrust                // the name is a zone, or that is bogus
	stepNoCut                // the name is in the same zone
	stepVia                  // a zone between has to be passed first
	stepUnsigned             // the reply was not signed by the zone
)

// descend decides what is at name, below the secure zone cur, from its DS RRset or
// the proof that there is none.
func (v *validator) descend(cur *trust, name dnsname.Name) descent {
	q := question{name: name, t: rdata.TypeDS}
	res, ok := v.fetch(q)
	if !ok {
		v.fetchAhead(name)
		return descent{kind: stepWaits}
	}
	if res.failure != nil {
		return v.remember(name, v.failed(q, res))
	}
	if len(res.parts) > 0 {
		return v.descendPositive(cur, q, res)
	}
	return v.descendDenied(cur, q, res)
}

// failed is the trust in a zone whose DS or DNSKEY records could not be had.
func (v *validator) failed(q question, res result) *trust {
	code := res.failure.ede
	if q.t == rdata.TypeDNSKEY {
		code = dnswire.EDEDNSKEYMissing
	}
	t := &trust{zone: q.name, state: rrcache.Bogus, until: v.r.now.Add(v.r.cache.Limits().FailureTime), why: &dnssec.Fault{
		Code: code, Text: fmt.Sprintf("%v of %v cannot be had: %s", q.t, q.name, res.failure.text)}}
	if res.failure.limited { // a limit of those who asked, which is no fault of the zone
		t.until = time.Time{}
	}
	return t
}

// fetchAhead asks for the keys of a zone in the same round trip as for its DS
// records, when there can be little doubt that they will be wanted.
func (v *validator) fetchAhead(name dnsname.Name) {
	if cut := v.r.cache.Delegation(v.r.now, name); cut != nil && cut.Zone == name {
		v.fetch(question{name: name, t: rdata.TypeDNSKEY})
	}
}

// remember keeps trust in the keyring under name.
func (v *validator) remember(name dnsname.Name, t *trust) descent {
	if t == nil {
		return descent{kind: stepWaits}
	}
	if v.r.now.Before(t.until) {
		v.r.chains.put(name, t)
	}
	if t.zone == name || t.state != rrcache.Secure {
		v.c.note(v.r, Step{Kind: StepTrust, Name: name, Type: rdata.TypeDS, Target: name, State: t.state, Note: faultText(t.why)})
	}
	return descent{kind: stepTrust, trust: t}
}

// signed says who signed what descend looks at: cur itself (ok), a zone between, or
// nobody who could.
func (v *validator) signed(cur *trust, name, signer dnsname.Name, isSigned bool) (d descent, ok bool) {
	switch {
	case !isSigned:
		return descent{kind: stepUnsigned, fault: &dnssec.Fault{Code: dnswire.EDERRSIGsMissing,
			Text: fmt.Sprintf("what %v says about DS of %v is not signed", cur.zone, name)}}, false
	case signer == cur.zone:
		return descent{}, true
	case signer != name && signer.IsSubdomainOf(cur.zone):
		return descent{kind: stepVia, via: signer}, false
	}
	return descent{kind: stepUnsigned, fault: &dnssec.Fault{Code: dnswire.EDEDNSSECBogus,
		Text: fmt.Sprintf("what %v says about DS of %v is signed by %v", cur.zone, name, signer)}}, false
}

// descendPositive takes a DS RRset in, or an alias in its place, which shows that
// there is no delegation.
func (v *validator) descendPositive(cur *trust, q question, res result) descent {
	part := &res.parts[0]
	signer, isSigned := signerOf(*part)
	if d, ok := v.signed(cur, q.name, signer, isSigned); !ok {
		return d
	}
	verdict := v.verifier.Verify(part.RRset, part.Sigs, cur.keys, cur.zone)
	if verdict.Fault != nil {
		return descent{kind: stepTrust, trust: &trust{zone: q.name, state: rrcache.Bogus, why: verdict.Fault, culprit: q}}
	}
	v.mark(part, rrcache.Secure, verdict.TTL)
	until := v.r.until(verdict.TTL)
	if part.Type != rdata.TypeDS || part.Name != q.name {
		return v.noCut(cur, q.name, until)
	}
	usable, why := v.verifier.Policy.Usable(part.Data)
	if len(usable) == 0 {
		return v.remember(q.name, &trust{zone: q.name, state: rrcache.Insecure, why: why, until: until})
	}
	return v.remember(q.name, v.keysOf(q.name, until, func(set rdata.RRset, sigs [][]byte) ([]dnssec.Key, dnssec.Verdict) {
		return v.verifier.Match(set, sigs, usable)
	}))
}

// noCut says that name is in the zone of cur, and remembers it.
func (v *validator) noCut(cur *trust, name dnsname.Name, until time.Time) descent {
	same := *cur
	if until.Before(same.until) {
		same.until = until
	}
	v.r.chains.put(name, &same)
	return descent{kind: stepNoCut, trust: &same}
}

// descendDenied takes the proof in that there is no DS RRset.
func (v *validator) descendDenied(cur *trust, q question, res result) descent {
	signer, isSigned := denialSigner(&res, q)
	if d, ok := v.signed(cur, q.name, signer, isSigned); !ok {
		return d
	}
	d, fault, ttl := v.denial(res.denial, cur)
	t := &trust{zone: q.name, state: rrcache.Insecure, until: v.r.until(ttl)}
	switch d.NoDS(q.name) {
	case dnssec.Delegation:
		t.why = &dnssec.Fault{Code: dnswire.EDEOther, Text: fmt.Sprintf("%v proves that the delegation of %v is unsigned", cur.zone, q.name)}
	case dnssec.OptedOut:
		t.why = optedOut(q.name)
	case dnssec.Excessive:
		t.why = excessive(q.name)
	case dnssec.NoCut:
		v.markNoDS(d, q, &res, ttl)
		return v.noCut(cur, q.name, t.until)
	default:
		if fault == nil || v.c.budget.proofs.Exceeded {
			fault = d.Missing("it has no DS records", q.name)
		}
		return descent{kind: stepTrust, trust: &trust{zone: q.name, state: rrcache.Bogus, why: fault, culprit: q}}
	}
	v.markNoDS(d, q, &res, ttl)
	return v.remember(q.name, t)
}

// markNoDS notes in the cache that a denial of DS is secure, if it is as the reply
// has it: that a name is not in another zone does not mean that it does not exist.
func (v *validator) markNoDS(d *dnssec.Denial, q question, res *result, ttl rdata.TTL) {
	proven := dnssec.Unproven
	if res.rcode == dnswire.RcodeNXDomain {
		proven = d.NXDomain(q.name)
	} else {
		proven = d.NoData(q.name, q.t)
	}
	if proven == dnssec.Proven {
		v.markNegative(q.name, q.t, res, rrcache.Secure, ttl)
	}
}

// anchored returns the trust in an anchor's zone. toward is where the chain is
// going: keys on the way are asked for in the same round trip.
func (v *validator) anchored(a *anchor, toward dnsname.Name) *trust {
	usable, why := v.verifier.Policy.Usable(a.ds)
	var keys []dnssec.Key
	for _, k := range dnssec.ParseKeys(a.keys) {
		if v.verifier.Policy.Supports(k.Algorithm) {
			keys = append(keys, k)
		}
	}
	if len(usable) == 0 && len(keys) == 0 {
		if why == nil {
			why = &dnssec.Fault{Code: dnswire.EDEUnsupportedDNSKEYAlgorithm, Text: fmt.Sprintf("no algorithm of the trust anchors of %v is supported", a.zone)}
		}
		return v.remember(a.zone, &trust{zone: a.zone, state: rrcache.Insecure, why: why, until: v.r.until(rdata.MaxTTL)}).trust
	}
	d := v.remember(a.zone, v.keysOf(a.zone, v.r.until(rdata.MaxTTL), func(set rdata.RRset, sigs [][]byte) ([]dnssec.Key, dnssec.Verdict) {
		if len(keys) > 0 {
			if good, verdict := v.verifier.MatchKeys(set, sigs, keys); verdict.Fault == nil || len(usable) == 0 {
				return good, verdict
			}
		}
		return v.verifier.Match(set, sigs, usable)
	}))
	if d.kind == stepWaits {
		for cut := v.r.cache.Delegation(v.r.now, toward); cut != nil && cut.Zone != a.zone && cut.Zone.IsSubdomainOf(a.zone); {
			v.fetchKnown(cut.Zone)
			cut = v.r.cache.Delegation(v.r.now, cut.Zone.Parent())
		}
		return nil
	}
	return d.trust
}

// fetchKnown asks for the keys of a zone whose DS RRset is at hand.
func (v *validator) fetchKnown(zone dnsname.Name) {
	if e := v.r.cache.Get(v.r.now, zone, rdata.TypeDS); e != nil && e.Kind == rrcache.Positive {
		v.fetch(question{name: zone, t: rdata.TypeDNSKEY})
	}
}

// keysOf fetches the DNSKEY RRset of zone and has it matched; nil while it is
// waited for.
func (v *validator) keysOf(zone dnsname.Name, until time.Time, match func(rdata.RRset, [][]byte) ([]dnssec.Key, dnssec.Verdict)) *trust {
	q := question{name: zone, t: rdata.TypeDNSKEY}
	res, ok := v.fetch(q)
	switch {
	case !ok:
		return nil
	case res.failure != nil:
		return v.failed(q, res)
	case len(res.parts) == 0 || res.parts[0].Type != rdata.TypeDNSKEY || res.parts[0].Name != zone:
		return &trust{zone: zone, state: rrcache.Bogus, culprit: q, why: &dnssec.Fault{
			Code: dnswire.EDEDNSKEYMissing, Text: fmt.Sprintf("%v has no DNSKEY records, but its parent or anchor names one", zone)}}
	}
	part := &res.parts[0]
	keys, verdict := match(part.RRset, part.Sigs)
	if verdict.Fault != nil {
		return &trust{zone: zone, state: rrcache.Bogus, why: verdict.Fault, culprit: q}
	}
	v.mark(part, rrcache.Secure, verdict.TTL)
	if end := v.r.until(verdict.TTL); end.Before(until) {
		until = end
	}
	return &trust{zone: zone, state: rrcache.Secure, keys: keys, until: until}
}

// fetch returns what is known of a DS or DNSKEY RRset; false if it has to be looked
// up first, which the check then waits for.
func (v *validator) fetch(q question) (result, bool) {
	if res, ok := v.k.have[q]; ok {
		return res, true
	}
	if v.k.q == q && v.k.res.failure == nil {
		return v.k.res, true
	}
	if !v.k.fresh[q] {
		if res, ok := v.r.recall(q); ok {
			return res, true
		}
		if f := v.r.cache.Failure(v.r.now, q.name, q.t); f != nil {
			return result{failure: &failure{ede: f.EDE.Code, text: f.EDE.Text}}, true
		}
	}
	v.k.needs = append(v.k.needs, q)
	return result{}, false
}
