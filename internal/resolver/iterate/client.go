package iterate

import (
	"fmt"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// client is one question of a client, and the budget of all that is done for it.
//
// Invariant: a client that is not done waits for a lookup, or its checks wait for
// some, and has a timer.
type client struct {
	ask     Ask
	started time.Time
	timer   uint64 // exchange of its Wait; 0 when that is over
	done    bool
	// An answer that has expired, if there is one; answered: the client has it, and
	// the question goes on in the background.
	stale    *rrcache.Expired
	answered bool

	name    dnsname.Name   // the question now: the end of the alias chain
	chain   []rdata.Record // the aliases up to there
	waits   *lookup
	checks  *check    // validation of what the lookup brought; nil while waits is not
	fetch   []*lookup // DS and DNSKEY lookups that checks waits for
	retried bool      // a lookup that others paid for ran out of means; this client tried on its own

	budget budget
	parts  []rrcache.Signed // what chain and answer are made of
	sigs   []rdata.Record   // what they are signed with, for who wants to know
	proof  []rdata.Record   // denials behind chain
	state  rrcache.State    // of the chain so far; Secure to begin with
	why    *dnssec.Fault    // of an insecure chain
	story  story
	told   [1]*story // memory of story.parts, until there are more
	scoped bool      // something in the answer is for the client's network alone
	scope  int       // and for how long a prefix of that at the most
}

// failure is why something came to nothing. limited: because of a limit of those
// who asked, so it says nothing about the name and is not remembered with it.
type failure struct {
	ede     dnswire.EDE
	text    string
	limited bool
	over    Limit     // that it met, if one
	id      FailureID // 0: not yet told to anybody
}

// remembered returns f as the cache keeps it.
func (f *failure) remembered() rrcache.Failure {
	return rrcache.Failure{Rcode: dnswire.RcodeServFail, EDE: dnswire.ExtendedError{Code: f.ede, Text: f.text}, ID: uint64(f.id)}
}

// ask takes in a client's question.
func (r *Resolver) ask(ev Ask) {
	if ev.Fresh && r.background >= backgroundMost {
		return
	}
	r.counters.Questions++
	if ev.Class == 0 {
		ev.Class = rdata.ClassIN
	}
	c := &client{ask: ev, started: r.now, name: ev.Name, state: rrcache.Secure,
		budget: newBudget(&r.limits)}
	c.budget.proofs.Patient = r.cfg.Policy.Patient
	c.story.parts = c.told[:0]
	if r.clients.Has(ev.Token) {
		panic("BUG: a token is asked twice at a time")
	}
	r.clients.Put(ev.Token, c)
	switch {
	case ev.Class != rdata.ClassIN:
		r.reply(c, Answer{Rcode: dnswire.RcodeRefused, Errors: []dnswire.ExtendedError{
			{Code: dnswire.EDENotSupported, Text: "only class IN is resolved"}}})
		return
	case ev.Type.IsMeta() && ev.Type != rdata.TypeANY:
		r.reply(c, Answer{Rcode: dnswire.RcodeNotImp})
		return
	}
	if ev.Fresh {
		c.answered = true
		r.background++
		r.look(c)
	} else if ev.Anew {
		r.advance(c)
	} else {
		c.stale = r.cache.Stale(r.now, ev.Name, ev.Type, ev.DO, ev.CD)
		if r.spare(c) {
			return
		}
		r.advance(c)
	}
	if !c.done {
		r.startTimer(c)
	}
}

// advance goes on from c.name: through what the cache knows, then to a lookup.
func (r *Resolver) advance(c *client) {
	for !c.ask.Anew {
		known, ok := r.recallFor(c)
		if !ok || known.isPartial() || r.isDistrusted(c, known) {
			break
		}
		c.note(r, Step{Kind: StepCacheHit, Name: c.name, Type: c.ask.Type, Target: known.target,
			Rcode: known.rcode, Records: int32(len(known.records))})
		if r.consider(c, known) {
			return
		}
	}
	if f := r.cache.Failure(r.now, c.name, c.ask.Type); f != nil && !c.ask.Anew && !(c.ask.CD && isBogus(f.EDE.Code)) {
		r.failClient(c, failure{ede: dnswire.EDECachedError, text: f.EDE.Text, limited: true, id: FailureID(f.ID)})
		return
	}
	if !c.ask.CD && !c.ask.Anew {
		if denied, ok := r.deny(question{name: c.name, t: c.ask.Type}, &c.budget); ok {
			r.counters.Synthesised++
			c.note(r, Step{Kind: StepCacheHit, Name: c.name, Type: c.ask.Type, Target: denied.target, Rcode: denied.rcode, Records: int32(len(denied.records)),
				Note: "proven by what was learnt about other names"})
			if !r.consider(c, denied) { // an alias of a wildcard
				r.advance(c)
			}
			return
		}
	}
	r.look(c)
}

// isDistrusted reports whether what the cache has would have to be validated, but
// that this came to nothing not long ago: then the failure is the answer.
func (r *Resolver) isDistrusted(c *client, known result) bool {
	return r.cfg.Validate && !c.ask.CD && known.state == rrcache.Indeterminate && r.cache.Failure(r.now, c.name, c.ask.Type) != nil
}

// look starts a lookup for c.name, or joins the one that is there.
func (r *Resolver) look(c *client) {
	q := r.questionOf(c)
	if r.isWeak(WeakMerging) {
		delete(r.lookups, q)
	}
	isNew := r.lookups[q] == nil
	l := r.join(q, waiter{client: c}, c, 0)
	c.waits = l
	if isNew {
		r.begin(l)
	}
}

// resume goes on with the result of the lookup that c waited for.
func (r *Resolver) resume(c *client, l *lookup) {
	if f := l.result.failure; f != nil {
		// It ran out of somebody else's budget, or too deep down: that is no fate of
		// this question.
		if f.limited && !c.retried && (l.payer != c || l.depth > 0) && c.budget.mayQuery() == NoLimit {
			c.retried = true
			r.advance(c)
			return
		}
		r.failClient(c, *f)
		return
	}
	if !r.consider(c, l.result) {
		r.advance(c)
	}
}

// take adds a result to c's answer and reports whether c is answered by it, for
// good or ill. If not, c.name has moved on to the next name.
func (r *Resolver) take(c *client, res result) bool {
	for _, owner := range res.aliases {
		if !c.budget.alias() {
			r.exceeded(c, failure{ede: dnswire.EDEOther, limited: true, over: LimitAliases,
				text: fmt.Sprintf("%s, at %v", r.limits.say(LimitAliases), owner)})
			return true
		}
	}
	c.addChain(res)
	if res.near.IsValid() {
		c.scoped, c.scope = true, max(c.scope, res.near.Bits())
	}
	c.state = worse(c.state, res.state)
	if c.ask.DO && c.ask.Type != rdata.TypeRRSIG {
		c.proof = append(c.proof, res.proof(r.cache.Limits().MaxTTL)...)
	}
	if !res.final {
		if c.name = res.target; c.hasOwner(c.name) {
			r.failClient(c, failure{ede: dnswire.EDEOther, text: fmt.Sprintf("alias loop at %v", c.name)})
			return true
		}
		return false
	}
	a := Answer{Rcode: res.rcode, Answer: append(c.chain[:len(c.chain):len(c.chain)], res.records...)}
	if res.hasSOA {
		a.Authority = []rdata.Record{res.soa}
	}
	if c.ask.DO && c.ask.Type != rdata.TypeRRSIG {
		c.sigs = c.signatures(r.cache.Limits().MaxTTL)
	}
	a.Answer, a.Authority = append(a.Answer, c.sigs...), append(a.Authority, c.proof...)
	r.tellState(c, &a)
	r.reply(c, a)
	return true
}

// addChain adds the aliases of a result, a DNAME that has been used before not a
// second time.
func (c *client) addChain(res result) {
	for _, record := range res.chain {
		if record.Type == rdata.TypeDNAME && slices.ContainsFunc(c.chain, func(have rdata.Record) bool {
			return have.Type == rdata.TypeDNAME && have.Name == record.Name
		}) {
			continue
		}
		c.chain = append(c.chain, record)
	}
	for _, part := range res.parts {
		if !slices.ContainsFunc(c.parts, func(have rrcache.Signed) bool { return have.Name == part.Name && have.Type == part.Type }) {
			c.parts = append(c.parts, part)
		}
	}
}

// signatures returns the RRSIG records of the answer section.
func (c *client) signatures(most rdata.TTL) []rdata.Record {
	var out []rdata.Record
	for _, part := range c.parts {
		out = appendSignatures(out, part.Name, min(part.TTL, most), part.Sigs)
	}
	return out
}

// hasOwner reports whether the chain has already been at this name.
func (c *client) hasOwner(n dnsname.Name) bool {
	for _, record := range c.chain {
		if record.Name == n && record.Type == rdata.TypeCNAME {
			return true
		}
	}
	return false
}

// failClient answers SERVFAIL, and remembers it for this question (RFC 9520 §3.2).
func (r *Resolver) failClient(c *client, f failure) {
	c.note(r, Step{Kind: StepGaveUp, Name: c.name, Type: c.ask.Type, Note: f.text})
	if f.id == 0 {
		f.id = r.newFailureID()
	}
	r.report(c, f)
	least := time.Duration(0)
	if c.stale != nil {
		least = r.cache.Limits().StaleRetry
	}
	if f.ede != dnswire.EDECachedError && !c.ask.Fresh && !c.ask.Anew && !f.over.IsCrowd() {
		r.rememberFailure(question{name: c.ask.Name, t: c.ask.Type}, &f, least)
	}
	if c.stale != nil {
		if c.answered {
			r.reply(c, Answer{Rcode: dnswire.RcodeServFail})
		} else {
			r.reply(c, r.staleAnswer(c, f.text))
		}
		return
	}
	r.counters.Failures++
	if isBogus(f.ede) {
		r.counters.Bogus++
	}
	r.reply(c, Answer{Rcode: dnswire.RcodeServFail, Limit: f.over, Failure: f.id, Errors: []dnswire.ExtendedError{{Code: f.ede, Text: f.text}}})
}

// reply answers c and lets go of all that was done for it alone.
func (r *Resolver) reply(c *client, a Answer) {
	c.done = true
	r.clients.Delete(c.ask.Token)
	if c.timer != 0 {
		r.timers.Delete(c.timer)
		r.do(Close{Exchange: c.timer})
	}
	if l := c.waits; l != nil {
		c.waits = nil
		r.part(l, waiter{client: c})
	}
	r.endCheck(c)
	a.Sent, a.Cached, a.Elapsed = c.budget.sent, c.budget.sent == 0 && r.now.Equal(c.started), r.now.Sub(c.started)
	a.Spent = c.budget.spent()
	if c.ask.Trace || a.Failure != 0 {
		a.Trace = c.story.tell(r, c)
	}
	a.Scope = c.scope
	if !c.ask.Anew && !c.scoped { // RFC 7871 §7.3.1
		r.keepReady(c, a)
	}
	if c.answered {
		r.background--
		return
	}
	r.do(Reply{Token: c.ask.Token, Answer: a})
}

// keepReady gives an answer to the cache's answer level.
func (r *Resolver) keepReady(c *client, a Answer) {
	switch {
	case c.ask.Type == rdata.TypeANY || c.ask.Class != rdata.ClassIN, a.Limit.IsCrowd(),
		len(a.Errors) > 0 && (a.Errors[0].Code == dnswire.EDEStaleAnswer || a.Errors[0].Code == dnswire.EDEStaleNXDomain),
		a.Rcode == dnswire.RcodeServFail && (c.stale != nil || c.ask.Fresh): // what has expired is better
		return
	}
	ready := rrcache.Ready{
		Name: c.ask.Name, Type: c.ask.Type, Class: c.ask.Class, DO: c.ask.DO, CD: c.ask.CD,
		Rcode: a.Rcode, Answer: a.Answer, Authority: a.Authority, TTL: rdata.MaxTTL, Secure: a.State == rrcache.Secure && !c.ask.CD,
	}
	if len(a.Errors) > 0 {
		told := a.told(a.Errors[0])
		ready.Failure = &told
	}
	switch {
	case a.Rcode == dnswire.RcodeServFail:
		if r.isWeak(WeakFailures) {
			return
		}
		if a.Errors[0].Code == dnswire.EDECachedError {
			return // its time must not begin anew
		}
		ready.TTL = rdata.TTL(r.cache.Limits().FailureTime / time.Second)
	case len(a.Answer) == len(c.chain)+len(c.sigs) && len(a.Authority) == len(c.proof):
		return // a negative answer without SOA is not kept (RFC 2308 §5)
	}
	r.cache.PutAnswer(r.now, ready)
}

// eachClient visits the clients that wait for l, directly or not.
func (l *lookup) eachClient(seen map[*lookup]bool, visit func(*client)) {
	if seen[l] {
		return
	}
	seen[l] = true
	for _, w := range l.waiters {
		if w.client != nil {
			visit(w.client)
		} else {
			w.lookup.eachClient(seen, visit)
		}
	}
}
